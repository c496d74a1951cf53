"""Conversions between floating-point formats and integers, and rounding to an integral value: IEEE 754-2019,
5.4.
"""

from guesthouse.system.cpu.softfloat.formats import CANONICAL, LARGER, Environment, Format
from guesthouse.system.cpu.softfloat.rounding import (
    increments,
    is_infinite,
    is_nan,
    is_signaling,
    is_unsupported,
    is_zero,
    jammed,
    nan_of_one,
    note_denormal,
    note_direction,
    rounded,
    sign_of,
    taken,
    unpacked,
    zero,
)
from guesthouse.typed import function, i64, static, u64, u128


def to_integer(env: Environment, form: Format, mode: u64, a, kind: type):
    """a rounded to the integer type `kind`, as its pattern in a u64."""
    if form.explicit:
        return extended_to_integer(env, form, mode, a, kind)
    return plain_to_integer(env, form, mode, a, kind)


@function
def plain_to_integer(env: Environment, form: static, mode: u64, a: u64, kind: type) -> u64:
    return integer_of(env, form, mode, a, kind)


@function
def extended_to_integer(env: Environment, form: static, mode: u64, a: u128, kind: type) -> u64:
    return integer_of(env, form, mode, a, kind)


def integer_of(env: Environment, form: Format, mode: u64, a, kind: type):
    a, sign = taken(env, form, a), sign_of(form, a)
    if is_nan(form, a):
        return no_integer(env, form, kind, u64(0))
    if is_infinite(form, a):
        return no_integer(env, form, kind, sign)
    exponent, significand = unpacked(form, a)
    exponent = exponent - form.bias
    if exponent >= 64:
        return no_integer(env, form, kind, sign)
    whole, inexact, up = integral(form, mode, sign, exponent, significand)
    if not fits(kind, sign, whole):
        return no_integer(env, form, kind, sign)
    note_direction(env, form, up)
    if inexact:
        env.flags |= form.rules.inexact
    magnitude = u64(whole)
    return (0 - magnitude if sign != 0 else magnitude) & ((1 << kind.bits) - 1)


def integral(form: Format, mode: u64, sign: u64, exponent: i64, significand: u64):
    """The integer nearest to significand / 2**63 * 2**exponent, whether it is not that, and whether it is
    larger.
    """
    wide = jammed(u128(significand) << 64, 63 - exponent)
    whole, rest = wide >> 64, u64(wide)
    up = increments(form.rules, mode, sign, whole & 1 != 0, rest, u64(1 << 63))
    return whole + u128(up), rest != 0, up


def fits(kind: type, sign: u64, magnitude: u128):
    """Whether an integer type holds this number."""
    if kind.signed:
        return magnitude < (1 << (kind.bits - 1)) + u128(sign)
    return magnitude < (1 << kind.bits) and (sign == 0 or magnitude == 0)


def no_integer(env: Environment, form: Format, kind: type, sign: u64):
    """An invalid conversion: x86's "integer indefinite", or RISC-V's nearest integer (a NaN counts as
    positive).
    """
    env.flags |= form.rules.invalid
    note_direction(env, form, False)
    if form.rules.saturates:
        return u64(kind.least & ((1 << kind.bits) - 1)) if sign != 0 else u64(kind.most)
    return u64(1 << (kind.bits - 1))


def from_integer(env: Environment, form: Format, mode: u64, v):
    """The number nearest to an i64 or u64."""
    sign, magnitude = u64(0), u64(v)
    if type(v) is i64:
        if v < 0:
            sign, magnitude = u64(1), 0 - magnitude
    if form.explicit:
        return extended_from_magnitude(env, form, mode, sign, magnitude)
    return from_magnitude(env, form, mode, sign, magnitude)


@function
def from_magnitude(env: Environment, form: static, mode: u64, sign: u64, magnitude: u64) -> u64:
    return number_of(env, form, mode, sign, magnitude)


@function
def extended_from_magnitude(env: Environment, form: static, mode: u64, sign: u64, magnitude: u64) -> u128:
    return number_of(env, form, mode, sign, magnitude)


