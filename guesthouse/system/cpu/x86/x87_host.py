"""x87 instructions in hot code, by the host's own x87 (engine/stack.py; SDM 1, chapter 8).

The host does what the guest's would, to the bit and the flag, as long as all exceptions are masked: special numbers
too. What needs more than that (an empty register, a full one, an order that is none for FCOMI, FBSTP) is the threaded
way's.
"""

from typing import Any

from guesthouse.bits import u8, u16, u32, u64, u128, unlikely
from guesthouse.engine import stack
from guesthouse.engine.op import HostStack
from guesthouse.engine.stack import EXTENDED
from guesthouse.system.cpu.softfloat import add, div, mul, sqrt, sub
from guesthouse.system.cpu.x86 import x87_arithmetic, x87_compare, x87_moves, x87_stack
from guesthouse.system.cpu.x86.float_state import CODES, FloatState
from guesthouse.system.cpu.x86.system_state import CR0_EM, CR0_TS
from guesthouse.system.cpu.x86.x87_arithmetic import (
    divide_into, double, doubleword, integral, magnitude, negated, single, subtract_from, word,
)
from guesthouse.system.cpu.x86.x87_moves import (
    as_is, quadword, store_tbyte, to_double, to_doubleword, to_quadword, to_single, to_word, unchanged,
)
from guesthouse.typed import Abandon

# What is done: LLVM's name, whether operands change places, and the assembler's name with an operand in memory.
ARITHMETIC: dict[Any, tuple[str, bool, str]] = {
    add: ("fadd", False, "add"), mul: ("fmul", False, "mul"), sub: ("fsub", False, "sub"),
    subtract_from: ("fsub", True, "subr"), div: ("fdiv", False, "div"), divide_into: ("fdiv", True, "divr"),
}
IN_MEMORY = {single: ("f", "s"), double: ("f", "l"), doubleword: ("fi", "l"), word: ("fi", "s"), quadword: ("fi", "ll")}
SUFFIXES = {to_single: "s", to_double: "l", to_word: "s", to_doubleword: "l", to_quadword: "ll"}
INTEGERS = (to_word, to_doubleword, to_quadword)
TOLD = "; fnstsw $0; fstp %st(0)"  # what follows an operation that is done again for C1


def usable(cpu):
    """No device-not-available, and no exception that is not masked."""
    return (cpu.cr0 & (CR0_EM | CR0_TS) == 0) & (cpu.x87.unmasked == 0)


def ready(cpu) -> None:
    """need_x87 and its like: the way in has asked."""
    stack.ready(cpu)


# Arithmetic.


def combine(cpu, each, to, other, pops) -> None:
    name, swapped, _ = ARITHMETIC[each]
    a, b = stack.value(cpu, to), stack.value(cpu, other)
    if swapped:
        a, b = b, a
    stack.put(cpu, to, stack.arithmetic(cpu, name, a, b))
    stack.rounded(cpu, name + " %st(1), %st" + TOLD, "={ax},{st},{st(1)},~{st}", a, b)
    if pops:
        stack.pop(cpu)


def combine_memory(cpu, each, taken, v) -> None:
    a, (kind, suffix) = stack.value(cpu, 0), IN_MEMORY[taken]
    text = kind + ARITHMETIC[each][2] + suffix + " $2"
    stack.put(cpu, 0, stack.assembly(cpu, text, "={st},0,*m", EXTENDED, a, v))
    stack.rounded(cpu, text + TOLD, "={ax},{st},*m,~{st}", a, v)


def change(cpu, each) -> None:
    a = stack.value(cpu, 0)
    if each is negated or each is magnitude:
        stack.put(cpu, 0, stack.plain(cpu, "fneg" if each is negated else "fabs", a))
        stack.direction(cpu, 0)
    elif each is sqrt:
        stack.put(cpu, 0, stack.arithmetic(cpu, "sqrt", a))
        stack.rounded(cpu, "fsqrt" + TOLD, "={ax},{st},~{st}", a)
    elif each is integral:
        stack.put(cpu, 0, stack.assembly(cpu, "frndint", "={st},0", EXTENDED, a))
        stack.rounded(cpu, "frndint" + TOLD, "={ax},{st},~{st}", a)
    else:
        stack.decline(cpu)


# Loads, stores, exchanges.


def pushed(cpu, number) -> None:
    stack.push(cpu, number)
    stack.direction(cpu, 0)


def load_value(cpu, taken, v) -> None:
    stack.room(cpu)
    if taken is as_is:
        pushed(cpu, stack.assembly(cpu, "fldt $1", "={st},*m", EXTENDED, v))
    elif taken in IN_MEMORY:
        kind, suffix = IN_MEMORY[taken]
        pushed(cpu, stack.assembly(cpu, kind + "ld" + suffix + " $1", "={st},*m", EXTENDED, v))
    else:
        stack.decline(cpu)


def load_register(cpu, i) -> None:
    stack.room(cpu)
    pushed(cpu, stack.value(cpu, i))


def load_constant(cpu, name: str, exponent: int, significand: int) -> None:
    stack.room(cpu)
    if significand == 1 << 127:
        pushed(cpu, stack.constant(cpu, exponent << 64 | 1 << 63))
    else:
        pushed(cpu, stack.assembly(cpu, name, "={st}", EXTENDED))


def store_value(cpu, to, each, missing: int, pops, truncates) -> None:
    """The write is probed first: what faults raises nothing."""
    a = stack.value(cpu, 0)
    to.get_to_change()
    if each in INTEGERS:
        to.put(to.type(integer(cpu, each, truncates, a)))
    else:
        to.put(stack.narrowed(cpu, to.type, a))
    if truncates:
        stack.direction(cpu, 0)
    else:
        text = ("fist" if each in INTEGERS else "fst") + "p" + SUFFIXES[each]
        stack.rounded(cpu, text + " $2; fnstsw $0", "={ax},{st},*m,~{st}", a, u64(0))
    if pops:
        stack.pop(cpu)


