"""Taking numbers apart and putting them together: the step that every softfloat operation ends with.

Between the two a number is a sign (0 or 1), a biased exponent as i64, and a significand whose top bit is its
leading one. IEEE 754-2019 clauses 4.3 (rounding) and 7.4 to 7.6 (overflow, underflow, inexact); tininess is
found after rounding.
"""

from guesthouse.system.cpu.softfloat.formats import CANONICAL, FIRST, LARGER, Environment, Format, Rules
from guesthouse.typed import clz, function, i64, static, u64, u128

BIAS_ADJUST = 24576  # SDM 1, 8.5.4: what a register's exponent is scaled by when #O or #U is not masked


def sign_of(form: Format, a):
    """0 or 1."""
    return u64(a >> (form.bits - 1))


def exponent_of(form: Format, a):
    return u64(a >> form.field) & form.exponent_max


def is_nan(form: Format, a):
    """Any NaN, or one of the x87 patterns that no longer mean a number (SDM 1, 8.2.2)."""
    if form.explicit:
        return (a & form.magnitude) > form.infinity or is_unsupported(form, a)
    return (a & form.magnitude) > form.infinity


def is_unsupported(form: Format, a):
    """x87: an unnormal, a pseudo-infinity or a pseudo-NaN."""
    return exponent_of(form, a) != 0 and u64(a) >> 63 == 0


def is_signaling(form: Format, a):
    """A NaN whose use is an invalid operation."""
    if form.explicit:
        return is_unsupported(form, a) or ((a & form.magnitude) > form.infinity and a & form.quiet == 0)
    return (a & form.magnitude) > form.infinity and a & form.quiet == 0


def is_infinite(form: Format, a):
    return a & form.magnitude == form.infinity


def is_zero(form: Format, a):
    return a & form.magnitude == 0


def is_denormal(form: Format, a):
    return exponent_of(form, a) == 0 and a & form.magnitude != 0


def taken(env: Environment, form: Format, a):
    """The operand as the operation sees it: MXCSR.DAZ makes zeros of denormals."""
    if form.rules.flushes:
        if env.zeros != 0 and exponent_of(form, a) == 0:
            return a & form.sign
    return a


def note_denormal(env: Environment, form: Format, a) -> None:
    """x86 reports denormal operands."""
    if form.rules.denormal:
        if is_denormal(form, a):
            env.flags |= form.rules.denormal


def invalid(env: Environment, form: Format):
    """The answer to an operation that has none."""
    env.flags |= form.rules.invalid
    return form.raw(form.default_nan)


def quieted(form: Format, a):
    """x86: what becomes of a NaN operand."""
    if form.explicit:
        if is_unsupported(form, a):
            return form.raw(form.default_nan)
    return a | form.quiet


def nan_of_one(env: Environment, form: Format, a):
    """The result of an operation on one NaN."""
    if is_signaling(form, a):
        env.flags |= form.rules.invalid
    if form.rules.nan == CANONICAL:
        return form.raw(form.default_nan)
    return quieted(form, a)


def nan_of(env: Environment, form: Format, a, b):
    """The result of an operation on two operands of which one is a NaN. SDM 1, table 4-7."""
    if is_signaling(form, a) or is_signaling(form, b):
        env.flags |= form.rules.invalid
    if form.rules.nan == CANONICAL:
        return form.raw(form.default_nan)
    if form.rules.nan == FIRST:
        return quieted(form, a) if is_nan(form, a) else quieted(form, b)
    return larger_nan(form, a, b)


def larger_nan(form: Format, a, b):
    """x87: a quiet NaN before a signalling one, then the larger significand, then the positive one."""
    if is_unsupported(form, a) or is_unsupported(form, b):
        return form.raw(form.default_nan)
    if not is_nan(form, b):
        return quieted(form, a)
    if not is_nan(form, a):
        return quieted(form, b)
    if is_signaling(form, a) != is_signaling(form, b):
        return b if is_signaling(form, a) else a
    if u64(a) != u64(b):
        return quieted(form, a) if u64(a) > u64(b) else quieted(form, b)
    return quieted(form, a) if sign_of(form, a) == 0 else quieted(form, b)


