"""Descriptors and segment registers: loading them with all checks, and asking about them (SDM 3A, 3.4 and 5;
2A to 2C).

The checks when a segment is used are in state.py.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.op import BRANCHES, LEAVES
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.flags import VM, ZF
from guesthouse.system.cpu.x86.operands import Ew, Gv, Gw, Memory, Mp, RvMw, Size, Sw, Through
from guesthouse.system.cpu.x86.paging import Paging, canonical
from guesthouse.system.cpu.x86.state import (
    ACCESSED, CODE, CONFORMING, GRANULAR, PRESENT, USER_TYPE, WRITABLE,
    CS, DS, ES, FS, GS, SS, VECTOR_GP, VECTOR_NP, VECTOR_SS, VECTOR_UD,
)
from guesthouse.system.cpu.x86.system_state import (
    CR0_PE, CR4_UMIP, SHADOW_SS,
)
from guesthouse.typed import function

LDT, TSS_16, CALL_GATE_16, TASK_GATE, TSS, CALL_GATE, INTERRUPT_GATE, TRAP_GATE = 2, 1, 4, 5, 9, 12, 14, 15
BUSY = 2
GATE_16_BITS = 8  # this bit of a gate's type, when clear
REAL_DATA, VIRTUAL_DATA = 0x93, 0xF3  # what access a segment has that was loaded in real, virtual-8086 mode


def access_of(descriptor: u64) -> u64:
    """The attributes of a descriptor as Segment.access has them."""
    return descriptor >> 40 & 0xF0FF


def dpl_of(access: u64) -> u64:
    return access >> 5 & 3


def base_of(descriptor: u64) -> u64:
    return descriptor >> 16 & 0xFF_FFFF | descriptor >> 32 & 0xFF00_0000


def limit_of(descriptor: u64) -> u64:
    """The last valid offset."""
    limit = descriptor & 0xFFFF | descriptor >> 32 & 0xF_0000
    return select(access_of(descriptor) & GRANULAR != 0, limit << 12 | 0xFFF, limit)


def is_code(access: u64):
    return access & (USER_TYPE | CODE) == USER_TYPE | CODE


def is_data(access: u64):
    return access & (USER_TYPE | CODE) == USER_TYPE


def fill_segment(place, selector: u64, descriptor: u64) -> None:
    """The visible and the hidden part of a segment register."""
    place.base = base_of(descriptor)
    place.limit = u32(limit_of(descriptor))
    place.access = u16(access_of(descriptor))
    place.selector = u16(selector)


class Segmentation(Paging):
    """Descriptor tables as the processor reads them."""

    @function
    def selector_fault(self, vector: u64, selector: u64) -> None:
        """A fault whose error code names a selector (SDM 3A, 6.13)."""
        self.raise_fault(vector, selector & 0xFFFC | self.external)

    @function
    def descriptor_address(self, selector: u64, size: u64, vector: u64) -> u64:
        """Where the descriptor lies; a fault if it is not wholly inside its table."""
        index = selector & 0xFFF8
        base, limit = self.gdtr.base, u64(self.gdtr.limit)
        if selector & 4 != 0:
            base, limit = self.ldtr.base, u64(self.ldtr.limit)
            if self.ldtr.access & PRESENT == 0:
                self.selector_fault(vector, selector)
        if index + (size - 1) > limit:
            self.selector_fault(vector, selector)
        return base + index

    @function
    def descriptor(self, selector: u64, vector: u64) -> u64:
        """The (low) eight bytes of a descriptor."""
        return self.system_load(u64, self.descriptor_address(selector, u64(8), vector))

    @function
    def set_type_bit(self, selector: u64, descriptor: u64, bit: u64) -> u64:
        """Set a bit of the type (accessed, busy) in the table too; the changed descriptor."""
        changed = descriptor | bit << 40
        if changed != descriptor:
            at = self.descriptor_address(selector, u64(8), u64(VECTOR_GP))
            self.system_store(u8, at + 5, changed >> 40 & 0xFF)
        return changed

    @function
    def load_segment(self, n: u64, selector: u64) -> None:
        """Load DS, ES, FS, GS or SS (SDM 2B, MOV). Of the mode it changes whether all is flat, if anything."""
        before = self.whole(n)
        if self.selectors_are_bases():
            self.take_real_segment(n, selector)
        elif selector & 0xFFFC == 0:
            self.load_null(n, selector)
        else:
            found = self.descriptor(selector, u64(VECTOR_GP))
            if n == SS:
                self.check_stack(selector, found, u64(self.cpl), u64(VECTOR_GP))
            else:
                self.check_data(selector, found)
            found = self.set_type_bit(selector, found, u64(ACCESSED))
            fill_segment(self.segments[n], selector, found)
        if before != self.whole(n) and n < FS and n != SS:  # SS is its caller's: POP SS still moves the old pointer
            self.settle_mode()

    @function
    def take_real_segment(self, n: u64, selector: u64) -> None:
        """Real mode: a selector is a base. The limit stays what it was, but a null segment has none.
        Virtual-8086 mode: all of the hidden part is fixed (SDM 3A, 20.1)."""
        place = self.segments[n]
        if self.flags & VM != 0:
            place.limit, place.access = u32(0xFFFF), u16(VIRTUAL_DATA)
        else:
            if place.access & PRESENT == 0:
                place.limit = u32(0xFFFF)
            place.access = place.access & 0xF000 | REAL_DATA
        place.selector, place.base = u16(selector), selector << 4

    def load_null(self, n: u64, selector: u64) -> None:
        """A null selector; for SS only in 64-bit mode outside CPL 3."""
        if n == SS and (self.code_bits != 64 or self.cpl == 3 or selector & 3 != u64(self.cpl)):
            self.selector_fault(u64(VECTOR_GP), u64(0))
        self.clear_segment(n, selector)

    @function
    def clear_segment(self, n: u64, selector: u64) -> None:
        fill_segment(self.segments[n], selector, u64(0))

    @function
    def check_stack(self, selector: u64, found: u64, level: u64, vector: u64) -> None:
        """Fault unless this may become SS at this privilege level: a writable, present data segment of that level."""
        access = access_of(found)
        fits = is_data(access) and access & WRITABLE != 0 and dpl_of(access) == level and selector & 3 == level
        if not fits:
            self.selector_fault(vector, selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_SS), selector)

    @function
    def check_data(self, selector: u64, found: u64) -> None:
        """Fault unless a data segment register may take this: data or readable code, not more privileged."""
        access = access_of(found)
        fits = is_data(access) or is_code(access) and access & 2 != 0
        conforming = is_code(access) and access & CONFORMING != 0
        if not conforming and (selector & 3 > dpl_of(access) or u64(self.cpl) > dpl_of(access)):
            fits = False
        if not fits:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)

    @function
    def load_table_segment(self, selector: u64, type_: u64, task: bool) -> None:
        """LLDT and LTR: a system segment, 16 bytes long in IA-32e mode."""
        if selector & 4 != 0:
            self.selector_fault(u64(VECTOR_GP), selector)
        size = select(self.long_mode(), u64(16), u64(8))
        at = self.descriptor_address(selector, size, u64(VECTOR_GP))
        low, high = self.system_load(u64, at), u64(0)
        if size == 16:
            high = self.system_load(u64, at + 8)
        if self.wrong_type(access_of(low) & 0x1F, type_) or not canonical(high << 32):
            self.selector_fault(u64(VECTOR_GP), selector)
        if access_of(low) & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        if task:
            low = self.set_type_bit(selector, low, u64(BUSY))
            fill_segment(self.tr, selector, low)
            self.tr.base = self.tr.base | high << 32
        else:
            fill_segment(self.ldtr, selector, low)
            self.ldtr.base = self.ldtr.base | high << 32

    def wrong_type(self, found: u64, wanted: u64):
        """Whether a system descriptor is not of the type wanted; outside IA-32e mode a TSS may be a 16-bit one."""
        narrow = wanted == TSS and found == TSS_16 and not self.long_mode()
        return found != wanted and not narrow

    @function
    def inspected(self, selector: u64) -> u64:
        """What LAR, LSL, VERR and VERW may see of a selector: its descriptor, or 0 for what they call not valid."""
        if selector & 0xFFFC == 0 or self.outside_table(selector):
            return u64(0)
        found = self.descriptor(selector, u64(VECTOR_GP))
        access = access_of(found)
        conforming = is_code(access) and access & CONFORMING != 0
        if not conforming and (selector & 3 > dpl_of(access) or u64(self.cpl) > dpl_of(access)):
            return u64(0)
        return found

    def outside_table(self, selector: u64):
        absent = selector & 4 != 0 and self.ldtr.access & PRESENT == 0
        limit = select(selector & 4 != 0, self.ldtr.limit, self.gdtr.limit)
        return absent or (selector & 0xFFF8) + 7 > u64(limit)

    def store_table(self, to, base: u64, limit: u64) -> None:
        """SGDT and SIDT: a 16-bit limit, then a base of 32 or, in 64-bit mode, 64 bits."""
        self.guarded_by_umip()
        wide = self.code_bits == 64
        to.probe(select(wide, u64(10), u64(6)), 1)
        self.store(u16, to.at(0, 2), u16(limit))
        if wide:
            self.store(u64, to.at(2, 8), base)
        else:
            self.store(u32, to.at(2, 4), u32(base))

    def load_table(self, place: u64, by, size: u64) -> None:
        """LGDT (place 0) and LIDT (1). An operand size of two bytes takes 24 bits of the base."""
        self.need_supervisor()
        limit = u32(self.load(u16, by.at(0, 2)))
        base = u64(0)
        if self.code_bits == 64:
            base = self.load(u64, by.at(2, 8))
            if not canonical(base):
                self.raise_fault(VECTOR_GP)
        else:
            base = u64(self.load(u32, by.at(2, 4))) & select(size == 2, u64(0xFF_FFFF), u64(0xFFFF_FFFF))
        if place == 0:
            self.gdtr.base, self.gdtr.limit = base, limit
        else:
            self.idtr.base, self.idtr.limit = base, limit

    def selectors_are_bases(self):
        """Whether segments are loaded without descriptors: real and virtual-8086 mode."""
        return self.cr0 & CR0_PE == 0 or self.flags & VM != 0

    def guarded_by_umip(self) -> None:
        """SGDT, SIDT, SLDT, STR, SMSW outside CPL 0 when CR4.UMIP is set."""
        if self.cr4 & CR4_UMIP != 0 and self.cpl != 0:
            self.raise_fault(VECTOR_GP)

    def need_writable(self, segment: u64) -> None:
        """#GP(0), or #SS(0) for the stack, unless this segment may be written."""
        if self.segments[segment].access & (CODE | WRITABLE) != WRITABLE:
            self.raise_fault(select(segment == SS, u64(VECTOR_SS), u64(VECTOR_GP)))

    def need_protected(self) -> None:
        """#UD in real and virtual-8086 mode, for instructions that descriptors are the point of."""
        if self.selectors_are_bases():
            self.raise_fault(VECTOR_UD)


