"""Zba, Zbb and Zbs: addresses, basic bit manipulation, single bits (Volume I, chapter 28)."""

from guesthouse.bits import byteswap, clz, ctz, i8, i16, i64, popcount, rotl, rotr, select, u8, u16, u32, u64
from guesthouse.system.cpu.riscv.formats import Shamt, X, op
from guesthouse.system.cpu.riscv.integer import sext
from guesthouse.typed import lanes, packed

# Zba.


@op("0010000 rs2 rs1 010 rd 0110011", "28.4", name="sh1add", by=1)
@op("0010000 rs2 rs1 100 rd 0110011", "28.4", name="sh2add", by=2)
@op("0010000 rs2 rs1 110 rd 0110011", "28.4", name="sh3add", by=3)
def shift_add(hart, rd: X, rs1: X, rs2: X, by):
    hart.x[rd] = hart.x[rs2] + (hart.x[rs1] << by)


@op("0000100 rs2 rs1 000 rd 0111011", "28.4", name="add.uw", by=0)
@op("0010000 rs2 rs1 010 rd 0111011", "28.4", name="sh1add.uw", by=1)
@op("0010000 rs2 rs1 100 rd 0111011", "28.4", name="sh2add.uw", by=2)
@op("0010000 rs2 rs1 110 rd 0111011", "28.4", name="sh3add.uw", by=3)
def shift_add_word(hart, rd: X, rs1: X, rs2: X, by):
    hart.x[rd] = hart.x[rs2] + ((hart.x[rs1] & 0xFFFF_FFFF) << by)


@op("000010 shamt[5:0] rs1 001 rd 0011011", "28.4", name="slli.uw")
def slli_uw(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = (hart.x[rs1] & 0xFFFF_FFFF) << (shamt & 63)


# Zbb.


@op("0100000 rs2 rs1 111 rd 0110011", "28.5")
def andn(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] & ~hart.x[rs2]


@op("0100000 rs2 rs1 110 rd 0110011", "28.5")
def orn(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] | ~hart.x[rs2]


@op("0100000 rs2 rs1 100 rd 0110011", "28.5")
def xnor(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = ~(hart.x[rs1] ^ hart.x[rs2])


@op("0110000 00000 rs1 001 rd 0010011", "28.5", name="clz", count=clz, T=u64)
@op("0110000 00001 rs1 001 rd 0010011", "28.5", name="ctz", count=ctz, T=u64)
@op("0110000 00010 rs1 001 rd 0010011", "28.5", name="cpop", count=popcount, T=u64)
@op("0110000 00000 rs1 001 rd 0011011", "28.5", name="clzw", count=clz, T=u32)
@op("0110000 00001 rs1 001 rd 0011011", "28.5", name="ctzw", count=ctz, T=u32)
@op("0110000 00010 rs1 001 rd 0011011", "28.5", name="cpopw", count=popcount, T=u32)
def count_bits(hart, rd: X, rs1: X, count, T):
    hart.x[rd] = u64(count(T(hart.x[rs1])))


@op("0000101 rs2 rs1 110 rd 0110011", "28.5", name="max", T=i64, greater=True)
@op("0000101 rs2 rs1 111 rd 0110011", "28.5", name="maxu", T=u64, greater=True)
@op("0000101 rs2 rs1 100 rd 0110011", "28.5", name="min", T=i64, greater=False)
@op("0000101 rs2 rs1 101 rd 0110011", "28.5", name="minu", T=u64, greater=False)
def extreme(hart, rd: X, rs1: X, rs2: X, T, greater):
    a, b = T(hart.x[rs1]), T(hart.x[rs2])
    hart.x[rd] = u64(select(a > b, a, b) if greater else select(a < b, a, b))


@op("0110000 00100 rs1 001 rd 0010011", "28.5", name="sext.b", T=i8)
@op("0110000 00101 rs1 001 rd 0010011", "28.5", name="sext.h", T=i16)
def sign_extend(hart, rd: X, rs1: X, T):
    hart.x[rd] = u64(i64(T(hart.x[rs1])))


@op("0000100 00000 rs1 100 rd 0111011", "28.5", name="zext.h")
def zext_h(hart, rd: X, rs1: X):
    hart.x[rd] = u64(u16(hart.x[rs1]))


@op("0110000 rs2 rs1 001 rd 0110011", "28.5")
def rol(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = rotl(hart.x[rs1], hart.x[rs2])


@op("0110000 rs2 rs1 001 rd 0111011", "28.5")
def rolw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(rotl(u32(hart.x[rs1]), u32(hart.x[rs2])))


@op("0110000 rs2 rs1 101 rd 0110011", "28.5")
def ror(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = rotr(hart.x[rs1], hart.x[rs2])


@op("0110000 rs2 rs1 101 rd 0111011", "28.5")
def rorw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(rotr(u32(hart.x[rs1]), u32(hart.x[rs2])))


@op("011000 shamt[5:0] rs1 101 rd 0010011", "28.5")
def rori(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = rotr(hart.x[rs1], shamt)


@op("0110000 shamt[4:0] rs1 101 rd 0011011", "28.5")
def roriw(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = sext(rotr(u32(hart.x[rs1]), u32(shamt)))


@op("001010000111 rs1 101 rd 0010011", "28.5", name="orc.b")
def orc_b(hart, rd: X, rs1: X):
    """Each byte: all ones unless it is zero."""
    hart.x[rd] = packed(u64, [select(byte == 0, u8(0), u8(0xFF)) for byte in lanes(u8, hart.x[rs1])])


@op("011010111000 rs1 101 rd 0010011", "28.5")
def rev8(hart, rd: X, rs1: X):
    hart.x[rd] = byteswap(hart.x[rs1])


# Zbs.


@op("0100100 rs2 rs1 001 rd 0110011", "28.7")
def bclr(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] & ~(u64(1) << (hart.x[rs2] & 63))


@op("010010 shamt[5:0] rs1 001 rd 0010011", "28.7")
def bclri(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] & ~(u64(1) << (shamt & 63))


@op("0100100 rs2 rs1 101 rd 0110011", "28.7")
def bext(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] >> (hart.x[rs2] & 63) & 1


@op("010010 shamt[5:0] rs1 101 rd 0010011", "28.7")
def bexti(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] >> (shamt & 63) & 1


@op("0110100 rs2 rs1 001 rd 0110011", "28.7")
def binv(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] ^ u64(1) << (hart.x[rs2] & 63)


@op("011010 shamt[5:0] rs1 001 rd 0010011", "28.7")
def binvi(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] ^ u64(1) << (shamt & 63)


@op("0010100 rs2 rs1 001 rd 0110011", "28.7")
def bset(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] | u64(1) << (hart.x[rs2] & 63)


@op("001010 shamt[5:0] rs1 001 rd 0010011", "28.7")
def bseti(hart, rd: X, rs1: X, shamt: Shamt):
    hart.x[rd] = hart.x[rs1] | u64(1) << (shamt & 63)
