"""The host's own vector unit, where hot code does with it what a guest's unit does: on hosts with AVX, that is.

An instruction of the host is exact where no model of it could be cheap: which NaN comes out, which exceptions are
raised, what a rounding mode does. So a region takes the guest's modes into the host's MXCSR when it is entered, and
adds what has been raised there to the guest's flags when it is left. The functions here stand in bodies; they are never
run in Python.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class HostUnit:
    """How a guest's vector and floating-point unit is done by the host's.

    `instead`: functions and bodies that are lowered as others where the host has what these ask for.
    `control(cpu)`: the MXCSR with which the host's unit does what the guest's would do, or 0 if it cannot as things
    stand (the unit is off, an exception is not masked): then regions that need the unit are not entered.
    `raised(cpu, flags)`: takes in what the host raised, bits 0 to 5 of MXCSR. What the two of them look at changes only
    outside of regions, but for registers.
    `registers`: fields of 64 bits whose variables are best kept in the host's vector registers.
    """

    instead: dict[Any, Any]
    control: Any
    raised: Any
    registers: tuple[str, ...] = field(default=())


def flags_of(name: str, a: Any, b: Any, carry: Any = None) -> Any:
    """What one of the host's arithmetic instructions on a and b leaves in AX after LAHF and SETO. If the guest's CF
    is the host's, too, it goes to the byte at the address `carry`. In handlers on x86-64 hosts (op.Guest.hosted)."""
    raise NotImplementedError


def condition_of(number: int, flags: Any) -> Any:
    """Whether a condition of a signed comparison, by x86's number of it, holds of such flags."""
    raise NotImplementedError


def standing(number: int) -> Any:
    """Whether a condition, by x86's number of it, holds of the host's flags as they are when a stencil begins."""
    raise NotImplementedError


def needed() -> None:
    """From here on the unit is what control() says: the region is not entered otherwise."""
    raise NotImplementedError


def instruction(name: str, kind: Any, *operands: Any) -> Any:
    """One of the host's vector instructions, by its legacy name; it raises nothing. Results and operands of 128 bits
    and floats are in vector registers, other integers in general ones, and known ones are immediates."""
    raise NotImplementedError


def arithmetic(name: str, kind: Any, *operands: Any) -> Any:
    """The same for one that heeds the modes and raises exceptions."""
    raise NotImplementedError


def ordering(name: str, condition: str, a: Any, b: Any) -> Any:
    """UCOMISD or one of its kin: whether a condition holds then, 0 or 1: a is above b, ae (or equal), b, be, z (equal),
    p (there is no order, which is be and z, too), or one with n before it, which is not so."""
    raise NotImplementedError


def be_sure(value: Any) -> None:
    """Something holds of this value, and so of the register that it was read from: what, is the guest's matter."""
    raise NotImplementedError


def is_sure(value: Any) -> bool:
    """Whether that has been said of this value, or, in the same block, of what the register it comes from holds."""
    raise NotImplementedError
