"""The opcode tables, derived from the definitions: which form an opcode means under which prefixes, ModRM
and sizes.

An opcode looks only at what tells its encodings apart: for each such selector it has a stride, and the sum of
selector times stride, from its base on, is the place in `leaves` where the number of the form stands (0:
undefined).
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from guesthouse.bits import u8, u16, u32
from guesthouse.errors import DefinitionError
from guesthouse.system.cpu.x86.definitions import IN_32, IN_64, MAPS, PREFIXES, Definition, Encoding
from guesthouse.system.cpu.x86.forms import Form, Forms
from guesthouse.system.cpu.x86.operands import ORIGIN
from guesthouse.typed import Table

# Selectors, in the order of their strides, and how many values each has.
PREFIX, LONG_MODE, SIZE, ADDRESS, REG, IS_REGISTER, RM, VECTOR = range(8)
COUNTS = (4, 2, 3, 3, 8, 2, 8, 2)

Candidate = tuple[Definition, Encoding, int]


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
        slots = (len(MAPS) + 1) * 256  # one more: a VEX map that does not exist
        self.base, self.has_modrm = [0] * slots, [0] * slots
        self.strides = [[0] * slots for _ in COUNTS]
        for at, candidates in by_opcode(definitions).items():
            self.opcode(at, candidates)

    def opcode(self, at: int, candidates: list[Candidate]) -> None:
        """Lay out one opcode's leaves."""
        self.has_modrm[at] = int(any(e.modrm for _, e, _ in candidates))
        used = [n for n in range(len(COUNTS)) if any(matters(e, n) for _, e, _ in candidates)]
        self.base[at], size = len(self.leaves), 1
        for n in reversed(used):
            self.strides[n][at] = size
            size *= COUNTS[n]
        for values in itertools.product(*(range(COUNTS[n]) for n in used)):
            chosen = [0] * len(COUNTS)
            for n, value in zip(used, values, strict=True):
                chosen[n] = value
            self.leaves.append(self.leaf(at, candidates, chosen))

    def leaf(self, at: int, candidates: list[Candidate], chosen: list[int]) -> int:
        """The number of the form for one combination of selectors; the most specific encoding wins."""
        fits = [c for c in candidates if matches(c[1], chosen)]
        if not fits:
            return 0
        best = max(specific(c[1]) for c in fits)
        winners = [c for c in fits if specific(c[1]) == best]
        if len(winners) > 1:
            texts = ", ".join(f"{d.name} {e.text!r}" for d, e, _ in winners)
            raise DefinitionError(f"opcode {at >> 8}:{at & 255:02X} could be any of {texts}")
        definition, encoding, above = winners[0]
        memory = (
            encoding.modrm and not encoding.registers and not chosen[IS_REGISTER] and "m" in encoding.forms
        )
        bits, address = operand_bits(encoding, chosen), 16 << chosen[ADDRESS]
        form = self.forms.settle(definition, encoding, above, memory, bits, address)
        return self.leaf_numbers.setdefault(form, len(self.leaf_numbers))

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
            for above in range(encoding.opcodes):
                at = encoding.map << 8 | encoding.opcode + above
                found.setdefault(at, []).append((definition, encoding, above))
    return found


def matters(encoding: Encoding, selector: int) -> bool:
    """Whether what an encoding means, or whether it is meant, depends on a selector."""
    widths = {k.width for k in encoding.kinds}
    places = {k.place for k in encoding.kinds}
    sized = bool(widths & {"v", "y", "z"} or places & {"size", "target", "far"} or encoding.w is not None)
    return {
        PREFIX: encoding.prefix is not None,
        LONG_MODE: encoding.modes not in (7,) or encoding.default64 or encoding.force64 or "target" in places,
        SIZE: sized or "iz" in encoding.immediates,
        ADDRESS: bool(places & {"source", "destination", "address size", "moffs", "parts"}),
        REG: encoding.reg is not None,
        IS_REGISTER: encoding.forms != "rm" or bool(places & {"rm", "address", "parts", "offset"}),
        RM: encoding.rm is not None,
        VECTOR: encoding.vector is not None,
    }[selector]


def matches(encoding: Encoding, chosen: list[int]) -> bool:
    """Whether an encoding is meant by these selectors. 16-bit code decodes as 32-bit code with the other
    sizes."""
    return (
        (
            encoding.prefix in (None, chosen[PREFIX])
            or (PREFIXES[encoding.prefix] == "NFx" and chosen[PREFIX] < 2)
        )
        and bool(encoding.modes & (IN_64 if chosen[LONG_MODE] else IN_32))
        and (encoding.w is None or encoding.w == (chosen[SIZE] == 2))
        and encoding.reg in (None, chosen[REG])
        and encoding.rm in (None, chosen[RM])
        and encoding.vector in (None, chosen[VECTOR])
        and (not encoding.modrm or ("r" if chosen[IS_REGISTER] else "m") in encoding.forms)
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
    """Where bytes, general, XMM and MMX registers lie from ORIGIN on, and numbers, which are their own
    offsets."""
    def at(name: str) -> int:
        return state.offset(name) - ORIGIN if name in state.fields else 0  # type: ignore[attr-defined]

    return (0, 8, 15), (0, 8, 15), (at("xmm"), 16, 15), (at("fpr"), 16, 7), (0, 1, 15), (0, 1, 7)


