"""ELF executables, after the System V ABI, chapters 4 and 5: program headers, notes, symbols.

Not read: sections other than the symbol table, relocations, dynamic linking, big-endian files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from guesthouse.errors import UserError
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.memory import Memory

LOAD, NOTE, SYMTAB = 1, 4, 2
X86, X86_64, RISCV = 3, 62, 243
SEGMENTS, SECTIONS = 256, 1 << 16


@dataclass(frozen=True)
class Segment:
    kind: int
    offset: int
    virtual: int
    physical: int
    stored: int  # bytes in the file
    size: int  # bytes in memory
    align: int


@dataclass(frozen=True)
class Note:
    owner: str
    kind: int
    content: bytes


class Elf:
    """One executable; everything is checked against the file's bounds as it is read."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob = blob.called("ELF file")
        blob.expect(0, b"\x7fELF", "the ELF magic number")
        self.wide = {1: False, 2: True}.get(blob.number(4, 1, "the ELF class"), False)
        if blob.data[4] not in (1, 2):
            raise blob.error(4, "class 1 (32 bits) or 2 (64 bits)")
        if blob.number(5, 1, "the byte order") != 1:
            raise blob.error(5, "little-endian data")
        layout = "<HHIQQQIHHHHHH" if self.wide else "<HHIIIIIHHHHHH"
        header = struct.unpack(layout, blob.take(16, struct.calcsize(layout), "the ELF header"))
        (self.type, self.machine, _, self.entry, self._programs, self._sections, _, _, self._program_size,
         self._program_count, self._section_size, self._section_count, _) = header
        if self.type not in (2, 3):
            raise blob.error(16, "an executable (type 2 or 3)")
        self.segments = list(self._read_segments())

    def _read_segments(self) -> Iterator[Segment]:
        layout = "<IIQQQQQQ" if self.wide else "<IIIIIIII"
        if self._program_count > SEGMENTS:
            raise self.blob.error(56 if self.wide else 44, f"at most {SEGMENTS} program headers")
        for n in range(self._program_count):
            at = self._programs + n * self._program_size
            row = struct.unpack(layout, self.blob.take(at, struct.calcsize(layout), "a program header"))
            if self.wide:
                kind, _, offset, virtual, physical, stored, size, align = row
            else:
                kind, offset, virtual, physical, stored, size, _, align = row
            if kind == LOAD and stored > size:
                raise self.blob.error(at, "a segment that is no longer in the file than in memory")
            yield Segment(kind, offset, virtual, physical, stored, size, align)

    def load(self, memory: Memory) -> tuple[int, int]:
        """Put every segment at its physical address; the lowest and the highest address used."""
        loads = [s for s in self.segments if s.kind == LOAD and s.size]
        if not loads:
            raise self.blob.error(self._programs, "a segment to load")
        for s in loads:
            if not memory.contains(s.physical, s.size):
                raise UserError(f"{self.blob.name} wants {s.size:#x} bytes at {s.physical:#x}, which are not RAM.",
                                "Give the machine more memory.")
        for s in loads:
            memory.write(s.physical, self.blob.take(s.offset, s.stored, "a segment"))
            memory.fill(s.physical + s.stored, s.size - s.stored)
        return min(s.physical for s in loads), max(s.physical + s.size for s in loads)

    def notes(self) -> Iterator[Note]:
        for s in self.segments:
            if s.kind == NOTE:
                yield from self._notes_in(s)

    def _notes_in(self, segment: Segment) -> Iterator[Note]:
        at, end = segment.offset, segment.offset + segment.stored
        align = 8 if segment.align == 8 else 4
        while at + 12 <= end:
            name_size, size, kind = struct.unpack("<III", self.blob.take(at, 12, "a note"))
            name = self.blob.take(at + 12, name_size, "a note's name")
            content_at = at + 12 + -(-name_size // align) * align
            yield Note(name.rstrip(b"\0").decode("latin-1"), kind, self.blob.take(content_at, size, "a note"))
            at = content_at + -(-size // align) * align

    def symbols(self) -> dict[str, int]:
        """The symbol table; empty if the file was stripped."""
        found: dict[str, int] = {}
        for kind, offset, size, link in self._read_sections():
            if kind == SYMTAB:
                strings = [s for i, s in enumerate(self._read_sections()) if i == link]
                names = self.blob.take(strings[0][1], strings[0][2], "symbol names") if strings else b""
                found |= self._symbols_in(self.blob.take(offset, size, "symbols"), names)
        return found

    def _read_sections(self) -> Iterator[tuple[int, int, int, int]]:
        """(kind, offset, size, link) of each section."""
        for n in range(min(self._section_count, SECTIONS) if self._sections else 0):
            at = self._sections + n * self._section_size
            layout = "<IIQQQQIIQQ" if self.wide else "<IIIIIIIIII"
            row = struct.unpack(layout, self.blob.take(at, struct.calcsize(layout), "a section header"))
            yield row[1], row[4], row[5], row[6]

    def _symbols_in(self, table: bytes, names: bytes) -> dict[str, int]:
        layout = struct.Struct("<IBBHQQ" if self.wide else "<IIIBBH")
        found: dict[str, int] = {}
        for row in layout.iter_unpack(table[:len(table) // layout.size * layout.size]):
            name = names[row[0]:names.find(b"\0", row[0])].decode("latin-1")
            if name:
                found[name] = row[4] if self.wide else row[1]
        return found
