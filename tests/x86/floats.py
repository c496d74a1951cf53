"""Situations with floating-point state: random images of x87, MMX and SSE, our processor with them, what
differs afterwards.
"""

from __future__ import annotations

import ctypes
import random
import struct
from dataclasses import replace
from types import ModuleType

import pytest

from guesthouse.bits import u64
from guesthouse.engine.build import Engine
from guesthouse.manager.building import code_folder
from guesthouse.system.cpu.x86.definitions import Definition, Encoding, definitions
from guesthouse.system.cpu.x86.float_state import FloatState
from tests.x86.cases import Case, Draft
from tests.x86.compare import differences
from tests.x86.host import WINDOW, Host, Situation
from tests.x86.ours import Ours, Stitched, compiled

SINGLES = (
    0,
    1 << 31,
    1,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0x7F80_0001,
    0xFFC1_2345,
    0x3F80_0000,
    0xBF80_0000,
    0x7F7F_FFFF,
    0x0080_0000,
    0x007F_FFFF,
    0x4F00_0000,
    0xCF00_0000,
    0x4EFF_FFFF,
    0x3F00_0000,
    0x3FC0_0000,
)
DOUBLES = (
    0,
    1 << 63,
    1,
    0x7FF << 52,
    0xFFF << 52,
    0x7FF8 << 48,
    (0x7FF << 52) + 1,
    0xFFF8_1234_5678_9ABC,
    0x3FF << 52,
    0xBFF << 52,
    0x7FEF_FFFF_FFFF_FFFF,
    1 << 52,
    (1 << 52) - 1,
    0x41DF_FFFF_FFC0_0000,
    0x41E << 52,
    0xC1E << 52,
    0x43E << 52,
    0x3FE << 52,
)
EXTENDED = (
    0,
    1 << 79,
    1,
    1 << 63,
    0x7FFF << 64 | 1 << 63,
    0xFFFF << 64 | 1 << 63,
    0x7FFF << 64 | 3 << 62,
    (0x7FFF << 64 | 1 << 63) + 1,
    0x3FFF << 64 | 1 << 63,
    0xBFFF << 64 | 1 << 63,
    0x7FFE << 64 | (1 << 64) - 1,
    0x7FFF << 64,
    0x3FFF << 64,
    1 << 64 | 1 << 63,
)
HEAD = struct.Struct("<HHBxHQQII")
WAYS = ["plain", *(pytest.param(way, marks=pytest.mark.slow) for way in ("threaded", "stitched"))]


class Chance(random.Random):
    """Random vectors and numbers, many of them special."""

    def vector(self) -> int:
        kind = self.randrange(5)
        if kind == 0:
            return self.getrandbits(128)
        if kind == 1:
            return sum(
                self.choice((self.choice(SINGLES), self.getrandbits(32))) << n for n in range(0, 128, 32)
            )
        if kind == 2:
            return sum(
                self.choice((self.choice(DOUBLES), self.getrandbits(64))) << n for n in range(0, 128, 64)
            )
        if kind == 3:
            return sum(self.choice((0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF)) << n for n in range(0, 128, 8))
        return sum(
            (0x3F80_0000 + self.randrange(-1 << 26, 1 << 26) | self.getrandbits(1) << 31) << n
            for n in range(0, 128, 32)
        )

    def number(self) -> int:
        """An x87 register."""
        kind = self.randrange(6)
        if kind == 0:
            return self.choice(EXTENDED)
        if kind == 1:
            return self.getrandbits(80)
        if kind == 2:
            exponent = self.choice((0, self.randrange(1, 80), 0x7FFE - self.randrange(70)))
            return self.getrandbits(1) << 79 | exponent << 64 | bool(exponent) << 63 | self.getrandbits(63)
        cut = self.choice((0, 10, 40, 52))
        exponent = 0x3FFF + self.randrange(-70, 71)
        return self.getrandbits(1) << 79 | exponent << 64 | 1 << 63 | self.getrandbits(63) >> cut << cut

    def image(self, masked: bool, x87: bool) -> bytes:
        """An FXSAVE image. No x87 exception is pending."""
        open_ = 0 if masked else self.choice((63, 1 << self.randrange(6), self.getrandbits(6)))
        control = 0x37F & ~open_ | self.randrange(4) << 10
        if self.random() < 0.3:
            control = control & ~0x300 | self.choice((0, 2)) << 8
        status = self.randrange(8) << 11
        if x87:
            status |= (self.getrandbits(7) & ~open_) | self.getrandbits(16) & 0x4700
        tags = self.choice((0xFF, 0xFF, 0xFF, self.getrandbits(8)))
        mxcsr = (
            0x1F80 & ~(open_ << 7) | self.randrange(4) << 13 | self.choice((0, 0, 0, 0x40, 0x8000, 0x8040))
        )
        mxcsr |= self.choice((0, 0x20, 0x3F))
        head = HEAD.pack(control, status, tags, 0, 0, 0, mxcsr, 0)
        stack = b"".join(self.number().to_bytes(16, "little") for _ in range(8))
        return (head + stack + b"".join(self.vector().to_bytes(16, "little") for _ in range(16))).ljust(
            512, b"\0"
        )


