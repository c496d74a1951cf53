"""Bit tests and scans, counts, and CRC32 (SDM 1, 5.1.6 and 5.13)."""

from guesthouse.bits import clz, ctz, popcount, select, signed, u8, u32, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Eb, Ev, Gv, Gy, Ib, Memory, Register
from guesthouse.typed import Table


def word_with_bit(cpu, to, index):
    """The place that holds the bit, and the bit's number there. A register index reaches beyond a memory
    operand, either way (SDM 2A, 3.1.1.9, bit strings)."""
    T = to.type
    number = index.get()
    bit = T(number) & (T.bits - 1)
    if isinstance(to, Memory) and isinstance(index, Register):
        words = u64(signed(T)(number) >> (T.bits.bit_length() - 1))
        return to.at(to.address + words * T.size), bit
    return to, bit


@op("0F A3 /r", Ev, Gv)
@op("0F BA /4 ib", Ev, Ib)
def bt(cpu, to, index) -> None:
    """SDM 2A, BT."""
    place, bit = word_with_bit(cpu, to, index)
    cpu.carry = u8(place.get() >> bit) & 1


@op("0F AB /r", Ev, Gv, lock=True)
@op("0F BA /5 ib", Ev, Ib, lock=True)
def bts(cpu, to, index) -> None:
    """SDM 2A, BTS."""
    place, bit = word_with_bit(cpu, to, index)
    a = place.get_to_change()
    place.put(a | to.type(1) << bit)
    cpu.carry = u8(a >> bit) & 1


@op("0F B3 /r", Ev, Gv, lock=True)
@op("0F BA /6 ib", Ev, Ib, lock=True)
def btr(cpu, to, index) -> None:
    """SDM 2A, BTR."""
    place, bit = word_with_bit(cpu, to, index)
    a = place.get_to_change()
    place.put(a & ~(to.type(1) << bit))
    cpu.carry = u8(a >> bit) & 1


@op("0F BB /r", Ev, Gv, lock=True)
@op("0F BA /7 ib", Ev, Ib, lock=True)
def btc(cpu, to, index) -> None:
    """SDM 2A, BTC."""
    place, bit = word_with_bit(cpu, to, index)
    a = place.get_to_change()
    place.put(a ^ to.type(1) << bit)
    cpu.carry = u8(a >> bit) & 1


@op("0F BC /r", Gv, Ev)
def bsf(cpu, to, source) -> None:
    """SDM 2A, BSF. Of zero the register is left alone, as AMD promises and Intel does; other flags stay."""
    a = source.get()
    if a != 0:
        to.put(ctz(a))
    cpu.set_zero(a == 0)


@op("0F BD /r", Gv, Ev)
def bsr(cpu, to, source) -> None:
    """SDM 2A, BSR. As BSF."""
    a = source.get()
    if a != 0:
        to.put((to.type.bits - 1) - clz(a))
    cpu.set_zero(a == 0)


@op("F3 0F BC /r", Gv, Ev)
def tzcnt(cpu, to, source) -> None:
    """SDM 2B, TZCNT."""
    a = source.get()
    r = ctz(a)
    to.put(r)
    cpu.carry = u8(a == 0)
    cpu.set_zero(r == 0)


@op("F3 0F BD /r", Gv, Ev)
def lzcnt(cpu, to, source) -> None:
    """SDM 2A, LZCNT."""
    a = source.get()
    r = clz(a)
    to.put(r)
    cpu.carry = u8(a == 0)
    cpu.set_zero(r == 0)


@op("F3 0F B8 /r", Gv, Ev)
def popcnt(cpu, to, source) -> None:
    """SDM 2B, POPCNT."""
    a = source.get()
    to.put(popcount(a))
    cpu.set_status(select(a == 0, u64(0x40), u64(0)))


def crc_of_byte(n: int) -> int:
    """What one byte contributes under the Castagnoli polynomial 11EDC6F41, bit-reflected."""
    for _ in range(8):
        n = n >> 1 ^ (0x82F6_3B78 if n & 1 else 0)
    return n


CRC = Table(u32, [crc_of_byte(n) for n in range(256)])


@op("F2 0F 38 F0 /r", Gy, Eb)
@op("F2 0F 38 F1 /r", Gy, Ev)
def crc32(cpu, to, source) -> None:
    """SDM 2A, CRC32."""
    crc, data = u32(to.get()), source.get()
    for n in range(source.type.size):
        crc = crc >> 8 ^ CRC[u8(crc) ^ u8(data >> 8 * n)]
    to.put(to.type(crc))
