"""x87 code in the hot way against the threaded way: registers, tags, status, C1 and pointers, to the bit."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from guesthouse.bits import u64, u128
from guesthouse.engine.hot import regions
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.system.cpu.x86.guest import X86_GUEST
from tests.x86.host import DATA
from tests.x86.test_hot import prepared, state_of

ROOM, SEEDS = 0x200, 8
SINGLES = (0, 0x3F80_0000, 0xBF80_0001, 0x7F80_0000, 0xFF80_0000, 0x7FC0_1234, 0x7F80_0001, 1, 0x8000_0000, 0x0080_0000,
           0x4049_0FDB, 0x7F7F_FFFF)
DOUBLES = (0, 1 << 63, 0x3FF0_0000_0000_0000, 0xBFF0_0000_0000_0001, 0x7FF0_0000_0000_0000, 0xFFF0_0000_0000_0000, 1,
           0x7FF8_0000_0000_1234, 0x7FF4_0000_0000_0001, 0x0010_0000_0000_0000, 0x7FEF_FFFF_FFFF_FFFF,
           0x4008_0000_0000_0000, 0xC1E0_0000_0000_0000, 0x41DF_FFFF_FFE0_0000)
ONE = 1 << 63
EXTENDED = (0, 1 << 79, 0x3FFF << 64 | ONE, 0xBFFF << 64 | ONE | 1, 0x7FFF << 64 | ONE, 0xFFFF << 64 | ONE, 1,
            0x7FFF << 64 | ONE | 1 << 62 | 77, 0x7FFF << 64 | ONE | 5, 0x3FFF << 64 | 1, 0x7FFF << 64, ONE,
            1 << 64 | ONE, 0x7FFE << 64 | (1 << 64) - 1, 0x4000 << 64 | 0xC90F_DAA2_2168_C235, 0x403D << 64 | ONE | 3,
            0xBFFE << 64 | ONE)
# Opcodes of two bytes, with a register in the lowest bits; how many are popped.
TO_TOP = [(code, 0) for code in (0xD8C0, 0xD8C8, 0xD8D0, 0xD8E0, 0xD8E8, 0xD8F0, 0xD8F8, 0xD9C8, 0xDAC0, 0xDAC8, 0xDAD0,
                                 0xDAD8, 0xDBC0, 0xDBC8, 0xDBD0, 0xDBD8, 0xDBE8, 0xDBF0, 0xDCC0, 0xDCC8, 0xDCE0, 0xDCE8,
                                 0xDCF0, 0xDCF8, 0xDDD0, 0xDDE0)]
POPPING = [(code, 1) for code in (0xD8D8, 0xDDD8, 0xDDE8, 0xDEC0, 0xDEC8, 0xDEE0, 0xDEE8, 0xDEF0, 0xDEF8, 0xDFE8,
                                  0xDFF0)]
ALONE = [0xD9E0, 0xD9E1, 0xD9E4, 0xD9E5, 0xD9FA, 0xD9FC, 0xD9D0, 0xDFE0]
PUSHING = [0xD9C0, *range(0xD9E8, 0xD9EF)]
SELDOM = [0xD9F6, 0xD9F7, 0xD9F0, 0xD9F8, 0xDDC1, 0xDFC1, 0xDBE2, 0x9B90]
LOADS = [(0xD9, 0), (0xDD, 0), (0xDF, 0), (0xDB, 0), (0xDF, 5), (0xDB, 5)]
STORES = [(0xD9, 2, 0), (0xDD, 2, 0), (0xDF, 2, 0), (0xDB, 2, 0), (0xDD, 7, 0), (0xD9, 7, 0), (0xD9, 3, 1),
          (0xDD, 3, 1), (0xDF, 3, 1), (0xDB, 3, 1), (0xDF, 7, 1), (0xDF, 1, 1), (0xDB, 1, 1), (0xDD, 1, 1),
          (0xDB, 7, 1)]
USES = [(op, digit) for op in (0xD8, 0xDC, 0xDA, 0xDE) for digit in range(8)]
FILLED, PLACES = 3, (0x00, 0x20, 0x28, 0x40, 0x50, 0x60)


def memory(op: int, digit: int, at: int) -> bytes:
    """With an absolute address (SDM 2, table 2-2: SIB without base and index)."""
    return bytes([op, digit << 3 | 4, 0x25]) + (DATA + at).to_bytes(4, "little")


class Writer:
    """Writes a loop's body; most of it takes care that the stack is neither empty nor full."""

    def __init__(self, chance: random.Random) -> None:
        self.random, self.depth, self.parts = chance, FILLED, list[bytes]()

    def registers(self, code: int, pops: int) -> None:
        i = self.random.randrange(max(self.depth, 1)) if self.random.random() < 0.97 else self.random.randrange(8)
        self.parts.append((code | i).to_bytes(2, "big"))
        self.depth -= pops

    def stored(self) -> None:
        op, digit, pops = self.random.choice(STORES)
        self.parts.append(memory(op, digit, ROOM + self.random.choice(PLACES)))
        self.depth -= pops

    def loaded(self) -> None:
        self.parts.append(memory(*self.random.choice(LOADS), self.random.choice(PLACES)))
        self.depth += 1

    def one(self) -> None:
        chance, kind = self.random, self.random.random()
        if kind < 0.02:
            self.parts.append(chance.choice(SELDOM).to_bytes(2, "big"))
        elif kind < 0.05:
            self.parts.append(memory(0xD9, 5, 0x80 + 2 * chance.randrange(2)))
        elif kind < 0.15:
            self.parts.append(chance.choice(ALONE).to_bytes(2, "big"))
        elif kind < 0.35:
            self.registers(*chance.choice(TO_TOP))
        elif kind < 0.55:
            self.parts.append(memory(*chance.choice(USES), chance.choice((0x00, 0x04, 0x20, 0x28, 0x40, 0x50))))
            if self.parts[-1][1] >> 3 & 7 == 3:
                self.depth -= 1
        elif kind < 0.8 and self.depth > 1:
            self.registers(*chance.choice(POPPING)) if kind < 0.7 else self.stored()
        elif self.depth < 7:
            self.loaded() if kind < 0.9 else self.pushed()

    def pushed(self) -> None:
        self.parts.append(self.random.choice(PUSHING).to_bytes(2, "big"))
        self.depth += 1

    def last(self) -> bytes:
        """What the loop ends with, which C1 tells of."""
        kind = self.random.randrange(4)
        if kind == 0:
            return memory(0xDB, 2, ROOM)
        if kind == 1:
            return self.random.choice(ALONE).to_bytes(2, "big")
        code = self.random.choice((0xD8C0, 0xD8C8, 0xD8E0, 0xD8E8, 0xD8F0, 0xD8F8)) | self.random.randrange(FILLED)
        if kind == 2:
            return code.to_bytes(2, "big")
        return memory(self.random.choice((0xD8, 0xDC, 0xDE)), code >> 3 & 7, 0x20)

    def loop(self, count: int) -> bytes:
        """Some instructions, some branches over one of them that leaves the depth, again and again while ecx lasts."""
        made = b""
        for _ in range(count):
            before = self.depth
            self.one()
            if self.parts and self.depth == before and self.random.random() < 0.2:
                made += bytes([0x70 | self.random.choice((2, 3, 4, 5, 6, 7, 10, 11)), len(self.parts[-1])])
            made += b"".join(self.parts)
            self.parts.clear()
        while self.depth < FILLED:
            self.loaded()
        while self.depth > FILLED:
            self.parts.append(memory(*self.random.choice(((0xD9, 3), (0xDD, 3), (0xDF, 7))), ROOM))
            self.depth -= 1
        made += b"".join(self.parts) + self.last() + b"\xff\xc9"
        return made + b"\x0f\x85" + (-len(made) - 6 & 0xFFFF_FFFF).to_bytes(4, "little")


