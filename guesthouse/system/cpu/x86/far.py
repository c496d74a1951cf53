"""Far transfers of control: JMP, CALL, RET between segments and through call gates, and IRET (SDM 3A, 5.8;
2A, 2B).

Task switches are those of tasks.py; a fault in one is the new task's.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.cpu import NONE, WRITE
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.exceptions import FAULTING, Exceptions
from guesthouse.system.cpu.x86.flags import AC, DF, ID, IF, IOPL, NT, RF, STATUS, TF, VIF, VIP, VM
from guesthouse.system.cpu.x86.operands import Ap, Iw, Mp, Size
from guesthouse.system.cpu.x86.paging import canonical
from guesthouse.system.cpu.x86.segments import (
    CALL_GATE, GATE_16_BITS, TASK_GATE, TSS, TSS_16, access_of, dpl_of, fill_segment, is_code, is_data, limit_of,
)
from guesthouse.system.cpu.x86.state import (
    ACCESSED, BIG, CONFORMING, LONG, PRESENT, USER_TYPE,
    CS, DS, ES, FS, GS, RSP, SS, VECTOR_GP, VECTOR_NP, VECTOR_TS,
)
from guesthouse.system.cpu.x86.tasks import BY_CALL, BY_JUMP, BY_RETURN
from guesthouse.typed import Abandon, function

SEGMENT_TYPE, GATE_OFFSET_HIGH = USER_TYPE, 0xFFFF_0000
LOW_FLAGS = STATUS | TF | DF | NT


class FarTransfers(Exceptions):
    """The checks and the commits that far transfers share."""

    @function
    def checked_code(self, selector: u64, found: u64, level: u64) -> u64:
        """The descriptor, marked as accessed; a fault unless this segment may run at this level: of that DPL, or
        conforming and not less privileged."""
        access = access_of(found)
        fits = is_code(access)
        if access & CONFORMING != 0:
            fits = fits and dpl_of(access) <= level
        else:
            fits = fits and dpl_of(access) == level
        if not fits or self.long_mode() and access & (LONG | BIG) == LONG | BIG:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        return self.set_type_bit(selector, found, u64(ACCESSED))

    @function
    def check_target(self, found: u64, offset: u64) -> None:
        """#GP(0) for an address where code of this segment cannot be."""
        if self.long_mode() and access_of(found) & LONG != 0:
            if not canonical(offset):
                self.raise_fault(VECTOR_GP)
        elif offset > limit_of(found):
            self.raise_fault(VECTOR_GP)

    @function
    def take_code(self, selector: u64, found: u64, level: u64, offset: u64) -> None:
        """Commit: CS with this RPL, CPL, and the instruction pointer."""
        self.fill_code(selector & 0xFFFC | level, found, offset)
        self.settle_mode()

    @function
    def jump_far(self, selector: u64, offset: u64) -> None:
        """SDM 2A, JMP: to a code segment or through a call gate, at the same level."""
        if self.selectors_are_bases():
            self.take_real(selector, offset)
            return
        if selector & 0xFFFC == 0:
            self.raise_fault(VECTOR_GP)
        found = self.descriptor(selector, u64(VECTOR_GP))
        if self.is_task(access_of(found)):
            self.change_task(selector, found, u64(BY_JUMP))
            return
        if access_of(found) & SEGMENT_TYPE == 0:
            self.check_gate(selector, found)
            offset = self.gate_offset(selector, found)
            selector = found >> 16 & 0xFFFF
            found = self.gate_segment(selector)
        elif access_of(found) & CONFORMING == 0 and selector & 3 > u64(self.cpl):
            self.selector_fault(u64(VECTOR_GP), selector)
        found = self.checked_code(selector, found, u64(self.cpl))
        self.check_target(found, offset)
        self.take_code(selector, found, u64(self.cpl), offset)

    @function
    def take_real(self, selector: u64, offset: u64) -> None:
        """Real mode: a selector is a base. As an immediate it came with its sign extended."""
        self.take_real_segment(u64(CS), selector & 0xFFFF)
        self.pc = ((selector & 0xFFFF) << 4) + (offset & 0xFFFF)
        self.settle_mode()

    @function
    def call_far(self, selector: u64, offset: u64, size: u64) -> None:
        """SDM 2A, CALL; `size` is that of the pushed CS and RIP in bytes."""
        if self.selectors_are_bases():
            self.push_return(size)
            self.take_real(selector, offset)
            return
        if selector & 0xFFFC == 0:
            self.raise_fault(VECTOR_GP)
        found = self.descriptor(selector, u64(VECTOR_GP))
        if self.is_task(access_of(found)):
            self.change_task(selector, found, u64(BY_CALL))
            return
        if access_of(found) & SEGMENT_TYPE == 0:
            self.call_gate(selector, found)
            return
        if access_of(found) & CONFORMING == 0 and selector & 3 > u64(self.cpl):
            self.selector_fault(u64(VECTOR_GP), selector)
        found = self.checked_code(selector, found, u64(self.cpl))
        self.check_target(found, offset)
        self.push_return(size)
        self.take_code(selector, found, u64(self.cpl), offset)

    @function
    def push_return(self, size: u64) -> None:
        """CS and RIP. The lower of the two is written first, so that a fault leaves RSP where it was."""
        selector, back = u64(self.segments[CS].selector), self.instruction_pointer()
        low, high = self.at_stack(u64(0) - size * 2, size), self.at_stack(u64(0) - size, size)
        if size == 8:
            self.store(u64, low, back)
            self.store(u64, high, selector)
        elif size == 4:
            self.store(u32, low, u32(back))
            self.store(u32, high, u32(selector))
        else:
            self.store(u16, low, u16(back))
            self.store(u16, high, u16(selector))
        self.set_rsp(self.r[RSP] - size * 2)

    # Tasks, SDM 3A, 7.3.

    def is_task(self, access: u64):
        """Whether a descriptor is a task gate or a TSS that JMP and CALL can switch to."""
        type_ = access & 0x1F
        return not self.long_mode() and (type_ == TASK_GATE or type_ == TSS or type_ == TSS_16)

    @function
    def change_task(self, selector: u64, found: u64, how: u64) -> None:
        """JMP and CALL to a TSS or through a task gate."""
        access = access_of(found)
        if dpl_of(access) < u64(self.cpl) or dpl_of(access) < selector & 3:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & 0x1F == TASK_GATE:
            if access & PRESENT == 0:
                self.selector_fault(u64(VECTOR_NP), selector)
            selector = found >> 16 & 0xFFFF
        self.go_to_task(selector, how)

    @function
    def go_to_task(self, selector: u64, how: u64) -> None:
        """Switch; what faults after TR has changed is delivered in the new task."""
        before, done = self.tr.base, True
        try:
            self.switch_task(selector, how, self.instruction_pointer())
        except Abandon:
            done = False
        if not done:
            if self.tr.base == before:
                raise Abandon
            self.exit = u64(NONE)
            wrong = select(self.fault == VECTOR_GP, u64(VECTOR_TS), self.fault)
            self.settle_mode()
            self.deliver_event(wrong, self.fault_code, u64(FAULTING))

    # Call gates, SDM 3A, 5.8.3.

    @function
    def check_gate(self, selector: u64, gate: u64) -> None:
        """Fault unless this is a present call gate that may be used from here."""
        access = access_of(gate)
        level = dpl_of(access)
        type_ = access & 0x1F
        if not self.long_mode():
            type_ = type_ | GATE_16_BITS
        if type_ != CALL_GATE or level < u64(self.cpl) or level < selector & 3:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)

    @function
    def gate_offset(self, selector: u64, gate: u64) -> u64:
        """Where a call gate leads; in IA-32e mode it has 16 bytes."""
        low = gate & 0xFFFF | gate >> 32 & GATE_OFFSET_HIGH
        if not self.long_mode():
            return self.narrow_target(gate)
        high = self.system_load(u64, self.descriptor_address(selector, u64(16), u64(VECTOR_GP)) + 8)
        if high >> 40 & 0x1F != 0:
            self.selector_fault(u64(VECTOR_GP), selector)
        return low | high << 32

    @function
    def gate_segment(self, selector: u64) -> u64:
        """The descriptor of the code segment that a gate names."""
        if selector & 0xFFFC == 0:
            self.raise_fault(VECTOR_GP)
        found = self.descriptor(selector, u64(VECTOR_GP))
        access = access_of(found)
        wrong_width = self.long_mode() and access & (LONG | BIG) != LONG
        if not is_code(access) or dpl_of(access) > u64(self.cpl) or wrong_width:
            self.selector_fault(u64(VECTOR_GP), selector)
        if access & PRESENT == 0:
            self.selector_fault(u64(VECTOR_NP), selector)
        return self.set_type_bit(selector, found, u64(ACCESSED))

    @function
    def call_gate(self, selector: u64, gate: u64) -> None:
        """CALL through a gate: at the same level, or to an inner one with a stack from the TSS."""
        self.check_gate(selector, gate)
        offset = self.gate_offset(selector, gate)
        target = gate >> 16 & 0xFFFF
        found = self.gate_segment(target)
        self.check_target(found, offset)
        level = self.inner_level(access_of(found))
        if level == u64(self.cpl):
            self.push_return(select(self.long_mode(), u64(8), self.gate_width(gate)))
        elif self.long_mode():
            self.call_inner(level)
        else:
            self.call_inner_narrow(level, gate)
        self.take_code(target, found, level, offset)

    @function
    def call_inner(self, level: u64) -> None:
        """SS:RSP, CS and RIP on the stack of an inner level, in IA-32e mode."""
        stack = self.long_stack(level, u64(0))
        was, back, done = self.cpl, self.instruction_pointer(), True
        self.act_at_level(u8(level))
        try:
            self.probe(stack - 32, u64(32), u64(WRITE))
        except Abandon:
            done = False
        if not done:
            self.return_to_level(was, done)
        self.store(u64, stack - 8, u64(self.segments[SS].selector))
        self.store(u64, stack - 16, self.r[RSP])
        self.store(u64, stack - 24, u64(self.segments[CS].selector))
        self.store(u64, stack - 32, back)
        self.clear_segment(u64(SS), level)
        self.r[RSP] = stack - 32

    @function
    def call_inner_narrow(self, level: u64, gate: u64) -> None:
        """SS:ESP, the parameters, CS and EIP on the stack of an inner level."""
        size, left, place = self.gate_width(gate), gate >> 32 & 31, self.segments[SS]
        selector, base, limit, access = u64(place.selector), place.base, place.limit, place.access
        was, pointer, done = self.cpl, self.r[RSP], True
        mask = select(self.stack_bits == 32, u64(0xFFFF_FFFF), u64(0xFFFF))
        self.take_inner_stack(level)
        try:
            self.push_sized(size, selector)
            self.push_sized(size, pointer)
            while left != 0:
                left = left - 1
                self.push_sized(size, self.load_word(base + (pointer + left * size & mask) & 0xFFFF_FFFF, size))
            self.push_sized(size, u64(self.segments[CS].selector))
            self.push_sized(size, self.instruction_pointer())
        except Abandon:
            done = False
        if not done:
            self.r[RSP] = pointer
            place.selector, place.base, place.limit, place.access = u16(selector), base, limit, access
            self.return_to_stack(was)

    @function
    def load_word(self, address: u64, size: u64) -> u64:
        """2 or 4 bytes."""
        if size == 4:
            return u64(self.load(u32, address))
        return u64(self.load(u16, address))

    # Returns.

    @function
    def popped(self, size: u64, n: u64) -> u64:
        """The n-th value of `size` bytes on the stack, which does not move."""
        at = self.at_stack(size * n, size)
        if size == 8:
            return self.load(u64, at)
        if size == 4:
            return u64(self.load(u32, at))
        return u64(self.load(u16, at))

    @function
    def return_segment(self, selector: u64) -> u64:
        """The descriptor of the code segment to return to, checked; not to an inner level."""
        if selector & 0xFFFC == 0:
            self.raise_fault(VECTOR_GP)
        found = self.descriptor(selector, u64(VECTOR_GP))
        if selector & 3 < u64(self.cpl):
            self.selector_fault(u64(VECTOR_GP), selector)
        return self.checked_code(selector, found, selector & 3)

    @function
    def return_stack(self, selector: u64, level: u64, code: u64) -> u64:
        """The descriptor for SS of the level returned to, checked; 0 for the null selector of 64-bit code."""
        if selector & 0xFFFC == 0:
            if access_of(code) & LONG == 0 or not self.long_mode() or level == 3 or selector & 3 != level:
                self.raise_fault(VECTOR_GP)
            return u64(0)
        found = self.descriptor(selector, u64(VECTOR_GP))
        self.check_stack(selector, found, level, u64(VECTOR_GP))
        return self.set_type_bit(selector, found, u64(ACCESSED))

    @function
    def return_outwards(self, code: u64, stack: u64, selectors: u64, offset: u64, pointer: u64) -> None:
        """Commit a return that also takes SS:RSP; `selectors` has CS in its low half and SS above."""
        selector = selectors & 0xFFFF
        outwards = selector & 3 > u64(self.cpl)
        fill_segment(self.segments[SS], selectors >> 16, stack)
        self.take_code(selector, code, selector & 3, offset)
        self.set_rsp(pointer)
        if outwards:
            for n in (ES, DS, FS, GS):
                self.drop_inner_segment(u64(n))
            self.settle_mode()

    @function
    def drop_inner_segment(self, n: u64) -> None:
        """A data segment that the outer level may not have becomes null (SDM 3A, 5.8.6). Its base stays, as processors
        do it: 64-bit code still adds that of FS and GS."""
        access = u64(self.segments[n].access)
        private = is_data(access) or is_code(access) and access & CONFORMING == 0
        if private and dpl_of(access) < u64(self.cpl):
            self.segments[n].selector, self.segments[n].access = u16(0), u16(0)

    @function
    def return_far(self, size: u64, drop: u64) -> None:
        """SDM 2B, RET: CS:RIP, and SS:RSP of an outer level; `drop` bytes of parameters on both stacks."""
        offset, selector = self.popped(size, u64(0)), self.popped(size, u64(1)) & 0xFFFF
        if self.selectors_are_bases():
            self.set_rsp(self.r[RSP] + size * 2 + drop)
            self.take_real(selector, offset)
            return
        code = self.return_segment(selector)
        self.check_target(code, offset)
        if selector & 3 == u64(self.cpl):
            self.set_rsp(self.r[RSP] + size * 2 + drop)
            self.take_code(selector, code, selector & 3, offset)
            return
        pointer = self.parameters_above(size, drop, u64(2))
        stack_selector = self.parameters_above(size, drop, u64(3))
        stack = self.return_stack(stack_selector & 0xFFFF, selector & 3, code)
        self.return_outwards(code, stack, selector | (stack_selector & 0xFFFF) << 16, offset, pointer + drop)

    def parameters_above(self, size: u64, drop: u64, n: u64) -> u64:
        """What lies above the parameters that RET drops."""
        at = self.at_stack(size * n + drop, size)
        if size == 8:
            return self.load(u64, at)
        if size == 4:
            return u64(self.load(u32, at))
        return u64(self.load(u16, at))

    @function
    def take_flags(self, image: u64, size: u64, level: u64) -> None:
        """RFLAGS from a frame, as far as `level`, the one returned from, may change it (SDM 2A, IRET)."""
        mask = u64(LOW_FLAGS)
        if size != 2:
            mask = mask | AC | ID | RF
        if level <= self.flags >> 12 & 3:
            mask = mask | IF
        if level == 0:
            mask = mask | IOPL
            if size != 2:
                mask = mask | VIF | VIP
        self.set_rflags(self.kept_flags(self.rflags() & ~mask | image & mask))

    @function
    def interrupt_return(self, size: u64) -> None:
        """SDM 2A, IRET. Blocking of NMIs ends even if it faults."""
        self.nmi_blocked = u64(0)
        if self.selectors_are_bases():
            self.return_real(size)
            return
        if self.flags & NT != 0:
            if self.long_mode():
                self.raise_fault(VECTOR_GP)
            self.go_to_task(self.system_load(u16, self.tr.base), u64(BY_RETURN))
            return
        offset, selector = self.popped(size, u64(0)), self.popped(size, u64(1)) & 0xFFFF
        image = self.popped(size, u64(2))
        if size == 4 and image & VM != 0 and not self.long_mode() and self.cpl == 0:
            self.return_virtual(offset, selector, image)
            return
        code = self.return_segment(selector)
        self.check_target(code, offset)
        level = u64(self.cpl)
        if self.code_bits == 64 or selector & 3 != level:
            pointer, stack_selector = self.popped(size, u64(3)), self.popped(size, u64(4)) & 0xFFFF
            stack = self.return_stack(stack_selector, selector & 3, code)
            self.take_flags(image, size, level)
            self.return_outwards(code, stack, selector | stack_selector << 16, offset, pointer)
        else:
            self.set_rsp(self.r[RSP] + size * 3)
            self.take_flags(image, size, level)
            self.take_code(selector, code, level, offset)

    @function
    def return_virtual(self, offset: u64, selector: u64, image: u64) -> None:
        """IRET to virtual-8086 mode: ESP, SS, ES, DS, FS and GS follow in the frame (SDM 3A, 20.2.5)."""
        values = [self.popped(u64(4), u64(n)) for n in range(3, 9)]
        self.flags = self.flags | VM
        self.take_flags(image, u64(4), u64(0))
        for n, value in zip((SS, ES, DS, FS, GS), values[1:]):
            self.segments[n].selector = u16(value)
        self.segments[CS].selector = u16(selector)
        self.r[RSP] = values[0]
        self.enter_virtual()
        self.pc = (selector << 4) + (offset & 0xFFFF)

    @function
    def return_real(self, size: u64) -> None:
        """IRET in real and virtual-8086 mode."""
        virtual = self.flags_are_virtual(size)
        offset, selector, image = self.popped(size, u64(0)), self.popped(size, u64(1)), self.popped(size, u64(2))
        if virtual:
            self.take_virtual_image(image)
        else:
            self.take_flags(image, size, u64(self.cpl))
        self.set_rsp(self.r[RSP] + size * 3)
        self.take_real(selector & 0xFFFF, offset)