def unpacked(form: Format, a):
    """Biased exponent and 64-bit significand of a finite number, normalised; the significand of zero is 0."""
    exponent = i64(exponent_of(form, a))
    if form.explicit:
        significand = u64(a)
    else:
        significand = u64(a & form.fraction) << (64 - form.precision)
        if exponent != 0:
            significand |= 1 << 63
    if exponent == 0:
        exponent = i64(1)
    above = clz(significand)
    return exponent - i64(above), significand << above


def jammed(x: u128, by: i64):
    """x shifted right; ones that fall out stay visible in the lowest bit."""
    if by >= 128:
        return u128(x != 0)
    kept = x >> u128(by)
    return kept | u128(kept << u128(by) != x)


def increments(rules: Rules, mode: u64, sign: u64, odd, rest, half):
    """Whether what is cut off rounds the magnitude up."""
    if mode == rules.nearest:
        return rest > half or (rest == half and odd)
    if mode == rules.down:
        return sign != 0 and rest != 0
    if mode == rules.up:
        return sign == 0 and rest != 0
    if rules.to_max is not None:
        if mode == rules.to_max:
            return rest >= half
    return False


def note_direction(env: Environment, form: Format, up) -> None:
    """x87 tells in C1 whether the last rounding was away from zero."""
    if form.rules.nan == LARGER:
        env.up = u64(up)


def zero(form: Format, sign: u64):
    return form.raw(sign) << (form.bits - 1)


def cancelled(form: Format, mode: u64):
    """The zero that x - x gives: IEEE 754-2019, 6.3."""
    return form.raw(u64(mode == form.rules.down)) << (form.bits - 1)


def rounded(env: Environment, form: Format, mode: u64, sign: u64, exponent: i64, significand: u128):
    """The number nearest to significand / 2**127 * 2**(exponent - bias), with its flags. The significand is
    not 0.
    """
    if form.explicit:
        return round_extended(env, form, mode, sign, exponent, significand)
    return round_to(env, form, mode, sign, exponent, significand)


@function
def round_to(env: Environment, form: static, mode: u64, sign: u64, exponent: i64, significand: u128) -> u64:
    """rounded() for the formats with a hidden leading bit."""
    above = clz(significand)
    significand, exponent = significand << above, exponent - i64(above)
    cut = 128 - form.precision
    half, below = u128(1 << (cut - 1)), u128((1 << cut) - 1)
    kept, rest = u64(significand >> cut), significand & below
    up = increments(form.rules, mode, sign, kept & 1 != 0, rest, half)
    if exponent < 1:
        if exponent < 0 or not (up and kept == (1 << form.precision) - 1):
            if form.rules.denormal:
                if env.unmasked & form.rules.underflow != 0:
                    return reported(env, form, form.rules.underflow, rest != 0)
            return tiny(env, form, mode, sign, exponent, significand)
    kept = kept + u64(up)
    made = (u64(exponent - 1) << form.field) + kept
    if exponent >= form.exponent_max or (exponent >= 1 and made >= form.infinity):
        if form.rules.denormal:
            if env.unmasked & form.rules.overflow != 0:
                return reported(env, form, form.rules.overflow, rest != 0)
        return too_large(env, form, mode, sign)
    note_direction(env, form, up)
    if rest != 0:
        env.flags |= form.rules.inexact
    if exponent < 1:
        return tiny_no_more(form, sign)
    return made | sign << (form.bits - 1)


def reported(env: Environment, form: Format, what: int, inexact):
    """x86: an overflow or underflow that is not masked. No result is written; whether rounding as if
    exponents had no bounds was inexact is told (SDM 1, 4.9.1.4 and 4.9.1.5).
    """
    env.flags |= what
    if form.rules.nan == LARGER:
        env.up = u64(0)  # x87 stops before it looks
    elif inexact:
        env.flags |= form.rules.inexact
    return u64(0)


def tiny_no_more(form: Format, sign: u64):
    """The least normal number: what the largest denormal rounds up to."""
    return u64(form.minimum) | sign << (form.bits - 1)


def tiny(env: Environment, form: Format, mode: u64, sign: u64, exponent: i64, significand: u128):
    """A result below the normal numbers. It counts as underflow when it is inexact too."""
    rules, cut = form.rules, 128 - form.precision
    if rules.flushes:
        if env.flush != 0:
            env.flags |= rules.underflow | rules.inexact
            return sign << (form.bits - 1)
    significand = jammed(significand, 1 - exponent)
    half, below = u128(1 << (cut - 1)), u128((1 << cut) - 1)
    kept, rest = u64(significand >> cut), significand & below
    up = increments(rules, mode, sign, kept & 1 != 0, rest, half)
    note_direction(env, form, up)
    if rest != 0:
        env.flags |= rules.underflow | rules.inexact
    return kept + u64(up) | sign << (form.bits - 1)


