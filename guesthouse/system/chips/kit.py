"""The chip kit: plain registers are declared, only behaviour is code.

A chip knows offsets, not addresses, and lines, not interrupt numbers; the board decides both. From the
declarations come reset, save, restore, the trace and the register page. An access finds its handler in one
dictionary that is made per class, at definition.

Lines are not saved: a restored chip drives them again. A board restores from the processor outwards (interrupt
controllers, then what interrupts), so that a controller already knows the level that a line comes back to.
"""

from __future__ import annotations

import copy
import ctypes
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Callable, ClassVar, TypeVar

from guesthouse.errors import UserError
from guesthouse.trace import Emit, Trace
from guesthouse.typed import Struct

Method = TypeVar("Method", bound=Callable[..., Any])
Reader = Callable[[Any], int]
Writer = Callable[[Any, int], object]
ONES = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}
REFUSED = 1 << 63  # what typed code answers for what is the board's matter, as processors expect it (engine/cpu.py)


class Line:
    """One wire; whoever listens is told of each change of its level."""

    __slots__ = ("high", "on_change", "sources")

    def __init__(self, on_change: Callable[[bool], object] | None = None) -> None:
        self.high = False
        self.on_change = on_change
        self.sources: list[Line] = []

    def set(self, high: object) -> None:
        level = bool(high)
        if level != self.high:
            self.high = level
            if self.on_change is not None:
                self.on_change(level)

    def pulse(self) -> None:
        """An edge for those who count edges."""
        self.set(True)
        self.set(False)

    def source(self) -> Line:
        """A further source of this wire: it is high while any of its sources is."""
        made = Line(lambda high: self.set(any(source.high for source in self.sources)))
        self.sources.append(made)
        return made


class Field:
    """Part of a chip's state: reset, saved, restored; out of the guest's reach."""

    def __init__(self, reset: Any = 0) -> None:
        self.reset = reset
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def initial(self) -> Any:
        return copy.deepcopy(self.reset)

    if TYPE_CHECKING:  # a declared field is an ordinary attribute of each chip
        def __get__(self, chip: object, owner: type) -> Any: ...
        def __set__(self, chip: object, value: Any) -> None: ...


class Cell(Field):
    """A field that lies in the chip's typed state (TYPED), where compiled processors reach it, too: a number, cut to
    its width there. `raw` is that state as ctypes has it, whose fields are read twice as fast as by a method of ours.
    """

    def within(self) -> property:
        name = self.name
        return property(attrgetter(f"raw.{name}"), lambda chip, value: setattr(chip.raw, name, value))


class WideCell(Cell):
    """One that is wider than any integer of the host: an array there."""

    def within(self) -> property:
        name = self.name
        room = attrgetter(f"raw.{name}")

        def put(chip: Any, value: int) -> None:
            place = room(chip)
            ctypes.memmove(place, value.to_bytes(len(place), "little"), len(place))

        return property(lambda chip: int.from_bytes(room(chip), "little"), put)


