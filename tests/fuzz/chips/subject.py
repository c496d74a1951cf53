"""A chip under fuzzing, and what holds for every chip whatever a guest does.

A subject builds one chip on wires, RAM and disks of its own and says what its traffic looks like: `poke` is
the host's side, a `traffic` method is something that a driver does, with right and with wrong values, and
checks what the data sheet promises. A `model`, where there is one, is a second, simple statement of the chip
that sees each access and is asked for each answer. Whatever depends on chance takes it from `self.rng`, so that
two subjects with equal state and equal generators do the same.
"""

from __future__ import annotations

import itertools
import random
from typing import Any, Callable, ClassVar, NamedTuple

from guesthouse.bits import u64
from guesthouse.clock import Clock
from guesthouse.engine.cpu import REFUSED
from guesthouse.system.chips.kit import Chip, Line, Register, Stateful
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import Memory

INTERESTING = (0, 1, 2, 3, 7, 0x0F, 0x10, 0x20, 0x7F, 0x80, 0xFF, 0x1FF, 0x1000, 0xFFFF, 0x20000, 0x40000,
               0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
STEPS = (1, 700, 1000, 54_321, 1_000_000, 20_000_000, 3_000_000_000)  # of time
PLAIN = (int, bool, str, bytes, bytearray, type(None))
ROUNDS, TOLD = 16, 70_000  # timer rounds without time; bytes and words that one access may send out


class Broken(AssertionError):
    """An invariant does not hold."""


def must(holds: object, *why: object) -> None:
    if not holds:
        raise Broken(*why)


def traffic(method: Callable[..., None]) -> Callable[..., None]:
    """A sequence of accesses as a driver makes them."""
    method.__dict__["is_traffic"] = True
    return method


class Door(NamedTuple):
    """A range that the guest reaches; `known` are the places where something is."""

    read: Callable[[int, int], int]
    write: Callable[[int, int, int], object]
    size: int
    known: tuple[tuple[int, int], ...] = ()


def door(chip: Any) -> Door:
    return Door(chip.read, chip.write, chip.SIZE, tuple(sorted({*chip.readers, *chip.writers})))


def direct(here, *typed):
    """A door where each third access is made as processors do: they ask typed code first, (read, write) for each of its
    equal parts, and come to the chip with what that refuses."""
    length, turns = here.size // len(typed), itertools.cycle((True, False, False))

    def read(offset, size):
        found = int(typed[offset // length][0](u64(offset % length), u64(size))) if next(turns) else REFUSED
        return here.read(offset, size) if found == REFUSED else found & (1 << 8 * size) - 1

    def write(offset, size, value):
        given = u64(offset % length), u64(size), u64(value)
        if not next(turns) or int(typed[offset // length][1](*given)) == REFUSED:
            here.write(offset, size, value)

    return here._replace(read=read, write=write)


class BadDisk(MemoryDisk):
    """One of whose sectors the host cannot read or write."""

    bad = -1

    def read(self, lba: int, count: int) -> bytes:
        if lba <= self.bad < lba + count:
            raise OSError("the host's disk failed")
        return super().read(lba, count)

    def write(self, lba: int, data: bytes) -> None:
        if lba <= self.bad < lba + len(data) // self.sector_size:
            raise OSError("the host's disk failed")
        super().write(lba, data)


class Whole(Stateful):
    """Chips that are tried together."""

    def __init__(self, **parts):
        self.together = parts
        super().__init__()

    def parts(self):
        return self.together


class Subject:
    LIMIT = 2048  # bytes of state
    KEPT: ClassVar[frozenset[str]] = frozenset()  # state that a reset leaves alone
    AFTER_RESET: ClassVar[
        dict[tuple[str, int, int], int]
    ] = {}  # (door, offset, size): what the data sheet says
    WRITABLE: ClassVar[
        dict[tuple[str, int, int], tuple[int, int]]
    ] = {}  # bits that are kept, bits that are set
    WIDTHS: ClassVar[tuple[int, ...]] = (1, 2, 4, 4, 8)

    def __init__(self) -> None:
        self.rng = random.Random(0)
        self.clock, self.memory, self.lines = Clock(), Memory(), []
        self.disks: dict[str, BadDisk] = {}
        self.told: list[Any] = []
        self.seen: list[Any] = []
        self.operations = 0
        self.model: Any = None
        self.chip = self.build()
        self.doors = self.open()
        self.constant = {type(part): set(vars(part)) for part in walk(self.chip)}
        self.sequences = [getattr(self, name) for name in dir(type(self))
                          if getattr(getattr(type(self), name), "is_traffic", False)]

    # what a subject says

    def build(self) -> Any:
        raise NotImplementedError

    def open(self) -> dict[str, Door]:
        return {"": door(self.chip)}

    def poke(self) -> None:
        """The host's side and the wires."""

    def adopt(self, other: Any) -> None:
        """A twin takes over what lies outside the chip: media, levels that others drive."""

    def check(self) -> None:
        """What always holds of this chip's state."""

    # what a chip is plugged into

    def line(self) -> Line:
        self.lines.append(Line())
        return self.lines[-1]

    def tell(self, *what: Any) -> None:
        self.told.append(what[0] if len(what) == 1 else what)
        must(len(self.told) < TOLD, "a flood of output")

    def levels(self) -> list[bool]:
        return [line.high for line in self.lines]

    # accesses

    def read(self, offset: int, size: int = 1, of: str = "") -> int:
        self.operations += 1
        expected = None if self.model is None else self.model.read(of, offset, size)
        value = self.doors[of].read(offset, size)
        must(type(value) is int and 0 <= value < 1 << 8 * size, "read", of, hex(offset), size, value)
        must(
            expected is None or value == expected, "read", of, hex(offset), size, "is", value, "not", expected
        )
        self.seen.append(value)
        self.compare()
        return value

    def write(self, offset: int, value: int, size: int = 1, of: str = "") -> None:
        self.operations += 1
        if self.model is not None:
            self.model.write(of, offset, size, value)
        self.doors[of].write(offset, size, value)
        self.compare()

    def compare(self) -> None:
        """After each access: the wires are where the model has them, and settling again changes nothing."""
        if self.model is not None:
            lines = self.model.lines()
            must(lines is None or lines == self.levels(), "lines", self.levels(), "not", lines)
        if self.operations & 3 == 0:
            self.settled()

    def settled(self) -> None:
        before = self.levels(), self.clock.next_deadline()
        for part in walk(self.chip):
            part.settle()
        after = self.levels(), self.clock.next_deadline()
        must(before == after, "an access left outputs behind: from", before, "to", after)

    def value(self, size: int) -> int:
        how = self.rng.random()
        if how < 0.4:
            return self.rng.choice(INTERESTING) & (1 << 8 * size) - 1
        return 1 << self.rng.randrange(8 * size) if how < 0.6 else self.rng.getrandbits(8 * size)

    def access(self) -> None:
        """Half of the time where something is, anywhere else otherwise."""
        rng = self.rng
        of = rng.choice(list(self.doors))
        here = self.doors[of]
        if here.known and rng.random() < 0.7:
            offset, size = rng.choice(here.known)
        else:
            size = rng.choice([n for n in self.WIDTHS if n <= max(here.size, 1)])
            offset = max(0, rng.randrange(min(here.size, rng.choice((16, 0x100, here.size)))) & ~(size - 1))
        if rng.random() < 0.45:
            self.read(offset, size, of)
        else:
            self.write(offset, self.value(size), size, of)

    def registers(self) -> None:
        """What was written is there, as far as the data sheet says that it stays."""
        (of, offset, size), (kept, fixed) = self.rng.choice(list(self.WRITABLE.items()))
        value = self.value(size)
        self.write(offset, value, size, of)
        found = self.read(offset, size, of)
        must(found == value & kept | fixed, of, hex(offset), "holds", hex(found), "after", hex(value))

    # time

    def pass_time(self, by: int, late: bool = False) -> None:
        """To a moment; punctually, timers go off at theirs and no line rises between them."""
        to = self.clock.now() + by
        while not late and (at := self.clock.next_deadline()) is not None and at <= to:
            if at > self.clock.now():
                self._quietly_to(at - 1)
            self._fire(at)
        if late:
            self._fire(to)
        else:
            self._quietly_to(to)

    def _quietly_to(self, to: int) -> None:
        before = self.levels()
        self.clock.advance_to(to)
        for part in walk(self.chip):
            part.settle()
        must(
            not any(now and not was for was, now in zip(before, self.levels())), "a line rose without a timer"
        )

    def _fire(self, at: int) -> None:
        self.clock.advance_to(at)
        for _ in range(ROUNDS):
            self.operations += 1
            self.clock.fire_due()
            if (following := self.clock.next_deadline()) is None or following > self.clock.now():
                return
        raise Broken("a timer that goes off for ever while time stands")

    # state

    def twin(self) -> Any:
        """Another one, restored from what this one saves, in surroundings that are the same."""
        other = type(self)()
        other.clock.restore(self.clock.save())
        other.memory.bytes[:] = self.memory.bytes
        for name, disk in self.disks.items():
            other.disks[name].bytes[:], other.disks[name].bad = disk.bytes, disk.bad
        other.model = None
        other.adopt(self)
        other.chip.restore(self.chip.save())
        return other

    def sound(self) -> None:
        """State is plain data of bounded size; registers have their width and rows their length."""
        must(size_of(self.chip.save()) <= self.LIMIT, "the state has grown to", size_of(self.chip.save()))
        for part in walk(self.chip):
            for name in vars(part).keys() - type(part).fields.keys() - self.constant[type(part)]:
                must(
                    type(part.__dict__[name]) not in PLAIN,
                    f"{type(part).__name__}.{name}",
                    "changes and is not saved",
                )
            for name, field in type(part).fields.items():
                sound_field(f"{type(part).__name__}.{name}", getattr(part, name), field)
        self.check()


def sound_field(name: str, value: Any, field: Any) -> None:
    kinds = {type(value), type(field.reset)}
    must(len(kinds) == 1 or type(None) in kinds and field.reset is None or kinds == {int, bool}, name, value)
    if isinstance(field, Register):
        first = field.reset[0] if field.count else field.reset
        for one in value if field.count else [value]:
            must(0 <= one < 1 << field.width, name, one)
            must(name.endswith("interrupt_line") or (one ^ first) & ~field.writable == 0, name, one)
    elif isinstance(value, list) and field.reset:
        must(len(value) == len(field.reset), name, "has", len(value))


def walk(chip: Any) -> list[Any]:
    found = [chip]
    for part in chip.parts().values():
        found += walk(part)
    return found


def size_of(value: Any) -> int:
    """Bytes of plain data, roughly; whatever else is not state."""
    if isinstance(value, dict):
        return sum(size_of(one) for one in value.values())
    if isinstance(value, (list, tuple)):
        return sum(size_of(one) for one in value)
    must(type(value) in PLAIN, "not plain data:", type(value))
    if isinstance(value, int):
        return value.bit_length() // 8 + 1
    return len(value) if value is not None else 1


__all__ = [
    "BadDisk",
    "Broken",
    "Chip",
    "Door",
    "Line",
    "Stateful",
    "Subject",
    "Whole",
    "direct",
    "door",
    "must",
    "traffic",
    "walk",
]
