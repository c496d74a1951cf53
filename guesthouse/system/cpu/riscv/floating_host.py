"""The F and D extensions in hot code on a host with AVX: each instruction by one of the host's (engine/host.py).

The host's rounding mode is frm's, so instructions with another mode of their own are done threaded, and everything is
under "nearest, ties away". What RISC-V answers otherwise than the host is left to the threaded way before anything has
changed: results that are NaNs, operands that are not boxed, conversions that have no result. The host's scalar
instructions leave the upper half of their first operand's 64 bits as it is: the box.
"""

from typing import Any

from guesthouse.bits import f64, i32, i64, select, u32, u64, unlikely
from guesthouse.engine import host
from guesthouse.system.cpu.riscv import floating
from guesthouse.system.cpu.riscv.causes import FS
from guesthouse.system.cpu.riscv.floating import BOX, DYNAMIC, put_integer
from guesthouse.system.cpu.riscv.integer import sext
from guesthouse.system.cpu.riscv.state import State
from guesthouse.system.cpu.softfloat import RISCV, SSE, add, div, minimum, mul, sub
from guesthouse.typed import function

NAMES = {add: "adds", sub: "subs", mul: "muls", div: "divs"}
FUSED = {(False, False): "fmadd213s", (False, True): "fmsub213s",  # by the signs of product and addend that are turned
         (True, False): "fnmadd213s", (True, True): "fnmsub213s"}
TO_ZERO = RISCV.to_zero
BOXED = f64.from_bits(u64(BOX))


def suffix(form) -> str:
    return "d" if form.bits == 64 else "s"


@function
def not_here(hart) -> None:
    """The threaded way does this one."""


def number(hart, form, n):
    """A register that holds a number of this format, and is used as one."""
    value = hart.f[n]
    if form.bits == 32:
        if not host.is_sure(value):
            if unlikely(value >> 32 != 0xFFFF_FFFF):
                not_here(hart)
            host.be_sure(value)
    return f64.from_bits(value)


def put(hart, form, rd, r) -> None:
    """What needs no look: what is loaded, or a result that cannot be a NaN."""
    value = r.to_bits()
    if form.bits == 32:
        host.be_sure(value)  # it is boxed
    hart.f[rd] = value
    hart.mstatus = hart.mstatus | FS


def put_number(hart, form, rd, r) -> None:
    if unlikely(host.ordering(f"ucomis{suffix(form)}", "p", r, r) != 0):
        not_here(hart)
    put(hart, form, rd, r)


def load_float(hart, rd, rs1, imm, number, kind) -> None:
    host.needed()
    value = f64.from_bits(u64(hart.load(kind, hart.x[rs1] + imm)))
    put(hart, number, rd, value if number.bits == 64 else host.instruction("orps", f64, value, BOXED))


def arithmetic(hart, rd, rs1, rs2, rm, kind, how) -> None:
    assert rm == DYNAMIC
    a, b = number(hart, kind, rs1), number(hart, kind, rs2)
    put_number(hart, kind, rd, host.arithmetic(NAMES[how] + suffix(kind), f64, a, b))


def square_root(hart, rd, rs1, rm, kind) -> None:
    assert rm == DYNAMIC
    a = number(hart, kind, rs1)
    put_number(hart, kind, rd, host.arithmetic(f"sqrts{suffix(kind)}", f64, a, a))


def multiply_add(hart, rd, rs1, rs2, rs3, rm, kind, product, addend) -> None:
    assert rm == DYNAMIC
    a, b, c = number(hart, kind, rs1), number(hart, kind, rs2), number(hart, kind, rs3)
    name = FUSED[product != 0, addend != 0] + suffix(kind)
    put_number(hart, kind, rd, host.arithmetic(name, f64, a, b, c))


def extreme(hart, rd, rs1, rs2, kind, how) -> None:
    """The host's minimum of zeros is its second operand: -0 is in one of two minima, +0 in one of two maxima."""
    a, b = number(hart, kind, rs1), number(hart, kind, rs2)
    if unlikely(host.ordering(f"ucomis{suffix(kind)}", "p", a, b) != 0):
        not_here(hart)
    name = ("mins" if how is minimum else "maxs") + suffix(kind)
    x, y = host.arithmetic(name, f64, a, b), host.arithmetic(name, f64, b, a)
    put(hart, kind, rd, host.instruction("orps" if how is minimum else "andps", f64, x, y))


