"""Machine code that lacks nothing but its address: what an object file becomes once, so that each process that uses it
has only to copy it somewhere and to add that place to some words.

LLVM's linker takes half a millisecond for an object, and maps pages of its own for each. System V ABI, AMD64 supplement
4.4; only what LLVM writes for x86-64 in the large code model, whose references are all words of 64 bits (R_X86_64_64).
Code is not kept from being written to, nor data from being executed.
"""

import ctypes
import json
import struct
from array import array
from collections.abc import Sequence
from typing import Protocol

from guesthouse.typed.elf import R_64, Section, parsed, relocations
from guesthouse.typed.machine import assemble, host_is

ALLOCATED, WRITTEN = 2, 1  # SHF_ALLOC, SHF_WRITE
EMPTY = 8  # SHT_NOBITS
PAGE = 4096  # data has pages of its own: a host takes what is stored near code for changed code
LENGTH = 4  # bytes that tell the length of the head
ALL_ONES = (1 << 64) - 1


def ready(text: str, passes: Sequence[str] = ()) -> bytes:
    """A module given as LLVM IR, for later use: an image, or an object file where images cannot be."""
    made = assemble(text, passes=passes)
    return image(made) if possible() else made


def possible() -> bool:
    """Whether this host can have images."""
    return host_is("x86_64 elf")


def image(octets: bytes) -> bytes:
    """The image of an object file: a head that tells in JSON what is where, and the octets. Words of the image itself
    have their distance from its start."""
    sections, symbols = parsed(octets)
    starts, made = laid_out(octets, sections)
    places: list[int] = []
    wanted: list[tuple[int, str, int]] = []
    for section, needs in relocations(octets, sections):
        for at, kind, number, addend in needs if section in starts else ():
            at, symbol = at + starts[section], symbols[number]
            assert kind == R_64, f"a relocation of kind {kind}"
            if symbol.section:
                struct.pack_into("<Q", made, at, starts[symbol.section] + symbol.value + addend & ALL_ONES)
                places.append(at)
            else:
                wanted.append((at, symbol.name, addend))
    names = {s.name: starts[s.section] + s.value for s in symbols if s.name and s.section in starts}
    head = json.dumps({"names": names, "runs": runs(places), "wanted": wanted}).encode()
    return len(head).to_bytes(LENGTH, "little") + head + made


def laid_out(octets: bytes, sections: list[Section]) -> tuple[dict[int, int], bytearray]:
    """Where sections are put, and all of them: first what is only read, then what is written."""
    starts: dict[int, int] = {}
    made = bytearray()
    for written in (0, WRITTEN):
        made += bytes(-len(made) % PAGE if written else 0)
        for n, (_, sort, flags, _, offset, length, _, _, align, _) in enumerate(sections):
            if flags & ALLOCATED and flags & WRITTEN == written:
                made += bytes(-len(made) % max(1, align))
                starts[n] = len(made)
                made += bytes(length) if sort == EMPTY else octets[offset:offset + length]
    return starts, made


def runs(places: list[int]) -> list[list[int]]:
    """Places of words, as beginnings and numbers of those that lie together: tables of jumps are many words."""
    found: list[list[int]] = []
    for at in sorted(places):
        if found and at == found[-1][0] + 8 * found[-1][1]:
            found[-1][1] += 1
        else:
            found.append([at, 1])
    return found


class Room(Protocol):
    """Memory from `start` to `end` that can be written and executed."""

    start: int
    end: int


class Images:
    """Images loaded into a room. They may refer to those that came before, and to the C library."""

    def __init__(self, room: Room) -> None:
        self._room, self._filled = room, room.start
        self._names: dict[str, int] = {}

    def add(self, images: list[bytes]) -> None:
        """Put down more. MemoryError: there is no room."""
        for data in images:
            head = LENGTH + int.from_bytes(data[:LENGTH], "little")
            told, made = json.loads(data[LENGTH:head]), bytearray(data[head:])
            if len(made) > self._room.end - self._filled:
                raise MemoryError("no room for machine code")
            for at, count in told["runs"]:
                words = array("Q", made[at:at + 8 * count])
                made[at:at + 8 * count] = array("Q", [word + self._filled for word in words]).tobytes()
            for at, name, addend in told["wanted"]:
                struct.pack_into("<Q", made, at, self.address(name) + addend & ALL_ONES)
            self._names |= {name: self._filled + at for name, at in told["names"].items()}
            ctypes.memmove(self._filled, bytes(made), len(made))
            self._filled += len(made) + -len(made) % PAGE

    def address(self, name: str) -> int:
        """Where a function or global lies."""
        if name not in self._names:
            self._names[name] = ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0
        return self._names[name]
