"""Packed integers: MMX, SSE2 and what SSSE3, SSE4.1 and SSE4.2 add to them (SDM 1, chapters 9, 11 and 12)."""

from functools import partial

from guesthouse.bits import i8, i16, i32, i64, lanes, packed, select, u8, u16, u32, u64, u128
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ib, Pq, Qq, Ux, Vx, Wx
from guesthouse.system.cpu.x86.sse_lanes import (
    absolute,
    add,
    add_saturated,
    average,
    both,
    either,
    equal,
    greater,
    high_product,
    interleaved,
    lanewise,
    lanewise_one,
    least,
    left,
    long_product,
    low_product,
    most,
    narrowed,
    need,
    one,
    other_only,
    put,
    rearranged,
    right,
    rounded_product,
    shifted,
    subtract,
    subtract_saturated,
    whole,
    with_sign,
)

make = partial(lanewise, __name__)
make_one = partial(lanewise_one, __name__)
make_shift = partial(shifted, __name__)
make_whole = partial(whole, __name__)
make_other = partial(rearranged, __name__)

paddb, paddw = make("paddb", "FC", u8, add), make("paddw", "FD", u16, add)
paddd, paddq = make("paddd", "FE", u32, add), make("paddq", "D4", u64, add)
psubb, psubw = make("psubb", "F8", u8, subtract), make("psubw", "F9", u16, subtract)
psubd, psubq = make("psubd", "FA", u32, subtract), make("psubq", "FB", u64, subtract)
paddsb, paddsw = make("paddsb", "EC", i8, add_saturated), make("paddsw", "ED", i16, add_saturated)
paddusb, paddusw = make("paddusb", "DC", u8, add_saturated), make("paddusw", "DD", u16, add_saturated)
psubsb, psubsw = make("psubsb", "E8", i8, subtract_saturated), make("psubsw", "E9", i16, subtract_saturated)
psubusb, psubusw = make("psubusb", "D8", u8, subtract_saturated), make("psubusw", "D9", u16, subtract_saturated)

pcmpeqb, pcmpeqw, pcmpeqd = (
    make("pcmpeqb", "74", i8, equal),
    make("pcmpeqw", "75", i16, equal),
    make("pcmpeqd", "76", i32, equal),
)
pcmpgtb, pcmpgtw = make("pcmpgtb", "64", i8, greater), make("pcmpgtw", "65", i16, greater)
pcmpgtd = make("pcmpgtd", "66", i32, greater)
pcmpeqq, pcmpgtq = make("pcmpeqq", "38 29", i64, equal, False), make("pcmpgtq", "38 37", i64, greater, False)

pmaxub, pmaxsw = make("pmaxub", "DE", u8, most), make("pmaxsw", "EE", i16, most)
pminub, pminsw = make("pminub", "DA", u8, least), make("pminsw", "EA", i16, least)
pminsb, pminsd = make("pminsb", "38 38", i8, least, False), make("pminsd", "38 39", i32, least, False)
pminuw, pminud = make("pminuw", "38 3A", u16, least, False), make("pminud", "38 3B", u32, least, False)
pmaxsb, pmaxsd = make("pmaxsb", "38 3C", i8, most, False), make("pmaxsd", "38 3D", i32, most, False)
pmaxuw, pmaxud = make("pmaxuw", "38 3E", u16, most, False), make("pmaxud", "38 3F", u32, most, False)

pavgb, pavgw = make("pavgb", "E0", u8, average), make("pavgw", "E3", u16, average)
pmullw, pmulhw, pmulhuw = (
    make("pmullw", "D5", u16, low_product),
    make("pmulhw", "E5", i16, high_product),
    make("pmulhuw", "E4", u16, high_product),
)
pmuludq, pmuldq = make("pmuludq", "F4", u64, long_product), make("pmuldq", "38 28", i64, long_product, False)
pmulld, pmulhrsw = (
    make("pmulld", "38 40", u32, low_product, False),
    make("pmulhrsw", "38 0B", i16, rounded_product),
)
psignb, psignw, psignd = (
    make("psignb", "38 08", i8, with_sign),
    make("psignw", "38 09", i16, with_sign),
    make("psignd", "38 0A", i32, with_sign),
)
pabsb, pabsw, pabsd = (
    make_one("pabsb", "38 1C", i8, absolute),
    make_one("pabsw", "38 1D", i16, absolute),
    make_one("pabsd", "38 1E", i32, absolute),
)

pand = make_whole("pand", ("66 0F DB",), both, "NP 0F DB")
pandn = make_whole("pandn", ("66 0F DF",), other_only, "NP 0F DF")
por = make_whole("por", ("66 0F EB",), either, "NP 0F EB")
pxor = make_whole("pxor", ("66 0F EF",), one, "NP 0F EF")

