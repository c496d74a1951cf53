"""Read-modify-write instructions that exist for their atomicity: CMPXCHG, XADD, CMPXCHG8B, CMPXCHG16B.

LOCK matters where processors run at the same time: then the decoder chooses handlers whose operand is Locked.
"""

from guesthouse.bits import select, u32, u64, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Eb, Ev, Gb, Gv, Mq, Mx, Register
from guesthouse.system.cpu.x86.state import RAX, RBX, RCX, RDX


@op("0F B0 /r", Eb, Gb, lock=True)
@op("0F B1 /r", Ev, Gv, lock=True)
def cmpxchg(cpu, to, source) -> None:
    """SDM 2A, CMPXCHG. Memory is written in any case; of the registers only the one that receives is."""
    T = to.type
    old, expected = to.get_to_change(), cpu.get(T, RAX)
    equal = old == expected
    if isinstance(to, Register):
        if equal:
            to.put(source.get())
        else:
            cpu.put(T, RAX, old)
    else:
        to.put(select(equal, source.get(), old))
        if not equal:
            cpu.put(T, RAX, old)
    cpu.compared(expected, old)


@op("0F C0 /r", Eb, Gb, lock=True)
@op("0F C1 /r", Ev, Gv, lock=True)
def xadd(cpu, to, source) -> None:
    """SDM 2D, XADD. The sum is stored last: it wins if both are one register."""
    a, b = to.get_to_change(), source.get()
    r = a + b
    if isinstance(to, Register):
        source.put(a)
        to.put(r)
    else:
        to.put(r)
        source.put(a)
    cpu.added(r, b)


@op("0F C7 /1", Mq, lock=True)
def cmpxchg8b(cpu, to) -> None:
    """SDM 2A, CMPXCHG8B/CMPXCHG16B. Only ZF."""
    old = to.get_to_change()
    expected = u64(cpu.get(u32, RDX)) << 32 | u64(cpu.get(u32, RAX))
    equal = old == expected
    new = u64(cpu.get(u32, RCX)) << 32 | u64(cpu.get(u32, RBX))
    to.put(select(equal, new, old))
    if not equal:
        cpu.put(u32, RAX, u32(old))
        cpu.put(u32, RDX, u32(old >> 32))
    cpu.set_zero(equal)


@op("REX.W 0F C7 /1", Mx, lock=True)
def cmpxchg16b(cpu, to) -> None:
    """SDM 2A, CMPXCHG8B/CMPXCHG16B. Only ZF; #GP(0) unless aligned."""
    old = to.get_to_change()
    expected = u128(cpu.r[RDX]) << 64 | u128(cpu.r[RAX])
    equal = old == expected
    new = u128(cpu.r[RCX]) << 64 | u128(cpu.r[RBX])
    to.put(select(equal, new, old))
    if not equal:
        cpu.r[RAX] = u64(old)
        cpu.r[RDX] = u64(old >> 64)
    cpu.set_zero(equal)
