"""The general-purpose part of an x86 processor's state: registers, segments, and what decoding depends on
(SDM 1, 3.4).

SystemState (system_state.py) adds control registers and tables, FloatState (float_state.py) x87 and SSE,
X86 (guest.py) makes it whole.
"""

from guesthouse.bits import i64, likely, select, u8, u16, u32, u64, unlikely
from guesthouse.engine.cpu import FAULT
from guesthouse.system.cpu.x86.accesses import UNCHECKED, WRITES
from guesthouse.system.cpu.x86.flags import Flags
from guesthouse.typed import Abandon, Array, Struct, function

# Register and segment numbers as instructions encode them.
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
ES, CS, SS, DS, FS, GS = range(6)

# Exception vectors, SDM 3, 6.3.1.
VECTOR_DE, VECTOR_DB, VECTOR_NMI, VECTOR_BP, VECTOR_OF, VECTOR_BR, VECTOR_UD, VECTOR_NM, VECTOR_DF = range(9)
VECTOR_TS, VECTOR_NP, VECTOR_SS, VECTOR_GP, VECTOR_PF = range(10, 15)
VECTOR_MF, VECTOR_AC, VECTOR_MC, VECTOR_XM = range(16, 20)

# Bits of Segment.access, SDM 3A, 3.4.5.
ACCESSED, WRITABLE, CONFORMING, CODE, USER_TYPE, PRESENT = 1, 2, 4, 8, 0x10, 0x80
EXPAND_DOWN = CONFORMING  # of a data segment
LONG, BIG, GRANULAR = 0x2000, 0x4000, 0x8000


class Segment(Struct):
    """A segment register with its hidden part. `limit` is the last valid offset, granularity applied;
    `access` has bits 8 to 23 of the descriptor's upper half: type, S, DPL, P in its low byte, AVL, L, D/B,
    G in bits 12 to 15."""

    base: u64
    limit: u32
    access: u16
    selector: u16


class Registers(Flags, within="near"):
    """What operands are made of. `nothing` is always zero: those that lack a base or index register point to it. `ea`
    takes an effective address that needed a step of its own; `start` (Cpu) is the base of what is relative to RIP."""

    r: Array[u64, 16]
    start: u64
    nothing: u64
    ea: u64


class Segments(Registers, within="nearby"):
    """The segment registers: string instructions have their bases for operands."""

    segments: Array[Segment, 6]


BELOW = -Registers.offset("r")  # how far the first register is before the state's address