def scramble(machine: Any, chance: random.Random, usual: bool, special: float | None = None) -> None:
    """Special numbers in memory and in registers; usually with all exceptions masked and few registers filled."""
    cpu = machine.cpu
    special = chance.choice((0.0, 0.1, 0.5)) if special is None else special
    words = struct.pack("<8f", *(chance.uniform(-9, 9) for _ in range(8)))
    words += struct.pack("<8d", *(chance.uniform(-9, 9) for _ in range(8))) + bytes(0x20)
    words = bytearray(words)
    for n in range(8):
        if chance.random() < special:
            struct.pack_into("<I", words, 4 * n, chance.choice(SINGLES))
        if chance.random() < special:
            struct.pack_into("<Q", words, 0x20 + 8 * n, chance.choice(DOUBLES))
    controls = [0x37F, 0x37F, 0x27F, 0x07F, 0xF7F, 0x77F, 0xB7F] + [0x37E, 0x360, 0x300] * (not usual)
    words += struct.pack("<HH", *(chance.choice(controls) for _ in range(2)))
    machine.memory.write(DATA, words)
    machine.memory.write(DATA + 0x60, chance.choice(EXTENDED).to_bytes(16, "little"))
    cpu.set_fcw(u64(chance.choice(controls)))
    cpu.set_fsw(u64(chance.choice((0, 0, 0x20, 0x4700)) | chance.randrange(8) << 11))
    filled = chance.choice((FILLED, FILLED, FILLED, FILLED, FILLED, 0, 2, 4, 8))
    cpu.tags = u64(sum(1 << (int(cpu.top) + n & 7) for n in range(filled)))
    for n in range(8):
        cpu.fpr[n] = u128(chance.choice(EXTENDED) if chance.random() < special else
                          chance.randrange(0x3FF0, 0x4010) << 64 | ONE | chance.getrandbits(63))
    cpu.r[1] = u64(10_000_000)


