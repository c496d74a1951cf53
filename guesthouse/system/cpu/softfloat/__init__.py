"""Binary floating point by integer arithmetic, to the bit and the flag: IEEE 754-2019, for any guest
processor.

Values are bit patterns (u64; u128 for the x87 format). Formats and house rules are known when code is
compiled; rounding modes are arguments; flags gather in an `Environment`. Nothing here raises. Decimal formats
are not modelled.
"""

from guesthouse.system.cpu.softfloat.arithmetic import add, div, fma, mul, sqrt, sub
from guesthouse.system.cpu.softfloat.comparisons import (
    EQUAL,
    GREATER,
    LESS,
    UNORDERED,
    classify,
    compare,
    maximum,
    minimum,
)
from guesthouse.system.cpu.softfloat.conversions import convert, from_integer, round_to_integral, to_integer
from guesthouse.system.cpu.softfloat.formats import RISCV, SSE, X87, Environment, Format, Rules

__all__ = [
    "EQUAL",
    "GREATER",
    "LESS",
    "RISCV",
    "SSE",
    "UNORDERED",
    "X87",
    "Environment",
    "Format",
    "Rules",
    "add",
    "classify",
    "compare",
    "convert",
    "div",
    "fma",
    "from_integer",
    "maximum",
    "minimum",
    "mul",
    "round_to_integral",
    "sqrt",
    "sub",
    "to_integer",
]
