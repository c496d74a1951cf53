"""A processor with a little memory for the tests of system instructions: long mode, identity-mapped, tables
in place.

Physical memory: 1000h GDT, 2000h IDT, 3000h TSS, 4000h page tables, 10000h code, 20000h stacks; 1 MiB in all.
"""

from __future__ import annotations

import struct
from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.op import Guest, Instructions
from guesthouse.engine.plain import Plain
from guesthouse.system.cpu.x86 import (
    branches, cpuid, entry, far, hints, integer, moves, msr, ports, random, segments, shifts, smm, stack, strings,
    syscall, system,
)
from guesthouse.system.cpu.x86.decode import decoded
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.instructions import assembled
from guesthouse.system.cpu.x86.msr import ModelSpecific
from guesthouse.system.cpu.x86.operands import Decoded
from guesthouse.system.memory import Memory

MODULES = (
    branches, cpuid, far, hints, integer, moves, msr, ports, random, segments, shifts, smm, stack, strings, syscall,
    system,
)
GDT, IDT, TSS, TABLES, CODE, STACK = 0x1000, 0x2000, 0x3000, 0x4000, 0x10000, 0x20000
KERNEL_CODE, KERNEL_DATA, USER_CODE_32, USER_DATA, USER_CODE, TSS_SELECTOR, LDT_SELECTOR = (8 * n for n in (
    1, 2, 3, 4, 5, 6, 8))
CODE_0, DATA_0, CODE_3_32, DATA_3, CODE_3 = (
    0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF)
CODE_0_32 = 0x00CF9B000000FFFF
HANDLERS, HANDLER_STEP = 0x14000, 16  # where the gates lead: vector n to HANDLERS + 16 * n
STACK_0, STACK_IST = STACK + 0x8000, STACK + 0xC000
PRESENT, WRITABLE, USER, LARGE, NX = 1, 2, 4, 0x80, 1 << 63


def system_descriptor(base: int, limit: int, kind: int) -> tuple[int, int]:
    """A 16-byte descriptor of a TSS (kind 9) or LDT (2)."""
    low = limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | (0x80 | kind) << 40 | (base >> 24 & 0xFF) << 56
    return low, base >> 32


def gate(
    target: int, selector: int = KERNEL_CODE, kind: int = 14, dpl: int = 0, ist: int = 0, present: int = 1,
) -> bytes:
    """A 16-byte gate."""
    low = target & 0xFFFF | selector << 16 | ist << 32 | (present << 7 | dpl << 5 | kind) << 40
    return struct.pack("<QQ", low | (target >> 16 & 0xFFFF) << 48, target >> 32)


class X86(FloatState, ModelSpecific):
    """The whole state, with the instructions of MODULES."""

    def decode(self, start: u64, at: u64, code: u64, record: Any) -> u64:
        return decoded(TABLES_OF_OPCODES, self, start, at, code, record)


_, HANDLERS_OF_OPS, TABLES_OF_OPCODES = assembled(MODULES, X86)
GUEST = Guest("x86 system test", X86, Decoded, lambda: Instructions(tuple(HANDLERS_OF_OPS)), ())


class Machine:
    """One processor at CPL 0 in 64-bit mode. `m.run(code)` puts code at CODE and executes so many instructions."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory([(0, 1 << 20)])
        self.cpu: Any = GUEST.state.new()
        self.cpu.begin()
        self.memory.install(self.cpu)
        self.plain = Plain(GUEST, self.cpu)
        entry.reset(self.cpu)
        self.tables()
        self.enter()

    def tables(self) -> None:
        """Descriptor tables and page tables: 1 MiB mapped one to one in 4 KiB pages, for everybody."""
        tss = system_descriptor(TSS, 0x67, 9)
        ldt = system_descriptor(TSS + 0x800, 0xF, 2)
        for n, descriptor in enumerate((0, CODE_0, DATA_0, CODE_3_32, DATA_3, CODE_3, *tss, *ldt, CODE_0_32)):
            self.put(GDT + 8 * n, descriptor)
        for vector in range(256):
            self.memory.write(IDT + 16 * vector, gate(HANDLERS + HANDLER_STEP * vector, dpl=3 * (vector >= 0x80)))
        self.put(TSS + 4, STACK_0)
        self.put(TSS + 36, STACK_IST)
        for level in range(3):
            self.put(TABLES + 0x1000 * level, TABLES + 0x1000 * (level + 1) | PRESENT | WRITABLE | USER)
        for page in range(256):
            self.put(TABLES + 0x3000 + 8 * page, page << 12 | PRESENT | WRITABLE | USER)

    def enter(self) -> None:
        cpu = self.cpu
        cpu.cr0, cpu.cr3, cpu.cr4 = u64(0x8001_0033), u64(TABLES), u64(0x620)
        cpu.efer, cpu.flags = u64(0xD01), u64(0)
        cpu.gdtr.base, cpu.gdtr.limit = u64(GDT), u32(8 * 11 - 1)
        cpu.idtr.base, cpu.idtr.limit = u64(IDT), u32(0xFFF)
        for n in range(6):
            self.segment(cpu.segments[n], KERNEL_DATA, 0xC093)
        self.segment(cpu.segments[1], KERNEL_CODE, 0xA09B)
        self.segment(cpu.tr, TSS_SELECTOR, 0x8B)
        cpu.tr.base, cpu.tr.limit = u64(TSS), u32(0x67)
        cpu.r[4] = u64(STACK + 0x4000)
        cpu.cpl = u8(0)
        cpu.settle_mode()

    def user(self, code: int = USER_CODE, flags: int = 0x202) -> None:
        """Go to CPL 3."""
        cpu = self.cpu
        self.segment(cpu.segments[1], code | 3, 0xA0FB if code == USER_CODE else 0xC0FB)
        self.segment(cpu.segments[2], USER_DATA | 3, 0xC0F3)
        cpu.cpl, cpu.flags = u8(3), u64(flags & ~2)
        cpu.settle_mode()

    @staticmethod
    def segment(place: Any, selector: int, access: int) -> None:
        place.base, place.limit = u64(0), u32(0xFFFF_FFFF)
        place.selector, place.access = u16(selector), u16(access)

    def put(self, address: int, value: int, size: int = 8) -> None:
        self.memory.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def get(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.memory.read(address, size), "little")

    def map(self, address: int, entry: int) -> None:
        """Change the entry of a page below 1 MiB."""
        self.put(TABLES + 0x3000 + 8 * (address >> 12), entry)
        self.cpu.forget_translations()

    def run(self, code: str | bytes = b"", count: int = 1, at: int = CODE) -> Any:
        """Execute `count` instructions of this code (hexadecimal), and say what the processor is like then."""
        if code:
            self.memory.write(at, bytes.fromhex(code) if isinstance(code, str) else code)
            self.cpu.pc = u64(at)
        self.cpu.exit = u64(0)
        self.plain.run(count)
        return self.cpu

    @property
    def vector(self) -> int | None:
        """The vector whose handler the processor stands before, if it is one's."""
        at = int(self.cpu.pc) - HANDLERS
        return at // HANDLER_STEP if 0 <= at < 256 * HANDLER_STEP and at % HANDLER_STEP == 0 else None

    def frame(self, code: bool = False) -> list[int]:
        """[error code,] RIP, CS, RFLAGS, RSP, SS from the stack."""
        top = int(self.cpu.r[4])
        return [self.get(top + 8 * n) for n in range(6 if code else 5)]