def everything(machine: Any) -> Any:
    cpu = machine.cpu
    names = ("fcw", "codes", "top", "tags", "fop", "fip", "fdp", "fcs", "fds")
    words = {name: int(getattr(cpu, name)) for name in names}
    words |= {name: int(getattr(cpu.x87, name)) for name in ("flags", "up", "rounding", "precision", "unmasked")}
    return words, [hex(cpu.fpr[n]) for n in range(8)], state_of(machine)


def compare(native: Any, inside: Inside, code: bytes, seed: int, usual: bool, slices: int = 35) -> int:
    """How many regions came into being."""
    cold, hot = prepared(code, native), prepared(code, native)
    way = Regions(native, hot.cpu, inside)
    for turn in range(slices):
        for machine in (cold, hot):
            chance = random.Random(f"{seed} {turn}")
            if turn > 4 or turn % 3 == 0:
                scramble(machine, chance, usual)
            try:
                machine.vcpu.run(chance.choice((7, 19, 19, 30, 40, 60, 150, 1000)) if turn > 4 else 20_000)
            except Exception as stopped:  # an exception of the guest that nobody handles
                machine.cpu.cr2 = u64(len(str(stopped)))
        assert everything(cold) == everything(hot), (seed, turn, code.hex())
        way.look()
    return way.installed


@pytest.mark.parametrize("usual", [True, False])
def test_random_loops_of_x87_code_are_as_exact_as_threaded_code(
        threaded: Any, monkeypatch: pytest.MonkeyPatch, usual: bool) -> None:
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native, inside, installed = threaded.vcpu.engine, Inside(X86_GUEST), 0
    for seed in range(SEEDS):
        chance = random.Random(seed)
        code = Writer(chance).loop(chance.randrange(2, 20))
        installed += compare(native, inside, code, seed, usual) > 0
    assert installed > SEEDS // 2