def integer(cpu, each, truncates, a):
    suffix = SUFFIXES[each]
    kind = {"s": u16, "l": u32, "ll": u64}[suffix]
    if truncates:
        return stack.assembly(cpu, "fisttp" + suffix + " $0", "=*m,{st},~{st}", kind, a)
    if each is not to_quadword:
        return stack.assembly(cpu, "fist" + suffix + " $0", "=*m,{st}", kind, a)
    return stack.assembly(cpu, "fistp" + suffix + " $0", "=*m,{st},~{st}", kind, a)


def store_ten(cpu, to, each, missing) -> None:
    if each is not unchanged:
        stack.decline(cpu)
    pattern = stack.assembly(cpu, "fstpt $0", "=*m,{st},~{st}", u128, stack.value(cpu, 0))
    store_tbyte(cpu, to, pattern)
    stack.direction(cpu, 0)
    stack.pop(cpu)


def copy_top(cpu, i):
    stack.put(cpu, i, stack.value(cpu, 0))
    stack.direction(cpu, 0)
    return True


def exchange_top(cpu, i) -> None:
    a, b = stack.value(cpu, 0), stack.value(cpu, i)
    stack.put(cpu, 0, b)
    stack.put(cpu, i, a)
    stack.direction(cpu, 0)


def move(cpu, condition: int, i) -> None:
    a, b = stack.value(cpu, 0), stack.value(cpu, i)
    stack.put(cpu, 0, stack.chosen(cpu, cpu.condition(condition), b, a))


def pop(cpu) -> None:
    stack.pop(cpu)


# Comparisons.

CONDITIONS = "; setb $0; setnz $1; setp $2"


def popped(cpu, pops: int) -> None:
    for _ in range(pops):
        stack.pop(cpu)


def tell_codes(cpu, status) -> None:
    cpu.codes = u64(status) & CODES
    stack.direction(cpu, 0)


def tell_with(cpu, i, quiet, pops: int) -> None:
    a, name = stack.value(cpu, 0), "fucom" if quiet else "fcom"
    if i == 0:
        status = stack.assembly(cpu, name + " %st(0); fnstsw $0", "={ax},{st}", u16, a)
    else:
        b = stack.value(cpu, i)
        status = stack.assembly(cpu, name + " %st(1); fnstsw $0", "={ax},{st},{st(1)}", u16, a, b)
    tell_codes(cpu, status)
    popped(cpu, pops)


def tell_with_memory(cpu, taken, v, pops: int) -> None:
    a = stack.value(cpu, 0)
    if taken is x87_compare.as_is:
        status = stack.assembly(cpu, "ftst; fnstsw $0", "={ax},{st}", u16, a)
    else:
        kind, suffix = IN_MEMORY[taken]
        status = stack.assembly(cpu, kind + "com" + suffix + " $2; fnstsw $0", "={ax},{st},*m", u16, a, v)
    tell_codes(cpu, status)
    popped(cpu, pops)


def tell_flags(cpu, i, quiet, pops: int) -> None:
    """Without an order it is left to the threaded way, which raises what the host has raised already."""
    a, name = stack.value(cpu, 0), "fucomi" if quiet else "fcomi"
    flags = "=&q,=&q,=&q,{st}"
    if i == 0:
        below, differs, none = stack.assembly(cpu, name + " %st(0), %st" + CONDITIONS, flags, (u8, u8, u8), a)
    else:
        b = stack.value(cpu, i)
        text = name + " %st(1), %st" + CONDITIONS
        below, differs, none = stack.assembly(cpu, text, flags + ",{st(1)}", (u8, u8, u8), a, b)
    if unlikely(none != 0):
        raise Abandon
    cpu.order_found(below, differs)
    popped(cpu, pops)


def tell_class(cpu) -> None:
    status = stack.assembly(cpu, "fxam; fnstsw $0", "={ax},{st}", u16, stack.value(cpu, 0))
    cpu.codes = u64(status) & CODES
    stack.direction(cpu, u64(status) >> 9 & 1)


# Control.


def fsw(cpu):
    return stack.flags(cpu) | cpu.codes | stack.up(cpu) << 9 | stack.top(cpu) << 11


def set_fcw(cpu, image) -> None:
    """FLDCW that leaves all exceptions masked."""
    if unlikely(~image & 63 != 0):
        raise Abandon
    now = image & 0x1F7F | 0x40
    stack.control(cpu, u16(now))
    cpu.fcw = now
    cpu.x87.rounding, cpu.x87.precision = image >> 10 & 3, image >> 8 & 3


def host_stack(modules: tuple[str, ...]) -> HostStack:
    instead = {
        FloatState.need_x87: ready, FloatState.need_x87_present: ready, FloatState.need_wait: ready,
        FloatState.fsw: fsw, FloatState.set_fcw: set_fcw, x87_stack.pop: pop,
    }
    for module, replaced in (
        (x87_arithmetic, (combine, combine_memory, change)),
        (x87_moves, (load_value, load_register, load_constant, store_value, store_ten, copy_top, exchange_top)),
        (x87_compare, (tell_with, tell_with_memory, tell_flags, tell_class, move)),
    ):
        instead |= {getattr(module, each.__name__): each for each in replaced}
    return HostStack(modules, instead, "fpr", "top", "tags", "fcw", ("x87", "flags"), ("x87", "up"), usable)
