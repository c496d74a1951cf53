"""A RISC-V hart in a small world of random code: three modes, two address spaces, devices at every edge.

Page tables lie where no page leads to: what a hart may remember of a changed table is its own business,
and differs between the ways.
"""

from __future__ import annotations

import random
import struct
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.soft import SoftVcpu
from guesthouse.system.cpu.riscv.csr import CSRS
from guesthouse.system.cpu.riscv.guest import RISCV
from guesthouse.system.cpu.riscv.instructions import INSTRUCTIONS, disassemble
from guesthouse.system.cpu.riscv.state import State
from guesthouse.system.memory import Memory
from tests.fuzz.lockstep import BUDGETS

M64 = (1 << 64) - 1
RAM, PAGES = 0x8000_0000, 24
CODE, CODE_PAGES, POOL, DATA = RAM, 3, RAM + 0x8000, RAM + 0x9000
SKIP = RAM + (PAGES - 1 << 12)  # the page of handlers
TABLES, TABLE_PAGES = 0x8040_0000, 11
USER, WIDE, NOWHERE, DEVICE = 0x4000_0000, 0x8020_0000, 0x9000_0000, 0x1000_0000
V, R, W, X, U, G, A, D = (1 << n for n in range(8))
SYSTEM = ("csr", "sret", "mret", "wfi", "sfence", "sinval", "fence", "ecall", "ebreak", "cbo", "lr.", "sc.",
          "amo")
BY_KIND = ([i for i in INSTRUCTIONS if i.name.startswith(SYSTEM)],
           [i for i in INSTRUCTIONS if "(rs1)" in i.form],
           [i for i in INSTRUCTIONS if i.name.startswith("f") and not i.name.startswith("fence")],
           [i for i in INSTRUCTIONS if i.handler.op.ends == 1],
           list(INSTRUCTIONS), list(INSTRUCTIONS))
PMP_AND_MISSING = [0x3B0, 0x3B1, 0x3BF, 0x3C0, 0x7C0]
NUMBERS = [c.number for c in CSRS if not c.name.startswith(("hpm", "mhpm"))] + PMP_AND_MISSING
AT_RANDOM = {"mie", "mepc", "mcause", "mtval", "mscratch", "sepc", "scause", "stval", "sscratch", "stimecmp",
             "scounteren"}


