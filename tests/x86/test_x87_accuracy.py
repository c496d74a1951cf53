"""The transcendental instructions of the x87 are within one unit in the last place of the exact result, over the whole
range of their operands (SDM 1, 8.3.10).

Exact means mpmath with some hundred bits. Angles are reduced by the pi of 66 bits that the SDM gives (8.3.8), here with
whole numbers, as processors do; against the true pi, large angles are as far off as on the processors.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from mpmath import mp, mpf

from tests.x86.floats import FloatOurs, machine
from tests.x86.host import WINDOW, Situation
from tests.x86.test_x87 import image

PI = Fraction(0x3_243F6A88_85A308D3, 1 << 64)
CASES = 1000  # for each instruction
BITS = 240
BIAS, LEAST = 0x3FFF, -16445  # the weight of a denormal number's last bit is 2**LEAST


@pytest.fixture(scope="module")
def ours() -> FloatOurs:
    return machine("threaded")


def exact(pattern: int) -> Fraction:
    """The number that an 80-bit pattern is, denormal ones too."""
    exponent, significand = pattern >> 64 & 0x7FFF, pattern & (1 << 64) - 1
    power = max(exponent, 1) - BIAS - 63
    size = Fraction(significand) * (Fraction(2) ** power)
    return -size if pattern >> 79 else size


def real(x: Fraction) -> Any:
    return mpf(x.numerator) / mpf(x.denominator)


def ulps(got: int, want: Any) -> float:
    """How far apart they are, in units of the last place that the exact result has."""
    if want == 0:
        return 0.0 if exact(got) == 0 else 1e9
    power = max(int(mp.floor(mp.log(abs(want), 2))) - 63, LEAST)
    return float(abs(real(exact(got)) - want) / mp.ldexp(1, power))


def pattern(chance: random.Random, low: int, high: int, signed: bool = True) -> int:
    """A normal number with an exponent of 2 between these; its significand is random, short, or nearly a power of 2."""
    exponent = chance.randint(low, high) + BIAS
    ones = (1 << 63) - 1
    rest = chance.choice((chance.getrandbits(63), chance.getrandbits(8) << 55, chance.getrandbits(4), ones))
    sign = chance.getrandbits(1) << 79 if signed else 0
    return sign | exponent << 64 | 1 << 63 | rest


def angle(x: Fraction) -> tuple[Any, int]:
    """An angle in its quadrant, from minus to plus a quarter pi, and which that is."""
    quadrant = round(x / (PI / 2))
    return real(x - quadrant * PI / 2), quadrant % 4


def sine(x: Fraction) -> Any:
    rest, quadrant = angle(x)
    return (mp.sin(rest), mp.cos(rest), -mp.sin(rest), -mp.cos(rest))[quadrant]


def cosine(x: Fraction) -> Any:
    rest, quadrant = angle(x)
    return (mp.cos(rest), -mp.sin(rest), -mp.cos(rest), mp.sin(rest))[quadrant]


def trigonometric(chance: random.Random) -> tuple[int, ...]:
    """Mostly anything up to 2**63; some near a multiple of half a pi."""
    if chance.random() < 0.3:
        near = chance.randrange(1, 1 << chance.randrange(1, 60)) * PI / 2
        size = near.numerator // near.denominator
        shift = 64 - size.bit_length()
        significand = near.numerator * (1 << shift) // near.denominator if shift >= 0 else size >> -shift
        return (63 - shift + BIAS << 64 | significand & (1 << 64) - 1,) if size else (pattern(chance, -3, 3),)
    return (pattern(chance, *chance.choice(((-70, 62), (-16382, -60), (-4, 4)))),)


def exponential(chance: random.Random) -> tuple[int, ...]:
    return (pattern(chance, *chance.choice(((-8, -1), (-70, -1), (-16382, -60)))),)


def logarithmic(chance: random.Random) -> tuple[int, ...]:
    x = pattern(chance, *chance.choice(((-16382, 16383), (-1, 0), (-3, 3))), signed=False)
    return x, pattern(chance, *chance.choice(((-40, 40), (-12000, 12000))))


def near_one(chance: random.Random) -> tuple[int, ...]:
    """Up to 1 - sqrt(1/2), a little less than 2**-1.77."""
    return pattern(chance, *chance.choice(((-12, -3), (-70, -3)))), pattern(chance, -40, 40)


def points(chance: random.Random) -> tuple[int, ...]:
    both = chance.choice(((-40, 40), (-2, 2), (-8000, 8000)))
    return pattern(chance, *both), pattern(chance, *both)


FUNCTIONS: dict[str, tuple[str, Callable[..., tuple[int, ...]], Callable[..., Any], int]] = {
    "fsin": ("D9 FE", trigonometric, sine, 0),
    "fcos": ("D9 FF", trigonometric, cosine, 0),
    "fsincos, sine": ("D9 FB", trigonometric, sine, 1),
    "fsincos, cosine": ("D9 FB", trigonometric, cosine, 0),
    "fptan": ("D9 F2", trigonometric, lambda x: sine(x) / cosine(x), 1),
    "fpatan": ("D9 F3", points, lambda x, y: mp.atan2(real(y), real(x)), 0),
    "f2xm1": ("D9 F0", exponential, lambda x: mp.expm1(real(x) * mp.ln(2)), 0),
    "fyl2x": ("D9 F1", logarithmic, lambda x, y: real(y) * mp.log(real(x), 2), 0),
    "fyl2xp1": ("D9 F9", near_one, lambda x, y: real(y) * mp.log1p(real(x)) / mp.ln(2), 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("rounding", range(4), ids=["nearest", "down", "up", "zero"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_result_is_within_an_ulp(ours: FloatOurs, name: str, rounding: int) -> None:
    code, draw, function, place = FUNCTIONS[name]
    chance, worst = random.Random(f"{name} {rounding}"), (0.0, "")
    with mp.workprec(BITS):
        for _ in range(CASES // 4):
            operands = draw(chance)
            fx = image(0x37F | rounding << 10, 0, (1 << len(operands)) - 1, *operands)
            after = ours.run(bytes.fromhex(code), Situation([WINDOW] * 16, 0x202, bytes(256), fx))
            got = int.from_bytes(after.fx[32 + 16 * place : 42 + 16 * place], "little")
            if got >> 64 & 0x7FFF == 0x7FFF:  # it overflows: the exact result has to
                assert abs(function(*map(exact, operands))) > mp.ldexp(1, 16383), (name, operands)
                continue
            off = ulps(got, function(*map(exact, operands)))
            worst = max(worst, (off, f"{name} of {[hex(x) for x in operands]} is {got:#x}"))
    assert worst[0] <= 1, worst