# Moving segment registers, SDM 2B.


@op("8C /0", RvMw, Sw)
@op("8C /1", RvMw, Sw)
@op("8C /2", RvMw, Sw)
@op("8C /3", RvMw, Sw)
@op("8C /4", RvMw, Sw)
@op("8C /5", RvMw, Sw)
def mov_from_segment(cpu, to, n):
    """SDM 2B, MOV: the selector, zero-extended into a register."""
    to.put(to.type(cpu.segments[n].selector))


@op("8E /4", Sw, Ew)
@op("8E /5", Sw, Ew)
def mov_to_segment(cpu, n, value):
    """SDM 2B, MOV."""
    cpu.load_segment(n, u64(value.get()))


@op("8E /0", Sw, Ew, ends=BRANCHES)
@op("8E /3", Sw, Ew, ends=BRANCHES)
def mov_to_data_segment(cpu, n, value):
    """SDM 2B, MOV. How the code that follows is decoded depends on ES and DS."""
    cpu.load_segment(n, u64(value.get()))


@op("8E /2", Sw, Ew, ends=LEAVES)
def mov_to_stack_segment(cpu, n, value):
    """SDM 2B, MOV. A new SS holds interrupts off for one instruction."""
    cpu.load_segment(n, u64(value.get()))
    cpu.cast_shadow(u64(SHADOW_SS))
    cpu.settle_mode()


