"""Traps: exceptions and interrupts, delegation, and the way back (Volume II, 3.1.6 to 3.1.9, 3.3, 10.1;
Sstc).
"""

from guesthouse.bits import u16, u64
from guesthouse.engine.cpu import NONE
from guesthouse.system.cpu.riscv.causes import (
    BREAKPOINT, ILLEGAL, INTERRUPT, MACHINE, MIE, MPIE, MPP, MPRV, ORDER, SIE, SPIE, SPP, STCE, STIP,
    SUPERVISOR,
)
from guesthouse.system.cpu.riscv.paging import Paging
from guesthouse.typed import Abandon, function, load

NO_RESERVATION = (1 << 64) - 1
TICK = 100  # nanoseconds: time counts at 10 MHz


class Traps(Paging):
    """How control passes between the modes."""

    @function
    def deliver(self) -> None:
        """The engine's: make the fault the guest's exception. pc is the faulting instruction's."""
        cause, value = self.fault, self.fault_address
        if cause == ILLEGAL:
            value = self.bits_here()
        if cause == BREAKPOINT:
            value = self.pc
        self.trap(cause, value)

    @function
    def bits_here(self) -> u64:
        """The instruction at pc, read again (3.1.16); 0 if that is no longer possible."""
        bits = u64(0)
        try:
            bits = u64(load(u16, self.fetch(self.pc)))
            if bits & 3 == 3:
                bits = bits | u64(load(u16, self.fetch(self.pc + 2))) << 16
        except Abandon:
            self.exit = u64(NONE)
            bits = u64(0)
        return bits

    @function
    def trap(self, cause: u64, value: u64) -> None:
        """Enter the handler of the mode that this trap belongs to."""
        delegated = self.medeleg
        if cause & INTERRUPT != 0:
            delegated = self.mideleg
        self.reserved = u64(NO_RESERVATION)
        status = self.mstatus
        if self.mode != MACHINE and delegated >> (cause & 63) & 1 != 0:
            self.scause, self.sepc, self.stval = cause, self.pc, value
            self.mstatus = status & ~u64(SIE | SPIE | SPP) | (status & SIE) << 4 | self.mode << 8
            self.enter(u64(SUPERVISOR), self.stvec, cause)
        else:
            self.mcause, self.mepc, self.mtval = cause, self.pc, value
            self.mstatus = status & ~u64(MIE | MPIE | MPP) | (status & MIE) << 4 | self.mode << 11
            self.enter(u64(MACHINE), self.mtvec, cause)

    def enter(self, mode, vector, cause):
        """Bit 0 of xtvec: interrupts have an entry each."""
        self.mode = mode
        self.pc = vector & ~u64(3)
        if vector & 1 != 0 and cause & INTERRUPT != 0:
            self.pc = self.pc + (cause & 63) * 4
        self.settle()

    def leave_machine(self):
        """MRET (3.3.2)."""
        status = self.mstatus
        self.mode = (status & MPP) >> 11
        self.mstatus = status & ~u64(MIE | MPP) | (status & MPIE) >> 4 | MPIE
        self.resume(self.mepc)

    def leave_supervisor(self):
        """SRET."""
        status = self.mstatus
        self.mode = (status & SPP) >> 8
        self.mstatus = status & ~u64(SIE | SPP) | (status & SPIE) >> 4 | SPIE
        self.resume(self.sepc)

    @function
    def resume(self, pc: u64) -> None:
        if self.mode != MACHINE:
            self.mstatus = self.mstatus & ~u64(MPRV)
        self.reserved = u64(NO_RESERVATION)
        self.pc = pc
        self.settle()

    # Interrupts.

    def time(self):
        return self.now() // TICK

    def pending(self):
        """mip as an instruction reads it, with the timer of Sstc."""
        if self.menvcfg & STCE != 0:
            self.mip = self.mip & ~u64(STIP)
            if self.time() >= self.stimecmp:
                self.mip = self.mip | STIP
        return self.mip | self.seip

    @function
    def poll(self) -> None:
        """The engine's: take the most important enabled interrupt (3.1.9)."""
        waiting = self.pending() & self.mie
        if waiting == 0:
            return
        taken = u64(0)
        if self.mode != MACHINE or self.mstatus & MIE != 0:
            taken = waiting & ~self.mideleg
        if taken == 0 and (self.mode < SUPERVISOR or self.mode == SUPERVISOR and self.mstatus & SIE != 0):
            taken = waiting & self.mideleg
        for n in ORDER:
            if taken & (1 << n) != 0:
                self.trap(u64(INTERRUPT | n), u64(0))
                return
