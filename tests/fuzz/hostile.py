"""The child of test_hostile.py: random code on the real boards, one line of output for each board that
survived.

Run as `python -m tests.fuzz.hostile pc|virt seed count`. What a guest can do wrong it shall do: each board
is filled with random code, its devices are in reach of every pointer and port, and it stands where a
loader has put it.
"""

from __future__ import annotations

import faulthandler
import random
import struct
import sys
from typing import Any

from guesthouse.bits import u32, u64
from guesthouse.clock import VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.manager.building import code_folder
from guesthouse.system.boards import board, pc, virt
from guesthouse.system.boards.outcome import AtBreakpoint, Died, OutOfTime, PoweredOff, Reset, Stopped
from guesthouse.system.cpu.riscv.guest import RISCV
from guesthouse.system.cpu.x86.guest import X86_GUEST
from tests.fuzz.riscv_life import CODE as RISCV_CODE
from tests.fuzz.riscv_life import RiscvLife
from tests.fuzz.x86_code import Coder
from tests.fuzz.x86_life import CODE, X86Life, gate, skipper

M64 = (1 << 64) - 1
MIB = 1 << 20
ROUNDS, INSTRUCTIONS, GUEST_TIME, HOST_SECONDS = 40, 4_000, 10_000_000_000, 20
OUTCOMES = (PoweredOff, Reset, Died, Stopped, OutOfTime, AtBreakpoint)
HANDLERS, STACK = 0x5_0000, 0x6_8000
KERNEL, LAPIC, IOAPIC = 0x10_0000, 0xFEE0_0000, 0xFEC0_0000
PORTS = (0x20, 0x21, 0x40, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xA0, 0xCF8, 0xCFC, 0xCFE, 0x3F8,
         0x3FD, 0x4D0, 0x505, 0x600, 0x604, 0x608)


def bzimage(chance: random.Random, code: bytes) -> bytes:
    """The least that the 64-bit boot protocol takes for a kernel."""
    header = bytearray(1024)
    for at, value in ((0x1F1, b"\1"), (0x1FE, b"\x55\xaa"), (0x201, b"\x68"), (0x202, b"HdrS\x0f\x02"),
                      (0x211, b"\1"), (0x22C, b"\xff\xff\xff\x7f"), (0x230, struct.pack("<I", MIB)),
                      (0x234, b"\1"), (0x236, b"\1"),
                      (0x238, struct.pack("<I", 2047)), (0x258, struct.pack("<Q", KERNEL)),
                      (0x260, struct.pack("<I", len(code)))):
        header[at:at + len(value)] = value
    return bytes(header) + code


def riscv_image(chance: random.Random, code: bytes) -> bytes:
    """An Image whose first instruction jumps over its header."""
    head = struct.pack("<IIQQQII8x8s4sI", 0x0400_006F, 0, 0, len(code) + 64, 0, 2, 0, b"RISCV", b"RSC\x05", 0)
    return head + code


