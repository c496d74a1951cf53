"""Instructions of system software: control and debug registers, interrupts on and off, translations, time
(SDM 2, 3A 2.8).

Not modelled: performance counters, MONITOR and MWAIT, VMX (they give #UD).
"""

from guesthouse.bits import select, u32, u64
from guesthouse.engine.cpu import HALTED, REGISTER_READ, REGISTER_WRITE
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.debug import BD, DR6_FIXED, DR6_KEPT, DR7_GD, HITS
from guesthouse.system.cpu.x86.definitions import LONG, op
from guesthouse.system.cpu.x86.flags import AC, IF, VIF, VIP
from guesthouse.system.cpu.x86.operands import Cr, Dr, Ew, Gy, M, Rq, Ry, RvMw
from guesthouse.system.cpu.x86.paging import TOO_HIGH, canonical
from guesthouse.system.cpu.x86.state import (
    CS, FS, GS, LONG as LONG_CODE, RAX, RCX, RDX, VECTOR_DB, VECTOR_GP, VECTOR_UD,
)
from guesthouse.system.cpu.x86.far import FarTransfers
from guesthouse.system.cpu.x86.system_state import (
    CR0_CD, CR0_EM, CR0_ET, CR0_MP, CR0_NW, CR0_PE, CR0_PG, CR0_TS, CR0_WP, CR4_DE, CR4_FSGSBASE, CR4_MCE, CR4_OSFXSR,
    CR4_OSXMMEXCPT, CR4_OSXSAVE, CR4_PAE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_PVI, CR4_SMAP, CR4_SMEP, CR4_TSD,
    CR4_UMIP, CR4_VME, EFER_LMA, EFER_LME, OVERRIDE_SET, SHADOW_STI, SUPERVISOR_SET,
)
from guesthouse.typed import function

CR0_KNOWN = 0xE005_003F
CR4_TRANSLATES = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP  # what the TLB depends on
CR4_KNOWN = (
    CR4_TRANSLATES | CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP
    | CR4_FSGSBASE | CR4_OSXSAVE
)
CR8_EXIT = 1 << 32 | 8  # the number by which the board knows CR8, the task priority of its local APIC
KEEP_TRANSLATIONS = 1 << 63  # bit 63 of what MOV puts into CR3: the translations of this PCID are still right
XCR0_KNOWN = 3  # x87, SSE


