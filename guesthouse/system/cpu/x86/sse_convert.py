"""Conversions of SSE and SSE2 between integers and floating-point numbers, and between formats (SDM 1,
11.4.4).
"""

from guesthouse.bits import i32, i64, lanes, packed, u32, u64, u128
from guesthouse.system.cpu.softfloat import SSE, convert, from_integer, to_integer
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ey, Gy, Mq, Nq, Pq, Vd, Vq, Vx, Wd, Wq, Wx
from guesthouse.system.cpu.x86.sse_lanes import named
from guesthouse.typed import function

SINGLE, DOUBLE = SSE.single, SSE.double


def lane_type(form):
    return u32 if form.bits == 32 else u64


# Integers to numbers.


@function
def numbers(cpu, form, integers: u64):
    """The numbers that two doublewords are: a u64 of two singles, or a u128 of two doubles."""
    T, env = lane_type(form), cpu.sse
    cpu.begin_sse()
    r = [T(from_integer(env, form, env.rounding, i64(x))) for x in lanes(i32, integers)]
    cpu.end_sse()
    return packed(u64 if form.bits == 32 else u128, r)


@op("NP 0F 2A /r", Vq, Mq)
def cvtpi2ps_memory(cpu, to, by):
    """SDM 2A, CVTPI2PS from memory: processors do not touch MMX, whatever the book says."""
    cpu.need_sse()
    to.put(numbers(cpu, SINGLE, by.get()))


@op("NP 0F 2A /r", Vq, Nq)
def cvtpi2ps(cpu, to, by):
    """SDM 2A, CVTPI2PS."""
    cpu.need_sse()
    cpu.need_mmx()
    to.put(numbers(cpu, SINGLE, by.get()))
    cpu.touch_mmx()


@op("66 0F 2A /r", Vx, Nq)
def cvtpi2pd(cpu, to, by):
    """SDM 2A, CVTPI2PD."""
    cpu.need_sse()
    cpu.need_mmx()
    to.put(numbers(cpu, DOUBLE, by.get()))
    cpu.touch_mmx()


@op("66 0F 2A /r", Vx, Mq)
def cvtpi2pd_memory(cpu, to, by):
    """SDM 2A, CVTPI2PD from memory: MMX is not touched."""
    cpu.need_sse()
    to.put(numbers(cpu, DOUBLE, by.get()))


@op("F3 0F E6 /r", Vx, Wq)
def cvtdq2pd(cpu, to, by):
    """SDM 2A, CVTDQ2PD."""
    cpu.need_sse()
    to.put(numbers(cpu, DOUBLE, by.get()))


@op("NP 0F 5B /r", Vx, Wx)
def cvtdq2ps(cpu, to, by):
    """SDM 2A, CVTDQ2PS."""
    cpu.need_sse()
    to.put(four_numbers(cpu, by.get()))


@function
def four_numbers(cpu, integers: u128) -> u128:
    env = cpu.sse
    cpu.begin_sse()
    r = [u32(from_integer(env, SINGLE, env.rounding, i64(x))) for x in lanes(i32, integers)]
    cpu.end_sse()
    return packed(u128, r)


def from_general(name: str, encoding: str, form, register):
    def run(cpu, to, by):
        cpu.need_sse()
        b = by.get()
        v = i64(b) if by.type.bits == 64 else i64(i32(b))
        cpu.begin_sse()
        r = from_integer(cpu.sse, form, cpu.sse.rounding, v)
        cpu.end_sse()
        to.put(to.type(r))

    return op(f"{encoding} /r", register, Ey)(named(run, __name__, name))


cvtsi2ss = from_general("cvtsi2ss", "F3 0F 2A", SINGLE, Vd)
cvtsi2sd = from_general("cvtsi2sd", "F2 0F 2A", DOUBLE, Vq)


# Numbers to integers. `truncates`: towards zero whatever MXCSR says.


@function
def integers(cpu, form, truncates, number: u128):
    """Doublewords of as many lanes as there are, the others 0, in a u128."""
    env = cpu.sse
    cpu.begin_sse()
    mode = u64(SSE.to_zero) if truncates else env.rounding
    r = [u32(to_integer(env, form, mode, u64(x), i32)) for x in lanes(lane_type(form), number)]
    cpu.end_sse()
    return packed(u128, r) if form.bits == 32 else packed(u128, [*r, u32(0), u32(0)])


@function
def two_integers(cpu, truncates, number: u64) -> u64:
    """Doublewords of two singles."""
    env = cpu.sse
    cpu.begin_sse()
    mode = u64(SSE.to_zero) if truncates else env.rounding
    r = [u32(to_integer(env, SINGLE, mode, u64(x), i32)) for x in lanes(u32, number)]
    cpu.end_sse()
    return packed(u64, r)


