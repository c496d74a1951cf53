"""Interrupts and exceptions: through the gates of the IDT into the handler (SDM 3A, 6).

Also what happens between instructions: the interrupt line, NMI, SMI, the shadow of STI and MOV SS, single-stepping
and breakpoints (debug.py).
"""

from guesthouse.bits import select, u8, u16, u32, u64, unlikely
from guesthouse.engine.cpu import DIED, FAULT, NONE, PAGE, STEP, WINDOW
from guesthouse.system.cpu.x86.debug import AT_DEBUGCTL, BS, BTF, DR7_GD, LBR
from guesthouse.system.cpu.x86.flags import IF, IOPL, NT, RF, TF, VM
from guesthouse.system.cpu.x86.operands import Decoded, effective_address
from guesthouse.system.cpu.x86.paging import canonical
from guesthouse.system.cpu.x86.segments import (
    GATE_16_BITS, INTERRUPT_GATE, TASK_GATE, TRAP_GATE, access_of, base_of, dpl_of, fill_segment, is_code, limit_of,
)
from guesthouse.system.cpu.x86.state import (
    ACCESSED, BIG, CONFORMING, CS, DS, ES, FS, GS, LONG, PRESENT, RBP, RSP, SS, VECTOR_DB, VECTOR_DE,
    VECTOR_DF, VECTOR_GP, VECTOR_NMI, VECTOR_NP, VECTOR_PF, VECTOR_SS, VECTOR_TS,
)
from guesthouse.system.cpu.x86.system_state import CR0_PE, SHADOW_SS
from guesthouse.system.cpu.x86.smm import SystemManagement
from guesthouse.system.cpu.x86.tasks import BY_CALL
from guesthouse.typed import Abandon, Pointer, copy, function

WITH_CODE = 1 << 8 | 0x1F << 10 | 1 << 17 | 1 << 21  # the vectors that push an error code
CONTRIBUTORY = 1 << VECTOR_DE | 0xF << VECTOR_TS
FAULTING, TRAPPING, SOFTWARE, OUTSIDE = range(4)  # what an event is: decides RF, the check of DPL, the error code
BUSY_TSS = 11
LARGEST = 1024  # no operand is larger, nor further from RSP or RBP if the stack is only implied


def has(vectors: int, vector: u64):
    """Whether a vector is in a static set."""
    return vector < 64 and u64(vectors) >> vector & 1 != 0


