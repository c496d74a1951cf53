"""The arithmetic flags (SDM 1, 3.4.3): CF by itself, for many instructions change it alone, or all but it; OF and the
others beside each other as an x86 host has them in AX after LAHF and SETO, so that a host that has the guest's
instruction tells its flags (host_added and the like). Both have eight bytes of their own, stored at once: a load finds
what was stored just before it, and a host that met another store there last takes twenty cycles more (AMD's Zen 5,
where code has not run often enough to be foreseen).

Every instruction leaves all of them exact: there is nothing lazy that a fault could find half done.
"""

from guesthouse.bits import popcount, select, signed, u8, u16, u64
from guesthouse.engine.host import condition_of, flags_of, standing
from guesthouse.engine.processor import Processor
from guesthouse.typed import Array

CF, PF, AF, ZF, SF, TF, IF, DF, OF = 0x1, 0x4, 0x10, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IOPL, NT, RF, VM, AC, VIF, VIP, ID = (
    0x3000,
    0x4000,
    0x1_0000,
    0x2_0000,
    0x4_0000,
    0x8_0000,
    0x10_0000,
    0x20_0000,
)
STATUS = CF | PF | AF | ZF | SF | OF
OUTCOME = PF | AF | ZF | SF


def said(r):
    """What a result says, as Flags.outcome has it."""
    return u8(r >> (type(r).bits - 1)) << 7 | u8(r == 0) << 6 | u8(popcount(u8(r)) & 1 ^ 1) << 2 | 2


class Flags(Processor, within="near"):
    """The processor with its status flags."""

    overflow: u8  # OF, 0 or 1
    outcome: u8  # SF, ZF, AF and PF, in place; what else LAHF leaves there says nothing, but is the same in all ways
    after_outcome: Array[u8, 6]
    carry: u8  # CF

    def result(self, r) -> None:
        """ZF, SF and PF from a result; the others stay."""
        self.outcome = self.outcome & AF | said(r)

    def set_zero(self, on) -> None:
        """ZF alone."""
        self.outcome = self.outcome & ~u8(ZF) | u8(on) << 6

    def adjusts(self):
        """Whether AF is set."""
        return self.outcome & AF != 0

    def set_adjust(self, on) -> None:
        """AF alone."""
        self.outcome = self.outcome & ~u8(AF) | u8(on) << 4

    def logical(self, r) -> None:
        """AND, OR, XOR, TEST: CF and OF are cleared; AF is undefined and cleared, as processors do."""
        self.carry, self.overflow, self.outcome = u8(0), u8(0), said(r)

    def produced(self, r, carry, overflow) -> None:
        """All flags of a shift or a product that left r, with this CF and OF; AF is undefined and cleared."""
        self.carry, self.overflow, self.outcome = u8(carry), u8(overflow), said(r)

    def rotated(self, carry, overflow) -> None:
        """CF and OF alone."""
        self.carry, self.overflow = u8(carry), u8(overflow)

    # What an instruction leaves tells its flags, with one operand; the other follows. Hot code keeps these arguments
    # until someone asks: the fewer they are, and the more of them are registers of the guest anyway, the better.

    def added(self, r, b) -> None:
        """All flags of an addition of b that left r."""
        self.carry = u8(r < b)
        self.added_up(r - b, b, r)

    def added_with(self, r, b, carry) -> None:
        """All flags of an addition of b + carry, which has their type, that left r."""
        self.carry = u8((r < b) | ((r == b) & (carry != 0)))
        self.added_up(r - b - carry, b, r)

    def incremented(self, r, carry) -> None:
        """All flags of INC, which leaves the carry as it was."""
        self.carry = u8(carry)
        self.added_up(r - 1, type(r)(1), r)

    def added_up(self, a, b, r) -> None:
        self.overflow = u8(((a ^ r) & (b ^ r)) >> (type(r).bits - 1))
        self.outcome = said(r) | adjust(a, b, r) | u8(r < b)

    def compared(self, a, b) -> None:
        """All flags of a - b."""
        self.carry = u8(a < b)
        self.taken_away(a, b, a - b)

    def subtracted(self, r, b) -> None:
        """All flags of a subtraction of b that left r."""
        self.compared(r + b, b)

    def subtracted_with(self, r, b, carry) -> None:
        """All flags of a subtraction of b + carry, which has their type, that left r."""
        a = r + b + carry
        self.carry = u8((a < b) | ((a == b) & (carry != 0)))
        self.overflow = u8(((a ^ b) & (a ^ r)) >> (type(r).bits - 1))
        self.outcome = said(r) | adjust(a, b, r)

    def decremented(self, r, carry) -> None:
        """All flags of DEC, which leaves the carry as it was."""
        self.carry = u8(carry)
        self.taken_away(r + 1, type(r)(1), r)

    def taken_away(self, a, b, r) -> None:
        """OF is written so that LLVM sees a signed comparison in it."""
        S = signed(type(r))
        self.overflow = u8((S(a) < S(b)) != (S(r) < 0))
        self.outcome = said(r) | adjust(a, b, r) | u8(a < b)

    def numbers_compared(self, a, b) -> None:
        """What UCOMISD says of two patterns: ZF, PF and CF, all three if there is no order; the others are cleared."""
        self.carry = u8(order_told(self, 2, a, b))
        self.overflow = u8(0)
        self.outcome = u8(order_told(self, 4, a, b)) << 6 | u8(order_told(self, 10, a, b)) << 2

    def order_found(self, below, differs) -> None:
        """What a comparison of numbers that have an order says (FCOMI): CF and ZF; the others are cleared."""
        self.carry, self.overflow, self.outcome = u8(below), u8(0), u8(differs == 0) << 6

    def condition(self, cc: int):
        """Whether condition number `cc` (SDM 2, B.1.4.7, table B-10), known at compile time, holds."""
        if cc & 1:
            return not self.condition(cc - 1)
        if cc == 0:
            return self.overflow != 0
        if cc == 2:
            return self.carry != 0
        if cc == 4:
            return self.outcome & ZF != 0
        if cc == 6:
            return (self.carry != 0) | (self.outcome & ZF != 0)
        if cc == 8:
            return self.outcome & SF != 0
        if cc == 10:
            return self.outcome & PF != 0
        less = self.outcome >> 7 != self.overflow
        return less if cc == 12 else less | (self.outcome & ZF != 0)

    def status(self) -> u64:
        """The six status flags, each at its place in RFLAGS."""
        return u64(self.carry) | u64(self.outcome & OUTCOME) | u64(self.overflow) << 11

    def set_status(self, image: u64) -> None:
        """Take the six status flags from an image of RFLAGS."""
        self.carry, self.overflow, self.outcome = u8(image & CF), u8(image >> 11 & 1), u8(image & OUTCOME)

    def rflags(self) -> u64:
        """RFLAGS, bit 1 included."""
        return self.flags | self.status() | 2

    def set_rflags(self, image: u64) -> None:
        """Take all of RFLAGS from an image; the caller has decided which bits may change."""
        self.flags = image & (TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID)
        self.set_status(image)

    def flag(self, mask: int):
        """Whether a bit of RFLAGS other than the status flags is set."""
        return self.flags & mask != 0

    def set_flag(self, mask: int, on) -> None:
        """Set or clear a bit of RFLAGS other than the status flags."""
        self.flags = select(on, self.flags | mask, self.flags & ~u64(mask))


