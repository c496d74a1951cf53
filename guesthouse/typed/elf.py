"""The functions of an ELF object file, and what their code still needs: its relocations.

System V ABI, chapters 4 and 5, and its AMD64 supplement 4.4. Only what LLVM writes for x86-64: 64 bits, little-endian,
relocations with addends, one symbol table. No archives, no linking.
"""

import struct
from bisect import bisect_left
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


def functions(octets: bytes) -> list[Function]:
    """All functions that an object file defines."""
    headers, size, count = struct.unpack_from("<Q10xHH", octets, 0x28)
    sections = [struct.unpack_from("<IIQQQQIIQQ", octets, headers + n * size) for n in range(count)]
    number = next(n for n, section in enumerate(sections) if section[1] == SYMBOLS)
    names = sections[sections[number][6]][4]
    symbols = []
    for at in range(sections[number][4], sections[number][4] + sections[number][5], 24):
        name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", octets, at)
        symbols.append((octets[names + name:octets.index(0, names + name)].decode(), info & 15, section, value, length))
    needs: dict[int, list[tuple[int, int, str, int]]] = {}
    for section in sections:
        if section[1] == RELOCATIONS:
            found = struct.iter_unpack("<QQq", octets[section[4]:section[4] + section[5]])
            needs[section[7]] = sorted((at, info & 0xFFFFFFFF, symbols[info >> 32][0], addend)
                                       for at, info, addend in found)
    made = []
    for name, sort, section, value, length in symbols:
        if sort == FUNCTION and section:
            start = sections[section][4] + value
            all_of = needs.get(section, [])
            inside = all_of[bisect_left(all_of, (value,)):bisect_left(all_of, (value + length,))]
            relocations = tuple(Relocation(at - value, kind, symbol, addend) for at, kind, symbol, addend in inside)
            made.append(Function(name, octets[start:start + length], relocations))
    return made
