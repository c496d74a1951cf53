"""A linker for one object file: relocatable ELF in, static executable out, in one segment that may do everything.

After the System V ABI (gABI 4.1, chapters 4 and 5) and its supplements for x86-64, i386 and RISC-V, which number
the relocations. Not modelled: libraries, shared objects, relaxation, thread-local storage, debugging sections.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ORIGIN, ALIGN = 0x40_0000, 4096
ALLOC, NOBITS, SYMTAB, RELA, REL = 2, 8, 2, 4, 9  # section flag and types (figures 4-9 and 4-11)
UNDEFINED, ABSOLUTE, COMMON = 0, 0xFFF1, 0xFFF2
X86_64, I386, RISCV = 62, 3, 243

# What a relocation of each number does; P is its own place, S the symbol, A the addend.
HOW: dict[int, dict[int, str]] = {
    X86_64: {1: "word64", 2: "pc32", 4: "pc32", 10: "word32", 11: "word32"},
    I386: {1: "word32", 2: "pc32", 4: "pc32"},
    RISCV: {1: "word32", 2: "word64", 16: "branch", 17: "jal", 18: "call", 19: "call", 26: "hi20", 27: "lo12i",
            28: "lo12s", 51: ""},
}


@dataclass
class Section:
    """A part of the object, and where it lies in the executable."""

    name: str
    kind: int
    flags: int
    data: bytes
    size: int
    link: int
    info: int
    align: int
    address: int = 0


@dataclass(frozen=True)
class Stub:
    """Machine code of ours that the object calls; `calls` says at which byte it jumps to a symbol, and how."""

    name: str
    code: bytes
    calls: tuple[tuple[int, int, str, int], ...] = ()  # place, relocation, symbol, addend


def linked(data: bytes, stubs: tuple[Stub, ...]) -> bytes:
    """The executable: the stubs, the first of which is the entry, and all of the object that is to be in memory."""
    object_file = Object(data)
    wide = object_file.wide
    headers = 64 + 56 if wide else 52 + 32
    image, symbols = bytearray(headers), {}
    for stub in stubs:
        image += bytes(-len(image) % 16)
        symbols[stub.name] = ORIGIN + len(image)
        image += stub.code
    end = object_file.place(ORIGIN + len(image))
    for section in object_file.loaded():
        if section.kind != NOBITS:
            image += bytes(section.address - ORIGIN - len(image)) + section.data
    entry = symbols[stubs[0].name]
    symbols |= object_file.names()
    for place, how, name, addend in object_file.relocations(symbols):
        patch(image, object_file.machine, place, how, symbols[name], addend)
    for stub in stubs:
        for at, how, name, addend in stub.calls:
            patch(image, object_file.machine, symbols[stub.name] + at, how, symbols[name], addend)
    image[:headers] = header(object_file.machine, wide, entry, len(image), end - ORIGIN)
    return bytes(image)


def header(machine: int, wide: bool, entry: int, size: int, room: int) -> bytes:
    """ELF header and the program header of the one segment."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        return (struct.pack("<16sHHIQQQIHHHHHH", ident, 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
                + struct.pack("<IIQQQQQQ", 1, 7, 0, ORIGIN, ORIGIN, size, room, ALIGN))
    return (struct.pack("<16sHHIIIIIHHHHHH", ident, 2, machine, 1, entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
            + struct.pack("<IIIIIIII", 1, 0, ORIGIN, ORIGIN, size, room, 7, ALIGN))


class Object:
    """A relocatable file: its sections, symbols and relocations."""

    def __init__(self, data: bytes) -> None:
        self.data, self.wide = data, data[4] == 2
        (self.machine,) = struct.unpack_from("<H", data, 18)
        (start,) = struct.unpack_from("<Q" if self.wide else "<I", data, 40 if self.wide else 32)
        size, count, names = struct.unpack_from("<HHH", data, 58 if self.wide else 46)
        form = "<IIQQQQIIQQ" if self.wide else "<IIIIIIIIII"
        rows = [struct.unpack_from(form, data, start + n * size) for n in range(count)]
        texts = data[rows[names][4]:]
        self.sections = [
            Section(text(texts, name), kind, flags, b"" if kind == NOBITS else data[at:at + size],
                    size, link, info, align)
            for name, kind, flags, _, at, size, link, info, align, _ in rows]
        self.symbols = list(self._symbols())

    def _symbols(self) -> Iterator[tuple[str, int, int]]:
        """Name, section and value of each."""
        table = next(section for section in self.sections if section.kind == SYMTAB)
        texts, form = self.sections[table.link].data, "<IBBHQQ" if self.wide else "<IIIBBH"
        for fields in struct.iter_unpack(form, table.data):
            value, where = (fields[4], fields[3]) if self.wide else (fields[1], fields[5])
            yield text(texts, fields[0]), where, value

    def loaded(self) -> list[Section]:
        """What is in memory while the program runs; that which the file need not hold comes last."""
        return sorted((s for s in self.sections if s.flags & ALLOC), key=lambda s: s.kind == NOBITS)

    def place(self, at: int) -> int:
        """Give each section its address, from `at` on; the end."""
        for section in self.loaded():
            section.address = -(-at // max(1, section.align)) * max(1, section.align)
            at = section.address + section.size
        return at

    def address(self, symbol: int, known: Mapping[str, int]) -> int:
        name, where, value = self.symbols[symbol]
        if where == UNDEFINED:
            if name not in known:
                raise ValueError(f"the program calls {name}, which nobody provides")
            return known[name]
        return value if where == ABSOLUTE else self.sections[where].address + value

    def names(self) -> dict[str, int]:
        return {name: self.sections[where].address + value for name, where, value in self.symbols
                if name and where not in (UNDEFINED, ABSOLUTE, COMMON)}

    def relocations(self, known: dict[str, int]) -> Iterator[tuple[int, int, str, int]]:
        """Place, kind, symbol and addend of each that concerns memory; `known` gets a name for each symbol."""
        for section in self.sections:
            target = self.sections[section.info] if section.kind in (REL, RELA) else None
            if target is None or not target.flags & ALLOC:
                continue
            form = ("<QQ" if self.wide else "<II") + ("q" if self.wide else "i") * (section.kind == RELA)
            for offset, info, *addend in struct.iter_unpack(form, section.data):
                symbol, how = (info >> 32, info & 0xFFFF_FFFF) if self.wide else (info >> 8, info & 0xFF)
                if not addend:  # it is in the place itself (supplement for i386, "Relocation types")
                    addend = list(struct.unpack_from("<i", target.data, offset))
                known[f"#{symbol}"] = self.address(symbol, known)
                yield target.address + offset, how, f"#{symbol}", addend[0]


def text(table: bytes, at: int) -> str:
    return table[at:table.index(0, at)].decode()


def patch(image: bytearray, machine: int, place: int, number: int, symbol: int, addend: int) -> None:
    """Apply one relocation."""
    if number not in HOW[machine]:
        raise ValueError(f"relocation {number} of machine {machine} is not known here")
    how, at, value = HOW[machine][number], place - ORIGIN, symbol + addend
    if how in ("word32", "word64", "pc32"):
        size = 8 if how == "word64" else 4
        value -= place if how == "pc32" else 0
        image[at:at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    elif how == "call":  # auipc and jalr, in two instructions that follow each other
        _or(image, at, (value - place + 0x800) & 0xFFFF_F000)
        _or(image, at + 4, (value - place & 0xFFF) << 20)
    elif how:
        _or(image, at, RISCV_FIELDS[how](value - place if how in ("branch", "jal") else value))


def _or(image: bytearray, at: int, field: int) -> None:
    word = int.from_bytes(image[at:at + 4], "little") | field & 0xFFFF_FFFF
    image[at:at + 4] = word.to_bytes(4, "little")


def _bits(value: int, *fields: tuple[int, int, int]) -> int:
    """Pieces of a value at other places: (lowest bit, number of bits, to which bit)."""
    return sum((value >> low & (1 << width) - 1) << to for low, width, to in fields)


# The immediates of RISC-V's formats (unprivileged manual, 2.3); the upper 20 bits make up for a negative lower 12.
RISCV_FIELDS = {
    "hi20": lambda v: (v + 0x800) & 0xFFFF_F000,
    "lo12i": lambda v: _bits(v, (0, 12, 20)),
    "lo12s": lambda v: _bits(v, (0, 5, 7), (5, 7, 25)),
    "branch": lambda v: _bits(v, (11, 1, 7), (1, 4, 8), (5, 6, 25), (12, 1, 31)),
    "jal": lambda v: _bits(v, (12, 8, 12), (11, 1, 20), (1, 10, 21), (20, 1, 31)),
}
