"""Structs, arrays and pointers: named, typed places in host memory, the same bytes for CPython and for machine code.

Layout follows the declaration, each scalar aligned to its size, as a C compiler for x86-64 or AArch64 would do it.
Bounds: an `Array` refuses an index outside it (`OutOfRange`); a `Pointer` is raw and trusts its author.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar

from guesthouse.bits import Float, Int, i8, i16, i32, i64, u8, u16, u32, u64
from guesthouse.errors import DefinitionError

T = TypeVar("T")


def signed(offset: Any) -> int:
    """An offset as it was before someone made it a u64."""
    return (int(offset) + (1 << 63) & (1 << 64) - 1) - (1 << 63)


class Abandon(Exception):
    """What typed code raises to give up what it does (an instruction that faults); carries nothing.

    The reason stands in the state. In machine code this is a flag beside the return value, not unwinding.
    """


class OutOfRange(Abandon):
    """An index outside its array or table."""


class Value:
    """Base of small immutable records that exist only while code is compiled; subclasses are frozen dataclasses.

    Fields may be types, Python constants, or typed values. Methods are always inlined.
    """


C_TYPES: dict[type, Any] = {
    u8: ctypes.c_uint8, u16: ctypes.c_uint16, u32: ctypes.c_uint32, u64: ctypes.c_uint64,
    i8: ctypes.c_int8, i16: ctypes.c_int16, i32: ctypes.c_int32, i64: ctypes.c_int64,
}


class Kind:
    """How one type of field is read and written at an address."""

    size: int
    align: int

    def read(self, address: int) -> Any:
        raise NotImplementedError

    def write(self, address: int, value: Any) -> None:
        raise DefinitionError(f"a {type(self).__name__} cannot be assigned as a whole")


class ScalarKind(Kind):
    def __init__(self, type_: Any) -> None:
        self.type, self.size, self.align = type_, type_.size, type_.size
        self.raw = type_.raw if issubclass(type_, Float) else type_

    def read(self, address: int) -> Any:
        pattern = self.raw(int.from_bytes(ctypes.string_at(address, self.size), "little"))
        return pattern if self.raw is self.type else self.type.from_bits(pattern)

    def write(self, address: int, value: Any) -> None:
        made = value if type(value) is self.type else self.type(value) if type(value) in (int, bool) else None
        if made is None or (type(value) is int and not self.raw.least <= value <= self.raw.most):
            raise TypeError(f"{type(value).__name__} stored as {self.type.__name__}: convert it")
        pattern = made.to_bits() if self.raw is not self.type else made
        ctypes.memmove(address, (pattern.v & pattern.mask).to_bytes(self.size, "little"), self.size)


class BoolKind(Kind):
    size = align = 1

    def read(self, address: int) -> bool:
        return ctypes.string_at(address, 1) != b"\0"

    def write(self, address: int, value: Any) -> None:
        ctypes.memmove(address, b"\1" if value else b"\0", 1)


class StructKind(Kind):
    def __init__(self, type_: "type[Struct]") -> None:
        self.type, self.size, self.align = type_, type_.size, type_.align

    def read(self, address: int) -> Any:
        return self.type.at(address)


class ArrayKind(Kind):
    def __init__(self, spec: "ArrayType") -> None:
        self.element, self.count = kind_of(spec.element), spec.count
        self.size, self.align = self.element.size * spec.count, self.element.align
        self.spec = spec

    def read(self, address: int) -> "Array[Any, Any]":
        return Array.at(address, self.spec)


class PointerKind(Kind):
    size = align = 8

    def __init__(self, spec: "PointerType") -> None:
        self.spec = spec

    def read(self, address: int) -> "Pointer[Any]":
        return self.spec(u64(int.from_bytes(ctypes.string_at(address, 8), "little")))

    def write(self, address: int, value: Any) -> None:
        if not isinstance(value, Pointer) or value.spec != self.spec:
            raise TypeError(f"{value!r} stored as {self.spec!r}: convert it")
        ctypes.memmove(address, int(value.address).to_bytes(8, "little"), 8)


@functools.lru_cache(maxsize=None)
def kind_of(annotation: Any) -> Kind:
    """How a field annotated so lies in memory; DefinitionError if it cannot."""
    if isinstance(annotation, ArrayType):
        return ArrayKind(annotation)
    if isinstance(annotation, PointerType):
        return PointerKind(annotation)
    if annotation is bool:
        return BoolKind()
    if isinstance(annotation, type) and issubclass(annotation, (Int, Float)):
        return ScalarKind(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return StructKind(annotation)
    raise DefinitionError(f"{annotation!r} is not a type that has a place in memory")


class Field:
    """One field of a struct: where it lies and of what kind it is. Ordinary integers have a short way: boards read and
    write them at every exit."""

    def __init__(self, name: str, annotation: Any, offset: int, kind: Kind) -> None:
        self.name, self.annotation, self.offset, self.kind = name, annotation, offset, kind
        self.raw = C_TYPES.get(annotation) if isinstance(kind, ScalarKind) else None

    def __get__(self, struct: "Struct | None", owner: type) -> Any:
        if struct is None:
            return self
        if self.raw is None:
            return self.kind.read(struct.where + self.offset)
        made = self.annotation.__new__(self.annotation)
        made.v = self.raw.from_address(struct.where + self.offset).value
        return made

    def __set__(self, struct: "Struct", value: Any) -> None:
        if self.raw is None or type(value) is not self.annotation:
            self.kind.write(struct.where + self.offset, value)
        else:
            self.raw.from_address(struct.where + self.offset).value = value.v


class Struct:
    """A record with named, typed fields at a host address. Subclasses declare fields by annotation.

    `Cls.new()` makes a zeroed one that owns its memory; `Cls.at(address)` is a view of memory that someone else owns.
    A subclass of a struct starts with its parent's fields and goes on where they end, or has its own `within` one of
    them, which is room for that. Methods called from typed code are inlined.

    Offsets count from where a struct begins, as a rule: one that begins at -128 has its first 256 bytes where 8 bits
    tell how far they are from its address.
    """

    size: ClassVar[int] = 0  # in bytes, from `lowest` on
    lowest: ClassVar[int] = 0  # offset
    used: ClassVar[int] = 0  # where the next field goes
    rooms: ClassVar[dict[str, int]] = {}  # the same in fields that are room for others
    align: ClassVar[int] = 1
    fields: ClassVar[dict[str, Field]] = {}
    __slots__ = ("where", "owner")
    where: int
    owner: Any

    def __init_subclass__(cls, lowest: int | None = None, within: str = "") -> None:
        cls.fields, cls.rooms = dict(cls.fields), dict(cls.rooms)
        if lowest is not None:
            cls.lowest = cls.used = lowest
        at, align = cls.used, cls.align
        if within:
            at = cls.rooms.get(within, cls.fields[within].offset)
        for name, annotation in cls.__dict__.get("__annotations__", {}).items():
            if getattr(annotation, "__origin__", None) is ClassVar or name in ("where", "owner"):
                continue
            if name in cls.fields:  # its parent's code would go on to use its own
                raise DefinitionError(f"{cls.__name__} declares {name!r}, which a struct it derives from has already")
            kind = kind_of(annotation)
            at = -(-at // kind.align) * kind.align
            cls.fields[name] = Field(name, annotation, at, kind)
            setattr(cls, name, cls.fields[name])
            at, align = at + kind.size, max(align, kind.align)
        if within:
            room = cls.fields[within]
            if at > room.offset + room.kind.size or align > cls.align:
                raise DefinitionError(f"the fields of {cls.__name__} do not fit into {within!r}")
            cls.rooms[within] = at
        else:
            cls.size, cls.used, cls.align = -(-(at - cls.lowest) // align) * align, at, align

    @classmethod
    def at(cls, address: int) -> Self:
        made = cls.__new__(cls)
        made.where, made.owner = int(address), None
        return made

    @classmethod
    def new(cls, zeros: Callable[[int], Any] = bytearray) -> Self:
        """`zeros` makes the memory."""
        room = (ctypes.c_uint8 * (cls.size + 63)).from_buffer(zeros(cls.size + 63))
        made = cls.at(-(-ctypes.addressof(room) // 64) * 64 - cls.lowest)
        made.owner = room
        return made

    @property
    def address(self) -> u64:
        """The host address of this struct."""
        return u64(self.where)

    def peek(self, kind: Any, offset: Any) -> Any:
        """The value of `kind` at this byte offset in the struct (for operands that are decoded to offsets)."""
        return kind_of(kind).read(self.where + signed(offset))

    def poke(self, kind: Any, offset: Any, value: Any) -> None:
        """Store a value of `kind` at this byte offset in the struct."""
        kind_of(kind).write(self.where + signed(offset), value)

    def raw(self) -> Any:
        """The same memory as ctypes has it, for those who look at it often: integers are Python's there, structs and
        arrays are bytes."""
        return self.structure().from_address(self.where + self.lowest)

    @classmethod
    @functools.lru_cache(maxsize=None)
    def structure(cls) -> Any:
        fields: list[tuple[str, Any]] = []
        end = cls.lowest
        for field in sorted(cls.fields.values(), key=lambda field: field.offset):
            if field.name not in cls.rooms:  # where others lie instead
                size = field.kind.size
                fields += [(f"before_{field.name}", ctypes.c_uint8 * (field.offset - end)),
                           (field.name, field.raw or ctypes.c_uint8 * size)]
                end = field.offset + size
        return type(cls.__name__, (ctypes.Structure,), {"_pack_": 1, "_fields_": fields})

    @classmethod
    def offset(cls, name: str) -> int:
        """Where the field lies, in bytes from the struct's address."""
        return cls.fields[name].offset

    @classmethod
    def beyond(cls, parent: "type[Struct]") -> dict[str, tuple[int, int]]:
        """The fields that this struct has and that parent has not: where they lie, and their sizes in bytes."""
        return {name: (it.offset, it.kind.size) for name, it in cls.fields.items() if name not in parent.fields}


