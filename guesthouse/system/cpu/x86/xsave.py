"""Saving and restoring the floating-point state as a whole: FXSAVE and the XSAVE family (SDM 1, 10.5 and 13; 2A and 2C).

Components are x87 and SSE. All of them always count as in use and as modified, which the book allows, so XSAVEOPT saves
what XSAVE does.
"""

from guesthouse.bits import select, u32, u64, u128
from guesthouse.engine.cpu import READ, WRITE
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.float_state import INITIAL_MXCSR, MXCSR_MASK
from guesthouse.system.cpu.x86.operands import M, Size
from guesthouse.system.cpu.x86.state import VECTOR_GP, VECTOR_NM
from guesthouse.system.cpu.x86.system import need_xsave, pair
from guesthouse.system.cpu.x86.system_state import CR0_EM, CR0_TS
from guesthouse.typed import function

X87, SSE = 1, 2
ST, XMM, HEADER, COMPACT = 32, 160, 512, 1 << 63  # offsets in the area; the bit of XCOMP_BV
LEGACY_AREA, WHOLE_AREA = 512, 576


def check_area(cpu, address: u64, alignment: int, size: int, access: int) -> None:
    """Fault now if the area is not aligned or not all there: what follows must not fault."""
    if address & (alignment - 1) != 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.probe(address, u64(size), u64(access))


@function
def save_x87(cpu, at: u64, wide: bool) -> None:
    """The first 24 bytes and the registers; `wide` has 64-bit pointers (SDM 1, table 10-2)."""
    cpu.store(u64, at, cpu.fcw | cpu.fsw() << 16 | cpu.tags << 32 | (cpu.fop & 0x7FF) << 48)
    if wide:
        cpu.store(u64, at + 8, cpu.fip)
        cpu.store(u64, at + 16, cpu.fdp)
    else:
        cpu.store(u64, at + 8, cpu.fip & 0xFFFF_FFFF | cpu.fcs << 32)
        cpu.store(u64, at + 16, cpu.fdp & 0xFFFF_FFFF | cpu.fds << 32)
    n = u64(0)
    while n < 8:
        cpu.store(u128, at + ST + n * 16, cpu.fpr[cpu.top + n & 7] & ((1 << 80) - 1))
        n += 1


@function
def load_x87(cpu, at: u64, wide: bool) -> None:
    first = cpu.load(u64, at)
    cpu.set_fcw(first & 0xFFFF)
    cpu.set_fsw(first >> 16 & 0xFFFF)
    cpu.tags, cpu.fop = first >> 32 & 0xFF, first >> 48 & 0x7FF
    cpu.fip, cpu.fdp = cpu.load(u64, at + 8), cpu.load(u64, at + 16)
    if not wide:
        cpu.fcs, cpu.fds = cpu.fip >> 32 & 0xFFFF, cpu.fdp >> 32 & 0xFFFF
        cpu.fip, cpu.fdp = cpu.fip & 0xFFFF_FFFF, cpu.fdp & 0xFFFF_FFFF
    n = u64(0)
    while n < 8:
        cpu.fpr[cpu.top + n & 7] = cpu.load(u128, at + ST + n * 16) & ((1 << 80) - 1)
        n += 1


def vector_count(cpu) -> u64:
    """XMM8 to XMM15 exist only in 64-bit mode."""
    return select(cpu.code_bits == 64, u64(16), u64(8))


@function
def save_vectors(cpu, at: u64) -> None:
    n = u64(0)
    while n < vector_count(cpu):
        cpu.store(u128, at + XMM + n * 16, cpu.xmm[n])
        n += 1


@function
def load_vectors(cpu, at: u64) -> None:
    n = u64(0)
    while n < vector_count(cpu):
        cpu.xmm[n] = cpu.load(u128, at + XMM + n * 16)
        n += 1


@function
def clear_vectors(cpu) -> None:
    n = u64(0)
    while n < vector_count(cpu):
        cpu.xmm[n] = u128(0)
        n += 1


@function
def save_mxcsr(cpu, at: u64) -> None:
    cpu.store(u32, at + 24, u32(cpu.mxcsr()))
    cpu.store(u32, at + 28, u32(MXCSR_MASK))


@function
def checked_mxcsr(cpu, at: u64) -> u64:
    """MXCSR in the area; #GP(0) if reserved bits are set."""
    image = u64(cpu.load(u32, at + 24))
    if image & ~u64(MXCSR_MASK) != 0:
        cpu.raise_fault(VECTOR_GP)
    return image