class RiscvLife:
    """See lockstep.Life."""

    guest = RISCV
    unseen = frozenset({"wide"})
    budgets = BUDGETS
    devices: tuple[int, ...] = (DEVICE, NOWHERE, 0, RAM + (PAGES << 12))

    def memory(self, chance: random.Random) -> Memory:
        made = Memory([(RAM, PAGES << 12), (TABLES, TABLE_PAGES << 12)])
        made.write(DATA, b"".join(self.value(chance).to_bytes(8, "little") for _ in range(0x800)))
        made.write(POOL, b"".join(self.value(chance, 0.9).to_bytes(8, "little") for _ in range(0x200)))
        made.write(CODE, b"".join(self.code(chance)))
        for n, (interrupts, pc, back) in enumerate(((0x304, 0x341, 0x30200073), (0x104, 0x141, 0x10200073))):
            skip = chance.choice((2, 4, 4))  # a handler that skips a few bytes
            words = (interrupts << 20 | 0x1073, pc << 20 | 31 << 7 | 0x2073,
                     skip << 20 | 31 << 15 | 31 << 7 | 0x13,
                     pc << 20 | 31 << 15 | 0x1073, back)
            made.write(SKIP + 0x800 * n, struct.pack("<5I", *words))
        self.tables(made, chance)
        return made

    # Values.

    def entry(self, chance: random.Random) -> int:
        """An address of code, in one of the ways to say it."""
        base = chance.choice((CODE, CODE, CODE, USER, USER, WIDE))
        return base + (chance.randrange(CODE_PAGES << 12) & ~1)

    def pointer(self, chance: random.Random) -> int:
        base = chance.choice((CODE, POOL, DATA, DATA, DATA, DATA, USER + 0x9000, USER + 0x9000,
                              USER + 0x8000, USER,
                              WIDE + 0x9000, *[chance.choice(self.devices) for _ in range(4)], M64 + 1))
        near = chance.choice((8 * chance.randrange(64), chance.randrange(-16, 16), chance.randrange(0x4000)))
        return base + near & M64

    def satp(self, chance: random.Random) -> int:
        return chance.choice((0, 8 << 60 | TABLES >> 12, 8 << 60 | TABLES + 0x1000 >> 12,
                              9 << 60 | TABLES + 0x2000 >> 12))

    def value(self, chance: random.Random, useful: float = 0.5) -> int:
        if chance.random() < useful:
            return chance.choice((self.pointer, self.entry, self.pointer, self.satp))(chance)
        kind = chance.randrange(4)
        if kind == 0:
            return chance.getrandbits(64)
        if kind == 1:
            return chance.getrandbits(64) >> chance.randrange(64)
        return chance.choice((0, 1, M64, 1 << 63, 0x7FF0 << 48, 0x3FF0 << 48, 0xFFFF_FFFF_7FC0_0000, 0x1800,
                              0x6000))

    # Code.

    def code(self, chance: random.Random) -> list[bytes]:
        made, size = [], 0
        while size < (CODE_PAGES << 12) - 8:
            for word in self.piece(chance, size):
                length = 4 if word & 3 == 3 else 2
                made.append((word & (1 << 8 * length) - 1).to_bytes(length, "little"))
                size += length
        return made

    def piece(self, chance: random.Random, at: int) -> list[int]:
        kind = chance.random()
        if kind < 0.12:  # a pointer, relative to here: it is one in every address space
            rd, target = 8 + chance.randrange(8), self.pointer(chance) - RAM - at
            return [target + 0x800 & 0xFFFFF000 | rd << 7 | 0x17,
                    (target & 0xFFF) << 20 | rd << 15 | rd << 7 | 0x13]
        if kind < 0.18:  # something from the pool
            rd, offset = chance.randrange(32), 0x8000 - at
            return [offset + 0x800 & 0xFFFFF000 | 31 << 7 | 0x17,
                    8 * chance.randrange(-64, 64) + (offset & 0xFF8) << 20 & 0xFFFF_FFFF | 31 << 15 | 3 << 12
                    | rd << 7 | 3]
        if kind < 0.2:
            return [chance.getrandbits(32)]
        return [self.instruction(chance)]

    def instruction(self, chance: random.Random) -> int:
        one = chance.choice(chance.choice(BY_KIND))
        word = one.pattern.match | chance.getrandbits(one.pattern.width) & ~one.pattern.mask
        if "csr" in one.pattern.fields and chance.random() < 0.95:
            return word & 0xFFFFF | chance.choice(NUMBERS) << 20
        if one.name.startswith(("b", "jal")) and one.pattern.width == 32 and chance.random() < 0.9:
            short = {f: chance.getrandbits(64) & 0x1FE for f in one.pattern.fields if f == "imm"}
            kept = {f: one.pattern.extract(f, word) for f in one.pattern.fields if f != "imm"}
            return one.encode(**kept, **short)
        if "(rs1)" in one.form and one.pattern.width == 32 and chance.random() < 0.7:
            return word & ~(0x1F << 15) | 8 + chance.randrange(8) << 15
        return word

    # Page tables: Sv39 at 0 and 1000h, Sv48 at 2000h; pages of RAM at RAM and USER, odd large pages
    # after them (WIDE).

    def tables(self, memory: Memory, chance: random.Random) -> None:
        def put(at: int, n: int, value: int) -> None:
            memory.write(TABLES + at + 8 * n, value.to_bytes(8, "little"))

        def table(at: int) -> int:
            return TABLES + at >> 12 << 10 | V

        for root, first in ((0, 0x3000), (0x1000, 0x7000)):
            put(root, 0, DEVICE >> 30 << 28 | V | R | W | A | D | chance.choice((0, U)))
            for n, middle, owner in ((1, first, U), (2, first + 0x2000, 0)):
                put(root, n, table(middle))
                put(middle, 0, table(middle + 0x1000))
                put(middle, 1, RAM >> 12 << 10 | V | R | W | X | A | D | chance.choice((0, U, G)))
                put(middle, 2, RAM >> 12 << 10 | chance.getrandbits(8))
                for page in range(PAGES + 2):
                    put(middle + 0x1000, page, self.leaf(chance, page, owner))
        put(0x2000, 0, table(0))

    def leaf(self, chance: random.Random, n: int, owner: int) -> int:
        """A page of RAM, for the user or the supervisor; now and then another one, or with odd rights."""
        page = n if chance.random() < 0.9 else chance.randrange(PAGES + 2)
        rights = V | R | W | X | owner | chance.choice((A | D, A | D, A, 0))
        if n == PAGES - 1:
            page, rights = n, V | R | W | X | owner | A | D
        elif chance.random() < 0.1:
            rights = chance.getrandbits(8)
        return (RAM >> 12) + page << 10 | rights

    # Life.

    def begin(self, state: Any, chance: random.Random) -> None:
        state.reset()
        for name, field in State.fields.items():
            if field.annotation is u64 and name in AT_RANDOM and chance.random() < 0.5:
                setattr(state, name, u64(self.value(chance)))
        state.mode = u64(chance.choice((0, 1, 1, 3)))
        state.sbi = u64(chance.randrange(2))
        state.mstatus = u64(0x6000 | chance.getrandbits(23) & 0x7E19AA & ~(1 << 12 | 1 << 17))
        state.satp = u64(self.satp(chance))
        base = USER if state.mode == 0 and state.satp != 0 else CODE
        state.pc = u64(base + (chance.randrange(CODE_PAGES << 12) & ~1))
        state.medeleg, state.mideleg = u64(chance.getrandbits(16) & 0xB3FF), u64(chance.choice((0, 0x222)))
        state.mtvec, state.stvec = u64(SKIP), u64(SKIP + 0x800)
        if chance.random() < 0.2:
            state.mtvec, state.stvec = (u64(self.entry(chance) & ~2 | chance.randrange(2)) for _ in range(2))
        state.menvcfg, state.mcounteren = u64(chance.choice((0, 0x80000000_000000F1))), u64(0xFFFF_FFFF)
        if chance.random() < 0.9:
            state.write_pmpaddr(u64(15), u64(M64))
            state.write_pmpcfg(u64(8), u64(0x1F << 56))
        self.registers_at_random(state, chance)
        state.protect_ranges()
        state.settle()

    def registers_at_random(self, state: Any, chance: random.Random) -> None:
        for n in range(1, 32):
            state.x[n], state.f[n] = u64(self.value(chance, 0.7)), u64(self.value(chance, 0))

    def disturb(self, state: Any, memory: Memory, chance: random.Random) -> None:
        """New registers, interrupts, another place."""
        kind = chance.randrange(4)
        if kind == 0:
            self.registers_at_random(state, chance)
        elif kind == 1:
            state.mip = state.mip & u64(0x222) | u64(chance.getrandbits(12) & 0xAAA)
            state.mie = u64(chance.getrandbits(12) & 0xAAA)
        elif kind == 2:
            state.pc = u64(int(state.pc) & ~0xFFF | chance.randrange(0x1000) & ~1)
        else:
            state.stimecmp = u64(int(state.ticks) // 100 + chance.randrange(-2, 5) & M64)

    def lost(self, state: Any) -> bool:
        at = int(state.pc) & 0x1F_FFFF
        return not (at < CODE_PAGES << 12 or SKIP - RAM <= at < PAGES << 12)

    def interrupt(self, vcpu: SoftVcpu, chance: random.Random) -> None:
        raise AssertionError("RISC-V has no such exit")

    def show(self, state: Any, memory: Memory) -> str:
        try:
            at = state.walk(state.pc, u64(2))
            bits = int.from_bytes(memory.read(int(at), 4), "little")
            text = f"{bits:08x} {disassemble(bits)}"
        except Exception:
            text = "no instruction"
        state.exit = u64(0)
        return f"pc {int(state.pc):#x} mode {int(state.mode)} satp {int(state.satp):#x}: {text}"