class ArrayType:
    """`Array[u64, 32]`: so many of one type, one after the other."""

    def __init__(self, element: Any, count: int) -> None:
        self.element, self.count = element, count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayType) and (self.element, self.count) == (other.element, other.count)

    def __hash__(self) -> int:
        return hash((self.element, self.count))

    def __repr__(self) -> str:
        return f"Array[{self.element.__name__}, {self.count}]"


N = TypeVar("N")


class Array(Generic[T, N]):
    """A view of an array in memory; see ArrayType."""

    def __class_getitem__(cls, spec: Any) -> Any:
        return ArrayType(*spec)

    @classmethod
    def at(cls, address: int, spec: ArrayType) -> "Array[Any, Any]":
        made: Array[Any, Any] = cls.__new__(cls)
        made.where, made.spec, made.kind = address, spec, kind_of(spec.element)
        return made

    where: int
    spec: ArrayType
    kind: Kind

    def __len__(self) -> int:
        return self.spec.count

    def _place(self, i: Any) -> int:
        if not 0 <= int(i) < self.spec.count:
            raise OutOfRange(f"index {int(i)} of {self.spec!r}")
        return self.where + int(i) * self.kind.size

    def __getitem__(self, i: Any) -> Any:
        return self.kind.read(self._place(i))

    def __setitem__(self, i: Any, value: Any) -> None:
        self.kind.write(self._place(i), value)

    @property
    def address(self) -> u64:
        """The host address of the first element."""
        return u64(self.where)


