"""Saving and restoring x87 and SSE state as a whole: FXSAVE, XSAVE and their kin (SDM 1, 10.5 and chapter
13).

Components are x87 (bit 0) and SSE (bit 1). Both always count as in use, which XINUSE allows.
"""

from guesthouse.bits import select, u8, u16, u32, u64, u128
from guesthouse.engine.cpu import READ, WRITE
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.float_state import MXCSR_MASK, FloatState
from guesthouse.system.cpu.x86.operands import M, Size
from guesthouse.system.cpu.x86.state import RAX, RDX, VECTOR_GP, VECTOR_NM, VECTOR_UD
from guesthouse.system.cpu.x86.system_state import CR0_TS, CR4_OSXSAVE
from guesthouse.typed import function

X87_STATE, SSE_STATE = 1, 2
LEGACY, HEADER, AREA = 512, 512, 576  # the FXSAVE image, the header behind it, and what both take
STACK, VECTORS, MXCSR = 32, 160, 24
COMPACT = 1 << 63
XMM = FloatState.offset("xmm")
FPR = FloatState.offset("fpr")


@op("NP 0F AE /0", M, Size)
def fxsave(cpu, to, size):
    """SDM 2A, FXSAVE and FXSAVE64."""
    cpu.need_x87_present()
    need_aligned(cpu, to, 16)
    cpu.probe(to, u64(LEGACY), u64(WRITE))
    save_x87(cpu, to, size.bits == 64)
    save_mxcsr(cpu, to)
    save_vectors(cpu, to)


@op("NP 0F AE /1", M, Size)
def fxrstor(cpu, by, size):
    """SDM 2A, FXRSTOR and FXRSTOR64."""
    cpu.need_x87_present()
    need_aligned(cpu, by, 16)
    cpu.probe(by, u64(LEGACY), u64(READ))
    restore_mxcsr(cpu, by)
    restore_x87(cpu, by, size.bits == 64)
    restore_vectors(cpu, by)


@op("NP 0F AE /4", M, Size)
def xsave(cpu, to, size):
    """SDM 2B, XSAVE and XSAVE64."""
    save_some(cpu, to, size.bits == 64, False)


@op("NP 0F AE /6", M, Size)
def xsaveopt(cpu, to, size):
    """SDM 2B, XSAVEOPT: it may leave out what has not changed, and need not."""
    save_some(cpu, to, size.bits == 64, False)


@op("NP 0F C7 /4", M, Size)
def xsavec(cpu, to, size):
    """SDM 2B, XSAVEC."""
    save_some(cpu, to, size.bits == 64, True)


@op("NP 0F AE /5", M, Size)
def xrstor(cpu, by, size):
    """SDM 2B, XRSTOR and XRSTOR64."""
    restore_some(cpu, by, size.bits == 64)


def need_aligned(cpu, address, to: int) -> None:
    if address & (to - 1) != 0:
        cpu.raise_fault(VECTOR_GP)


def need_xsave(cpu, address) -> None:
    if cpu.cr4 & CR4_OSXSAVE == 0:
        cpu.raise_fault(VECTOR_UD)
    if cpu.cr0 & CR0_TS != 0:
        cpu.raise_fault(VECTOR_NM)
    need_aligned(cpu, address, 64)


def requested(cpu):
    """RFBM, the requested components: SDM 1, 13.3."""
    return cpu.xcr0 & (cpu.r[RDX] << 32 | cpu.r[RAX] & 0xFFFF_FFFF)


@function
def save_some(cpu, to: u64, wide, compact) -> None:
    """XSAVE, SDM 1, 13.7, or XSAVEC, 13.10."""
    need_xsave(cpu, to)
    cpu.probe(to, u64(AREA), u64(WRITE))
    wanted, header = requested(cpu), to + HEADER
    if wanted & X87_STATE != 0:
        save_x87(cpu, to, wide)
    if wanted & SSE_STATE != 0:
        save_mxcsr(cpu, to)
        save_vectors(cpu, to)
    if compact:
        cpu.store(u64, header, wanted)
        cpu.store(u64, header + 8, wanted | COMPACT)
    else:
        cpu.store(u64, header, cpu.load(u64, header) & ~wanted | wanted)