def cases(
    modules: tuple[ModuleType, ...], count: int, seed: int, masked: bool, without: tuple[str, ...] = ()
) -> list[Case]:
    """So many cases for each encoding in these modules."""
    chance, made = Chance(seed), []
    for module in modules:
        for definition in definitions(module):
            for encoding in definition.encodings if definition.name not in without else ():
                made += [case(chance, definition, encoding, masked) for _ in range(count)]
    return made


def case(chance: Chance, definition: Definition, encoding: Encoding, masked: bool) -> Case:
    """A case with floating-point state, and a number where its memory operand is."""
    draft = Draft(chance, definition, encoding, 64)
    made = draft.finished()
    while definition.run.__module__.endswith(".sha") and draft.memory and draft.target & 15:
        draft = Draft(chance, definition, encoding, 64)  # the SDM has these fault, AMD's processors do not
        made = draft.finished()
    window = bytearray(made.before.window)
    at = draft.target - WINDOW
    window[at : at + 16] = chance.choice((chance.vector, chance.number))().to_bytes(16, "little")
    image = chance.image(masked, definition.run.__module__.rsplit(".", 1)[1].startswith("x87"))
    before = Situation(made.before.registers, made.before.flags, bytes(window), image)
    return replace(made, before=before)


class FloatOurs(Ours):
    """Our processor; `host_arithmetic` False turns softfloat's fast path off."""

    def __init__(self, code: Engine | None = None, host_arithmetic: bool = True) -> None:
        super().__init__(code)
        self.host_arithmetic = host_arithmetic

    def begin(self, before: Situation, bits: int) -> None:
        super().begin(before, bits)
        cpu = self.cpu
        control, status, tags, _, _, _, mxcsr, _ = HEAD.unpack_from(before.fx)
        cpu.set_fcw(u64(control))
        cpu.set_fsw(u64(status))
        cpu.tags = u64(tags)
        cpu.set_mxcsr(u64(mxcsr))
        cpu.sse.host = u64(0x20 if self.host_arithmetic else 0)
        top = status >> 11 & 7
        for n in range(8):
            place = self.place("fpr") + 16 * ((top + n) & 7)
            ctypes.memmove(place, before.fx[32 + 16 * n : 42 + 16 * n] + bytes(6), 16)
        ctypes.memmove(self.place("xmm"), before.fx[160:416], 256)

    def place(self, name: str) -> int:
        return int(self.cpu.where) + FloatState.offset(name)

    def outcome(self, before: Situation) -> Situation:
        cpu, after = self.cpu, super().outcome(before)
        head = HEAD.pack(int(cpu.fcw), int(cpu.fsw()), int(cpu.tags), 0, 0, 0, int(cpu.mxcsr()), 0)
        fpr, top = ctypes.string_at(self.place("fpr"), 128), int(cpu.top)
        stack = b"".join(fpr[16 * (top + n & 7) :][:16] for n in range(8))
        return replace(after, fx=(head + stack + ctypes.string_at(self.place("xmm"), 256)).ljust(512, b"\0"))


def ordinal(number: int) -> int:
    """Neighbouring 80-bit numbers of one sign have neighbouring ordinals."""
    exponent, significand = number >> 64 & 0x7FFF, number & (1 << 64) - 1
    return (number >> 79 << 80) + (max(exponent, 1) << 63) + significand - (1 << 63)


def float_differences(made: Case, ours: Situation, theirs: Situation, ulps: int = 0) -> list[str]:
    """What differs, the floating-point state included. The pointers to the last instruction are not compared.
    `ulps`: how far x87 registers may be apart; C1, which tells how they were rounded, is not looked at then.
    """
    found = differences(made, ours, theirs)
    for name, at, size in [
        ("control word", 0, 2),
        ("status word", 2, 2),
        ("tags", 4, 1),
        ("MXCSR", 24, 4),
        *((f"ST({n})", 32 + 16 * n, 10) for n in range(8)),
        *((f"XMM{n}", 160 + 16 * n, 16) for n in range(16)),
    ]:
        a, b = (int.from_bytes(s.fx[at : at + size], "little") for s in (ours, theirs))
        if ulps and name == "status word":
            a, b = a & ~0x200, b & ~0x200
        if a != b and not (name.startswith("ST") and abs(ordinal(a) - ordinal(b)) <= ulps):
            found.append(
                f"{name}: {a:#x} not {b:#x}, before {int.from_bytes(made.before.fx[at : at + size], 'little'):#x}"
            )
    return found


class FloatStitched(Stitched, FloatOurs):
    """The same in blocks put together from stencils."""


def machine(way: str) -> FloatOurs:
    """Our processor in one of its ways; the engine is compiled if it is not in the cache."""
    if way == "stitched":
        return FloatStitched(compiled(code_folder()))
    return FloatOurs(compiled(code_folder()) if way == "threaded" else None)


def unexplained(host: Host, ours: FloatOurs, made: list[Case], ulps: int = 0) -> list[str]:
    """The cases in which we and the host differ, in words."""
    told = []
    for one in made:
        theirs = host.run(one.code, one.before, one.bits)
        if found := float_differences(one, ours.run(one.code, one.before, one.bits), theirs, ulps):
            told.append(f"{one.definition.name} {one.code.hex(' ')}: " + "; ".join(found))
    return told
