"""String instructions (SDM 1, 5.1.9) and their repetition.

One execution of a repeated instruction does one element, or, for MOVS, STOS and SCAS upwards through RAM,
as many as lie within the pages; it then jumps to itself while rCX is not zero. So it can be interrupted and
faults exactly, and each such step counts as one instruction. The first element goes the usual way and
brings its page into the address cache: how many steps there are does not depend on what was in it.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.cpu import PAGE, PAGE_BITS, TLB_SIZE
from guesthouse.engine.op import BRANCHES
from guesthouse.system.cpu.x86.accesses import WRITES
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import DF, TF
from guesthouse.system.cpu.x86.operands import AddressSize, This, Xb, Xv, Yb, Yv
from guesthouse.system.cpu.x86.state import RAX, RCX, RDI
from guesthouse.typed import copy, fill, function, load, store


def string_address(cpu, string, offset, how=0):
    """The linear address of an element at an offset in a string operand's segment; `how`: WRITES or 0."""
    if string.size.size == 8:
        return string.base() + offset
    if cpu.code_bits == 64:
        return string.base() + u64(string.size(offset))
    return cpu.linear(string.segment(), u64(string.size(offset)), u64(string.type.size - 1 | how))


def address_of(cpu, string, how=0):
    """The linear address of the element that rSI or rDI points to."""
    return string_address(cpu, string, cpu.r[string.index], how)


