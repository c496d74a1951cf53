"""SSE instructions that only move: loads, stores, shuffles of whole halves, masks, and the control register.

SDM 1, chapters 10 to 12. Non-temporal hints are not modelled: those stores are stores.
"""

from guesthouse.bits import lanes, packed, u8, u32, u64, u128
from guesthouse.system.cpu.x86.accesses import WRITES
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.float_state import MXCSR_MASK
from guesthouse.system.cpu.x86.operands import (
    Ey,
    Gd,
    Md,
    Mq,
    Mu,
    Mx,
    Nq,
    Pq,
    Ud,
    Uq,
    Ux,
    Vd,
    Vq,
    Vx,
    Wd,
    Wq,
    Wu,
    Wx,
    Xb,
)
from guesthouse.system.cpu.x86.state import RDI, VECTOR_GP

HIGH = 8  # where the upper half of a register begins


@op("NP 0F 28 /r", Vx, Wx)
@op("NP 0F 29 /r", Wx, Vx)
def movaps(cpu, to, by):
    """SDM 2B, MOVAPS."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F 28 /r", Vx, Wx)
@op("66 0F 29 /r", Wx, Vx)
def movapd(cpu, to, by):
    """SDM 2B, MOVAPD."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F 6F /r", Vx, Wx)
@op("66 0F 7F /r", Wx, Vx)
def movdqa(cpu, to, by):
    """SDM 2B, MOVDQA."""
    cpu.need_sse()
    to.put(by.get())


@op("NP 0F 10 /r", Vx, Wu)
@op("NP 0F 11 /r", Wu, Vx)
def movups(cpu, to, by):
    """SDM 2B, MOVUPS."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F 10 /r", Vx, Wu)
@op("66 0F 11 /r", Wu, Vx)
def movupd(cpu, to, by):
    """SDM 2B, MOVUPD."""
    cpu.need_sse()
    to.put(by.get())


@op("F3 0F 6F /r", Vx, Wu)
@op("F3 0F 7F /r", Wu, Vx)
def movdqu(cpu, to, by):
    """SDM 2B, MOVDQU."""
    cpu.need_sse()
    to.put(by.get())


@op("F2 0F F0 /r", Vx, Mu)
def lddqu(cpu, to, by):
    """SDM 2A, LDDQU."""
    cpu.need_sse()
    to.put(by.get())


@op("NP 0F 2B /r", Mx, Vx)
def movntps(cpu, to, by):
    """SDM 2B, MOVNTPS."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F 2B /r", Mx, Vx)
def movntpd(cpu, to, by):
    """SDM 2B, MOVNTPD."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F E7 /r", Mx, Vx)
def movntdq(cpu, to, by):
    """SDM 2B, MOVNTDQ."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F 38 2A /r", Vx, Mx)
def movntdqa(cpu, to, by):
    """SDM 2B, MOVNTDQA."""
    cpu.need_sse()
    to.put(by.get())


@op("F3 0F 10 /r", Vd, Ud)
@op("F3 0F 11 /r", Wd, Vd)
def movss(cpu, to, by):
    """SDM 2B, MOVSS between registers, or to memory: one lane changes."""
    cpu.need_sse()
    to.put(by.get())


@op("F3 0F 10 /r", Vx, Md)
@op("F2 0F 10 /r", Vx, Mq)
@op("F3 0F 7E /r", Vx, Wq)
def loaded(cpu, to, by):
    """SDM 2B, MOVSS and MOVSD from memory, and MOVQ: the rest of the register is cleared."""
    cpu.need_sse()
    to.put(u128(by.get()))