@pytest.mark.parametrize("control", [0x37F, 0x67F])
def test_c1_tells_how_the_last_operation_of_a_loop_rounded(
        threaded: Any, monkeypatch: pytest.MonkeyPatch, control: int) -> None:
    """Each operation that rounds, as the last one."""
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    native, inside = threaded.vcpu.engine, Inside(X86_GUEST)
    last = [memory(op, digit, 0x20) for op in (0xD8, 0xDC, 0xDA, 0xDE) for digit in (0, 1, 4, 5, 6, 7)]
    last += [memory(op, 2, ROOM) for op in (0xD9, 0xDD, 0xDF, 0xDB)]
    last += [bytes([0xD8, 0xC1 | digit << 3]) for digit in (0, 1, 4, 5, 6, 7)]
    last += [b"\xd9\xfa", b"\xd9\xfc", b"\xd9\xe5", memory(0xDF, 7, ROOM), memory(0xDF, 1, ROOM)]
    seen = set()
    for code in last:
        pops = code[1] >> 3 & 7 in (1, 7) and code[0] == 0xDF
        body = (memory(0xDD, 0, 0x20) if pops else b"\xdd\xd9" + memory(0xDD, 0, 0x20)) + code
        body += b"\xff\xc9\x0f\x85" + (-len(body) - 8 & 0xFFFF_FFFF).to_bytes(4, "little")
        cold, hot = prepared(body, native), prepared(body, native)
        way = Regions(native, hot.cpu, inside)
        for turn in range(12):
            for machine in (cold, hot):
                scramble(machine, random.Random(turn), True, special=0.0)
                machine.cpu.set_fcw(u64(control))
                machine.cpu.set_fsw(u64(0))
                machine.cpu.tags = u64(2 + 1 if not pops else 1)
                machine.vcpu.run(60 if turn > 4 else 20_000)
            assert everything(cold) == everything(hot), (code.hex(), turn)
            seen.add((code, int(hot.cpu.x87.up)))
            way.look()
        assert way.installed, code.hex()
    assert len(seen) > 1.5 * len(last)


def test_c1_is_told_to_fnstsw_at_the_beginning_of_a_loop_from_what_was_rounded_at_its_end(
        threaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ENOUGH", 2)
    monkeypatch.setattr(regions, "STAYS", 0)
    body = b"\xdf\xe0\x01\xc2\xdd\xd9" + memory(0xDD, 0, 0x20) + memory(0xDC, 1, 0x28)  # FNSTSW; ADD EDX, EAX
    body += b"\xff\xc9\x0f\x85" + (-len(body) - 8 & 0xFFFF_FFFF).to_bytes(4, "little")
    seen, inside = set(), Inside(X86_GUEST)
    for seed in range(8):
        cold, hot = prepared(body, threaded.vcpu.engine), prepared(body, threaded.vcpu.engine)
        way = Regions(threaded.vcpu.engine, hot.cpu, inside)
        for turn in range(8):
            for machine in (cold, hot):
                scramble(machine, random.Random(seed), True, special=0.0)
                machine.cpu.set_fcw(u64(0x37F))
                machine.cpu.set_fsw(u64(0))
                machine.cpu.tags = u64(3)
                machine.vcpu.run(20_000)
            assert everything(cold) == everything(hot)
            way.look()
        assert way.installed
        seen.add(int(hot.cpu.r[0]) >> 9 & 1)
    assert seen == {0, 1}


def test_a_quiet_nan_in_st0_goes_before_a_signalling_one_in_memory(threaded: Any) -> None:
    """SDM 1, table 4-7, though the signalling one has the larger significand."""
    machine = prepared(memory(0xD8, 0, 0), threaded.vcpu.engine)
    machine.memory.write(DATA, struct.pack("<I", 0x7F80_0001))
    quiet = 0xFFFF << 64 | ONE | 1 << 62
    machine.cpu.tags, machine.cpu.fpr[0] = u64(1), u128(quiet)
    machine.vcpu.run(1)
    assert (int(machine.cpu.fpr[0]), int(machine.cpu.x87.flags)) == (quiet, 1)
