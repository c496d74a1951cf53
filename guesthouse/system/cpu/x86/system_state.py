"""The system part of an x86 processor's state: control, debug and model-specific registers, tables (SDM 3A,
2.1).

Also here: which translations and which decoded code are in force, a function of CPL, RFLAGS.AC and the
control registers. Not modelled: machine checks, performance counters.
"""

from guesthouse.bits import select, u8, u32, u64, unlikely
from guesthouse.engine.cpu import RANGES, STEP, WATCHED_SET, RamRange
from guesthouse.system.cpu.x86.flags import AC, TF
from guesthouse.system.cpu.x86.held import HELD
from guesthouse.system.cpu.x86.state import BIG, CS, DS, ES, LONG, SS, VECTOR_GP, General, Segment
from guesthouse.typed import Array, Struct, fill, function

# Control registers, SDM 3A, 2.5.
CR0_PE, CR0_MP, CR0_EM, CR0_TS, CR0_ET, CR0_NE = (1 << n for n in range(6))
CR0_WP, CR0_AM, CR0_NW, CR0_CD, CR0_PG = (1 << n for n in (16, 18, 29, 30, 31))
CR4_VME, CR4_PVI, CR4_TSD, CR4_DE, CR4_PSE, CR4_PAE, CR4_MCE, CR4_PGE, CR4_PCE = (1 << n for n in range(9))
CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_UMIP = (1 << n for n in (9, 10, 11))
CR4_FSGSBASE, CR4_PCIDE, CR4_OSXSAVE, CR4_SMEP, CR4_SMAP = (1 << n for n in (16, 17, 18, 20, 21))
EFER_SCE, EFER_LME, EFER_LMA, EFER_NXE = (1 << n for n in (0, 8, 10, 11))

USER_SET, SUPERVISOR_SET, OVERRIDE_SET, IMPLICIT_SET = range(4)  # sets of translations: who may access what
ALIGNMENT = 1 << 4  # this bit of Cpu.watches; those below it belong to breakpoints
SHADOW_STI, SHADOW_SS = 1, 2  # what holds interrupts off for one instruction (SDM 3A, 6.8.3)

VARIABLE_RANGES, FIXED_RANGES, LARGE_MARKS = 8, 11, 256


class TableRegister(Struct):
    """GDTR or IDTR; `limit` is the last valid offset."""

    base: u64
    limit: u32


