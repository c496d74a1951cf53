"""What an instruction does to its memory operand: how many bytes it touches, and whether it writes them.

Segments are checked before the body runs (SDM 3A, 5.3 to 5.5), by the step that computes the linear address;
the decoder gives it what is found here. Whether a body writes is read off its code: whether it calls put() or
get_to_change() on its first operand, or a helper does on one of its own.
"""

import dis
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

WRITES, UNCHECKED = 1 << 12, 1 << 13  # beside the number of the last byte; UNCHECKED: hints touch nothing
CHANGES = ("put", "get_to_change")
ASKS = ("arpl",)  # writes only sometimes, and asks for itself whether it may
HINTS = ("prefetchw", "prefetch", "clflush", "invlpg", "nop")
# Bytes at an address of kind M, where they do not follow from the operand size.
SIZES = {
    "sgdt": 6, "sidt": 6, "lgdt": 6, "lidt": 6, "invpcid": 16, "fxsave": 512, "fxrstor": 512, "xsave": 576,
    "xsaveopt": 576, "xsavec": 576, "xrstor": 576, "fld_80": 10, "fstp_80": 10, "fbld": 10, "fbstp": 10,
}


def of_value(run: Callable[..., None], size: int, first: bool) -> int:
    """A memory operand of `size` bytes."""
    if run.__name__.rstrip("_") in HINTS:
        return UNCHECKED
    first = first and run.__name__ not in ASKS
    return size - 1 | (WRITES if first and changes(run, run.__code__.co_varnames[1:2]) else 0)


def of_address(run: Callable[..., None], bits: int) -> int:
    """An operand that the body gets as an address, under an operand size."""
    name, operand = run.__name__.rstrip("_"), bits // 8
    if name in HINTS:
        return UNCHECKED
    pointers = {"bound": 2 * operand, "fldenv": 7 * operand, "fnstenv": 7 * operand,
                "fnsave": 7 * operand + 80, "frstor": 7 * operand + 80}
    size = pointers.get(name, SIZES.get(name, operand + 2))
    written = run.__code__.co_varnames[1] == "to" or name in ("sgdt", "sidt")
    return size - 1 | (WRITES if written and name not in POINTERS else 0)


def of_parts(run: Callable[..., None], bits: int, wraps: bool) -> int:
    """An operand that the body gets in parts; where they wrap, what is said of the first, which has at least two bytes:
    the body asks for the others."""
    whole = of_address(run, bits)
    return whole & WRITES | 1 if wraps else whole


POINTERS = ("les", "lds", "lss", "lfs", "lgs")  # their `to` is a register


@cache
def changes(run: Any, names: tuple[str, ...]) -> bool:
    """Whether a function calls put() or get_to_change() on a parameter of these names, or a helper may."""
    before, does = None, not set(CHANGES).isdisjoint(run.__code__.co_names)
    for step in dis.get_instructions(run) if does else ():
        if step.argval in CHANGES and before in names:
            return True
        last = step.argval[-1] if isinstance(step.argval, tuple) else step.argval
        before = last if "FAST" in step.opname else None
    helpers = (run.__globals__.get(n) for n in run.__code__.co_names)
    return any(
        changes(h, h.__code__.co_varnames[1:h.__code__.co_argcount])
        for h in helpers if isinstance(h, FunctionType) and h is not run
    )