# FXSAVE, SDM 2A.


def need_no_switch(cpu) -> None:
    """#NM if the system wants to switch the floating-point state first."""
    if cpu.cr0 & (CR0_EM | CR0_TS) != 0:
        cpu.raise_fault(VECTOR_NM)


@op("NP 0F AE /0", M, Size)
def fxsave(cpu, to, kind):
    need_no_switch(cpu)
    check_area(cpu, to, 16, LEGACY_AREA, WRITE)
    save_x87(cpu, to, kind is u64)
    save_mxcsr(cpu, to)
    save_vectors(cpu, to)


@op("NP 0F AE /1", M, Size)
def fxrstor(cpu, source, kind):
    need_no_switch(cpu)
    check_area(cpu, source, 16, LEGACY_AREA, READ)
    mxcsr = checked_mxcsr(cpu, source)
    load_x87(cpu, source, kind is u64)
    cpu.set_mxcsr(mxcsr)
    load_vectors(cpu, source)


# XSAVE, SDM 1, 13.


def begin_xsave(cpu, address: u64, access: int) -> u64:
    """The checks that all have in common; the components asked for."""
    need_xsave(cpu)
    if cpu.cr0 & CR0_TS != 0:
        cpu.raise_fault(VECTOR_NM)
    check_area(cpu, address, 64, WHOLE_AREA, access)
    return pair(cpu) & cpu.xcr0


@function
def save_components(cpu, at: u64, wanted: u64, wide: bool) -> None:
    if wanted & X87 != 0:
        save_x87(cpu, at, wide)
    if wanted & SSE != 0:
        save_mxcsr(cpu, at)
        save_vectors(cpu, at)


@op("NP 0F AE /4", M, Size)
@op("NP 0F AE /6", M, Size)
def xsave(cpu, to, kind):
    """SDM 2C, XSAVE and XSAVEOPT."""
    wanted = begin_xsave(cpu, to, WRITE)
    present = cpu.load(u64, to + HEADER)
    save_components(cpu, to, wanted, kind is u64)
    cpu.store(u64, to + HEADER, present | wanted)


@op("NP 0F C7 /4", M, Size)
def xsavec(cpu, to, kind):
    """SDM 2C, XSAVEC. Without components above SSE its areas lie where XSAVE's do."""
    wanted = begin_xsave(cpu, to, WRITE)
    save_components(cpu, to, wanted, kind is u64)
    cpu.store(u64, to + HEADER, wanted)
    cpu.store(u64, to + HEADER + 8, wanted | COMPACT)


@function
def check_header(cpu, at: u64) -> u64:
    """XSTATE_BV, after the checks of SDM 1, 13.8."""
    present, layout = cpu.load(u64, at + HEADER), cpu.load(u64, at + HEADER + 8)
    bad = present & ~cpu.xcr0 != 0 or cpu.load(u64, at + HEADER + 16) != 0
    if layout & COMPACT != 0:
        bad = bad or layout & ~(cpu.xcr0 | COMPACT) != 0 or present & ~layout != 0
    else:
        bad = bad or layout != 0
    if bad:
        cpu.raise_fault(VECTOR_GP)
    return present


@op("NP 0F AE /5", M, Size)
def xrstor(cpu, source, kind):
    """SDM 2C, XRSTOR."""
    wanted = begin_xsave(cpu, source, READ)
    restore_components(cpu, source, wanted, check_header(cpu, source), kind is u64)


@function
def restore_components(cpu, at: u64, wanted: u64, present: u64, wide: bool) -> None:
    """Load the components that are present, initialise the others. MXCSR belongs to SSE, but the standard form has it in
    any case (SDM 1, 13.8.1)."""
    compact = cpu.load(u64, at + HEADER + 8) & COMPACT != 0
    mxcsr = u64(INITIAL_MXCSR)
    if wanted & SSE != 0 and (present & SSE != 0 or not compact):
        mxcsr = checked_mxcsr(cpu, at)
    if wanted & X87 != 0:
        if present & X87 != 0:
            load_x87(cpu, at, wide)
        else:
            clear_x87(cpu)
    if wanted & SSE != 0:
        cpu.set_mxcsr(mxcsr)
        if present & SSE != 0:
            load_vectors(cpu, at)
        else:
            clear_vectors(cpu)


@function
def clear_x87(cpu) -> None:
    cpu.initialise_x87()
    n = u64(0)
    while n < 8:
        cpu.fpr[n] = u128(0)
        n += 1