class Control(FarTransfers):
    """Changes of control registers, with everything that hangs on them."""

    @function
    def set_cr0(self, value: u64) -> None:
        """SDM 2B, MOV CR0; 3A, 9.8.5 for the way into and out of IA-32e mode."""
        bad = value >> 32 != 0 or value & CR0_PG != 0 and value & CR0_PE == 0
        bad = bad or value & CR0_NW != 0 and value & CR0_CD == 0
        changed = value ^ self.cr0
        if changed & CR0_PG != 0:
            bad = bad or self.refuses_paging(value & CR0_PG != 0)
        if bad:
            self.raise_fault(VECTOR_GP)
        self.cr0 = value & CR0_KNOWN | CR0_ET
        active = value & CR0_PG != 0 and self.efer & EFER_LME != 0
        self.efer = self.efer & ~u64(EFER_LMA) | select(active, u64(EFER_LMA), u64(0))
        if changed & CR0_PG != 0 or value & CR0_PG != 0 and changed & CR0_WP != 0:
            self.forget_translations()  # PE alone changes none: boot loaders switch it at every call of the BIOS
        if changed & (CR0_PG | CR0_PE | CR0_WP) != 0:
            self.settle_mode()

    def refuses_paging(self, on: bool):
        """Whether CR0.PG may not change now."""
        if on:
            wrong = self.cr4 & CR4_PAE == 0 or self.segments[CS].access & LONG_CODE != 0
            return self.efer & EFER_LME != 0 and wrong
        return self.code_bits == 64 or self.cr4 & CR4_PCIDE != 0

    @function
    def set_cr3(self, value: u64) -> None:
        """MOV CR3: another address space."""
        kept = False
        if self.cr4 & CR4_PCIDE != 0:
            kept = value & KEEP_TRANSLATIONS != 0
            value = value & ~u64(KEEP_TRANSLATIONS)
        if value & ~u64((1 << 52) - 1) != 0 or value & TOO_HIGH != 0:
            self.raise_fault(VECTOR_GP)
        self.cr3 = value
        self.change_space(kept)

    @function
    def set_cr4(self, value: u64) -> None:
        """MOV CR4."""
        changed = value ^ self.cr4
        bad = value & ~u64(CR4_KNOWN) != 0 or self.long_mode() and value & CR4_PAE == 0
        if changed & value & CR4_PCIDE != 0:
            bad = bad or not self.long_mode() or self.cr3 & 0xFFF != 0
        if bad:
            self.raise_fault(VECTOR_GP)
        self.cr4 = value
        if changed & CR4_TRANSLATES != 0:
            self.forget_translations()

    @function
    def control_register(self, n: u64) -> u64:
        """What MOV from a control register gives."""
        self.need_supervisor()
        if n == 0:
            return self.cr0
        if n == 2:
            return self.cr2
        if n == 3:
            return self.cr3
        if n == 4:
            return self.cr4
        if n != 8:
            self.raise_fault(VECTOR_UD)
        return self.device(u64(REGISTER_READ), u64(CR8_EXIT), u64(8), u64(0))

    @function
    def set_control_register(self, n: u64, value: u64) -> None:
        """MOV to a control register."""
        self.need_supervisor()
        if n == 0:
            self.set_cr0(value)
        elif n == 2:
            self.cr2 = value
        elif n == 3:
            self.set_cr3(value)
        elif n == 4:
            self.set_cr4(value)
        elif n == 8:
            if value > 15:
                self.raise_fault(VECTOR_GP)
            self.device(u64(REGISTER_WRITE), u64(CR8_EXIT), u64(8), value)
        else:
            self.raise_fault(VECTOR_UD)

    @function
    def debug_register(self, n: u64) -> u64:
        """The number of the debug register meant; #DB if DR7.GD guards them (SDM 3B, 17.2)."""
        if (n == 4 or n == 5) and self.cr4 & CR4_DE != 0 or n > 7:
            self.raise_fault(VECTOR_UD)
        self.need_supervisor()
        if self.dr[7] & DR7_GD != 0:
            self.tell_debugger(u64(BD))
            self.raise_fault(VECTOR_DB)
        return select(n == 4 or n == 5, n + 2, n)

    @function
    def set_debug_register(self, n: u64, value: u64) -> None:
        """MOV to a debug register."""
        n = self.debug_register(n)
        if n >= 6 and value >> 32 != 0:
            self.raise_fault(VECTOR_GP)
        if n == 7:
            self.set_dr7(value)
        elif n == 6:
            self.dr[6] = value & (DR6_KEPT | HITS) | DR6_FIXED
        else:
            self.dr[n] = value
            self.settle_breakpoints()

    @function
    def time_stamp(self, now: u64) -> u64:
        """TSC: one tick for each nanosecond of guest time."""
        if self.cr4 & CR4_TSD != 0:
            self.need_supervisor()
        return now + self.tsc_offset

    def need_io_privilege(self) -> None:
        """#GP(0) unless CPL <= IOPL, for CLI and STI."""
        if self.cr0 & CR0_PE != 0 and u64(self.cpl) > self.flags >> 12 & 3:
            self.raise_fault(VECTOR_GP)

    @function
    def invalidate_pcid(self, kind: u64, address: u64) -> None:
        """SDM 2A, INVPCID. One address is forgotten for all PCIDs."""
        self.need_supervisor()
        pcid, va = self.load(u64, address), self.load(u64, address + 8)
        bad = kind > 3 or pcid >> 12 != 0
        if kind < 2 and self.cr4 & CR4_PCIDE == 0:
            bad = bad or pcid != 0
        if bad or kind == 0 and not canonical(va):
            self.raise_fault(VECTOR_GP)
        if kind == 0:
            self.invalidate(va)
        elif kind == 1:
            self.forget_space(pcid)
        elif kind == 2:
            self.forget_translations()
        else:
            self.forget_spaces()


# Interrupts, SDM 2A and 2B.


@op("FA")
def cli(cpu):
    if cpu.has_virtual_interrupts():
        cpu.flags = cpu.flags & ~u64(VIF)
    else:
        cpu.need_io_privilege()
        cpu.flags = cpu.flags & ~u64(IF)


@op("FB", ends=LEAVES)
def sti(cpu):
    """SDM 2B, STI: interrupts are taken after the instruction that follows."""
    if cpu.has_virtual_interrupts():
        if cpu.flags & VIP != 0:
            cpu.raise_fault(VECTOR_GP)
        cpu.flags = cpu.flags | VIF
    else:
        cpu.need_io_privilege()
        start_interrupts(cpu)


def start_interrupts(cpu) -> None:
    if cpu.flags & IF == 0:
        cpu.flags = cpu.flags | IF
        cpu.cast_shadow(u64(SHADOW_STI))


@op("F4", ends=LEAVES)
def hlt(cpu):
    """SDM 2A, HLT. A trap that is due wakes at once; the shadow of an STI before it ends with it."""
    cpu.need_supervisor()
    cpu.shadow = u64(0)
    if cpu.stepping == 0:
        cpu.halted, cpu.exit = u64(1), u64(HALTED)


# Control and debug registers, SDM 2B.


@op("0F 20 /r", Ry, Cr, force64=True)
def mov_from_cr(cpu, to, n):
    to.put(to.type(cpu.control_register(n)))


@op("0F 22 /r", Cr, Ry, force64=True, ends=LEAVES)
def mov_to_cr(cpu, n, value):
    cpu.set_control_register(n, u64(value.get()))


@op("0F 21 /r", Ry, Dr, force64=True)
def mov_from_dr(cpu, to, n):
    to.put(to.type(cpu.dr[cpu.debug_register(n)]))