def push_segment(cpu, kind: type, n: int) -> None:
    """SDM 2B, PUSH: a selector, zero-extended; but the upper half of a 32-bit slot stays what it was, as all recent
    processors do it."""
    selector = cpu.segments[n].selector
    if kind.size == 4:
        slot = cpu.at_stack(u64(0) - 4, u64(4))
        cpu.need_aligned(slot, u64(4))
        cpu.store(u16, slot, selector)
        cpu.set_rsp(cpu.r[4] - 4)
    else:
        cpu.push(kind, kind(selector))


@op("06", Size, modes=LEGACY)
def push_es(cpu, kind):
    push_segment(cpu, kind, ES)


@op("0E", Size, modes=LEGACY)
def push_cs(cpu, kind):
    push_segment(cpu, kind, CS)


@op("16", Size, modes=LEGACY)
def push_ss(cpu, kind):
    push_segment(cpu, kind, SS)


@op("1E", Size, modes=LEGACY)
def push_ds(cpu, kind):
    push_segment(cpu, kind, DS)


@op("0F A0", Size, default64=True)
def push_fs(cpu, kind):
    push_segment(cpu, kind, FS)


@op("0F A8", Size, default64=True)
def push_gs(cpu, kind):
    push_segment(cpu, kind, GS)


def pop_segment(cpu, kind: type, n: int) -> None:
    """SDM 2B, POP: nothing moves before the selector has passed its checks."""
    selector = cpu.load(kind, cpu.at_stack(u64(0), u64(kind.size)))
    cpu.load_segment(u64(n), u64(selector) & 0xFFFF)
    cpu.set_rsp(cpu.r[4] + kind.size)


