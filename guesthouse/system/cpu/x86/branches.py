"""Control transfer within the code segment (SDM 1, 5.1.7), software interrupts, and the undefined
instructions.

When a body begins, cpu.pc is the address of the next instruction. A relative target that is not canonical faults as
the next fetch, not as the branch.
"""

from guesthouse.bits import signed, u64
from guesthouse.engine.op import BRANCHES, LEAVES
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.operands import AddressSize, Cc, Ev, Gv, Ib, Iw, Jb, Jz, Mp, Size
from guesthouse.system.cpu.x86.state import RCX, RSP, VECTOR_BR, VECTOR_UD


def next_offset(cpu, kind):
    """The offset of the next instruction in the code segment, whose base is 0 in 64-bit code."""
    return cpu.pc if kind.size == 8 else kind(cpu.pc - cpu.code_base())


@op("EB cb", Jb, force64=True, ends=BRANCHES)
@op("E9 cz", Jz, force64=True, ends=BRANCHES)
def jmp(cpu, target) -> None:
    """SDM 2A, JMP, near, relative."""
    cpu.pc = target.checked()


@op("FF /4", Ev, force64=True, ends=BRANCHES)
def jmp_(cpu, target) -> None:
    """SDM 2A, JMP, near, indirect."""
    cpu.jump(target.type, target.get())


@op("70+cc cb", Cc, Jb, force64=True, ends=BRANCHES)
@op("0F 80+cc cz", Cc, Jz, force64=True, ends=BRANCHES)
def j(cpu, cc, target) -> None:
    """SDM 2A, Jcc."""
    if cpu.condition(cc):
        cpu.pc = target.checked()


@op("E3 cb", Jb, AddressSize, force64=True, ends=BRANCHES)
def jcxz(cpu, target, size) -> None:
    """SDM 2A, Jcc: JCXZ/JECXZ/JRCXZ."""
    if cpu.get(size, RCX) == 0:
        cpu.pc = target.checked()


@op("E2 cb", Jb, AddressSize, force64=True, ends=BRANCHES)
def loop(cpu, target, size) -> None:
    """SDM 2A, LOOP/LOOPcc."""
    count = cpu.get(size, RCX) - 1
    if count != 0:
        cpu.pc = target.checked()
    cpu.put(size, RCX, count)


@op("E1 cb", Jb, AddressSize, force64=True, ends=BRANCHES)
def loope(cpu, target, size) -> None:
    """SDM 2A, LOOP/LOOPcc."""
    count = cpu.get(size, RCX) - 1
    if count != 0 and cpu.condition(4):
        cpu.pc = target.checked()
    cpu.put(size, RCX, count)


@op("E0 cb", Jb, AddressSize, force64=True, ends=BRANCHES)
def loopne(cpu, target, size) -> None:
    """SDM 2A, LOOP/LOOPcc."""
    count = cpu.get(size, RCX) - 1
    if count != 0 and cpu.condition(5):
        cpu.pc = target.checked()
    cpu.put(size, RCX, count)


@op("E8 cz", Jz, Size, force64=True, ends=BRANCHES)
def call(cpu, target, kind) -> None:
    """SDM 2A, CALL, near, relative."""
    address = target.checked()
    cpu.push(kind, next_offset(cpu, kind))
    cpu.note_call(cpu.r[RSP])
    cpu.pc = address


@op("FF /2", Ev, force64=True, ends=BRANCHES)
def call_(cpu, target) -> None:
    """SDM 2A, CALL, near, indirect."""
    T = target.type
    address = cpu.target(T, target.get())
    cpu.push(T, next_offset(cpu, T))
    cpu.note_call(cpu.r[RSP])
    cpu.pc = address


@op("C3", Size, force64=True, ends=BRANCHES)
def ret(cpu, kind) -> None:
    """SDM 2B, RET, near."""
    address = cpu.target(kind, cpu.load(kind, cpu.at_stack(u64(0), u64(kind.size))))
    cpu.note_return(cpu.r[RSP])
    cpu.set_rsp(cpu.r[RSP] + kind.size)
    cpu.pc = address


@op("C2 iw", Iw, Size, force64=True, ends=BRANCHES)
def ret_(cpu, extra, kind) -> None:
    """SDM 2B, RET, near, which also drops arguments."""
    address = cpu.target(kind, cpu.load(kind, cpu.at_stack(u64(0), u64(kind.size))))
    cpu.note_return(cpu.r[RSP])
    cpu.set_rsp(cpu.r[RSP] + (u64(extra.get()) + kind.size))
    cpu.pc = address


@op("CD ib", Ib, ends=LEAVES)
def int_(cpu, vector) -> None:
    """SDM 2A, INT n/INTO/INT3/INT1."""
    cpu.software_interrupt(u64(vector.get()), 0)


@op("CC", ends=LEAVES)
def int3(cpu) -> None:
    """SDM 2A, INT n/INTO/INT3/INT1."""
    cpu.software_interrupt(u64(3), 1)


@op("CE", modes=LEGACY, ends=LEAVES)
def into(cpu) -> None:
    """SDM 2A, INT n/INTO/INT3/INT1."""
    if cpu.condition(0):
        cpu.software_interrupt(u64(4), 1)


@op("F1", ends=LEAVES)
def int1(cpu) -> None:
    """SDM 2A, INT n/INTO/INT3/INT1."""
    cpu.software_interrupt(u64(1), 2)


@op("62 /r", Gv, Mp, modes=LEGACY)
def bound(cpu, index, bounds) -> None:
    """SDM 2A, BOUND."""
    S = signed(index.type)
    i, lower = S(index.get()), cpu.load(S, bounds.at(0, S.size))
    upper = cpu.load(S, bounds.at(S.size, S.size))
    if i < lower or i > upper:
        cpu.raise_fault(VECTOR_BR)


@op("0F 0B")
def ud2(cpu) -> None:
    """SDM 2B, UD."""
    cpu.raise_fault(VECTOR_UD)


@op("0F B9 /r", Gv, Ev)
def ud1(cpu, a, b) -> None:
    """SDM 2B, UD."""
    cpu.raise_fault(VECTOR_UD)


@op("0F FF /r", Gv, Ev)
def ud0(cpu, a, b) -> None:
    """SDM 2B, UD."""
    cpu.raise_fault(VECTOR_UD)