@op("0F 23 /r", Dr, Ry, force64=True, ends=LEAVES)
def mov_to_dr(cpu, n, value):
    cpu.set_debug_register(n, u64(value.get()))


@op("0F 06")
def clts(cpu):
    cpu.need_supervisor()
    cpu.cr0 = cpu.cr0 & ~u64(CR0_TS)


@op("0F 01 /4", RvMw)
def smsw(cpu, to):
    cpu.guarded_by_umip()
    to.put(to.type(cpu.cr0))


@op("0F 01 /6", Ew, ends=LEAVES)
def lmsw(cpu, source):
    """SDM 2A, LMSW: PE can be set but not cleared."""
    cpu.need_supervisor()
    low = u64(source.get()) & (CR0_PE | CR0_MP | CR0_EM | CR0_TS)
    cpu.set_cr0(cpu.cr0 & ~u64(CR0_MP | CR0_EM | CR0_TS) | low)


# Translations and caches.


@op("0F 01 /7", M, ends=LEAVES)
def invlpg(cpu, address):
    cpu.need_supervisor()
    if canonical(address):
        cpu.invalidate(address)


@op("66 0F 38 82 /r", Gy, M, force64=True, ends=LEAVES)
def invpcid(cpu, kind, address):
    cpu.invalidate_pcid(u64(kind.get()), address)


@op("0F 08")
def invd(cpu):
    """There are no caches to lose."""
    cpu.need_supervisor()


@op("0F 09")
def wbinvd(cpu):
    cpu.need_supervisor()


@op("NP 0F 01 CA")
def clac(cpu):
    """SDM 2A, CLAC. The mode stays: only which translations are in force depends on AC."""
    if cpu.cpl != 0:
        cpu.raise_fault(VECTOR_UD)
    cpu.flags = cpu.flags & ~u64(AC)
    cpu.translations = u64(SUPERVISOR_SET)
    cpu.aim(u64(SUPERVISOR_SET))


@op("NP 0F 01 CB")
def stac(cpu):
    """SDM 2B, STAC."""
    if cpu.cpl != 0:
        cpu.raise_fault(VECTOR_UD)
    cpu.flags = cpu.flags | AC
    cpu.translations = u64(OVERRIDE_SET)
    cpu.aim(u64(OVERRIDE_SET))


# Time and identity.


def put_pair(cpu, value: u64) -> None:
    """EDX:EAX."""
    cpu.r[RAX], cpu.r[RDX] = value & 0xFFFF_FFFF, value >> 32


def pair(cpu) -> u64:
    """The value of EDX:EAX."""
    return cpu.r[RDX] << 32 | cpu.r[RAX] & 0xFFFF_FFFF


@op("0F 31", counts=True)
def rdtsc(cpu):
    put_pair(cpu, cpu.time_stamp(cpu.now()))


@op("0F 01 F9", counts=True)
def rdtscp(cpu):
    put_pair(cpu, cpu.time_stamp(cpu.now()))
    cpu.r[RCX] = cpu.tsc_aux


@op("F3 0F C7 /7", Rq)
def rdpid(cpu, to):
    to.put(cpu.tsc_aux)


@op("0F 33")
def rdpmc(cpu):
    """There are no counters: every index is out of range."""
    cpu.raise_fault(VECTOR_GP)


# Extended control register, SDM 2C.


def need_xsave(cpu) -> None:
    if cpu.cr4 & CR4_OSXSAVE == 0:
        cpu.raise_fault(VECTOR_UD)


@op("NP 0F 01 D0")
def xgetbv(cpu):
    need_xsave(cpu)
    if u32(cpu.r[RCX]) > 1:
        cpu.raise_fault(VECTOR_GP)
    put_pair(cpu, cpu.xcr0)


@op("NP 0F 01 D1", ends=LEAVES)
def xsetbv(cpu):
    need_xsave(cpu)
    cpu.need_supervisor()
    value = pair(cpu)
    if u32(cpu.r[RCX]) != 0 or value & 1 == 0 or value & ~u64(XCR0_KNOWN) != 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.xcr0 = value


# Segment bases, SDM 2B and 2C.


def need_base_access(cpu) -> None:
    if cpu.cr4 & CR4_FSGSBASE == 0:
        cpu.raise_fault(VECTOR_UD)


def set_base(cpu, n: int, value) -> None:
    need_base_access(cpu)
    base = u64(value.get())
    if not canonical(base):
        cpu.raise_fault(VECTOR_GP)
    cpu.segments[n].base = base


@op("F3 0F AE /0", Ry, modes=LONG)
def rdfsbase(cpu, to):
    need_base_access(cpu)
    to.put(to.type(cpu.segments[FS].base))


@op("F3 0F AE /1", Ry, modes=LONG)
def rdgsbase(cpu, to):
    need_base_access(cpu)
    to.put(to.type(cpu.segments[GS].base))


@op("F3 0F AE /2", Ry, modes=LONG)
def wrfsbase(cpu, source):
    set_base(cpu, FS, source)


@op("F3 0F AE /3", Ry, modes=LONG)
def wrgsbase(cpu, source):
    set_base(cpu, GS, source)