@op("07", Size, modes=LEGACY, ends=BRANCHES)
def pop_es(cpu, kind):
    pop_segment(cpu, kind, ES)


@op("17", Size, modes=LEGACY, ends=LEAVES)
def pop_ss(cpu, kind):
    pop_segment(cpu, kind, SS)
    cpu.cast_shadow(u64(SHADOW_SS))
    cpu.settle_mode()


@op("1F", Size, modes=LEGACY, ends=BRANCHES)
def pop_ds(cpu, kind):
    pop_segment(cpu, kind, DS)


@op("0F A1", Size, default64=True)
def pop_fs(cpu, kind):
    pop_segment(cpu, kind, FS)


@op("0F A9", Size, default64=True)
def pop_gs(cpu, kind):
    pop_segment(cpu, kind, GS)


def load_far_pointer(cpu, to, by, n: int) -> None:
    """SDM 2A, LDS/LES/LFS/LGS/LSS: the offset, then the selector."""
    offset = cpu.load(to.type, by.at(0, to.type.size))
    selector = cpu.load(u16, by.at(to.type.size, 2))
    cpu.load_segment(u64(n), u64(selector))
    to.put(offset)


@op("C4 /r", Gv, Mp, modes=LEGACY, ends=BRANCHES)
def les(cpu, to, by):
    load_far_pointer(cpu, to, by, ES)


@op("C5 /r", Gv, Mp, modes=LEGACY, ends=BRANCHES)
def lds(cpu, to, by):
    load_far_pointer(cpu, to, by, DS)


@op("0F B2 /r", Gv, Mp, ends=LEAVES)
def lss(cpu, to, by):
    load_far_pointer(cpu, to, by, SS)
    cpu.settle_mode()


@op("0F B4 /r", Gv, Mp)
def lfs(cpu, to, by):
    load_far_pointer(cpu, to, by, FS)


@op("0F B5 /r", Gv, Mp)
def lgs(cpu, to, by):
    load_far_pointer(cpu, to, by, GS)


# Table registers, SDM 2A and 2B.


@op("0F 00 /0", RvMw)
def sldt(cpu, to):
    cpu.need_protected()
    cpu.guarded_by_umip()
    to.put(to.type(cpu.ldtr.selector))


