"""Comparison, minimum, maximum and classification: IEEE 754-2019 clauses 5.6.1, 5.7.2 and 9.6."""

from guesthouse.system.cpu.softfloat.formats import Environment, Format
from guesthouse.system.cpu.softfloat.rounding import (
    is_denormal,
    is_infinite,
    is_nan,
    is_signaling,
    is_zero,
    note_denormal,
    sign_of,
    taken,
    unpacked,
)
from guesthouse.typed import function, static, u64, u128

EQUAL, LESS, GREATER, UNORDERED = range(4)


def compare(env: Environment, form: Format, a, b, quiet: bool):
    """How a stands to b. A quiet comparison takes quiet NaNs as operands like others; else any NaN is
    invalid.
    """
    if form.explicit:
        return extended_compare(env, form, a, b, quiet)
    return plain_compare(env, form, a, b, quiet)


@function
def plain_compare(env: Environment, form: static, a: u64, b: u64, quiet: static) -> u64:
    a, b = taken(env, form, a), taken(env, form, b)
    if is_nan(form, a) or is_nan(form, b):
        return unordered(env, form, a, b, quiet)
    note_denormal(env, form, a)
    note_denormal(env, form, b)
    if a == b or (a | b) & form.magnitude == 0:
        return u64(EQUAL)
    if sign_of(form, a) != sign_of(form, b):
        return order(sign_of(form, a) != 0)
    return order((a < b) == (sign_of(form, a) == 0))


@function
def extended_compare(env: Environment, form: static, a: u128, b: u128, quiet: static) -> u64:
    if is_nan(form, a) or is_nan(form, b):
        return unordered(env, form, a, b, quiet)
    note_denormal(env, form, a)
    note_denormal(env, form, b)
    negative = sign_of(form, a) != 0
    if is_zero(form, a) and is_zero(form, b):
        return u64(EQUAL)
    if sign_of(form, a) != sign_of(form, b):
        return order(negative)
    ea, sa = unpacked(form, a)  # a pseudo-denormal equals a normal number
    eb, sb = unpacked(form, b)
    if ea == eb and sa == sb:
        return u64(EQUAL)
    return order((ea < eb or (ea == eb and sa < sb)) != negative)


def order(less: bool):
    return u64(LESS) if less else u64(GREATER)


def unordered(env: Environment, form: Format, a, b, quiet: bool):
    if quiet:
        if is_signaling(form, a) or is_signaling(form, b):
            env.flags |= form.rules.invalid
    else:
        env.flags |= form.rules.invalid
    return u64(UNORDERED)


def minimum(env: Environment, form: Format, a, b):
    """minimumNumber: a NaN loses against a number, -0 is less than +0."""
    return lesser(env, form, a, b, u64(0))


def maximum(env: Environment, form: Format, a, b):
    """maximumNumber."""
    return lesser(env, form, a, b, u64(form.sign))


@function
def lesser(env: Environment, form: static, a: u64, b: u64, flip: u64) -> u64:
    """The lesser of a and b after their signs are flipped, as it was before."""
    if is_nan(form, a) or is_nan(form, b):
        unordered(env, form, a, b, True)
        if is_nan(form, a):
            return u64(form.default_nan) if is_nan(form, b) else b
        return a
    x, y = a ^ flip, b ^ flip
    if sign_of(form, x) != sign_of(form, y):
        return a if sign_of(form, x) != 0 else b
    return a if (x < y) == (sign_of(form, x) == 0) else b


def classify(form: Format, a):
    """RISC-V FCLASS: one bit of ten, from negative infinity up to quiet NaN (unprivileged ISA, table 20.2).
    """
    negative = sign_of(form, a) != 0
    if is_nan(form, a):
        return u64(1 << 8) if is_signaling(form, a) else u64(1 << 9)
    if is_infinite(form, a):
        return u64(1 << 0) if negative else u64(1 << 7)
    if is_zero(form, a):
        return u64(1 << 3) if negative else u64(1 << 4)
    if is_denormal(form, a):
        return u64(1 << 2) if negative else u64(1 << 5)
    return u64(1 << 1) if negative else u64(1 << 6)
