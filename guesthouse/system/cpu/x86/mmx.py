"""MMX instructions that have no SSE2 twin of the same form: moves and EMMS (SDM 1, chapter 9). The others:
sse_integer.py.
"""

from guesthouse.bits import packed, u8, u16, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ey, Gd, Ib, Mq, Nq, Pq, Qq, Xb
from guesthouse.system.cpu.x86.sse_moves import masked_destination, signs


@op("NP 0F 77")
def emms(cpu):
    """SDM 2A, EMMS."""
    cpu.need_mmx()
    cpu.tags = u64(0)
    cpu.top = u64(0)


@op("NP 0F 6E /r", Pq, Ey)
def movd(cpu, to, by):
    """SDM 2B, MOVD and MOVQ to an MMX register."""
    cpu.need_mmx()
    cpu.put_mmx(to.offset, u64(by.get()))


@op("NP 0F 7E /r", Ey, Pq)
def movd_out(cpu, to, by):
    """SDM 2B, MOVD and MOVQ from an MMX register."""
    cpu.need_mmx()
    to.put(to.type(by.get()))
    cpu.touch_mmx()


@op("NP 0F 6F /r", Pq, Qq)
def movq(cpu, to, by):
    """SDM 2B, MOVQ."""
    cpu.need_mmx()
    cpu.put_mmx(to.offset, by.get())


@op("NP 0F 7F /r", Nq, Pq)
def movq_register(cpu, to, by):
    """SDM 2B, MOVQ."""
    cpu.need_mmx()
    cpu.put_mmx(to.offset, by.get())


@op("NP 0F 7F /r", Mq, Pq)
@op("NP 0F E7 /r", Mq, Pq)
def movq_out(cpu, to, by):
    """SDM 2B, MOVQ to memory, and MOVNTQ."""
    cpu.need_mmx()
    to.put(by.get())
    cpu.touch_mmx()


@op("NP 0F D7 /r", Gd, Nq)
def pmovmskb(cpu, to, by):
    """SDM 2B, PMOVMSKB."""
    cpu.need_mmx()
    to.put(signs(u8, by.get()))
    cpu.touch_mmx()


@op("NP 0F 70 /r ib", Pq, Qq, Ib)
def pshufw(cpu, to, by, order):
    """SDM 2B, PSHUFW."""
    cpu.need_mmx()
    b, order = by.get(), u64(order.get())
    cpu.put_mmx(to.offset, packed(u64, [u16(b >> (order >> n & 3) * 16) for n in (0, 2, 4, 6)]))


@op("NP 0F F7 /r", Xb, Pq, Nq)
def maskmovq(cpu, to, by, mask):
    """SDM 2B, MASKMOVQ."""
    cpu.need_mmx()
    cpu.store_masked(masked_destination(cpu, to), by.get(), mask.get())
    cpu.touch_mmx()
