"""Decimal arithmetic, which 64-bit mode does not have (SDM 1, 5.1.3)."""

from guesthouse.bits import u8, u16
from guesthouse.system.cpu.x86.definitions import LEGACY, op
from guesthouse.system.cpu.x86.operands import Ib
from guesthouse.system.cpu.x86.state import RAX, VECTOR_DE


def adjusted(cpu, sign: int) -> None:
    """DAA (sign 1) and DAS (sign -1)."""
    al, carry = cpu.get(u8, RAX), cpu.carry
    low = (al & 15 > 9) | cpu.adjusts()
    high = (al > 0x99) | (carry != 0)
    r = al
    if low:
        r = r + 6 if sign > 0 else r - 6
        if sign < 0:
            carry = carry | u8(al < 6)
    if high:
        r = r + 0x60 if sign > 0 else r - 0x60
        carry = u8(1)
    elif sign > 0:
        carry = u8(0)
    cpu.put(u8, RAX, r)
    cpu.result(r)
    cpu.carry = carry
    cpu.set_adjust(low)


@op("27", modes=LEGACY)
def daa(cpu) -> None:
    """SDM 2A, DAA."""
    adjusted(cpu, 1)


@op("2F", modes=LEGACY)
def das(cpu) -> None:
    """SDM 2A, DAS."""
    adjusted(cpu, -1)


def ascii_adjusted(cpu, sign: int) -> None:
    """AAA (sign 1) and AAS (sign -1)."""
    ax = cpu.get(u16, RAX)
    off = (ax & 15 > 9) | cpu.adjusts()
    if off:
        ax = ax + 0x106 if sign > 0 else ax - 0x106
    cpu.put(u16, RAX, ax & 0xFF0F)
    cpu.carry = u8(off)
    cpu.set_adjust(off)


@op("37", modes=LEGACY)
def aaa(cpu) -> None:
    """SDM 2A, AAA."""
    ascii_adjusted(cpu, 1)


@op("3F", modes=LEGACY)
def aas(cpu) -> None:
    """SDM 2A, AAS."""
    ascii_adjusted(cpu, -1)


@op("D4 ib", Ib, modes=LEGACY)
def aam(cpu, base) -> None:
    """SDM 2A, AAM."""
    al, by = cpu.get(u8, RAX), base.get()
    if by == 0:
        cpu.raise_fault(VECTOR_DE)
    r = al % by
    cpu.put(u16, RAX, u16(al // by) << 8 | u16(r))
    cpu.logical(r)


@op("D5 ib", Ib, modes=LEGACY)
def aad(cpu, base) -> None:
    """SDM 2A, AAD."""
    ax = cpu.get(u16, RAX)
    r = u8(ax) + u8(ax >> 8) * base.get()
    cpu.put(u16, RAX, u16(r))
    cpu.logical(r)
