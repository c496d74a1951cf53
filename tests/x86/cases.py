"""Makes instructions out of their definitions: random bytes that an encoding allows, and a situation in
which they mean something.

Memory operands fall into the window that is compared, which spans two pages; the rest of the registers
holds edge values.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from guesthouse.system.cpu.x86.definitions import IN_32, IN_64, Definition, Encoding
from tests.x86.host import CODE, START, WINDOW, WINDOW_SIZE, Situation

M64 = (1 << 64) - 1
EDGES = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    (1 << 63) - 1,
    1 << 63,
    M64,
    M64 - 1,
    0xFFFF_FFFF_8000_0000,
    0x8080_8080_8080_8080,
    0x0F0F_F0F0_1234_5678,
)
STACK = ("push", "pop", "pushf", "popf", "call", "ret", "enter", "leave", "pusha", "popa")
JUMPS = ("jmp", "call", "ret", "j", "jcxz", "loop", "loope", "loopne")
SAFE_FLAGS = (
    0x8D5 | 0x400 | 0x20_0000
)  # those that user code may set without changing how it runs: status, DF, ID


@dataclass(frozen=True)
class Case:
    """One instruction to try. `bits`: 64 or 32-bit code; `operand_bits`: the operand size."""

    definition: Definition
    encoding: Encoding
    code: bytes
    before: Situation
    bits: int
    operand_bits: int
    count: int  # the shift count, if there is one


class Maker:
    """Makes cases; the same seed makes the same ones."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(f"{seed}")

    def case(self, definition: Definition, encoding: Encoding, bits: int = 64) -> Case:
        """A case for one encoding, in 64 or 32-bit code."""
        return Draft(self.random, definition, encoding, bits).finished()


