"""The functions of an ELF object file, and what their code still needs: its relocations.

System V ABI, chapters 4 and 5, and its AMD64 supplement 4.4. Only what LLVM writes for x86-64: 64 bits, little-endian,
relocations with addends, one symbol table. No archives, no linking.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

R_64, R_PC32, R_PLT32, R_32, R_32S, R_8 = 1, 2, 4, 10, 11, 14  # R_X86_64_...
SYMBOLS, RELOCATIONS, FUNCTION = 2, 4, 2  # SHT_SYMTAB, SHT_RELA, STT_FUNC


@dataclass(frozen=True)
class Relocation:
    """At an offset in the function the value of a symbol is needed, with a constant added. Sections have no name."""

    at: int
    kind: int
    symbol: str
    addend: int


@dataclass(frozen=True)
class Function:
    """A function's machine code."""

    name: str
    code: bytes
    relocations: tuple[Relocation, ...]


@dataclass(frozen=True)
class Symbol:
    """A name for a place in a section; section 0: the place is in another file."""

    name: str
    sort: int
    section: int
    value: int
    length: int


Section = tuple[int, int, int, int, int, int, int, int, int, int]  # a header: name, type, flags, address, offset, ...


def parsed(octets: bytes) -> tuple[list[Section], list[Symbol]]:
    """The sections and symbols of an object file."""
    headers, size, count = struct.unpack_from("<Q10xHH", octets, 0x28)
    sections = [struct.unpack_from("<IIQQQQIIQQ", octets, headers + n * size) for n in range(count)]
    number = next(n for n, section in enumerate(sections) if section[1] == SYMBOLS)
    names = sections[sections[number][6]][4]
    symbols = []
    for at in range(sections[number][4], sections[number][4] + sections[number][5], 24):
        name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", octets, at)
        text = octets[names + name:octets.index(0, names + name)].decode()
        symbols.append(Symbol(text, info & 15, section, value, length))
    return sections, symbols


def relocations(octets: bytes, sections: list[Section]) -> Iterator[tuple[int, list[tuple[int, int, int, int]]]]:
    """For each section that needs something: its number, and where, of what kind, which symbol, and what is added."""
    for section in sections:
        if section[1] == RELOCATIONS:
            found = struct.iter_unpack("<QQq", octets[section[4]:section[4] + section[5]])
            yield section[7], sorted((at, info & 0xFFFFFFFF, info >> 32, addend) for at, info, addend in found)


def functions(octets: bytes) -> list[Function]:
    """All functions that an object file defines."""
    sections, symbols = parsed(octets)
    needs = dict(relocations(octets, sections))
    made = []
    for of in symbols:
        if of.sort == FUNCTION and of.section:
            start, end = of.value, of.value + of.length
            all_of = needs.get(of.section, [])
            inside = all_of[bisect_left(all_of, (start,)):bisect_left(all_of, (end,))]
            needed = tuple(Relocation(at - start, kind, symbols[n].name, addend) for at, kind, n, addend in inside)
            begins = sections[of.section][4] + start
            made.append(Function(of.name, octets[begins:begins + of.length], needed))
    return made
