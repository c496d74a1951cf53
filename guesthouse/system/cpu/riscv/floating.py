"""The F and D extensions (Volume I, chapters 20 and 21): IEEE 754 in single and double precision.

A single in a 64-bit register is NaN-boxed; what is not boxed reads as the canonical NaN (21.2). Every result
marks the unit dirty, also where only flags may have changed (P3.1.6.6 allows that).
"""

from guesthouse.bits import i32, i64, u32, u64
from guesthouse.system.cpu.riscv.causes import FS
from guesthouse.system.cpu.riscv.formats import F, Imm, Rounding, X, op
from guesthouse.system.cpu.riscv.integer import sext
from guesthouse.system.cpu.softfloat import (
    EQUAL, LESS, RISCV, add, classify, compare, convert, div, fma, from_integer, maximum, minimum, mul, sqrt,
    sub, to_integer,
)

S, D = RISCV.single, RISCV.double
DYNAMIC, MODES = 7, 5
BOX = 0xFFFF_FFFF << 32


def unboxed(form, value):
    """The pattern in a register as a number of this format."""
    if form.bits == 64:
        return value
    return value & 0xFFFF_FFFF if value >> 32 == 0xFFFF_FFFF else u64(form.default_nan)


def put(hart, form, rd, value):
    """Write a result."""
    hart.f[rd] = value if form.bits == 64 else value | BOX
    hart.mstatus = hart.mstatus | FS


def put_integer(hart, rd, value):
    hart.x[rd] = value
    hart.mstatus = hart.mstatus | FS


def rounding(hart, rm):
    """The rounding mode of this instruction; 5 and 6 are reserved, in frm too (20.2)."""
    hart.use_floats()
    mode = hart.fp.rounding if rm == DYNAMIC else rm
    if mode >= MODES:
        hart.illegal()
    return mode


# Loads and stores.


@op("imm[11:0] rs1 010 rd 0000111", "20.5", name="flw", form="rd, imm(rs1)", number=S, kind=u32)
@op("imm[11:0] rs1 011 rd 0000111", "21.3", name="fld", form="rd, imm(rs1)", number=D, kind=u64)
def load_float(hart, rd: F, rs1: X, imm: Imm, number, kind):
    hart.use_floats()
    put(hart, number, rd, u64(hart.load(kind, hart.x[rs1] + imm)))


@op("imm[11:5] rs2 rs1 010 imm[4:0] 0100111", "20.5", name="fsw", form="rs2, imm(rs1)", kind=u32)
@op("imm[11:5] rs2 rs1 011 imm[4:0] 0100111", "21.3", name="fsd", form="rs2, imm(rs1)", kind=u64)
def store_float(hart, rs1: X, rs2: F, imm: Imm, kind):
    hart.use_floats()
    hart.store(kind, hart.x[rs1] + imm, kind(hart.f[rs2]))


# Arithmetic.


@op("0000000 rs2 rs1 rm rd 1010011", "20.6", name="fadd.s", kind=S, how=add)
@op("0000001 rs2 rs1 rm rd 1010011", "21.4", name="fadd.d", kind=D, how=add)
@op("0000100 rs2 rs1 rm rd 1010011", "20.6", name="fsub.s", kind=S, how=sub)
@op("0000101 rs2 rs1 rm rd 1010011", "21.4", name="fsub.d", kind=D, how=sub)
@op("0001000 rs2 rs1 rm rd 1010011", "20.6", name="fmul.s", kind=S, how=mul)
@op("0001001 rs2 rs1 rm rd 1010011", "21.4", name="fmul.d", kind=D, how=mul)
@op("0001100 rs2 rs1 rm rd 1010011", "20.6", name="fdiv.s", kind=S, how=div)
@op("0001101 rs2 rs1 rm rd 1010011", "21.4", name="fdiv.d", kind=D, how=div)
def arithmetic(hart, rd: F, rs1: F, rs2: F, rm: Rounding, kind, how):
    mode = rounding(hart, rm)
    put(hart, kind, rd, how(hart.fp, kind, mode, unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2])))


@op("0101100 00000 rs1 rm rd 1010011", "20.6", name="fsqrt.s", kind=S)
@op("0101101 00000 rs1 rm rd 1010011", "21.4", name="fsqrt.d", kind=D)
def square_root(hart, rd: F, rs1: F, rm: Rounding, kind):
    mode = rounding(hart, rm)
    put(hart, kind, rd, sqrt(hart.fp, kind, mode, unboxed(kind, hart.f[rs1])))


