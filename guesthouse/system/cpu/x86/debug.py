"""Breakpoints, branches and alignment: the debug registers and IA32_DEBUGCTL, what is found between instructions that
is due as #DB (SDM 3B, 18), and #AC (SDM 3A, 6.15, interrupt 17).

While somebody debugs every instruction runs alone (STEP), and pages with data breakpoints stay out of the address
cache, as all of them do while alignment is checked: a processor that nobody debugs pays nothing. RF is kept only
meanwhile, for it means nothing else. An instruction's own reads of tables (descriptors, TSS) meet no breakpoint.

Branches are recorded as the first Atoms do it (18.8): eight pairs of linear addresses, and the last before an
exception. A branch to the next instruction is taken for none. Alignment is that of AMD's processors, which ask it of
16 bytes, too, and before they look at the page. Not modelled: branch trace messages and stores, bus-lock and
transaction breakpoints.
"""

from guesthouse.bits import i64, select, u64, unlikely
from guesthouse.engine.cpu import PAGE, WRITE
from guesthouse.system.cpu.x86.flags import RF
from guesthouse.system.cpu.x86.held import HELD
from guesthouse.system.cpu.x86.operands import Decoded
from guesthouse.system.cpu.x86.state import VECTOR_AC
from guesthouse.system.cpu.x86.system_state import ALIGNMENT, CR4_DE, SystemState
from guesthouse.typed import Pointer, function

ON_EXECUTE, ON_WRITE, ON_PORT, ON_ACCESS = range(4)  # DR7.R/W
SIZES = 0x4821  # by DR7.LEN, four bits each
ENABLED, LOCAL = 0xFF, 0x155  # L0 to L3 with G0 to G3; what a task switch clears
DR6_FIXED, DR6_KEPT = 0xFFFF_0FF0, 0xE000
DR7_FIXED, DR7_KNOWN, DR7_GD = 0x400, 0xFFFF_23FF, 1 << 13
BD, BS, BT, HITS = 1 << 13, 1 << 14, 1 << 15, 0xF  # DR6

LBR, BTF = 1, 2  # IA32_DEBUGCTL: record branches; RFLAGS.TF steps from branch to branch
DEBUGCTL = 0x1D9
AT_DEBUGCTL, AT_TOP, AT_FROM, AT_TO, AT_LAST_FROM, AT_LAST_TO = (  # where these registers are among those held
    list(HELD).index(n) for n in (DEBUGCTL, 0x1C9, 0x40, 0x60, 0x1DD, 0x1DE))
RECORDS = 8
BRANCHES_WATCHED = 1 << 8  # in `breakpoints`
REPEATS = 2  # in `resuming`: the instruction is to run again, which is no branch


class Breakpoints(SystemState):
    """`earned` gathers bits for DR6 while an instruction runs; they are due when it has ended."""

    @function
    def set_dr7(self, value: u64) -> None:
        """A new DR7 is in force at the next instruction."""
        self.dr[7] = value & DR7_KNOWN | DR7_FIXED
        self.settle_breakpoints()

    @function
    def settle_breakpoints(self) -> None:
        """After a change of DR0 to DR3, DR7 or IA32_DEBUGCTL."""
        watched = select(self.held[AT_DEBUGCTL] != 0, u64(BRANCHES_WATCHED), u64(0))
        self.breakpoints, self.recording = self.dr[7] & ENABLED | watched, u64(0)
        self.watches = self.watches & ALIGNMENT
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
        """The engine's question before an access to memory: for data breakpoints, and for alignment."""
        if self.implicit == 0:
            self.need_aligned(va, size)
            kinds = select(access == WRITE, u64(1 << ON_WRITE | 1 << ON_ACCESS), u64(1 << ON_ACCESS))
            self.earned = self.earned | self.matches(self.seen(va), size, kinds)

    def seen(self, va: u64):
        """A linear address, without what lies above it outside IA-32e mode."""
        return select(self.long_mode(), va, va & 0xFFFF_FFFF)

    def can_be(self, va: u64):
        """Whether this is an address at all: the fault of one that is not canonical comes before #AC."""
        return not self.long_mode() or u64(i64(va << 16) >> 16) == va

    def need_aligned(self, va: u64, size: u64) -> None:
        """#AC(0), if alignment is checked. To be asked for an operand that is accessed in smaller parts."""
        if unlikely(self.watches & ALIGNMENT != 0):
            self.check_alignment(va, size)

    @function
    def check_alignment(self, va: u64, size: u64) -> None:
        if va & (size - 1) != 0 and self.can_be(va):
            self.raise_fault(VECTOR_AC)

    def watched(self, page: u64):
        """Whether a data breakpoint lies in this page, or alignment is checked in all of them."""
        found = self.watches & ALIGNMENT != 0 and self.implicit == 0
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
            self.resuming = u64(REPEATS)

    def kept_flags(self, image: u64):
        """An image of RFLAGS that IRET or a task switch takes: RF is good for one instruction, if at all."""
        self.resuming = u64(1)
        return select(self.breakpoints != 0, image, image & ~u64(RF))

    def tell_debugger(self, bits: u64) -> None:
        """DR6 for a #DB that is delivered now."""
        self.dr[6] = self.dr[6] & DR6_KEPT | DR6_FIXED | bits

    # Branches, SDM 3B, 18.4.

    @function
    def has_branched(self) -> bool:
        """Whether the instruction that has ended, which ran alone, has gone elsewhere than to the next one."""
        if self.held[AT_DEBUGCTL] == 0 or self.resuming == REPEATS:
            return False
        return self.pc != self.start + u64(Pointer[Decoded](self.scratch.address)[0].length)

    @function
    def record_branch(self, source: u64) -> None:
        """From there to cpu.pc."""
        n = self.held[AT_TOP] + 1 & (RECORDS - 1)
        self.held[AT_TOP], self.held[AT_FROM + n], self.held[AT_TO + n] = n, source, self.pc

    @function
    def record_event(self, source: u64) -> None:
        """An interrupt or exception, whose handler is at cpu.pc now: what came last before it is kept apart."""
        n = self.held[AT_TOP]
        self.held[AT_LAST_FROM], self.held[AT_LAST_TO] = self.held[AT_FROM + n], self.held[AT_TO + n]
        self.record_branch(source)

    @function
    def stop_watching_branches(self) -> None:
        """#DB clears LBR and BTF before its handler runs."""
        self.held[AT_DEBUGCTL] = u64(0)
        self.settle_breakpoints()

    def leave_task_breakpoints(self) -> None:
        """A task switch clears the local enables."""
        if self.dr[7] & LOCAL != 0:
            self.set_dr7(self.dr[7] & ~u64(LOCAL))
