"""Addition, subtraction, multiplication, division, square root and fused multiply-add: IEEE 754-2019 clause
5.4.1.

Each operation is first tried on the host where that gives the same bits and flags: the mode is nearest-even,
"inexact" is already set, operands are normal (or zero), and so is the result, with a binade to spare against
underflow. The environment's `host` switches that off. The integer way follows the standard's text and is
always right.
"""

from guesthouse.system.cpu.softfloat.formats import X87, Environment, Format
from guesthouse.system.cpu.softfloat.rounding import (
    cancelled,
    invalid,
    is_infinite,
    is_nan,
    is_zero,
    jammed,
    nan_of,
    nan_of_one,
    note_denormal,
    round_controlled,
    rounded,
    sign_of,
    taken,
    unpacked,
    zero,
)
from guesthouse.typed import clz, function, i64, likely, static, u32, u64, u128
from guesthouse.typed import sqrt as host_sqrt


def add(env: Environment, form: Format, mode: u64, a, b):
    """a + b, rounded."""
    if form.explicit:
        return extended_sum(env, mode, a, b, u64(0))
    if host_may(env, form, mode, a, b):
        r = from_host(form, host(form, a) + host(form, b))
        if likely(ordinary(form, r) or r & form.magnitude == 0):
            return r
    return plain_sum(env, form, mode, a, b, u64(0))


def sub(env: Environment, form: Format, mode: u64, a, b):
    """a - b, rounded."""
    if form.explicit:
        return extended_sum(env, mode, a, b, u64(1))
    if host_may(env, form, mode, a, b):
        r = from_host(form, host(form, a) - host(form, b))
        if likely(ordinary(form, r) or r & form.magnitude == 0):
            return r
    return plain_sum(env, form, mode, a, b, u64(1))


def mul(env: Environment, form: Format, mode: u64, a, b):
    """a * b, rounded."""
    if form.explicit:
        return extended_mul(env, mode, a, b)
    if host_may(env, form, mode, a, b):
        r = from_host(form, host(form, a) * host(form, b))
        if likely(ordinary(form, r)):
            return r
    return plain_mul(env, form, mode, a, b)


def div(env: Environment, form: Format, mode: u64, a, b):
    """a / b, rounded."""
    if form.explicit:
        return extended_div(env, mode, a, b)
    if host_may(env, form, mode, a, b):
        r = from_host(form, host(form, a) / host(form, b))
        if likely(ordinary(form, r)):
            return r
    return plain_div(env, form, mode, a, b)


def sqrt(env: Environment, form: Format, mode: u64, a):
    """The square root of a, rounded."""
    if form.explicit:
        return extended_sqrt(env, mode, a)
    if host_may(env, form, mode, a, a):
        if likely(a - form.minimum < form.infinity - form.minimum):
            return from_host(form, host_sqrt(host(form, a)))
    return plain_sqrt(env, form, mode, a)


# The host's way.


def host_may(env: Environment, form: Format, mode: u64, a, b):
    """Whether the host's arithmetic does all that the guest's would, but for what the result must tell."""
    may = env.flags & env.host != 0 and mode == form.rules.nearest
    if form.rules.denormal:
        return likely(may and undenormal(form, a) and undenormal(form, b))
    return likely(may)


def undenormal(form: Format, a):
    """Zero, or not below the normal numbers; only denormals lie in [0, minimum - 1) after 1 is taken off."""
    return (a & form.magnitude) - 1 >= form.minimum - 1


def ordinary(form: Format, r):
    """Normal, finite, and not so small that it could have been rounded up from a denormal."""
    return (r & form.magnitude) - 2 * form.minimum < form.infinity - 2 * form.minimum


def host(form: Format, a):
    """The pattern as a number of the host."""
    if form.bits == 32:
        return form.host.from_bits(u32(a))
    return form.host.from_bits(a)


def from_host(form: Format, r):
    return u64(r.to_bits())


# The integer way, one machine-code function per operation and format.


@function
def plain_sum(env: Environment, form: static, mode: u64, a: u64, b: u64, negate: u64) -> u64:
    return sum_of(env, form, mode, a, b, negate)


@function
def plain_mul(env: Environment, form: static, mode: u64, a: u64, b: u64) -> u64:
    return product_of(env, form, mode, a, b)


@function
def plain_div(env: Environment, form: static, mode: u64, a: u64, b: u64) -> u64:
    return quotient_of(env, form, mode, a, b)


@function
def plain_sqrt(env: Environment, form: static, mode: u64, a: u64) -> u64:
    return root_of(env, form, mode, a)


