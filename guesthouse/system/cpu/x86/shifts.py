"""Shifts and rotates (SDM 1, 5.1.5). A masked count of zero changes no flag; where the SDM leaves OF or CF
undefined the formula of the defined case goes on."""

from collections.abc import Callable
from typing import TypeVar

from guesthouse.bits import signed, u8, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import CL, Eb, Ev, Gv, Ib, One

F = TypeVar("F", bound=Callable[..., None])


def shift(number: int) -> Callable[[F], F]:
    """The six encodings of a shift: by an immediate, by one, by CL."""

    def attach(run: F) -> F:
        for encoding in reversed((
            op(f"C0 /{number} ib", Eb, Ib), op(f"C1 /{number} ib", Ev, Ib), op(f"D0 /{number}", Eb, One),
            op(f"D1 /{number}", Ev, One), op(f"D2 /{number}", Eb, CL), op(f"D3 /{number}", Ev, CL),
        )):
            encoding(run)
        return run

    return attach


def masked(kind, by):
    """The count: modulo 64 for 64-bit operands, else modulo 32."""
    return by.get() & (63 if kind.bits == 64 else 31)


def top(x):
    """The highest bit, as 0 or 1."""
    return x >> (type(x).bits - 1)


@shift(4)
@shift(6)
def shl(cpu, to, by) -> None:
    """SDM 2B, SAL/SAR/SHL/SHR."""
    T, count = to.type, masked(to.type, by)
    a, n = to.get_to_change(), T(count)
    r = a << n
    to.put(r)
    if count != 0:
        carry = a >> (T.bits - n) & 1
        cpu.produced(r, carry, top(r) ^ carry)


@shift(5)
def shr(cpu, to, by) -> None:
    """SDM 2B, SAL/SAR/SHL/SHR."""
    T, count = to.type, masked(to.type, by)
    a, n = to.get_to_change(), T(count)
    r = a >> n
    to.put(r)
    if count != 0:
        cpu.produced(r, a >> (n - 1) & 1, top(a))


@shift(7)
def sar(cpu, to, by) -> None:
    """SDM 2B, SAL/SAR/SHL/SHR."""
    T, S, count = to.type, signed(to.type), masked(to.type, by)
    a, n = S(to.get_to_change()), S(count)
    r = T(a >> n)
    to.put(r)
    if count != 0:
        cpu.produced(r, T(a >> (n - 1)) & 1, T(0))


@shift(0)
def rol(cpu, to, by) -> None:
    """SDM 2B, RCL/RCR/ROL/ROR."""
    T, count = to.type, masked(to.type, by)
    a, n = to.get_to_change(), T(count) & (T.bits - 1)
    r = a << n | a >> (T.bits - n)
    to.put(r)
    if count != 0:
        cpu.rotated(r & 1, top(r) ^ r & 1)


@shift(1)
def ror(cpu, to, by) -> None:
    """SDM 2B, RCL/RCR/ROL/ROR."""
    T, count = to.type, masked(to.type, by)
    a, n = to.get_to_change(), T(count) & (T.bits - 1)
    r = a >> n | a << (T.bits - n)
    to.put(r)
    if count != 0:
        cpu.rotated(top(r), top(r) ^ top(r << 1))


@shift(2)
def rcl(cpu, to, by) -> None:
    """SDM 2B, RCL/RCR/ROL/ROR: a rotation of one bit more than the operand has."""
    T, count = to.type, masked(to.type, by)
    a, n, carry = to.get_to_change(), T(count % (T.bits + 1)), T(cpu.carry)
    r = a if n == 0 else a << n | carry << (n - 1) | a >> (T.bits + 1 - n)
    to.put(r)
    if n != 0:
        cpu.carry = u8(a >> (T.bits - n)) & 1
    if count != 0:
        cpu.overflow = u8(top(r)) ^ cpu.carry


@shift(3)
def rcr(cpu, to, by) -> None:
    """SDM 2B, RCL/RCR/ROL/ROR: a rotation of one bit more than the operand has."""
    T, count = to.type, masked(to.type, by)
    a, n, carry = to.get_to_change(), T(count % (T.bits + 1)), T(cpu.carry)
    r = a if n == 0 else a >> n | carry << (T.bits - n) | a << (T.bits + 1 - n)
    to.put(r)
    if n != 0:
        cpu.carry = u8(a >> (n - 1)) & 1
    if count != 0:
        cpu.overflow = u8(top(r) ^ top(r << 1))


def between(a, b):
    """What a double shift moves through: above b and below it there is a, which matters when a count is above 16 for
    16-bit operands. The SDM leaves that undefined; Intel's processors do so."""
    return u64(a) << 32 | u64(b) << 16 | u64(a)


@op("0F A4 /r ib", Ev, Gv, Ib)
@op("0F A5 /r", Ev, Gv, CL)
def shld(cpu, to, source, by) -> None:
    """SDM 2B, SHLD."""
    T, count = to.type, masked(to.type, by)
    a, b, n = to.get_to_change(), source.get(), T(count)
    r, out = a << n | b >> (T.bits - n), u8(a >> (T.bits - n))
    if T.bits == 16:
        wide = between(a, b) << u64(count)
        r, out = T(wide >> 32), u8(wide >> 48)
    to.put(r)
    if count != 0:
        cpu.produced(r, T(out) & 1, top(r) ^ top(a))


@op("0F AC /r ib", Ev, Gv, Ib)
@op("0F AD /r", Ev, Gv, CL)
def shrd(cpu, to, source, by) -> None:
    """SDM 2B, SHRD."""
    T, count = to.type, masked(to.type, by)
    a, b, n = to.get_to_change(), source.get(), T(count)
    r, out = a >> n | b << (T.bits - n), u8(a >> (n - 1))
    if T.bits == 16:
        wide = between(a, b)
        r, out = T(wide >> u64(count)), u8(wide >> u64(count - 1))
    to.put(r)
    if count != 0:
        cpu.produced(r, T(out) & 1, top(r) ^ top(a))