def adjust(a, b, r):
    """AF of a sum or difference, as Flags.outcome has it."""
    return u8(a ^ b ^ r) & AF


# The same where the host has the instruction (op.Guest.hosted). What is asked for is its flags alone.


def host_logical(cpu, r) -> None:
    keep(cpu, flags_of("test", r, r, cpu.where_is("carry")))


def host_produced(cpu, r, carry, overflow) -> None:
    cpu.carry = u8(carry)
    keep(cpu, flags_of("test", r, r) | u16(u8(overflow)))


def host_added(cpu, r, b) -> None:
    keep(cpu, flags_of("add", r - b, b, cpu.where_is("carry")))


def host_compared(cpu, a, b) -> None:
    keep(cpu, flags_of("cmp", a, b, cpu.where_is("carry")))


def host_subtracted(cpu, r, b) -> None:
    host_compared(cpu, r + b, b)


def host_incremented(cpu, r, carry) -> None:
    cpu.carry = u8(carry)
    keep(cpu, flags_of("add", r - 1, type(r)(1)))


def host_decremented(cpu, r, carry) -> None:
    cpu.carry = u8(carry)
    keep(cpu, flags_of("cmp", r + 1, type(r)(1)))


def host_condition(cpu, cc: int):
    """From OF and what lies beside it together, as they have been stored."""
    if cc & 1:
        return not host_condition(cpu, cc - 1)
    pair = cpu.peek(u16, Flags.offset("overflow"))
    if cc == 0:
        return pair & 1 != 0
    if cc == 2:
        return cpu.carry != 0
    if cc == 6:
        return (cpu.carry | u8(pair >> 14)) & 1 != 0
    if cc == 12 or cc == 14:
        return condition_of(cc, pair)
    return pair & (ZF if cc == 4 else SF if cc == 8 else PF) << 8 != 0


