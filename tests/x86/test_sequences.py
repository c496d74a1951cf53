"""Long random runs of general-purpose instructions leave the same registers, flags and memory as on the
host's processor.

Sequences are put together from a pool of instructions made of the definitions. R13 to R15 and RSP hold
addresses and are never written. An instruction that leaves flags undefined is followed by a CMP, which
defines them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from guesthouse.system.cpu.x86.definitions import IN_64, Definition, Encoding
from tests.x86.cases import M64, SAFE_FLAGS, Draft
from tests.x86.compare import ALL, UNDEFINED, asked
from tests.x86.host import START, WINDOW, WINDOW_SIZE, Host, Situation
from tests.x86.ours import Ours
from tests.x86.test_integer import MODULES, definitions

COUNT = int(os.environ.get("GUESTHOUSE_RANDOM_INSTRUCTIONS", "1000000"))
LEFT_OUT = {
    "div",
    "idiv",
    "xlat",
    "popf",
    "pushf",
    "push",
    "pop",
    "enter",
    "in",
    "out",
    "ud0",
    "ud1",
    "ud2",
    "cmpxchg8b",
    "cmpxchg16b",
    "int",
    "int1",
    "int3",
    "into",
    "ret",
    "leave",
    "clflush",
    "prefetchw",
    "cld",
    "std",
}  # those that fault, move the stack or have too many implied registers: test_integer.py has them one by one
RESERVED = {4, 13, 14, 15}
COMPARE = bytes.fromhex("4d 39 da")  # CMP R10, R11
SHIFTS = ("shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd")


@dataclass(frozen=True)
class Piece:
    """Bytes that can stand anywhere in a sequence, and how many instructions they are."""

    name: str
    code: bytes
    count: int


class Free(Draft):
    """A draft whose memory operand is in the window whatever the other registers hold."""

    def choose_address(self, reg: int) -> None:
        base, index = self.random.choice((15, 14)), self.random.choice((None, 13))
        displacement = self.target - WINDOW - 128 + (64 if base == 14 else 0)
        self.rex = self.rex | 0x41 | (2 if index else 0)
        self.rex &= ~2 if index is None else 0xFF
        sib = self.random.randrange(4) << 6 | (5 if index else 4) << 3 | base & 7
        self.modrm = bytes([0x84 | reg << 3, sib])
        displacement -= 8 << (sib >> 6) if index else 0
        self.tail = displacement.to_bytes(4, "little", signed=True)


def suitable(definition: Definition, encoding: Encoding) -> bool:
    places = {k.place for k in encoding.kinds}
    implied = {"source", "destination", "target", "size67", "moffs"} & places
    bits = definition.name in ("bt", "bts", "btr", "btc") and encoding.reg is None
    jumps = definition.name in ("jmp", "call", "ret")
    return bool(encoding.modes & IN_64) and not (definition.name in LEFT_OUT or implied or bits or jumps)


def piece(chance: random.Random, definition: Definition, encoding: Encoding) -> Piece | None:
    """One instruction for the pool; None if the draft writes a reserved register or is undefined."""
    draft = Free(chance, definition, encoding, 64)
    code = asked(draft.finished())
    used = {draft.vvvv if "vvvv" in draft.places else 0}
    if encoding.modrm:
        reg = draft.modrm[0] >> 3 & 7 | (draft.rex & 4) << 1 if encoding.reg is None else 0
        used |= {reg} if draft.memory else {reg, draft.modrm[0] & 7 | (draft.rex & 1) << 3}
    if encoding.opcodes == 8 or encoding.opcode == 0x90:
        used.add(code_register(draft))
    narrow = draft.operand_bits == 16 and definition.name in ("shld", "shrd", "bswap")
    if used & RESERVED or narrow:
        return None
    vague = definition.name in UNDEFINED or definition.name in SHIFTS
    return Piece(definition.name, code + COMPARE * vague, 1 + vague)


def code_register(draft: Draft) -> int:
    return (draft.encoding.opcode + draft.above) & 7 | (draft.rex & 1) << 3


def pool(seed: int, each: int) -> list[Piece]:
    """`each` pieces for every suitable encoding."""
    chance, pieces = random.Random(seed), []
    for module in MODULES:
        for definition in definitions(module):
            for encoding in definition.encodings:
                if suitable(definition, encoding):
                    tries = (piece(chance, definition, encoding) for _ in range(each * encoding.opcodes))
                    pieces += [p for p in tries if p]
    return pieces


def sequences(seed: int, count: int) -> Iterator[tuple[list[Piece], Situation]]:
    """Sequences of so many instructions together, each with a situation to begin in."""
    chance, pieces, done = random.Random(seed), pool(seed, 12), 0
    while done < count:
        chosen = chance.choices(pieces, k=26)
        while sum(len(p.code) for p in chosen) > 250:
            chosen.pop()
        registers = [
            chance.getrandbits(64) if chance.random() < 0.7 else chance.randrange(-9, 9) & M64
            for _ in range(16)
        ]
        registers[4], registers[13], registers[14], registers[15] = WINDOW, 8, WINDOW + 64, WINDOW + 128
        flags = 0x202 | chance.getrandbits(12) & SAFE_FLAGS & ~0x400
        yield chosen, Situation(registers, flags, chance.randbytes(WINDOW_SIZE))
        done += sum(p.count for p in chosen)


def ran(ours: Ours, pieces: list[Piece], before: Situation) -> Situation:
    ours.prepare(b"".join(p.code for p in pieces), before, 64)
    ours.vcpu.run(sum(p.count for p in pieces))
    return ours.outcome(before)


def same(a: Situation, b: Situation) -> bool:
    return (a.rip, a.trap, a.registers, a.flags & ALL, a.window) == (
        b.rip,
        b.trap,
        b.registers,
        b.flags & ALL,
        b.window,
    )


def first_difference(ours: Ours, host: Host, pieces: list[Piece], before: Situation) -> str:
    """The shortest beginning of the sequence after which the two differ."""
    for n in range(1, len(pieces) + 1):
        got = ran(ours, pieces[:n], before)
        want = host.run(b"".join(p.code for p in pieces[:n]), before)
        if not same(got, want):
            changed = [i for i in range(16) if got.registers[i] != want.registers[i]]
            return (
                f"{pieces[n - 1].name} {pieces[n - 1].code.hex(' ')}: registers {changed}, flags {got.flags:#x} "
                f"not {want.flags:#x}, trap {got.trap} not {want.trap}, rip {got.rip - START:#x}"
            )
    return "nothing differs when it is run alone"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_quarter_of_the_random_instructions_agree(seed: int, threaded: Ours, host: Host) -> None:
    for pieces, before in sequences(seed, COUNT // 4):
        want = host.run(b"".join(p.code for p in pieces), before)
        if not same(ran(threaded, pieces, before), want):
            pytest.fail(first_difference(threaded, host, pieces, before))


def test_some_of_them_agree_in_the_plain_way(plain: Ours, host: Host) -> None:
    for pieces, before in sequences(99, 600):
        want = host.run(b"".join(p.code for p in pieces), before)
        if not same(ran(plain, pieces, before), want):
            pytest.fail(first_difference(plain, host, pieces, before))
