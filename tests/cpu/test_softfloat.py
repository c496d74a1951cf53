"""softfloat against exact rational arithmetic, and against the host's SSE and x87 units with flags, in all
modes.
"""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from guesthouse.bits import i16, i32, i64, u32, u64, u128
from guesthouse.system.cpu.softfloat import (
    RISCV,
    SSE,
    X87,
    Environment,
    add,
    classify,
    compare,
    convert,
    div,
    fma,
    from_integer,
    maximum,
    minimum,
    mul,
    round_to_integral,
    sqrt,
    sub,
    to_integer,
)
from tests.cpu.hostcpu import AVAILABLE, HostCpu, Image

needs_host = pytest.mark.skipif(
    not AVAILABLE, reason="the host's processor is the oracle, and it is not an x86-64"
)
NX, UF, OF, DZ, NV = 1, 2, 4, 8, 16


def pattern(chance, form):
    """A number of this format, often a special one."""
    kind, fraction = chance.randrange(4), form.fraction
    if kind == 0:
        exponent = chance.choice(
            (
                0,
                1,
                2,
                form.bias - 1,
                form.bias,
                form.bias + form.precision,
                form.exponent_max - 1,
                form.exponent_max,
            )
        )
        low = chance.choice((0, 1, 2, fraction, fraction - 1, form.quiet, form.quiet - 1, form.quiet + 1))
        made = chance.getrandbits(1) << (form.bits - 1) | exponent << form.field | low
    elif kind == 1:
        made = chance.getrandbits(form.bits)
    else:
        low = chance.getrandbits(form.precision - 1) & chance.choice((fraction, -1 << form.precision // 2))
        exponent = form.bias + chance.randint(-form.precision, form.precision)
        made = chance.getrandbits(1) << (form.bits - 1) | exponent << form.field | low
    if form.explicit and chance.random() < 0.8 and made >> 64 & 0x7FFF:
        made |= 1 << 63
    return made


# Exact arithmetic.


def value(form, a):
    """The rational number that a finite pattern means."""
    exponent, fraction = a >> form.field & form.exponent_max, a & form.fraction
    whole = fraction | (1 << form.precision - 1 if exponent else 0)
    size = whole * Fraction(2) ** (max(exponent, 1) - form.bias - form.precision + 1)
    return -size if a >> form.bits - 1 else size


def magnitude_exponent(v):
    """floor(log2(v)) of a positive rational."""
    e = v.numerator.bit_length() - v.denominator.bit_length()
    return e - 1 if Fraction(2) ** e > v else e


def nearest(form, mode, v, zero_sign):
    """The pattern and flags that IEEE 754 wants for an exact value, tininess found after rounding."""
    if v == 0:
        return zero_sign << form.bits - 1, 0
    sign, v = int(v < 0), abs(v)

    def cut(ulp):
        whole, rest = divmod(v, ulp)
        rest /= ulp
        up = (
            rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1),
            False,
            sign and rest,
            not sign and rest,
            rest >= Fraction(1, 2),
        )[mode]
        return int(whole) + bool(up), rest != 0

    least, top = 1 - form.bias, sign << form.bits - 1
    e = magnitude_exponent(v)
    tiny = (
        cut(Fraction(2) ** (e - form.precision + 1))[0] * Fraction(2) ** (e - form.precision + 1)
        < Fraction(2) ** least
    )
    ulp = Fraction(2) ** (max(e, least) - form.precision + 1)
    whole, inexact = cut(ulp)
    flags = NX * inexact | UF * (tiny and inexact)
    if whole * ulp >= Fraction(2) ** (form.bias + 1):
        inward = mode == RISCV.to_zero or (mode == RISCV.down and not sign) or (mode == RISCV.up and sign)
        return form.infinity - bool(inward) | top, OF | NX
    if whole * ulp < Fraction(2) ** least:
        return whole | top, flags
    e = magnitude_exponent(whole * ulp)
    return (e + form.bias - 1 << form.field) + int(
        whole * ulp / Fraction(2) ** (e - form.precision + 1)
    ) | top, flags


def finite(chance, form):
    made = pattern(chance, form)
    return made if made & form.magnitude < form.infinity else chance.getrandbits(form.field)


@pytest.mark.parametrize("form", [RISCV.single, RISCV.double], ids=["single", "double"])
@pytest.mark.parametrize("inexact_before", [0, NX])
def test_sums_products_and_fused_sums_are_the_nearest_numbers(form, inexact_before):
    chance, env = random.Random(1), Environment.new()
    env.host = u64(RISCV.inexact)
    for _ in range(600):
        a, b, c, mode = finite(chance, form), finite(chance, form), finite(chance, form), chance.randrange(5)
        x, y, z = value(form, a), value(form, b), value(form, c)
        if chance.random() < 0.3:  # a sum that nearly cancels
            c = nearest(form, 0, -x * y, 0)[0]
            c = c if c & form.magnitude < form.infinity else 0
            z = value(form, c)
        signs = a >> form.bits - 1, b >> form.bits - 1, c >> form.bits - 1
        product = signs[0] ^ signs[1]
        for function, operands, exact, both in (
            (add, (a, b), x + y, signs[:2]),
            (sub, (a, b), x - y, (signs[0], 1 - signs[1])),
            (mul, (a, b), x * y, (product, product)),
            (fma, (a, b, c), x * y + z, (product, signs[2])),
        ):
            zero_sign = both[0] if both[0] == both[1] else int(mode == RISCV.down)
            env.flags = u64(inexact_before)
            got = function(env, form, u64(mode), *map(u64, operands))
            want, flags = nearest(form, mode, exact, zero_sign)
            assert (int(got), int(env.flags)) == (want, flags | inexact_before), (
                function.__name__,
                mode,
                *map(hex, operands),
            )


def test_riscv_has_one_nan_and_saturates():
    env, form = Environment.new(), RISCV.single
    nan = u64(0xFF80_0001)
    assert add(env, form, u64(0), nan, u64(0)) == 0x7FC0_0000 and env.flags == NV
    assert to_integer(env, form, u64(0), nan, i32) == 0x7FFF_FFFF
    assert to_integer(env, form, u64(0), u64(0xFF80_0000), i32) == 0x8000_0000
    assert to_integer(env, form, u64(0), u64(0xBF80_0000), u32) == 0
    assert to_integer(env, form, u64(0), u64(0x7F80_0000), u64) == (1 << 64) - 1


def test_zero_times_infinity_is_invalid_in_a_fused_sum_even_beside_a_quiet_nan():
    env = Environment.new()
    assert fma(env, RISCV.single, u64(0), u64(0), u64(0x7F80_0000), u64(0x7FC0_0000)) == 0x7FC0_0000
    assert env.flags == NV


def test_minimum_and_maximum_prefer_numbers_and_order_zeros():
    env, form = Environment.new(), RISCV.double
    zero, minus, nan = u64(0), u64(1 << 63), u64(form.default_nan)
    assert minimum(env, form, zero, minus) == minus and maximum(env, form, minus, zero) == zero
    assert minimum(env, form, nan, minus) == minus and maximum(env, form, nan, nan) == form.default_nan
    assert env.flags == 0
    minimum(env, form, u64(form.infinity + 1), zero)
    assert env.flags == NV


def test_each_class_has_its_bit():
    form = RISCV.single
    patterns = (
        0xFF80_0000,
        0xBF80_0000,
        0x8000_0001,
        0x8000_0000,
        0,
        1,
        0x3F80_0000,
        0x7F80_0000,
        0x7F80_0001,
        0x7FC0_0000,
    )
    assert [int(classify(form, u64(p))) for p in patterns] == [1 << n for n in range(10)]


def test_division_by_zero_is_told_and_roots_of_negative_numbers_are_invalid():
    env, form = Environment.new(), RISCV.double
    assert div(env, form, u64(0), u64(0x3FF << 52), u64(1 << 63)) == 0xFFF << 52 and env.flags == DZ
    env.flags = u64(0)
    assert sqrt(env, form, u64(0), u64(0xBFF << 52)) == form.default_nan and env.flags == NV
    assert sqrt(env, form, u64(0), u64(1 << 63)) == 1 << 63


# The host's units.

ORDER = (0x40, 0x01, 0x00, 0x45)  # ZF, PF and CF by EQUAL, LESS, GREATER, UNORDERED


@pytest.fixture(scope="module")
def host():
    return HostCpu()


def sse_image(chance, a, b):
    mode, zeros, flush, before = (
        chance.randrange(4),
        chance.random() < 0.2,
        chance.random() < 0.2,
        chance.choice((0, 0, 32)),
    )
    return (
        mode,
        zeros,
        flush,
        before,
        Image(xmm=[a, b] + [0] * 6, mxcsr=0x1F80 | mode << 13 | zeros << 6 | flush << 15 | before),
    )


@needs_host
@pytest.mark.parametrize("form, prefix", [(SSE.single, "F3"), (SSE.double, "F2")], ids=["single", "double"])
def test_sse_operations_are_as_on_the_host(host, form, prefix):
    chance, env, low = random.Random(2), Environment.new(), (1 << form.bits) - 1
    env.host = u64(SSE.inexact)
    for _ in range(400):
        a, b = pattern(chance, form), pattern(chance, form)
        mode, zeros, flush, before, image = sse_image(chance, a, b)
        env.zeros, env.flush = u64(zeros), u64(flush)
        for opcode, function, operands in (
            ("58", add, (a, b)),
            ("5C", sub, (a, b)),
            ("59", mul, (a, b)),
            ("5E", div, (a, b)),
            ("51", sqrt, (b,)),
        ):
            env.flags = u64(before)
            got = function(env, form, u64(mode), *map(u64, operands))
            want = host.run(bytes.fromhex(prefix + "0F" + opcode + "C1"), image)
            assert (int(got), int(env.flags)) == (want.xmm[0] & low, want.mxcsr & 63), (
                opcode,
                mode,
                hex(a),
                hex(b),
            )


@needs_host
@pytest.mark.parametrize("form, prefix", [(SSE.single, "F3"), (SSE.double, "F2")], ids=["single", "double"])
def test_sse_conversions_and_comparisons_are_as_on_the_host(host, form, prefix):
    chance, env = random.Random(3), Environment.new()
    other = SSE.double if form is SSE.single else SSE.single
    for _ in range(300):
        a, b = pattern(chance, form), pattern(chance, form)
        mode, zeros, flush, before, image = sse_image(chance, a, b)
        env.zeros, env.flush = u64(zeros), u64(flush)

        def check(code, got, want_of, image=image, before=before):
            want = host.run(bytes.fromhex(code), image)
            assert (int(got), int(env.flags)) == (want_of(want), want.mxcsr & 63), (code, mode, hex(a), hex(b))
            env.flags = u64(before)

        env.flags = u64(before)
        check(
            prefix + "0F5AC1",
            convert(env, form, other, u64(mode), u64(b)),
            lambda w: w.xmm[0] & (1 << other.bits) - 1,
        )
        check(prefix + "0F2DC1", to_integer(env, form, u64(mode), u64(b), i32), lambda w: w.rax)
        check(prefix + "480F2DC1", to_integer(env, form, u64(mode), u64(b), i64), lambda w: w.rax)
        image.rax = chance.getrandbits(64) >> chance.randrange(64)
        check(
            prefix + "480F2AC0",
            from_integer(env, form, u64(mode), i64(image.rax)),
            lambda w: w.xmm[0] & (1 << form.bits) - 1,
        )
        image.xmm[0] = a
        round_code = f"660F3A0{'A' if form.bits == 32 else 'B'}C104"
        check(
            round_code,
            round_to_integral(env, form, u64(mode), u64(b), True),
            lambda w: w.xmm[0] & (1 << form.bits) - 1,
        )
        for opcode, quiet in (("2E", True), ("2F", False)):
            got = ORDER[int(compare(env, form, u64(a), u64(b), quiet))]
            want = host.run(bytes.fromhex(("66" if form.bits == 64 else "") + "0F" + opcode + "C1"), image)
            assert (got, int(env.flags)) == (want.flags & 0x45, want.mxcsr & 63)
            env.flags = u64(before)


@needs_host
def test_x87_operations_are_as_on_the_host(host):
    chance, env, form = random.Random(4), Environment.new(), X87.extended
    for _ in range(400):
        a, b, mode, precision = (
            pattern(chance, form),
            pattern(chance, form),
            chance.randrange(4),
            chance.choice((0, 2, 3)),
        )
        env.precision = u64(precision)
        image = Image(st=[a, b] + [0] * 6, fcw=0x3F | mode << 10 | precision << 8, tags=255)
        for code, function, operands in (
            ("D8C1", add, (a, b)),
            ("D8E1", sub, (a, b)),
            ("D8C9", mul, (a, b)),
            ("D8F1", div, (a, b)),
            ("D9FA", sqrt, (a,)),
        ):
            env.flags, env.up = u64(0), u64(0)
            got = function(env, form, u64(mode), *map(u128, operands))
            want = host.run(bytes.fromhex(code), image)
            assert (int(got), int(env.flags), int(env.up)) == (want.st[0], want.fsw & 63, want.fsw >> 9 & 1), (
                code,
                hex(a),
                hex(b),
            )
        for code, size, got in (
            ("DF3E", 8, lambda: to_integer(env, form, u64(mode), u128(a), i64)),
            ("DF1E", 2, lambda: to_integer(env, form, u64(mode), u128(a), i16)),
            ("D91E", 4, lambda: convert(env, form, X87.single, u64(mode), u128(a))),
            ("DD1E", 8, lambda: convert(env, form, X87.double, u64(mode), u128(a))),
        ):
            env.flags, env.up = u64(0), u64(0)
            made, want = int(got()), host.run(bytes.fromhex(code), image)
            assert (made, int(env.flags)) == (int.from_bytes(want.memory[:size], "little"), want.fsw & 63), (
                code,
                hex(a),
            )
