"""x87 comparison, classification and conditional moves (SDM 1, 8.3.6 and 8.3.3; SDM 2A)."""

from guesthouse.bits import select, u64, u128
from guesthouse.system.cpu.softfloat import UNORDERED, X87, compare
from guesthouse.system.cpu.softfloat.rounding import (
    exponent_of,
    is_infinite,
    is_nan,
    is_unsupported,
    is_zero,
    sign_of,
)
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.flags import CF, PF, ZF
from guesthouse.system.cpu.x86.float_state import C0, C2, C3
from guesthouse.system.cpu.x86.operands import Md, Mq, Mw, STi
from guesthouse.system.cpu.x86.x87_arithmetic import double, doubleword, named, single, word
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
from guesthouse.typed import Table, function

STOPPED = 4  # added to the order where an exception is not masked: nothing is popped
CODES = Table(u64, [C3, C0, 0, C3 | C2 | C0])  # by EQUAL, LESS, GREATER, UNORDERED
STATUS = Table(u64, [ZF, CF, 0, ZF | PF | CF])


def settled(cpu, order):
    """The order, once exceptions are gathered."""
    return select(ended(cpu), order, order | STOPPED)


@function
def order_with(cpu, i: u64, quiet) -> u64:
    """How ST(0) stands to ST(i)."""
    begin(cpu)
    order = u64(UNORDERED)
    if occupied(cpu, u64(0)) and occupied(cpu, i):
        order = compare(cpu.x87, FORM, read(cpu, u64(0)), read(cpu, i), quiet)
    else:
        underflow(cpu)
    return settled(cpu, order)


@function
def order_with_memory(cpu, taken, v) -> u64:
    """How ST(0) stands to what was in memory."""
    begin(cpu)
    order = u64(UNORDERED)
    if occupied(cpu, u64(0)):
        order = compare(cpu.x87, FORM, read(cpu, u64(0)), taken(cpu.x87, v), False)
        if order == UNORDERED:
            cpu.x87.flags &= ~u64(X87.denormal)
    else:
        underflow(cpu)
    return settled(cpu, order)


def tell(cpu, order, pops: int) -> None:
    """Put the order into the condition codes, then pop so many times."""
    cpu.codes = CODES[order & 3]
    if order < STOPPED:
        for _ in range(pops):
            pop(cpu)


def tell_with(cpu, i, quiet, pops: int) -> None:
    """Compare ST(0) with ST(i)."""
    tell(cpu, order_with(cpu, i, quiet), pops)


def tell_with_memory(cpu, taken, v, pops: int) -> None:
    """Compare ST(0) with what was in memory."""
    tell(cpu, order_with_memory(cpu, taken, v), pops)


def memory_form(name: str, encoding: str, kind, taken, pops: int):
    def run(cpu, by):
        cpu.need_x87()
        tell_with_memory(cpu, taken, by.get(), pops)

    return op(encoding, kind)(named(run, name))


fcom_32, fcom_64 = memory_form("fcom", "D8 /2", Md, single, 0), memory_form("fcom", "DC /2", Mq, double, 0)
ficom_32, ficom_16 = (
    memory_form("ficom", "DA /2", Md, doubleword, 0),
    memory_form("ficom", "DE /2", Mw, word, 0),
)
fcomp_32, fcomp_64 = memory_form("fcomp", "D8 /3", Md, single, 1), memory_form("fcomp", "DC /3", Mq, double, 1)
ficomp_32, ficomp_16 = (
    memory_form("ficomp", "DA /3", Md, doubleword, 1),
    memory_form("ficomp", "DE /3", Mw, word, 1),
)


@op("D8 D0+i", STi)
@op("DC D0+i", STi)
def fcom(cpu, i):
    """SDM 2A, FCOM."""
    cpu.need_x87()
    tell_with(cpu, i, False, 0)


@op("D8 D8+i", STi)
@op("DC D8+i", STi)
@op("DE D0+i", STi)
def fcomp(cpu, i):
    """SDM 2A, FCOMP."""
    cpu.need_x87()
    tell_with(cpu, i, False, 1)


@op("DE D9")
def fcompp(cpu):
    """SDM 2A, FCOMPP."""
    cpu.need_x87()
    tell_with(cpu, u64(1), False, 2)


