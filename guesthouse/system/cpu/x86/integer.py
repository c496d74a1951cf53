"""Binary arithmetic and logic (SDM 1, 5.1.2 and 5.1.4): ADD to CMP, INC, DEC, NEG, NOT, TEST, ADX, sign
extension.

Each body stores its result before the flags: a write that faults must leave the flags alone.
"""

from collections.abc import Callable
from typing import TypeVar

from guesthouse.bits import i8, i16, i32, signed, u8, u16, u32, u64
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.operands import AL, Eb, Ev, Ey, Gb, Gv, Gy, Ib, Iz, Size, Zv, rAX, sIb
from guesthouse.system.cpu.x86.state import RAX, RDX

F = TypeVar("F", bound=Callable[..., None])


def arithmetic(first: int, writes: bool = True) -> Callable[[F], F]:
    """The nine encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP have, from opcode `first` on."""
    number = first >> 3

    def attach(run: F) -> F:
        for encoding in reversed((
            op(f"{first:02X} /r", Eb, Gb, lock=writes),
            op(f"{first + 1:02X} /r", Ev, Gv, lock=writes),
            op(f"{first + 2:02X} /r", Gb, Eb),
            op(f"{first + 3:02X} /r", Gv, Ev),
            op(f"{first + 4:02X} ib", AL, Ib),
            op(f"{first + 5:02X} iz", rAX, Iz),
            op(f"80 /{number} ib", Eb, Ib, lock=writes),
            op(f"81 /{number} iz", Ev, Iz, lock=writes),
            op(f"82 /{number} ib", Eb, Ib, lock=writes, modes=LEGACY),
            op(f"83 /{number} ib", Ev, sIb, lock=writes),
        )):
            encoding(run)
        return run

    return attach


@arithmetic(0x00)
def add(cpu, to, by) -> None:
    """SDM 2A, ADD."""
    a, b = to.get_to_change(), by.get()
    r = a + b
    to.put(r)
    cpu.added(r, b)


@arithmetic(0x08)
def or_(cpu, to, by) -> None:
    """SDM 2B, OR."""
    r = to.get_to_change() | by.get()
    to.put(r)
    cpu.logical(r)


@arithmetic(0x10)
def adc(cpu, to, by) -> None:
    """SDM 2A, ADC."""
    a, b, carry = to.get_to_change(), by.get(), to.type(cpu.carry)
    r = a + b + carry
    to.put(r)
    cpu.added_with(r, b, carry)


@arithmetic(0x18)
def sbb(cpu, to, by) -> None:
    """SDM 2B, SBB."""
    a, b, carry = to.get_to_change(), by.get(), to.type(cpu.carry)
    r = a - b - carry
    to.put(r)
    cpu.subtracted_with(r, b, carry)


@arithmetic(0x20)
def and_(cpu, to, by) -> None:
    """SDM 2A, AND."""
    r = to.get_to_change() & by.get()
    to.put(r)
    cpu.logical(r)


@arithmetic(0x28)
def sub(cpu, to, by) -> None:
    """SDM 2B, SUB."""
    a, b = to.get_to_change(), by.get()
    r = a - b
    to.put(r)
    cpu.subtracted(r, b)


@arithmetic(0x30)
def xor(cpu, to, by) -> None:
    """SDM 2D, XOR."""
    r = to.get_to_change() ^ by.get()
    to.put(r)
    cpu.logical(r)


@arithmetic(0x38, writes=False)
def cmp(cpu, a, b) -> None:
    """SDM 2A, CMP."""
    cpu.compared(a.get(), b.get())


@op("84 /r", Eb, Gb)
@op("85 /r", Ev, Gv)
@op("A8 ib", AL, Ib)
@op("A9 iz", rAX, Iz)
@op("F6 /0 ib", Eb, Ib)
@op("F6 /1 ib", Eb, Ib)
@op("F7 /0 iz", Ev, Iz)
@op("F7 /1 iz", Ev, Iz)
def test(cpu, a, b) -> None:
    """SDM 2B, TEST. /1 is not in the SDM, but in AMD's APM 3 and in every processor."""
    cpu.logical(a.get() & b.get())


@op("FE /0", Eb, lock=True)
@op("FF /0", Ev, lock=True)
@op("40+r", Zv, modes=LEGACY)
def inc(cpu, to) -> None:
    """SDM 2A, INC. CF stays."""
    r = to.get_to_change() + 1
    to.put(r)
    cpu.incremented(r, to.type(cpu.carry))


@op("FE /1", Eb, lock=True)
@op("FF /1", Ev, lock=True)
@op("48+r", Zv, modes=LEGACY)
def dec(cpu, to) -> None:
    """SDM 2A, DEC. CF stays."""
    r = to.get_to_change() - 1
    to.put(r)
    cpu.decremented(r, to.type(cpu.carry))


@op("F6 /3", Eb, lock=True)
@op("F7 /3", Ev, lock=True)
def neg(cpu, to) -> None:
    """SDM 2B, NEG."""
    a = to.get_to_change()
    r = -a
    to.put(r)
    cpu.compared(to.type(0), a)


@op("F6 /2", Eb, lock=True)
@op("F7 /2", Ev, lock=True)
def not_(cpu, to) -> None:
    """SDM 2B, NOT. No flags."""
    to.put(~to.get_to_change())


@op("66 0F 38 F6 /r", Gy, Ey)
def adcx(cpu, to, by) -> None:
    """SDM 2A, ADCX. Only CF."""
    a, b, carry = to.get(), by.get(), to.type(cpu.carry)
    r = a + b + carry
    to.put(r)
    cpu.carry = u8((r < a) | ((r == a) & (carry != 0)))


@op("F3 0F 38 F6 /r", Gy, Ey)
def adox(cpu, to, by) -> None:
    """SDM 2A, ADOX. Only OF, as the carry."""
    a, b, carry = to.get(), by.get(), to.type(cpu.overflow)
    r = a + b + carry
    to.put(r)
    cpu.overflow = u8((r < a) | ((r == a) & (carry != 0)))


@op("98", Size)
def cbw(cpu, kind) -> None:
    """SDM 2A, CBW/CWDE/CDQE."""
    half = {u16: i8, u32: i16, u64: i32}[kind]
    cpu.put(kind, RAX, kind(cpu.get(half, RAX)))


@op("99", Size)
def cwd(cpu, kind) -> None:
    """SDM 2A, CWD/CDQ/CQO."""
    cpu.put(kind, RDX, kind(cpu.get(signed(kind), RAX) >> (kind.bits - 1)))
