"""Runs single x86 instructions on our processor, in any way, as tests/x86/host.py does on the host's.

The whole processor, paging and interrupt delivery included: a program at CPL 3 in an address space with
two mapped areas. Each exception's handler is an address of its own, where the run ends; the frame that was
pushed tells the rest.
"""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path
from typing import Any, Protocol

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.build import Engine, engine
from guesthouse.engine.processor import Block, Processor, bucket_index
from guesthouse.engine.soft import SoftVcpu
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.flags import AC
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.cpu.x86.state import CS, General
from guesthouse.system.memory import Memory
from tests.x86.host import CODE, DATA, DATA_SIZE, START, WINDOW, WINDOW_SIZE, Situation

RAM = 0x40_0000
TABLES, GDT, IDT, TSS, STACK, HANDLERS = 0x1000, 0x6000, 0x7000, 0x8000, 0xA000, 0xB000
CODE_64, CODE_32, DATA_SELECTOR, KERNEL_CODE, TSS_SELECTOR = 0x33, 0x23, 0x2B, 0x08, 0x40
DESCRIPTORS = {
    KERNEL_CODE: 0x00AF_9B00_0000_FFFF, 0x10: 0x00CF_9300_0000_FFFF, 0x20: 0x00CF_FB00_0000_FFFF,
    0x28: 0x00CF_F300_0000_FFFF, 0x30: 0x00AF_FB00_0000_FFFF, TSS_SELECTOR: 0x0000_8B00_8000_0067,
}
NEXT, STRINGS = b"\xeb\x00", bytes.fromhex("6c6d6e6f a4a5a6a7 aaabacadaeaf")  # JMP to the next instruction; opcodes
GENERAL = list(General.beyond(Processor).values())  # places and sizes
CODED = (8, 10, 11, 12, 13, 14, 17)  # vectors that push an error code
FLAT = u32(0xFFFF_FFFF)


class Runner(Protocol):
    """Sets a situation, runs instructions, tells what came of it."""

    name: str

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation: ...


def compiled(cache: Path) -> Engine:
    """The machine code of the guest."""
    return engine(X86_GUEST, cache)


