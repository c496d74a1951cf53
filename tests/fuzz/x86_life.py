"""An x86 processor in a small world of random code: all modes from real to long, rings 0 and 3, every gate
leading into random code or back.

Physical memory: IVT at 0, GDT 1000h, IDTs 2000h and 3000h, LDT 3800h, TSS 4000h; data 8000h, code 10000h
(again and again), data and stacks 20000h to 3EFFFh, ROM 3F000h. Most gates lead to code that skips some
bytes and returns (5000h to 7FFFh). Page tables at 400000h, where no page leads to: what a processor may
remember of a changed table is its own business, and differs between the ways.
"""

from __future__ import annotations

import random
import struct
from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.soft import SoftVcpu
from guesthouse.system.cpu.x86.debug import AT_DEBUGCTL
from guesthouse.system.cpu.x86.disassemble import Disassembler
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.flags import AC
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.cpu.x86.system_state import CR0_AM
from guesthouse.system.memory import Memory
from tests.fuzz.lockstep import BUDGETS
from tests.fuzz.x86_code import Coder

M64 = (1 << 64) - 1
RAM, ROM, TABLES, TABLE_PAGES = 0x4_0000, 0x3_F000, 0x40_0000, 16
GDT, IDT_LONG, IDT, LDT, TSS, DATA, CODE, CODE_SIZE, MORE = (
    0x1000, 0x2000, 0x3000, 0x3800, 0x4000, 0x8000, 0x1_0000, 0x2000, 0x2_0000)
SKIP_16, SKIP_32, SKIP_64 = 0x5000, 0x6000, 0x7000
CODED = (8, 10, 11, 12, 13, 14, 17)  # vectors that push an error code
HIGH, LARGE = 0xFFFF_8000_0000_0000, 0x4000_0000
LONG_ROOTS, PAE_ROOT, NARROW_ROOT = (TABLES, TABLES + 0x1000), TABLES + 0x8000, TABLES + 0xA000
P, W, U, A, D, PS, NX = 1, 2, 4, 0x20, 0x40, 0x80, 1 << 63
# Selectors: 08 kernel code 64, 10 data, 18 code 32, 20 code 16, 28 user code 32, 30 user code 64, 38 user
# data, 40 TSS, 50 LDT, 58 call gate, 68 conforming code, 70 data that grows down, 78 not there, 80 16-bit
# data
DESCRIPTORS = (0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0x00CF9B000000FFFF, 0x000F9B000000FFFF,
               0x00CFFB000000FFFF, 0x00AFFB000000FFFF, 0x00CFF3000000FFFF, TSS << 16 | 0x89 << 40 | 0x67, 0,
               LDT << 16 | 0x82 << 40 | 0x7F, 0, CODE + 0x40 | 8 << 16 | 0xEC << 40, 0, 0x00CF9F000000FFFF,
               0x00CF97000000FFFF, 0x00CF13000000FFFF, 0x000F93000000FFFF)
MODES = ("long 0", "long 0", "long 3", "long 3", "compatible 3", "compatible 3", "protected 0", "pae 0",
         "pae 3", "paged 0", "paged 3", "protected 16", "real", "real")


def gate(target: int, kind: int, selector: int) -> bytes:
    return struct.pack("<Q", target & 0xFFFF | selector << 16 | kind << 40 | (target >> 16) << 48)


def skipper(vector: int, skip: bytes) -> bytes:
    """A handler in 64-bit code: drop the error code, skip a few bytes, return."""
    return bytes.fromhex("4883c408") * (vector in CODED) + bytes.fromhex("48830424") + skip + b"\x48\xcf"


