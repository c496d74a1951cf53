"""Privileged instructions: xRET, WFI, SFENCE.VMA (Volume II, 3.3 and 10.2), Svinval, and the cache operations
of CMO.

There are no caches: CBO.CLEAN, FLUSH and INVAL only check what they must check.
"""

from guesthouse.bits import u64
from guesthouse.engine.cpu import HALTED, READ
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.riscv.causes import (
    CBCFE, CBIE, CBZE, LOAD_PAGE, MACHINE, STORE_PAGE, SUPERVISOR, TSR, TVM, TW, USER,
)
from guesthouse.system.cpu.riscv.formats import X, op
from guesthouse.system.cpu.riscv.paging import ASID
from guesthouse.typed import Abandon

CACHE_BLOCK = 64


@op("0011000 00010 00000 000 00000 1110011", "P3.3.2", ends=LEAVES)
def mret(hart):
    if hart.mode != MACHINE:
        hart.illegal()
    hart.leave_machine()


@op("0001000 00010 00000 000 00000 1110011", "P3.3.2", ends=LEAVES)
def sret(hart):
    if hart.mode < SUPERVISOR or hart.mode == SUPERVISOR and hart.mstatus & TSR != 0:
        hart.illegal()
    hart.leave_supervisor()


@op("0001000 00101 00000 000 00000 1110011", "P3.3.3", ends=LEAVES, counts=True)
def wfi(hart):
    """Goes on at once if an interrupt is pending, be it enabled globally or not."""
    if hart.mode == USER or hart.mode == SUPERVISOR and hart.mstatus & TW != 0:
        hart.illegal()
    if hart.pending() & hart.mie == 0:
        hart.exit = u64(HALTED)


@op("0001001 rs2 rs1 000 00000 1110011", "P10.2.1", name="sfence.vma", ends=LEAVES, all=False)
@op("0001001 rs2 00000 000 00000 1110011", "P10.2.1", name="sfence.vma", ends=LEAVES, all=True, rs1=0)
@op("0001011 rs2 rs1 000 00000 1110011", "P13", name="sinval.vma", ends=LEAVES, all=False)
@op("0001011 rs2 00000 000 00000 1110011", "P13", name="sinval.vma", ends=LEAVES, all=True, rs1=0)
def sfence_vma(hart, rs1: X, rs2: X, all):
    """One address is forgotten for all ASIDs."""
    if hart.mode < SUPERVISOR or hart.mode == SUPERVISOR and hart.mstatus & TVM != 0:
        hart.illegal()
    if not all:
        hart.forget_page(hart.x[rs1])
    elif rs2 == 0:
        hart.forget_translations()
    else:
        hart.forget_space(hart.x[rs2] & ASID)


@op("0001100 00000 00000 000 00000 1110011", "P13", name="sfence.w.inval")
@op("0001100 00001 00000 000 00000 1110011", "P13", name="sfence.inval.ir")
def sfence_order(hart):
    if hart.mode < SUPERVISOR:
        hart.illegal()


def needs(hart, field):
    """menvcfg enables for the modes below machine, senvcfg for user mode too (CMO, 19.3.1)."""
    if hart.mode != MACHINE and hart.menvcfg & field == 0:
        hart.illegal()
    if hart.mode == USER and hart.senvcfg & field == 0:
        hart.illegal()


@op("000000000000 rs1 010 00000 0001111", "19.6", name="cbo.inval", field=CBIE)
@op("000000000001 rs1 010 00000 0001111", "19.6", name="cbo.clean", field=CBCFE)
@op("000000000010 rs1 010 00000 0001111", "19.6", name="cbo.flush", field=CBCFE)
def cbo(hart, rs1: X, field):
    """Leave to read is enough, but the lack of it is a store's fault (19.3.2)."""
    needs(hart, field)
    try:
        hart.walk(hart.x[rs1], u64(READ))
    except Abandon:
        hart.raise_fault(hart.fault + (STORE_PAGE - LOAD_PAGE), hart.fault_address)


@op("000000000100 rs1 010 00000 0001111", "19.6", name="cbo.zero")
def cbo_zero(hart, rs1: X):
    needs(hart, CBZE)
    block = hart.x[rs1] & ~u64(CACHE_BLOCK - 1)
    for n in range(0, CACHE_BLOCK, 8):
        hart.store(u64, block + n, u64(0))
