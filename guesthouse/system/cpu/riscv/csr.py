"""Control and status registers (Volume II, chapters 2, 3 and 10; Zicsr, Zicntr, Zihpm, Sstc) and their six
instructions.

Each register is one line of `CSRS`: number, name, section, and either the field it is with the bits that can
be written, or how it is read and written. Event counters are zero and their selectors too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.cpu import BUDGET
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.riscv.causes import (
    CBCFE, CBIE, CBZE, FIOM, FS, MACHINE, MIE, MPIE, MPP, MPRV, MXR, SD, SEIP, SIE, SPIE, SPP, SSIP, STCE,
    STIP, SUM, SUPERVISOR, SUPERVISOR_INTERRUPTS, SXL, TSR, TVM, TW, USER, UXL,
)
from guesthouse.system.cpu.riscv.formats import Number, Small, X, op
from guesthouse.system.cpu.riscv.paging import SV39, SV48
from guesthouse.system.cpu.riscv.state import State
from guesthouse.system.cpu.riscv.traps import Traps
from guesthouse.typed import Value, function

ALL = (1 << 64) - 1
MISA = 2 << 62 | sum(1 << ord(letter) - ord("A") for letter in "ABCDFIMSU")
MSTATUS = SIE | MIE | SPIE | MPIE | SPP | MPP | FS | MPRV | SUM | MXR | TVM | TW | TSR
SSTATUS = SIE | SPIE | SPP | FS | SUM | MXR
MEDELEG = 0xB3FF  # all but calls from machine mode
INTERRUPTS = 0xAAA
ENVCFG = FIOM | CBIE | CBCFE | CBZE
PMPCFG0, PMPCFG2, PMPADDR0 = 0x3A0, 0x3A2, 0x3B0
MIP = 0x344


# Readers and writers of the registers that are more than a field.


def read_mstatus(hart):
    """SD sums up FS (3.1.6.6)."""
    dirty = u64(hart.mstatus & FS == FS) << 63
    return hart.mstatus | dirty | UXL | SXL


def read_sstatus(hart):
    return read_mstatus(hart) & u64(SSTATUS | SD | UXL)


def change_status(hart, value, mask):
    """MPP cannot be 2, which is no mode."""
    new = hart.mstatus & ~u64(mask) | value & mask
    if new & MPP == 2 << 11:
        new = new & ~u64(MPP) | hart.mstatus & MPP
    if (new ^ hart.mstatus) & MXR != 0:
        hart.flush()
    hart.mstatus = new
    hart.settle()


def write_mstatus(hart, value):
    change_status(hart, value, MSTATUS)


def write_sstatus(hart, value):
    change_status(hart, value, SSTATUS)


def read_mip(hart):
    return hart.pending()


def write_mip(hart, value):
    """Only what software pends; the timer bit is read-only where Sstc makes it (P3.1.9)."""
    mask = u64(SSIP | STIP)
    if hart.menvcfg & STCE != 0:
        mask = u64(SSIP)
    hart.mip = hart.mip & ~mask | value & mask
    hart.seip = value & SEIP


def read_sip(hart):
    return hart.pending() & hart.mideleg


def write_sip(hart, value):
    mask = hart.mideleg & SSIP
    hart.mip = hart.mip & ~mask | value & mask


def read_sie(hart):
    return hart.mie & hart.mideleg


def write_sie(hart, value):
    hart.mie = hart.mie & ~hart.mideleg | value & hart.mideleg


def write_satp(hart, value):
    """A mode that is not there: the write has no effect (10.1.11). Only a change of mode needs no SFENCE.VMA.
    """
    mode = value >> 60
    if mode == 0 or mode == SV39 or mode == SV48:
        changed = (hart.satp ^ value) >> 60 != 0
        hart.satp = value
        if changed:
            hart.forget_translations()
        hart.enter_space(hart.asid(), True)
        hart.settle()


def write_stimecmp(hart, value):
    """The board ends the present run: it must not allow more instructions than there are until then."""
    hart.stimecmp = value
    hart.exit = u64(BUDGET)


def read_fflags(hart):
    return hart.fp.flags


def write_fflags(hart, value):
    hart.fp.flags = value & 31
    hart.mstatus = hart.mstatus | FS


def read_frm(hart):
    return hart.fp.rounding


def write_frm(hart, value):
    hart.fp.rounding = value & 7
    hart.mstatus = hart.mstatus | FS


def read_fcsr(hart):
    return hart.fp.rounding << 5 | hart.fp.flags


def write_fcsr(hart, value):
    hart.fp.flags, hart.fp.rounding = value & 31, value >> 5 & 7
    hart.mstatus = hart.mstatus | FS


# Who may touch a register, beyond what its number says.


def with_floats(hart):
    return hart.mstatus & FS != 0


def with_virtual_memory(hart):
    return hart.mode != SUPERVISOR or hart.mstatus & TVM == 0


def with_timer(hart):
    """Sstc: machine mode always; supervisor mode if both TM and STCE say so."""
    return hart.mode == MACHINE or hart.mcounteren & 2 != 0 and hart.menvcfg & STCE != 0


def counted(n):
    """Counter n for the lower modes: mcounteren, and for user mode scounteren too (3.1.11)."""
    def allowed(hart):
        below = hart.mode == MACHINE or hart.mcounteren >> n & 1 != 0
        return below and (hart.mode != USER or hart.scounteren >> n & 1 != 0)
    return allowed


def always(hart):
    return True


@dataclass(frozen=True)
class Csr(Value):
    """One register. Without `reads` it is the field of its name; without `writes` the bits of `mask` can be
    written.
    """

    number: int
    name: str
    section: str
    mask: int = 0
    reads: Callable[[Any], Any] | None = None
    writes: Callable[[Any, Any], None] | None = None
    allowed: Callable[[Any], bool] = always

    def read(self, hart):
        if self.reads is not None:
            return self.reads(hart)
        return hart.peek(u64, State.offset(self.name))

    def write(self, hart, value):
        if self.writes is not None:
            self.writes(hart, value)
        elif self.mask != 0:
            place = State.offset(self.name)
            hart.poke(u64, place, hart.peek(u64, place) & ~u64(self.mask) | value & self.mask)


def constant(value):
    def read(hart):
        return u64(value)
    return read


def counter(name):
    """mcycle and minstret as differences from guest time."""
    def read(hart):
        return hart.now() + hart.peek(u64, State.offset(name))
    return read


def counter_set(name):
    """The next instruction reads what was written."""
    def write(hart, value):
        hart.poke(u64, State.offset(name), value - hart.now() - 1)
    return write


def protection(first):
    def read(hart):
        return hart.read_pmpcfg(first)
    return read


def protection_set(first):
    def write(hart, value):
        hart.write_pmpcfg(u64(first), value)
    return write


def read_time(hart):
    return hart.time()


CSRS = (
    Csr(0x001, "fflags", "20.2", reads=read_fflags, writes=write_fflags, allowed=with_floats),
    Csr(0x002, "frm", "20.2", reads=read_frm, writes=write_frm, allowed=with_floats),
    Csr(0x003, "fcsr", "20.2", reads=read_fcsr, writes=write_fcsr, allowed=with_floats),
    Csr(0xC00, "cycle", "8.1", reads=counter("cycles"), allowed=counted(0)),
    Csr(0xC01, "time", "8.1", reads=read_time, allowed=counted(1)),
    Csr(0xC02, "instret", "8.1", reads=counter("instructions"), allowed=counted(2)),
    *(Csr(0xC00 + n, f"hpmcounter{n}", "8.2", reads=constant(0), allowed=counted(n)) for n in range(3, 32)),
    Csr(0x100, "sstatus", "P10.1.1", reads=read_sstatus, writes=write_sstatus),
    Csr(0x104, "sie", "P10.1.3", reads=read_sie, writes=write_sie),
    Csr(0x105, "stvec", "P10.1.2", ALL & ~2),
    Csr(0x106, "scounteren", "P10.1.5", 0xFFFF_FFFF),
    Csr(0x10A, "senvcfg", "P10.1.10", ENVCFG),
    Csr(0x140, "sscratch", "P10.1.6", ALL),
    Csr(0x141, "sepc", "P10.1.7", ALL & ~1),
    Csr(0x142, "scause", "P10.1.8", ALL),
    Csr(0x143, "stval", "P10.1.9", ALL),
    Csr(0x144, "sip", "P10.1.3", reads=read_sip, writes=write_sip),
    Csr(0x14D, "stimecmp", "P14", writes=write_stimecmp, allowed=with_timer),
    Csr(0x180, "satp", "P10.1.11", writes=write_satp, allowed=with_virtual_memory),
    Csr(0xF11, "mvendorid", "P3.1.2", reads=constant(0)),
    Csr(0xF12, "marchid", "P3.1.3", reads=constant(0)),
    Csr(0xF13, "mimpid", "P3.1.4", reads=constant(0)),
    Csr(0xF14, "mhartid", "P3.1.5"),
    Csr(0xF15, "mconfigptr", "P3.1.17", reads=constant(0)),
    Csr(0x300, "mstatus", "P3.1.6", reads=read_mstatus, writes=write_mstatus),
    Csr(0x301, "misa", "P3.1.1", reads=constant(MISA)),
    Csr(0x302, "medeleg", "P3.1.8", MEDELEG),
    Csr(0x303, "mideleg", "P3.1.8", SUPERVISOR_INTERRUPTS),
    Csr(0x304, "mie", "P3.1.9", INTERRUPTS),
    Csr(0x305, "mtvec", "P3.1.7", ALL & ~2),
    Csr(0x306, "mcounteren", "P3.1.11", 0xFFFF_FFFF),
    Csr(0x30A, "menvcfg", "P3.1.18", ENVCFG | STCE),
    Csr(0x320, "mcountinhibit", "P3.1.12", reads=constant(0)),
    Csr(0x340, "mscratch", "P3.1.13", ALL),
    Csr(0x341, "mepc", "P3.1.14", ALL & ~1),
    Csr(0x342, "mcause", "P3.1.15", ALL),
    Csr(0x343, "mtval", "P3.1.16", ALL),
    Csr(MIP, "mip", "P3.1.9", reads=read_mip, writes=write_mip),
    Csr(0x7A0, "tselect", "Debug 5.7.1", reads=constant(0)),  # there are no triggers: type 0
    *(Csr(0x7A0 + n, f"tdata{n}", "Debug 5.7.2", reads=constant(0)) for n in (1, 2, 3)),
    Csr(0xB00, "mcycle", "P3.1.10", reads=counter("cycles"), writes=counter_set("cycles")),
    Csr(0xB02, "minstret", "P3.1.10", reads=counter("instructions"), writes=counter_set("instructions")),
    *(Csr(0xB00 + n, f"mhpmcounter{n}", "P3.1.10", reads=constant(0)) for n in range(3, 32)),
    *(Csr(0x320 + n, f"mhpmevent{n}", "P3.1.10", reads=constant(0)) for n in range(3, 32)),
    Csr(PMPCFG0, "pmpcfg0", "P3.7.1", reads=protection(0), writes=protection_set(0)),
    Csr(PMPCFG2, "pmpcfg2", "P3.7.1", reads=protection(8), writes=protection_set(8)),
)


class Csrs(Traps):
    """Access to the registers by number."""

    @function
    def read_csr(self, number: u64) -> u64:
        """The register's value, or the illegal-instruction exception (2.1)."""
        if (number >> 8 & 3) > self.mode:
            self.illegal()
        for csr in CSRS:
            if number == csr.number:
                if not csr.allowed(self):
                    self.illegal()
                return csr.read(self)
        if number - PMPADDR0 >= 16:
            self.illegal()
        return self.read_pmpaddr(number - PMPADDR0)

    @function
    def write_csr(self, number: u64, value: u64) -> None:
        """After read_csr, which has checked everything but this: whether the register can be written."""
        if number >> 10 == 3:
            self.illegal()
        for csr in CSRS:
            if number == csr.number:
                csr.write(self, value)
                return
        self.write_pmpaddr(number - PMPADDR0, value)

    def to_change(self, number, value):
        """What CSRRS and CSRRC start from: of mip's SEIP only the bit that software wrote (P3.1.9)."""
        if number == MIP:
            return value & ~u64(SEIP) | self.seip
        return value


