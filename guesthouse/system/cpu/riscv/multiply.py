"""The M extension: multiplication and division (Volume I, chapter 13)."""

from guesthouse.bits import i32, i64, i128, quotient, remainder, u32, u64, u128
from guesthouse.system.cpu.riscv.formats import X, op
from guesthouse.system.cpu.riscv.integer import sext


def divided(T, a, b):
    """a / b as table 13.2.1 wants it: by zero gives all ones, overflow gives the dividend."""
    if b == 0:
        return ~T(0)
    if T.signed and a == T.least and b == -1:
        return a
    return quotient(a, b)


def rest(T, a, b):
    """What a / b leaves: by zero the dividend, after overflow nothing."""
    if b == 0:
        return a
    if T.signed and b == -1:
        return T(0)
    return remainder(a, b)


@op("0000001 rs2 rs1 000 rd 0110011", "13.1")
def mul(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = hart.x[rs1] * hart.x[rs2]


@op("0000001 rs2 rs1 001 rd 0110011", "13.1")
def mulh(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(i128(i64(hart.x[rs1])) * i128(i64(hart.x[rs2])) >> 64)


@op("0000001 rs2 rs1 010 rd 0110011", "13.1")
def mulhsu(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(i128(i64(hart.x[rs1])) * i128(hart.x[rs2]) >> 64)


@op("0000001 rs2 rs1 011 rd 0110011", "13.1")
def mulhu(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = u64(u128(hart.x[rs1]) * u128(hart.x[rs2]) >> 64)


@op("0000001 rs2 rs1 100 rd 0110011", "13.2", name="div", T=i64)
@op("0000001 rs2 rs1 101 rd 0110011", "13.2", name="divu", T=u64)
def divide(hart, rd: X, rs1: X, rs2: X, T):
    hart.x[rd] = u64(divided(T, T(hart.x[rs1]), T(hart.x[rs2])))


@op("0000001 rs2 rs1 110 rd 0110011", "13.2", name="rem", T=i64)
@op("0000001 rs2 rs1 111 rd 0110011", "13.2", name="remu", T=u64)
def leave(hart, rd: X, rs1: X, rs2: X, T):
    hart.x[rd] = u64(rest(T, T(hart.x[rs1]), T(hart.x[rs2])))


@op("0000001 rs2 rs1 000 rd 0111011", "13.1")
def mulw(hart, rd: X, rs1: X, rs2: X):
    hart.x[rd] = sext(hart.x[rs1] * hart.x[rs2])


@op("0000001 rs2 rs1 100 rd 0111011", "13.2", name="divw", T=i32)
@op("0000001 rs2 rs1 101 rd 0111011", "13.2", name="divuw", T=u32)
def divide_words(hart, rd: X, rs1: X, rs2: X, T):
    hart.x[rd] = sext(divided(T, T(hart.x[rs1]), T(hart.x[rs2])))


@op("0000001 rs2 rs1 110 rd 0111011", "13.2", name="remw", T=i32)
@op("0000001 rs2 rs1 111 rd 0111011", "13.2", name="remuw", T=u32)
def leave_words(hart, rd: X, rs1: X, rs2: X, T):
    hart.x[rd] = sext(rest(T, T(hart.x[rs1]), T(hart.x[rs2])))