class SystemState(General):
    """Everything that only system software changes. What a field holds is the register as RDMSR or MOV reads it."""

    cr0: u64
    cr2: u64
    cr3: u64
    cr4: u64
    efer: u64
    xcr0: u64
    dr: Array[u64, 8]  # 4 and 5 are aliases of 6 and 7 and stay unused
    breakpoints: u64  # the enable bits of DR7; above them whether branches are watched (IA32_DEBUGCTL)
    gdtr: TableRegister
    idtr: TableRegister
    ldtr: Segment
    tr: Segment
    # What the board sets: the INTR pin, edges of NMI and SMI#, and who this processor is.
    intr: u64
    nmi: u64
    smi: u64  # an edge of SMI#
    a20_mask: u64  # the bits of physical addresses that the board lets through
    apic_id: u64
    apic_off: u64  # 1: the local APIC has been disabled, and CPUID says so
    processors: u64
    brand: Array[u64, 6]
    smm_ram: Array[RamRange, RANGES + 1]  # what `ram` is in system-management mode; nothing in the first: the same
    # Model-specific registers, SDM 4, under their names there. FS.base and GS.base are in the segments.
    star: u64
    lstar: u64
    cstar: u64
    sfmask: u64
    kernel_gs_base: u64
    tsc_offset: u64
    tsc_adjust: u64
    tsc_aux: u64
    sysenter_cs: u64
    sysenter_esp: u64
    sysenter_eip: u64
    pat: u64
    misc_enable: u64
    mtrr_def_type: u64
    mtrr_fixed: Array[u64, FIXED_RANGES]
    mtrr_variable: Array[u64, 2 * VARIABLE_RANGES]
    held: Array[u64, len(HELD)]
    # Between instructions.
    dead: u64  # shut down by a triple fault
    register_refused: u64  # the board has no such MSR: the RDMSR or WRMSR that asked, run again, gives #GP(0)
    shadow: u64  # SHADOW_*: no interrupt is taken before the instruction at shadow_pc is done
    shadow_armed: u64  # ... and the next poll comes after that instruction
    shadow_pc: u64
    nmi_blocked: u64  # from an NMI's delivery to IRET
    stepping: u64  # RFLAGS.TF was set when the instruction that now ends began
    earned: u64  # bits of DR6 for the #DB that is due when it has ended
    recording: u64  # DEBUGCTL.LBR was set when it began
    resuming: u64  # it has set RFLAGS.RF, which holds until the end of the one after it
    halted: u64  # by HLT; no event has come since
    # System-management mode.
    smm: u64  # 1 in it
    smbase: u64
    smm_nmi_blocked: u64  # nmi_blocked of the interrupted program
    # Within one.
    implicit: u64  # 1 during an access that is the processor's own (SDM 3A, 4.6.1)
    stray: u64  # the #GP that is on its way is for an address that is not canonical: #SS if the stack's
    external: u64  # the EXT bit of error codes: 1 while an event is delivered that the program did not ask for
    translations: u64  # the set that belongs to CPL and AC
    large: Array[u64, LARGE_MARKS]  # a hashed set of the 2 MiB and 1 GiB regions that came into the TLB
    random: Array[u64, 4]  # the state of RDRAND's generator; the board seeds it

    def long_mode(self):
        """Whether IA-32e mode is active."""
        return self.efer & EFER_LMA != 0

    def settle_mode(self) -> None:
        """Bring into force what CPL, AC, TF, and CS and SS imply. To be called whenever one of them changes."""
        self.settle_sizes()
        self.settle_privilege()

    def settle_privilege(self) -> None:
        """Choose the translations for CPL and AC, and the mode; cheap."""
        inner = select(self.flags & AC != 0, u64(OVERRIDE_SET), u64(SUPERVISOR_SET))
        self.translations = select(self.cpl == 3, u64(USER_SET), inner)
        if unlikely(self.checks_alignment() or self.watches & ALIGNMENT != 0):
            self.settle_alignment()
        step = select(self.flags & TF | self.breakpoints | self.earned != 0, u64(STEP), u64(0))
        self.use(self.translations, self.mode() | step)

    def checks_alignment(self):
        """Whether data that is not aligned is #AC (SDM 3A, 2.3, CR0.AM)."""
        return self.cpl == 3 and self.flags & AC != 0 and self.cr0 & CR0_AM != 0

    @function
    def settle_alignment(self) -> None:
        """While alignment is checked, every access to data takes the slow path, where watch() checks it (debug.py)."""
        if not self.checks_alignment():
            self.watches = self.watches & ~u64(ALIGNMENT)
            return
        self.translations = u64(WATCHED_SET)
        if self.watches & ALIGNMENT == 0:
            self.watches = self.watches | ALIGNMENT
            self.empty_set(u64(WATCHED_SET))

    @function
    def settle_sizes(self) -> None:
        """The sizes of code and stack, from the attributes of CS and SS (SDM 3A, 3.4.5)."""
        code = self.segments[CS].access
        if self.long_mode() and code & LONG != 0:
            self.code_bits, self.stack_bits = u8(64), u8(64)
        else:
            self.code_bits = select(code & BIG != 0, u8(32), u8(16))
            self.stack_bits = select(self.segments[SS].access & BIG != 0, u8(32), u8(16))
        code_place = self.segments[CS]
        mark = (code_place.base >> 4 ^ code_place.base >> 16 ^ u64(code_place.limit) >> 12) % 7 + 1
        whole = code_place.base == 0 and code_place.limit == 0xFFFF_FFFF
        self.bounds = select(self.code_bits == 64 or whole, u8(0), u8(mark))
        large = self.whole(ES) and self.whole(SS) and self.whole(DS) and self.segments[SS].access & BIG != 0
        self.flat = u8(self.code_bits == 32 and large and not self.long_mode())
        self.reach = select(self.flat != 0, u64(0xFFFF_FFFF), ~u64(0))

    def whole(self, n: int):
        """Whether a segment register holds a writable data segment of 4 GiB from 0 on."""
        place = self.segments[n]
        return place.base == 0 and place.limit == 0xFFFF_FFFF and place.access & 0x9E == 0x92

    @function
    def forget_translations(self) -> None:
        """Flush the TLB, and where code was found, for all PCIDs. They may mean something else from now on."""
        fill(self.large.address, u8(0), u64(8 * LARGE_MARKS))
        self.flush()
        self.change_space(True)

    def change_space(self, kept: bool) -> None:
        """CR3 has changed. `kept`: the system has said that the translations of its PCID are still those."""
        self.enter_space(select(self.cr4 & CR4_PCIDE != 0, self.cr3 & 0xFFF, u64(0)), kept)
        self.aim(self.translations)

    def need_supervisor(self) -> None:
        """#GP(0) for an instruction that only CPL 0 may execute."""
        if self.cpl != 0:
            self.raise_fault(VECTOR_GP)