@op("0F 00 /1", RvMw)
def str_(cpu, to):
    cpu.need_protected()
    cpu.guarded_by_umip()
    to.put(to.type(cpu.tr.selector))


@op("0F 00 /2", Ew)
def lldt(cpu, source):
    cpu.need_protected()
    cpu.need_supervisor()
    selector = u64(source.get())
    if selector & 0xFFFC == 0:
        fill_segment(cpu.ldtr, selector, u64(0))
    else:
        cpu.load_table_segment(selector, u64(LDT), False)


@op("0F 00 /3", Ew)
def ltr(cpu, source):
    cpu.need_protected()
    cpu.need_supervisor()
    selector = u64(source.get())
    if selector & 0xFFFC == 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.load_table_segment(selector, u64(TSS), True)


@op("0F 01 /0", Mp)
def sgdt(cpu, to):
    cpu.store_table(to, cpu.gdtr.base, u64(cpu.gdtr.limit))


@op("0F 01 /1", Mp)
def sidt(cpu, to):
    cpu.store_table(to, cpu.idtr.base, u64(cpu.idtr.limit))


@op("0F 01 /2", Mp, Size)
def lgdt(cpu, by, kind):
    cpu.load_table(u64(0), by, u64(kind.size))


@op("0F 01 /3", Mp, Size)
def lidt(cpu, by, kind):
    cpu.load_table(u64(1), by, u64(kind.size))


# Asking, SDM 2A (LAR, LSL), 2B, 2C (VERR, VERW) and ARPL.

# Which system types LAR and LSL call valid: bit n for type n, in and outside IA-32e mode.
LAR_LONG, LAR_LEGACY = 0b0001_1010_0000_0100, 0b0001_1010_0011_1110
LSL_LONG, LSL_LEGACY = 0b0000_1010_0000_0100, 0b0000_1010_0000_1110


def type_is_in(cpu, found: u64, long: int, legacy: int):
    """Whether a descriptor is of a code or data segment, or of a system type in the set that applies."""
    types = select(cpu.long_mode(), u64(long), u64(legacy))
    return found != 0 and (found >> 44 & 1 != 0 or types >> (found >> 40 & 15) & 1 != 0)


def set_zero_flag(cpu, on: bool) -> None:
    """ZF alone."""
    others = cpu.status() & ~u64(ZF)
    cpu.set_status(select(on, others | ZF, others))


@op("0F 02 /r", Gv, Ew)
def lar(cpu, to, source):
    cpu.need_protected()
    found = cpu.inspected(u64(source.get()))
    valid = type_is_in(cpu, found, LAR_LONG, LAR_LEGACY)
    if valid:
        to.put(to.type(found >> 32 & 0xF0_FF00))
    set_zero_flag(cpu, valid)


@op("0F 03 /r", Gv, Ew)
def lsl(cpu, to, source):
    cpu.need_protected()
    found = cpu.inspected(u64(source.get()))
    valid = type_is_in(cpu, found, LSL_LONG, LSL_LEGACY)
    if valid:
        to.put(to.type(limit_of(found)))
    set_zero_flag(cpu, valid)


@op("0F 00 /4", Ew)
def verr(cpu, source):
    cpu.need_protected()
    access = access_of(cpu.inspected(u64(source.get())))
    set_zero_flag(cpu, is_data(access) or is_code(access) and access & 2 != 0)


@op("0F 00 /5", Ew)
def verw(cpu, source):
    cpu.need_protected()
    access = access_of(cpu.inspected(u64(source.get())))
    set_zero_flag(cpu, is_data(access) and access & WRITABLE != 0)


@op("63 /r", Ew, Gw, Through, modes=LEGACY)
def arpl(cpu, to, source, segment):
    """SDM 2A, ARPL. A segment that cannot be written is no obstacle where nothing is."""
    cpu.need_protected()
    value, level = to.get(), source.get() & 3
    below = value & 3 < level
    if below:
        if isinstance(to, Memory):
            cpu.need_writable(segment)
        to.put(value & 0xFFFC | level)
    set_zero_flag(cpu, below)