class Pc:
    """The PC, in 64-bit mode or at the reset vector."""

    def __init__(self) -> None:
        self.life, self.code = X86Life(), engine(X86_GUEST, code_folder())

    def pointer(self, chance: random.Random) -> int:
        base = chance.choice((IOAPIC, LAPIC, KERNEL, KERNEL, 0, 0x7000, 0x3_0000, 0xC000_0000, 8 * MIB,
                              0xE_0000, chance.choice(PORTS), chance.choice(PORTS), chance.getrandbits(64)))
        return base + chance.choice((0, 0x10, 16 * chance.randrange(64), chance.randrange(-8, 8))) & M64

    def board(self, chance: random.Random) -> board.Board:
        made = pc.PcBoard(8 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST, self.code),
                          random_bytes=chance.randbytes, slice=1 << chance.randrange(4, 18))
        bits = chance.choice((64, 64, 32, 16))
        coder = Coder(chance, bits, self.pointer, lambda c: KERNEL + c.randrange(1 << 16))
        code = chance.randbytes(1 << 14) if chance.random() < 0.2 else coder.code(1 << 14)
        made.load_linux(bzimage(chance, bytes(0x200) + code * 8), b"", "")
        if bits != 64:  # the loaded state, but in a smaller mode or from reset
            made.memory.write(CODE, code * 4)
            self.life.system_tables(made.memory, chance)
            self.life.page_tables(made.memory, chance)
            self.life.begin(made.state, chance)
        else:
            self.long(made, chance)
        return made

    def long(self, made: board.Board, chance: random.Random) -> None:
        """Pointers in the registers, a stack, and handlers that skip what faults, or go anywhere."""
        for n in range(16):
            made.state.r[n] = u64(self.pointer(chance))
        made.state.r[4] = u64(STACK)
        made.state.idtr.base, made.state.idtr.limit = u64(0x1000), u32(0xFFF)
        for vector in range(256):
            target = HANDLERS + 16 * vector
            made.memory.write(target, skipper(vector, bytes([chance.randrange(1, 6)])))
            if chance.random() < 0.1:
                target = KERNEL + 0x200 + chance.randrange(1 << 16)
            made.memory.write(0x1000 + 16 * vector, gate(target, 0x8E, 0x10) + bytes(8))

    def nudge(self, made: board.Board, chance: random.Random) -> None:
        for n in range(16):
            if n != 4 and chance.random() < 0.5:
                made.state.r[n] = u64(self.pointer(chance))
        if made.state.code_bits == 64:
            made.state.pc = u64(KERNEL + 0x200 + chance.randrange(1 << 16))


class Virt:
    """The RISC-V machine, in supervisor mode over SBI or in machine mode."""

    def __init__(self) -> None:
        self.life, self.code = RiscvLife(), engine(RISCV, code_folder())
        self.life.devices = (virt.CLINT, virt.CLINT + 0x4000, virt.CLINT + 0xBFF8, virt.PLIC,
                             virt.PLIC + 0x2000,
                             virt.PLIC + 0x20_0000, virt.TEST, virt.RTC, virt.UARTS[0][0], virt.VIRTIO[0][0])

    def board(self, chance: random.Random) -> board.Board:
        made = virt.VirtBoard(8 * MIB, VirtualClock(), lambda memory: SoftVcpu(RISCV, self.code),
                              random_bytes=chance.randbytes, slice=1 << chance.randrange(4, 18))
        code = b"".join(self.life.code(chance))
        if chance.random() < 0.2:
            code = chance.randbytes(len(code))
        made.load_linux(riscv_image(chance, code.ljust(0x8000, b"\0") * 8), b"", "")
        if chance.random() < 0.5:
            self.life.begin(made.state, chance)
        else:
            self.life.registers_at_random(made.state, chance)
            made.state.stvec = u64(RISCV_CODE + 64 + 2 * chance.randrange(1 << 12))
        return made

    def nudge(self, made: board.Board, chance: random.Random) -> None:
        self.life.registers_at_random(made.state, chance)
        if chance.random() < 0.5:
            self.life.begin(made.state, chance)
        made.state.pc = u64(int(made.state.pc) & ~0xFFF | chance.randrange(0x1000) & ~1)


def attempt(kind: Pc | Virt, seed: int) -> str:
    """Run one board to its end, or as long as it may; what came of it. Between rounds it is put elsewhere."""
    chance = random.Random(seed)
    made = kind.board(chance)
    try:
        for _ in range(ROUNDS):
            outcome: Any = made.run(made.clock.now() + GUEST_TIME, instructions=INSTRUCTIONS,
                                    seconds=HOST_SECONDS)
            assert isinstance(outcome, OUTCOMES), outcome
            if not isinstance(outcome, OutOfTime):
                break
            if not made.vcpu.unfinished:  # type: ignore[attr-defined]
                kind.nudge(made, chance)
        assert isinstance(outcome, Died) or made.report("it was asked for")
        made.statistics()
        return f"{type(outcome).__name__} after {made.vcpu.count}"
    finally:
        made.close()


def main(kind: str, first: str, count: str) -> None:
    faulthandler.enable()
    made = {"pc": Pc, "virt": Virt}[kind]()
    for seed in range(int(first), int(first) + int(count)):
        print(seed, end=" ", flush=True)
        print(attempt(made, seed), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