class General(Segments):
    """All of this, and the mode. `flags` has the bits of RFLAGS other than the six status flags, in place."""

    flags: u64
    cpl: u8
    code_bits: u8  # 16, 32 or 64: the default sizes of the running code
    stack_bits: u8  # 16, 32 or 64: how much of RSP addresses the stack
    bounds: u8  # 0 if CS is 4 GiB from 0 on, and in 64-bit code; else 1 to 7, for base and limit: decoding looks there
    flat: u8  # 1 in 32-bit code outside IA-32e mode whose DS, ES and SS are the whole of memory
    reach: u64  # the bits of a sum of base, index and displacement that count: 32 if flat; else all, and steps cut them

    def raise_fault(self, vector, code=0) -> None:
        """Give up this instruction with an exception; nothing that the guest can see may have changed yet."""
        self.fault = u64(vector)
        self.fault_code = u64(code)
        self.exit = u64(FAULT)
        raise Abandon

    def mode(self) -> u64:
        """What decoded code depends on: the mode that Cpu.use wants."""
        sizes = u64(self.code_bits) << 2 | u64(self.stack_bits) << 8
        return u64(self.cpl) | u64(self.flat) << 2 | sizes | u64(self.bounds) << 9

    def get(self, kind: type, n: int):
        """Register number n, the low part of `kind`."""
        return self.peek(kind, 8 * n - BELOW)

    def put(self, kind: type, n: int, value) -> None:
        """Set the low part of register number n; a 32-bit value clears the upper half (SDM 1, 3.4.1.1)."""
        if kind.size == 4:
            self.r[n] = u64(value)
        else:
            self.poke(kind, 8 * n - BELOW, value)

    def target(self, kind: type, offset):
        """The linear address of an offset in the code segment, whose base is 0 in 64-bit code; #GP(0) if
        not canonical. A branch asks before it changes anything."""
        if kind.size == 8:
            if unlikely(u64(i64(offset << 16) >> 16) != offset):
                self.raise_fault(VECTOR_GP)
            return offset
        if likely(self.bounds == 0):
            return u64(offset)
        if unlikely(u64(offset) > u64(self.segments[CS].limit)):
            self.raise_fault(VECTOR_GP)
        return self.segments[CS].base + u64(offset) & 0xFFFF_FFFF

    def code_base(self) -> u64:
        """Where the code segment begins."""
        if likely(self.bounds == 0):
            return u64(0)
        return self.segments[CS].base

    def jump(self, kind: type, offset) -> None:
        """Go to an offset in the code segment. `pc` is a linear address."""
        self.pc = self.target(kind, offset)

    def linear(self, segment: u64, offset: u64, how: u64) -> u64:
        """The linear address of an offset in a segment, for an access of which `how` tells (accesses.py).
        Outside 64-bit mode addresses wrap at 4 GiB, and what the segment does not allow is a fault."""
        if self.code_bits == 64:
            if segment >= FS:
                return self.segments[segment].base + offset
            return offset
        if self.flat != 0 and segment < FS and segment != CS:
            return offset & 0xFFFF_FFFF
        place = self.segments[segment]
        whole = place.limit == 0xFFFF_FFFF and place.access & 0x9E == 0x92 and offset + (how & 0xFFF) <= 0xFFFF_FFFF
        if unlikely(not whole):
            self.check_segment(segment, offset, how)
        return place.base + offset & 0xFFFF_FFFF

    @function
    def check_segment(self, segment: u64, offset: u64, how: u64) -> None:
        """#GP(0), or #SS(0) for the stack, unless the segment has these bytes and may be used so (SDM 3A, 5.3)."""
        access = u64(self.segments[segment].access)
        last, limit = offset + (how & 0xFFF), u64(self.segments[segment].limit)
        fits = last <= limit
        if access & (CODE | EXPAND_DOWN) == EXPAND_DOWN:
            fits = offset > limit and last <= select(access & BIG != 0, u64(0xFFFF_FFFF), u64(0xFFFF))
        if how & WRITES != 0:
            fits = fits and access & (CODE | WRITABLE) == WRITABLE
        else:
            fits = fits and access & (CODE | WRITABLE) != CODE
        if not (fits and access & PRESENT != 0 or how & UNCHECKED != 0):
            self.raise_fault(select(segment == SS, u64(VECTOR_SS), u64(VECTOR_GP)))

    @function
    def wrapped(self, address: u64, segment: u64, n: u64, how: u64) -> u64:
        """The linear address of the part that begins with byte n of an operand with a 16-bit address."""
        return self.linear(segment, address - self.segments[segment].base + n & 0xFFFF, how)

    @function
    def probe_wrapped(self, address: u64, segment: u64, size: u64, writes: u64) -> None:
        """Fault now if any byte of such an operand would."""
        how = select(writes != 0, u64(WRITES), u64(0))
        room = u64(0x10000) - (address - self.segments[segment].base & 0xFFFF)
        first = select(room < size, room, size)
        self.probe(self.wrapped(address, segment, u64(0), how | first - 1), first, writes)
        if first < size:
            self.probe(self.wrapped(address, segment, first, how | size - first - 1), size - first, writes)

    @function
    def room_in_segment(self, segment: u64, offset: u64) -> u64:
        """How many bytes the segment has from an offset in it on."""
        place = self.segments[segment]
        end = u64(place.limit)
        if place.access & (CODE | EXPAND_DOWN) == EXPAND_DOWN:
            end = select(place.access & BIG != 0, u64(0xFFFF_FFFF), u64(0xFFFF))
        return end + 1 - offset

    def stack_linear(self, offset: u64, size: u64) -> u64:
        """The linear address of an offset in the stack segment, cut to the width of the stack, where `size` bytes
        are used."""
        if likely(self.stack_bits == 64):
            return offset
        if likely(self.flat != 0):
            return offset & 0xFFFF_FFFF
        return self.stack_checked(offset, size)

    @function
    def stack_checked(self, offset: u64, size: u64) -> u64:
        """The same where the stack segment may have a base and a limit."""
        offset = offset & select(self.stack_bits == 32, u64(0xFFFF_FFFF), u64(0xFFFF))
        self.check_segment(u64(SS), offset, size - 1)
        return self.segments[SS].base + offset & 0xFFFF_FFFF

    def set_rsp(self, value: u64) -> None:
        """Move the stack pointer, as much of it as the stack's width is."""
        if likely(self.stack_bits == 64):
            self.r[RSP] = value
        elif self.stack_bits == 32:
            self.r[RSP] = value & 0xFFFF_FFFF
        else:
            self.poke(u16, 8 * RSP - BELOW, u16(value))

    def lowered(self, depth: u64):
        """What the stack pointer is after a push of so many bytes: as much of it moves as the stack's width is."""
        low = self.r[RSP] - depth
        if self.stack_bits == 16:
            low = self.r[RSP] & ~u64(0xFFFF) | low & 0xFFFF
        return low

    def at_stack(self, depth: u64, size: u64) -> u64:
        """The linear address of `size` bytes that lie `depth` above the stack pointer (modulo the stack's width)."""
        return self.stack_linear(self.r[RSP] + depth, size)

    def stack_pointer(self) -> u64:
        return self.r[RSP]

    def push(self, kind: type, value) -> None:
        """Push a value; nothing has changed if it faults. The last thing in a body that may fault."""
        self.store(kind, self.at_stack(u64(0) - kind.size, u64(kind.size)), value)
        self.set_rsp(self.r[RSP] - kind.size)

    def pop(self, kind: type):
        """Pop a value."""
        value = self.load(kind, self.at_stack(u64(0), u64(kind.size)))
        self.set_rsp(self.r[RSP] + kind.size)
        return value