class Draft:
    """A case in the making."""

    def __init__(self, chance: random.Random, definition: Definition, encoding: Encoding, bits: int) -> None:
        self.random, self.definition, self.encoding, self.bits = chance, definition, encoding, bits
        self.long = bits == 64
        self.registers = [self.value() for _ in range(16)]
        self.window = bytearray(self.random.randbytes(WINDOW_SIZE))
        if self.random.random() < 0.3:
            self.window = bytearray(
                b"".join(self.value().to_bytes(8, "little") for _ in range(WINDOW_SIZE // 8))
            )
        self.places = {k.place for k in encoding.kinds}
        self.widths = {k.width for k in encoding.kinds if k.place != "one"}
        self.busy: set[int] = set()  # registers that hold a part of the address
        self.target = WINDOW + 64 + self.random.randrange(128)
        self.tail = b""
        self.rex = 0
        self.memory = False

    def value(self) -> int:
        """A register's content: an edge, something near one, something small, or anything."""
        kind = self.random.randrange(4)
        if kind == 0:
            return self.random.choice(EDGES)
        if kind == 1:
            return self.random.choice(EDGES) + self.random.randrange(-3, 4) & M64
        return self.random.randrange(256) if kind == 2 else self.random.getrandbits(64)

    def likely(self, chance: float) -> bool:
        return self.random.random() < chance

    def finished(self) -> Case:
        self.choose_sizes()
        self.choose_surroundings()
        self.choose_modrm()
        self.choose_immediates()
        code = self.assembled()
        if self.relative:
            self.place_relative(code)
            code = self.assembled()
        flags = 0x202 | self.random.getrandbits(22) & SAFE_FLAGS
        if not self.long:
            self.registers = [r & 0xFFFF_FFFF for r in self.registers[:8]] + [0] * 8
        before = Situation(self.registers, flags, bytes(self.window))
        return Case(self.definition, self.encoding, code, before, self.bits, self.operand_bits, self.count())

    # Prefixes.

    def choose_sizes(self) -> None:
        e = self.encoding
        sized = bool(self.widths & {"v", "y", "z"} or "size" in self.places)
        self.wide = bool(e.w) or (e.w is None and sized and self.long and self.likely(0.4))
        branch = self.definition.name in JUMPS
        self.size66 = e.prefix == 1 or (e.prefix not in (0, 1) and sized and not branch and self.likely(0.25))
        self.size67 = self.long and self.likely(0.1)
        narrow = self.size66 and e.prefix != 1
        default = 64 if self.long and (e.default64 or e.force64) else 32
        self.operand_bits = 64 if self.wide or (e.force64 and self.long) else 16 if narrow else default
        self.rex = 0x40 | self.random.getrandbits(3) if self.long and self.likely(0.6) else 0
        if self.wide:
            self.rex |= 0x48
        if e.map >= 4 and not self.long:
            self.wide = bool(e.w)

    def prefixes(self) -> bytes:
        e, text = self.encoding, []
        if self.size67:
            text.append(0x67)
        if e.map < 4:
            if self.size66:
                text.append(0x66)
            if e.prefix in (2, 3):
                text.append((0xF3, 0xF2)[e.prefix - 2])
            if e.lock and self.memory and self.locked:
                text.append(0xF0)
        if self.ignored_segment:
            text.append(self.ignored_segment)
        self.random.shuffle(text) if e.map < 4 else None
        return bytes(text)

    def opcode(self) -> bytes:
        e = self.encoding
        byte = bytes([e.opcode + self.above])
        if e.map >= 4:
            return self.vex() + byte
        rex = bytes([self.rex]) if self.rex else b""
        return rex + (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")[e.map] + byte

    def vex(self) -> bytes:
        e = self.encoding
        last = (
            int(self.wide) << 7
            | (~self.vvvv & 15) << 3
            | (e.vector or 0) << 2
            | (0, 1, 2, 3)[e.prefix or 0]
        )
        inverted = (~self.rex & 7) << 5
        return bytes([0xC4, inverted | e.map - 3, last])

    # Operands.

    def choose_surroundings(self) -> None:
        """What implied operands need."""
        name, e = self.definition.name, self.encoding
        self.above = self.random.randrange(e.opcodes)
        self.locked, self.ignored_segment = self.likely(0.2), 0
        if self.long and self.likely(0.05):
            self.ignored_segment = self.random.choice((0x26, 0x2E, 0x36, 0x3E))
        self.vvvv = self.random.randrange(16 if self.long else 8) if "vvvv" in self.places else 0
        junk = self.random.getrandbits(32) << 32 if self.size67 else 0
        if self.places & {"source", "destination"}:
            self.registers[6] = WINDOW + 64 + self.random.randrange(128) | junk
            self.registers[7] = WINDOW + 64 + self.random.randrange(128) | junk
            self.registers[1] = (
                self.random.choice((self.random.randrange(7), self.random.randrange(2000))) | junk
            )
        if name == "xlat":
            self.registers[3] = WINDOW + self.random.randrange(64) | junk
            self.registers[0] &= ~0x80
        if name in STACK:
            self.registers[4] = WINDOW + 96 + 8 * self.random.randrange(10)
            self.busy.add(4)
        if name in ("enter", "leave"):
            self.registers[5] = WINDOW + 96 + 8 * self.random.randrange(10)
        if name in ("jmp", "call", "ret"):
            self.window = bytearray((CODE + 0x120).to_bytes(8, "little") * (WINDOW_SIZE // 8))
            self.registers = [r if n == 4 else CODE + 0x130 for n, r in enumerate(self.registers)]
            self.target &= ~7
        if name == "popf":
            for n in range(0, WINDOW_SIZE, 2):
                word = self.random.getrandbits(16) & (0x20 if n & 2 else 0xCD5)
                self.window[n:n + 2] = word.to_bytes(2, "little")

    def choose_modrm(self) -> None:
        e = self.encoding
        self.modrm, self.relative = b"", False
        if not e.modrm:
            return
        reg = self.random.randrange(8) if e.reg is None else e.reg
        self.memory = "m" in e.forms and ("r" not in e.forms or self.likely(0.5))
        if not self.memory:
            rm = self.random.randrange(8) if e.rm is None else e.rm
            self.modrm = bytes([0xC0 | reg << 3 | rm])
            return
        self.busy |= {reg | (self.rex & 4) << 1 if e.reg is None else -1, self.vvvv}
        if any(k.name in ("Mx", "Wx") for k in e.kinds) and self.likely(0.9):
            self.target &= ~15
        self.choose_address(reg)
        if self.definition.name in ("bt", "bts", "btr", "btc") and e.reg is None:
            index = self.random.randrange(-400, 400)
            number = reg | (self.rex & 4) << 1
            self.registers[number] = index & (1 << self.operand_bits) - 1 | self.registers[
                number
            ] >> 16 << 16 * (self.operand_bits == 16)

    def choose_address(self, reg: int) -> None:
        """A random addressing form (SDM 2A, tables 2-2 and 2-3) whose registers are set so that it gives
        self.target."""
        mod, rm = self.random.randrange(3), self.random.randrange(8)
        b, x = (self.rex & 1) << 3, (self.rex & 2) << 2
        displacement = (
            self.random.randrange(-128, 128) if mod == 1 else self.random.randrange(-(1 << 31), 1 << 31)
        )
        sib, index, scale, base = b"", None, 0, rm | b
        if rm == 4:
            scale, i, low = self.random.randrange(4), self.random.randrange(8), self.random.randrange(8)
            index, base = (None if i | x == 4 else i | x), low | b
            sib = bytes([scale << 6 | i << 3 | low])
        no_base = mod == 0 and (rm == 5 or (rm == 4 and base & 7 == 5))
        if no_base:
            return self.absolute(reg, rm, sib, index, scale)
        if base in self.busy or index == base or index in self.busy:
            self.modrm, self.relative = bytes([reg << 3 | 5]), self.long
            self.tail = self.target.to_bytes(4, "little")
            return None
        displacement = 0 if mod == 0 else displacement
        offset = displacement + ((self.registers[index] << scale) if index is not None else 0)
        self.registers[base] = self.address(self.target - offset)
        self.modrm = bytes([mod << 6 | reg << 3 | rm]) + sib
        self.tail = displacement.to_bytes(4, "little", signed=True)[: (0, 1, 4)[mod]]
        return None

    def absolute(self, reg: int, rm: int, sib: bytes, index: int | None, scale: int) -> None:
        """No base: RIP-relative in 64-bit code, else an address, perhaps with an index."""
        self.modrm = bytes([reg << 3 | rm]) + sib
        displacement = self.target
        if index is not None and index not in self.busy:
            self.registers[index] = self.random.randrange(256)
            displacement -= self.registers[index] << scale
        elif index is not None:
            self.modrm = bytes([reg << 3 | 4, 0x25])
        self.relative = rm == 5 and self.long
        self.tail = displacement.to_bytes(4, "little", signed=True)

    def address(self, value: int) -> int:
        """A register's value for an address; under a 32-bit address size its upper half is junk."""
        if self.size67:
            return value & 0xFFFF_FFFF | self.random.getrandbits(32) << 32
        return value & M64

    def place_relative(self, code: bytes) -> None:
        self.tail = (self.target - START - len(code)).to_bytes(4, "little", signed=True)

    def choose_immediates(self) -> None:
        e, bits = self.encoding, self.operand_bits
        z = 2 if bits == 16 else 4
        lengths = {"ib": 1, "iw": 2, "id": 4, "iz": z, "iv": bits // 8, "cb": 1, "cz": z}
        self.immediates = b""
        for word in e.immediates:
            if word == "mo":
                size = 8 if self.long and not self.size67 else 4
                self.immediates += self.target.to_bytes(size, "little")
            elif word == "cz":
                self.immediates += self.random.choice((-0x700, -99, 17, 0x700)).to_bytes(
                    z, "little", signed=True
                )
            elif word == "cb":  # not into the instruction itself
                self.immediates += self.random.choice((-128, -40, 17, 100, 127)).to_bytes(
                    1, "little", signed=True
                )
            elif word == "iw":
                self.immediates += self.random.choice((0, 8, 16, 32, 0x7FF8)).to_bytes(2, "little")
            else:
                self.immediates += (self.value() & (1 << 8 * lengths[word]) - 1).to_bytes(
                    lengths[word], "little"
                )

    def assembled(self) -> bytes:
        state = self.random.getstate()
        prefixes = self.prefixes()
        self.random.setstate(state)
        return prefixes + self.opcode() + self.modrm + self.tail + self.immediates

    def count(self) -> int:
        """The masked shift count."""
        names = [k.name for k in self.encoding.kinds]
        mask = 63 if self.operand_bits == 64 else 31
        if "1" in names:
            return 1
        return (self.registers[1] if "CL" in names else self.immediates[-1] if self.immediates else 0) & mask


def modes(encoding: Encoding) -> list[int]:
    """In which code, by its bits, an encoding can be tried."""
    return [bits for bits, mode in ((64, IN_64), (32, IN_32)) if encoding.modes & mode]
