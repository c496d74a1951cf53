"""SSE instructions that pick, spread, insert and extract lanes (SDM 1, 10.4.4, 11.4.2 and 12.10)."""

from guesthouse.bits import i8, i16, i32, i64, lanes, packed, select, u8, u16, u32, u64, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import (
    Ed,
    Ey,
    Gd,
    Ib,
    Md,
    Nq,
    Pq,
    Qd,
    Qq,
    RdMb,
    RdMw,
    Ux,
    Vx,
    Wd,
    Wq,
    Ww,
    Wx,
)
from guesthouse.system.cpu.x86.sse_lanes import interleaved, named, need, put
from guesthouse.typed import function


def picked(kind, a, n):
    """Lane number n, which is known only at run time and in range."""
    return kind(a >> type(a)(n) * kind.bits)


@op("66 0F 70 /r ib", Vx, Wx, Ib)
def pshufd(cpu, to, by, order):
    """SDM 2B, PSHUFD."""
    cpu.need_sse()
    b, order = by.get(), order.get()
    to.put(packed(u128, [picked(u32, b, order >> n & 3) for n in (0, 2, 4, 6)]))


@op("F2 0F 70 /r ib", Vx, Wx, Ib)
def pshuflw(cpu, to, by, order):
    """SDM 2B, PSHUFLW."""
    cpu.need_sse()
    (low, high), order = lanes(u64, by.get()), order.get()
    to.put(packed(u128, [packed(u64, [picked(u16, low, order >> n & 3) for n in (0, 2, 4, 6)]), high]))


@op("F3 0F 70 /r ib", Vx, Wx, Ib)
def pshufhw(cpu, to, by, order):
    """SDM 2B, PSHUFHW."""
    cpu.need_sse()
    (low, high), order = lanes(u64, by.get()), order.get()
    to.put(packed(u128, [low, packed(u64, [picked(u16, high, order >> n & 3) for n in (0, 2, 4, 6)])]))


@op("NP 0F C6 /r ib", Vx, Wx, Ib)
def shufps(cpu, to, by, order):
    """SDM 2B, SHUFPS."""
    cpu.need_sse()
    a, b, order = to.get(), by.get(), order.get()
    to.put(packed(u128, [picked(u32, x, order >> n & 3) for x, n in ((a, 0), (a, 2), (b, 4), (b, 6))]))


@op("66 0F C6 /r ib", Vx, Wx, Ib)
def shufpd(cpu, to, by, order):
    """SDM 2B, SHUFPD."""
    cpu.need_sse()
    a, b, order = to.get(), by.get(), order.get()
    to.put(packed(u128, [picked(u64, a, order & 1), picked(u64, b, order >> 1 & 1)]))


def unpacking(name: str, encoding: str, kind, high: bool, mmx: str = ""):
    """A definition that takes lanes of the low or the high halves in turn. The low MMX form reads 32 bits of
    memory.
    """

    def run(cpu, to, by):
        need(cpu, to)
        put(cpu, to, interleaved(kind, to.type, to.get(), to.type(by.get()), high))

    made = op(f"{encoding} /r", Vx, Wx)(named(run, __name__, name))
    return op(f"{mmx} /r", Pq, Qd)(made) if mmx else made


punpcklbw = unpacking("punpcklbw", "66 0F 60", u8, False, "NP 0F 60")
punpcklwd = unpacking("punpcklwd", "66 0F 61", u16, False, "NP 0F 61")
punpckldq = unpacking("punpckldq", "66 0F 62", u32, False, "NP 0F 62")
punpcklqdq = unpacking("punpcklqdq", "66 0F 6C", u64, False)
unpcklps, unpckhps = unpacking("unpcklps", "NP 0F 14", u32, False), unpacking("unpckhps", "NP 0F 15", u32, True)
unpcklpd, unpckhpd = unpacking("unpcklpd", "66 0F 14", u64, False), unpacking("unpckhpd", "66 0F 15", u64, True)


@op("66 0F 38 00 /r", Vx, Wx)
@op("NP 0F 38 00 /r", Pq, Qq)
def pshufb(cpu, to, by):
    """SDM 2B, PSHUFB."""
    need(cpu, to)
    put(cpu, to, shuffled_bytes(cpu, to.get(), by.get()))