def to_whole(hart, rd, rs1, rm, kind, to) -> None:
    assert rm == DYNAMIC or rm == TO_ZERO
    a = number(hart, kind, rs1)
    name = ("cvtts" if rm == TO_ZERO else "cvts") + suffix(kind) + "2si"
    if to.signed:
        T = u32 if to.bits == 32 else u64
        value = host.arithmetic(name, T, a)
        if unlikely(value == 1 << to.bits - 1):
            not_here(hart)
        put_integer(hart, rd, u64(i64(i32(value))) if to.bits == 32 else value)
    else:
        if unlikely(in_register(hart, kind, rs1) > LARGEST[kind.bits, to.bits]):
            not_here(hart)
        value = host.arithmetic(name, u64, a)
        put_integer(hart, rd, sext(value) if to.bits == 32 else value)


# The patterns of the largest numbers of a format that are surely rounded to an unsigned integer by the host's
# conversion to signed ones; those of negative numbers are larger.
LARGEST = {(32, 32): 0x4F7F_FFFF, (64, 32): 0x41EF_FFFF_FFE0_0000,
           (32, 64): 0x5EFF_FFFF, (64, 64): 0x43DF_FFFF_FFFF_FFFF}


def in_register(hart, form, n):
    return hart.f[n] if form.bits == 64 else hart.f[n] & 0xFFFF_FFFF


def from_whole(hart, rd, rs1, rm, kind, source) -> None:
    exact = kind.bits == 64 and source.bits == 32
    assert rm == DYNAMIC or exact and rm < floating.MODES
    value = hart.x[rs1]
    if source.bits == 32:
        value = u64(i64(i32(value))) if source.signed else u64(u32(value))
    elif not source.signed:
        if unlikely(i64(value) < 0):
            not_here(hart)
    upper = BOXED if kind.bits == 32 else f64(0.0)
    put(hart, kind, rd, host.arithmetic(f"cvtsi2s{suffix(kind)}", f64, upper, value))


def between(hart, rd, rs1, rm, source, to) -> None:
    widens = to.bits == 64
    assert rm == DYNAMIC or widens and rm < floating.MODES
    name, upper = ("cvtss2sd", f64(0.0)) if widens else ("cvtsd2ss", BOXED)
    put_number(hart, to, rd, host.arithmetic(name, f64, upper, number(hart, source, rs1)))


def feq(hart, rd, rs1, rs2, kind) -> None:
    a, b = number(hart, kind, rs1), number(hart, kind, rs2)
    equal = host.arithmetic(f"cmps{suffix(kind)}", f64, a, b, 0)  # lanes of ones or zeros
    put_integer(hart, rd, equal.to_bits() & 1)


def flt(hart, rd, rs1, rs2, kind) -> None:
    a, b = number(hart, kind, rs1), number(hart, kind, rs2)
    put_integer(hart, rd, u64(host.ordering(f"comis{suffix(kind)}", "a", b, a)))


def fle(hart, rd, rs1, rs2, kind) -> None:
    a, b = number(hart, kind, rs1), number(hart, kind, rs2)
    put_integer(hart, rd, u64(host.ordering(f"comis{suffix(kind)}", "ae", b, a)))


def floats_are_on(hart) -> None:
    """use_floats(), in a region that is entered only if they are."""
    host.needed()


def control(hart):
    """Every exception is masked. Modes that the host has not are none of its business."""
    mode = select(hart.fp.rounding == RISCV.to_zero, u64(SSE.to_zero), select(
        hart.fp.rounding == RISCV.down, u64(SSE.down), select(hart.fp.rounding == RISCV.up, u64(SSE.up), u64(0))))
    works = (hart.mstatus & FS != 0) & (hart.fp.rounding <= RISCV.up)
    return select(works, mode << 13 | 0x1F80, u64(0))


def raised(hart, flags) -> None:
    """NX, UF, OF, DZ and NV are bits 0 to 4 (20.2); the host has them the other way round, and denormal operands in
    between."""
    found = flags >> 5 & 1 | flags >> 3 & 2 | flags >> 1 & 4 | flags << 1 & 8 | flags << 4 & 16
    hart.fp.flags = hart.fp.flags | found


def unit() -> host.HostUnit:
    """The bodies of floating.py that have others here."""
    others: dict[Any, Any] = {
        getattr(floating, body.__name__).run: body
        for body in (load_float, arithmetic, square_root, multiply_add, extreme, to_whole, from_whole, between,
                     feq, flt, fle)}
    return host.HostUnit({State.use_floats: floats_are_on, **others}, control, raised, ("f",))