@function
def extended_sum(env: Environment, mode: u64, a: u128, b: u128, negate: u64) -> u128:
    return sum_of(env, X87.extended, mode, a, b, negate)


@function
def extended_mul(env: Environment, mode: u64, a: u128, b: u128) -> u128:
    return product_of(env, X87.extended, mode, a, b)


@function
def extended_div(env: Environment, mode: u64, a: u128, b: u128) -> u128:
    return quotient_of(env, X87.extended, mode, a, b)


@function
def extended_sqrt(env: Environment, mode: u64, a: u128) -> u128:
    return root_of(env, X87.extended, mode, a)


def finished(env: Environment, form: Format, mode: u64, sign: u64, exponent: i64, significand: u128):
    """rounded(), heeding x87's precision control."""
    if form.explicit:
        return round_controlled(env, form, mode, sign, exponent, significand)
    return rounded(env, form, mode, sign, exponent, significand)


def sum_of(env: Environment, form: Format, mode: u64, a, b, negate: u64):
    """a + b, or a - b where `negate` is 1; a NaN operand keeps its sign either way."""
    a, b = taken(env, form, a), taken(env, form, b)
    if is_nan(form, a) or is_nan(form, b):
        return nan_of(env, form, a, b)
    b = b ^ form.raw(negate) << (form.bits - 1)
    if is_infinite(form, a) and is_infinite(form, b) and a != b:
        return invalid(env, form)
    note_denormal(env, form, a)
    note_denormal(env, form, b)
    if is_infinite(form, a):
        return a
    if is_infinite(form, b):
        return b
    return finite_sum(env, form, mode, a, b)


def finite_sum(env: Environment, form: Format, mode: u64, a, b):
    sign, other = sign_of(form, a), sign_of(form, b)
    ea, sa = unpacked(form, a)
    eb, sb = unpacked(form, b)
    if ea < eb or (ea == eb and sa < sb):
        sign, other, ea, eb, sa, sb = other, sign, eb, ea, sb, sa
    small = jammed(u128(sb) << 63, ea - eb)
    total = u128(sa) << 63
    total = total + small if sign == other else total - small
    if total == 0:
        return zero(form, sign) if sign == other else cancelled(form, mode)
    return finished(env, form, mode, sign, ea + 1, total)


def product_of(env: Environment, form: Format, mode: u64, a, b):
    a, b = taken(env, form, a), taken(env, form, b)
    if is_nan(form, a) or is_nan(form, b):
        return nan_of(env, form, a, b)
    if (is_infinite(form, a) and is_zero(form, b)) or (is_zero(form, a) and is_infinite(form, b)):
        return invalid(env, form)
    note_denormal(env, form, a)
    note_denormal(env, form, b)
    sign = sign_of(form, a) ^ sign_of(form, b)
    if is_infinite(form, a) or is_infinite(form, b):
        return zero(form, sign) | form.infinity
    if is_zero(form, a) or is_zero(form, b):
        return zero(form, sign)
    ea, sa = unpacked(form, a)
    eb, sb = unpacked(form, b)
    return finished(env, form, mode, sign, ea + eb - (form.bias - 1), u128(sa) * u128(sb))


def quotient_of(env: Environment, form: Format, mode: u64, a, b):
    a, b = taken(env, form, a), taken(env, form, b)
    if is_nan(form, a) or is_nan(form, b):
        return nan_of(env, form, a, b)
    if (is_infinite(form, a) and is_infinite(form, b)) or (is_zero(form, a) and is_zero(form, b)):
        return invalid(env, form)
    sign = sign_of(form, a) ^ sign_of(form, b)
    if is_zero(form, b) and not is_infinite(form, a):
        env.flags |= form.rules.by_zero  # a denormal dividend is not reported then
        return zero(form, sign) | form.infinity
    note_denormal(env, form, a)
    note_denormal(env, form, b)
    if is_infinite(form, a):
        return zero(form, sign) | form.infinity
    if is_zero(form, a) or is_infinite(form, b):
        return zero(form, sign)
    ea, sa = unpacked(form, a)
    eb, sb = unpacked(form, b)
    return finished(env, form, mode, sign, ea - eb + form.bias, ratio(form, sa, sb))


def ratio(form: Format, a: u64, b: u64):
    """a / b as a fraction of 2**127, both with their top bits set; below its last bit only zeros, or the last
    bit is 1.
    """
    high = long_divide(a >> 1, a << 63, b)
    rest = (a << 63) - high * b
    if not form.explicit:
        return u128(high) << 64 | u128(rest != 0)
    low = long_divide(rest, u64(0), b)
    return u128(high) << 64 | u128(low | u64(low * b != 0))