@function
def shuffled_bytes(cpu, a, order):
    """The byte of `a` that each byte of `order` names, or zero."""
    T = type(a)
    at = type(cpu).offset("vectors")
    cpu.poke(T, at, a)
    return packed(
        T, [select(n >= 0x80, u8(0), cpu.peek(u8, u64(n & T.size - 1) + at)) for n in lanes(u8, order)]
    )


# Insert and extract.


def with_lane(cpu, to, kind, n, value) -> None:
    """Write lane n, known only at run time and in range, of a register."""
    cpu.poke(kind, to.offset + u64(n) * kind.size, value)


@op("66 0F C4 /r ib", Vx, RdMw, Ib)
def pinsrw(cpu, to, by, n):
    """SDM 2B, PINSRW."""
    cpu.need_sse()
    with_lane(cpu, to, u16, n.get() & 7, u16(by.get()))


@op("NP 0F C4 /r ib", Pq, RdMw, Ib)
def pinsrw_mmx(cpu, to, by, n):
    """SDM 2B, PINSRW."""
    cpu.need_mmx()
    by, at = u64(u16(by.get())), u64(n.get() & 3) * 16
    cpu.put_mmx(to.offset, to.get() & ~(u64(0xFFFF) << at) | by << at)


@op("66 0F C5 /r ib", Gd, Ux, Ib)
def pextrw(cpu, to, by, n):
    """SDM 2B, PEXTRW."""
    cpu.need_sse()
    to.put(u32(picked(u16, by.get(), n.get() & 7)))


@op("NP 0F C5 /r ib", Gd, Nq, Ib)
def pextrw_mmx(cpu, to, by, n):
    """SDM 2B, PEXTRW."""
    cpu.need_mmx()
    to.put(u32(picked(u16, by.get(), n.get() & 3)))
    cpu.touch_mmx()


@op("66 0F 3A 14 /r ib", RdMb, Vx, Ib)
def pextrb(cpu, to, by, n):
    """SDM 2B, PEXTRB."""
    cpu.need_sse()
    to.put(to.type(picked(u8, by.get(), n.get() & 15)))


@op("66 0F 3A 15 /r ib", RdMw, Vx, Ib)
def pextrw_sse4(cpu, to, by, n):
    """SDM 2B, PEXTRW to memory or a register."""
    cpu.need_sse()
    to.put(to.type(picked(u16, by.get(), n.get() & 7)))