@op("F2 0F 10 /r", Vq, Uq)
@op("F2 0F 11 /r", Wq, Vq)
def movsd(cpu, to, by):
    """SDM 2B, MOVSD between registers, or to memory: one lane changes."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F D6 /r", Mq, Vq)
def movq(cpu, to, by):
    """SDM 2B, MOVQ to memory."""
    cpu.need_sse()
    to.put(by.get())


@op("66 0F D6 /r", Ux, Vq)
def movq_register(cpu, to, by):
    """SDM 2B, MOVQ to a register, whose upper half it clears."""
    cpu.need_sse()
    to.put(u128(by.get()))


@op("66 0F 6E /r", Vx, Ey)
def movd(cpu, to, by):
    """SDM 2B, MOVD and MOVQ from a general register or memory."""
    cpu.need_sse()
    to.put(u128(by.get()))


@op("66 0F 7E /r", Ey, Vx)
def movd_out(cpu, to, by):
    """SDM 2B, MOVD and MOVQ to a general register or memory."""
    cpu.need_sse()
    to.put(to.type(by.get()))


@op("NP 0F 12 /r", Vq, Mq)
@op("66 0F 12 /r", Vq, Mq)
@op("NP 0F 13 /r", Mq, Vq)
@op("66 0F 13 /r", Mq, Vq)
def movlps(cpu, to, by):
    """SDM 2B, MOVLPS and MOVLPD."""
    cpu.need_sse()
    to.put(by.get())


@op("NP 0F 12 /r", Vq, Ux)
def movhlps(cpu, to, by):
    """SDM 2B, MOVHLPS."""
    cpu.need_sse()
    to.put(cpu.peek(u64, by.offset + HIGH))


@op("NP 0F 16 /r", Vx, Mq)
@op("66 0F 16 /r", Vx, Mq)
@op("NP 0F 16 /r", Vx, Uq)
def movhps(cpu, to, by):
    """SDM 2B, MOVHPS, MOVHPD and MOVLHPS."""
    cpu.need_sse()
    cpu.poke(u64, to.offset + HIGH, by.get())


@op("NP 0F 17 /r", Mq, Vx)
@op("66 0F 17 /r", Mq, Vx)
def movhps_out(cpu, to, by):
    """SDM 2B, MOVHPS and MOVHPD to memory."""
    cpu.need_sse()
    to.put(cpu.peek(u64, by.offset + HIGH))


@op("F2 0F 12 /r", Vx, Wq)
def movddup(cpu, to, by):
    """SDM 2B, MOVDDUP."""
    cpu.need_sse()
    b = by.get()
    to.put(packed(u128, [b, b]))


@op("F3 0F 12 /r", Vx, Wx)
def movsldup(cpu, to, by):
    """SDM 2B, MOVSLDUP."""
    cpu.need_sse()
    b = lanes(u32, by.get())
    to.put(packed(u128, [b[0], b[0], b[2], b[2]]))


@op("F3 0F 16 /r", Vx, Wx)
def movshdup(cpu, to, by):
    """SDM 2B, MOVSHDUP."""
    cpu.need_sse()
    b = lanes(u32, by.get())
    to.put(packed(u128, [b[1], b[1], b[3], b[3]]))


def signs(kind, x):
    """The top bit of each lane, the lowest lane's first."""
    mask = u32(0)
    for n, lane in enumerate(lanes(kind, x)):
        mask = mask | u32(lane >> (kind.bits - 1)) << n
    return mask


@op("NP 0F 50 /r", Gd, Ux)
def movmskps(cpu, to, by):
    """SDM 2B, MOVMSKPS."""
    cpu.need_sse()
    to.put(signs(u32, by.get()))


@op("66 0F 50 /r", Gd, Ux)
def movmskpd(cpu, to, by):
    """SDM 2B, MOVMSKPD."""
    cpu.need_sse()
    to.put(signs(u64, by.get()))


@op("66 0F D7 /r", Gd, Ux)
def pmovmskb(cpu, to, by):
    """SDM 2B, PMOVMSKB."""
    cpu.need_sse()
    to.put(signs(u8, by.get()))


def masked_destination(cpu, string):
    """DS:rDI, of which DS may be overridden."""
    offset = u64(cpu.get(string.size, RDI))
    if string.size.bits == 64:
        return string.base() + offset
    if cpu.code_bits == 64:
        return string.base() + offset & 0xFFFF_FFFF
    return cpu.linear(string.segment(), offset, u64(15 | WRITES))


@op("66 0F F7 /r", Xb, Vx, Ux)
def maskmovdqu(cpu, to, by, mask):
    """SDM 2B, MASKMOVDQU. Bytes that the mask leaves out are neither written nor looked at."""
    cpu.need_sse()
    cpu.store_masked(masked_destination(cpu, to), by.get(), mask.get())


@op("F2 0F D6 /r", Pq, Uq)
def movdq2q(cpu, to, by):
    """SDM 2B, MOVDQ2Q."""
    cpu.need_mmx()
    cpu.put_mmx(to.offset, by.get())


@op("F3 0F D6 /r", Vx, Nq)
def movq2dq(cpu, to, by):
    """SDM 2B, MOVQ2DQ."""
    cpu.need_mmx()
    to.put(u128(by.get()))
    cpu.touch_mmx()


@op("NP 0F AE /2", Md)
def ldmxcsr(cpu, by):
    """SDM 2A, LDMXCSR."""
    cpu.need_sse()
    image = u64(by.get())
    if image & ~u64(MXCSR_MASK) != 0:
        cpu.raise_fault(VECTOR_GP)
    cpu.set_mxcsr(image)


@op("NP 0F AE /3", Md)
def stmxcsr(cpu, to):
    """SDM 2B, STMXCSR."""
    cpu.need_sse()
    to.put(u32(cpu.mxcsr()))