@function
def long_divide(high: u64, low: u64, by: u64) -> u64:
    """(high, low) / by, where high < by and by has its top bit set: two steps of division by half words
    (Knuth, 4.3.1).
    """
    first, rest = half_divide(high, low >> 32, by)
    second, rest = half_divide(rest, low & 0xFFFF_FFFF, by)
    return first << 32 | second


def half_divide(high: u64, digit: u64, by: u64):
    """A 32-bit digit of the quotient of (high, digit) and the remainder."""
    top, bottom = by >> 32, by & 0xFFFF_FFFF
    guess, rest = high // top, high % top
    while guess >> 32 != 0 or guess * bottom > (rest << 32 | digit):
        guess, rest = guess - 1, rest + top
        if rest >> 32 != 0:
            break
    return guess, (high << 32 | digit) - guess * by


def root_of(env: Environment, form: Format, mode: u64, a):
    a = taken(env, form, a)
    if is_nan(form, a):
        return nan_of_one(env, form, a)
    if is_zero(form, a):
        return a
    if sign_of(form, a) != 0:
        return invalid(env, form)
    note_denormal(env, form, a)
    if is_infinite(form, a):
        return a
    exponent, significand = unpacked(form, a)
    exponent = exponent - form.bias
    square = u128(significand) << 63
    if exponent & 1 != 0:
        square = square << 1
    return finished(env, form, mode, u64(0), (exponent >> 1) + form.bias, whole_root(square))


def whole_root(square: u128):
    """The square root of square / 2**126, as a fraction of 2**127, its last bit 1 if it goes on."""
    root = digits_of_root(square)
    rest = square - u128(root) * u128(root)
    return u128(root) << 64 | u128(rest > u128(root)) << 63 | u128(rest != 0)


@function
def digits_of_root(square: u128) -> u64:
    """The whole part of a square root, bit by bit: each stays if the square of what there is does not get too
    large.
    """
    root, rest, bit = u128(0), square, u128(1 << 126)
    while bit != 0:
        if rest >= root + bit:
            rest -= root + bit
            root = (root >> 1) + bit
        else:
            root = root >> 1
        bit = bit >> 2
    return u64(root)


# Fused multiply-add (RISC-V; the formats with a hidden bit only).


@function
def fma(env: Environment, form: static, mode: u64, a: u64, b: u64, c: u64) -> u64:
    """a * b + c, rounded once."""
    sign = sign_of(form, a) ^ sign_of(form, b)
    lost = (is_infinite(form, a) and is_zero(form, b)) or (is_zero(form, a) and is_infinite(form, b))
    if is_nan(form, a) or is_nan(form, b) or is_nan(form, c):
        if lost:
            env.flags |= form.rules.invalid
        nan = nan_of(env, form, a, b) if is_nan(form, a) or is_nan(form, b) else nan_of_one(env, form, c)
        return nan_of(env, form, nan, c) if is_nan(form, c) else nan
    if lost:
        return invalid(env, form)
    if is_infinite(form, a) or is_infinite(form, b):
        if is_infinite(form, c) and sign_of(form, c) != sign:
            return invalid(env, form)
        return zero(form, sign) | form.infinity
    if is_infinite(form, c):
        return c
    return fused(env, form, mode, sign, a, b, c)


def fused(env: Environment, form: Format, mode: u64, sign: u64, a, b, c):
    """fma() of finite numbers. A product has at most 106 bits: what cancels is exact or below the rounding
    position.
    """
    other = sign_of(form, c)
    ea, sa = unpacked(form, a)
    eb, sb = unpacked(form, b)
    ec, sc = unpacked(form, c)
    product, large, small = u128(sa) * u128(sb), ea + eb - (form.bias - 1), u128(sc) << 63
    if product == 0:
        if sc == 0:
            return zero(form, sign) if sign == other else cancelled(form, mode)
        return c
    up = clz(product)
    product, large, ec = product << up >> 1, large - i64(up) + 1, ec + 1
    if small == 0:
        ec = large - 1
    if large < ec or (large == ec and product < small):
        sign, other, large, ec, product, small = other, sign, ec, large, small, product
    small = jammed(small, large - ec)
    total = product + small if sign == other else product - small
    if total == 0:
        return cancelled(form, mode)
    return rounded(env, form, mode, sign, large, total)
