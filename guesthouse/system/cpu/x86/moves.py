"""Data transfer (SDM 1, 5.1.1): MOV and its relatives, LEA, exchanges of registers, table lookup, flag
images in AH."""

from guesthouse.bits import byteswap, select, signed, u8, u16, u64
from guesthouse.engine.cpu import YIELD
from guesthouse.engine.op import LEAVES
from guesthouse.system.cpu.x86.definitions import LEGACY, LOCKS, LONG, op
from guesthouse.system.cpu.x86.flags import OF
from guesthouse.system.cpu.x86.operands import (
    AL, Cc, Eb, Ed, Ev, Ew, Gb, Gv, Gy, Ib, Iv, Iz, Mv, My, Ob, Offset, Ov, Xb, Zb, Zv, rAX,
)
from guesthouse.system.cpu.x86.state import RAX, RBX
from guesthouse.system.cpu.x86.strings import string_address


@op("88 /r", Eb, Gb)
@op("89 /r", Ev, Gv)
@op("8A /r", Gb, Eb)
@op("8B /r", Gv, Ev)
@op("A0 mo", AL, Ob)
@op("A1 mo", rAX, Ov)
@op("A2 mo", Ob, AL)
@op("A3 mo", Ov, rAX)
@op("B0+r ib", Zb, Ib)
@op("B8+r iv", Zv, Iv)
@op("C6 /0 ib", Eb, Ib)
@op("C7 /0 iz", Ev, Iz)
def mov(cpu, to, source) -> None:
    """SDM 2B, MOV."""
    to.put(source.get())


@op("NP 0F C3 /r", My, Gy)
def movnti(cpu, to, source) -> None:
    """SDM 2B, MOVNTI. The hint means nothing here."""
    to.put(source.get())


@op("0F B6 /r", Gv, Eb)
@op("0F B7 /r", Gv, Ew)
def movzx(cpu, to, source) -> None:
    """SDM 2B, MOVZX."""
    to.put(to.type(source.get()))


@op("0F BE /r", Gv, Eb)
@op("0F BF /r", Gv, Ew)
def movsx(cpu, to, source) -> None:
    """SDM 2B, MOVSX."""
    to.put(to.type(signed(source.type)(source.get())))


@op("63 /r", Gv, Ed, modes=LONG)
def movsxd(cpu, to, source) -> None:
    """SDM 2B, MOVSXD. Without REX.W it is a MOV."""
    to.put(to.type(signed(source.type)(source.get())))


@op("8D /r", Gv, Offset)
def lea(cpu, to, offset) -> None:
    """SDM 2A, LEA."""
    to.put(to.type(offset))


@op("0F 40+cc /r", Cc, Gv, Ev)
def cmov(cpu, cc, to, source) -> None:
    """SDM 2A, CMOVcc. Memory is read and a 32-bit register's upper half cleared whatever the condition
    says."""
    new = source.get()
    to.put(select(cpu.condition(cc), new, to.get()))


@op("0F 90+cc /r", Cc, Eb)
def set_(cpu, cc, to) -> None:
    """SDM 2B, SETcc."""
    to.put(u8(cpu.condition(cc)))


@op("86 /r", Eb, Gb, lock=LOCKS)
@op("87 /r", Ev, Gv, lock=LOCKS)
@op("90+r", Zv, rAX)
def xchg(cpu, a, b) -> None:
    """SDM 2D, XCHG."""
    old, new = a.get_to_change(), b.get()
    a.put(new)
    b.put(old)


@op("90", Zv, rAX)
def nop(cpu, a, b) -> None:
    """SDM 2B, NOP: an XCHG of EAX with itself that does not clear the upper half. With REX.B it is XCHG
    with R8."""
    exchange_if_two(a, b)


@op("F3 90", Zv, rAX, ends=LEAVES, counts=True)
def pause(cpu, a, b) -> None:
    """SDM 2B, PAUSE. With REX.B it too is XCHG with R8. Whoever waits so gives up its turn to other processors."""
    exchange_if_two(a, b)
    if cpu.now() > cpu.yield_at - 1:  # 0: never
        cpu.exit = u64(YIELD)


def exchange_if_two(a, b) -> None:
    if a.offset != b.offset:
        old, new = a.get(), b.get()
        a.put(new)
        b.put(old)


@op("0F C8+r", Zv)
def bswap(cpu, to) -> None:
    """SDM 2A, BSWAP. Of 16 bits it is undefined; processors give zero."""
    if to.type.size == 2:
        to.put(u16(0))
    else:
        to.put(byteswap(to.get()))


@op("NFx 0F 38 F0 /r", Gv, Mv)
@op("NFx 0F 38 F1 /r", Mv, Gv)
def movbe(cpu, to, source) -> None:
    """SDM 2B, MOVBE."""
    to.put(byteswap(source.get()))


@op("D7", Xb)
def xlat(cpu, table) -> None:
    """SDM 2D, XLAT/XLATB."""
    offset = cpu.r[RBX] + u64(cpu.get(u8, RAX))
    cpu.put(u8, RAX, cpu.load(u8, string_address(cpu, table, offset)))


@op("9E")
def sahf(cpu) -> None:
    """SDM 2B, SAHF."""
    image = cpu.r[RAX] >> 8 & 0xFF
    cpu.set_status(image | cpu.status() & OF)


@op("9F")
def lahf(cpu) -> None:
    """SDM 2A, LAHF."""
    image = cpu.status() & 0xFF | 2
    cpu.r[RAX] = cpu.r[RAX] & ~u64(0xFF00) | image << 8


@op("F5")
def cmc(cpu) -> None:
    """SDM 2A, CMC."""
    cpu.carry = cpu.carry ^ 1


@op("F8")
def clc(cpu) -> None:
    """SDM 2A, CLC."""
    cpu.carry = u8(0)


@op("F9")
def stc(cpu) -> None:
    """SDM 2B, STC."""
    cpu.carry = u8(1)


@op("D6", modes=LEGACY)
def salc(cpu) -> None:
    """AL = CF ? FF : 0. Not in the SDM; AMD's APM 3, appendix A, lists the opcode as SALC."""
    cpu.put(u8, RAX, u8(0) - cpu.carry)
