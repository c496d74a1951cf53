"""What an expression is while typed code is compiled: a Python object known now, or one of these, known at run time."""

from dataclasses import dataclass
from typing import Any

from guesthouse.bits import Float, Int
from guesthouse.typed.struct import ArrayType, PointerType


class Dynamic:
    """Known only at run time."""


@dataclass(frozen=True)
class Scalar(Dynamic):
    """A number or a truth value: its type, and the LLVM operand that holds it."""

    type: Any  # a bits type, or bool
    text: str


@dataclass(frozen=True)
class Ref(Dynamic):
    """A struct in memory: base pointer and a constant offset from it."""

    type: Any
    base: str
    offset: int = 0


@dataclass(frozen=True)
class ArrayRef(Dynamic):
    """An array in memory."""

    type: ArrayType
    base: str
    offset: int = 0


@dataclass(frozen=True)
class PointerTo(Dynamic):
    """A raw pointer: the host address as an i64 operand."""

    type: PointerType
    text: str


@dataclass(frozen=True)
class Made(Dynamic):
    """An instance of a Value class with run-time parts."""

    type: Any
    fields: dict[str, Any]

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Sequence(Dynamic):
    """A tuple or list of known length with run-time parts."""

    items: tuple[Any, ...]


@dataclass(frozen=True)
class Bound(Dynamic):
    """A method of a run-time value."""

    function: Any
    owner: Any


@dataclass(frozen=True)
class Local(Dynamic):
    """A local variable that is given a value more than once: a slot on the stack until LLVM makes it a register."""

    like: Any  # a Scalar, Ref or PointerTo that tells the type
    slot: str


class Unset:
    """A name that has a value only on some of the ways that lead here."""


def llvm_type(kind: Any) -> str:
    """How a type is spelled in LLVM."""
    if kind is bool:
        return "i1"
    if isinstance(kind, type) and issubclass(kind, Int):
        return f"i{kind.bits}"
    if isinstance(kind, type) and issubclass(kind, Float):
        return "float" if kind.bits == 32 else "double"
    if isinstance(kind, PointerType):
        return "i64"
    return "ptr"


def type_name(value: Any) -> str:
    """A value's type in words."""
    if isinstance(value, (Scalar, Ref, Made)):
        return str(value.type.__name__)
    if isinstance(value, (ArrayRef, PointerTo)):
        return repr(value.type)
    if isinstance(value, Local):
        return type_name(value.like)
    return type(value).__name__


def is_scalar_type(kind: Any) -> bool:
    """Whether this is bool or one of the number types."""
    return kind is bool or (isinstance(kind, type) and issubclass(kind, (Int, Float)) and bool(kind.bits))


def is_known(value: Any) -> bool:
    """Whether a value is a Python object, known while compiling."""
    return not isinstance(value, Dynamic)
