"""What regions are made with: which registers are variables, and the functions that all regions call.

A function marked @function is compiled once, when the first region calls it. What it does to the registers that regions
hold in variables is read off its LLVM IR: only those are put back into the state before it is called, and fetched
after.
"""

import re
from dataclasses import dataclass
from typing import Any

from guesthouse.engine.cpu import Cpu
from guesthouse.engine.op import Guest
from guesthouse.typed.emit import Compiled, Unit
from guesthouse.typed.lower import compile_function, shape
from guesthouse.typed.struct import ArrayKind

INVALIDATIONS = Cpu.offset("invalidations")


@dataclass(frozen=True)
class Slot:
    """A register of the guest that is a variable of the region."""

    start: int
    size: int

    @property
    def name(self) -> str:
        return f"%s{self.start}"

    @property
    def type(self) -> str:
        """As LLVM holds it: what is wider than a general register of the host is a vector."""
        return f"i{8 * self.size}" if self.size <= 8 else f"<{self.size // 8} x i64>"


def slots_of(guest: Guest) -> dict[int, Slot]:
    """The slot that each byte of the state belongs to, where it belongs to one."""
    found: dict[int, Slot] = {}
    for name in guest.registers:
        field = guest.state.fields[name]
        kind, count = field.kind, 1
        if isinstance(kind, ArrayKind):
            kind, count = kind.element, kind.count
        for n in range(count):
            slot = Slot(field.offset + n * kind.size, kind.size)
            found.update((at, slot) for at in range(slot.start, slot.start + slot.size))
    return found


@dataclass(frozen=True)
class Effects:
    """Which bytes of the processor's state a function reads and writes; None: any."""

    reads: frozenset[int] | None
    writes: frozenset[int] | None


class Library:
    """Functions that regions call, compiled once for all of them: the slow paths of memory, whatever is @function."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.unit = guest, Unit()
        self.slots = slots_of(guest)
        self.effects: dict[str, Effects] = {}
        self._emitted = 0

    def get(self, function: Any, pattern: dict[str, Any]) -> tuple[Compiled, Effects]:
        key = (function, repr([(n, shape(p)) for n, p in pattern.items()]))
        unit = self.unit
        if key not in unit.compiled:
            unit.under_way.add(key)
            unit.compiled[key] = compile_function(unit, function, pattern)
            for text in unit.functions:
                name = name_of(text)
                if name not in self.effects:
                    self.effects[name] = self.read_effects(text)
        callee = unit.compiled[key]
        return callee, self.effects[callee.name]

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
        keep = self.slots.keys() | {INVALIDATIONS}
        return Effects(frozenset(reads & keep), frozenset(writes & keep))

    def new_text(self) -> str:
        """The module of the functions that have come since the last call; empty if none has."""
        functions, self_start = self.unit.functions, self._emitted
        if self_start == len(functions):
            return ""
        self._emitted = len(functions)
        before = [declaration(text) for text in functions[:self_start]]
        made = Unit(declared=self.unit.declared, tables=self.unit.tables)
        made.functions = before + [text.replace("define internal", "define", 1) for text in functions[self_start:]]
        return made.text()


GEP = re.compile(r"  (%\w+) = getelementptr inbounds i8, ptr (%\w+), i64 (\d+)")
INDEXED = re.compile(r"  %\w+ = getelementptr (?!inbounds)\S.*?, ptr (%\w+), i64 %")
ACCESS = re.compile(r"  (?:%\w+ = )?(load|store) i?(\w+)(?: \S+)?, ptr (%\w+)")
CALL = re.compile(r"  (?:%\w+ = )?call .*?(@[\w.]+)\((.*)\)")
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
