"""The processor of ours.py outside IA-32e mode: the same program at CPL 3 in flat 32-bit code under PAE paging, or in
code whose default sizes are 16 bits, with the same descriptors otherwise.

What 32-bit code does is what the host's compatibility mode does, so that the host remains the oracle.
"""

from __future__ import annotations

import ctypes
import struct

from guesthouse.bits import u16, u32, u64
from guesthouse.engine.build import Engine
from guesthouse.system.cpu.x86.state import CS, DS, ES
from tests.x86.host import DATA, WINDOW, WINDOW_SIZE, Situation
from tests.x86.ours import CODED, FLAT, GDT, GENERAL, HANDLERS, KERNEL_CODE, STACK, TABLES, TSS_SELECTOR, Ours

DIRECTORY, IDT, TSS = 0xD000, 0xE000, 0xF000
KERNEL_STACK = 0x10


class Legacy(Ours):
    """`data`: what DS and ES are. "flat": whole, so that no step for the segment is decoded; "checked": they end before
    4 GiB; "down": they expand downwards to a page before the data."""

    def __init__(self, code: Engine | None = None, data: str = "flat") -> None:
        self.data = data
        super().__init__(code)
        self.memory.write(DIRECTORY, (TABLES + 0x2001).to_bytes(8, "little"))
        self.memory.write(GDT + KERNEL_CODE, (0x00CF_9B00_0000_FFFF).to_bytes(8, "little"))
        for vector in range(256):
            handler = HANDLERS + 16 * vector
            gate = handler & 0xFFFF | KERNEL_CODE << 16 | 0xEE00 << 32 | handler >> 16 << 48
            self.memory.write(IDT + 8 * vector, gate.to_bytes(8, "little"))
        self.memory.write(TSS + 4, struct.pack("<II", STACK, KERNEL_STACK))
        self.memory.write(TSS + 0x66, b"\x68\x00")
        cpu = self.cpu
        cpu.efer, cpu.cr3, cpu.cr4 = u64(0x800), u64(DIRECTORY), u64(0x620)
        cpu.idtr.base, cpu.tr.base, cpu.tr.selector = u64(IDT), u64(TSS), u16(TSS_SELECTOR)
        cpu.tr.access, cpu.tr.limit = u16(0x8B), u32(0x67)
        cpu.forget_translations()
        self.templates = {32: self.template(32), 16: self.template(16)}

    def template(self, bits: int) -> tuple[list[bytes], int]:
        cpu = self.cpu
        super().template(32)
        for n in (DS, ES):
            cpu.segments[n].limit = {"flat": FLAT, "checked": u32(0xFFFF_FFFE), "down": u32(DATA - 0x1001)}[self.data]
            if self.data == "down":
                cpu.segments[n].access = u16(0xC0F7)
        if bits == 16:
            cpu.segments[CS].access = u16(0x80FB)
        cpu.settle_mode()
        return [ctypes.string_at(cpu.where + at, size) for at, size in GENERAL], int(cpu.context) & 0xFFFF

    def outcome(self, before: Situation) -> Situation:
        cpu, window = self.cpu, self.memory.read(WINDOW, WINDOW_SIZE)
        registers = [int(cpu.r[n]) for n in range(16)]
        rip, flags = int(cpu.pc), int(cpu.rflags())
        if not HANDLERS <= rip < HANDLERS + 0x1000:
            return Situation(registers, flags, window, before.fx, rip)
        trap = rip - HANDLERS >> 4
        error, rip, _, flags, registers[4], _ = struct.unpack("<6I", self.memory.read(STACK - 24, 24))
        return Situation(registers, flags, window, before.fx, rip, trap, error if trap in CODED else 0)
