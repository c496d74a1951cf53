"""System-management mode: SMI, the state-save map, RSM (SDM 3C, 32; the map of 64-bit processors is that of AMD's APM
2, table 10-1, which firmware knows by the revision 20064h).

A board raises `smi` and may give the mode RAM of its own by filling `smm_ram`, whose host addresses must lie in the
same mapping. An SMI that comes while the mode runs waits for RSM. Not modelled: restart of I/O instructions, SMRAM
protected by range registers, the A20 gate's being open.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.cpu import DIED, HALTED, RANGES
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.debug import DR7_FIXED
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import VM
from guesthouse.system.cpu.x86.state import CS, VECTOR_UD, General, Segment
from guesthouse.system.cpu.x86.system_state import (
    CR0_CD, CR0_EM, CR0_NW, CR0_PE, CR0_PG, CR0_TS, CR4_PAE, EFER_LMA, EFER_LME, SystemState, TableRegister,
)
from guesthouse.system.cpu.x86.virtual8086 import VirtualMode
from guesthouse.typed import function, load, store

MAP, ENTRY = 0x8000, 0x8000  # from SMBASE: where the offsets below count from, and where the handler begins
REVISION, RELOCATES = 0x64, 1 << 17
RFLAGS, RIP, AUTO_HALT, REVISION_AT, BASE_AT = 0x7F70, 0x7F78, 0x7EC9, 0x7EFC, 0x7F00
WRITABLE = 0x8093  # CS too: a handler may write beside its code


def place(field: str) -> int:
    return SystemState.offset(field)


def segment_fields(at: int, where: int) -> list[tuple[int, type, int]]:
    """A segment register in the map."""
    return [(at, u16, where + Segment.offset("selector")), (at + 2, u16, where + Segment.offset("access")),
            (at + 4, u32, where + Segment.offset("limit")), (at + 8, u64, where + Segment.offset("base"))]


def table_fields(at: int, where: int) -> list[tuple[int, type, int]]:
    return [(at + 4, u32, where + TableRegister.offset("limit")), (at + 8, u64, where + TableRegister.offset("base"))]


# (offset in the map, type, offset in the state)
SAVED = [
    *((0x7FF8 - 8 * n, u64, General.offset("r") + 8 * n) for n in range(16)),
    (0x7F58, u64, place("cr0")), (0x7F50, u64, place("cr3")), (0x7F48, u64, place("cr4")), (0x7ED0, u64, place("efer")),
    (0x7F60, u64, place("dr") + 8 * 7), (0x7F68, u64, place("dr") + 8 * 6),
    *(row for n in range(6) for row in segment_fields(0x7E00 + 16 * n, General.offset("segments") + 16 * n)),
    *table_fields(0x7E60, place("gdtr")), *table_fields(0x7E80, place("idtr")),
    *segment_fields(0x7E70, place("ldtr")), *segment_fields(0x7E90, place("tr")),
]


class SystemManagement(VirtualMode):
    """The mode and the way back."""

    @function
    def management_store(self, kind: type, at: int, value: u64) -> None:
        """A value in the map; lost where there is no RAM."""
        host = self.host_to_write(self.smbase + (MAP + at))
        if host != 0:
            self.forget(host)
            store(kind, host, kind(value))
            self.tell_of_change(host, u64(kind.size))

    @function
    def management_load(self, kind: type, at: int) -> u64:
        host = self.host(self.smbase + (MAP + at))
        return u64(load(kind, host)) if host != 0 else ~u64(0)

    @function
    def exchange_memory(self) -> None:
        """Make the mode's view of RAM, if the board has given one, the processor's, or the opposite."""
        if self.smm_ram[0].length != 0:
            n = u64(0)
            while n <= RANGES:
                one, other = self.ram[n], self.smm_ram[n]
                one.start, other.start = other.start, one.start
                one.length, other.length = other.length, one.length
                one.host, other.host = other.host, one.host
                one.writable, other.writable = other.writable, one.writable
                n += 1

    @function
    def enter_management(self) -> None:
        """An SMI is taken (SDM 3C, 32.3 and 32.5)."""
        self.smi, self.smm = u64(0), u64(1)
        self.smm_nmi_blocked, self.nmi_blocked = self.nmi_blocked, u64(1)
        self.exchange_memory()
        for at, kind, where in SAVED:
            self.management_store(kind, at, u64(self.peek(kind, where)))
        self.management_store(u64, RFLAGS, self.rflags())
        self.management_store(u64, RIP, self.pc - self.segments[CS].base)
        self.management_store(u8, AUTO_HALT, self.halted)
        self.management_store(u32, REVISION_AT, u64(REVISION | RELOCATES))
        self.management_store(u32, BASE_AT, self.smbase)
        self.begin_management()

    def begin_management(self) -> None:
        """How the handler finds the processor: as in real mode, but with segments of 4 GiB."""
        self.cr0 = self.cr0 & ~u64(CR0_PE | CR0_EM | CR0_TS | CR0_PG)
        self.cr4, self.efer, self.cpl = u64(0), u64(0), u8(0)
        self.set_rflags(u64(0))
        self.set_dr7(u64(DR7_FIXED))
        for n in range(6):
            self.flat_segment(n)
        self.segments[CS].base, self.segments[CS].selector = self.smbase, u16(self.smbase >> 4)
        self.pc = self.smbase + ENTRY
        self.leave_behind()

    def flat_segment(self, n: int) -> None:
        segment = self.segments[n]
        segment.base, segment.limit, segment.selector = u64(0), u32(0xFFFF_FFFF), u16(0)
        segment.access = u16(WRITABLE)

    def leave_behind(self) -> None:
        """What was between two instructions of one program is nothing to another."""
        self.stepping, self.shadow, self.earned, self.halted = u64(0), u64(0), u64(0), u64(0)
        self.forget_translations()
        self.settle_mode()

    @function
    def leave_management(self) -> None:
        """RSM: the state of the interrupted program, as the handler has left it in the map."""
        for at, kind, where in SAVED:
            self.poke(kind, where, kind(self.management_load(kind, at)))
        self.set_rflags(self.management_load(u64, RFLAGS))
        self.flags = self.kept_flags(self.flags)
        self.pc = self.segments[CS].base + self.management_load(u64, RIP)
        halted = self.management_load(u8, AUTO_HALT) & 1
        self.smbase = self.management_load(u32, BASE_AT)
        self.smm, self.nmi_blocked = u64(0), self.smm_nmi_blocked
        self.exchange_memory()
        inner = select(self.flags & VM != 0, u8(3), u8(self.segments[CS].selector & 3))
        self.cpl = select(self.cr0 & CR0_PE != 0, inner, u8(0))
        self.leave_behind()
        self.settle_breakpoints()
        self.stepping = self.flags >> 8 & 1
        if self.makes_no_sense():
            self.dead, self.exit = u64(1), u64(DIED)
        elif halted != 0:
            self.halted, self.exit = u64(1), u64(HALTED)

    def makes_no_sense(self):
        """Whether the control registers are in a state that RSM does not return to (SDM 3C, 32.3.2): shutdown."""
        wrong = self.cr0 & (CR0_PG | CR0_PE) == CR0_PG or self.cr0 & (CR0_NW | CR0_CD) == CR0_NW
        long = self.cr0 & CR0_PG != 0 and self.efer & EFER_LME != 0
        return wrong or long != (self.efer & EFER_LMA != 0) or long and self.cr4 & CR4_PAE == 0


@op("0F AA", ends=LEAVES)
def rsm(cpu):
    """SDM 2B, RSM."""
    if cpu.smm == 0:
        cpu.raise_fault(VECTOR_UD)
    cpu.leave_management()