psllw, pslld = make_shift("psllw", "F1", "71 /6", u16, left), make_shift("pslld", "F2", "72 /6", u32, left)
psllq, psrlq = make_shift("psllq", "F3", "73 /6", u64, left), make_shift("psrlq", "D3", "73 /2", u64, right)
psrlw, psrld = make_shift("psrlw", "D1", "71 /2", u16, right), make_shift("psrld", "D2", "72 /2", u32, right)
psraw, psrad = make_shift("psraw", "E1", "71 /4", i16, right), make_shift("psrad", "E2", "72 /4", i32, right)


@op("66 0F 73 /7 ib", Ux, Ib)
def pslldq(cpu, to, count):
    """SDM 2B, PSLLDQ."""
    cpu.need_sse()
    to.put(to.get() << u128(count.get()) * 8)


@op("66 0F 73 /3 ib", Ux, Ib)
def psrldq(cpu, to, count):
    """SDM 2B, PSRLDQ."""
    cpu.need_sse()
    to.put(to.get() >> u128(count.get()) * 8)


# Rearranging.


def high(kind, register, a, b):
    return interleaved(kind, register, a, b, True)


punpckhbw, punpckhwd = (
    make_other("punpckhbw", "68", partial(high, u8)),
    make_other("punpckhwd", "69", partial(high, u16)),
)
punpckhdq = make_other("punpckhdq", "6A", partial(high, u32))
punpckhqdq = make_other("punpckhqdq", "6D", partial(high, u64), False)
packsswb, packuswb = (
    make_other("packsswb", "63", partial(narrowed, i8, i16)),
    make_other("packuswb", "67", partial(narrowed, u8, i16)),
)
packssdw = make_other("packssdw", "6B", partial(narrowed, i16, i32))
packusdw = make_other("packusdw", "38 2B", partial(narrowed, u16, i32), False)


def multiply_and_add(register, a, b):
    x, y = [i32(n) for n in lanes(i16, a)], [i32(n) for n in lanes(i16, b)]
    return packed(register, [x[n] * y[n] + x[n + 1] * y[n + 1] for n in range(0, len(x), 2)])


def multiply_and_add_bytes(register, a, b):
    x, y = [i32(n) for n in lanes(u8, a)], [i32(n) for n in lanes(i8, b)]
    return packed(register, [clamp16(x[n] * y[n] + x[n + 1] * y[n + 1]) for n in range(0, len(x), 2)])


def clamp16(x):
    return i16(select(x < -32768, i32(-32768), select(x > 32767, i32(32767), x)))


def sum_of_differences(register, a, b):
    away = [select(x > y, x - y, y - x) for x, y in zip(lanes(u8, a), lanes(u8, b))]
    return packed(register, [sum_of(away[n : n + 8]) for n in range(0, len(away), 8)])


def sum_of(parts):
    total = u64(0)
    for part in parts:
        total = total + u64(part)
    return total


pmaddwd = make_other("pmaddwd", "F5", multiply_and_add)
pmaddubsw = make_other("pmaddubsw", "38 04", multiply_and_add_bytes)
psadbw = make_other("psadbw", "F6", sum_of_differences)


def paired(kind, each, register, a, b):
    """each(x, y) for neighbours in a, then in b."""
    x = (*lanes(kind, a), *lanes(kind, b))
    return packed(register, [each(x[n], x[n + 1]) for n in range(0, len(x), 2)])


phaddw, phaddd = (
    make_other("phaddw", "38 01", partial(paired, u16, add)),
    make_other("phaddd", "38 02", partial(paired, u32, add)),
)
phsubw, phsubd = (
    make_other("phsubw", "38 05", partial(paired, u16, subtract)),
    make_other("phsubd", "38 06", partial(paired, u32, subtract)),
)
phaddsw = make_other("phaddsw", "38 03", partial(paired, i16, add_saturated))
phsubsw = make_other("phsubsw", "38 07", partial(paired, i16, subtract_saturated))


@op("66 0F 3A 0F /r ib", Vx, Wx, Ib)
@op("NP 0F 3A 0F /r ib", Pq, Qq, Ib)
def palignr(cpu, to, by, count):
    """SDM 2B, PALIGNR. A count that is negative or too large for one of the parts shifts it away."""
    need(cpu, to)
    a, b, T = to.get(), by.get(), to.type
    n = T(count.get()) * 8
    put(cpu, to, b >> n | a << T.bits - n | a >> n - T.bits)
