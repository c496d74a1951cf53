"""The small world of RiscvLife, with loops instead of straight code: what runs again and again becomes regions.

A loop is a few pieces with branches over some of them; most of it is floating point, on special numbers, under every
rounding mode. Memory is reached through registers that no loop changes. It ends only where the outside interferes.
"""

from __future__ import annotations

import random
import struct
from typing import Any

from guesthouse.bits import u64
from guesthouse.system.memory import Memory
from tests.fuzz.lockstep import BUDGETS
from tests.fuzz.riscv_life import BY_KIND, CODE, CODE_PAGES, M64, USER, RiscvLife

FLOATS, LOADS = BY_KIND[2], [i for i in BY_KIND[1] if i.pattern.width == 32]
PLAIN = [i for i in BY_KIND[4] if i.handler.op.ends == 0 and i.pattern.width == 32 and "csr" not in i.pattern.fields]
BOX = 0xFFFF_FFFF << 32
SINGLES = (0, 1 << 31, 1, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0xFFC1_2345, 0x3F80_0000, 0xBF80_0000,
           0x7F7F_FFFF, 0x0080_0000, 0x007F_FFFF, 0x4F00_0000, 0xCF00_0000, 0x4F7F_FFFF, 0x5F00_0000, 0x3F00_0000)
DOUBLES = (0, 1 << 63, 1, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, (0x7FF << 52) + 1, 0xFFF8_1234_5678_9ABC, 0x3FF << 52,
           0xBFF << 52, 0x7FEF_FFFF_FFFF_FFFF, 1 << 52, (1 << 52) - 1, 0x41DF_FFFF_FFC0_0000, 0x41E << 52, 0xC1E << 52,
           0x43E << 52, 0x43F << 52, 0x41F << 52, 0x41EF_FFFF_FFE0_0000, 0x3FE << 52)


class RiscvLoops(RiscvLife):
    """See lockstep.Life."""

    budgets = (*BUDGETS, 100, 129, 400, 700, 1500, 3000)

    def __init__(self) -> None:
        self.starts: list[int] = []

    def code(self, chance: random.Random) -> list[bytes]:
        made, self.starts = bytearray(), []
        while len(made) < (CODE_PAGES << 12) - 0x200:
            start = len(made)
            self.starts.append(start)
            for _ in range(chance.randrange(2, 6)):
                piece = [self.word(chance) for _ in range(chance.randrange(1, 4))]
                if chance.random() < 0.3:  # a branch over it
                    over = 4 * len(piece) + 4
                    made += struct.pack("<I", (over & 0x1E) << 7 | chance.choice((0, 1, 4, 5, 6, 7)) << 12
                                        | chance.getrandbits(10) << 15 | 0x63)
                made += struct.pack(f"<{len(piece)}I", *piece)
            back = start - len(made) & 0x1F_FFFF
            made += struct.pack("<I", (back >> 20 & 1) << 31 | (back >> 1 & 0x3FF) << 21 | (back >> 11 & 1) << 20
                                | (back >> 12 & 0xFF) << 12 | 0x6F)
        return [bytes(made)]

    def word(self, chance: random.Random) -> int:
        kind = chance.random()
        one = chance.choice(FLOATS if kind < 0.7 else LOADS if kind < 0.8 else PLAIN)
        word = one.pattern.match | chance.getrandbits(32) & ~one.pattern.mask
        if "rm" in one.pattern.fields:
            word = word & ~0x7000 | chance.choice((7, 7, 7, 7, 7, 7, 0, 1, 1, chance.randrange(8))) << 12
        if "(rs1)" in one.form:
            word = word & ~(0x1F << 15) | 8 + chance.randrange(8) << 15
        return word | 0x800 if "rd" in one.pattern.fields else word  # x16 to x31

    def number(self, chance: random.Random) -> int:
        """What a register of floats holds."""
        single = chance.choice((chance.choice(SINGLES), chance.getrandbits(32), 0x3F80_0000 + chance.getrandbits(25)))
        double = chance.choice((chance.choice(DOUBLES), chance.getrandbits(64), 0x3FF << 52 | chance.getrandbits(55)))
        return chance.choice((BOX | single, BOX | single, double, double, self.value(chance, 0)))

    def begin(self, state: Any, chance: random.Random) -> None:
        super().begin(state, chance)
        self.go(state, chance)

    def go(self, state: Any, chance: random.Random) -> None:
        """To the beginning of a loop."""
        base = USER if int(state.mode) == 0 and int(state.satp) else CODE
        state.pc = u64(base + chance.choice(self.starts))

    def registers_at_random(self, state: Any, chance: random.Random) -> None:
        super().registers_at_random(state, chance)
        for n in range(32):
            state.f[n] = u64(self.number(chance))
        for n in range(8, 16):
            state.x[n] = u64(self.pointer(chance))
        state.fp.rounding = u64(chance.choice((0, 0, 0, 0, 1, 2, 3, 4, 5)))
        state.fp.flags = u64(chance.choice((0, 0, 1, 0x1F, chance.getrandbits(5))))

    def disturb(self, state: Any, memory: Memory, chance: random.Random) -> None:
        if chance.random() < 0.3:
            self.go(state, chance)
        else:
            super().disturb(state, memory, chance)
        if chance.random() < 0.1:
            state.mstatus = u64(int(state.mstatus) ^ 0x6000 & M64)
