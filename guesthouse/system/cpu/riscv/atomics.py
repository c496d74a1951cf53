"""The A extension: load-reserved, store-conditional and atomic memory operations (Volume I, chapter 14).

A reservation holds as long as the memory still has the value that was loaded; a trap or a return from one
loses it. Accesses of one hart are in order, so aq and rl ask for nothing. Not modelled yet: several harts at
once.
"""

from guesthouse.bits import i32, i64, select, u32, u64
from guesthouse.system.cpu.riscv.causes import MISALIGNED_LOAD, MISALIGNED_STORE
from guesthouse.system.cpu.riscv.formats import X, op
from guesthouse.system.cpu.riscv.traps import NO_RESERVATION


def extended(T, value):
    """A loaded value as the register holds it."""
    return u64(i64(i32(value))) if T.size == 4 else u64(value)


def aligned(hart, T, va, cause):
    if va & (T.size - 1) != 0:
        hart.raise_fault(cause, va)


@op("00010 aq rl 00000 rs1 010 rd 0101111", "14.2", name="lr.w", form="rd, (rs1)", T=u32)
@op("00010 aq rl 00000 rs1 011 rd 0101111", "14.2", name="lr.d", form="rd, (rs1)", T=u64)
def lr(hart, rd: X, rs1: X, T):
    va = hart.x[rs1]
    aligned(hart, T, va, MISALIGNED_LOAD)
    value = extended(T, hart.load(T, va))
    hart.reserved = va | T.size >> 3
    hart.reserved_value = value
    hart.x[rd] = value


@op("00011 aq rl rs2 rs1 010 rd 0101111", "14.2", name="sc.w", form="rd, rs2, (rs1)", T=u32)
@op("00011 aq rl rs2 rs1 011 rd 0101111", "14.2", name="sc.d", form="rd, rs2, (rs1)", T=u64)
def sc(hart, rd: X, rs1: X, rs2: X, T):
    va = hart.x[rs1]
    aligned(hart, T, va, MISALIGNED_STORE)
    failed = u64(1)
    if hart.reserved == va | T.size >> 3:
        if extended(T, hart.load_to_change(T, va)) == hart.reserved_value:
            hart.store(T, va, T(hart.x[rs2]))
            failed = u64(0)
    hart.reserved = u64(NO_RESERVATION)
    hart.x[rd] = failed


def swap(a, b):
    return b


def add(a, b):
    return a + b


def xor(a, b):
    return a ^ b


def both(a, b):
    return a & b


def either(a, b):
    return a | b


def least(a, b):
    return select(a < b, a, b)


def most(a, b):
    return select(a > b, a, b)


@op("00001 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amoswap.w", form="rd, rs2, (rs1)", T=u32, change=swap)
@op("00001 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amoswap.d", form="rd, rs2, (rs1)", T=u64, change=swap)
@op("00000 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amoadd.w", form="rd, rs2, (rs1)", T=u32, change=add)
@op("00000 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amoadd.d", form="rd, rs2, (rs1)", T=u64, change=add)
@op("00100 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amoxor.w", form="rd, rs2, (rs1)", T=u32, change=xor)
@op("00100 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amoxor.d", form="rd, rs2, (rs1)", T=u64, change=xor)
@op("01100 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amoand.w", form="rd, rs2, (rs1)", T=u32, change=both)
@op("01100 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amoand.d", form="rd, rs2, (rs1)", T=u64, change=both)
@op("01000 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amoor.w", form="rd, rs2, (rs1)", T=u32, change=either)
@op("01000 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amoor.d", form="rd, rs2, (rs1)", T=u64, change=either)
@op("10000 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amomin.w", form="rd, rs2, (rs1)", T=i32, change=least)
@op("10000 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amomin.d", form="rd, rs2, (rs1)", T=i64, change=least)
@op("10100 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amomax.w", form="rd, rs2, (rs1)", T=i32, change=most)
@op("10100 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amomax.d", form="rd, rs2, (rs1)", T=i64, change=most)
@op("11000 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amominu.w", form="rd, rs2, (rs1)", T=u32,
    change=least)
@op("11000 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amominu.d", form="rd, rs2, (rs1)", T=u64,
    change=least)
@op("11100 aq rl rs2 rs1 010 rd 0101111", "14.4", name="amomaxu.w", form="rd, rs2, (rs1)", T=u32,
    change=most)
@op("11100 aq rl rs2 rs1 011 rd 0101111", "14.4", name="amomaxu.d", form="rd, rs2, (rs1)", T=u64,
    change=most)
def amo(hart, rd: X, rs1: X, rs2: X, T, change):
    va = hart.x[rs1]
    aligned(hart, T, va, MISALIGNED_STORE)
    old = hart.load_to_change(T, va)
    hart.store(T, va, change(old, T(hart.x[rs2])))
    hart.x[rd] = extended(T, old)
