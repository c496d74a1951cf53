"""x87 trigonometry: FSIN, FCOS, FSINCOS, FPTAN, FPATAN (SDM 1, 8.3.7 and 8.3.8; SDM 2A).

As x87_transcendental.py: fixed point of 128 bits, rounded once. Angles are reduced by a pi of 66 bits, as
the SDM says that processors do.
"""

from math import factorial

from guesthouse.bits import clz, i64, select, u64, u128
from guesthouse.system.cpu.softfloat.rounding import (
    invalid,
    is_infinite,
    is_nan,
    is_zero,
    nan_of,
    nan_of_one,
    note_denormal,
    sign_of,
    unpacked,
    zero,
)
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.float_state import C2
from guesthouse.system.cpu.x86.x87_stack import (
    FORM,
    INDEFINITE,
    ONE,
    begin,
    ended,
    occupied,
    read,
    underflow,
    write,
)
from guesthouse.system.cpu.x86.x87_transcendental import (
    ODD,
    UNIT,
    combine_and_pop,
    finished,
    fixed,
    over,
    series,
    times,
)
from guesthouse.typed import Table, function

HALF_PI_66 = 0x3_243F6A88_85A308D3  # of 2**65
PI = 0xC90FDAA2_2168C234_C4C6628B_80DC1CD1  # of 2**126
SINE_SERIES = Table(u128, [UNIT // factorial(2 * n + 1) for n in range(15)])
COSINE_SERIES = Table(u128, [UNIT // factorial(2 * n) for n in range(15)])
SINE, COSINE, TANGENT = range(3)


def arctangent_of_eighths(k: int) -> int:
    """atan(k / 8) of 2**125, by Euler's series."""
    term, total, n = (8 * k << 160) // (64 + k * k), 0, 0
    while term:
        total, n = total + term, n + 1
        term = term * 2 * n * k * k // ((2 * n + 1) * (64 + k * k))
    return total >> 35


ARCTANGENTS = Table(u128, [arctangent_of_eighths(k) for k in range(9)])


# FSIN and its like.


@op("D9 FE")
def fsin(cpu):
    """SDM 2A, FSIN."""
    cpu.need_x87()
    replace_angle(cpu, SINE)


@op("D9 FF")
def fcos(cpu):
    """SDM 2A, FCOS."""
    cpu.need_x87()
    replace_angle(cpu, COSINE)


@op("D9 FB")
def fsincos(cpu):
    """SDM 2A, FSINCOS."""
    cpu.need_x87()
    replace_and_push(cpu, SINE)


@op("D9 F2")
def fptan(cpu):
    """SDM 2A, FPTAN."""
    cpu.need_x87()
    replace_and_push(cpu, TANGENT)


@function
def replace_angle(cpu, what) -> None:
    """ST(0) = sin or cos of ST(0)."""
    begin(cpu)
    cpu.codes = cpu.codes & ~u64(C2)
    r = u128(INDEFINITE)
    if occupied(cpu, u64(0)):
        a = read(cpu, u64(0))
        r = a
        if too_far(a):
            cpu.codes = cpu.codes | C2
        else:
            r = function_of(cpu.x87, what, a)
    else:
        underflow(cpu)
    if ended(cpu):
        write(cpu, u64(0), r)


@function
def replace_and_push(cpu, what) -> None:
    """ST(0) = sin of ST(0), then push its cosine; or its tangent, then push 1."""
    begin(cpu)
    cpu.codes = cpu.codes & ~u64(C2)
    r, second, pushes = u128(INDEFINITE), u128(INDEFINITE), True
    if not occupied(cpu, u64(0)):
        underflow(cpu)
    elif occupied(cpu, u64(7)):
        underflow(cpu)
        cpu.x87.up = u64(1)
    elif too_far(read(cpu, u64(0))):
        r, pushes = read(cpu, u64(0)), False
        cpu.codes = cpu.codes | C2
    else:
        a = read(cpu, u64(0))
        second = companion(cpu.x87, what, a)
        r = function_of(cpu.x87, what, a)
    if ended(cpu):
        write(cpu, u64(0), r)
        if pushes:
            cpu.top = cpu.top - 1 & 7
            write(cpu, u64(0), second)


def companion(env, what, a):
    """What is pushed after the result."""
    if what == SINE:
        return function_of(env, COSINE, a)
    if is_nan(FORM, a) or is_infinite(FORM, a):
        return function_of(env, what, a)
    return u128(ONE)


def too_far(a):
    """Finite, and 2**63 or more."""
    return a & FORM.magnitude >= (FORM.bias + 63) << 64 and not is_nan(FORM, a) and not is_infinite(FORM, a)


@function
def function_of(env, what, a: u128) -> u128:
    """The sine, cosine or tangent of an angle below 2**63."""
    if is_nan(FORM, a):
        return nan_of_one(env, FORM, a)
    if is_infinite(FORM, a):
        return invalid(env, FORM)
    note_denormal(env, FORM, a)
    if is_zero(FORM, a):
        return u128(ONE) if what == COSINE else a
    exponent, significand = unpacked(FORM, a)
    exponent = exponent - FORM.bias
    rest, quadrant, back = u128(significand) << 64, u64(0), u64(0)
    if exponent >= -1:
        rest, quadrant = reduced(u128(significand) << u128(exponent + 2))
        if rest * 2 > HALF_PI_66:
            rest, quadrant, back = HALF_PI_66 - rest, quadrant + 1, u64(1)
        lead = clz(rest)
        rest, exponent = rest << lead, i64(62) - i64(lead)
    return of_reduced(env, what, rest, exponent, quadrant, back, sign_of(FORM, a))


def reduced(angle):
    """The remainder by half a pi, and the last bits of the quotient."""
    rest, quotient, n = angle, u64(0), u128(63)
    while n != 0:
        n -= 1
        part = u128(HALF_PI_66) << n
        fits = rest >= part and (n != 63)
        rest = select(fits, rest - part, rest)
        quotient = quotient << 1 | u64(fits)
    return rest, quotient


def of_reduced(env, what, rest, power, quadrant, back, negative):
    """From the angle rest / 2**127 * 2**power, at most a quarter pi, in its quadrant; `back`: it is
    negative there."""
    part = fixed(power + FORM.bias, rest)
    square = times(part, part)
    factor = series(SINE_SERIES, square, 15, True) - (
        0 if what == TANGENT else 1
    )  # never quite 1, nor is the cosine
    sine, sine_power = times(rest, factor), power + 1
    lead = clz(sine)
    sine, sine_power = sine << lead, sine_power - i64(lead)
    cosine = series(COSINE_SERIES, square, 15, True) - 1
    lead = clz(cosine)
    cosine, cosine_power = cosine << lead, 0 - i64(lead)
    if what == TANGENT:
        sign = back ^ negative ^ quadrant & 1
        odd = quadrant & 1 != 0
        over_, under = select(odd, cosine, sine), select(odd, sine, cosine)
        power = select(odd, cosine_power - sine_power, sine_power - cosine_power)
        return finished(env, sign, power + FORM.bias, over(over_ >> 1, under >> 1))
    turned = quadrant + (1 if what == COSINE else 0)
    sign = turned >> 1 & 1
    if what == SINE:
        sign = sign ^ negative
    if turned & 1 != 0:
        return finished(env, sign, cosine_power + FORM.bias, cosine)
    return finished(env, sign ^ back, sine_power + FORM.bias, sine)


# FPATAN.


@op("D9 F3")
def fpatan(cpu):
    """SDM 2A, FPATAN."""
    cpu.need_x87()
    combine_and_pop(cpu, arctangent)


def angle(env, sign, size):
    """An angle of 2**125, rounded."""
    return finished(env, sign, i64(FORM.bias + 2), size)


def arctangent(env, y, x):
    """The angle of the point (x, y)."""
    if is_nan(FORM, x) or is_nan(FORM, y):
        return nan_of(env, FORM, y, x)
    sign, left = sign_of(FORM, y), sign_of(FORM, x) != 0
    note_denormal(env, FORM, x)
    note_denormal(env, FORM, y)
    if is_infinite(FORM, y):
        if is_infinite(FORM, x):
            return angle(env, sign, select(left, u128((PI >> 3) * 3), u128(PI >> 3)))
        return angle(env, sign, u128(PI >> 2))
    if is_zero(FORM, y) or is_infinite(FORM, x):
        return angle(env, sign, u128(PI >> 1)) if left else zero(FORM, sign)
    if is_zero(FORM, x):
        return angle(env, sign, u128(PI >> 2))
    return angle_of(env, sign, left, y, x)


def angle_of(env, sign, left, y, x):
    """The angle of a point off the axes: by the smaller over the larger coordinate."""
    en, sn = unpacked(FORM, y)
    ed, sd = unpacked(FORM, x)
    steep = en > ed or (en == ed and sn > sd)
    if steep:
        en, sn, ed, sd = ed, sd, en, sn
    power, eighths = en - ed, u64(0)
    quotient, minus = over(u128(sn) << 62, u128(sd) << 62), u64(0)
    if power > -6:
        eighths, quotient, power, minus = near_eighths(sn, sd, power)
    lead = clz(quotient | 1)
    quotient, power = quotient << lead, power - i64(lead)
    part = select(power > -128, quotient >> u128(0 - power - 1), u128(0))
    factor = series(ODD, times(part, part), 18, True) - 1  # never quite 1, nor is the angle its tangent
    size, power = times(quotient, factor), power + 1
    if eighths == 0 and not steep and not left:
        return finished(env, sign, power + FORM.bias, size)
    size = size >> u128(2 - power) if power > -126 else u128(0)
    base = ARCTANGENTS[eighths]
    size = select(minus != 0, base - size, base + size)
    if steep:
        size = (PI >> 2) - size
    if left:
        size = (PI >> 1) - size
    return angle(env, sign, size)


def near_eighths(sn, sd, power):
    """k / 8 near n / d, and (n / d - k / 8) / (1 + n / d * k / 8) as quotient, power, and whether it is
    negative."""
    n, d, k = u128(sn) << 57 >> u128(0 - power), u128(sd) << 57, u64(0)
    for j in range(8):
        k = select(n * 16 >= d * (2 * j + 1), u64(j + 1), k)
    if k == 0:
        return k, over(u128(sn) << 62, u128(sd) << 62), power, u64(0)
    above, below = n * 8, d * u128(k)
    minus = above < below
    difference = select(minus, below - above, above - below)
    whole = d * 8 + n * u128(k)
    room, up = i64(clz(difference | 1)) - 1, i64(clz(whole)) - 1
    return k, over(difference << u128(room), whole << u128(up)), up - room, u64(minus)