@op("66 0F 3A 16 /r ib", Ey, Vx, Ib)
def pextrd(cpu, to, by, n):
    """SDM 2B, PEXTRD and PEXTRQ."""
    cpu.need_sse()
    to.put(picked(to.type, by.get(), n.get() & 16 // to.type.size - 1))


@op("66 0F 3A 17 /r ib", Ed, Vx, Ib)
def extractps(cpu, to, by, n):
    """SDM 2A, EXTRACTPS."""
    cpu.need_sse()
    to.put(picked(u32, by.get(), n.get() & 3))


@op("66 0F 3A 20 /r ib", Vx, RdMb, Ib)
def pinsrb(cpu, to, by, n):
    """SDM 2B, PINSRB."""
    cpu.need_sse()
    with_lane(cpu, to, u8, n.get() & 15, u8(by.get()))


@op("66 0F 3A 22 /r ib", Vx, Ey, Ib)
def pinsrd(cpu, to, by, n):
    """SDM 2B, PINSRD and PINSRQ."""
    cpu.need_sse()
    with_lane(cpu, to, by.type, n.get() & 16 // by.type.size - 1, by.get())


def insert(cpu, to, value, n) -> None:
    """INSERTPS: put a lane, then clear those that the low four bits name."""
    with_lane(cpu, to, u32, n >> 4 & 3, value)
    to.put(
        packed(u128, [select(n >> at & 1 != 0, u32(0), lane) for at, lane in enumerate(lanes(u32, to.get()))])
    )


@op("66 0F 3A 21 /r ib", Vx, Ux, Ib)
def insertps(cpu, to, by, n):
    """SDM 2A, INSERTPS from a register, any lane of it."""
    cpu.need_sse()
    insert(cpu, to, picked(u32, by.get(), n.get() >> 6), n.get())


@op("66 0F 3A 21 /r ib", Vx, Md, Ib)
def insertps_memory(cpu, to, by, n):
    """SDM 2A, INSERTPS from memory."""
    cpu.need_sse()
    insert(cpu, to, by.get(), n.get())


# Blending and widening.


def blending(name: str, encoding: str, kind):
    """A definition that takes those lanes of the source for which the immediate has a bit."""

    def run(cpu, to, by, which):
        cpu.need_sse()
        a, b, which = lanes(kind, to.get()), lanes(kind, by.get()), which.get()
        to.put(packed(u128, [select(which >> n & 1 != 0, b[n], a[n]) for n in range(len(a))]))

    return op(f"{encoding} /r ib", Vx, Wx, Ib)(named(run, __name__, name))


def blending_by_sign(name: str, encoding: str, kind):
    """A definition that takes those lanes of the source whose lanes in XMM0 are negative."""

    def run(cpu, to, by):
        cpu.need_sse()
        which = lanes(kind, cpu.xmm[0])
        lanewise = zip(which, lanes(kind, to.get()), lanes(kind, by.get()))
        to.put(packed(u128, [select(w < 0, b, a) for w, a, b in lanewise]))

    return op(f"{encoding} /r", Vx, Wx)(named(run, __name__, name))


blendps, blendpd = blending("blendps", "66 0F 3A 0C", u32), blending("blendpd", "66 0F 3A 0D", u64)
pblendw = blending("pblendw", "66 0F 3A 0E", u16)
pblendvb = blending_by_sign("pblendvb", "66 0F 38 10", i8)
blendvps, blendvpd = (
    blending_by_sign("blendvps", "66 0F 38 14", i32),
    blending_by_sign("blendvpd", "66 0F 38 15", i64),
)


def widening(name: str, opcode: str, source, narrow, wide):
    """A definition that extends lanes from `narrow` to `wide`."""

    def run(cpu, to, by):
        cpu.need_sse()
        to.put(packed(u128, [wide(x) for x in lanes(narrow, by.get())][: 128 // wide.bits]))

    return op(f"66 0F 38 {opcode} /r", Vx, source)(named(run, __name__, name))


pmovsxbw, pmovsxbd = widening("pmovsxbw", "20", Wq, i8, i16), widening("pmovsxbd", "21", Wd, i8, i32)
pmovsxbq, pmovsxwd = widening("pmovsxbq", "22", Ww, i8, i64), widening("pmovsxwd", "23", Wq, i16, i32)
pmovsxwq, pmovsxdq = widening("pmovsxwq", "24", Wd, i16, i64), widening("pmovsxdq", "25", Wq, i32, i64)
pmovzxbw, pmovzxbd = widening("pmovzxbw", "30", Wq, u8, u16), widening("pmovzxbd", "31", Wd, u8, u32)
pmovzxbq, pmovzxwd = widening("pmovzxbq", "32", Ww, u8, u64), widening("pmovzxwd", "33", Wq, u16, u32)
pmovzxwq, pmovzxdq = widening("pmovzxwq", "34", Wd, u16, u64), widening("pmovzxdq", "35", Wq, u32, u64)


@op("66 0F 38 17 /r", Vx, Wx)
def ptest(cpu, a, b):
    """SDM 2B, PTEST."""
    cpu.need_sse()
    x, y = a.get(), b.get()
    cpu.set_status(u64(x & y == 0) << 6 | u64(~x & y == 0))


@op("66 0F 3A 42 /r ib", Vx, Wx, Ib)
def mpsadbw(cpu, to, by, control):
    """SDM 2B, MPSADBW."""
    cpu.need_sse()
    to.put(block_differences(to.get(), by.get(), u128(control.get())))


@function
def block_differences(a: u128, b: u128, control: u128) -> u128:
    x, y = lanes(u8, a >> (control >> 2 & 1) * 32), lanes(u8, b >> (control & 3) * 32)[:4]
    return packed(u128, [distance(x[n : n + 4], y) for n in range(8)])


def distance(x, y):
    total = u16(0)
    for a, b in zip(x, y):
        total = total + u16(select(a > b, a - b, b - a))
    return total


@op("66 0F 38 41 /r", Vx, Wx)
def phminposuw(cpu, to, by):
    """SDM 2B, PHMINPOSUW."""
    cpu.need_sse()
    best = u32(0xFFFF_FFFF)
    for n, lane in enumerate(lanes(u16, by.get())):
        here = u32(lane) << 16 | n
        best = select(here < best, here, best)
    to.put(u128(best >> 16 | (best & 7) << 16))