# Instructions (chapter 7). A read alone does not write, and cannot change what comes next.


@op("csr[11:0] 00000 010 rd 1110011", "7.1", counts=True)
@op("csr[11:0] 00000 011 rd 1110011", "7.1", counts=True, name="csrrc")
@op("csr[11:0] 00000 110 rd 1110011", "7.1", counts=True, name="csrrsi")
@op("csr[11:0] 00000 111 rd 1110011", "7.1", counts=True, name="csrrci")
def csrr(hart, rd: X, csr: Number):
    hart.x[rd] = hart.read_csr(csr)


@op("csr[11:0] rs1 001 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrw(hart, rd: X, csr: Number, rs1: X):
    old = hart.read_csr(csr)
    hart.write_csr(csr, hart.x[rs1])
    hart.x[rd] = old


@op("csr[11:0] rs1 010 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrs(hart, rd: X, csr: Number, rs1: X):
    old = hart.read_csr(csr)
    hart.write_csr(csr, hart.to_change(csr, old) | hart.x[rs1])
    hart.x[rd] = old


@op("csr[11:0] rs1 011 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrc(hart, rd: X, csr: Number, rs1: X):
    old = hart.read_csr(csr)
    hart.write_csr(csr, hart.to_change(csr, old) & ~hart.x[rs1])
    hart.x[rd] = old


@op("csr[11:0] uimm[4:0] 101 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrwi(hart, rd: X, csr: Number, uimm: Small):
    old = hart.read_csr(csr)
    hart.write_csr(csr, u64(uimm))
    hart.x[rd] = old


@op("csr[11:0] uimm[4:0] 110 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrsi(hart, rd: X, csr: Number, uimm: Small):
    old = hart.read_csr(csr)
    hart.write_csr(csr, hart.to_change(csr, old) | u64(uimm))
    hart.x[rd] = old


@op("csr[11:0] uimm[4:0] 111 rd 1110011", "7.1", ends=LEAVES, counts=True)
def csrrci(hart, rd: X, csr: Number, uimm: Small):
    old = hart.read_csr(csr)
    hart.write_csr(csr, hart.to_change(csr, old) & ~u64(uimm))
    hart.x[rd] = old
