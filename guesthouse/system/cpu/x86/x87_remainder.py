"""x87 operations on exponents and remainders: FPREM, FPREM1, FSCALE, FXTRACT (SDM 2A).

A partial remainder takes so many binary digits at once that what is left is a multiple of 32 digits away, and
never more than 63: the book leaves the number to the processor.
"""

from guesthouse.bits import i64, select, u64, u128
from guesthouse.system.cpu.softfloat import X87, from_integer
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
from guesthouse.system.cpu.x86.float_state import C0, C2, C3
from guesthouse.system.cpu.x86.x87_arithmetic import NEAREST
from guesthouse.system.cpu.x86.x87_stack import (
    FORM,
    INDEFINITE,
    begin,
    ended,
    occupied,
    put,
    read,
    underflow,
    write,
)
from guesthouse.typed import function

FAR = 0x1_2000  # a power of two that takes any number out of range


@op("D9 F8")
def fprem(cpu):
    """SDM 2A, FPREM."""
    cpu.need_x87()
    take_remainder(cpu, u64(0))


@op("D9 F5")
def fprem1(cpu):
    """SDM 2A, FPREM1."""
    cpu.need_x87()
    take_remainder(cpu, u64(1))


@function
def take_remainder(cpu, nearest: u64) -> None:
    """FPREM, or FPREM1 if `nearest` is 1."""
    begin(cpu)
    r, codes = u128(INDEFINITE), cpu.codes & ~u64(C2)
    cpu.codes = codes
    if occupied(cpu, u64(0)) and occupied(cpu, u64(1)):
        r = remainder_of(cpu, nearest, read(cpu, u64(0)), read(cpu, u64(1)))
    else:
        underflow(cpu)
    if ended(cpu):
        write(cpu, u64(0), r)
    else:
        cpu.codes = codes


def remainder_of(cpu, nearest, a, b):
    """a rem b; the quotient's last bits go to C0, C3 and C1, and C2 tells that it is not all yet."""
    env = cpu.x87
    if is_nan(FORM, a) or is_nan(FORM, b):
        return nan_of(env, FORM, a, b)
    if is_infinite(FORM, a) or is_zero(FORM, b):
        return invalid(env, FORM)
    note_denormal(env, FORM, a)
    note_denormal(env, FORM, b)
    cpu.codes = u64(0)
    if is_zero(FORM, a) or is_infinite(FORM, b):
        return normal(a)
    ea, sa = unpacked(FORM, a)
    eb, sb = unpacked(FORM, b)
    if ea < eb - 1 or (ea < eb and nearest == 0):
        return again(env, sign_of(FORM, a), ea, sa)
    return divided(cpu, nearest, sign_of(FORM, a), ea - eb, sa, eb, sb)


def normal(a):
    """The number itself; a pseudo-denormal as the normal number that it is."""
    pseudo = (a >> 64 & 0x7FFF == 0) & (a >> 63 & 1 != 0)
    return select(pseudo, a | u128(1) << 64, a)


def again(env, sign, exponent, significand):
    """A number from its parts; exact."""
    return round_extended(env, FORM, u64(NEAREST), sign, exponent, u128(significand) << 64)


def divided(cpu, nearest, sign, distance, sa, eb, sb):
    """The remainder of sa * 2**distance by sb, bit by bit; the distance is -1 or more."""
    rest, quotient, steps = u128(sa), u64(0), distance
    if distance >= 64:
        steps = distance & 31 | 32
        cpu.codes = u64(C2)
    if distance < 0:
        rest, eb = u128(sa), eb - 1
    else:
        left = steps
        while left >= 0:
            quotient = quotient << 1
            if rest >= u128(sb):
                rest, quotient = rest - u128(sb), quotient | 1
            rest, left = rest << 1, left - 1
        rest = rest >> 1
    exponent = eb + (distance - steps)
    if distance < 64:
        if nearest != 0:
            wide = u128(sb) << u128(distance < 0)
            if rest * 2 > wide or (rest * 2 == wide and quotient & 1 != 0):
                rest, sign, quotient = wide - rest, sign ^ 1, quotient + 1
        cpu.codes = select(quotient & 4 != 0, u64(C0), u64(0)) | select(quotient & 2 != 0, u64(C3), u64(0))
        cpu.x87.up = quotient & 1
    up = cpu.x87.up
    r = zero(FORM, sign)
    if rest != 0:
        r = round_extended(cpu.x87, FORM, u64(NEAREST), sign, exponent, rest << 63 << 1)
    cpu.x87.up = up
    return r


@op("D9 FD")
def fscale(cpu):
    """SDM 2A, FSCALE."""
    cpu.need_x87()
    scale_top(cpu)


@function
def scale_top(cpu) -> None:
    begin(cpu)
    r = u128(INDEFINITE)
    if occupied(cpu, u64(0)) and occupied(cpu, u64(1)):
        r = scaled(cpu.x87, read(cpu, u64(0)), read(cpu, u64(1)))
    else:
        underflow(cpu)
    put(cpu, u64(0), r)


def scaled(env, a, b):
    """a * 2**trunc(b)."""
    if is_nan(FORM, a) or is_nan(FORM, b):
        return nan_of(env, FORM, a, b)
    sign = sign_of(FORM, a)
    if is_infinite(FORM, b):
        if is_zero(FORM, a) if sign_of(FORM, b) == 0 else is_infinite(FORM, a):
            return invalid(env, FORM)
        note_denormal(env, FORM, a)
        return zero(FORM, sign) | FORM.infinity if sign_of(FORM, b) == 0 else zero(FORM, sign)
    note_denormal(env, FORM, a)
    note_denormal(env, FORM, b)
    if is_infinite(FORM, a) or is_zero(FORM, a):
        return a
    exponent, significand = unpacked(FORM, a)
    by, size = unpacked(FORM, b)
    by = by - FORM.bias
    steps = i64(0)
    if by >= 17:
        steps = i64(FAR)
    elif by >= 0:
        steps = i64(size >> u64(63 - by))
    exponent = exponent + steps if sign_of(FORM, b) == 0 else exponent - steps
    return round_extended(env, FORM, env.rounding, sign, exponent, u128(significand) << 64)


@op("D9 F4")
def fxtract(cpu):
    """SDM 2A, FXTRACT."""
    cpu.need_x87()
    extract_exponent(cpu)


@function
def extract_exponent(cpu) -> None:
    """ST(0) becomes the exponent, and the significand is pushed."""
    begin(cpu)
    env, exponent, significand = cpu.x87, u128(INDEFINITE), u128(INDEFINITE)
    if not occupied(cpu, u64(0)):
        underflow(cpu)
    elif occupied(cpu, u64(7)):
        underflow(cpu)
        env.up = u64(1)
    else:
        a = read(cpu, u64(0))
        exponent, significand = exponent_and_significand(env, a)
    if ended(cpu):
        write(cpu, u64(0), exponent)
        cpu.top = cpu.top - 1 & 7
        write(cpu, u64(0), significand)


def exponent_and_significand(env, a):
    """Both as numbers."""
    if is_nan(FORM, a):
        nan = nan_of_one(env, FORM, a)
        return nan, nan
    if is_infinite(FORM, a):
        return u128(FORM.infinity), a
    if is_zero(FORM, a):
        env.flags |= X87.by_zero
        return u128(FORM.infinity | FORM.sign), a
    note_denormal(env, FORM, a)
    exponent, significand = unpacked(FORM, a)
    number = from_integer(env, FORM, u64(NEAREST), exponent - FORM.bias)
    return number, zero(FORM, sign_of(FORM, a)) | u128(FORM.bias) << 64 | u128(significand)