@op("rs3 00 rs2 rs1 rm rd 1000011", "20.6", name="fmadd.s", kind=S, product=0, addend=0)
@op("rs3 01 rs2 rs1 rm rd 1000011", "21.4", name="fmadd.d", kind=D, product=0, addend=0)
@op("rs3 00 rs2 rs1 rm rd 1000111", "20.6", name="fmsub.s", kind=S, product=0, addend=S.sign)
@op("rs3 01 rs2 rs1 rm rd 1000111", "21.4", name="fmsub.d", kind=D, product=0, addend=D.sign)
@op("rs3 00 rs2 rs1 rm rd 1001011", "20.6", name="fnmsub.s", kind=S, product=S.sign, addend=0)
@op("rs3 01 rs2 rs1 rm rd 1001011", "21.4", name="fnmsub.d", kind=D, product=D.sign, addend=0)
@op("rs3 00 rs2 rs1 rm rd 1001111", "20.6", name="fnmadd.s", kind=S, product=S.sign, addend=S.sign)
@op("rs3 01 rs2 rs1 rm rd 1001111", "21.4", name="fnmadd.d", kind=D, product=D.sign, addend=D.sign)
def multiply_add(hart, rd: F, rs1: F, rs2: F, rs3: F, rm: Rounding, kind, product, addend):
    """rounded once; `product` and `addend` are the signs to turn."""
    mode = rounding(hart, rm)
    a = unboxed(kind, hart.f[rs1]) ^ product
    c = unboxed(kind, hart.f[rs3]) ^ addend
    put(hart, kind, rd, fma(hart.fp, kind, mode, a, unboxed(kind, hart.f[rs2]), c))


@op("0010100 rs2 rs1 000 rd 1010011", "20.6", name="fmin.s", kind=S, how=minimum)
@op("0010101 rs2 rs1 000 rd 1010011", "21.4", name="fmin.d", kind=D, how=minimum)
@op("0010100 rs2 rs1 001 rd 1010011", "20.6", name="fmax.s", kind=S, how=maximum)
@op("0010101 rs2 rs1 001 rd 1010011", "21.4", name="fmax.d", kind=D, how=maximum)
def extreme(hart, rd: F, rs1: F, rs2: F, kind, how):
    hart.use_floats()
    put(hart, kind, rd, how(hart.fp, kind, unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2])))


# Conversions and moves.


@op("1100000 00000 rs1 rm rd 1010011", "20.7", name="fcvt.w.s", kind=S, to=i32)
@op("1100000 00001 rs1 rm rd 1010011", "20.7", name="fcvt.wu.s", kind=S, to=u32)
@op("1100000 00010 rs1 rm rd 1010011", "20.7", name="fcvt.l.s", kind=S, to=i64)
@op("1100000 00011 rs1 rm rd 1010011", "20.7", name="fcvt.lu.s", kind=S, to=u64)
@op("1100001 00000 rs1 rm rd 1010011", "21.5", name="fcvt.w.d", kind=D, to=i32)
@op("1100001 00001 rs1 rm rd 1010011", "21.5", name="fcvt.wu.d", kind=D, to=u32)
@op("1100001 00010 rs1 rm rd 1010011", "21.5", name="fcvt.l.d", kind=D, to=i64)
@op("1100001 00011 rs1 rm rd 1010011", "21.5", name="fcvt.lu.d", kind=D, to=u64)
def to_whole(hart, rd: X, rs1: F, rm: Rounding, kind, to):
    mode = rounding(hart, rm)
    value = to_integer(hart.fp, kind, mode, unboxed(kind, hart.f[rs1]), to)
    put_integer(hart, rd, sext(value) if to.size == 4 else value)


@op("1101000 00000 rs1 rm rd 1010011", "20.7", name="fcvt.s.w", kind=S, source=i32)
@op("1101000 00001 rs1 rm rd 1010011", "20.7", name="fcvt.s.wu", kind=S, source=u32)
@op("1101000 00010 rs1 rm rd 1010011", "20.7", name="fcvt.s.l", kind=S, source=i64)
@op("1101000 00011 rs1 rm rd 1010011", "20.7", name="fcvt.s.lu", kind=S, source=u64)
@op("1101001 00000 rs1 rm rd 1010011", "21.5", name="fcvt.d.w", kind=D, source=i32)
@op("1101001 00001 rs1 rm rd 1010011", "21.5", name="fcvt.d.wu", kind=D, source=u32)
@op("1101001 00010 rs1 rm rd 1010011", "21.5", name="fcvt.d.l", kind=D, source=i64)
@op("1101001 00011 rs1 rm rd 1010011", "21.5", name="fcvt.d.lu", kind=D, source=u64)
def from_whole(hart, rd: F, rs1: X, rm: Rounding, kind, source):
    mode = rounding(hart, rm)
    value = source(hart.x[rs1])
    wide = i64(value) if source.signed else u64(value)
    put(hart, kind, rd, from_integer(hart.fp, kind, mode, wide))


