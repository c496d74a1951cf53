"""The opcode tables, derived from the definitions: which form an opcode means under which prefixes, ModRM
and sizes.

An opcode looks only at what tells its encodings apart: for each such selector it has a stride, and the sum of
selector times stride, from its base on, is the place in `leaves` where the number of the form stands (0:
undefined).
"""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from guesthouse.bits import u8, u16, u32
from guesthouse.errors import DefinitionError
from guesthouse.system.cpu.x86.definitions import IN_32, IN_64, MAPS, PREFIXES, Definition, Encoding
from guesthouse.system.cpu.x86.forms import Form, Forms
from guesthouse.system.cpu.x86.operands import VECTORS
from guesthouse.typed import Table

# Selectors, in the order of their strides, and how many values each has.
PREFIX, LONG_MODE, SIZE, ADDRESS, REG, IS_REGISTER, RM, VECTOR = range(8)
COUNTS = (4, 2, 3, 3, 8, 2, 8, 2)



@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoding with its definition, and how far the opcode is above the first; `values` are those of each selector
    under which it is meant, `looks_at` the selectors on which its meaning depends. Of several that are meant the one
    that is most `specific` wins."""

    definition: Definition
    encoding: Encoding
    above: int
    values: tuple[Collection[int], ...]
    looks_at: frozenset[int]
    specific: tuple[bool, ...]


@dataclass(frozen=True)
class Tables:
    """Constant arrays for decode.py. The last three tell where register files lie, by forms.BYTES and so
    on."""

    has_modrm: Table
    base: Table
    strides: tuple[Table, ...]
    leaves: Table
    handler: Table
    flags: Table
    slots: tuple[Table, ...]
    immediate: Table
    second: Table
    constant: Table
    access: Table
    locked: Table
    file_base: Table
    file_stride: Table
    file_mask: Table


class OpcodeTables:
    """Fills the tables from definitions; `forms` collects the handlers."""

    def __init__(self, definitions: Iterable[Definition], forms: Forms) -> None:
        self.forms, self.leaf_numbers, self.leaves = forms, {Form(): 0}, [0]
        self.settled: dict[tuple[Candidate, tuple[bool, int, int]], int] = {}
        slots = (len(MAPS) + 1) * 256  # one more: a VEX map that does not exist
        self.base, self.has_modrm = [0] * slots, [0] * slots
        self.strides = [[0] * slots for _ in COUNTS]
        for at, candidates in by_opcode(definitions).items():
            self.opcode(at, candidates)

    def opcode(self, at: int, candidates: list[Candidate]) -> None:
        """Lay out one opcode's leaves."""
        self.has_modrm[at] = int(any(c.encoding.modrm for c in candidates))
        used = sorted(frozenset().union(*(c.looks_at for c in candidates)))
        self.base[at], size = len(self.leaves), 1
        for n in reversed(used):
            self.strides[n][at] = size
            size *= COUNTS[n]
        self.lay_out(at, sorted(candidates, key=lambda c: c.specific, reverse=True), used, [0] * len(COUNTS))

    def lay_out(self, at: int, candidates: list[Candidate], used: list[int], chosen: list[int]) -> None:
        """The leaves for all values of the selectors in `used`, for candidates that are meant by what is chosen."""
        if not candidates:
            self.leaves += [0] * math.prod(COUNTS[n] for n in used)
        elif not used:
            self.leaves.append(self.leaf(at, candidates, chosen))
        else:
            n, rest = used[0], used[1:]
            for value in range(COUNTS[n]):
                chosen[n] = value
                self.lay_out(at, [c for c in candidates if value in c.values[n]], rest, chosen)

    def leaf(self, at: int, candidates: list[Candidate], chosen: list[int]) -> int:
        """The number of the form for one combination of selectors."""
        best = candidates[0]
        winners = [c for c in candidates if c.specific == best.specific]
        if len(winners) > 1:
            texts = ", ".join(f"{c.definition.name} {c.encoding.text!r}" for c in winners)
            raise DefinitionError(f"opcode {at >> 8}:{at & 255:02X} could be any of {texts}")
        encoding = best.encoding
        memory = (
            encoding.modrm and not encoding.registers and not chosen[IS_REGISTER] and "m" in encoding.forms
        )
        how = memory, operand_bits(encoding, chosen), 16 << chosen[ADDRESS]
        if (best, how) not in self.settled:
            form = self.forms.settle(best.definition, encoding, best.above, *how)
            self.settled[best, how] = self.leaf_numbers.setdefault(form, len(self.leaf_numbers))
        return self.settled[best, how]

    def tables(self, files: tuple[tuple[int, int, int], ...]) -> Tables:
        """The finished tables; `files` has offset, stride and number mask of each register file."""
        forms = list(self.leaf_numbers)
        return Tables(
            Table(u8, self.has_modrm),
            Table(u32, self.base),
            tuple(Table(u16, s) for s in self.strides),
            Table(u16, self.leaves),
            Table(u16, [f.handler for f in forms]),
            Table(u16, [f.flags for f in forms]),
            tuple(Table(u32, [f.slots[n] for f in forms]) for n in range(3)),
            Table(u8, [f.immediate for f in forms]),
            Table(u8, [f.second for f in forms]),
            Table(u8, [f.constant for f in forms]),
            Table(u16, [f.access for f in forms]),
            Table(u16, [f.locked for f in forms]),
            Table(u16, [f[0] for f in files]),
            Table(u16, [f[1] for f in files]),
            Table(u8, [f[2] for f in files]),
        )


