"""What single lanes of packed integers do, and the makers of definitions that do it to all lanes (SDM 1, 9.2
and 11.3).

One definition serves the MMX and the XMM form; what both need before and after is here too.
"""

from collections.abc import Callable
from typing import Any

from guesthouse.bits import i16, i32, lanes, packed, select, u32, u64
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Ib, Nq, Pq, Qq, Ux, Vx, Wx


def need(cpu, to) -> None:
    """May an instruction with this destination run?"""
    if to.type.size == 8:
        cpu.need_mmx()
    else:
        cpu.need_sse()


def put(cpu, to, value) -> None:
    """Write the destination, an MMX or XMM register."""
    if to.type.size == 8:
        cpu.put_mmx(to.offset, value)
    else:
        to.put(value)


# Lanes.


def clamped(kind, x):
    """x in its range, as `kind`."""
    least, most = type(x)(kind.least), type(x)(kind.most)
    return kind(select(x < least, least, select(x > most, most, x)))


def add(a, b):
    return a + b


def subtract(a, b):
    return a - b


def add_saturated(a, b):
    return clamped(type(a), i32(a) + i32(b))


def subtract_saturated(a, b):
    return clamped(type(a), i32(a) - i32(b))


def all_ones_if(kind, condition):
    return -kind(condition)


def equal(a, b):
    return all_ones_if(type(a), a == b)


def greater(a, b):
    return all_ones_if(type(a), a > b)


def least(a, b):
    return select(a < b, a, b)


def most(a, b):
    return select(a > b, a, b)


def average(a, b):
    T = type(a)
    return T(u32(a) + u32(b) + 1 >> 1)


def low_product(a, b):
    return a * b


def high_product(a, b):
    T, W = type(a), i32 if type(a).signed else u32
    return T(W(a) * W(b) >> 16)


def rounded_product(a, b):
    return i16((i32(a) * i32(b) >> 14) + 1 >> 1)


def long_product(a, b):
    """Of the lower halves."""
    half = i32 if type(a).signed else u32
    T = type(a)
    return T(half(a)) * T(half(b))


def with_sign(a, b):
    return select(b < 0, -a, select(b == 0, type(a)(0), a))


def both(a, b):
    return a & b


def other_only(a, b):
    return ~a & b


def either(a, b):
    return a | b


def one(a, b):
    return a ^ b


def absolute(a):
    return select(a < 0, -a, a)


# Makers. `opcode` is what follows 0F in the encoding.


def named(run: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """Give a made body the name and the book's page of its instruction."""
    run.__name__, run.__module__, run.__doc__ = name, module, f"SDM 2, {name.upper().rstrip('_')}."
    return run


def lanewise(module: str, name: str, opcode: str, kind: Any, each: Callable[..., Any], mmx: bool = True) -> Any:
    """each(a, b) for all lanes."""

    def run(cpu, to, by):
        need(cpu, to)
        a, b = lanes(kind, to.get()), lanes(kind, by.get())
        put(cpu, to, packed(to.type, [each(x, y) for x, y in zip(a, b)]))

    made = op(f"66 0F {opcode} /r", Vx, Wx)(named(run, module, name))
    return op(f"NP 0F {opcode} /r", Pq, Qq)(made) if mmx else made


def lanewise_one(module: str, name: str, opcode: str, kind: Any, each: Callable[..., Any]) -> Any:
    """each(b) for all lanes of the source."""

    def run(cpu, to, by):
        need(cpu, to)
        put(cpu, to, packed(to.type, [each(y) for y in lanes(kind, by.get())]))

    made = op(f"66 0F {opcode} /r", Vx, Wx)(named(run, module, name))
    return op(f"NP 0F {opcode} /r", Pq, Qq)(made)


def whole(module: str, name: str, encodings: tuple[str, ...], each: Callable[..., Any], mmx: str = "") -> Any:
    """each(a, b) for registers as wholes."""

    def run(cpu, to, by):
        need(cpu, to)
        put(cpu, to, each(to.get(), by.get()))

    made = named(run, module, name)
    for encoding in encodings:
        made = op(f"{encoding} /r", Vx, Wx)(made)
    return op(f"{mmx} /r", Pq, Qq)(made) if mmx else made


def rearranged(module: str, name: str, opcode: str, each: Callable[..., Any], mmx: bool = True) -> Any:
    """each(kind, a, b) makes the result from the registers as wholes; `kind` is their type."""

    def run(cpu, to, by):
        need(cpu, to)
        put(cpu, to, each(to.type, to.get(), by.get()))

    made = op(f"66 0F {opcode} /r", Vx, Wx)(named(run, module, name))
    return op(f"NP 0F {opcode} /r", Pq, Qq)(made) if mmx else made


def shifted(module: str, name: str, opcode: str, group: str, kind: Any, each: Callable[..., Any]) -> Any:
    """each(a, count) for all lanes. The count is the source's low quadword, or an immediate; any large one
    counts as the lane's width.
    """

    def run(cpu, to, by):
        need(cpu, to)
        count = u64(by.get())
        n = kind(select(count > kind.bits, u64(kind.bits), count))
        put(cpu, to, packed(to.type, [each(x, n) for x in lanes(kind, to.get())]))

    made = named(run, module, name)
    for prefix, register, other, only in (("66", Vx, Wx, Ux), ("NP", Pq, Qq, Nq)):
        made = op(f"{prefix} 0F {opcode} /r", register, other)(made)
        made = op(f"{prefix} 0F {group} ib", only, Ib)(made)
    return made


def left(a, n):
    return a << n


def right(a, n):
    return a >> n


def interleaved(kind, register, a, b, high):
    """The lanes of the lower (or upper) halves of a and b in turn."""
    x, y = lanes(kind, a), lanes(kind, b)
    half = len(x) // 2
    start = half if high else 0
    pairs = [(x[n], y[n]) for n in range(start, start + half)]
    return packed(register, [lane for pair in pairs for lane in pair])


def narrowed(kind, wide, register, a, b):
    """All lanes of a, then those of b, saturated to `kind`."""
    return packed(register, [clamped(kind, x) for x in (*lanes(wide, a), *lanes(wide, b))])
