"""PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM 1, 12.8.3; SDM 2B, 4.1): comparisons of short strings.

The two strings lie in cpu.vectors while they are compared: the first in its lower, the second in its upper
half.
"""

from guesthouse.bits import clz, ctz, i8, i16, i64, lanes, packed, select, u8, u16, u32, u64, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import CF, OF, SF, ZF
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.operands import Ib, Size, Vx, Wu
from guesthouse.system.cpu.x86.state import RAX, RCX, RDX
from guesthouse.typed import function

WORDS, SIGNED = 1, 2
FIRST, SECOND = FloatState.offset("vectors"), FloatState.offset("vectors") + 16


@op("66 0F 3A 60 /r ib", Vx, Wu, Ib, Size)
def pcmpestrm(cpu, a, b, control, size):
    """SDM 2B, PCMPESTRM."""
    cpu.need_sse()
    found = compared(cpu, a.get(), b.get(), u64(control.get()), length(cpu, RAX, size), length(cpu, RDX, size))
    put_mask(cpu, found, u64(control.get()))


@op("66 0F 3A 61 /r ib", Vx, Wu, Ib, Size)
def pcmpestri(cpu, a, b, control, size):
    """SDM 2B, PCMPESTRI."""
    cpu.need_sse()
    found = compared(cpu, a.get(), b.get(), u64(control.get()), length(cpu, RAX, size), length(cpu, RDX, size))
    put_index(cpu, found, u64(control.get()))


@op("66 0F 3A 62 /r ib", Vx, Wu, Ib)
def pcmpistrm(cpu, a, b, control):
    """SDM 2B, PCMPISTRM."""
    cpu.need_sse()
    put_mask(cpu, compared_to_null(cpu, a.get(), b.get(), u64(control.get())), u64(control.get()))


@op("66 0F 3A 63 /r ib", Vx, Wu, Ib)
def pcmpistri(cpu, a, b, control):
    """SDM 2B, PCMPISTRI."""
    cpu.need_sse()
    put_index(cpu, compared_to_null(cpu, a.get(), b.get(), u64(control.get())), u64(control.get()))


def length(cpu, register: int, size):
    """The magnitude of the number in EAX or EDX (RAX or RDX with REX.W); compared() limits it."""
    n = i64(cpu.r[register]) if size.bits == 64 else i64(signed_low(cpu.r[register]))
    return u64(select(n < 0, 0 - n, n))


def signed_low(x):
    return i64(x << 32) >> 32


def count_of(control):
    """How many elements a register has."""
    return select(control & WORDS != 0, u64(8), u64(16))


@function
def compared_to_null(cpu, a: u128, b: u128, control: u64) -> u64:
    """compared() with strings that end before their first null element."""
    return compared(cpu, a, b, control, before_null(a, control), before_null(b, control))


@function
def before_null(a: u128, control: u64) -> u64:
    n = u64(16)
    if control & WORDS != 0:
        n = u64(8)
        for at, x in enumerate(lanes(u16, a)):
            n = select((x == 0) & (n == 8), u64(at), n)
    else:
        for at, x in enumerate(lanes(u8, a)):
            n = select((x == 0) & (n == 16), u64(at), n)
    return n


def element(cpu, at: int, n, control):
    """Element n of the string at this offset of the state, extended as its format says."""
    if control & WORDS != 0:
        x = cpu.peek(u16, n * 2 + at)
        return select(control & SIGNED != 0, i64(i16(x)), i64(x))
    x = cpu.peek(u8, n + at)
    return select(control & SIGNED != 0, i64(i8(x)), i64(x))


@function
def compared(cpu, a: u128, b: u128, control: u64, na: u64, nb: u64) -> u64:
    """IntRes2, a bit for each element of b; sets the flags."""
    count = count_of(control)
    na, nb = select(na < count, na, count), select(nb < count, nb, count)
    cpu.poke(u128, FIRST, a)
    cpu.poke(u128, SECOND, b)
    found, j = u64(0), u64(0)
    while j < count:
        found = found | u64(matches(cpu, control, na, nb, count, j)) << j
        j += 1
    every, valid = (u64(1) << count) - 1, (u64(1) << nb) - 1
    polarity = control >> 4 & 3
    found = found ^ select(polarity == 1, every, select(polarity == 3, valid, u64(0)))
    status = select(found != 0, u64(CF), u64(0)) | select(found & 1 != 0, u64(OF), u64(0))
    cpu.set_status(status | select(nb < count, u64(ZF), u64(0)) | select(na < count, u64(SF), u64(0)))
    return found


def matches(cpu, control, na, nb, count, j):
    """IntRes1 for element j of b, by the kind of aggregation."""
    kind = control >> 2 & 3
    if kind == 0:
        return is_any(cpu, control, na, nb, j)
    if kind == 1:
        return in_ranges(cpu, control, na, nb, j)
    if kind == 2:
        if j < na and j < nb:
            return element(cpu, FIRST, j, control) == element(cpu, SECOND, j, control)
        return (j < na) == (j < nb)
    return begins(cpu, control, na, nb, count, j)


@function
def is_any(cpu, control: u64, na: u64, nb: u64, j: u64) -> bool:
    """Whether a has this element."""
    i = u64(0)
    if j < nb:
        wanted = element(cpu, SECOND, j, control)
        while i < na:
            if element(cpu, FIRST, i, control) == wanted:
                return True
            i += 1
    return False


@function
def in_ranges(cpu, control: u64, na: u64, nb: u64, j: u64) -> bool:
    """Whether the element lies in one of the ranges that pairs in a are."""
    i = u64(0)
    if j < nb:
        x = element(cpu, SECOND, j, control)
        while i + 1 < na:
            if element(cpu, FIRST, i, control) <= x and x <= element(cpu, FIRST, i + 1, control):
                return True
            i += 2
    return False


@function
def begins(cpu, control: u64, na: u64, nb: u64, count: u64, j: u64) -> bool:
    """Whether a stands in b from element j on, as far as the register goes."""
    i = u64(0)
    while i < na and i + j < count:
        if i + j >= nb or element(cpu, FIRST, i, control) != element(cpu, SECOND, i + j, control):
            return False
        i += 1
    return True


def put_index(cpu, found, control) -> None:
    """ECX: the lowest or highest element found, or their number."""
    end = select(control & 0x40 != 0, u64(63) - clz(found), ctz(found))
    cpu.put(u32, RCX, u32(select(found == 0, count_of(control), end)))


@function
def put_mask(cpu, found: u64, control: u64) -> None:
    """XMM0: a bit for each element, or all bits of each."""
    if control & 0x40 == 0:
        cpu.xmm[0] = u128(found)
    elif control & WORDS != 0:
        cpu.xmm[0] = packed(u128, [u16(0) - u16(found >> n & 1) for n in range(8)])
    else:
        cpu.xmm[0] = packed(u128, [u8(0) - u8(found >> n & 1) for n in range(16)])