@op("DD E0+i", STi)
def fucom(cpu, i):
    """SDM 2A, FUCOM."""
    cpu.need_x87()
    tell_with(cpu, i, True, 0)


@op("DD E8+i", STi)
def fucomp(cpu, i):
    """SDM 2A, FUCOMP."""
    cpu.need_x87()
    tell_with(cpu, i, True, 1)


@op("DA E9")
def fucompp(cpu):
    """SDM 2A, FUCOMPP."""
    cpu.need_x87()
    tell_with(cpu, u64(1), True, 2)


def tell_flags(cpu, i, quiet: bool, pops: int) -> None:
    """Put the order into ZF, PF and CF. C1 stays as it was but for a stack fault; Intel's book has it
    cleared.
    """
    up = select(occupied(cpu, u64(0)) and occupied(cpu, i), cpu.x87.up, u64(0))
    order = order_with(cpu, i, quiet)
    cpu.x87.up = up
    cpu.set_status(STATUS[order & 3])
    if order < STOPPED:
        for _ in range(pops):
            pop(cpu)


@op("DB F0+i", STi)
def fcomi(cpu, i):
    """SDM 2A, FCOMI."""
    cpu.need_x87()
    tell_flags(cpu, i, False, 0)


@op("DF F0+i", STi)
def fcomip(cpu, i):
    """SDM 2A, FCOMIP."""
    cpu.need_x87()
    tell_flags(cpu, i, False, 1)


@op("DB E8+i", STi)
def fucomi(cpu, i):
    """SDM 2A, FUCOMI."""
    cpu.need_x87()
    tell_flags(cpu, i, True, 0)


@op("DF E8+i", STi)
def fucomip(cpu, i):
    """SDM 2A, FUCOMIP."""
    cpu.need_x87()
    tell_flags(cpu, i, True, 1)


@op("D9 E4")
def ftst(cpu):
    """SDM 2A, FTST."""
    cpu.need_x87()
    tell_with_memory(cpu, as_is, u128(0), 0)


def as_is(env, v):
    return v


@op("D9 E5")
def fxam(cpu):
    """SDM 2A, FXAM."""
    cpu.need_x87()
    tell_class(cpu)


def tell_class(cpu) -> None:
    """What kind of number ST(0) is, in the condition codes."""
    a = read(cpu, u64(0))
    cpu.codes = select(occupied(cpu, u64(0)), class_of(a), u64(C3 | C0))
    cpu.x87.up = sign_of(FORM, a)


@function
def class_of(a: u128) -> u64:
    """C0, C2 and C3 for what is in a register."""
    if is_unsupported(FORM, a):
        return u64(0)
    if is_nan(FORM, a):
        return u64(C0)
    if is_infinite(FORM, a):
        return u64(C2 | C0)
    if is_zero(FORM, a):
        return u64(C3)
    return u64(C3 | C2) if exponent_of(FORM, a) == 0 else u64(C2)


def moving(name: str, encoding: str, condition: int):
    """FCMOVcc; `condition` as Jcc numbers them."""

    def run(cpu, i):
        cpu.need_x87()
        move(cpu, condition, i)

    return op(encoding, STi)(named(run, name))


def move(cpu, condition: int, i) -> None:
    if occupied(cpu, u64(0)) and occupied(cpu, i):
        if cpu.condition(condition):
            write(cpu, u64(0), read(cpu, i))
    else:
        missing(cpu)


@function
def missing(cpu) -> None:
    """FCMOVcc with an empty operand, whatever the condition."""
    begin(cpu)
    underflow(cpu)
    put(cpu, u64(0), u128(INDEFINITE))


fcmovb, fcmove = moving("fcmovb", "DA C0+i", 2), moving("fcmove", "DA C8+i", 4)
fcmovbe, fcmovu = moving("fcmovbe", "DA D0+i", 6), moving("fcmovu", "DA D8+i", 10)
fcmovnb, fcmovne = moving("fcmovnb", "DB C0+i", 3), moving("fcmovne", "DB C8+i", 5)
fcmovnbe, fcmovnu = moving("fcmovnbe", "DB D0+i", 7), moving("fcmovnu", "DB D8+i", 11)
