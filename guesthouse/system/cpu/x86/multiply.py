"""Multiplication and division (SDM 1, 5.1.2). What is undefined: after a product SF, ZF and PF follow its low half and
AF is clear; a quotient leaves all flags as they are."""

from guesthouse.bits import clz, select, signed, u8, u16, u32, u64, u128, unlikely
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Eb, Ev, Gv, Iz, sIb
from guesthouse.system.cpu.x86.state import RAX, RDX, VECTOR_DE
from guesthouse.typed import function

DOUBLE = {u8: u16, u16: u32, u32: u64, u64: u128}


def put_double(cpu, low, high) -> None:
    """Store a double-width result in rDX:rAX, or AX."""
    T = type(low)
    if T.size == 1:
        cpu.put(u16, RAX, u16(high) << 8 | u16(low))
    else:
        cpu.put(T, RAX, low)
        cpu.put(T, RDX, high)


def get_high(cpu, kind):
    """The upper half of a double-width dividend: rDX, or AH."""
    return u8(cpu.get(u16, RAX) >> 8) if kind.size == 1 else cpu.get(kind, RDX)


@op("F6 /4", Eb)
@op("F7 /4", Ev)
def mul(cpu, by) -> None:
    """SDM 2B, MUL."""
    T = by.type
    W = DOUBLE[T]
    product = W(cpu.get(T, RAX)) * W(by.get())
    high = T(product >> T.bits)
    put_double(cpu, T(product), high)
    cpu.produced(T(product), T(high != 0), T(high != 0))


def signed_product(a, b):
    """The double-width product of two values taken as signed: (low, high, does it need more than the low
    half?)."""
    T = type(a)
    S, W = signed(T), signed(DOUBLE[T])
    product = W(S(a)) * W(S(b))
    return T(product), T(product >> T.bits), product != W(S(product))


def multiplied(cpu, to, a, b) -> None:
    low, _, spills = signed_product(a, b)
    to.put(low)
    cpu.produced(low, to.type(spills), to.type(spills))


@op("F6 /5", Eb)
@op("F7 /5", Ev)
def imul(cpu, by) -> None:
    """SDM 2A, IMUL, one operand."""
    low, high, spills = signed_product(cpu.get(by.type, RAX), by.get())
    put_double(cpu, low, high)
    cpu.produced(low, by.type(spills), by.type(spills))


@op("0F AF /r", Gv, Ev)
def imul_(cpu, to, by) -> None:
    """SDM 2A, IMUL, two operands."""
    multiplied(cpu, to, to.get(), by.get())


@op("69 /r iz", Gv, Ev, Iz)
@op("6B /r ib", Gv, Ev, sIb)
def imul__(cpu, to, a, b) -> None:
    """SDM 2A, IMUL, three operands."""
    multiplied(cpu, to, a.get(), b.get())


@function
def divide_wide(high: u64, low: u64, by: u64) -> u64:
    """(high:low) / by, where high < by: two digits of 32 bits, each guessed and corrected (Knuth 2, 4.3.1,
    D)."""
    shift = clz(by)
    by = by << shift
    high = high << shift | low >> 64 - shift
    low = low << shift
    first = digit(high, low >> 32, by)
    rest = (high << 32 | low >> 32) - first * by
    return first << 32 | digit(rest, low & 0xFFFF_FFFF, by)


def digit(high, low, by):
    """One 32-bit digit of (high:low) / by, where by's top bit is set."""
    top, bottom = by >> 32, by & 0xFFFF_FFFF
    guess, rest = high // top, high % top
    while guess >> 32 != 0 or guess * bottom > (rest << 32 | low):
        guess = guess - 1
        rest = rest + top
        if rest >> 32 != 0:
            break
    return guess


def divided(cpu, high, low, by):
    """Unsigned quotient and remainder of a double-width value, or #DE."""
    T = type(low)
    if unlikely(high >= by):
        cpu.raise_fault(VECTOR_DE)
    if T.size == 8:
        if unlikely(high != 0):
            quotient = divide_wide(high, low, by)
        else:
            quotient = low // by
    else:
        W = DOUBLE[T]
        quotient = T((W(high) << T.bits | W(low)) // W(by))
    return quotient, low - quotient * by


@op("F6 /6", Eb)
@op("F7 /6", Ev)
def div(cpu, by) -> None:
    """SDM 2A, DIV."""
    T = by.type
    quotient, remainder = divided(cpu, get_high(cpu, T), cpu.get(T, RAX), by.get())
    put_double(cpu, quotient, remainder)


@op("F6 /7", Eb)
@op("F7 /7", Ev)
def idiv(cpu, by) -> None:
    """SDM 2A, IDIV: the magnitudes are divided, then the signs are put back."""
    T = by.type
    high, low, b = get_high(cpu, T), cpu.get(T, RAX), by.get()
    minus, b_minus = high >> (T.bits - 1) != 0, b >> (T.bits - 1) != 0
    high = select(minus, ~high + T(low == 0), high)
    low = select(minus, -low, low)
    quotient, remainder = divided(cpu, high, low, select(b_minus, -b, b))
    negative = minus != b_minus
    if unlikely(quotient > T(T.mask >> 1) + T(negative)):
        cpu.raise_fault(VECTOR_DE)
    put_double(cpu, select(negative, -quotient, quotient), select(minus, -remainder, remainder))