def within(cpu, string, most):
    """`most`, or how many elements there are before the address or the segment ends."""
    if string.size.size == 8:
        return most
    offset = u64(cpu.get(string.size, string.index))
    room = (1 << string.size.bits) - offset
    if cpu.code_bits != 64:
        room = least(room, cpu.room_in_segment(string.segment(), offset))
    return least(most, room // string.type.size)


def advance(cpu, string, count) -> None:
    """Move rSI or rDI by so many elements in the direction that DF says."""
    by = count * string.type.size
    by = select(cpu.flags & DF == 0, by, -by)
    cpu.put(string.size, string.index, cpu.get(string.size, string.index) + string.size(by))


def again(cpu, size, here, count) -> None:
    """Take `count` off rCX; run the instruction again if something is left."""
    left = cpu.get(size, RCX) - size(count)
    cpu.put(size, RCX, left)
    if left != 0:
        cpu.repeat(here)


def in_page(address, size: int):
    """How many elements of `size` bytes lie between an address and the end of its page."""
    return (PAGE - (address & PAGE - 1)) // size


def upwards(cpu, limit):
    """`limit` if the direction is up, else 0; also when each element is followed by a trap."""
    return select(cpu.flags & (DF | TF) == 0, limit, u64(0))


def room_to_read(cpu, address, size: int):
    """How many elements can be read from here on through the address cache, and at which host address they
    are."""
    entry = cpu.tlb[address >> PAGE_BITS & (TLB_SIZE - 1)]
    known = entry.read == address & ~u64(PAGE - 1)
    return select(known, in_page(address, size), u64(0)), address + entry.addend


def room_to_write(cpu, address, size: int):
    """As room_to_read, for writing. A page with decoded code in it has room too, for how many steps there are does not
    depend on what was decoded; who writes there tells overwrite() first."""
    entry = cpu.tlb[address >> PAGE_BITS & (TLB_SIZE - 1)]
    host = address + entry.addend
    if entry.write != address & ~u64(PAGE - 1):
        host = cpu.host_of_stores(address)
    return select(host != 0, in_page(address, size), u64(0)), host


def least(a, b):
    return select(a < b, a, b)


@op("A4", Yb, Xb)
@op("A5", Yv, Xv)
def movs(cpu, to, source) -> None:
    """SDM 2B, MOVS/MOVSB/MOVSW/MOVSD/MOVSQ."""
    value = cpu.load(to.type, address_of(cpu, source))
    cpu.store(to.type, address_of(cpu, to, WRITES), value)
    advance(cpu, to, u64(1))
    advance(cpu, source, u64(1))


@function
def copy_more(cpu, to: u64, source: u64, size: u64, most: u64) -> u64:
    """The first element is copied: copy those after it upwards while both pages last; returns how many of
    them all are done. A target that begins inside the source repeats it: so no more than their distance."""
    readable, source_host = room_to_read(cpu, source, 1)
    writable, host = room_to_write(cpu, to, 1)
    bytes_ = least(least(readable, writable), host - source_host)
    count = least(bytes_ // size, most)
    if count <= 1:
        return u64(1)
    cpu.overwrite(host + size, (count - 1) * size)
    copy(host + size, source_host + size, (count - 1) * size)
    cpu.tell_of_change(host + size, (count - 1) * size)
    return count


@op("F3 A4", Yb, Xb, AddressSize, This, ends=BRANCHES)
@op("F2 A4", Yb, Xb, AddressSize, This, ends=BRANCHES)
@op("F3 A5", Yv, Xv, AddressSize, This, ends=BRANCHES)
@op("F2 A5", Yv, Xv, AddressSize, This, ends=BRANCHES)
def rep_movs(cpu, to, source, size, here) -> None:
    """SDM 2B, MOVS and REP."""
    T, most = to.type, u64(cpu.get(size, RCX))
    if most != 0:
        start, target = address_of(cpu, source), address_of(cpu, to, WRITES)
        cpu.store(T, target, cpu.load(T, start))
        most = within(cpu, to, within(cpu, source, most))
        count = copy_more(cpu, target, start, u64(T.size), upwards(cpu, most))
        advance(cpu, to, count)
        advance(cpu, source, count)
        again(cpu, size, here, count)


@op("AA", Yb)
@op("AB", Yv)
def stos(cpu, to) -> None:
    """SDM 2B, STOS/STOSB/STOSW/STOSD/STOSQ."""
    cpu.store(to.type, address_of(cpu, to, WRITES), cpu.get(to.type, RAX))
    advance(cpu, to, u64(1))


@function
def fill_more(cpu, to: u64, size: u64, most: u64) -> u64:
    """The first element is stored: store AL to RAX upwards after it while the page lasts; returns how many
    of them all are done."""
    room, host = room_to_write(cpu, to, 1)
    count = least(room // size, most)
    if count <= 1:
        return u64(1)
    cpu.overwrite(host + size, (count - 1) * size)
    fill_host(host + size, size, count - 1, cpu.r[RAX])
    cpu.tell_of_change(host + size, (count - 1) * size)
    return count


def fill_host(host: u64, size: u64, count: u64, value: u64) -> None:
    """`count` elements of `size` bytes at a host address get this value."""
    if size == 1 or value == u64(u8(value)) * 0x0101_0101_0101_0101:
        fill(host, u8(value), count * size)
        return
    n = u64(0)
    while n < count:
        if size == 2:
            store(u16, host + n * 2, u16(value))
        elif size == 4:
            store(u32, host + n * 4, u32(value))
        else:
            store(u64, host + n * 8, value)
        n = n + 1


@op("F3 AA", Yb, AddressSize, This, ends=BRANCHES)
@op("F2 AA", Yb, AddressSize, This, ends=BRANCHES)
@op("F3 AB", Yv, AddressSize, This, ends=BRANCHES)
@op("F2 AB", Yv, AddressSize, This, ends=BRANCHES)
def rep_stos(cpu, to, size, here) -> None:
    """SDM 2B, STOS and REP."""
    T, most = to.type, u64(cpu.get(size, RCX))
    if most != 0:
        target = address_of(cpu, to, WRITES)
        cpu.store(T, target, cpu.get(T, RAX))
        count = fill_more(cpu, target, u64(T.size), upwards(cpu, within(cpu, to, most)))
        advance(cpu, to, count)
        again(cpu, size, here, count)


@op("AC", Xb)
@op("AD", Xv)
def lods(cpu, source) -> None:
    """SDM 2A, LODS/LODSB/LODSW/LODSD/LODSQ."""
    cpu.put(source.type, RAX, cpu.load(source.type, address_of(cpu, source)))
    advance(cpu, source, u64(1))


@op("F3 AC", Xb, AddressSize, This, ends=BRANCHES)
@op("F2 AC", Xb, AddressSize, This, ends=BRANCHES)
@op("F3 AD", Xv, AddressSize, This, ends=BRANCHES)
@op("F2 AD", Xv, AddressSize, This, ends=BRANCHES)
def rep_lods(cpu, source, size, here) -> None:
    """SDM 2A, LODS and REP."""
    if cpu.get(size, RCX) != 0:
        cpu.put(source.type, RAX, cpu.load(source.type, address_of(cpu, source)))
        advance(cpu, source, u64(1))
        again(cpu, size, here, u64(1))


@op("AE", Yb)
@op("AF", Yv)
def scas(cpu, to) -> None:
    """SDM 2B, SCAS/SCASB/SCASW/SCASD."""
    a, b = cpu.get(to.type, RAX), cpu.load(to.type, address_of(cpu, to))
    advance(cpu, to, u64(1))
    cpu.compared(a, b)


def passed_over(cpu, to, wanted, stops_at_equal: bool, most):
    """How many of the next `most` elements, within the page, do not end the scan for `wanted`."""
    T, count = to.type, u64(0)
    room, host = room_to_read(cpu, address_of(cpu, to), T.size)
    limit = least(room, most)
    while count < limit and (load(T, host + count * T.size) == wanted) != stops_at_equal:
        count = count + 1
    return count


def scan(cpu, to, size, here, stops_at_equal: bool) -> None:
    """SCAS repeated until rCX is zero, or ZF is what stops it. The element that stops it is done alone."""
    T, most = to.type, u64(cpu.get(size, RCX))
    if most != 0:
        a, b = cpu.get(T, RAX), cpu.load(T, address_of(cpu, to))
        count = passed_over(cpu, to, a, stops_at_equal, upwards(cpu, within(cpu, to, most)))
        if count > 1:
            b = cpu.load(T, string_address(cpu, to, cpu.r[RDI] + (count - 1) * T.size))
        count = select(count == 0, u64(1), count)
        advance(cpu, to, count)
        left = size(most - count)
        cpu.put(size, RCX, left)
        cpu.compared(a, b)
        if left != 0 and (a == b) != stops_at_equal:
            cpu.repeat(here)


@op("F3 AE", Yb, AddressSize, This, ends=BRANCHES)
@op("F3 AF", Yv, AddressSize, This, ends=BRANCHES)
def repe_scas(cpu, to, size, here) -> None:
    """SDM 2B, SCAS and REP."""
    scan(cpu, to, size, here, False)


@op("F2 AE", Yb, AddressSize, This, ends=BRANCHES)
@op("F2 AF", Yv, AddressSize, This, ends=BRANCHES)
def repne_scas(cpu, to, size, here) -> None:
    """SDM 2B, SCAS and REP."""
    scan(cpu, to, size, here, True)


@op("A6", Xb, Yb)
@op("A7", Xv, Yv)
def cmps(cpu, first, second) -> None:
    """SDM 2A, CMPS/CMPSB/CMPSW/CMPSD/CMPSQ."""
    a = cpu.load(first.type, address_of(cpu, first))
    b = cpu.load(first.type, address_of(cpu, second))
    advance(cpu, first, u64(1))
    advance(cpu, second, u64(1))
    cpu.compared(a, b)


def compare(cpu, first, second, size, here, stops_at_equal: bool) -> None:
    """CMPS repeated until rCX is zero, or ZF is what stops it."""
    if cpu.get(size, RCX) != 0:
        cmps(cpu, first, second)
        left = cpu.get(size, RCX) - 1
        cpu.put(size, RCX, left)
        if left != 0 and cpu.condition(4) != stops_at_equal:
            cpu.repeat(here)


@op("F3 A6", Xb, Yb, AddressSize, This, ends=BRANCHES)
@op("F3 A7", Xv, Yv, AddressSize, This, ends=BRANCHES)
def repe_cmps(cpu, first, second, size, here) -> None:
    """SDM 2A, CMPS and REP."""
    compare(cpu, first, second, size, here, False)


@op("F2 A6", Xb, Yb, AddressSize, This, ends=BRANCHES)
@op("F2 A7", Xv, Yv, AddressSize, This, ends=BRANCHES)
def repne_cmps(cpu, first, second, size, here) -> None:
    """SDM 2A, CMPS and REP."""
    compare(cpu, first, second, size, here, True)


@op("FC")
def cld(cpu) -> None:
    """SDM 2A, CLD."""
    cpu.flags = cpu.flags & ~u64(DF)


@op("FD")
def std(cpu) -> None:
    """SDM 2B, STD."""
    cpu.flags = cpu.flags | DF
