"""Asking about descriptors, and call gates of both widths, beside unicorn: LAR, LSL, VERR, VERW; CALL to a gate and RET
from it, at one level and between two (SDM 3A, 5.8 and 5.10; 2A and 2D).
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import unicorn
from unicorn import x86_const as x86

from guesthouse.bits import u64
from guesthouse.system.cpu.x86.flags import ZF
from tests.x86.system_machine import CODE, GDT, IDT, TSS
from tests.x86.test_modes import CODE_16, CODE_32, DATA_32, STACK_TOP, TASK, USER_CODE, USER_DATA, Legacy, descriptor

RAM = 1 << 20
ASKED, ACCESSIBLE, GATE = 8 * 20, 8 * 21, 8 * 22  # selectors
TARGET, USER_START, USER_STACK = 0x15000, 0x12000, 0x26000
NAMES = ("EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI", "EIP", "CS", "SS")
GENERAL = [getattr(x86, f"UC_X86_REG_{name}") for name in NAMES]


class Theirs:
    """The memory of one of our machines, and its tables, in unicorn: at CPL 0, in flat 32-bit code."""

    def __init__(self, ours: Legacy) -> None:
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
        self.uc.mem_map(0, RAM)
        self.uc.mem_write(0, bytes(ours.memory.read(0, RAM)))
        self.uc.reg_write(x86.UC_X86_REG_GDTR, (0, GDT, 0xFF, 0))
        self.uc.reg_write(x86.UC_X86_REG_IDTR, (0, IDT, 0x7FF, 0))
        for name in ("DS", "ES", "SS", "FS", "GS"):
            self.uc.reg_write(getattr(x86, f"UC_X86_REG_{name}"), DATA_32)
        self.uc.reg_write(x86.UC_X86_REG_CS, CODE_32)
        for register, value in zip(GENERAL[:8], values(ours)):
            self.uc.reg_write(register, value)

    def run(self, count: int) -> None:
        self.uc.emu_start(CODE, RAM - 1, count=count)

    def values(self) -> list[int]:
        return [self.uc.reg_read(n) for n in GENERAL]


def values(m: Legacy) -> list[int]:
    """What Theirs.values has."""
    cpu: Any = m.cpu
    code, stack = cpu.segments[1], cpu.segments[2]
    return [*(int(cpu.r[n]) & 0xFFFF_FFFF for n in range(8)), int(cpu.pc) - int(code.base), int(code.selector),
            int(stack.selector)]


@pytest.mark.parametrize("name, code", [("lar", "0F02C8"), ("lsl", "0F03C8"), ("verr", "0F00E0"), ("verw", "0F00E8")])
def test_what_a_descriptor_answers_is_what_unicorn_says(name: str, code: str) -> None:
    chance = random.Random(name)
    for n in range(150):
        m = Legacy()
        access = chance.randrange(256) | (0x80 if n & 3 else 0)
        access |= chance.getrandbits(4) << 12
        m.put(GDT + ASKED, descriptor(chance.getrandbits(32), chance.getrandbits(20), access))
        selector = chance.choice((ASKED, ASKED, ASKED, ASKED, 0, 8 * 40, 8 * 31)) | chance.randrange(4)
        m.memory.write(CODE, bytes.fromhex("B8") + selector.to_bytes(4, "little") + bytes.fromhex("B978563412" + code))
        theirs = Theirs(m)
        theirs.run(3)
        m.cpu.pc = u64(CODE)
        m.run("", 3)
        zero = int(m.cpu.rflags()) & ZF, theirs.uc.reg_read(x86.UC_X86_REG_EFLAGS) & ZF
        assert values(m) == theirs.values() and zero[0] == zero[1], f"access {access:#x}, selector {selector:#x}"


def gate(kind: int, segment: int, count: int) -> int:
    """A call gate for everybody: kind 4 has 16 bits, 12 has 32."""
    return TARGET & 0xFFFF | segment << 16 | count << 32 | (0xE0 | kind) << 40 | TARGET >> 16 << 48


@pytest.mark.parametrize("kind", [4, 12])
@pytest.mark.parametrize("segment", [CODE_16, CODE_32])
@pytest.mark.parametrize("count", [0, 5, 31])
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("back", ["CB", "66CB", "CA0400", "66CA0400"])
def test_a_gate_of_either_width_calls_and_returns_as_in_unicorn(
        kind: int, segment: int, count: int, user: bool, back: str) -> None:
    m = Legacy()
    code = descriptor(0x10000 if segment == CODE_16 else 0, 0xFFFF if segment == CODE_16 else 0xFFFFF,
                      0x009B if segment == CODE_16 else 0xC09B)
    m.put(GDT + segment, code)
    m.put(GDT + GATE, gate(kind, segment, count))
    m.put(GDT + TASK, descriptor(TSS, 0x67, 0x0089))
    at = TARGET & 0xFFFF if kind == 4 or segment == CODE_16 else TARGET
    m.put(GDT + GATE, gate(kind, segment, count) & ~(0xFFFF | 0xFFFF << 48) | at & 0xFFFF | at >> 16 << 48)
    landing = at + (0x10000 if segment == CODE_16 else 0)
    m.memory.write(landing, bytes.fromhex(back))
    for n in range(40):
        m.put(USER_STACK + 4 * n, 0x1111_1111 * n & 0xFFFF_FFFF, 4)
        m.put(STACK_TOP + 4 * n, 0x0101_0101 * n & 0xFFFF_FFFF, 4)
    call = bytes.fromhex("9A 00000000") + (GATE | 3).to_bytes(2, "little")
    enter = bytes.fromhex(f"B8{TASK:02X}000000 0F00D8")  # mov eax, TASK; ltr ax
    if user:
        frame = (USER_START, USER_CODE | 3, 0x2, USER_STACK, USER_DATA | 3)
        for n, value in enumerate(frame):
            m.put(STACK_TOP - 20 + 4 * n, value, 4)
        m.memory.write(CODE, enter + bytes.fromhex("83EC14 CF"))  # sub esp, 20; iret
        m.memory.write(USER_START, call)
    else:
        m.memory.write(CODE, enter + call)
    m.cpu.pc = u64(CODE)
    steps = 5 if user else 3
    theirs = Theirs(m)
    theirs.run(steps)
    m.run("", steps)
    assert values(m) == theirs.values()
    assert m.memory.read(0x20000, 0x10000) == bytes(theirs.uc.mem_read(0x20000, 0x10000))
