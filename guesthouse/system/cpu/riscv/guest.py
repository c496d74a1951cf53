"""The RISC-V guest: the whole state, and where its instructions are."""

from importlib import import_module
from typing import Any

from guesthouse.bits import u8, u16, u64
from guesthouse.engine.op import Guest
from guesthouse.engine.processor import ANYWHERE, Processor
from guesthouse.system.cpu.riscv.causes import MACHINE, STCE, SUPERVISOR, SUPERVISOR_INTERRUPTS
from guesthouse.system.cpu.riscv.csr import ENVCFG, MEDELEG, Csrs
from guesthouse.system.cpu.riscv.formats import RiscvRecord
from guesthouse.system.cpu.riscv.paging import PMP_NAPOT, PMP_R, PMP_W, PMP_X
from guesthouse.system.cpu.riscv.traps import NO_RESERVATION
from guesthouse.system.cpu.softfloat import RISCV as FLOAT_RULES
from guesthouse.typed import Pointer, function, load

ALL_ONES = (1 << 64) - 1


def instructions() -> Any:
    """The module of that name, which takes its time."""
    return import_module("guesthouse.system.cpu.riscv.instructions")


class Hart(Csrs):
    """A hart: the state with all that the engine and the board ask of it."""

    def home(self, pc: u64) -> u64:
        """The engine's: code can be anywhere."""
        return u64(ANYWHERE)

    @function
    def decode(self, start: u64, at: u64, code: u64, record: Pointer[RiscvRecord]) -> u64:
        """The engine's: one record for each instruction."""
        word = u64(load(u16, code)) | u64(load(u16, code + 2)) << 16
        decoder = instructions().DECODER
        decoder.write(decoder.find(word), word, at, record.address)
        return u64(1)

    def reset(self, pc: int = 0, hartid: int = 0) -> None:
        """What a reset does (P3.4): machine mode, everything off."""
        for name, field in type(self).fields.items():
            if field.annotation is u64 and name in Csrs.fields and name not in Processor.fields:
                setattr(self, name, u64(0))
        self.mode, self.pc, self.mhartid = u64(MACHINE), u64(pc), u64(hartid)
        self.reserved = u64(NO_RESERVATION)
        self.stimecmp = u64(ALL_ONES)
        self.fp.flags = self.fp.rounding = u64(0)
        self.fp.host = u64(FLOAT_RULES.inexact)
        for n in range(32):
            self.x[n] = self.f[n] = u64(0)
        for n in range(16):
            self.pmpcfg[n], self.pmpaddr[n] = u8(0), u64(0)
        self.protect_ranges()
        self.settle()

    def start_supervisor(self, pc: int, hartid: int, argument: int) -> None:
        """The state in which SBI firmware leaves a hart to an operating system, where the board is the
        firmware.
        """
        self.reset(pc, hartid)
        self.mode, self.sbi = u64(SUPERVISOR), u64(1)
        self.x[10], self.x[11] = u64(hartid), u64(argument)
        self.medeleg, self.mideleg = u64(MEDELEG), u64(SUPERVISOR_INTERRUPTS)
        self.mcounteren, self.menvcfg = u64(0xFFFF_FFFF), u64(STCE | ENVCFG)
        self.scounteren = u64(0xFFFF_FFFF)  # user programs read the time; the kernel leaves this
        self.pmpcfg[0], self.pmpaddr[0] = u8(PMP_NAPOT | PMP_R | PMP_W | PMP_X), u64(ALL_ONES >> 10)
        self.protect_ranges()
        self.settle()

    def wakes(self) -> bool:
        """Whether WFI would go on: something pending is enabled, in whatever mode (P3.3.3)."""
        return int(self.pending() & self.mie) != 0


ADDRESSES = frozenset(Hart.offset("x") + 8 * n for n in range(1, 32))
RISCV = Guest("riscv", Hart, RiscvRecord, lambda: instructions().DEFINED,
              sources=("guesthouse.system.cpu.riscv", "guesthouse.system.cpu.softfloat"),
              origin="guesthouse.system.cpu.riscv.guest:RISCV", calls=("outdate",),
              registers=("pc", "x", "f", "mstatus"), dialects=((0, 0),),
              bases=ADDRESSES, pages=ADDRESSES,
              settled=lambda mode: {"x": 0})  # the first of them, that is x0
