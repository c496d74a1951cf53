"""Runs single x86 instructions on our processor, in any way, as tests/x86/host.py does on the host's.

The processor here has the definitions that are asked for and, instead of paging, two mapped areas.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from types import ModuleType
from typing import Any, Protocol

from guesthouse.bits import u16, u32, u64
from guesthouse.engine.cpu import NONE
from guesthouse.engine.op import Guest
from guesthouse.engine.plain import Plain
from guesthouse.system.cpu.x86 import (
    atomics, bcd, bitops, bmi, branches, hints, integer, moves, multiply, ports, shifts, stack, strings,
)
from guesthouse.system.cpu.x86.decode import decoded
from guesthouse.system.cpu.x86.guest import assembled
from guesthouse.system.cpu.x86.operands import Decoded
from guesthouse.system.cpu.x86.state import CS, VECTOR_PF, General
from guesthouse.typed import Pointer, function
from tests.x86.host import CODE, DATA, DATA_SIZE, START, WINDOW, WINDOW_SIZE, Situation

INTEGER = (integer, moves, shifts, multiply, bitops, bmi, atomics, stack, branches, hints, bcd, strings, ports)
RAM = 0x30_0000
OVERRIDES = (0x26, 0x2E, 0x36, 0x3E)


class Runner(Protocol):
    """Sets a situation, runs one instruction, tells what came of it."""

    name: str

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation: ...


class Bare(General):
    """A processor with two mapped areas; a fault is only noted. The number in exit_value tells what software_interrupt got."""

    @function
    def walk(self, va: u64, access: u64) -> u64:
        if va - CODE >= 0x1000 and va - DATA >= DATA_SIZE:
            if i64_shift(va) != va:
                self.raise_fault(13)
            self.fault_address = va
            self.raise_fault(VECTOR_PF, 4)
        return va

    def no_code(self, va: u64) -> None:
        self.raise_fault(VECTOR_PF)

    def poll(self) -> None:
        pass

    def deliver(self) -> None:
        self.fills = u64(0)

    def check_io(self, port, size) -> None:
        pass

    def settle_privilege(self) -> None:
        pass

    def software_interrupt(self, vector, kind) -> None:
        self.raise_fault(vector)


def i64_shift(va):
    """The address with bits 48 to 63 made copies of bit 47."""
    high = u64(0) - (va >> 47 & 1)
    return va & 0xFFFF_FFFF_FFFF | high << 48


class Ours:
    """Our processor. `way`: plain."""

    def __init__(self, way: str = "plain", modules: Iterable[ModuleType] = INTEGER) -> None:
        self.name = way
        self.definitions, handlers, tables = assembled(modules, Bare)

        class Whole(Bare):
            @function
            def decode(self, pc: u64, code: u64, record: Pointer[Decoded]) -> u64:
                return decoded(tables, self, pc, code, record)

        self.guest = Guest("x86 test", Whole, Decoded, tuple(handlers), ("guesthouse.system.cpu.x86", "tests.x86"))
        self.cpu: Any = Whole.new()
        self.ram = ctypes.create_string_buffer(RAM + 4096)
        self.base = -(-ctypes.addressof(self.ram) // 4096) * 4096
        self.pages = (ctypes.c_uint64 * (RAM >> 12))()
        cpu = self.cpu
        cpu.ram[0].length, cpu.ram[0].host, cpu.ram[0].writable = u64(RAM), u64(self.base), u64(1)
        cpu.ram_start, cpu.ram_pages = u64(self.base), u64(RAM >> 12)
        cpu.code = Pointer[u64](u64(ctypes.addressof(self.pages)))
        cpu.use(u64(0), u64(0))
        self.engine = Plain(self.guest, cpu)

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation:
        cpu = self.cpu
        self.prepare(code, before, bits)
        self.engine.step()
        while cpu.pc == START and not cpu.faults and code[0] in (0xF2, 0xF3, 0x66, 0x67, *OVERRIDES):
            self.engine.step()  # a repeated string instruction runs again until it has done all
        rip = int(cpu.pc)
        trap, error = (int(cpu.fault), int(cpu.fault_code)) if int(cpu.faults) else (-1, 0)
        registers = [int(cpu.r[n]) for n in range(16)]
        window = ctypes.string_at(self.base + WINDOW, WINDOW_SIZE)
        return Situation(registers, int(cpu.rflags()), window, before.fx, rip, trap, error)

    def prepare(self, code: bytes, before: Situation, bits: int) -> None:
        """Set memory and registers; forget what the address cache knew of the data."""
        cpu = self.cpu
        ctypes.memset(self.base + CODE, 0xCC, 0x1000)
        ctypes.memmove(self.base + START, code, len(code))
        ctypes.memset(self.base + DATA, 0, DATA_SIZE)
        ctypes.memmove(self.base + WINDOW, before.window, WINDOW_SIZE)
        for n, value in enumerate(before.registers):
            cpu.r[n] = u64(value)
        cpu.set_rflags(u64(before.flags))
        cpu.cpl, cpu.code_bits, cpu.stack_bits = 3, bits, bits
        for n in range(6):
            cpu.segments[n].limit = u32(0xFFFF_FFFF)
        cpu.segments[CS].selector = u16(0x33 if bits == 64 else 0x23)
        cpu.pc, cpu.faults, cpu.exit = u64(START), u64(0), u64(NONE)
        cpu.budget = cpu.left = u64(1)


