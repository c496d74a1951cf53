"""What a floating-point format is, and by which house rules a guest's processor uses it.

IEEE 754-2019 leaves names of flags, the choice of NaNs and the results of invalid conversions to the
processor: those are `Rules`. Both are known when code is compiled, so they cost nothing at run time. Decimal
formats are not modelled.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from guesthouse.typed import Struct, f32, f64, u64, u128

CANONICAL, FIRST, LARGER = "canonical", "first", "larger"


class Environment(Struct):
    """The floating-point environment of one unit of a processor. Bits and numbers are those of its rules."""

    flags: u64  # exceptions so far; sticky
    rounding: u64  # the mode in force
    host: u64  # rules.inexact: the host's arithmetic may be used where it is proven to be ours; 0: never
    unmasked: u64  # x86: exceptions that are reported instead of handled
    flush: u64  # x86 MXCSR.FTZ: tiny results become zero
    zeros: u64  # x86 MXCSR.DAZ: denormal operands are zeros
    precision: u64  # x87 PC: 0, 2 or 3 for 24, 53 or 64 bits
    up: u64  # x87 C1: the last rounding increased the magnitude


@dataclass(frozen=True)
class Rules:
    """Flags and rounding modes as the processor numbers them, and its habits where the standard leaves a
    choice.

    `denormal` is x86's extra flag (0: none). `to_max` is the mode "nearest, ties away" (None: none). `nan`
    says which NaN results: the canonical one, the first operand, or the one with the larger significand.
    """

    invalid: int
    by_zero: int
    overflow: int
    underflow: int
    inexact: int
    denormal: int
    nearest: int
    to_zero: int
    down: int
    up: int
    to_max: int | None
    nan: str
    saturates: bool  # an invalid conversion to an integer gives the nearest one, not the "integer indefinite"
    flushes: bool  # there are FTZ and DAZ
    negative_nan: bool  # the default NaN has its sign set

    @property
    def single(self) -> "Format":
        return self.formats[0]

    @property
    def double(self) -> "Format":
        return self.formats[1]

    @property
    def extended(self) -> "Format":
        return self.formats[2]

    @cached_property
    def formats(self) -> "tuple[Format, Format, Format]":
        return (
            make_format(self, 32, 8, 24, u64, f32),
            make_format(self, 64, 11, 53, u64, f64),
            make_format(self, 80, 15, 64, u128, None),
        )


@dataclass(frozen=True)
class Format:
    """One binary format. A value is a bit pattern of type `raw`; `field` is where its exponent begins.

    `explicit`: the leading bit of the significand is stored (x87's extended format). `minimum` is the least
    normal number.
    """

    rules: Rules
    bits: int
    precision: int
    field: int
    raw: Any
    host: Any
    explicit: bool
    bias: int
    exponent_max: int
    sign: int
    magnitude: int
    fraction: int
    quiet: int
    minimum: int
    infinity: int
    default_nan: int


def make_format(rules: Rules, bits: int, exponent_bits: int, precision: int, raw: Any, host: Any) -> Format:
    explicit = bits - exponent_bits > precision
    field = bits - 1 - exponent_bits
    exponent_max, leading = (1 << exponent_bits) - 1, 1 << (precision - 1) if explicit else 0
    sign, infinity, quiet = 1 << (bits - 1), exponent_max << field | leading, 1 << (precision - 2)
    return Format(
        rules,
        bits,
        precision,
        field,
        raw,
        host,
        explicit,
        bias=exponent_max >> 1,
        exponent_max=exponent_max,
        sign=sign,
        magnitude=sign - 1,
        fraction=(1 << (precision - 1)) - 1,
        quiet=quiet,
        minimum=1 << field | leading,
        infinity=infinity,
        default_nan=infinity | quiet | (sign if rules.negative_nan else 0),
    )


RISCV = Rules(
    invalid=16,
    by_zero=8,
    overflow=4,
    underflow=2,
    inexact=1,
    denormal=0,
    nearest=0,
    to_zero=1,
    down=2,
    up=3,
    to_max=4,
    nan=CANONICAL,
    saturates=True,
    flushes=False,
    negative_nan=False,
)
SSE = Rules(
    invalid=1,
    denormal=2,
    by_zero=4,
    overflow=8,
    underflow=16,
    inexact=32,
    nearest=0,
    down=1,
    up=2,
    to_zero=3,
    to_max=None,
    nan=FIRST,
    saturates=False,
    flushes=True,
    negative_nan=True,
)
X87 = Rules(
    invalid=1,
    denormal=2,
    by_zero=4,
    overflow=8,
    underflow=16,
    inexact=32,
    nearest=0,
    down=1,
    up=2,
    to_zero=3,
    to_max=None,
    nan=LARGER,
    saturates=False,
    flushes=False,
    negative_nan=True,
)
