"""PCLMULQDQ (SDM 2B): the product of two polynomials over GF(2)."""

from guesthouse.bits import u64, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ib, Vx, Wx
from guesthouse.typed import function

SPACING = 5
EVERY_FIFTH = [sum(1 << n for n in range(start, 128, SPACING)) for start in range(SPACING)]


@op("66 0F 3A 44 /r ib", Vx, Wx, Ib)
def pclmulqdq(cpu, to, by, which):
    """SDM 2B, PCLMULQDQ."""
    cpu.need_sse()
    a, b, which = to.get(), by.get(), u128(which.get())
    to.put(product(u64(a >> (which & 1) * 64), u64(b >> (which >> 4 & 1) * 64)))


@function
def product(a: u64, b: u64) -> u128:
    """Without carries. Every fifth bit of each times every fifth of the other: at most thirteen ones meet in
    a place, and their sum stays in the five bits that are free there; its lowest bit is what is wanted.
    """
    x = [u128(a & (mask & (1 << 64) - 1)) for mask in EVERY_FIFTH]
    y = [u128(b & (mask & (1 << 64) - 1)) for mask in EVERY_FIFTH]
    total = u128(0)
    for n, mask in enumerate(EVERY_FIFTH):
        part = x[0] * y[n]
        for m in range(1, SPACING):
            part = part ^ x[m] * y[(n - m) % SPACING]
        total = total | part & mask
    return total