class Exceptions(SystemManagement):
    """Events and their delivery."""

    # Delivery.

    def deliver(self) -> None:
        """Make cpu.fault the guest's exception."""
        if self.fault == VECTOR_PF:
            self.cr2 = self.fault_address
        self.earned = u64(0)
        if self.stray != 0:
            self.stray = u64(0)
            self.fault = select(self.was_on_stack(), u64(VECTOR_SS), u64(VECTOR_GP))
        self.deliver_event(self.fault, self.fault_code, u64(FAULTING))

    @function
    def was_on_stack(self) -> bool:
        """Whether the address that was not canonical is one of the stack segment: that of a memory operand based on
        RSP or RBP, or none that the instruction names."""
        in_page = PAGE - (self.pc & (PAGE - 1))
        records = Pointer[Decoded](self.scratch.address)
        self.start = self.pc
        self.decode(self.pc, u64(0), self.bytes_at(self.fetch(self.pc), in_page), records)
        if u64(records[0].length) > in_page:
            copy(self.window.address + in_page, self.fetch(self.pc + in_page), 16 - in_page)
            self.decode(self.pc, u64(0), self.window.address, records)
        segment, named = u64(records[0].segment), effective_address(self, records[0])
        if segment >= FS:
            named = named + self.segments[segment].base
        if self.fault_address - named < LARGEST:
            return segment == SS
        near = self.fault_address + LARGEST - self.r[RSP] < 2 * LARGEST
        return near or self.fault_address + LARGEST - self.r[RBP] < 2 * LARGEST

    @function
    def deliver_event(self, vector: u64, code: u64, kind: u64) -> None:
        """Deliver, and what goes wrong on the way instead: a double fault, or shutdown (SDM 3A, 6.15, table 6-5)."""
        if vector == VECTOR_DB:
            self.dr[7] = self.dr[7] & ~u64(DR7_GD)
            if unlikely(self.held[AT_DEBUGCTL] != 0):
                self.stop_watching_branches()
        while not self.delivered(vector, code, kind):
            if vector == VECTOR_DF:
                self.dead, self.exit = u64(1), u64(DIED)
                return
            second = select(self.stray != 0, u64(VECTOR_SS), self.fault)
            self.stray = u64(0)
            if second == VECTOR_PF:
                self.cr2 = self.fault_address
            worse = has(CONTRIBUTORY | 1 << VECTOR_PF, vector) and has(CONTRIBUTORY, second)
            doubled = worse or vector == VECTOR_PF and second == VECTOR_PF
            vector = select(doubled, u64(VECTOR_DF), second)
            code = select(doubled, u64(0), self.fault_code)
            kind = u64(FAULTING)

    @function
    def delivered(self, vector: u64, code: u64, kind: u64) -> bool:
        """Try to enter the handler of an event that the program did not ask for."""
        self.external = u64(1)
        done = True
        try:
            self.enter(vector, code, kind)
        except Abandon:
            if self.exit != FAULT:  # a table or stack in device memory: there is no instruction to run again
                self.fault, self.fault_code = u64(VECTOR_GP), u64(1)
            self.exit = u64(NONE)
            done = False
        self.external = u64(0)
        return done

    @function
    def enter(self, vector: u64, code: u64, kind: u64) -> None:
        """Through the gate of a vector, or a fault; then nothing has changed but memory below the new stack."""
        source = select(kind == SOFTWARE, self.start, self.pc)
        if self.long_mode():
            self.enter_long(vector, code, kind)
        elif self.cr0 & CR0_PE != 0:
            self.enter_protected(vector, code, kind)
        else:
            self.enter_real(vector)
        if unlikely(self.held[AT_DEBUGCTL] & LBR != 0):
            self.record_event(source)
        self.stepping, self.recording, self.shadow, self.halted = u64(0), u64(0), u64(0), u64(0)
        self.settle_mode()

    @function
    def gate(self, vector: u64, kind: u64, size: u64) -> u64:
        """The (low) eight bytes of an interrupt or trap gate, checked (SDM 3A, 6.12)."""
        at = vector * size
        if at + (size - 1) > u64(self.idtr.limit):
            self.gate_fault(u64(VECTOR_GP), vector)
        found = self.system_load(u64, self.idtr.base + at)
        access = access_of(found)
        type_ = access & 0x1F
        if not self.long_mode():
            type_ = select(type_ == TASK_GATE, u64(TRAP_GATE), type_ | GATE_16_BITS)
        if type_ != INTERRUPT_GATE and type_ != TRAP_GATE:
            self.gate_fault(u64(VECTOR_GP), vector)
        if kind == SOFTWARE and dpl_of(access) < u64(self.cpl):
            self.gate_fault(u64(VECTOR_GP), vector)
        if access & PRESENT == 0:
            self.gate_fault(u64(VECTOR_NP), vector)
        return found

    @function
    def gate_fault(self, vector: u64, gate: u64) -> None:
        """A fault whose error code names a gate: the IDT bit is set (SDM 3A, figure 6-7)."""
        self.raise_fault(vector, gate << 3 | 2 | self.external)

    @function
    def handler_segment(self, selector: u64, width: u64) -> u64:
        """The descriptor of a handler's code segment, checked; `width` is what L and D must be in IA-32e mode."""
        if selector & 0xFFFC == 0:
            self.selector_fault(u64(VECTOR_GP), u64(0))
        found = self.descriptor(selector, u64(VECTOR_GP))
        access = access_of(found)
        if not is_code(access) or dpl_of(access) > u64(self.cpl):
            self.selector_fault(u64(VECTOR_GP), selector)
        if self.long_mode() and access & (LONG | BIG) != width:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        return self.set_type_bit(selector, found, u64(ACCESSED))

    def inner_level(self, access: u64) -> u64:
        """The privilege level that a code segment runs at when called from here."""
        return select(access & CONFORMING != 0, u64(self.cpl), dpl_of(access))

    def pushed_flags(self, kind: u64) -> u64:
        """RFLAGS as the handler finds them: RF is set for faults (SDM 3B, 17.3.1.1)."""
        return self.rflags() | select(kind == FAULTING, u64(RF), u64(0))

    def enter_handler(self, level: u64, selector: u64, segment: u64, target: u64, gate: u64) -> None:
        """Commit: CS, RIP, CPL and RFLAGS of the handler."""
        self.fill_code(selector & 0xFFFC | level, segment, target)
        masked = select(access_of(gate) & 1 == 0, u64(IF), u64(0))
        self.flags = self.flags & ~(masked | TF | NT | RF | VM)

    def fill_code(self, selector: u64, found: u64, offset: u64) -> None:
        """CS, CPL and cpu.pc, which is a linear address; the base of 64-bit code counts as 0."""
        fill_segment(self.segments[CS], selector, found)
        self.cpl = u8(selector & 3)
        if self.long_mode() and access_of(found) & LONG != 0:
            self.segments[CS].base = u64(0)
            self.pc = offset
        else:
            self.pc = base_of(found) + offset & 0xFFFF_FFFF

    def instruction_pointer(self) -> u64:
        """RIP: cpu.pc without the segment's base."""
        return self.pc - self.segments[CS].base

    @function
    def long_stack(self, level: u64, ist: u64) -> u64:
        """The stack pointer for a handler at this level, from the TSS if it changes (SDM 3A, 6.14.4 and 6.14.5)."""
        if ist == 0 and level == u64(self.cpl):
            return self.r[RSP]
        at = select(ist != 0, ist * 8 + 28, level * 8 + 4)
        if at + 7 > u64(self.tr.limit) or self.tr.access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_TS), u64(self.tr.selector))
        found = self.system_load(u64, self.tr.base + at)
        if not canonical(found):
            self.selector_fault(u64(VECTOR_SS), u64(0))
        return found

    @function
    def enter_long(self, vector: u64, code: u64, kind: u64) -> None:
        """SDM 3A, 6.14: gates of 16 bytes, an aligned stack, SS:RSP always pushed."""
        low = self.gate(vector, kind, u64(16))
        high = self.system_load(u64, self.idtr.base + vector * 16 + 8)
        selector, target = low >> 16 & 0xFFFF, low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32
        segment = self.handler_segment(selector, u64(LONG))
        if not canonical(target):
            self.selector_fault(u64(VECTOR_GP), u64(0))
        level = self.inner_level(access_of(segment))
        stack = self.long_stack(level, low >> 32 & 7) & ~u64(15)
        coded = self.pushes_code(vector, kind)
        self.push_frame(code, coded, self.pushed_flags(kind), level, stack)
        if level != u64(self.cpl):
            self.clear_segment(u64(SS), level)
        self.r[RSP] = stack - select(coded, u64(48), u64(40))
        self.enter_handler(level, selector, segment, target, low)

    def pushes_code(self, vector: u64, kind: u64):
        return has(WITH_CODE, vector) and kind == FAULTING

    @function
    def push_frame(self, code: u64, coded: bool, flags: u64, level: u64, stack: u64) -> None:
        """The handler's frame, written with the handler's rights."""
        was, done = self.cpl, True
        self.act_at_level(u8(level))
        try:
            self.store(u64, stack - 8, u64(self.segments[SS].selector))
            self.store(u64, stack - 16, self.r[RSP])
            self.store(u64, stack - 24, flags)
            self.store(u64, stack - 32, u64(self.segments[CS].selector))
            self.store(u64, stack - 40, self.instruction_pointer())
            if coded:
                self.store(u64, stack - 48, code)
        except Abandon:
            done = False
        self.return_to_level(was, done)

    def act_at_level(self, level: u8) -> None:
        """Make the accesses that follow those of a privilege level."""
        self.cpl = level
        self.settle_privilege()

    def return_to_level(self, level: u8, done: bool) -> None:
        """The opposite, and on with the fault if there was one."""
        self.act_at_level(level)
        if not done:
            raise Abandon

    @function
    def enter_protected(self, vector: u64, code: u64, kind: u64) -> None:
        """SDM 3A, 6.12: gates of 8 bytes, for 16 or 32 bits, or to a task."""
        gate = self.gate(vector, kind, u64(8))
        coded = self.pushes_code(vector, kind)
        if access_of(gate) & 0x1F == TASK_GATE:
            self.switch_task(gate >> 16 & 0xFFFF, u64(BY_CALL), self.instruction_pointer())
            if coded:
                self.push_sized(select(self.tr.access & 8 != 0, u64(4), u64(2)), code)
            return
        size, target = self.gate_width(gate), self.narrow_target(gate)
        selector = gate >> 16 & 0xFFFF
        segment = self.handler_segment(selector, u64(0))
        level = self.inner_level(access_of(segment))
        if self.flags & VM != 0 and level != 0:
            self.selector_fault(u64(VECTOR_GP), selector)
        if target > limit_of(segment):
            self.selector_fault(u64(VECTOR_GP), u64(0))
        self.push_event(level, size, self.pushed_flags(kind), code, coded)
        self.enter_handler(level, selector, segment, target, gate)

    def gate_width(self, gate: u64) -> u64:
        """How many bytes each value has that a gate pushes."""
        return select(access_of(gate) & GATE_16_BITS != 0, u64(4), u64(2))

    def narrow_target(self, gate: u64) -> u64:
        """The offset in a gate of 8 bytes."""
        high = select(access_of(gate) & GATE_16_BITS != 0, gate >> 32 & 0xFFFF_0000, u64(0))
        return gate & 0xFFFF | high

    @function
    def push_event(self, level: u64, size: u64, flags: u64, code: u64, coded: bool) -> None:
        """The handler's frame outside IA-32e mode, on a stack of the TSS if the level changes; from virtual-8086 mode
        it has the data segments too, which become null."""
        place, was, pointer, done = self.segments[SS], self.cpl, self.r[RSP], True
        selector, base, limit, access = u64(place.selector), place.base, place.limit, place.access
        inner, virtual = level != u64(self.cpl), self.flags & VM != 0
        if inner:
            self.take_inner_stack(level)
        try:
            if virtual:
                for n in (GS, FS, DS, ES):
                    self.push_sized(size, u64(self.segments[n].selector))
            if inner:
                self.push_sized(size, selector)
                self.push_sized(size, pointer)
            self.push_sized(size, flags)
            self.push_sized(size, u64(self.segments[CS].selector))
            self.push_sized(size, self.instruction_pointer())
            if coded:
                self.push_sized(size, code)
        except Abandon:
            done = False
        if not done:
            self.r[RSP] = pointer
            place.selector, place.base, place.limit, place.access = u16(selector), base, limit, access
            self.return_to_stack(was)
        if virtual:
            for n in (GS, FS, DS, ES):
                self.clear_segment(u64(n), u64(0))

    @function
    def return_to_stack(self, level: u8) -> None:
        """What could not be pushed on is undone; on with the fault."""
        self.cpl = level
        self.settle_mode()
        raise Abandon

    @function
    def take_inner_stack(self, level: u64) -> None:
        """SS:ESP that the TSS names for an inner level, and its rights (SDM 3A, 5.8.5)."""
        pointer, selector = self.inner_stack(level)
        if selector & 0xFFFC == 0:
            self.selector_fault(u64(VECTOR_TS), selector)
        found = self.descriptor(selector, u64(VECTOR_TS))
        self.check_stack(selector, found, level, u64(VECTOR_TS))
        found = self.set_type_bit(selector, found, u64(ACCESSED))
        fill_segment(self.segments[SS], selector, found)
        self.r[RSP] = pointer
        self.cpl, self.flat = u8(level), u8(0)
        self.stack_bits = select(access_of(found) & BIG != 0, u8(32), u8(16))
        self.settle_privilege()

    def inner_stack(self, level: u64):
        """(ESP, SS) for a level, from a TSS of 16 or 32 bits."""
        wide = self.tr.access & 8 != 0
        at = select(wide, level * 8 + 4, level * 4 + 2)
        if at + select(wide, u64(5), u64(3)) > u64(self.tr.limit):
            self.selector_fault(u64(VECTOR_TS), u64(self.tr.selector))
        pointer, selector = self.tr.base + at, self.tr.base + at + select(wide, u64(4), u64(2))
        mask = select(wide, u64(0xFFFF_FFFF), u64(0xFFFF))
        return self.system_load(u32, pointer) & mask, self.system_load(u16, selector)

    @function
    def push_sized(self, size: u64, value: u64) -> None:
        """Push a value of 2 or 4 bytes."""
        if size == 4:
            self.push(u32, u32(value))
        else:
            self.push(u16, u16(value))

    @function
    def enter_real(self, vector: u64) -> None:
        """SDM 3A, 20.1.4: the vector table holds far pointers of four bytes; FLAGS, CS and IP are pushed."""
        if vector * 4 + 3 > u64(self.idtr.limit):
            self.raise_fault(VECTOR_GP)
        pointer = self.system_load(u32, self.idtr.base + vector * 4)
        base, top = self.segments[SS].base, self.r[RSP]
        self.store(u16, base + (top - 2 & 0xFFFF), u16(self.rflags()))
        self.store(u16, base + (top - 4 & 0xFFFF), self.segments[CS].selector)
        self.store(u16, base + (top - 6 & 0xFFFF), u16(self.instruction_pointer()))
        self.set_rsp(top - 6)
        self.take_real_segment(u64(CS), pointer >> 16)
        self.pc = (pointer >> 16 << 4) + (pointer & 0xFFFF)
        self.flags = self.flags & ~u64(IF | TF | RF)

    # Events that instructions and boards cause.

    @function
    def software_interrupt(self, vector: u64, kind: u64) -> None:
        """INT n (kind 0), INT3 and INTO (1), INT1 (2: a trap that no privilege is needed for). pc is past it."""
        if kind == 2:
            if self.earned != 0:  # what MOV SS has held back comes with it
                self.tell_debugger(self.earned)
                self.earned = u64(0)
            self.deliver_event(vector, u64(0), u64(TRAPPING))
        elif kind == 0 and self.flags & VM != 0 and self.is_redirected(vector):
            self.enter_redirected(vector)
        elif kind == 0 and self.flags & VM != 0 and self.flags & IOPL != IOPL:
            self.raise_fault(VECTOR_GP)
        else:
            self.enter(vector, u64(0), u64(SOFTWARE))

    @function
    def inject(self, vector: u64) -> None:
        """An external interrupt, from the board while the processor stands (the exit WINDOW said that it may)."""
        self.exit, self.shadow = u64(NONE), u64(0)
        self.deliver_event(vector, u64(0), u64(OUTSIDE))

    # Between instructions.

    def poll(self) -> None:
        """What the engine asks after instructions that may have changed the answer, and at the start of a run."""
        if unlikely((self.context & STEP) | self.dead | self.stepping != 0):
            self.after_step()
        if unlikely(self.intr | self.nmi | self.smi != 0):
            self.look_for_interrupts()
        if unlikely(self.breakpoints != 0) and self.exit == NONE:
            self.meet_breakpoint()

    def quiet(self):
        """Whether poll() has nothing to do."""
        step = self.context & STEP
        return step | self.dead | self.stepping | self.intr | self.nmi | self.smi | self.breakpoints == 0

    @function
    def after_step(self) -> None:
        """An instruction has ended that ran alone: traps of RFLAGS.TF and of breakpoints, the end of a shadow, and of
        RFLAGS.RF unless this instruction has set it."""
        if self.dead != 0:
            self.exit = u64(DIED)
        elif self.left != self.budget:  # else: a run begins
            held = self.shadow == SHADOW_SS and self.shadow_armed == 0
            if self.shadow_armed != 0:
                self.shadow = u64(0)
            self.shadow_armed = u64(self.shadow != 0)
            branched = self.has_branched()
            if branched and self.recording != 0:
                self.record_branch(self.start)
            if self.resuming == 0:
                self.flags = self.flags & ~u64(RF)
            self.resuming = u64(0)
            steps = self.stepping != 0 and (branched or self.held[AT_DEBUGCTL] & BTF == 0)
            due = self.earned | select(steps, u64(BS), u64(0))
            if due != 0 and not held:
                self.earned = u64(0)
                self.tell_debugger(due)
                self.deliver_event(u64(VECTOR_DB), u64(0), u64(TRAPPING))
            self.stepping = self.flags >> 8 & 1
            if self.shadow == 0:
                self.settle_privilege()
        self.recording = self.held[AT_DEBUGCTL] & LBR

    @function
    def meet_breakpoint(self) -> None:
        """A breakpoint on the next instruction is met before it runs; but not right after MOV SS."""
        bits = self.at_breakpoint()
        if bits != 0 and not (self.shadow == SHADOW_SS and self.pc == self.shadow_pc):
            self.tell_debugger(bits)
            self.deliver_event(u64(VECTOR_DB), u64(0), u64(TRAPPING))

    @function
    def look_for_interrupts(self) -> None:
        """SMI and NMI are taken here; an enabled interrupt leaves to the board, which knows the vector."""
        if self.exit != NONE or self.in_shadow():
            return
        if self.smi != 0 and self.smm == 0:
            self.enter_management()
        elif self.nmi != 0 and self.nmi_blocked == 0:
            self.nmi, self.nmi_blocked = u64(0), u64(1)
            self.deliver_event(u64(VECTOR_NMI), u64(0), u64(OUTSIDE))
        elif self.intr != 0 and self.flags & IF != 0:
            self.exit = u64(WINDOW)

    def takes_interrupt(self):
        """Whether all that poll() would do now is to leave for the vector of an interrupt."""
        due = (self.context & STEP) | self.dead | self.stepping | self.smi | self.nmi
        held = self.shadow != 0 and self.pc == self.shadow_pc  # else it is over, though nobody has looked yet
        return due == 0 and not held and self.intr != 0 and self.flags & IF != 0

    def in_shadow(self):
        """Whether one more instruction must come first; then the engine is told to stop after it."""
        if self.shadow == 0:
            return False
        if self.shadow_armed == 0:
            if self.pc != self.shadow_pc:
                self.shadow = u64(0)
                return False
            self.shadow_armed = u64(1)
            self.use(self.translations, self.mode() | STEP)
        return True

    def cast_shadow(self, kind: u64) -> None:
        """Hold interrupts off until the instruction after this one is done. cpu.pc is there already."""
        self.shadow, self.shadow_armed, self.shadow_pc = kind, u64(0), self.pc

    # Ports.

    @function
    def check_io(self, port: u64, size: u64) -> None:
        """#GP(0) unless CPL or the I/O permission bitmap of the TSS allows this port (SDM 1, 18.5). A breakpoint there
        is met."""
        self.watch_port(port, size)
        if self.cr0 & CR0_PE == 0 or (u64(self.cpl) <= self.flags >> 12 & 3 and self.flags & VM == 0):
            return
        if self.tr.limit < 103 or self.tr.access & 0x1F != BUSY_TSS:
            self.raise_fault(VECTOR_GP)
        at = self.system_load(u16, self.tr.base + 102) + (port >> 3)
        if at + 1 > u64(self.tr.limit):
            self.raise_fault(VECTOR_GP)
        barred = self.system_load(u16, self.tr.base + at) >> (port & 7)
        if barred & (u64(1) << size) - 1 != 0:
            self.raise_fault(VECTOR_GP)
