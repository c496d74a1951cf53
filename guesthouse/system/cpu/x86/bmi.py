"""BMI1 and BMI2 (SDM 1, 5.1.16): what has a VEX prefix. Where AF and PF are undefined they stay or follow
the result."""

from guesthouse.bits import rotr, signed, u8, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.multiply import DOUBLE
from guesthouse.system.cpu.x86.operands import By, Ey, Gy, Ib
from guesthouse.system.cpu.x86.state import RDX
from guesthouse.typed import function


@op("VEX.LZ.NP.0F38 F2 /r", Gy, By, Ey)
def andn(cpu, to, a, b) -> None:
    """SDM 2A, ANDN."""
    r = ~a.get() & b.get()
    to.put(r)
    cpu.logical(r)


@op("VEX.LZ.NP.0F38 F7 /r", Gy, Ey, By)
def bextr(cpu, to, source, control) -> None:
    """SDM 2A, BEXTR."""
    T = to.type
    start, length = T(u8(control.get())), T(u8(control.get() >> 8))
    r = source.get() >> start & ~(~T(0) << length)
    to.put(r)
    cpu.logical(r)


@op("VEX.LZ.NP.0F38 F3 /3", By, Ey)
def blsi(cpu, to, source) -> None:
    """SDM 2A, BLSI."""
    a = source.get()
    r = -a & a
    to.put(r)
    cpu.logical(r)
    cpu.carry = u8(a != 0)


@op("VEX.LZ.NP.0F38 F3 /2", By, Ey)
def blsmsk(cpu, to, source) -> None:
    """SDM 2A, BLSMSK."""
    a = source.get()
    r = a - 1 ^ a
    to.put(r)
    cpu.logical(r)
    cpu.carry = u8(a == 0)


@op("VEX.LZ.NP.0F38 F3 /1", By, Ey)
def blsr(cpu, to, source) -> None:
    """SDM 2A, BLSR."""
    a = source.get()
    r = a - 1 & a
    to.put(r)
    cpu.logical(r)
    cpu.carry = u8(a == 0)


@op("VEX.LZ.NP.0F38 F5 /r", Gy, Ey, By)
def bzhi(cpu, to, source, index) -> None:
    """SDM 2A, BZHI."""
    T, n = to.type, u8(index.get())
    r = source.get() & ~(~T(0) << T(n))
    to.put(r)
    cpu.logical(r)
    cpu.carry = u8(n > T.bits - 1)


@function
def deposited(source: u64, mask: u64) -> u64:
    """The low bits of `source`, one after the other, at the places that `mask` has."""
    r = u64(0)
    while mask != 0:
        lowest = mask & -mask
        if source & 1 != 0:
            r = r | lowest
        source = source >> 1
        mask = mask ^ lowest
    return r


@function
def extracted(source: u64, mask: u64) -> u64:
    """The bits of `source` that stand where `mask` has ones, moved together."""
    r, to = u64(0), u64(1)
    while mask != 0:
        lowest = mask & -mask
        if source & lowest != 0:
            r = r | to
        to = to << 1
        mask = mask ^ lowest
    return r


@op("VEX.LZ.F2.0F38 F5 /r", Gy, By, Ey)
def pdep(cpu, to, source, mask) -> None:
    """SDM 2B, PDEP."""
    to.put(to.type(deposited(u64(source.get()), u64(mask.get()))))


@op("VEX.LZ.F3.0F38 F5 /r", Gy, By, Ey)
def pext(cpu, to, source, mask) -> None:
    """SDM 2B, PEXT."""
    to.put(to.type(extracted(u64(source.get()), u64(mask.get()))))


@op("VEX.LZ.F2.0F38 F6 /r", Gy, By, Ey)
def mulx(cpu, high, low, by) -> None:
    """SDM 2B, MULX. The high half is stored last: it wins if both are one register."""
    T = by.type
    W = DOUBLE[T]
    product = W(cpu.get(T, RDX)) * W(by.get())
    low.put(T(product))
    high.put(T(product >> T.bits))


@op("VEX.LZ.F2.0F3A F0 /r ib", Gy, Ey, Ib)
def rorx(cpu, to, source, by) -> None:
    """SDM 2B, RORX."""
    to.put(rotr(source.get(), to.type(by.get()) & (to.type.bits - 1)))


@op("VEX.LZ.66.0F38 F7 /r", Gy, Ey, By)
def shlx(cpu, to, source, by) -> None:
    """SDM 2B, SARX/SHLX/SHRX."""
    to.put(source.get() << (by.get() & (to.type.bits - 1)))


@op("VEX.LZ.F2.0F38 F7 /r", Gy, Ey, By)
def shrx(cpu, to, source, by) -> None:
    """SDM 2B, SARX/SHLX/SHRX."""
    to.put(source.get() >> (by.get() & (to.type.bits - 1)))


@op("VEX.LZ.F3.0F38 F7 /r", Gy, Ey, By)
def sarx(cpu, to, source, by) -> None:
    """SDM 2B, SARX/SHLX/SHRX."""
    T, S = to.type, signed(to.type)
    to.put(T(S(source.get()) >> S(by.get() & (T.bits - 1))))
