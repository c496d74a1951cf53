"""What regions are made with: which registers are variables, and the functions that all regions call.

A function marked @function is compiled once, when the first region calls it. What it does to the registers that regions
hold in variables is read off its LLVM IR: only those are put back into the state before it is called, and fetched
after.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from guesthouse.engine.cpu import Cpu
from guesthouse.engine.op import Guest
from guesthouse.bits import u64
from guesthouse.typed.emit import Compiled, Emitter, Unit
from guesthouse.typed.lower import Lower, compile_function, shape
from guesthouse.typed.image import ready
from guesthouse.typed.struct import ArrayKind
from guesthouse.typed.values import Ref, Scalar

CPU = "%cpu"  # the state, in a region
INVALIDATIONS = Cpu.offset("invalidations")


@dataclass(frozen=True)
class Slot:
    """A register of the guest that is a variable of the region. `floats`: best in a vector register of the host."""

    start: int
    size: int
    floats: bool = False

    @property
    def name(self) -> str:
        return f"%s{self.start}"

    @property
    def type(self) -> str:
        """As LLVM holds it: what is wider than a general register of the host is a vector."""
        if self.floats:
            return "double"
        return f"i{8 * self.size}" if self.size <= 8 else f"<{self.size // 8} x i64>"


def slots_of(guest: Guest) -> dict[int, Slot]:
    """The slot that each byte of the state belongs to, where it belongs to one."""
    found: dict[int, Slot] = {}
    unit = guest.instructions.unit
    for name in ("tlb", *guest.registers):
        field = guest.state.fields[name]
        kind: Any = field.kind
        count = 1
        if isinstance(kind, ArrayKind):
            kind, count = kind.element, kind.count
        floats = unit is not None and name in unit.registers
        for n in range(count):
            slot = Slot(field.offset + n * kind.size, kind.size, floats)
            found.update((at, slot) for at in range(slot.start, slot.start + slot.size))
    return found


@dataclass(frozen=True)
class Effects:
    """Which bytes of the processor's state a function reads and writes; None: any."""

    reads: frozenset[int] | None
    writes: frozenset[int] | None


class Trial(Lower):
    """Finds which places of the state a function of the processor and of numbers reads and writes."""

    def __init__(self, guest: Guest, function: Any) -> None:
        super().__init__(Unit(), Emitter())
        self.reads: set[int] = set()
        self.writes: set[int] = set()
        arguments: list[Any] = [Ref(guest.state, "%a0")]
        arguments += [Scalar(u64, f"%a{n}") for n in range(1, function.__code__.co_argcount)]
        self.inline(function, arguments, {})

    def read(self, kind: Any, place: Any, *more: Any, **named: Any) -> Any:
        self.reads.add(place.offset)
        return super().read(kind, place, *more, **named)

    def write(self, kind: Any, place: Any, value: Any, *more: Any, **named: Any) -> None:
        self.writes.add(place.offset)
        super().write(kind, place, value, *more, **named)


