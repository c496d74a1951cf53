"""Model-specific registers: RDMSR and WRMSR (SDM 2B; numbers and names from SDM 4).

What belongs to the processor is in its state; any other number, the local APIC's among them, is put to the
board, which may refuse it: then the instruction gives #GP(0).
"""

from guesthouse.bits import select, u32, u64
from guesthouse.engine.cpu import REGISTER_READ, REGISTER_WRITE
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.debug import DEBUGCTL
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.held import HELD, MC_BANKS, MC_CTL, MC_FIRST, MC_STATUS, WRITABLE, place_of
from guesthouse.system.cpu.x86.paging import PHYSICAL_BITS, canonical
from guesthouse.system.cpu.x86.state import FS, GS, RCX, VECTOR_GP
from guesthouse.system.cpu.x86.system import Control, pair, put_pair
from guesthouse.system.cpu.x86.system_state import (
    CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, FIXED_RANGES, VARIABLE_RANGES,
)
from guesthouse.typed import function

TSC, TSC_ADJUST, MICROCODE = 0x10, 0x3B, 0x8B
MTRR_CAP, MCG_CAP, MCG_STATUS, MISC_ENABLE, MTRR_VARIABLE = 0xFE, 0x179, 0x17A, 0x1A0, 0x200
SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP = 0x174, 0x175, 0x176
MTRR_FIXED_64K, MTRR_FIXED_16K, MTRR_FIXED_4K, PAT, MTRR_DEF_TYPE = 0x250, 0x258, 0x268, 0x277, 0x2FF
EFER, STAR, LSTAR, CSTAR, FMASK = 0xC000_0080, 0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084
FS_BASE, GS_BASE, KERNEL_GS_BASE, TSC_AUX = 0xC000_0100, 0xC000_0101, 0xC000_0102, 0xC000_0103

EFER_KNOWN = EFER_SCE | EFER_LME | EFER_NXE
MTRR_CAPABILITIES = 0x500 | VARIABLE_RANGES  # write combining, fixed ranges
MICROCODE_REVISION = 1 << 32
PAT_TYPES = 0b1111_0011  # bit n: memory type n exists in the PAT (SDM 3A, table 12-10): all but 2 and 3
MTRR_TYPES = 0b0111_0011  # in the MTRRs (table 12-8)
MASK_KNOWN, BASE_KNOWN = (1 << PHYSICAL_BITS) - 1 & ~0x7FF, (1 << PHYSICAL_BITS) - 1 & ~0xF00


