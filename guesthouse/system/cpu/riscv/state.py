"""The registers of a hart, by the names of the manual (Volume I, 2.1; Volume II, chapters 2, 3 and 10).

`mip` is also where the board shows its interrupt lines, between two runs. Counters are kept as the difference
from guest time. misa, the vendor's registers and the event counters are constants and have no field.
"""

from guesthouse.bits import u8, u64
from guesthouse.engine.cpu import FAULT
from guesthouse.engine.processor import Processor
from guesthouse.system.cpu.riscv.causes import FS, ILLEGAL
from guesthouse.system.cpu.softfloat import Environment
from guesthouse.typed import Abandon, Array

PMP_ENTRIES = 16


class State(Processor):
    """What a hart is made of. The classes of paging, traps and csr add what it does."""

    start: u64
    x: Array[u64, 256]  # 32 are real; 32 takes what is written to x0; so many that any u8 is an index
    f: Array[u64, 256]  # singles are NaN-boxed
    fp: Environment  # fflags and frm
    mode: u64  # USER, SUPERVISOR or MACHINE
    mhartid: u64
    sbi: u64  # the board is the firmware: ECALL from supervisor mode is an exit
    reserved: u64  # address that LR reserved, and 1 if it was LR.D; all ones: none
    reserved_value: u64
    mstatus: u64
    mtvec: u64
    medeleg: u64
    mideleg: u64
    mie: u64
    mip: u64
    seip: u64  # the supervisor external interrupt bit that software wrote; the line's is in mip
    mepc: u64
    mcause: u64
    mtval: u64
    mscratch: u64
    mcounteren: u64
    menvcfg: u64
    cycles: u64  # mcycle minus guest time
    instructions: u64  # minstret minus guest time
    stvec: u64
    sepc: u64
    scause: u64
    stval: u64
    sscratch: u64
    scounteren: u64
    senvcfg: u64
    satp: u64
    stimecmp: u64
    pmpcfg: Array[u8, PMP_ENTRIES]
    pmpaddr: Array[u64, PMP_ENTRIES]
    pmp_start: Array[u64, PMP_ENTRIES]  # the same as ranges of bytes; length 0: off
    pmp_length: Array[u64, PMP_ENTRIES]
    pmp_used: u64  # no entry from this one on is in use
    data_as: u64  # how MPRV changes what machine mode may access: see paging.settle
    wide: Array[u64, 64]  # hashed set of the large pages that the address cache may hold pieces of

    def raise_fault(self, cause, value):
        """Give up this instruction with an exception; `value` is for xtval."""
        self.fault = u64(cause)
        self.fault_address = value
        self.exit = u64(FAULT)
        raise Abandon

    def illegal(self):
        """The illegal-instruction exception; deliver() finds the bits for xtval."""
        self.raise_fault(ILLEGAL, u64(0))

    def use_floats(self):
        """Illegal while the floating-point unit is off (P3.1.6.6)."""
        if self.mstatus & FS == 0:
            self.illegal()
