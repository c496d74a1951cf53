"""x87 arithmetic: FADD to FDIVR in all forms, FSQRT, FRNDINT, FABS, FCHS (SDM 1, 8.3.4 to 8.3.6; SDM 2A).

Memory operands are made extended first, which is exact.
"""

from functools import partial

from guesthouse.bits import i16, i32, i64, u64, u128
from guesthouse.system.cpu.softfloat import (
    X87,
    add,
    convert,
    div,
    from_integer,
    mul,
    round_to_integral,
    sqrt,
    sub,
)
from guesthouse.system.cpu.softfloat.rounding import is_nan, is_signaling
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import Md, Mq, Mw, STi
from guesthouse.system.cpu.x86.x87_stack import (
    FORM,
    INDEFINITE,
    begin,
    ended,
    occupied,
    pop,
    put,
    read,
    underflow,
    write,
)
from guesthouse.typed import function

NEAREST = X87.nearest


# Values from memory in the extended format. Flags that this sets are the instruction's own: after begin().


def single(env, v):
    return convert(env, X87.single, FORM, u64(NEAREST), u64(v))


def double(env, v):
    return convert(env, X87.double, FORM, u64(NEAREST), v)


def word(env, v):
    return from_integer(env, FORM, u64(NEAREST), i64(i16(v)))


def doubleword(env, v):
    return from_integer(env, FORM, u64(NEAREST), i64(i32(v)))


SOURCES = {single: X87.single, double: X87.double}

# Two operands. `each` is (environment, form, mode, a, b) -> pattern.


@function
def combine(cpu, each, to: u64, other: u64, pops) -> None:
    """ST(to) = each(ST(to), ST(other)), perhaps popping afterwards."""
    begin(cpu)
    r = u128(INDEFINITE)
    if occupied(cpu, to) and occupied(cpu, other):
        r = each(cpu.x87, FORM, cpu.x87.rounding, read(cpu, to), read(cpu, other))
    else:
        underflow(cpu)
    if ended(cpu):
        write(cpu, to, r)
        if pops:
            pop(cpu)


@function
def combine_memory(cpu, each, taken, v) -> None:
    """ST(0) = each(ST(0), what was in memory)."""
    begin(cpu)
    r = u128(INDEFINITE)
    if occupied(cpu, u64(0)):
        b = taken(cpu.x87, v)
        if taken in SOURCES:
            if is_signaling(SOURCES[taken], u64(v)):
                b = b & ~u128(FORM.quiet)  # a quiet NaN in ST(0) goes before it: SDM 1, table 4-7
        r = each(cpu.x87, FORM, cpu.x87.rounding, read(cpu, u64(0)), b)
        if is_nan(FORM, r) or cpu.x87.flags & X87.by_zero != 0:
            cpu.x87.flags &= ~u64(
                X87.denormal
            )  # what was in memory may have been one: SDM 1, 4.9.2 ranks it lower
    else:
        underflow(cpu)
    put(cpu, u64(0), r)


def named(run, name: str):
    run.__name__, run.__doc__ = name, f"SDM 2A, {name.upper()}."
    return run


def memory_form(name: str, encoding: str, kind, each, taken):
    def run(cpu, by):
        cpu.need_x87()
        combine_memory(cpu, each, taken, by.get())

    return op(encoding, kind)(named(run, name))


def register_form(name: str, encoding: str, each, to_top: bool, pops: bool):
    def run(cpu, i):
        cpu.need_x87()
        if to_top:
            combine(cpu, each, u64(0), i, pops)
        else:
            combine(cpu, each, i, u64(0), pops)

    return op(encoding, STi)(named(run, name))


def family(name: str, digit: int, twin: int, each):
    """The seven forms of an operation: ST(0) with memory of four types and with ST(i); ST(i) with ST(0),
    popping or not. `twin`: the digit that the last two have.
    """
    whole = name.replace("f", "fi", 1)
    return (
        memory_form(name, f"D8 /{digit}", Md, each, single),
        memory_form(name, f"DC /{digit}", Mq, each, double),
        memory_form(whole, f"DA /{digit}", Md, each, doubleword),
        memory_form(whole, f"DE /{digit}", Mw, each, word),
        register_form(name, f"D8 {0xC0 | digit << 3:02X}+i", each, True, False),
        register_form(name, f"DC {0xC0 | twin << 3:02X}+i", each, False, False),
        register_form(name + "p", f"DE {0xC0 | twin << 3:02X}+i", each, False, True),
    )


def subtract_from(env, form, mode, a, b):
    return sub(env, form, mode, b, a)


def divide_into(env, form, mode, a, b):
    return div(env, form, mode, b, a)


fadd_32, fadd_64, fiadd_32, fiadd_16, fadd_top, fadd, faddp = family("fadd", 0, 0, add)
fmul_32, fmul_64, fimul_32, fimul_16, fmul_top, fmul, fmulp = family("fmul", 1, 1, mul)
fsub_32, fsub_64, fisub_32, fisub_16, fsub_top, fsub, fsubp = family("fsub", 4, 5, sub)
fsubr_32, fsubr_64, fisubr_32, fisubr_16, fsubr_top, fsubr, fsubrp = family("fsubr", 5, 4, subtract_from)
fdiv_32, fdiv_64, fidiv_32, fidiv_16, fdiv_top, fdiv, fdivp = family("fdiv", 6, 7, div)
fdivr_32, fdivr_64, fidivr_32, fidivr_16, fdivr_top, fdivr, fdivrp = family("fdivr", 7, 6, divide_into)


# One operand.


@function
def change(cpu, each) -> None:
    """ST(0) = each(ST(0)); `each` is (environment, form, mode, a) -> pattern."""
    begin(cpu)
    r = u128(INDEFINITE)
    if occupied(cpu, u64(0)):
        r = each(cpu.x87, FORM, cpu.x87.rounding, read(cpu, u64(0)))
    else:
        underflow(cpu)
    put(cpu, u64(0), r)


def changing(name: str, encoding: str, each):
    def run(cpu):
        cpu.need_x87()
        change(cpu, each)

    return op(encoding)(named(run, name))


def negated(env, form, mode, a):
    return a ^ form.sign


def magnitude(env, form, mode, a):
    return a & form.magnitude


integral = partial(round_to_integral, exact=True)
fchs, fabs = changing("fchs", "D9 E0", negated), changing("fabs", "D9 E1", magnitude)
fsqrt = changing("fsqrt", "D9 FA", sqrt)
frndint = changing("frndint", "D9 FC", integral)