@op("0100000 00001 rs1 rm rd 1010011", "21.5", name="fcvt.s.d", source=D, to=S)
@op("0100001 00000 rs1 rm rd 1010011", "21.5", name="fcvt.d.s", source=S, to=D)
def between(hart, rd: F, rs1: F, rm: Rounding, source, to):
    mode = rounding(hart, rm)
    put(hart, to, rd, convert(hart.fp, source, to, mode, unboxed(source, hart.f[rs1])))


def copied(a, b):
    return b


def turned(a, b):
    return ~b


def crossed(a, b):
    return a ^ b


@op("0010000 rs2 rs1 000 rd 1010011", "20.7", name="fsgnj.s", kind=S, sign=copied)
@op("0010001 rs2 rs1 000 rd 1010011", "21.5", name="fsgnj.d", kind=D, sign=copied)
@op("0010000 rs2 rs1 001 rd 1010011", "20.7", name="fsgnjn.s", kind=S, sign=turned)
@op("0010001 rs2 rs1 001 rd 1010011", "21.5", name="fsgnjn.d", kind=D, sign=turned)
@op("0010000 rs2 rs1 010 rd 1010011", "20.7", name="fsgnjx.s", kind=S, sign=crossed)
@op("0010001 rs2 rs1 010 rd 1010011", "21.5", name="fsgnjx.d", kind=D, sign=crossed)
def inject_sign(hart, rd: F, rs1: F, rs2: F, kind, sign):
    hart.use_floats()
    a, b = unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2])
    put(hart, kind, rd, a & ~u64(kind.sign) | sign(a, b) & kind.sign)


@op("1110000 00000 rs1 000 rd 1010011", "20.7", name="fmv.x.w", kind=S)
@op("1110001 00000 rs1 000 rd 1010011", "21.5", name="fmv.x.d", kind=D)
def move_out(hart, rd: X, rs1: F, kind):
    hart.use_floats()
    hart.x[rd] = hart.f[rs1] if kind.bits == 64 else sext(hart.f[rs1])


@op("1111000 00000 rs1 000 rd 1010011", "20.7", name="fmv.w.x", kind=S)
@op("1111001 00000 rs1 000 rd 1010011", "21.5", name="fmv.d.x", kind=D)
def move_in(hart, rd: F, rs1: X, kind):
    hart.use_floats()
    put(hart, kind, rd, hart.x[rs1])


# Comparisons.


@op("1010000 rs2 rs1 010 rd 1010011", "20.8", name="feq.s", kind=S)
@op("1010001 rs2 rs1 010 rd 1010011", "21.6", name="feq.d", kind=D)
def feq(hart, rd: X, rs1: F, rs2: F, kind):
    hart.use_floats()
    found = compare(hart.fp, kind, unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2]), True)
    put_integer(hart, rd, u64(found == EQUAL))


@op("1010000 rs2 rs1 001 rd 1010011", "20.8", name="flt.s", kind=S)
@op("1010001 rs2 rs1 001 rd 1010011", "21.6", name="flt.d", kind=D)
def flt(hart, rd: X, rs1: F, rs2: F, kind):
    hart.use_floats()
    found = compare(hart.fp, kind, unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2]), False)
    put_integer(hart, rd, u64(found == LESS))


@op("1010000 rs2 rs1 000 rd 1010011", "20.8", name="fle.s", kind=S)
@op("1010001 rs2 rs1 000 rd 1010011", "21.6", name="fle.d", kind=D)
def fle(hart, rd: X, rs1: F, rs2: F, kind):
    hart.use_floats()
    found = compare(hart.fp, kind, unboxed(kind, hart.f[rs1]), unboxed(kind, hart.f[rs2]), False)
    put_integer(hart, rd, u64(found == LESS or found == EQUAL))


@op("1110000 00000 rs1 001 rd 1010011", "20.9", name="fclass.s", kind=S)
@op("1110001 00000 rs1 001 rd 1010011", "21.7", name="fclass.d", kind=D)
def fclass(hart, rd: X, rs1: F, kind):
    hart.use_floats()
    hart.x[rd] = classify(kind, unboxed(kind, hart.f[rs1]))