class Library:
    """Functions that regions call, compiled once for all of them: the slow paths of memory, whatever is @function."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.unit = guest, Unit()
        self.slots = slots_of(guest)
        self.effects: dict[str, Effects] = {}
        self.texts: dict[str, str] = {}
        self.guarded = self.octets_of_stack()
        self._made: dict[str, bytes] = {}
        self._writes: dict[Any, frozenset[Slot]] = {}
        self._fields: dict[str, frozenset[int]] = {}
        self.modes, self.raised = self.of_unit(guest)

    def of_unit(self, guest: Guest) -> tuple[frozenset[int], frozenset[int]]:
        """The places, no registers, that tell how the unit of vectors and floats works, and what it has raised."""
        unit = guest.instructions.unit
        if unit is None:
            return frozenset(), frozenset()
        modes, raised = Trial(guest, unit.control).reads, Trial(guest, unit.raised).writes
        return frozenset(modes - self.slots.keys()), frozenset(raised - self.slots.keys())

    def place(self, path: tuple[str, str]) -> int:
        """Where a field of a field of the state lies."""
        field: Any = self.guest.state.fields[path[0]]
        return int(field.offset + field.kind.type.offset(path[1]))

    def octets_of_stack(self) -> frozenset[int]:
        """The bytes of the state that are not as they should be while a region has the register stack."""
        form, fields = self.guest.instructions.stack, self.guest.state.fields
        if form is None:
            return frozenset()
        found = {self.place(path) + n for path in (form.flags, form.up) for n in range(8)}
        for name in (form.registers, form.top, form.tags):
            found.update(range(fields[name].offset, fields[name].offset + fields[name].kind.size))
        return frozenset(found)

    def writes(self, function: Any) -> frozenset[Slot]:
        """The slots that a deferred function writes: whenever it is called, each of them."""
        if function not in self._writes:
            self._writes[function] = frozenset(self.slots[place] for place in Trial(self.guest, function).writes)
        return self._writes[function]

    def get(self, function: Any, pattern: dict[str, Any]) -> tuple[Compiled, Effects]:
        """A function compiled for such arguments, and what it does. Its name comes from its text: it is the same in
        every process, so that regions which have been kept find it."""
        key = (function, repr([(n, shape(p)) for n, p in pattern.items()]))
        unit = self.unit
        if key not in unit.compiled:
            unit.under_way.add(key)
            unit.compiled[key] = compile_function(unit, function, pattern)
            made = {callee.name: callee for callee in unit.compiled.values()}
            names: dict[str, str] = {}
            for text in unit.functions:
                text = NAME.sub(lambda found: names.get(found[0], found[0]), text)
                old = name_of(text)
                own = text.replace(f"{old}(", "(")  # without the number that it has in this process
                new = names[old] = f"{old.rpartition('.')[0]}.{hashlib.sha256(own.encode()).hexdigest()[:16]}"
                self.texts[new[1:]] = text.replace(f"{old}(", f"{new}(", 1)
                self.effects[new] = self.read_effects(self.texts[new[1:]])
                made[old].name = new
            unit.functions.clear()
        callee = unit.compiled[key]
        return callee, self.effects[callee.name]

    def needs(self, text: str) -> list[str]:
        """The names of the functions that a text calls."""
        return [name for found in dict.fromkeys(NAME.findall(text)) if (name := found[1:]) in self.texts]

    def code(self, name: str) -> bytes:
        """One function, as a region is kept."""
        if name not in self._made:
            text = self.texts[name]
            own = Unit(declared=dict(self.unit.declared), tables=self.unit.tables)
            own.functions = [declaration(self.texts[needed]) for needed in self.needs(text) if needed != name]
            own.functions.append(text.replace("define internal", "define", 1))
            self._made[name] = ready(own.text())
        return self._made[name]

    def fields_written(self, name: str) -> frozenset[int]:
        """The fields of the state, by their places in it, that a function or one that it calls stores to by name."""
        if name not in self._fields:
            text = self.texts[name]
            at = {found[1]: int(found[3]) for found in GEP.finditer(text) if found[2] == "%a0"}
            places = {at[found[3]] for found in ACCESS.finditer(text) if found[1] == "store" and found[3] in at}
            inner = [self.fields_written(needed) for needed in self.needs(text) if needed != name]
            self._fields[name] = frozenset(places).union(*inner)
        return self._fields[name]

    def read_effects(self, text: str) -> Effects:
        """What a function does to the state that its first parameter points to, read off its text. Callees stand before
        their callers."""
        places: dict[str, int] = {"%a0": 0}
        reads: set[int] = set()
        writes: set[int] = set()
        for line in text.splitlines()[1:]:
            if found := GEP.match(line):
                name, base, offset = found.groups()
                if base in places:
                    places[name] = places[base] + int(offset)
            elif found := INDEXED.match(line):
                base = found[1]
                if base in places and (places[base] == 0 or places[base] in self.slots):
                    return Effects(None, None)
            elif found := ACCESS.match(line):
                what, bits, place = found.groups()
                if place in places:
                    size = int(bits) // 8 if bits.isdigit() else 8
                    touched = range(places[place], places[place] + max(size, 1))
                    (reads if what == "load" else writes).update(touched)
            elif "store ptr %a0" in line:
                return Effects(None, None)
            elif found := CALL.match(line):
                callee, arguments = found.groups()
                passed = [places[a] for a in POINTERS.findall(arguments) if a in places]
                if callee in self.effects and 0 in passed:
                    inner = self.effects[callee]
                    if inner.reads is None or inner.writes is None:
                        return Effects(None, None)
                    reads |= inner.reads
                    writes |= inner.writes
                elif any(at in self.slots for at in passed):
                    return Effects(None, None)
        keep = self.slots.keys() | {INVALIDATIONS} | self.guarded | self.modes | self.raised
        return Effects(frozenset(reads & keep), frozenset(writes & keep))


GEP = re.compile(r"  (%\w+) = getelementptr inbounds i8, ptr (%\w+), i64 (-?\d+)")
INDEXED = re.compile(r"  %\w+ = getelementptr (?!inbounds)\S.*?, ptr (%\w+), i64 %")
ACCESS = re.compile(r"  (?:%\w+ = )?(load|store) i?(\w+)(?: \S+)?, ptr (%\w+)")
CALL = re.compile(r"  (?:%\w+ = )?call .*?(@[\w.]+)\((.*)\)")
NAME = re.compile(r"@[\w.]+")
POINTERS = re.compile(r"ptr (%\w+)")
DEFINE = re.compile(r"define internal (.*?) (@[\w.]+)\((.*)\) nounwind")


def name_of(text: str) -> str:
    found = DEFINE.match(text)
    assert found is not None
    return found[2]


def declaration(text: str) -> str:
    found = DEFINE.match(text)
    assert found is not None
    kinds = ", ".join(p.rsplit(" ", 1)[0] for p in found[3].split(", ") if p)
    return f"declare {found[1]} {found[2]}({kinds}) nounwind"
