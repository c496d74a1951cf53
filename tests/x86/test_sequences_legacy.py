"""Long random runs of general-purpose instructions outside 64-bit mode: 32-bit code against the host's processor, the
same with both size prefixes in a 16-bit code segment, through flat, limited and expand-down segments; real and
virtual-8086 mode against unicorn's real mode.

In real mode unicorn knows no limits of segments, so a run that meets one in ours is not compared.
GUESTHOUSE_RANDOM_INSTRUCTIONS: how many of each.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import unicorn
from unicorn import x86_const as x86

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.build import Engine
from guesthouse.system.cpu.x86.flags import IOPL, VM
from guesthouse.system.cpu.x86.definitions import IN_16, IN_32, Definition, Encoding
from tests.suites.real_mode import RealMode
from tests.x86.cases import SAFE_FLAGS, Draft
from tests.x86.compare import ALL, UNDEFINED
from tests.x86.host import WINDOW, WINDOW_SIZE, Host, Situation
from tests.x86.legacy import Legacy
from tests.x86.oracle_unicorn import DIFFERS
from tests.x86.test_integer import MODULES, definitions
from tests.x86.test_sequences import LEFT_OUT, SHIFTS, Piece, code_register

COUNT = int(os.environ.get("GUESTHOUSE_RANDOM_INSTRUCTIONS", "150000"))
RESERVED = {4, 5, 6, 7}
COMPARE = bytes.fromhex("39 c8")  # CMP EAX, ECX
M32 = 0xFFFF_FFFF


class Free32(Draft):
    """A draft whose memory operand is in the window whatever EAX to EBX hold: ESI, EDI and EBP stay."""

    def choose_address(self, reg: int) -> None:
        base, index = self.random.choice((7, 6)), self.random.choice((None, 5))
        displacement = self.target - WINDOW - 128 + (64 if base == 6 else 0)
        sib = self.random.randrange(4) << 6 | (4 if index is None else 5) << 3 | base
        self.modrm = bytes([0x84 | reg << 3, sib])
        displacement -= 8 << (sib >> 6) if index else 0
        self.tail = displacement.to_bytes(4, "little", signed=True)


def suitable(definition: Definition, encoding: Encoding, mode: int, left_out: set[str]) -> bool:
    implied = {"source", "destination", "target", "moffs"} & {k.place for k in encoding.kinds}
    bits = definition.name in ("bt", "bts", "btr", "btc") and encoding.reg is None
    out = definition.name in left_out | {"jmp", "call", "pusha", "popa", "aam", "les", "lds", "bound"}
    return bool(encoding.modes & mode) and not (out or implied or bits)


def vague(name: str) -> bool:
    return name in UNDEFINED or name in SHIFTS


def piece(chance: random.Random, definition: Definition, encoding: Encoding) -> Piece | None:
    draft = Free32(chance, definition, encoding, 32)
    code = draft.finished().code
    reg = draft.modrm[0] >> 3 & 7 if encoding.modrm and encoding.reg is None else 0
    used = {draft.vvvv, reg} if draft.memory or not encoding.modrm else {draft.vvvv, reg, draft.modrm[0] & 7}
    if encoding.opcodes == 8 or encoding.opcode == 0x90:
        used.add(code_register(draft))
    byte = all(k.width == "b" for k in encoding.kinds if k.place in ("reg", "rm", "opcode"))
    narrow = draft.operand_bits == 16 and definition.name in ("shld", "shrd", "bswap")
    if not byte and used & RESERVED or narrow:
        return None
    return Piece(definition.name, code + COMPARE * vague(definition.name), 1 + vague(definition.name))


def pool(seed: int, prefixes: bool) -> list[Piece]:
    """`prefixes`: those too that have a prefix of their own, or must not have one."""
    chance = random.Random(seed)
    made = (piece(chance, d, e) for m in MODULES for d in definitions(m) for e in d.encodings
            if suitable(d, e, IN_32, LEFT_OUT) and (prefixes or e.prefix is None) for _ in range(10 * e.opcodes))
    return [p for p in made if p]


def prefixed(pieces: list[Piece]) -> list[Piece]:
    """Those that can be told with both size prefixes in 16-bit code."""
    wide = bytes.fromhex("66 67")
    found = []
    for p in pieces:
        plain = p.code[:-2] if vague(p.name) else p.code
        if plain[0] not in (0x66, 0xF2, 0xF3, 0xC4, 0xC5) and not {0x66, 0x67} & set(plain[:2]):
            found.append(Piece(p.name, plain + COMPARE * vague(p.name), p.count))
    return [Piece(p.name, (wide + p.code[:-2] + b"\x66" + COMPARE) if vague(p.name) else wide + p.code, p.count)
            for p in found]


def values(chance: random.Random) -> list[int]:
    return [chance.getrandbits(32) if chance.random() < 0.7 else chance.randrange(-9, 9) & M32 for _ in range(8)]


def runs(pieces: list[Piece], seed: int, count: int) -> Iterator[tuple[list[Piece], Situation]]:
    chance, done = random.Random(seed), 0
    while done < count:
        chosen = chance.choices(pieces, k=20)
        while sum(len(p.code) for p in chosen) > 250:
            chosen.pop()
        registers = values(chance)
        registers[4:] = WINDOW, 8, WINDOW + 64, WINDOW + 128
        flags = 0x202 | chance.getrandbits(12) & SAFE_FLAGS & ~0x400
        yield chosen, Situation(registers + [0] * 8, flags, chance.randbytes(WINDOW_SIZE))
        done += sum(p.count for p in chosen)


def seen(s: Situation) -> tuple[object, ...]:
    return s.trap, s.registers[:8], s.flags & ALL, s.window


def ran(ours: Legacy, pieces: list[Piece], before: Situation, bits: int) -> Situation:
    ours.prepare(b"".join(p.code for p in pieces), before, bits)
    ours.vcpu.run(sum(p.count for p in pieces))
    return ours.outcome(before)


def unprefixed(p: Piece) -> bytes:
    return p.code[2:-3] + COMPARE if vague(p.name) else p.code[2:]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["flat", "checked", "down"])
@pytest.mark.parametrize("bits", [32, 16])
def test_protected_mode_agrees_with_the_host(bits: int, data: str, machine_code: Engine, host: Host) -> None:
    ours = Legacy(machine_code, data)
    pieces = pool(bits, True) if bits == 32 else prefixed(pool(bits, False))
    for chosen, before in runs(pieces, bits + len(data), COUNT):
        texts = [p.code if bits == 32 else unprefixed(p) for p in chosen]
        if seen(ran(ours, chosen, before, bits)) != seen(host.run(b"".join(texts), before, 32)):
            pytest.fail(first(ours, host, chosen, texts, before, bits))


def first(ours: Legacy, host: Host, chosen: list[Piece], texts: list[bytes], before: Situation, bits: int) -> str:
    for n in range(1, len(chosen) + 1):
        mine, theirs = ran(ours, chosen[:n], before, bits), host.run(b"".join(texts[:n]), before, 32)
        if seen(mine) != seen(theirs):
            return f"{chosen[n - 1].name} {chosen[n - 1].code.hex(' ')}: {seen(mine)[:3]} not {seen(theirs)[:3]}"
    return "nothing differs when it is run alone"


# Real mode.

NAMES = ("AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI")
WRONG = {"crc32", "movbe"}  # unicorn takes the operand size from 66h alone, whatever the code's is
REGISTERS = [getattr(x86, f"UC_X86_REG_E{n}") for n in NAMES]
PLACES = {"cs": 0x1000, "ds": 0x3000, "es": 0x5000, "ss": 0x7000, "fs": 0x8000, "gs": 0x9000}
STRINGS = [bytes([n]) for n in (0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD, 0xA6, 0xA7, 0xAE, 0xAF)]
FIRST, SPAN = 0x30000, 0x70000  # the data that is compared


def real_piece(chance: random.Random, definition: Definition, e: Encoding) -> Piece:
    """An instruction with any 16-bit address, or an absolute one of 32 bits, perhaps of operand size 32."""
    sized = bool({k.width for k in e.kinds} & {"v", "y", "z"}) and e.prefix is None and definition.name != "bswap"
    wide = sized and chance.random() < 0.4 or definition.name in ("shld", "shrd", "bswap")
    code = b"\x66" if wide or e.prefix == 1 else b""
    code += {2: b"\xf3", 3: b"\xf2"}.get(e.prefix or 0, b"")
    operands, far = b"", False
    if e.modrm:
        reg = chance.randrange(8) if e.reg is None else e.reg
        memory = "m" in e.forms and (e.forms == "m" or chance.random() < 0.6)
        mod, rm = chance.randrange(3) if memory else 3, chance.randrange(8)
        rm = e.rm if mod == 3 and e.rm is not None else rm
        far = mod < 3 and chance.random() < 0.2
        operands = bytes([mod << 6 | reg << 3 | rm]) + chance.randbytes(2 if (mod, rm) == (0, 6) else (0, 1, 2, 0)[mod])
        if far:
            operands = bytes([reg << 3 | 5]) + chance.randrange(0xFFF0).to_bytes(4, "little")
    z = 4 if wide else 2
    sizes = {"ib": 1, "iw": 2, "id": 4, "iz": z, "iv": z}
    above = chance.randrange(e.opcodes)
    text = (b"", b"\x0f", b"\x0f\x38", b"\x0f\x3a")[e.map] + bytes([e.opcode + above]) + operands
    text += b"".join(chance.randbytes(sizes[word]) for word in e.immediates)
    return Piece(definition.name, (b"\x67" if far else b"") + code + text + COMPARE * vague(definition.name),
                 1 + vague(definition.name))


def real_pool(seed: int) -> list[Piece]:
    chance = random.Random(seed)
    out = (LEFT_OUT | set(DIFFERS) - {"mov", "aam"} | WRONG | {"pop", "leave"}) - {"push", "cld", "std"}
    found = [real_piece(chance, d, e) for m in MODULES for d in definitions(m) for e in d.encodings
             if suitable(d, e, IN_16, out) and e.map < 4 and not {"Sw", "Cr", "Dr"} & {k.name for k in e.kinds}
             for _ in range(6 * e.opcodes)]
    return found + [Piece("string", chance.choice((b"", b"\x66")) + text, 1) for text in STRINGS for _ in range(20)]


class RealUnicorn:
    def __init__(self) -> None:
        self.machine: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_16)
        self.machine.mem_map(0, 0x120000)

    def run(self, code: bytes, count: int, registers: list[int], flags: int, data: bytes) -> tuple[object, ...]:
        m = self.machine
        for name, value in PLACES.items():
            m.reg_write(getattr(x86, f"UC_X86_REG_{name.upper()}"), value)
        m.mem_write(FIRST, data)
        m.mem_write(0x10000, code)
        m.ctl_remove_cache(0x10000, 0x10000 + len(code) + 1)
        for register, value in zip(REGISTERS, registers, strict=True):
            m.reg_write(register, value)
        m.reg_write(x86.UC_X86_REG_EFLAGS, flags)
        m.emu_start(0x10000, 0x10000 + len(code), count=count)
        after = [m.reg_read(r) for r in REGISTERS]
        return after, m.reg_read(x86.UC_X86_REG_EFLAGS) & ALL, bytes(m.mem_read(FIRST, SPAN))


class RealOurs(RealMode):
    def enter(self, flags: int) -> None:
        """Registers are set: into the mode."""

    def run(self, code: bytes, count: int, registers: list[int], flags: int, data: bytes) -> tuple[object, ...] | None:
        self.memory.write(FIRST, data)
        self.memory.write(0x10000, code + b"\xf4")
        self.prepare(dict.fromkeys(map(str.lower, NAMES), 0) | PLACES | {"flags": flags, "ip": 0})
        for n, value in enumerate(registers):
            self.cpu.put(u32, n, u32(value))
        self.enter(flags)
        faults = int(self.cpu.faults)
        self.vcpu.run(count)
        if int(self.cpu.faults) != faults:
            return None
        return ([int(self.cpu.r[n]) for n in range(8)], int(self.cpu.rflags()) & ALL, self.memory.read(FIRST, SPAN))


class VirtualOurs(RealOurs):
    """The same in virtual-8086 mode with IOPL 3: nothing but a fault leaves it. Above 1 MiB is where that leads: a GDT,
    an IDT whose gates lead to HLT, a TSS."""

    def enter(self, flags: int) -> None:
        cpu = self.cpu
        self.memory.write(GDT, struct.pack("<QQQ", 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))
        gate = HALT & 0xFFFF | 8 << 16 | 0xEE00 << 32 | HALT >> 16 << 48
        self.memory.write(IDT, gate.to_bytes(8, "little") * 256)
        self.memory.write(TSS, struct.pack("<III", 0, TSS, 0x10).ljust(104, b"\0"))
        self.memory.write(HALT, b"\xf4")
        cpu.gdtr.base, cpu.gdtr.limit, cpu.idtr.base, cpu.idtr.limit = u64(GDT), u32(23), u64(IDT), u32(0x7FF)
        cpu.tr.base, cpu.tr.limit, cpu.tr.access, cpu.tr.selector = u64(TSS), u32(103), u16(0x8B), u16(0x18)
        for n in range(6):
            cpu.segments[n].limit, cpu.segments[n].access = u32(0xFFFF), u16(0xF3)
        cpu.cr0, cpu.cpl, cpu.halted = u64(0x11), u8(3), u64(0)
        cpu.set_rflags(u64(flags | VM | IOPL))
        cpu.settle_mode()


GDT, IDT, TSS, HALT = 0x110000, 0x111000, 0x112000, 0x113000


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RealOurs, VirtualOurs], ids=["real", "virtual"])
def test_what_the_8086_does_agrees_with_unicorn(kind: type[RealOurs], machine_code: Engine) -> None:
    ours, theirs, chance = kind(machine_code, False), RealUnicorn(), random.Random(16)
    pieces, done, left = real_pool(16), 0, 0
    data = chance.randbytes(SPAN)
    while done < COUNT:
        chosen = chance.choices(pieces, k=12)
        registers = values(chance)
        registers[4] = 0x8000
        count, code = sum(p.count for p in chosen), b"".join(p.code for p in chosen)
        mine = ours.run(code, count, registers, 2, data)
        if mine is None:
            left += count
        elif mine != (want := theirs.run(code, count, registers, 2, data)):
            pytest.fail(shortest(ours, theirs, chosen, registers, data) + f" {mine[:2]} not {want[:2]}")
        done += count
    assert left < done * 0.7


def shortest(ours: RealOurs, theirs: RealUnicorn, chosen: list[Piece], registers: list[int], data: bytes) -> str:
    for n in range(1, len(chosen) + 1):
        code, count = b"".join(p.code for p in chosen[:n]), sum(p.count for p in chosen[:n])
        mine, want = ours.run(code, count, registers, 2, data), theirs.run(code, count, registers, 2, data)
        if mine != want:
            return f"{chosen[n - 1].name} {chosen[n - 1].code.hex(' ')}: {mine and mine[:2]} not {want[:2]};"
    return "only together:"