class ModelSpecific(Control):
    """The registers and their rules."""

    @function
    def model_specific(self, n: u64, now: u64) -> u64:
        """What RDMSR gives."""
        if n < 0x1000:
            return self.low_register(n, now)
        if n == EFER:
            return self.efer
        if n == STAR:
            return self.star
        if n == LSTAR:
            return self.lstar
        if n == CSTAR:
            return self.cstar
        if n == FMASK:
            return self.sfmask
        if n == FS_BASE:
            return self.segments[FS].base
        if n == GS_BASE:
            return self.segments[GS].base
        if n == KERNEL_GS_BASE:
            return self.kernel_gs_base
        if n == TSC_AUX:
            return self.tsc_aux
        return self.ask_board(n)

    @function
    def low_register(self, n: u64, now: u64) -> u64:
        """Those with numbers below 1000h."""
        if n >= MTRR_VARIABLE and n <= MTRR_DEF_TYPE or n == MTRR_CAP:
            return self.memory_type_register(n)
        if n == TSC:
            return now + self.tsc_offset
        if n == TSC_ADJUST:
            return self.tsc_adjust
        if n == MICROCODE:
            return u64(MICROCODE_REVISION)
        if n == MISC_ENABLE:
            return self.misc_enable
        if n == MCG_CAP:
            return u64(MC_BANKS)
        if n == MCG_STATUS:
            return u64(0)
        if n == SYSENTER_CS:
            return self.sysenter_cs
        if n == SYSENTER_ESP:
            return self.sysenter_esp
        if n == SYSENTER_EIP:
            return self.sysenter_eip
        at = place_of(n)
        return self.held[at] if at < len(HELD) else self.ask_board(n)

    @function
    def ask_board(self, n: u64) -> u64:
        """A register that is not the processor's own."""
        value = self.device(u64(REGISTER_READ), n, u64(8), u64(0))
        self.heed_refusal()
        return value

    @function
    def heed_refusal(self) -> None:
        if self.register_refused != 0:
            self.register_refused = u64(0)
            self.raise_fault(VECTOR_GP)

    @function
    def set_model_specific(self, n: u64, value: u64, now: u64) -> None:
        """WRMSR."""
        if n < 0x1000:
            self.set_low_register(n, value, now)
        elif n == EFER:
            self.set_efer(value)
        elif n == STAR:
            self.star = value
        elif n == FMASK:
            self.sfmask = value & 0xFFFF_FFFF
        elif n == TSC_AUX:
            self.tsc_aux = self.fitting(value, u64(0xFFFF_FFFF))
        elif n == LSTAR:
            self.lstar = self.canonical_value(value)
        elif n == CSTAR:
            self.cstar = self.canonical_value(value)
        elif n == FS_BASE:
            self.segments[FS].base = self.canonical_value(value)
        elif n == GS_BASE:
            self.segments[GS].base = self.canonical_value(value)
        elif n == KERNEL_GS_BASE:
            self.kernel_gs_base = self.canonical_value(value)
        else:
            self.tell_board(n, value)

    @function
    def set_low_register(self, n: u64, value: u64, now: u64) -> None:
        """Those with numbers below 1000h."""
        if n >= MTRR_VARIABLE and n <= MTRR_DEF_TYPE:
            self.set_memory_type_register(n, value)
        elif n == TSC:
            self.tsc_adjust = self.tsc_adjust + (value - now - self.tsc_offset)
            self.tsc_offset = value - now
        elif n == TSC_ADJUST:
            self.tsc_offset = self.tsc_offset + (value - self.tsc_adjust)
            self.tsc_adjust = value
        elif n == MICROCODE:
            pass  # software writes 0 before it reads the revision
        elif n == MISC_ENABLE:
            self.misc_enable = value
        elif n == MCG_STATUS:
            self.fitting(value, u64(0))
        elif n == SYSENTER_CS:
            self.sysenter_cs = value & 0xFFFF
        elif n == SYSENTER_ESP:
            self.sysenter_esp = self.canonical_value(value)
        elif n == SYSENTER_EIP:
            self.sysenter_eip = self.canonical_value(value)
        else:
            self.hold(n, value)

    def hold(self, n: u64, value: u64) -> None:
        """A register of held.py, or one of the board's."""
        at = place_of(n)
        if at == len(HELD):
            self.tell_board(n, value)
        else:
            whole = value == 0 or value == ~u64(0)
            if n >= MC_FIRST and (n & 3 == MC_CTL and not whole or n & 3 == MC_STATUS and value != 0):
                self.raise_fault(VECTOR_GP)  # SDM 3B, 15.3.2.1 and 15.3.2.2
            self.held[at] = self.held[at] & ~WRITABLE[at] | value & WRITABLE[at]
            if n == DEBUGCTL:
                self.settle_breakpoints()

    @function
    def tell_board(self, n: u64, value: u64) -> None:
        self.device(u64(REGISTER_WRITE), n, u64(8), value)
        self.heed_refusal()

    @function
    def set_efer(self, value: u64) -> None:
        """IA32_EFER: LMA cannot be written, LME not while paging is on (SDM 3A, 9.8.5)."""
        value = value & ~u64(EFER_LMA)
        if value & ~u64(EFER_KNOWN) != 0 or (value ^ self.efer) & EFER_LME != 0 and self.cr0 & CR0_PG != 0:
            self.raise_fault(VECTOR_GP)
        changed = value ^ self.efer
        self.efer = value | self.efer & EFER_LMA
        if changed & EFER_NXE != 0:
            self.forget_translations()

    @function
    def fitting(self, value: u64, known: u64) -> u64:
        """The value, or #GP(0) if it has reserved bits."""
        if value & ~known != 0:
            self.raise_fault(VECTOR_GP)
        return value

    @function
    def canonical_value(self, value: u64) -> u64:
        if not canonical(value):
            self.raise_fault(VECTOR_GP)
        return value

    # Memory types: kept, but without effect (SDM 3A, 12.11 and 12.12).

    def fixed_range(self, n: u64) -> u64:
        """The index of a fixed-range register, or FIXED_RANGES if the number is none."""
        low = select(n == MTRR_FIXED_64K, u64(0), n - (MTRR_FIXED_16K - 1))
        within = n == MTRR_FIXED_64K or n == MTRR_FIXED_16K or n == MTRR_FIXED_16K + 1
        high = select(n >= MTRR_FIXED_4K and n < MTRR_FIXED_4K + 8, n - (MTRR_FIXED_4K - 3), u64(FIXED_RANGES))
        return select(within, low, high)

    @function
    def memory_type_register(self, n: u64) -> u64:
        """A MTRR or the PAT."""
        if n == MTRR_CAP:
            return u64(MTRR_CAPABILITIES)
        if n == PAT:
            return self.pat
        if n == MTRR_DEF_TYPE:
            return self.mtrr_def_type
        if n < MTRR_VARIABLE + 2 * VARIABLE_RANGES:
            return self.mtrr_variable[n - MTRR_VARIABLE]
        at = self.fixed_range(n)
        if at >= FIXED_RANGES:
            self.raise_fault(VECTOR_GP)
        return self.mtrr_fixed[at]

    @function
    def set_memory_type_register(self, n: u64, value: u64) -> None:
        """A MTRR or the PAT."""
        if n == PAT:
            self.check_types(value, u64(PAT_TYPES), u64(64))
            self.pat = value
        elif n == MTRR_DEF_TYPE:
            self.check_types(value, u64(MTRR_TYPES), u64(8))
            self.mtrr_def_type = self.fitting(value, u64(0xCFF))
        elif n < MTRR_VARIABLE + 2 * VARIABLE_RANGES:
            base = n & 1 == 0
            if base:
                self.check_types(value, u64(MTRR_TYPES), u64(8))
            known = select(base, u64(BASE_KNOWN), u64(MASK_KNOWN))
            self.mtrr_variable[n - MTRR_VARIABLE] = self.fitting(value, known)
        else:
            at = self.fixed_range(n)
            if at >= FIXED_RANGES:
                self.raise_fault(VECTOR_GP)
            self.check_types(value, u64(MTRR_TYPES), u64(64))
            self.mtrr_fixed[at] = value

    @function
    def check_types(self, value: u64, types: u64, bits: u64) -> None:
        """#GP(0) if one of the bytes in the low bits is a memory type that does not exist."""
        n = u64(0)
        while n < bits:
            kind = value >> n & 0xFF
            if kind > 7 or types >> kind & 1 == 0:
                self.raise_fault(VECTOR_GP)
            n += 8


@op("0F 32", counts=True)
def rdmsr(cpu):
    cpu.need_supervisor()
    put_pair(cpu, cpu.model_specific(u64(u32(cpu.r[RCX])), cpu.now()))


@op("0F 30", ends=LEAVES, counts=True)
def wrmsr(cpu):
    cpu.need_supervisor()
    cpu.set_model_specific(u64(u32(cpu.r[RCX])), pair(cpu), cpu.now())