def by_opcode(definitions: Iterable[Definition]) -> dict[int, list[Candidate]]:
    """All encodings by map and opcode."""
    found: dict[int, list[Candidate]] = {}
    for definition in definitions:
        for encoding in definition.encodings:
            known = values(encoding), looks_at(encoding), specific(encoding)
            for above in range(encoding.opcodes):
                at = encoding.map << 8 | encoding.opcode + above
                found.setdefault(at, []).append(Candidate(definition, encoding, above, *known))
    return found


def looks_at(encoding: Encoding) -> frozenset[int]:
    """The selectors on which it depends what an encoding means, or whether it is meant."""
    widths = {k.width for k in encoding.kinds}
    places = {k.place for k in encoding.kinds}
    sized = bool(widths & {"v", "y", "z"} or places & {"size", "target", "far"} or encoding.w is not None)
    matters = {
        PREFIX: encoding.prefix is not None,
        LONG_MODE: encoding.modes not in (7,) or encoding.default64 or encoding.force64 or "target" in places,
        SIZE: sized or "iz" in encoding.immediates,
        ADDRESS: bool(places & {"source", "destination", "address size", "moffs", "parts"}),
        REG: encoding.reg is not None,
        IS_REGISTER: encoding.forms != "rm" or bool(places & {"rm", "address", "parts", "offset"}),
        RM: encoding.rm is not None,
        VECTOR: encoding.vector is not None,
    }
    return frozenset(selector for selector, does in matters.items() if does)


def values(encoding: Encoding) -> tuple[Collection[int], ...]:
    """The values of each selector under which an encoding is meant. 16-bit code decodes as 32-bit code with the other
    sizes."""
    def only(value: int | None, count: int) -> Collection[int]:
        return range(count) if value is None else (value,)

    return (
        (0, 1) if encoding.prefix == PREFIXES.index("NFx") else only(encoding.prefix, COUNTS[PREFIX]),
        [n for n, mode in enumerate((IN_32, IN_64)) if encoding.modes & mode],
        {None: (0, 1, 2), 0: (0, 1), 1: (2,)}[encoding.w],
        range(COUNTS[ADDRESS]),
        only(encoding.reg, COUNTS[REG]),
        [n for n, form in enumerate("mr") if not encoding.modrm or form in encoding.forms],
        only(encoding.rm, COUNTS[RM]),
        only(encoding.vector, COUNTS[VECTOR]),
    )


def specific(encoding: Encoding) -> tuple[bool, ...]:
    return (
        encoding.rm is not None,
        encoding.prefix is not None,
        encoding.w is not None,
        encoding.reg is not None,
        encoding.opcodes == 1,
    )


def operand_bits(encoding: Encoding, chosen: list[int]) -> int:
    """The operand size. A mandatory 66 does not make it 16."""
    if chosen[LONG_MODE] and (encoding.force64 or encoding.default64 and chosen[SIZE] == 1):
        return 64
    if chosen[SIZE] == 0 and encoding.prefix == 1:
        return 32
    return 16 << chosen[SIZE]


def register_files(state: type) -> tuple[tuple[int, int, int], ...]:
    """Where bytes and general registers lie from the first on, XMM and MMX registers from VECTORS on, and numbers,
    which are their own offsets."""
    def at(name: str) -> int:
        return state.offset(name) - VECTORS if name in state.fields else 0  # type: ignore[attr-defined]

    return (0, 8, 15), (0, 8, 15), (at("xmm"), 16, 15), (at("fpr"), 16, 7), (0, 1, 15), (0, 1, 7)