@function
def restore_some(cpu, by: u64, wide) -> None:
    """XRSTOR, SDM 1, 13.8."""
    need_xsave(cpu, by)
    cpu.probe(by, u64(AREA), u64(READ))
    wanted, header = requested(cpu), by + HEADER
    present, layout = cpu.load(u64, header), cpu.load(u64, header + 8)
    allowed = select(layout & COMPACT != 0, layout & ~u64(COMPACT), cpu.xcr0)
    rest = cpu.load(u64, header + 16) | select(layout & COMPACT != 0, u64(0), layout)
    if rest != 0 or allowed & ~cpu.xcr0 != 0 or present & ~allowed != 0:
        cpu.raise_fault(VECTOR_GP)
    if wanted & SSE_STATE != 0:
        restore_sse(cpu, by, present & SSE_STATE != 0, layout & COMPACT != 0)
    if wanted & X87_STATE != 0:
        if present & X87_STATE != 0:
            restore_x87(cpu, by, wide)
        else:
            cpu.initialise_x87()
            clear(cpu, FPR, u64(8))


def restore_sse(cpu, by, present, compact) -> None:
    """MXCSR is in the standard form of the area whether the registers are or not (SDM 1, 13.8.1)."""
    if present or not compact:
        restore_mxcsr(cpu, by)
    else:
        cpu.set_mxcsr(u64(0x1F80))
    if present:
        restore_vectors(cpu, by)
    else:
        clear(cpu, XMM, select(cpu.code_bits == 64, u64(16), u64(8)))


def clear(cpu, at: int, count) -> None:
    n = u64(0)
    while n < count:
        cpu.poke(u128, n * 16 + at, u128(0))
        n += 1


@function
def save_x87(cpu, to: u64, wide) -> None:
    """Bytes 0 to 23 and the registers, in stack order. `wide`: 64-bit pointers, no selectors (SDM 1, 10.5.1).
    """
    cpu.store(u16, to, u16(cpu.fcw))
    cpu.store(u16, to + 2, u16(cpu.fsw()))
    cpu.store(u16, to + 4, u16(cpu.tags))
    cpu.store(u16, to + 6, u16(cpu.fop))
    if wide:
        cpu.store(u64, to + 8, cpu.fip)
        cpu.store(u64, to + 16, cpu.fdp)
    else:
        cpu.store(u64, to + 8, cpu.fip & 0xFFFF_FFFF | cpu.fcs << 32)
        cpu.store(u64, to + 16, cpu.fdp & 0xFFFF_FFFF | cpu.fds << 32)
    i = u64(0)
    while i < 8:
        value = cpu.peek(u128, (cpu.top + i & 7) * 16 + FPR)
        cpu.store(u128, to + STACK + i * 16, value)
        i += 1


@function
def restore_x87(cpu, by: u64, wide) -> None:
    cpu.set_fcw(u64(cpu.load(u16, by)))
    cpu.set_fsw(u64(cpu.load(u16, by + 2)))
    cpu.tags = u64(cpu.load(u8, by + 4))
    cpu.fop = u64(cpu.load(u16, by + 6)) & 0x7FF
    fip, fdp = cpu.load(u64, by + 8), cpu.load(u64, by + 16)
    if wide:
        cpu.fip, cpu.fdp, cpu.fcs, cpu.fds = fip, fdp, u64(0), u64(0)
    else:
        cpu.fip, cpu.fdp = fip & 0xFFFF_FFFF, fdp & 0xFFFF_FFFF
        cpu.fcs, cpu.fds = fip >> 32 & 0xFFFF, fdp >> 32 & 0xFFFF
    i = u64(0)
    while i < 8:
        value = cpu.load(u128, by + STACK + i * 16) & ((1 << 80) - 1)
        cpu.poke(u128, (cpu.top + i & 7) * 16 + FPR, value)
        i += 1


def save_mxcsr(cpu, to) -> None:
    cpu.store(u64, to + MXCSR, cpu.mxcsr() | MXCSR_MASK << 32)


def restore_mxcsr(cpu, by) -> None:
    image = u64(cpu.load(u32, by + MXCSR))
    if image & ~u64(MXCSR_MASK) != 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.set_mxcsr(image)


@function
def save_vectors(cpu, to: u64) -> None:
    """As many as the mode has."""
    n, count = u64(0), select(cpu.code_bits == 64, u64(16), u64(8))
    while n < count:
        cpu.store(u128, to + VECTORS + n * 16, cpu.peek(u128, n * 16 + XMM))
        n += 1


@function
def restore_vectors(cpu, by: u64) -> None:
    n, count = u64(0), select(cpu.code_bits == 64, u64(16), u64(8))
    while n < count:
        cpu.poke(u128, n * 16 + XMM, cpu.load(u128, by + VECTORS + n * 16))
        n += 1