@op("EA cp", Ap, modes=LEGACY, ends=LEAVES)
def jmp_far(cpu, to):
    cpu.jump_far(to.selector, to.offset)


@op("9A cp", Size, Ap, modes=LEGACY, ends=LEAVES)
def call_far_direct(cpu, kind, to):
    cpu.call_far(to.selector, to.offset, u64(kind.size))


def far_pointer(cpu, kind: type, by):
    """(selector, offset) in memory."""
    return u64(cpu.load(u16, by.at(kind.size, 2))), u64(cpu.load(kind, by.at(0, kind.size)))


@op("FF /5", Size, Mp, ends=LEAVES)
def jmp_far_through(cpu, kind, by):
    """SDM 2A, JMP m16:16, m16:32, m16:64."""
    selector, offset = far_pointer(cpu, kind, by)
    cpu.jump_far(selector, offset)


@op("FF /3", Size, Mp, ends=LEAVES)
def call_far_through(cpu, kind, by):
    """SDM 2A, CALL m16:16, m16:32, m16:64."""
    selector, offset = far_pointer(cpu, kind, by)
    cpu.call_far(selector, offset, u64(kind.size))


@op("CB", Size, ends=LEAVES)
def ret_far(cpu, kind):
    cpu.return_far(u64(kind.size), u64(0))


@op("CA iw", Size, Iw, ends=LEAVES)
def ret_far_dropping(cpu, kind, drop):
    cpu.return_far(u64(kind.size), u64(drop.get()))


@op("CF", Size, ends=LEAVES)
def iret(cpu, kind):
    cpu.interrupt_return(u64(kind.size))
