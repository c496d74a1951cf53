"""The small world of X86Life, with loops instead of straight code: what runs again and again becomes regions.

A loop is a few pieces of random code, with branches over some of them, calls into another page, and now and then a
store into the loop itself. It ends only where the outside interferes: other registers, interrupts, other pages under
the code, a new beginning in another loop.
"""

from __future__ import annotations

import random
import struct
from typing import Any

from guesthouse.bits import u64, u128
from guesthouse.system.memory import Memory
from tests.fuzz.lockstep import BUDGETS
from tests.fuzz.x86_code import Coder
from tests.fuzz.x86_life import CODE, CODE_SIZE, MORE, TABLES, X86Life
from tests.x86.floats import Chance

LOOPS, PIECES, SLOT = 5, 6, 0x300
MODES = {64: ("long 0", "long 3", "long 3"), 16: ("real", "protected 16"),
         32: ("compatible 3", "protected 0", "pae 0", "pae 3", "paged 0", "paged 3")}
LEAVES = (TABLES + 0x4000, TABLES + 0x7000, TABLES + 0xB000)  # tables of 4 KiB pages; the last has 4-byte entries


class Looper(Coder):
    """Writes loops."""

    def __init__(self, chance: random.Random, bits: int, life: "X86Loops") -> None:
        super().__init__(chance, bits, life.pointer, life.entry)
        self.plain = [pairs for pairs in self.modules
                      if pairs[0][0].run.__module__.rpartition(".")[2] in life.plain] or self.modules
        self.every = self.modules

    def loop(self, at: int, subroutines: list[int]) -> bytes:
        """A loop that begins at this address."""
        made, _skips = bytearray(), []
        for _ in range(self.random.randrange(2, PIECES)):
            kind = self.random.random()
            if kind < 0.3:  # JCC over the next piece
                piece = self.straight()
                made += bytes([0x70 + self.random.randrange(16), len(piece)]) + piece
            elif kind < 0.45 and subroutines:
                made += self.near(0xE8, at + len(made), self.random.choice(subroutines))
            elif kind < 0.52:
                made += self.change(at + self.random.randrange(len(made) + 16))
            else:
                made += self.straight()
        return bytes(made) + self.near(0xE9, at + len(made), at)

    def straight(self) -> bytes:
        """A short piece that is not too often a fault: most of memory's operands have a base that is set before."""
        self.modules = self.plain if self.likely(0.7) else self.every
        for _ in range(20):
            made = b"".join(self.piece() for _ in range(self.random.randrange(1, 4)))
            if len(made) < 100:
                return made
        return b"\x90"

    def near(self, opcode: int, here: int, there: int) -> bytes:
        size = 2 if self.bits == 16 else 4
        return bytes([opcode]) + (there - here - 1 - size & (1 << 8 * size) - 1).to_bytes(size, "little")

    def change(self, at: int) -> bytes:
        """ADD or MOV of a byte at an address, most often one that is code."""
        at = at if self.likely(0.7) else at & ~0xFFF | self.random.randrange(0x1000)
        operation = self.random.choice((b"\x80\x00", b"\xc6\x00", b"\x80\x30"))
        place = {64: b"\x25" + struct.pack("<I", at), 32: struct.pack("<I", at), 16: struct.pack("<H", at & 0xFFFF)}
        rm = {64: 4, 32: 5, 16: 6}[self.bits]
        return (operation[:1] + bytes([operation[1] | rm]) + place[self.bits]
                + bytes([self.random.choice((0, 0, 1, 8, 0x90))]))

    def subroutine(self) -> bytes:
        return self.straight() + b"\xc3"


class X86Loops(X86Life):
    """See lockstep.Life."""

    budgets = (*BUDGETS, 100, 129, 400, 700, 1500, 3000)
    plain = ("integer", "moves", "shifts", "stack", "multiply", "bits")  # modules of which the most is made

    def __init__(self) -> None:
        self.starts: list[int] = []

    def memory(self, chance: random.Random) -> Memory:
        made = super().memory(chance)
        bits = chance.choice((64, 64, 64, 32, 32, 16))
        looper = Looper(chance, bits, self)
        self.modes, self.starts = MODES[bits], []
        base = 0 if bits == 16 else CODE  # in 16-bit code, offsets from CS and DS
        octets = bytearray(looper.code(CODE_SIZE))
        subroutines = []
        for at in (0x1000, 0x1100, 0xF80):
            text = looper.subroutine()
            octets[at:at + len(text)] = text
            subroutines.append(base + at)
        for n in range(LOOPS):
            at = (0x40, 0x440, 0x840, 0x1280, 0xFA0)[n] + chance.randrange(64)
            text = looper.loop(base + at, subroutines)
            octets[at:at + len(text)] = text
            self.starts.append(CODE + at)
        made.write(CODE, bytes(octets[:CODE_SIZE]) * ((MORE - CODE) // CODE_SIZE))
        return made

    def start(self, chance: random.Random) -> int:
        return chance.choice(self.starts)

    def disturb(self, state: Any, memory: Memory, chance: random.Random) -> None:
        kind = chance.randrange(4)
        if kind:
            super().disturb(state, memory, chance)
        elif int(state.cr0) >> 31:
            self.remap(state, memory, chance)

    def remap(self, state: Any, memory: Memory, chance: random.Random) -> None:
        """Other RAM under a page of the code, or the same bytes elsewhere; or only the translations are forgotten."""
        table, n = chance.choice(LEAVES), (CODE >> 12) + chance.randrange(CODE_SIZE >> 12)
        size = 4 if table == LEAVES[2] else 8
        place = table + size * n
        old = int.from_bytes(memory.read(place, size), "little")
        page = (CODE >> 12) + chance.randrange(MORE - CODE >> 12)
        memory.write(place, (old & 0xFFF | page << 12).to_bytes(size, "little"))
        state.forget_translations()


class SseLoops(X86Loops):
    """Loops of SSE, on special numbers, in all modes of MXCSR."""

    plain = ("sse_float", "sse_float", "sse_convert", "sse_integer", "sse_moves", "sse_shuffle", "integer")

    def registers_at_random(self, state: Any, chance: random.Random) -> None:
        super().registers_at_random(state, chance)
        state.cr4 = state.cr4 | u64(0x600)
        for n in range(16):
            state.xmm[n] = u128(Chance.vector(chance))  # type: ignore[arg-type]
        modes = chance.randrange(4) << 13 | chance.choice((0, 0, 0, 0x40, 0x8000, 0x8040))
        masks = 0x1F80 if chance.random() < 0.8 else chance.getrandbits(6) << 7
        state.set_mxcsr(u64(modes | masks | chance.choice((0, 0, 0x20, 0x3F))))


class X87Loops(X86Loops):
    """Mostly x87 code."""

    plain = ("x87_arithmetic", "x87_arithmetic", "x87_moves", "x87_compare", "x87_control", "integer")

    def registers_at_random(self, state: Any, chance: random.Random) -> None:
        super().registers_at_random(state, chance)
        state.cr0 = state.cr0 & ~u64(0xC)  # EM, TS
        state.set_fcw(u64(0x7F | chance.choice((3, 3, 3, 2, 0)) << 8 | chance.choice((0, 0, 0, 1, 2, 3)) << 10))
        state.tags = u64(chance.getrandbits(8))
        for n in range(8):
            state.fpr[n] = u128(chance.randrange(0x3FF0, 0x4010) << 64 | 1 << 63 | chance.getrandbits(63))
