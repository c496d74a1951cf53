"""What bodies for hot code may ask of a register stack in the host's x87 (SDM 1, chapter 8). Never run in Python.

A guest with such a stack says in Guest.stack (op.HostStack) how it lies in its state; engine/hot/stack.py has what
these are lowered as. An extended number is a value without a type in typed Python: it comes from one of these and goes
to one. A way out leaves the region as before the instruction, but flags that the host has raised stay raised.
"""

from typing import Any

EXTENDED = "x86_fp80"


def ready(cpu: Any) -> None:
    """Nothing is emitted: where the stack is in the host, the guest's may be used."""
    raise NotImplementedError


def decline(cpu: Any) -> None:
    """The instruction is one for the threaded way."""
    raise NotImplementedError


def value(cpu: Any, i: Any) -> Any:
    """The extended number in the i-th register from the top; a way out if it is empty."""
    raise NotImplementedError


def put(cpu: Any, i: Any, number: Any) -> None:
    """Fill a register."""
    raise NotImplementedError


def room(cpu: Any) -> None:
    """A way out if there is no empty register for a new top."""
    raise NotImplementedError


def push(cpu: Any, number: Any) -> None:
    """A new top, for which there is room."""
    raise NotImplementedError


def pop(cpu: Any) -> None:
    """Empty the top, and go to the next."""
    raise NotImplementedError


def top(cpu: Any) -> Any:
    """The number of the register that is the top, u64."""
    raise NotImplementedError


def flags(cpu: Any) -> Any:
    """All exceptions so far, u64."""
    raise NotImplementedError


def arithmetic(cpu: Any, name: str, *operands: Any) -> Any:
    """One of LLVM's operations on extended numbers, strict and rounded as the control word says."""
    raise NotImplementedError


def plain(cpu: Any, name: str, number: Any) -> Any:
    """One of LLVM's operations that raise nothing."""
    raise NotImplementedError


def narrowed(cpu: Any, kind: Any, number: Any) -> Any:
    """The pattern of an extended number as another of this type, strictly."""
    raise NotImplementedError


def chosen(cpu: Any, condition: Any, a: Any, b: Any) -> Any:
    """Of two extended numbers the first, if the condition holds."""
    raise NotImplementedError


def constant(cpu: Any, pattern: int) -> Any:
    """An extended number that is known."""
    raise NotImplementedError


def assembly(cpu: Any, text: str, constraints: str, result: Any, *operands: Any) -> Any:
    """Text for the host's assembler, with LLVM's constraints. `result`: EXTENDED, an integer type, a tuple of those, or
    None. Operands are extended numbers, or integers, which lie in memory; so does the result if the constraints begin
    with =*."""
    raise NotImplementedError


def rounded(cpu: Any, text: str, constraints: str, *operands: Any) -> None:
    """How the last result was rounded is put off: such assembly tells the status word after it, which is done again if
    somebody asks. Operands: one extended number or two, perhaps an integer."""
    raise NotImplementedError


def direction(cpu: Any, up: Any) -> None:
    """How the last result was rounded, known at once."""
    raise NotImplementedError


def up(cpu: Any) -> Any:
    """How the last result was rounded, u64."""
    raise NotImplementedError


def control(cpu: Any, word: Any) -> None:
    """The host's control word becomes this one. What is put off knows that it was another."""
    raise NotImplementedError