def to_packed(name: str, encoding: str, form, truncates: bool):
    def run(cpu, to, by):
        cpu.need_sse()
        to.put(integers(cpu, form, truncates, by.get()))

    return op(f"{encoding} /r", Vx, Wx)(named(run, __name__, name))


def to_mmx(name: str, encoding: str, form, truncates: bool):
    def run(cpu, to, by):
        cpu.need_sse()
        cpu.need_mmx()
        if form.bits == 32:
            cpu.put_mmx(to.offset, two_integers(cpu, truncates, by.get()))
        else:
            cpu.put_mmx(to.offset, u64(integers(cpu, form, truncates, by.get())))

    return op(f"{encoding} /r", Pq, Wq if form.bits == 32 else Wx)(named(run, __name__, name))


def to_general(name: str, encoding: str, form, truncates: bool):
    def run(cpu, to, by):
        cpu.need_sse()
        b = u64(by.get())
        cpu.begin_sse()
        mode = u64(SSE.to_zero) if truncates else cpu.sse.rounding
        r = to_integer(cpu.sse, form, mode, b, i64 if to.type.bits == 64 else i32)
        cpu.end_sse()
        to.put(to.type(r))

    return op(f"{encoding} /r", Gy, Wd if form.bits == 32 else Wq)(named(run, __name__, name))


cvtps2dq, cvttps2dq = (
    to_packed("cvtps2dq", "66 0F 5B", SINGLE, False),
    to_packed("cvttps2dq", "F3 0F 5B", SINGLE, True),
)
cvtpd2dq, cvttpd2dq = (
    to_packed("cvtpd2dq", "F2 0F E6", DOUBLE, False),
    to_packed("cvttpd2dq", "66 0F E6", DOUBLE, True),
)
cvtps2pi, cvttps2pi = (
    to_mmx("cvtps2pi", "NP 0F 2D", SINGLE, False),
    to_mmx("cvttps2pi", "NP 0F 2C", SINGLE, True),
)
cvtpd2pi, cvttpd2pi = (
    to_mmx("cvtpd2pi", "66 0F 2D", DOUBLE, False),
    to_mmx("cvttpd2pi", "66 0F 2C", DOUBLE, True),
)
cvtss2si, cvttss2si = (
    to_general("cvtss2si", "F3 0F 2D", SINGLE, False),
    to_general("cvttss2si", "F3 0F 2C", SINGLE, True),
)
cvtsd2si, cvttsd2si = (
    to_general("cvtsd2si", "F2 0F 2D", DOUBLE, False),
    to_general("cvttsd2si", "F2 0F 2C", DOUBLE, True),
)


# Between formats.


@op("NP 0F 5A /r", Vx, Wq)
def cvtps2pd(cpu, to, by):
    """SDM 2A, CVTPS2PD."""
    cpu.need_sse()
    to.put(wider(cpu, by.get()))


@function
def wider(cpu, singles: u64) -> u128:
    env = cpu.sse
    cpu.begin_sse()
    r = [convert(env, SINGLE, DOUBLE, env.rounding, u64(x)) for x in lanes(u32, singles)]
    cpu.end_sse()
    return packed(u128, r)


@op("66 0F 5A /r", Vx, Wx)
def cvtpd2ps(cpu, to, by):
    """SDM 2A, CVTPD2PS."""
    cpu.need_sse()
    to.put(narrower(cpu, by.get()))


@function
def narrower(cpu, doubles: u128) -> u128:
    env = cpu.sse
    cpu.begin_sse()
    r = [u32(convert(env, DOUBLE, SINGLE, env.rounding, x)) for x in lanes(u64, doubles)]
    cpu.end_sse()
    return packed(u128, [*r, u32(0), u32(0)])


@op("F3 0F 5A /r", Vq, Wd)
def cvtss2sd(cpu, to, by):
    """SDM 2A, CVTSS2SD."""
    cpu.need_sse()
    b = u64(by.get())
    cpu.begin_sse()
    r = convert(cpu.sse, SINGLE, DOUBLE, cpu.sse.rounding, b)
    cpu.end_sse()
    to.put(r)


@op("F2 0F 5A /r", Vd, Wq)
def cvtsd2ss(cpu, to, by):
    """SDM 2A, CVTSD2SS."""
    cpu.need_sse()
    b = by.get()
    cpu.begin_sse()
    r = convert(cpu.sse, DOUBLE, SINGLE, cpu.sse.rounding, b)
    cpu.end_sse()
    to.put(u32(r))
