"""Fast ways into the system and back: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS (SDM 2B, 3A 5.8.7 and
5.8.8).

As Intel's processors do it: SYSCALL and SYSRET exist only in 64-bit mode.
"""

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.definitions import LONG, op
from guesthouse.system.cpu.x86.flags import AC, ID, IF, IOPL, NT, RF, STATUS, TF, DF, VIF, VIP, VM
from guesthouse.system.cpu.x86.operands import Size
from guesthouse.system.cpu.x86.paging import canonical
from guesthouse.system.cpu.x86.state import CS, GS, RCX, RDX, RSP, SS, VECTOR_GP, VECTOR_UD
from guesthouse.system.cpu.x86.system_state import CR0_PE, EFER_SCE

# Segment.access of the segments that these instructions do not read from a table.
CODE_64, CODE_32, STACK = 0xA09B, 0xC09B, 0xC093
OUTER = 3 << 5  # DPL 3
RETURNED = STATUS | TF | IF | DF | IOPL | NT | AC | VIF | VIP | ID


def take_flat(cpu, code: u64, stack: u64, level: int, code_access: int, bits: int) -> None:
    """Flat segments for CS and SS, with these selectors, at a level."""
    for n, selector, access in ((CS, code, code_access), (SS, stack, STACK)):
        place = cpu.segments[n]
        place.base, place.limit = u64(0), u32(0xFFFF_FFFF)
        place.selector, place.access = u16(selector), u16(access | (OUTER if level == 3 else 0))
    cpu.cpl, cpu.code_bits, cpu.stack_bits, cpu.bounds = u8(level), u8(bits), u8(bits), u8(0)
    if cpu.long_mode():
        cpu.settle_privilege()
    else:
        cpu.settle_mode()


@op("0F 05", modes=LONG, ends=LEAVES)
def syscall(cpu):
    """SDM 2B, SYSCALL."""
    if cpu.efer & EFER_SCE == 0:
        cpu.raise_fault(VECTOR_UD)
    cpu.r[RCX] = cpu.pc
    cpu.r[11] = cpu.rflags()
    cpu.set_rflags(cpu.r[11] & ~(cpu.sfmask | RF))
    cpu.stepping = u64(0)
    cpu.pc = cpu.lstar
    selector = cpu.star >> 32 & 0xFFFC
    take_flat(cpu, selector, selector + 8, 0, CODE_64, 64)


@op("0F 07", Size, modes=LONG, ends=LEAVES)
def sysret(cpu, kind):
    """SDM 2B, SYSRET: with REX.W to 64-bit code, else to compatibility mode."""
    if cpu.efer & EFER_SCE == 0:
        cpu.raise_fault(VECTOR_UD)
    cpu.need_supervisor()
    if kind is u64 and not canonical(cpu.r[RCX]):
        cpu.raise_fault(VECTOR_GP)
    cpu.set_rflags(cpu.r[11] & RETURNED)
    base = cpu.star >> 48
    if kind is u64:
        cpu.pc = cpu.r[RCX]
        take_flat(cpu, base + 16 | 3, base + 8 | 3, 3, CODE_64, 64)
    else:
        cpu.pc = cpu.r[RCX] & 0xFFFF_FFFF
        take_flat(cpu, base | 3, base + 8 | 3, 3, CODE_32, 32)


@op("0F 34", ends=LEAVES)
def sysenter(cpu):
    """SDM 2B, SYSENTER."""
    if cpu.cr0 & CR0_PE == 0 or cpu.sysenter_cs & 0xFFFC == 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.flags = cpu.flags & ~u64(IF | VM | RF)
    selector = cpu.sysenter_cs & 0xFFFC
    if cpu.long_mode():
        cpu.r[RSP], cpu.pc = cpu.sysenter_esp, cpu.sysenter_eip
        take_flat(cpu, selector, selector + 8, 0, CODE_64, 64)
    else:
        cpu.r[RSP], cpu.pc = cpu.sysenter_esp & 0xFFFF_FFFF, cpu.sysenter_eip & 0xFFFF_FFFF
        take_flat(cpu, selector, selector + 8, 0, CODE_32, 32)


@op("0F 35", Size, ends=LEAVES)
def sysexit(cpu, kind):
    """SDM 2B, SYSEXIT: with REX.W to 64-bit code, else to 32-bit code."""
    if cpu.cr0 & CR0_PE == 0 or cpu.sysenter_cs & 0xFFFC == 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.need_supervisor()
    base = cpu.sysenter_cs & 0xFFFC
    if kind is u64:
        if not canonical(cpu.r[RCX]) or not canonical(cpu.r[RDX]):
            cpu.raise_fault(VECTOR_GP)
        cpu.r[RSP], cpu.pc = cpu.r[RCX], cpu.r[RDX]
        take_flat(cpu, base + 32 | 3, base + 40 | 3, 3, CODE_64, 64)
    else:
        cpu.r[RSP], cpu.pc = cpu.r[RCX] & 0xFFFF_FFFF, cpu.r[RDX] & 0xFFFF_FFFF
        take_flat(cpu, base + 16 | 3, base + 24 | 3, 3, CODE_32, 32)


@op("0F 01 F8", modes=LONG)
def swapgs(cpu):
    """SDM 2B, SWAPGS."""
    cpu.need_supervisor()
    cpu.segments[GS].base, cpu.kernel_gs_base = cpu.kernel_gs_base, cpu.segments[GS].base