def too_large(env: Environment, form: Format, mode: u64, sign: u64):
    """Overflow: infinity, or the largest finite number when rounding points away from infinity."""
    rules = form.rules
    env.flags |= rules.overflow | rules.inexact
    inward = mode == rules.to_zero or (mode == rules.down and sign == 0) or (mode == rules.up and sign != 0)
    note_direction(env, form, not inward)
    return u64(form.infinity) - u64(inward) | sign << (form.bits - 1)


@function
def round_extended(
    env: Environment, form: static, mode: u64, sign: u64, exponent: i64, significand: u128
) -> u128:
    """rounded() for the x87 format, to full precision."""
    return round_to_bits(env, form, mode, sign, exponent, significand, u64(64))


@function
def round_controlled(
    env: Environment, form: static, mode: u64, sign: u64, exponent: i64, significand: u128
) -> u128:
    """rounded() for the x87 operations that heed precision control (SDM 1, 8.1.5.2)."""
    bits = u64(64)
    if env.precision == 0:
        bits = u64(24)
    elif env.precision == 2:
        bits = u64(53)
    return round_to_bits(env, form, mode, sign, exponent, significand, bits)


@function
def round_to_bits(
    env: Environment, form: static, mode: u64, sign: u64, exponent: i64, significand: u128, precision: u64
) -> u128:
    """The x87 format with `precision` bits of significand and all of its exponents."""
    rules = form.rules
    above = clz(significand)
    significand, exponent = significand << above, exponent - i64(above)
    cut = 128 - u128(precision)
    kept, rest, up = split(rules, mode, sign, significand, cut)
    if exponent < 1 and (exponent < 0 or not (up and kept + 1 == u128(1) << u128(precision))):
        if env.unmasked & rules.underflow != 0:
            env.flags |= rules.underflow
            exponent += BIAS_ADJUST
            if exponent < 1:
                return out_of_reach(env, rules.inexact, u128(sign) << 79, 0)
        else:
            significand, exponent = jammed(significand, 1 - exponent), i64(0)
            kept, rest, up = split(rules, mode, sign, significand, cut)
            if rest != 0:
                env.flags |= rules.underflow
    env.up = u64(up)
    if rest != 0:
        env.flags |= rules.inexact
    kept = kept + u128(up) << (cut - 64)
    if kept >> 64 != 0:
        kept, exponent = u128(1 << 63), exponent + 1
    elif exponent == 0 and kept >> 63 != 0:
        exponent = i64(1)
    if exponent >= form.exponent_max:
        if env.unmasked & rules.overflow != 0:
            env.flags |= rules.overflow
            exponent -= BIAS_ADJUST
            if exponent >= form.exponent_max:
                return out_of_reach(env, rules.inexact, u128(form.infinity) | u128(sign) << 79, 1)
        else:
            return extended_overflow(env, form, mode, sign, cut)
    return kept | u128(exponent) << 64 | u128(sign) << 79


def out_of_reach(env: Environment, inexact: int, result, up: int):
    """FSCALE can leave even the adjusted range of exponents: zero or infinity results all the same (SDM 2A,
    FSCALE).
    """
    env.flags |= inexact
    env.up = u64(up)
    return result


def split(rules: Rules, mode: u64, sign: u64, significand: u128, cut: u128):
    """The bits above the cut, those below, and whether they round up."""
    kept = significand >> cut
    rest = significand - (kept << cut)
    return kept, rest, increments(rules, mode, sign, kept & 1 != 0, rest, u128(1) << (cut - 1))


def extended_overflow(env: Environment, form: Format, mode: u64, sign: u64, cut: u128):
    """too_large() for the x87 format at any precision."""
    rules = form.rules
    env.flags |= rules.overflow | rules.inexact
    if mode == rules.to_zero or (mode == rules.down and sign == 0) or (mode == rules.up and sign != 0):
        env.up = u64(0)
        largest = (~u128(0) >> cut << cut) >> 64
        return largest | u128(form.exponent_max - 1) << 64 | u128(sign) << 79
    env.up = u64(1)
    return u128(form.infinity) | u128(sign) << 79
