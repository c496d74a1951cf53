"""Tasks: hardware task switches through 16- and 32-bit TSSs, and what virtual-8086 mode needs (SDM 3A, 7 and 20).

A switch saves the old task and takes the new registers before it checks the new segments: what is wrong with those
is a fault of the new task. Not modelled: the limits of the old TSS.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.system.cpu.x86.debug import BT
from guesthouse.system.cpu.x86.flags import NT, VM
from guesthouse.system.cpu.x86.segments import (
    BUSY, LDT, TSS_16, Segmentation, access_of, dpl_of, fill_segment, is_code, limit_of,
)
from guesthouse.system.cpu.x86.state import (
    CONFORMING, CS, DS, ES, FS, GS, PRESENT, SS, VECTOR_GP, VECTOR_NP, VECTOR_TS,
)
from guesthouse.system.cpu.x86.system_state import CR0_PG, CR0_TS
from guesthouse.typed import function

BY_JUMP, BY_CALL, BY_RETURN = range(3)


class Tasks(Segmentation):
    """Task switches, and segments as virtual-8086 mode has them."""

    @function
    def task_descriptor(self, selector: u64, how: u64) -> u64:
        """The descriptor of the TSS to switch to: present, large enough, and busy exactly for a return."""
        wrong = select(how == BY_RETURN, u64(VECTOR_TS), u64(VECTOR_GP))
        if selector & 4 != 0 or selector & 0xFFFC == 0:
            self.selector_fault(wrong, selector)
        found = self.descriptor(selector, wrong)
        access = access_of(found)
        wanted = select(how == BY_RETURN, u64(BUSY), u64(0))
        if access & 0x17 != TSS_16 | wanted:
            self.selector_fault(wrong, selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        if limit_of(found) < select(access & 8 != 0, u64(0x67), u64(0x2B)):
            self.selector_fault(u64(VECTOR_TS), selector)
        return found

    @function
    def switch_task(self, selector: u64, how: u64, pointer: u64) -> None:
        """Save the present task, which will go on at `pointer`, and take up another."""
        found = self.task_descriptor(selector, how)
        self.probe_tasks(found)
        flags = self.rflags()
        if how == BY_RETURN:
            flags = flags & ~u64(NT)
        self.save_task(pointer, flags)
        if how != BY_CALL:
            self.mark_busy(u64(self.tr.selector), False)
        back = u64(self.tr.selector)
        if how != BY_RETURN:
            self.mark_busy(selector, True)
        fill_segment(self.tr, selector, found)
        self.tr.access = self.tr.access | BUSY
        if how == BY_CALL:
            self.system_store(u16, self.tr.base, back)
        self.cr0 = self.cr0 | CR0_TS
        self.leave_task_breakpoints()
        self.take_task(select(how == BY_CALL, u64(NT), u64(0)))

    @function
    def probe_tasks(self, found: u64) -> None:
        """Page faults come while the old task is still whole."""
        low = found >> 16 & 0xFF_FFFF | found >> 32 & 0xFF00_0000
        self.system_load(u8, low)
        self.system_load(u8, low + 0x2B)
        self.system_load(u8, self.tr.base)
        self.system_load(u8, self.tr.base + 0x2B)

    @function
    def mark_busy(self, selector: u64, on: bool) -> None:
        """Set or clear the busy bit of a TSS in the GDT."""
        at = self.gdtr.base + (selector & 0xFFF8) + 5
        old = self.system_load(u8, at)
        self.system_store(u8, at, select(on, old | BUSY, old & ~u64(BUSY)))

    @function
    def save_task(self, pointer: u64, flags: u64) -> None:
        """The registers into the TSS of the present task (SDM 3A, figures 7-2 and 7-10)."""
        base = self.tr.base
        if self.tr.access & 8 != 0:
            self.system_store(u32, base + 0x20, pointer)
            self.system_store(u32, base + 0x24, flags)
            for n in range(8):
                self.system_store(u32, base + (0x28 + 4 * n), self.r[n])
            for n in range(6):
                self.system_store(u16, base + (0x48 + 4 * n), u64(self.segments[n].selector))
        else:
            self.system_store(u16, base + 0x0E, pointer)
            self.system_store(u16, base + 0x10, flags)
            for n in range(8):
                self.system_store(u16, base + (0x12 + 2 * n), self.r[n])
            for n in range(4):
                self.system_store(u16, base + (0x22 + 2 * n), u64(self.segments[n].selector))

    @function
    def task_word(self, wide: u64, narrow: u64) -> u64:
        """A value of the new TSS, at one offset in 32-bit and another in 16-bit ones."""
        if self.tr.access & 8 != 0:
            return self.system_load(u32, self.tr.base + wide)
        return self.system_load(u16, self.tr.base + narrow)

    @function
    def take_task(self, nested: u64) -> None:
        """The registers from the TSS that TR names now, then the segments with their checks."""
        wide = self.tr.access & 8 != 0
        if wide and self.cr0 & CR0_PG != 0:
            space = self.system_load(u32, self.tr.base + 0x1C)
            if space != self.cr3:
                self.cr3 = space
                self.change_space(False)
        pointer, flags = self.task_word(u64(0x20), u64(0x0E)), self.task_word(u64(0x24), u64(0x10))
        for n in range(8):
            value = self.task_word(u64(0x28 + 4 * n), u64(0x12 + 2 * n))
            self.r[n] = value if wide else value | 0xFFFF_0000
        self.set_rflags(self.kept_flags(flags | nested))
        if wide and self.system_load(u16, self.tr.base + 0x64) & 1 != 0:
            self.earned = self.earned | BT
        for n in range(6):
            self.task_selector(u64(n))
        self.take_task_table(self.task_word(u64(0x60), u64(0x2A)) & 0xFFFF)
        self.pc = pointer
        if self.flags & VM != 0:
            self.enter_virtual()
            self.pc = self.segments[CS].base + (pointer & 0xFFFF)
        else:
            self.take_task_code(u64(self.segments[CS].selector))
            self.pc = self.segments[CS].base + pointer & 0xFFFF_FFFF
            self.load_segment(u64(SS), u64(self.segments[SS].selector))
            for n in (ES, DS, FS, GS):
                self.load_segment(u64(n), u64(self.segments[n].selector))
            if pointer > u64(self.segments[CS].limit):
                self.raise_fault(VECTOR_GP)
        self.settle_mode()

    @function
    def task_selector(self, n: u64) -> None:
        """The selector alone, until its descriptor is loaded: the segment cannot be used."""
        selector = u64(0)
        if n < FS or self.tr.access & 8 != 0:
            selector = self.task_word(n * 4 + 0x48, n * 2 + 0x22) & 0xFFFF
        self.clear_segment(n, selector)

    @function
    def take_task_table(self, selector: u64) -> None:
        """LDTR of the new task."""
        fill_segment(self.ldtr, selector, u64(0))
        if selector & 0xFFFC != 0:
            self.load_table_segment(selector, u64(LDT), False)

    @function
    def take_task_code(self, selector: u64) -> None:
        """CS and CPL of the new task."""
        self.cpl = u8(selector & 3)
        self.settle_privilege()
        if selector & 0xFFFC == 0:
            self.selector_fault(u64(VECTOR_TS), selector)
        found = self.descriptor(selector, u64(VECTOR_TS))
        access = access_of(found)
        level = dpl_of(access)
        fits = level <= selector & 3 if access & CONFORMING != 0 else level == selector & 3
        if not (is_code(access) and fits):
            self.selector_fault(u64(VECTOR_TS), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        fill_segment(self.segments[CS], selector, self.set_type_bit(selector, found, u64(1)))
        self.settle_mode()

    @function
    def enter_virtual(self) -> None:
        """All segments as virtual-8086 mode has them, from their selectors; RFLAGS.VM is set already."""
        self.cpl = u8(3)
        for n in range(6):
            self.take_real_segment(u64(n), u64(self.segments[n].selector))
        self.settle_mode()