class PointerType:
    """`Pointer[u64]`: the host address of one or more of a type."""

    def __init__(self, element: Any) -> None:
        self.element = element

    def __call__(self, address: Any) -> "Pointer[Any]":
        made: Pointer[Any] = Pointer.__new__(Pointer)
        made.spec, made.address = self, u64(0) + address
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointerType) and self.element == other.element

    def __hash__(self) -> int:
        return hash(("Pointer", self.element))

    def __repr__(self) -> str:
        return f"Pointer[{getattr(self.element, '__name__', self.element)}]"


class Pointer(Generic[T]):
    """A raw host address with the type of what lies there; `p[i]` is not checked."""

    spec: PointerType
    address: u64

    def __class_getitem__(cls, element: Any) -> Any:
        return PointerType(element)

    def __getitem__(self, i: Any) -> Any:
        kind = kind_of(self.spec.element)
        return kind.read(int(self.address) + int(i) * kind.size)

    def __setitem__(self, i: Any, value: Any) -> None:
        kind = kind_of(self.spec.element)
        kind.write(int(self.address) + int(i) * kind.size, value)


class Table:
    """A constant array of one integer type, made at definition time; an index outside raises OutOfRange."""

    def __init__(self, element: type[Int], values: Any) -> None:
        values = list(values)
        made = {v: element(v) for v in set(values)}  # few: tables of decoders have tens of thousands of elements
        self.element, self.values = element, [made[v] for v in values]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= int(i) < len(self.values):
            raise OutOfRange(f"index {int(i)} of a table of {len(self.values)}")
        return self.values[int(i)]


def load(kind: Any, address: u64) -> Any:
    """The value of `kind` at a host address, aligned or not. Raw: the author has checked the address."""
    return kind_of(kind).read(int(address))


def store(kind: Any, address: u64, value: Any) -> None:
    """Store a value of `kind` at a host address, aligned or not. Raw: the author has checked the address."""
    kind_of(kind).write(int(address), value)


def fill(address: u64, byte: u8, count: u64) -> None:
    """Set `count` bytes from a host address on."""
    ctypes.memset(int(address), int(byte), int(count))


def copy(to: u64, source: u64, count: u64) -> None:
    """Copy `count` bytes between host addresses; the ranges may overlap."""
    ctypes.memmove(int(to), int(source), int(count))


def exchange(kind: Any, address: u64, value: Any) -> Any:
    """Atomically put `value` at the address; returns what was there. Sequentially consistent, as all atomics here."""
    was = load(kind, address)
    store(kind, address, value)
    return was


def fetch_add(kind: Any, address: u64, value: Any) -> Any:
    """Atomically add `value` at the address; returns what was there."""
    was = load(kind, address)
    store(kind, address, was + value)
    return was


def compare_exchange(kind: Any, address: u64, expected: Any, value: Any) -> Any:
    """Atomically put `value` at the address if `expected` is there; returns what was there."""
    was = load(kind, address)
    if was == expected:
        store(kind, address, value)
    return was


def invoke(function: u64, *arguments: u64) -> u64:
    """Call the C function at a host address: the host's own, or one that was compiled on its own."""
    kind = ctypes.CFUNCTYPE(ctypes.c_uint64, *[ctypes.c_uint64] * len(arguments))
    return u64(kind(int(function))(*map(int, arguments)))
