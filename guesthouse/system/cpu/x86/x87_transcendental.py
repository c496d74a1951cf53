"""x87 exponentials and logarithms: F2XM1, FYL2X, FYL2XP1 (SDM 1, 8.3.7 and 8.3.10; SDM 2A).

Computed in fixed point of 128 bits by power series, then rounded once: within an ulp of the exact result,
which is what the SDM promises, but not always the bit that a given processor gives.
"""

from math import factorial

from guesthouse.bits import clz, i64, select, u64, u128
from guesthouse.system.cpu.softfloat import X87
from guesthouse.system.cpu.softfloat.rounding import (
    invalid,
    is_infinite,
    is_nan,
    is_zero,
    nan_of,
    nan_of_one,
    note_denormal,
    round_extended,
    sign_of,
    unpacked,
    zero,
)
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.x87_arithmetic import change
from guesthouse.system.cpu.x86.x87_stack import (
    FORM,
    INDEFINITE,
    ONE,
    begin,
    ended,
    occupied,
    pop,
    read,
    underflow,
    write,
)
from guesthouse.typed import Table, function

UNIT = 1 << 127  # one, in series
LN2 = 0xB17217F7_D1CF79AB_C9E3B398_03F2F6AF  # of 2**128
LOG2E = 0xB8AA3B29_5C17F0BB_BE87FED0_691D3E88  # of 2**127
EXPONENTIAL = Table(u128, [UNIT // factorial(n + 1) for n in range(30)])
ODD = Table(u128, [UNIT // (2 * n + 1) for n in range(24)])


@function
def times(a: u128, b: u128) -> u128:
    """The upper 128 bits of a product."""
    al, ah, bl, bh = u128(u64(a)), a >> 64, u128(u64(b)), b >> 64
    middle = (al * bl >> 64) + u128(u64(al * bh)) + u128(u64(ah * bl))
    return ah * bh + (al * bh >> 64) + (ah * bl >> 64) + (middle >> 64)


@function
def over(a: u128, b: u128) -> u128:
    """a / b of 2**127, where b has bit 126 as its top bit and a < 2 * b; its last bit is 1 if it goes on."""
    quotient, rest, n = u128(0), a, u64(0)
    while n < 128:
        quotient = quotient << 1
        if rest >= b:
            rest, quotient = rest - b, quotient | 1
        rest, n = rest << 1, n + 1
    return quotient | u128(rest != 0)


def series(table, x, terms: int, alternates):
    """c0 + c1 * x + c2 * x**2 ..., or with alternating signs; x of 2**128, the coefficients and the sum of
    2**127."""
    total, n = table[terms - 1], u64(terms - 1)
    while n != 0:
        n -= 1
        term = times(total, x)
        total = select(alternates, table[n] - term, table[n] + term)
    return total


def fixed(exponent, significand):
    """A number below 1 as a fraction of 2**128; `significand` has its top bit set, and is worth 1 to 2."""
    return significand >> u128(i64(FORM.bias - 1) - exponent)


def finished(env, sign, exponent, significand):
    """Round an inexact result: significand / 2**127 * 2**(exponent - bias)."""
    return round_extended(env, FORM, env.rounding, sign, exponent, significand | 1)


# 2**x - 1.


def two_to_x_minus_1(env, form, mode, a):
    if is_nan(FORM, a):
        return nan_of_one(env, FORM, a)
    note_denormal(env, FORM, a)
    if is_zero(FORM, a):
        return a
    exponent, significand = unpacked(FORM, a)
    if exponent >= FORM.bias:
        return edge_of_exponential(env, a)
    wide = u128(significand) << 64
    x = times(fixed(exponent, wide), u128(LN2))
    total = series(EXPONENTIAL, x, 30, sign_of(FORM, a) != 0)
    return finished(env, sign_of(FORM, a), exponent + 1, times(times(wide, u128(LN2)), total))


def edge_of_exponential(env, a):
    """1 and -1, and what the book leaves undefined beyond: the operand. Processors call it inexact."""
    if a == ONE | FORM.sign:
        env.flags |= X87.inexact
        return u128(0x3FFE << 64 | 1 << 63 | FORM.sign)
    if a == FORM.infinity | FORM.sign:
        return u128(ONE | FORM.sign)
    if a != FORM.infinity:
        env.flags |= X87.inexact
    return a


@op("D9 F0")
def f2xm1(cpu):
    """SDM 2A, F2XM1."""
    cpu.need_x87()
    change(cpu, two_to_x_minus_1)


# Two operands: ST(1) = each(ST(1), ST(0)), then pop.


@function
def combine_and_pop(cpu, each) -> None:
    begin(cpu)
    r = u128(INDEFINITE)
    if occupied(cpu, u64(0)) and occupied(cpu, u64(1)):
        r = each(cpu.x87, read(cpu, u64(1)), read(cpu, u64(0)))
    else:
        underflow(cpu)
    if ended(cpu):
        write(cpu, u64(1), r)
        pop(cpu)


@op("D9 F1")
def fyl2x(cpu):
    """SDM 2A, FYL2X."""
    cpu.need_x87()
    combine_and_pop(cpu, y_log2_x)


@op("D9 F9")
def fyl2xp1(cpu):
    """SDM 2A, FYL2XP1."""
    cpu.need_x87()
    combine_and_pop(cpu, y_log2_x_plus_1)


def y_log2_x(env, y, x):
    if is_nan(FORM, x) or is_nan(FORM, y):
        return nan_of(env, FORM, y, x)
    sign = sign_of(FORM, y)
    if sign_of(FORM, x) != 0 and not is_zero(FORM, x):
        return invalid(env, FORM)
    if is_zero(FORM, x):
        if is_zero(FORM, y):
            return invalid(env, FORM)
        if not is_infinite(FORM, y):
            env.flags |= X87.by_zero
        return zero(FORM, sign ^ 1) | FORM.infinity
    if is_infinite(FORM, x) or is_infinite(FORM, y):
        return infinite_logarithm(env, y, x)
    note_denormal(env, FORM, x)
    note_denormal(env, FORM, y)
    exponent, significand = unpacked(FORM, x)
    if is_zero(FORM, y):
        return zero(FORM, sign ^ u64(exponent < FORM.bias))
    return scaled_logarithm(env, y, exponent - FORM.bias, significand)


def infinite_logarithm(env, y, x):
    """One of both is infinite; x is positive."""
    sign = sign_of(FORM, y)
    if x == ONE or is_zero(FORM, y):
        return invalid(env, FORM)
    note_denormal(env, FORM, x)
    note_denormal(env, FORM, y)
    exponent, _ = unpacked(FORM, x)
    return zero(FORM, sign ^ u64(exponent < FORM.bias)) | FORM.infinity


def scaled_logarithm(env, y, exponent, significand):
    """y * log2(significand / 2**63 * 2**exponent): the exponent, and the logarithm of a number from 0.75
    to 1.5."""
    down, whole = u64(0), u128(significand)
    above, below = whole - (1 << 63), whole + (1 << 63)
    if significand >> 62 == 3:
        down, exponent = u64(1), exponent + 1
        above, below = (1 << 64) - whole, whole + (1 << 64)
    sign, power, size = down, i64(0), u128(0)
    if above != 0:
        up, room = i64(clz(above)) - 1, i64(clz(below)) - 1
        quotient = over(above << u128(up), below << u128(room))
        size, power = logarithm(quotient, room - up)
    return product_with(env, y, exponent, sign, power, size)


def logarithm(quotient, power):
    """2 / ln 2 * artanh(s) for s = quotient / 2**127 * 2**power: (size, power) of the same form,
    normalised."""
    lead = clz(quotient)
    quotient, power = quotient << lead, power - i64(lead)
    s = quotient >> u128(0 - power - 1)
    total = series(ODD, times(s, s), 22, False)
    size = times(times(quotient, total), u128(LOG2E))
    lead = clz(size)
    return size << lead, power + 3 - i64(lead)


def product_with(env, y, whole, sign, power, size):
    """y * (whole + or - size / 2**127 * 2**power), rounded. `sign` belongs to the fraction."""
    inexact = size != 0
    if whole != 0:
        negative = whole < 0
        left = u128(u64(0 - whole if negative else whole)) << 111
        part = size >> u128(16 - power) if power > -112 else u128(0)
        size = left + part if (sign != 0) == negative else left - part
        sign = u64(negative)
        lead = clz(size)
        size, power = size << lead, i64(16) - i64(lead)
    sign = sign ^ sign_of(FORM, y)
    if size == 0:
        return zero(FORM, sign_of(FORM, y))
    exponent, significand = unpacked(FORM, y)
    if not inexact:  # a power of two: the product has at most 80 bits
        return round_extended(
            env, FORM, env.rounding, sign, exponent + power + 1, u128(significand) * (size >> 64)
        )
    return finished(env, sign, exponent + power + 1, times(size, u128(significand) << 64))


def y_log2_x_plus_1(env, y, x):
    """For x from sqrt(1/2) - 1 to 1 - sqrt(1/2); beyond, the book leaves the result undefined."""
    if is_nan(FORM, x) or is_nan(FORM, y):
        return nan_of(env, FORM, y, x)
    sign = sign_of(FORM, x)
    if is_infinite(FORM, x) or is_infinite(FORM, y):
        if is_zero(FORM, x) or is_zero(FORM, y) or (is_infinite(FORM, x) and sign != 0):
            return invalid(env, FORM)
        return zero(FORM, sign ^ sign_of(FORM, y)) | FORM.infinity
    note_denormal(env, FORM, x)
    note_denormal(env, FORM, y)
    if is_zero(FORM, x) or is_zero(FORM, y):
        return zero(FORM, sign ^ sign_of(FORM, y))
    exponent, significand = unpacked(FORM, x)
    if exponent >= FORM.bias:
        return outside(env, y, x)
    wide = u128(significand) << 64
    part = fixed(exponent, wide) >> 2
    below = u128(1 << 127) - part if sign != 0 else u128(1 << 127) + part  # 2 + x of 2**126
    quotient = over(wide >> 2, below >> 1)
    size, power = logarithm(quotient, exponent - FORM.bias)
    return product_with(env, y, i64(0), sign, power, size)


def outside(env, y, x):
    """x is 1 or more, or -1 or less: the logarithm where there is one, else, as processors do, x."""
    if sign_of(FORM, x) != 0:
        env.flags |= X87.inexact
        return x
    exponent, significand = unpacked(FORM, x)
    shift = exponent - FORM.bias
    total = u128(significand) << 63
    total = total + (u128(1 << 126) >> u128(shift))
    lead = clz(total)
    return scaled_logarithm(env, y, shift + 1 - i64(lead), u64(total << lead >> 64))