def standing_condition(cpu, cc: int):
    """The same where the host's flags are still those of the instruction before (op.Guest.standing)."""
    return not standing(cc - 1) if cc & 1 else standing(cc)


def keep(cpu, pair) -> None:
    cpu.poke(u16, Flags.offset("overflow"), pair)


HOSTED = {
    Flags.logical: host_logical, Flags.produced: host_produced, Flags.added: host_added, Flags.compared: host_compared,
    Flags.subtracted: host_subtracted, Flags.incremented: host_incremented, Flags.decremented: host_decremented,
    Flags.condition: host_condition,
}

# The condition that follows what has set the flags, without the flags. For hot code (op.Guest.shortcuts).


def after_compared(cpu, cc: int, a, b):
    """Condition `cc` after compared(a, b)."""
    S = signed(type(a))
    if cc & 1:
        return not after_compared(cpu, cc - 1, a, b)
    if cc == 2:
        return a < b
    if cc == 4:
        return a == b
    if cc == 6:
        return a <= b
    if cc == 12:
        return S(a) < S(b)
    if cc == 14:
        return S(a) <= S(b)
    return after_result(cc, (S(a) < S(b)) != (S(a - b) < 0), False, a - b)


def after_subtracted(cpu, cc: int, r, b):
    """Condition `cc` after subtracted(r, b)."""
    if cc & 14 == 4 or cc & 14 == 8 or cc & 14 == 10:
        return after_result(cc, False, False, r)
    return after_compared(cpu, cc, r + b, b)


def after_added(cpu, cc: int, r, b):
    """Condition `cc` after added(r, b)."""
    return after_result(cc, ((r - b ^ r) & (b ^ r)) >> (type(r).bits - 1) != 0, r < b, r)


def after_incremented(cpu, cc: int, r, carry):
    """Condition `cc` after incremented(r, carry)."""
    return after_result(cc, signed(type(r))(r - 1) > signed(type(r))(r), carry != 0, r)


def after_decremented(cpu, cc: int, r, carry):
    """Condition `cc` after decremented(r, carry)."""
    return after_result(cc, signed(type(r))(r + 1) < signed(type(r))(r), carry != 0, r)


def after_produced(cpu, cc: int, r, carry, overflow):
    """Condition `cc` after produced(r, carry, overflow)."""
    return after_result(cc, overflow != 0, carry != 0, r)


def after_result(cc: int, overflow, carry, r):
    """Condition `cc` if OF and CF are these, and the other flags those of a result."""
    S = signed(type(r))
    if cc & 1:
        return not after_result(cc - 1, overflow, carry, r)
    if cc == 0:
        return overflow
    if cc == 2:
        return carry
    if cc == 4:
        return r == 0
    if cc == 6:
        return carry | (r == 0)
    if cc == 8:
        return S(r) < 0
    if cc == 10:
        return popcount(u8(r)) & 1 == 0
    less = (S(r) < 0) != overflow
    return less if cc == 12 else less | (r == 0)


def found(cpu, cc: int, below, differs):
    """Condition `cc` after order_found(below, differs)."""
    if cc & 1:
        return not found(cpu, cc - 1, below, differs)
    if cc == 2:
        return below != 0
    if cc == 4:
        return differs == 0
    if cc == 6 or cc == 14:
        return (below != 0) & (cc == 6) | (differs == 0)
    return False


def order_told(cpu, cc: int, a, b):
    """Condition `cc` after numbers_compared(a, b)."""
    if cc & 1:
        return not order_told(cpu, cc - 1, a, b)
    unordered = no_number(a) | no_number(b)
    x, y = ordinal(cpu, a), ordinal(cpu, b)
    if cc == 2:
        return unordered | (x < y)
    if cc == 4 or cc == 14:
        return unordered | (x == y)
    if cc == 6:
        return unordered | (x <= y)
    return unordered if cc == 10 else False


INFINITY, MINIMUM = {32: 0xFF << 23, 64: 0x7FF << 52}, {32: 1 << 23, 64: 1 << 52}  # the least normal number


def no_number(a):
    """Whether a pattern of 32 or 64 bits is a NaN."""
    return a << 1 > INFINITY.get(type(a).bits, 0) << 1


def ordinal(cpu, a):
    """An integer that is in the same order as numbers are, under MXCSR.DAZ too."""
    T = signed(type(a))
    magnitude = a & T.most
    tiny = (cpu.sse.zeros != 0) & (magnitude < MINIMUM.get(T.bits, 0))
    magnitude = select(tiny, type(a)(0), magnitude)
    return select(T(a) < 0, -T(magnitude), T(magnitude))


def after_logical(cpu, cc: int, r):
    """Condition `cc` after logical(r)."""
    return after_result(cc, False, False, r)