class X86Life:
    """See lockstep.Life."""

    guest = X86_GUEST
    unseen = frozenset({"large", "huge", "ea", "vectors", "before"})
    budgets: tuple[int, ...] = BUDGETS
    modes: tuple[str, ...] = MODES

    def memory(self, chance: random.Random) -> Memory:
        made = Memory([(0, RAM), (TABLES, TABLE_PAGES << 12)])
        made.protect(ROM, RAM - ROM)
        data = b"".join(self.value(chance).to_bytes(8, "little") for _ in range(0x800))
        for start in (DATA, *range(MORE, RAM, len(data))):
            made.write(start, data)
        bits = chance.choice((64, 64, 64, 32, 16))
        sizes = [bits, bits, chance.choice((16, 32, 64)), bits]
        code = b"".join(Coder(chance, n, self.pointer, self.entry).code(CODE_SIZE // 4) for n in sizes)
        made.write(CODE, code * ((MORE - CODE) // CODE_SIZE))
        made.write(MORE + 0x8000, b"\x0f\xaa")  # the handler of SMI: RSM
        self.system_tables(made, chance)
        self.page_tables(made, chance)
        return made

    # Values.

    def entry(self, chance: random.Random) -> int:
        return CODE + chance.randrange(CODE_SIZE)

    def start(self, chance: random.Random) -> int:
        """Where a life begins, and goes on when it has been moved."""
        return self.entry(chance)

    def pointer(self, chance: random.Random) -> int:
        base = chance.choice((CODE, DATA, DATA, DATA, MORE, MORE, MORE, MORE, 0x3_8000, HIGH + DATA,
                              HIGH + MORE, LARGE + MORE, ROM, RAM, 0xA_0000, 0xFEE0_0000, 0, M64 + 1, 1 << 47,
                              CODE + 0x1000))
        near = chance.choice((16 * chance.randrange(64), chance.randrange(-20, 20), chance.randrange(0x2000)))
        return base + near & M64

    def value(self, chance: random.Random) -> int:
        kind = chance.randrange(7)
        if kind < 3:
            return self.pointer(chance)
        if kind == 3:
            return chance.choice(((chance.randrange(18) * 8 | chance.randrange(4)), 0x202, 0x3F8,
                                  self.entry(chance)))
        if kind == 4:
            return chance.getrandbits(64)
        return chance.choice((0, 1, 7, M64, 1 << 63, 0x3FF0 << 48, 0x7FF0 << 48, 0x7F80_0000, 0xFFFF_FFFF,
                              chance.getrandbits(64) >> chance.randrange(64)))

    # Tables.

    def system_tables(self, memory: Memory, chance: random.Random) -> None:
        memory.write(GDT, struct.pack(f"<{len(DESCRIPTORS)}Q", *DESCRIPTORS))
        memory.write(LDT, struct.pack("<16Q", *(chance.choice(DESCRIPTORS) for _ in range(16))))
        self.handlers(memory, chance)
        for vector in range(256):
            dpl, away = chance.choice((0, 3)), chance.random() < 0.1
            long, short, real = (self.entry(chance) if away else base + 16 * vector for base in (
                SKIP_64, SKIP_32, SKIP_16))
            kind = chance.choice((0x8E, 0x8F, 0x8E, 0x8E, 0x8E, 0x8E, 0x8E, 0x8E, 0x0E, 0x85)) | dpl << 5
            selector = chance.choice((8,) * 29 + (0x68, 0x30))
            memory.write(IDT_LONG + 16 * vector, gate(long, kind, selector) + bytes(8))
            memory.write(IDT_LONG + 16 * vector + 4, bytes([chance.choice((0, 1, 1, 1, 2))]))
            memory.write(IDT + 8 * vector, gate(short, kind, chance.choice((0x18,) * 9 + (0x20,))))
            memory.write(4 * vector, struct.pack("<HH", real & 0xFFFF, real >> 4 & 0xF000))
        stacks = [MORE + 0x3000, MORE + 0x4000, MORE + 0x5000, 0, 0x3_9008, 0x3_A000, 0, 0, 0, 0, 0, 0]
        memory.write(TSS, struct.pack("<I12Q", 0, *stacks))
        memory.write(TSS + 0x66, struct.pack("<H", 0x68) + bytes(0x80))

    def handlers(self, memory: Memory, chance: random.Random) -> None:
        """For each vector and size of code: drop the error code, skip a few bytes, return."""
        for vector in range(256):
            skip, coded = bytes([chance.randrange(1, 7)]), vector in CODED
            memory.write(SKIP_64 + 16 * vector, skipper(vector, skip))
            memory.write(SKIP_32 + 16 * vector,
                         bytes.fromhex("83c404") * coded + bytes.fromhex("830424") + skip + b"\xcf")
            memory.write(SKIP_16 + 16 * vector, bytes.fromhex("5589e5834602") + skip + b"\x5d\xcf")

    def page_tables(self, memory: Memory, chance: random.Random) -> None:
        def put(at: int, n: int, value: int, size: int = 8) -> None:
            memory.write(at + size * n, value.to_bytes(size, "little"))

        flags = P | W | U | A | D
        for number, root in enumerate(LONG_ROOTS):
            middle, low, pages = (TABLES + 0x1000 * (n + 3 * number) for n in (2, 3, 4))
            put(root, 0, middle | P | W | U)
            put(root, 256, middle | P | W)
            put(middle, 0, low | P | W | U)
            put(middle, 1, low | P | W | U)
            put(low, 0, pages | P | W | U | A)
            for n in range(RAM >> 12):
                put(pages, n, self.leaf(chance, n) | chance.choice((0,) * 20 + (NX,)))
            put(low, 1, PS | flags)
        put(middle, 1, TABLES + 0x9000 | P | W | U)
        put(TABLES + 0x9000, 0, PS | P | W | U)
        put(PAE_ROOT, 0, low | P)
        put(PAE_ROOT, 1, TABLES + 0x9000 | P)
        put(NARROW_ROOT, 0, TABLES + 0xB000 | P | W | U, 4)
        put(NARROW_ROOT, LARGE >> 22, PS | flags, 4)
        for n in range(RAM >> 12):
            put(TABLES + 0xB000, n, self.leaf(chance, n), 4)

    def leaf(self, chance: random.Random, n: int) -> int:
        """A page of RAM; now and then another one, or with odd rights, but not one of the system's tables."""
        rights = P | W | (U if n >= 8 and chance.random() < 0.85 else 0) | chance.choice((A | D, A | D, A, 0))
        if n >= 8 and chance.random() < 0.06:
            return chance.randrange(RAM + 0x2000 >> 12) << 12 | chance.getrandbits(7)
        return n << 12 | rights

    # Life.

    def begin(self, state: Any, chance: random.Random) -> None:
        reset(state, seed=chance.randbytes(32))
        mode = chance.choice(self.modes)
        cpl = 3 if mode.endswith("3") else 0
        if mode == "real":
            self.real(state, chance)
        else:
            self.protected(state, mode, cpl)
        state.pc = u64(self.start(chance))
        state.star, state.lstar = u64(0x0028_0008 << 32), u64(self.entry(chance))
        state.sfmask, state.kernel_gs_base = u64(chance.choice((0, 0x300))), u64(self.pointer(chance) >> 20)
        state.sysenter_cs, state.sysenter_eip = u64(8), u64(self.entry(chance))
        state.sysenter_esp = u64(MORE + 0x3000)
        state.set_rflags(u64(chance.choice((2, 0x202, 0x202, 0x302, 0x4_0202,
                                            0x3202)) | chance.getrandbits(12) & 0x8D5))
        self.registers_at_random(state, chance)
        state.smbase = u64(MORE)
        self.breakpoints(state, chance)
        state.forget_translations()
        state.settle_mode()

    def breakpoints(self, state: Any, chance: random.Random) -> None:
        """Some on data and code, in one life of five, and as often branches watched, alignment checked; CR4.DE, VME and
        PVI now and then."""
        state.cr4 = state.cr4 | u64(chance.choice((0, 0, 0, 8, 1, 3)))
        for n in range(4):
            state.dr[n] = u64(chance.choice((self.entry(chance), self.pointer(chance), self.pointer(chance))))
        state.held[AT_DEBUGCTL] = u64(chance.randrange(1, 4) if chance.random() < 0.2 else 0)
        state.set_dr7(u64(chance.getrandbits(32) if chance.random() < 0.2 else 0))
        if chance.random() < 0.2:
            state.cr0, state.flags = state.cr0 | CR0_AM, state.flags | AC

    def real(self, state: Any, chance: random.Random) -> None:
        for n in range(6):
            state.segments[n].selector = u16(chance.choice((0, 0x1000, 0x2000, 0x800)))
            state.segments[n].base = u64(state.segments[n].selector) << 4
        state.segments[1].selector, state.segments[1].base = u16(CODE >> 4), u64(CODE)
        state.idtr.limit = u32(0x3FF)

    def protected(self, state: Any, mode: str, cpl: int) -> None:
        name = mode.split()[0]
        long = name in ("long", "compatible")
        code = {"long": 0xA09B, "compatible": 0xC09B}.get(name, 0x009B if mode == "protected 16" else 0xC09B)
        selector = {"long": (0x08, 0x30), "compatible": (0x18, 0x28)}.get(name, (0x18, 0x28))[cpl == 3]
        for n in range(6):
            self.segment(state.segments[n], 0x38 | 3 if cpl else 0x10, 0xC093 | cpl << 5)
        self.segment(state.segments[1], selector | cpl, code | cpl << 5)
        self.segment(state.tr, 0x40, 0x8B)
        self.segment(state.ldtr, 0x50, 0x82)
        state.tr.base, state.tr.limit = u64(TSS), u32(0x67)
        state.ldtr.base, state.ldtr.limit = u64(LDT), u32(0x7F)
        state.cr0 = u64(0x11 if name == "protected" else 0x8001_0033)
        state.cr3 = u64(LONG_ROOTS[0] if long else PAE_ROOT if name == "pae" else NARROW_ROOT)
        state.cr4 = u64(0x610 if name in ("paged", "protected") else 0x6A0)
        state.efer = u64(0xD01 if long else 0x801)
        state.gdtr.base, state.gdtr.limit = u64(GDT), u32(8 * len(DESCRIPTORS) - 1)
        state.idtr.base, state.idtr.limit = u64(IDT_LONG if long else IDT), u32(0xFFF if long else 0x7FF)
        state.cpl = u8(cpl)

    @staticmethod
    def segment(place: Any, selector: int, access: int) -> None:
        place.base, place.limit = u64(0), u32(0xFFFF_FFFF)
        place.selector, place.access = u16(selector), u16(access)

    def registers_at_random(self, state: Any, chance: random.Random) -> None:
        for n in range(16):
            state.r[n] = u64(self.value(chance))
        state.r[4] = u64(MORE + chance.randrange(0x800, 0x6000) & ~7)
        state.r[1] = u64(chance.choice((0, 1, 5, 100, self.value(chance))))

    def disturb(self, state: Any, memory: Memory, chance: random.Random) -> None:
        """New registers, interrupts, another place."""
        kind = chance.randrange(5)
        if kind == 0:
            self.registers_at_random(state, chance)
        elif kind == 1:
            state.intr = u64(1)
        elif kind == 2:
            state.nmi, state.smi = u64(chance.randrange(2)), u64(chance.randrange(2))
        elif int(state.pc) >> 17:
            state.pc = u64(self.start(chance))

    def lost(self, state: Any) -> bool:
        at = int(state.pc) & 0x1F_FFFF
        return not (CODE <= at < MORE or SKIP_16 <= at < SKIP_64 + 0x1000)

    def interrupt(self, vcpu: SoftVcpu, chance: random.Random) -> None:
        vcpu.state.intr = u64(0)
        vcpu.call("inject", chance.randrange(16, 256))

    def show(self, state: Any, memory: Memory) -> str:
        try:
            at = int(state.walk(state.pc, u64(2)))
            code = memory.read(at, 16)
            text = next(iter(Disassembler(int(state.code_bits)).lines(code, int(state.pc))))
            shown = f"{text[1].hex(' ')}  {text[2]}"
        except Exception:
            shown = "no instruction"
        state.exit = u64(0)
        return (f"pc {int(state.pc):#x} cpl {int(state.cpl)} {int(state.code_bits)}-bit "
                f"cr0 {int(state.cr0):#x} cr3 {int(state.cr3):#x} rflags {int(state.rflags()):#x}: {shown}")
