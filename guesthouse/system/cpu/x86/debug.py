"""Breakpoints: the debug registers, and what is found between instructions that is due as #DB (SDM 3B, 18).

While one is enabled in DR7 every instruction runs alone (STEP), and pages with data breakpoints stay out of the
address cache: a processor that nobody debugs pays nothing. RF is kept only meanwhile, for it means nothing else. An
instruction's own reads of tables (descriptors, TSS) meet no breakpoint. Not modelled: last-branch records, BTF, bus-
lock and transaction breakpoints.
"""

from guesthouse.bits import select, u64, unlikely
from guesthouse.engine.cpu import PAGE, WRITE
from guesthouse.system.cpu.x86.flags import RF
from guesthouse.system.cpu.x86.system_state import CR4_DE, SystemState
from guesthouse.typed import function

ON_EXECUTE, ON_WRITE, ON_PORT, ON_ACCESS = range(4)  # DR7.R/W
SIZES = 0x4821  # by DR7.LEN, four bits each
ENABLED, LOCAL = 0xFF, 0x155  # L0 to L3 with G0 to G3; what a task switch clears
DR6_FIXED, DR6_KEPT = 0xFFFF_0FF0, 0xE000
DR7_FIXED, DR7_KNOWN, DR7_GD = 0x400, 0xFFFF_23FF, 1 << 13
BD, BS, BT, HITS = 1 << 13, 1 << 14, 1 << 15, 0xF  # DR6


class Breakpoints(SystemState):
    """`earned` gathers bits for DR6 while an instruction runs; they are due when it has ended."""

    @function
    def set_dr7(self, value: u64) -> None:
        """A new DR7 is in force at the next instruction."""
        self.dr[7] = value & DR7_KNOWN | DR7_FIXED
        self.settle_breakpoints()

    @function
    def settle_breakpoints(self) -> None:
        """After a change of DR0 to DR3 or DR7."""
        self.breakpoints = self.dr[7] & ENABLED
        self.watches = u64(0)
        if self.breakpoints == 0:
            self.flags = self.flags & ~u64(RF)
        for n in range(4):
            kind = self.breakpoint_kind(n)
            if self.breakpoints >> 2 * n & 3 != 0 and (kind == ON_WRITE or kind == ON_ACCESS):
                self.watches = self.watches | 1 << n
                self.flush_page(self.dr[n])
        self.settle_privilege()

    def breakpoint_kind(self, n: int):
        return self.dr[7] >> 16 + 4 * n & 3

    @function
    def matches(self, first: u64, size: u64, kinds: u64) -> u64:
        """The breakpoints of these kinds (a bit for each) with a byte in [first, first + size), as DR6 has them: none,
        unless an enabled one is among them."""
        found, enabled = u64(0), False
        for n in range(4):
            length = u64(SIZES) >> (self.dr[7] >> 18 + 4 * n & 3) * 4 & 15
            start = self.dr[n] & ~(length - 1)
            if kinds >> self.breakpoint_kind(n) & 1 != 0 and (first - start < length or start - first < size):
                found = found | 1 << n
                enabled = enabled or self.breakpoints >> 2 * n & 3 != 0
        return select(enabled, found, u64(0))

    @function
    def watch(self, va: u64, size: u64, access: u64) -> None:
        """The engine's question before an access to memory, when data breakpoints are enabled."""
        if self.implicit == 0:
            kinds = select(access == WRITE, u64(1 << ON_WRITE | 1 << ON_ACCESS), u64(1 << ON_ACCESS))
            self.earned = self.earned | self.matches(self.seen(va), size, kinds)

    def seen(self, va: u64):
        """A linear address, without what lies above it outside IA-32e mode."""
        return select(self.long_mode(), va, va & 0xFFFF_FFFF)

    def watched(self, page: u64):
        """Whether a data breakpoint lies in this page."""
        found = False
        for n in range(4):
            found = found or self.watches >> n & 1 != 0 and self.dr[n] & ~u64(PAGE - 1) == self.seen(page)
        return found

    @function
    def watch_port(self, port: u64, size: u64) -> None:
        """Before an access to a port."""
        if self.breakpoints != 0 and self.cr4 & CR4_DE != 0:
            self.earned = self.earned | self.matches(port, size, u64(1 << ON_PORT))

    @function
    def at_breakpoint(self) -> u64:
        """The breakpoints on the instruction at pc, unless RF says that they have been met."""
        if self.breakpoints == 0 or self.flags & RF != 0:
            return u64(0)
        return self.matches(self.pc, u64(1), u64(1 << ON_EXECUTE))

    def repeat(self, here: u64) -> None:
        """Go on with the instruction that is running: the next step of a repetition. Its breakpoint has been met."""
        self.pc = here
        if unlikely(self.breakpoints != 0):
            self.flags = self.flags | RF
            self.resuming = u64(1)

    def kept_flags(self, image: u64):
        """An image of RFLAGS that IRET or a task switch takes: RF is good for one instruction, if at all."""
        self.resuming = u64(1)
        return select(self.breakpoints != 0, image, image & ~u64(RF))

    def tell_debugger(self, bits: u64) -> None:
        """DR6 for a #DB that is delivered now."""
        self.dr[6] = self.dr[6] & DR6_KEPT | DR6_FIXED | bits

    def leave_task_breakpoints(self) -> None:
        """A task switch clears the local enables."""
        if self.dr[7] & LOCAL != 0:
            self.set_dr7(self.dr[7] & ~u64(LOCAL))
