"""Virtual-8086 mode with the extensions VME, and protected-mode virtual interrupts, PVI (SDM 3B, 21.2, 21.3 and 21.4).

With IOPL below 3, VIF stands for IF: CLI, STI, PUSHF, POPF, IRET act on it, and INT n may go straight to the program's
own vector table.
"""

from guesthouse.bits import select, u16, u32, u64, unlikely
from guesthouse.system.cpu.x86.flags import IF, IOPL, RF, TF, VIF, VIP, VM
from guesthouse.system.cpu.x86.segments import TSS
from guesthouse.system.cpu.x86.state import CS, RSP, SS, VECTOR_GP
from guesthouse.system.cpu.x86.system_state import CR4_PVI, CR4_VME
from guesthouse.system.cpu.x86.tasks import Tasks
from guesthouse.typed import function

REDIRECTION = 32  # bytes of the interrupt redirection bitmap, which ends where the I/O permission bitmap begins
IO_BITMAP = 102  # where a TSS says where that is


class VirtualMode(Tasks):
    """What IOPL, VME and PVI decide."""

    def has_virtual_interrupts(self):
        """Whether VIF stands for IF in CLI and STI."""
        extension = select(self.flags & VM != 0, u64(CR4_VME), u64(CR4_PVI))
        return self.cpl == 3 and self.flags & IOPL != IOPL and self.cr4 & extension != 0

    def flags_are_virtual(self, size: u64):
        """Whether PUSHF, POPF and IRET of this size have VIF for IF; #GP(0) if virtual-8086 code may not use them."""
        if unlikely(self.flags & VM != 0) and self.flags & IOPL != IOPL:
            if self.cr4 & CR4_VME == 0 or size != 2:
                self.raise_fault(VECTOR_GP)
            return True
        return False

    def virtual_image(self):
        """FLAGS as the program sees them: IF is VIF, IOPL is 3."""
        return self.rflags() & ~u64(IF | RF | VM) | IOPL | (self.flags & VIF) >> 10

    @function
    def take_virtual_image(self, image: u64) -> None:
        """The opposite; what VIF cannot stand for, a trap or an interrupt that waits, is #GP(0)."""
        if image & TF != 0 or image & IF != 0 and self.flags & VIP != 0:
            self.raise_fault(VECTOR_GP)
        kept = u64(IF | IOPL | 0xFFFF_0000) & ~u64(VIF | RF)
        self.set_rflags(self.rflags() & kept | image & ~kept & 0xFFFF | (image & IF) << 10)

    @function
    def is_redirected(self, vector: u64) -> bool:
        """Whether INT n of virtual-8086 code goes to the program's own handler: its bit in the TSS is clear."""
        if self.cr4 & CR4_VME == 0 or self.tr.access & 0x1D != TSS:
            return False
        if self.tr.limit < IO_BITMAP + 1:
            self.raise_fault(VECTOR_GP)
        at = self.system_load(u16, self.tr.base + IO_BITMAP) - REDIRECTION + (vector >> 3)
        if at > u64(self.tr.limit):
            self.raise_fault(VECTOR_GP)
        return self.system_load(u16, self.tr.base + at) >> (vector & 7) & 1 == 0

    @function
    def enter_redirected(self, vector: u64) -> None:
        """As real mode would, in the virtual-8086 program (SDM 3B, 21.3.3, methods 5 and 6)."""
        pointer = self.system_load(u32, vector * 4)
        virtual = self.flags & IOPL != IOPL
        image = select(virtual, self.virtual_image(), self.rflags())
        base, top = self.segments[SS].base, self.r[RSP]
        self.store(u16, base + (top - 2 & 0xFFFF), u16(image))
        self.store(u16, base + (top - 4 & 0xFFFF), self.segments[CS].selector)
        self.store(u16, base + (top - 6 & 0xFFFF), u16(self.pc - self.segments[CS].base))
        self.set_rsp(top - 6)
        self.take_real_segment(u64(CS), pointer >> 16)
        self.pc = (pointer >> 16 << 4) + (pointer & 0xFFFF)
        self.flags = self.flags & ~(u64(TF) | select(virtual, u64(VIF), u64(IF)))
        self.stepping, self.shadow = u64(0), u64(0)
        self.settle_mode()
