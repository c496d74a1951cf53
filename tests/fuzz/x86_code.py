"""Random x86 code: instructions that encodings allow, with prefixes that mean nothing or too much, and what
system code does in several instructions.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from types import ModuleType

from guesthouse.system.cpu.x86 import aes, bmi, branches, far, msr, pclmul, sha, strings, syscall, system
from guesthouse.system.cpu.x86.definitions import IN_16, IN_32, IN_64, Encoding
from guesthouse.system.cpu.x86.instructions import DEFINITIONS, MODULES

MODES = {16: IN_16, 32: IN_32, 64: IN_64}
RARE: tuple[ModuleType, ...] = (aes, bmi, branches, far, msr, pclmul, sha, strings, syscall, system)
FATAL = {"lgdt", "lidt", "ltr", "lldt", "wrmsr", "hlt"}  # seldom: what follows is seldom of interest
SEGMENTS, REPEATS = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65), (0xF2, 0xF3)
Pointer = Callable[[random.Random], int]


class Coder:
    """Writes code of one mode, 16, 32 or 64 bits. `pointer` gives addresses worth a visit."""

    def __init__(self, chance: random.Random, bits: int, pointer: Pointer, entry: Pointer) -> None:
        self.random, self.bits, self.pointer, self.entry = chance, bits, pointer, entry
        self.base = 4  # the base register of the memory operand; 4: none
        by_module = {m.__name__: [(d, e) for d in DEFINITIONS if d.run.__module__ == m.__name__
                                  for e in d.encodings if e.modes & MODES[bits]] for m in MODULES}
        self.modules = [by_module[m.__name__] for m in MODULES for _ in range(self.weight(m))
                        if by_module[m.__name__]]

    @staticmethod
    def weight(module: ModuleType) -> int:
        name = module.__name__.rpartition(".")[2]
        return 1 if module in RARE else 6 if name.startswith(("sse_", "x87_", "mmx")) else 4

    def likely(self, probability: float) -> bool:
        return self.random.random() < probability

    def code(self, size: int) -> bytes:
        made = bytearray()
        while len(made) < size:
            made += self.piece()
        return bytes(made[:size])

    def piece(self) -> bytes:
        kind = self.random.random()
        if kind < 0.06:
            return self.load(self.random.randrange(8), self.pointer(self.random))
        if kind < 0.075:
            return self.control_register()
        if kind < 0.09:
            return self.return_frame()
        if kind < 0.10:
            return self.model_specific()
        if kind < 0.12:
            return self.repeated()
        if kind < 0.13:
            return self.random.randbytes(self.random.randrange(1, 6))
        return self.instruction()

    # What system code does.

    def load(self, register: int, value: int) -> bytes:
        """MOV register, constant."""
        if self.bits == 64:
            if 0 <= value < 1 << 32:
                return bytes([0xB8 + register]) + value.to_bytes(4, "little")
            high = self.random.randrange(2)
            return bytes([0x48 | high, 0xB8 + register]) + (value & (1 << 64) - 1).to_bytes(8, "little")
        prefix = b"\x66" if self.bits == 16 else b""
        return prefix + bytes([0xB8 + register]) + (value & 0xFFFF_FFFF).to_bytes(4, "little")

    def control_register(self) -> bytes:
        number, value = self.random.choice((
            (0, 0x8001_0033), (0, 0x8000_0011), (0, 0x11), (0, 0x10), (0, 0x8005_003B), (3, 0x40_0000),
            (3, 0x40_1000), (3, 0x40_0001), (3, 0x8000_0000_0040_1001), (3, 0x40_8000), (3, 0x40_A000),
            (4, 0x6A0), (4, 0x620), (4, 0x2_06A0), (4, 0x10_06A0), (4, 0x20_0620), (4, 0x30),
            (4, 0x10), (4, 0x4_0620), (8, 5),
            (2, 0x1234)))
        value ^= self.random.choice((0, 0, 0, 0x8, 0x4, 0x2, 0x4_0000, 0x200, 0x1_0000))
        rex = b"\x44" if number & 8 and self.bits == 64 else b""
        return self.load(0, value) + rex + bytes([0x0F, 0x22, 0xC0 | (number & 7) << 3])

    def return_frame(self) -> bytes:
        """Push a frame of random privilege; IRET."""
        rpl = self.random.choice((0, 3))
        pairs = ((0x08, 0x10), (0x18, 0x10), (0x20, 0x10), (0x28, 0x38), (0x30, 0x38))
        code, data = self.random.choice(pairs)
        flags = 0x202 ^ self.random.choice((0, 0, 0x200, 0x100, 0x40_000, 0x3000, 0x4000, 0x400, 0x2_0000))
        values = (data | rpl, self.pointer(self.random) & 0x3_FFF8, flags, code | rpl,
                  self.entry(self.random) & 0x1_FFFF)
        prefix = b"\x66" if self.bits == 16 else b""
        pushes = b"".join(prefix + b"\x68" + struct.pack("<I", v) for v in values)
        return pushes + (b"\x48" if self.bits == 64 and self.likely(0.9) else prefix) + b"\xcf"

    def model_specific(self) -> bytes:
        number, value = self.random.choice((
            (0xC000_0080, 0xD01), (0xC000_0080, 0x501), (0xC000_0081, 0x0023_0008_0000_0000), (0x174, 8),
            (0xC000_0082, self.entry(self.random)), (0xC000_0100, self.pointer(self.random)), (0x10, 77),
            (0xC000_0101, self.pointer(self.random)), (0xC000_0102, self.pointer(self.random)),
            (0x175, 0x3_0000), (0x176, self.entry(self.random)), (0xC000_0084, 0x300), (0x800, 1), (0x1B, 5)))
        high = self.load(2, value >> 32 & 0xFFFF_FFFF)
        opcode = self.random.choice((b"\x0f\x30", b"\x0f\x30", b"\x0f\x32"))
        return self.load(1, number) + self.load(0, value & 0xFFFF_FFFF) + high + opcode

    def repeated(self) -> bytes:
        """A string instruction with a count that ends."""
        count = self.random.choice((0, 1, 3, 17, 70, 600))
        source, target = self.pointer(self.random), self.pointer(self.random)
        setup = self.load(1, count) + self.load(6, source) + self.load(7, target)
        size = self.random.choice((b"", b"", b"\x66", b"\x67", b"\x48" if self.bits == 64 else b""))
        prefix = bytes([self.random.choice(REPEATS)])
        op = self.random.choice((0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF, 0x6C, 0x6D,
                                 0x6E, 0x6F))
        return setup + (prefix + size if size == b"\x48" else size + prefix) + bytes([op])

    # One instruction.

    def instruction(self) -> bytes:
        definition, e = self.random.choice(self.random.choice(self.modules))
        if definition.name in FATAL and self.likely(0.9):
            return b"\x90"
        rex = self.random.getrandbits(4) if self.bits == 64 and (e.w == 1 or self.likely(0.5)) else 0
        rex = rex | 8 if e.w == 1 else rex & 7 if e.w == 0 else rex
        made = self.prefixes(e)
        opcode = bytes([e.opcode + self.random.randrange(e.opcodes)])
        if e.map >= 4:
            made += self.vex(e, rex) + opcode
        else:
            made += bytes([0x40 | rex]) if rex or self.bits == 64 and self.likely(0.05) else b""
            made += (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")[e.map] + opcode
        self.base = 4
        if e.modrm:
            made += self.modrm(e, b"\x67" in made[:3])
        made += b"".join(map(self.immediate, e.immediates))
        if self.base != 4 and rex & 1 == 0 and self.likely(0.6):
            return self.load(self.base, self.pointer(self.random) & (-16 if self.likely(0.7) else -1)) + made
        return made

    def prefixes(self, e: Encoding) -> bytes:
        made = []
        if self.likely(0.06):
            made.append(0x67)
        if self.likely(0.08):
            made.append(self.random.choice(SEGMENTS))
        if e.map < 4:
            if e.prefix == 1 or e.prefix in (None, 4) and self.likely(0.15):
                made.append(0x66)
            if e.prefix in (2, 3):
                made.append((0xF3, 0xF2)[e.prefix - 2])
            elif self.likely(0.03):
                made.append(self.random.choice(REPEATS))
        if self.likely(0.3 if e.lock else 0.005):
            made.append(0xF0)
        self.random.shuffle(made)
        return bytes(made)

    def vex(self, e: Encoding, rex: int) -> bytes:
        last = (rex & 8) << 4 | self.random.getrandbits(4) << 3 | (e.vector or 0) << 2 | (e.prefix or 0)
        return bytes([0xC4, (~rex & 7) << 5 | e.map - 3, last])

    def modrm(self, e: Encoding, other_size: bool) -> bytes:
        reg = self.random.randrange(8) if e.reg is None else e.reg
        rm = self.random.randrange(8) if e.rm is None else e.rm
        if e.forms == "r" or "r" in e.forms and self.likely(0.5):
            return bytes([0xC0 | reg << 3 | rm])
        mod = self.random.choice((0, 1, 1, 2))
        short = (self.bits == 16) != other_size and self.bits != 64
        made = bytes([mod << 6 | reg << 3 | rm])
        base = rm
        self.base = 4 if short else rm
        if rm == 4 and not short:
            sib = self.random.choice((0x20, 0x20, self.random.randrange(256))) | self.random.randrange(8)
            made, base = made + bytes([sib]), sib & 7
        if mod == 1:
            return made + self.random.choice((0, 8, 16, self.random.randrange(256))).to_bytes(1, "little")
        if mod == 2 or base == (6 if short and rm != 4 else 5):
            return made + self.displacement(short, mod)
        return made

    def displacement(self, short: bool, mod: int) -> bytes:
        if short:
            return (self.pointer(self.random) & 0xFFFF).to_bytes(2, "little")
        near = self.random.randrange(-0x2000, 0x2000)
        value = near if mod == 2 or self.bits == 64 and self.likely(0.7) else self.pointer(self.random)
        return (value & 0xFFFF_FFFF).to_bytes(4, "little")

    def immediate(self, word: str) -> bytes:
        z = 2 if self.bits == 16 else 4
        if word == "cb":
            return self.random.choice((0, 2, 5, 0x10, 0xF0, self.random.randrange(256))).to_bytes(1, "little")
        if word == "cz":
            return (self.random.randrange(-0x400, 0x400) & (1 << 8 * z) - 1).to_bytes(z, "little")
        if word == "cp":
            selector = self.random.choice((0x08, 0x18, 0x20, 0x28, 0x1000, 0x1100, 0x58))
            offset = self.entry(self.random) & (1 << 8 * z) - 1
            return offset.to_bytes(z, "little") + struct.pack("<H", selector)
        if word == "mo":
            return (self.pointer(self.random) & (1 << 64) - 1).to_bytes(8, "little")[:self.bits // 8]
        size = {"ib": 1, "iw": 2, "id": 4, "iz": z, "iv": z}[word]
        value = self.random.choice((0, 1, -1, self.random.getrandbits(32), self.pointer(self.random)))
        return (value & (1 << 8 * size) - 1).to_bytes(size, "little")