class Ours:
    """Our processor; without an engine, the plain way."""

    def __init__(self, code: Engine | None = None) -> None:
        self.name = "threaded" if code else "plain"
        self.vcpu = SoftVcpu(X86_GUEST, code)
        self.cpu: Any = self.vcpu.state
        self.memory = Memory([(0, RAM)])
        self.memory.install(self.cpu, lambda host: self.vcpu.outdate(host))
        reset(self.cpu)
        self.write_tables()
        self.cpu.cr0, self.cpu.cr3, self.cpu.cr4 = u64(0x8004_0033), u64(TABLES), u64(0x620)
        self.cpu.efer = u64(0xD01)  # NXE, LMA, LME, SCE
        for table, base, limit in (
            (self.cpu.gdtr, GDT, 0xFFF),
            (self.cpu.idtr, IDT, 0xFFF),
            (self.cpu.tr, TSS, 0x67),
        ):
            table.base, table.limit = u64(base), u32(limit)
        self.templates = {bits: self.template(bits) for bits in (64, 32)}

    def write_tables(self) -> None:
        """Page tables for the first 4 MiB, descriptors, gates, and a stack for the handlers."""
        def entries(at: int, values: dict[int, int]) -> None:
            for n, value in values.items():
                self.memory.write(at + 8 * n, value.to_bytes(8, "little"))

        entries(TABLES, {0: TABLES + 0x1007})
        entries(TABLES + 0x1000, {0: TABLES + 0x2007})
        entries(TABLES + 0x2000, {0: TABLES + 0x3007, 1: TABLES + 0x4007})
        entries(TABLES + 0x3000, {n: n << 12 | 3 for n in range(1, 16)} | {CODE >> 12: CODE | 7})
        entries(TABLES + 0x4000, {n: DATA + (n << 12) | 7 | 1 << 63 for n in range(DATA_SIZE >> 12)})
        entries(GDT, {selector >> 3: value for selector, value in DESCRIPTORS.items()})
        for vector in range(256):
            handler = HANDLERS + 16 * vector
            low = handler & 0xFFFF | KERNEL_CODE << 16 | 0xEE00 << 32 | handler >> 16 << 48
            entries(IDT, {2 * vector: low})
        self.memory.write(TSS + 4, STACK.to_bytes(8, "little"))
        self.memory.write(TSS + 0x66, b"\x68\x00")

    def template(self, bits: int) -> tuple[list[bytes], int]:
        """The bytes of the general state at CPL 3 in 64 or 32-bit code, and the mode that goes with them."""
        cpu = self.cpu
        for n in range(6):
            cpu.segments[n].base, cpu.segments[n].limit = u64(0), FLAT
            cpu.segments[n].selector, cpu.segments[n].access = u16(DATA_SELECTOR), u16(0xC0F3)
        cpu.segments[CS].selector = u16(CODE_64 if bits == 64 else CODE_32)
        cpu.segments[CS].access = u16(0xA0FB if bits == 64 else 0xC0FB)
        cpu.cpl = u8(3)
        cpu.settle_mode()
        return [ctypes.string_at(cpu.where + at, size) for at, size in GENERAL], int(cpu.context) & 0xFFFF

    def prepare(self, code: bytes, before: Situation, bits: int) -> None:
        self.memory.write(START - 0x100, b"\xcc" * 0x100 + code.ljust(0x200, b"\xcc"))
        self.begin(before, bits)

    def begin(self, before: Situation, bits: int) -> None:
        cpu, (general, mode) = self.cpu, self.templates[bits]
        ctypes.memset(self.memory.host + DATA, 0, DATA_SIZE)
        ctypes.memmove(self.memory.host + WINDOW, before.window, WINDOW_SIZE)
        for (at, size), octets in zip(GENERAL, general):
            ctypes.memmove(cpu.where + at, octets, size)
        ctypes.memmove(cpu.where + General.offset("r"), struct.pack("<16Q", *before.registers), 128)
        cpu.set_rflags(u64(before.flags))
        if int(cpu.context) & 0xFFFF != mode or before.flags & AC or int(cpu.watches):
            cpu.settle_mode()
        cpu.pc = u64(START)

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation:
        cpu = self.cpu
        self.prepare(code, before, bits)
        self.vcpu.run(1)
        while cpu.pc == START and code[0] in (0xF2, 0xF3, 0x66, 0x67, 0x26, 0x2E, 0x36, 0x3E):
            self.vcpu.run(1)  # a repeated string instruction runs again until it has done all
        return self.outcome(before)

    def outcome(self, before: Situation) -> Situation:
        """What came of it; an exception is told by the handler's address and the frame on the handler's
        stack."""
        cpu, window = self.cpu, self.memory.read(WINDOW, WINDOW_SIZE)
        registers = list(struct.unpack("<16Q", ctypes.string_at(cpu.where + General.offset("r"), 128)))
        rip, flags = int(cpu.pc), int(cpu.rflags())
        if not HANDLERS <= rip < HANDLERS + 0x1000:
            return Situation(registers, flags, window, before.fx, rip)
        trap = rip - HANDLERS >> 4
        error, rip, _, flags, registers[4], _ = struct.unpack("<6Q", self.memory.read(STACK - 48, 48))
        return Situation(registers, flags, window, before.fx, rip, trap, error if trap in CODED else 0)


class Stitched(Ours):
    """Runs each instruction of 64-bit code in a block that has been put together from stencils."""

    def __init__(self, code: Engine) -> None:
        super().__init__(code)
        self.name, self.code = "stitched", code
        self.vcpu.put_together(code)
        for vector in range(256):
            self.memory.write(HANDLERS + 16 * vector, b"\xeb\xfe")  # JMP to itself: the run ends there

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation:
        repeats = code[-1] in STRINGS and any(prefix in code[:-1] for prefix in (0xF2, 0xF3))  # it jumps to itself
        if bits != 64 or repeats or not self.code.stencils:
            return super().run(code, before, bits)
        self.prepare(code + NEXT, before, bits)
        self.cpu.fetch(u64(START))
        self.code.prepare(self.cpu.where, START)
        count = int(self.block.count)
        for _ in range(3):  # found, found again and put together, run so
            self.begin(before, bits)
            self.vcpu.run(count)
        after = self.outcome(before)
        if count == 2 and after.rip == START + len(code + NEXT) and after.trap < 0:
            after.rip -= len(NEXT)
        return after

    @property
    def block(self) -> Block:
        """The block at START."""
        host = u64(self.memory.host + START)
        at = int(self.cpu.buckets[bucket_index(host)])
        while Block.at(at).host != host:
            at = int(Block.at(at).in_bucket)
        return Block.at(at)