def number_of(env: Environment, form: Format, mode: u64, sign: u64, magnitude: u64):
    if magnitude == 0:
        return zero(form, sign)
    return rounded(env, form, mode, sign, i64(form.bias + 63), u128(magnitude) << 64)


def convert(env: Environment, source: Format, to: Format, mode: u64, a):
    """The number of format `to` that is nearest to a number of format `source`."""
    if source.explicit:
        return extended_to_plain(env, source, to, mode, a)
    if to.explicit:
        return plain_to_extended(env, source, to, mode, a)
    return plain_to_plain(env, source, to, mode, a)


@function
def plain_to_plain(env: Environment, source: static, to: static, mode: u64, a: u64) -> u64:
    return converted(env, source, to, mode, a)


@function
def plain_to_extended(env: Environment, source: static, to: static, mode: u64, a: u64) -> u128:
    return converted(env, source, to, mode, a)


@function
def extended_to_plain(env: Environment, source: static, to: static, mode: u64, a: u128) -> u64:
    return converted(env, source, to, mode, a)


def converted(env: Environment, source: Format, to: Format, mode: u64, a):
    a, sign = taken(env, source, a), sign_of(source, a)
    if is_nan(source, a):
        return converted_nan(env, source, to, a)
    if source.bits < to.bits:
        note_denormal(env, source, a)
    elif source.rules.nan != LARGER:
        note_denormal(env, source, a)  # x87 stores do not report them: SDM 2A, FST
    if is_infinite(source, a):
        return zero(to, sign) | to.infinity
    if is_zero(source, a):
        return zero(to, sign)
    exponent, significand = unpacked(source, a)
    return rounded(env, to, mode, sign, exponent - source.bias + to.bias, u128(significand) << 64)


def converted_nan(env: Environment, source: Format, to: Format, a):
    """A NaN keeps its sign and the upper bits of its payload, unless there is only one NaN."""
    if is_signaling(source, a):
        env.flags |= source.rules.invalid
    if source.rules.nan == CANONICAL:
        return to.raw(to.default_nan)
    if source.explicit:
        if is_unsupported(source, a):
            return to.raw(to.default_nan)
    if source.precision > to.precision:
        payload = to.raw(a >> (source.precision - to.precision))
    else:
        payload = to.raw(a) << (to.precision - source.precision)
    return zero(to, sign_of(source, a)) | to.infinity | payload & to.fraction | to.quiet


def round_to_integral(env: Environment, form: Format, mode: u64, a, exact: bool):
    """The integral number of the same format nearest to a; inexact is reported if `exact`."""
    if form.explicit:
        return extended_integral(env, form, mode, a, exact)
    return plain_integral(env, form, mode, a, exact)


@function
def plain_integral(env: Environment, form: static, mode: u64, a: u64, exact: static) -> u64:
    return integral_of(env, form, mode, a, exact)


@function
def extended_integral(env: Environment, form: static, mode: u64, a: u128, exact: static) -> u128:
    return integral_of(env, form, mode, a, exact)


def integral_of(env: Environment, form: Format, mode: u64, a, exact: bool):
    a, sign = taken(env, form, a), sign_of(form, a)
    if is_nan(form, a):
        return nan_of_one(env, form, a)
    if form.explicit:
        note_denormal(env, form, a)
    exponent, significand = unpacked(form, a)
    exponent = exponent - form.bias
    if significand == 0 or exponent >= form.precision - 1:
        return a
    whole, inexact, up = integral(form, mode, sign, exponent, significand)
    note_direction(env, form, up)
    if exact and inexact:
        env.flags |= form.rules.inexact
    if whole == 0:
        return zero(form, sign)
    return rounded_whole(env, form, mode, sign, u64(whole), up)


def rounded_whole(env: Environment, form: Format, mode: u64, sign: u64, whole: u64, up):
    """An integer that is exact in this format; C1 keeps what rounding to it said."""
    made = rounded(env, form, mode, sign, i64(form.bias + 63), u128(whole) << 64)
    note_direction(env, form, up)
    return made