class Register(Field):
    """A field that the guest reads and writes at an offset.

    Bits outside `writable` keep their value. `count` registers in a row, `stride` bytes apart, are one list.
    `sizes` are the access sizes in bytes: a part at its own offset, or the whole.
    """

    def __init__(self, at: int, *, width: int = 8, reset: int = 0, writable: int | None = None,
                 count: int = 0, stride: int = 0, sizes: tuple[int, ...] = ()) -> None:
        super().__init__([reset] * count if count else reset)
        self.at, self.width, self.count = at, width, count
        self.writable = (1 << width) - 1 if writable is None else writable
        self.stride = stride or width // 8
        self.sizes = sizes or (width // 8,)


class _Access:
    """The mark that `on_read` and `on_write` leave on a method."""

    def __init__(self, kind: str, at: int, width: int, count: int, stride: int, sizes: tuple[int, ...],
                 pure: bool = False) -> None:
        self.kind, self.at, self.width, self.count, self.pure = kind, at, width, count, pure
        self.stride, self.sizes = stride or width // 8, sizes or (width // 8,)


def on_read(at: int, *, width: int = 8, count: int = 0, stride: int = 0, sizes: tuple[int, ...] = (),
            pure: bool = False) -> Callable[[Method], Method]:
    """The method answers reads at `at`; with `count`, of a row of registers: it is told which one.

    A `pure` one changes no state, so that the outputs need not settle after it.
    """
    return _mark(_Access("read", at, width, count, stride, sizes, pure))


def on_write(at: int, *, width: int = 8, count: int = 0, stride: int = 0,
             sizes: tuple[int, ...] = ()) -> Callable[[Method], Method]:
    """The method takes writes at `at`; with `count`, to a row of registers: it is told which, then the value.

    A write to a part of a wider register is completed with the bits that a read finds now.
    """
    return _mark(_Access("write", at, width, count, stride, sizes))


def _mark(access: _Access) -> Callable[[Method], Method]:
    def mark(method: Method) -> Method:
        method.__dict__.setdefault("accesses", []).append(access)
        return method

    return mark


class Stateful:
    """Named state without registers: a part of a chip, or a chip made of several."""

    fields: ClassVar[dict[str, Field]] = {}
    TYPED: ClassVar[type[Struct] | None] = None

    def __init_subclass__(cls) -> None:
        own = {name: f for name, f in vars(cls).items() if isinstance(f, Field)}
        cls.fields = {**cls.fields, **own}
        for name, field in own.items():
            if isinstance(field, Cell):
                setattr(cls, name, field.within())

    def __init__(self) -> None:
        if self.TYPED is not None:
            self.typed: Any = self.TYPED.new()
            self.raw: Any = self.typed.raw()
        self.clear()

    def parts(self) -> dict[str, Stateful]:
        """What this is made of; reset, saved and restored with it."""
        return {}

    def settle(self) -> None:
        """Drive the outputs and set the timers from the state. Called after what may change it."""

    def clear(self) -> None:
        for name, field in self.fields.items():
            setattr(self, name, field.initial())

    def reset(self) -> None:
        self.clear()
        for part in self.parts().values():
            part.reset()
        self.settle()

    def save(self) -> dict[str, Any]:
        saved = {name: copy.deepcopy(getattr(self, name)) for name in self.fields}
        return saved | {name: part.save() for name, part in self.parts().items()}

    def restore(self, saved: dict[str, Any]) -> None:
        parts = self.parts()
        if unknown := saved.keys() ^ (self.fields.keys() | parts.keys()):
            raise UserError(f"The snapshot does not fit {type(self).__name__}: {', '.join(sorted(unknown))}.",
                            "It was made by another version of guesthouse; start the machine anew.")
        for name, value in saved.items():
            if name in parts:
                parts[name].restore(value)
            else:
                setattr(self, name, copy.deepcopy(value))
        self.settle()


class Chip(Stateful):
    """State, registers at offsets, and what happens when they are read and written.

    A chip on a bus of `BUS` bytes sees a wider access as several of its own; 0: it ignores them.
    """

    SIZE: int = 0
    BUS: int = 0
    readers: ClassVar[dict[tuple[int, int], Reader]] = {}
    writers: ClassVar[dict[tuple[int, int], Writer]] = {}
    event: Emit | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.readers, cls.writers = dict(cls.readers), dict(cls.writers)
        for field in [f for f in vars(cls).values() if isinstance(f, Register)]:
            _declare(cls, field)
        for method in list(vars(cls).values()):
            for access in getattr(method, "accesses", ()):
                _attach(cls, method, access)

    def read(self, offset: int, size: int = 1) -> int:
        act = self.readers.get((offset, size))
        return self.odd_read(offset, size) if act is None else act(self)

    def write(self, offset: int, size: int, value: int) -> None:
        act = self.writers.get((offset, size))
        if act is None:
            self.odd_write(offset, size, value)
        else:
            act(self, value)

    def odd_read(self, offset: int, size: int) -> int:
        """Nothing answers at this offset and size: the bus floats."""
        if 0 < self.BUS < size:
            pieces = [self.read(at, self.BUS) for at in range(offset, offset + size, self.BUS)]
            return sum(piece << 8 * self.BUS * i for i, piece in enumerate(pieces))
        if self.event is not None:
            self.event("odd_read", offset=offset, size=size)
        return ONES[size]

    def odd_write(self, offset: int, size: int, value: int) -> None:
        if 0 < self.BUS < size:
            for i in range(size // self.BUS):
                self.write(offset + i * self.BUS, self.BUS, value >> 8 * self.BUS * i & ONES[self.BUS])
        elif self.event is not None:
            self.event("odd_write", offset=offset, size=size, value=value)

    def trace_to(self, trace: Trace, name: str) -> None:
        """Tell each access. To be called before anybody keeps `chip.read` or `chip.write`."""
        event = self.event = trace.on(name)
        if event is None:
            return
        plain_read, plain_write = self.read, self.write

        def read(offset: int, size: int = 1) -> int:
            value = plain_read(offset, size)
            event("read", offset=offset, size=size, value=value)
            return value

        def write(offset: int, size: int, value: int) -> None:
            event("write", offset=offset, size=size, value=value)
            plain_write(offset, size, value)

        self.__dict__.update(read=read, write=write)

    @classmethod
    def describe(cls) -> str:
        """The register page: what answers at which offset. Of registers in a row the first stands for all."""
        rows = [f"### {cls.__name__}", "", "| offset | bytes | read | write |", "|---|---|---|---|"]
        before: list[str] = []
        for offset in sorted({at for at, _ in cls.readers.keys() | cls.writers.keys()}):
            sizes = [n for n in ONES if (offset, n) in cls.readers or (offset, n) in cls.writers]
            names = [_name(table, offset, sizes) for table in (cls.readers, cls.writers)]
            if names != before and not any(re.search(r"\[[1-9]", name) for name in names):
                rows.append(f"| {offset:#x} | {', '.join(map(str, sizes))} | {names[0]} | {names[1]} |")
            before = names
        return "\n".join(rows) + "\n"


def _name(table: dict[tuple[int, int], Any], offset: int, sizes: list[int]) -> str:
    """Who answers at an offset; - is nobody."""
    return next((str(table[offset, n].shown) for n in sizes if (offset, n) in table), "-")


def _parts(width: int, sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """The (offset, size) of each allowed access within a register."""
    return [(offset, size) for size in sizes for offset in range(0, width // 8, size)]


def _shown(act: Any, name: str) -> Any:
    act.shown = name
    return act


def _declare(cls: type[Chip], register: Register) -> None:
    """A declared register: reads and writes touch the field and nothing else, then the outputs settle."""
    for index in range(max(1, register.count)):
        for part, size in _parts(register.width, register.sizes):
            key = (register.at + index * register.stride + part, size)
            shift, mask = 8 * part, ONES[size]
            writable = register.writable >> shift & mask
            name = f"{register.name}[{index}]" if register.count else register.name
            which = index if register.count else None
            cls.readers[key] = _shown(_field_reader(register.name, which, shift, mask), name)
            cls.writers[key] = _shown(_field_writer(register.name, which, shift, writable), name)


def _field_reader(name: str, index: int | None, shift: int, mask: int) -> Reader:
    if index is not None:
        return lambda chip: chip.__dict__[name][index] >> shift & mask
    return lambda chip: chip.__dict__[name] >> shift & mask


def _field_writer(name: str, index: int | None, shift: int, writable: int) -> Writer:
    keep = ~(writable << shift)

    def write(chip: Any, value: int) -> None:
        chip.__dict__[name] = chip.__dict__[name] & keep | (value & writable) << shift
        chip.settle()

    def write_one(chip: Any, value: int) -> None:
        row = chip.__dict__[name]
        row[index] = row[index] & keep | (value & writable) << shift
        chip.settle()

    return write if index is None else write_one


def _attach(cls: type[Chip], method: Any, access: _Access) -> None:
    for index in range(max(1, access.count)):
        at = access.at + index * access.stride
        which = index if access.count else None
        name = method.__name__ if which is None else f"{method.__name__}[{index}]"
        for part, size in _parts(access.width, access.sizes):
            if access.kind == "read":
                reader = _method_reader(method.__name__, which, part, size, access.pure)
                cls.readers[at + part, size] = _shown(reader, name)
            else:
                whole = None if size * 8 == access.width else (at, access.width // 8)
                writer = _method_writer(method.__name__, which, part, size, whole)
                cls.writers[at + part, size] = _shown(writer, name)


def _method_reader(name: str, index: int | None, part: int, size: int, pure: bool) -> Reader:
    """By name, so that a subclass may answer otherwise."""
    shift, mask = 8 * part, ONES[size]
    which = () if index is None else (index,)

    def read(chip: Any) -> int:
        value: int = getattr(chip, name)(*which)
        chip.settle()
        return value >> shift & mask

    def read_pure(chip: Any) -> int:
        value: int = getattr(chip, name)(*which)
        return value >> shift & mask

    return read_pure if pure else read


def _method_writer(name: str, index: int | None, part: int, size: int,
                   whole: tuple[int, int] | None) -> Writer:
    shift, mask = 8 * part, ONES[size]
    which = () if index is None else (index,)

    def write(chip: Any, value: int) -> None:
        getattr(chip, name)(*which, value & mask)
        chip.settle()

    def write_part(chip: Any, value: int) -> None:
        now = chip.readers[whole](chip) if whole in chip.readers else 0
        getattr(chip, name)(*which, now & ~(mask << shift) | (value & mask) << shift)
        chip.settle()

    return write if whole is None else write_part
