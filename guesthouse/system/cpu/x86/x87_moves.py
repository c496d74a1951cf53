"""x87 loads, stores, exchanges and constants (SDM 1, 8.3.3 and 8.3.4; SDM 2A)."""

from guesthouse.bits import i16, i32, i64, u16, u64, u128
from guesthouse.engine.cpu import PAGE, WRITE
from guesthouse.system.cpu.softfloat import X87, convert, from_integer, to_integer
from guesthouse.system.cpu.softfloat.rounding import round_extended
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.float_state import STACK_FAULT
from guesthouse.system.cpu.x86.operands import Md, Mp, Mq, Mw, STi
from guesthouse.system.cpu.x86.x87_arithmetic import NEAREST, double, doubleword, named, single, word
from guesthouse.system.cpu.x86.x87_stack import (
    FORM,
    INDEFINITE,
    STOPS,
    begin,
    ended,
    free,
    occupied,
    pop,
    push,
    read,
    underflow,
    write,
)
from guesthouse.typed import function

STORE_STOPS = (
    STOPS | X87.overflow | X87.underflow
)  # in memory these leave the destination alone too: SDM 1, 8.5.4
BCD_INDEFINITE = 0xFFFF_C000_0000_0000_0000
BCD_LIMIT = 10**18


# Loads.


@function
def load_value(cpu, taken, v) -> None:
    begin(cpu)
    push(cpu, taken(cpu.x87, v))


def quadword(env, v):
    return from_integer(env, FORM, u64(NEAREST), i64(v))


def as_is(env, v):
    return v


def loading(name: str, encoding: str, kind, taken):
    def run(cpu, by):
        cpu.need_x87()
        load_value(cpu, taken, by.get())

    return op(encoding, kind)(named(run, name))


fld_32, fld_64 = loading("fld", "D9 /0", Md, single), loading("fld", "DD /0", Mq, double)
fild_16, fild_32 = loading("fild", "DF /0", Mw, word), loading("fild", "DB /0", Md, doubleword)
fild_64 = loading("fild", "DF /5", Mq, quadword)


def tbyte(cpu, by):
    """Ten bytes of memory."""
    return u128(cpu.load(u64, by.at(0, 8))) | u128(cpu.load(u16, by.at(8, 2))) << 64


@op("DB /5", Mp)
def fld_80(cpu, by):
    """SDM 2A, FLD."""
    cpu.need_x87()
    load_value(cpu, as_is, tbyte(cpu, by))


@op("DF /4", Mp)
def fbld(cpu, by):
    """SDM 2A, FBLD."""
    cpu.need_x87()
    load_value(cpu, decimal, tbyte(cpu, by))


def decimal(env, v):
    """The number that eighteen decimal digits and a sign are."""
    value, n = u64(0), u64(9)
    while n != 0:
        n -= 1
        byte = u64(v >> u128(n * 8)) & 0xFF
        value = value * 100 + (byte >> 4) * 10 + (byte & 15)
    return from_integer(env, FORM, u64(NEAREST), value) | v & FORM.sign


@op("D9 C0+i", STi)
def fld(cpu, i):
    """SDM 2A, FLD."""
    cpu.need_x87()
    load_register(cpu, i)


def load_register(cpu, i) -> None:
    begin(cpu)
    value = u128(INDEFINITE)
    if occupied(cpu, i):
        value = read(cpu, i)
    else:
        underflow(cpu)
    push(cpu, value)


# Constants: 128 bits of each, rounded as the mode says; that sets no flags.


def constant(name: str, encoding: str, exponent: int, significand: int):
    def run(cpu):
        cpu.need_x87()
        load_constant(cpu, name, exponent, significand)

    return op(encoding)(named(run, name))


def load_constant(cpu, name: str, exponent: int, significand: int) -> None:
    begin(cpu)
    value = round_extended(cpu.x87, FORM, cpu.x87.rounding, u64(0), i64(exponent), u128(significand))
    cpu.x87.flags, cpu.x87.up = u64(0), u64(0)
    push(cpu, value)


fld1 = constant("fld1", "D9 E8", 0x3FFF, 1 << 127)
fldl2t = constant("fldl2t", "D9 E9", 0x4000, 0xD49A784B_CD1B8AFE_492BF6FF_4DAFDB4C)
fldl2e = constant("fldl2e", "D9 EA", 0x3FFF, 0xB8AA3B29_5C17F0BB_BE87FED0_691D3E88)
fldpi = constant("fldpi", "D9 EB", 0x4000, 0xC90FDAA2_2168C234_C4C6628B_80DC1CD1)
fldlg2 = constant("fldlg2", "D9 EC", 0x3FFD, 0x9A209A84_FBCFF798_8F8959AC_0B7C9178)
fldln2 = constant("fldln2", "D9 ED", 0x3FFE, 0xB17217F7_D1CF79AB_C9E3B398_03F2F6AF)


@op("D9 EE")
def fldz(cpu):
    """SDM 2A, FLDZ."""
    cpu.need_x87()
    load_value(cpu, as_is, u128(0))


# Stores. A store that faults leaves flags and C1 as they were.


@function
def converted(cpu, each, missing, mode: u64):
    """What ST(0) is to its destination, after begin(); `missing` where there is no ST(0)."""
    begin(cpu)
    r = missing
    if occupied(cpu, u64(0)):
        r = each(cpu.x87, mode, read(cpu, u64(0)))
    else:
        underflow(cpu)
    return r


def stored(cpu, to, value, up, pops: bool) -> None:
    """Store the result of converted(), unless an exception says no, and only then tell the exceptions. `up`:
    C1 before.
    """
    found, direction = cpu.x87.flags, cpu.x87.up
    cpu.x87.flags, cpu.x87.up = cpu.before, up
    stops = found & cpu.x87.unmasked & STORE_STOPS != 0
    if found & cpu.x87.unmasked & STOPS != 0:
        found, direction = found & (STOPS | STACK_FAULT), u64(0)
    if not stops:
        to.put(to.type(value))
    cpu.x87.flags, cpu.x87.up = cpu.before | found, direction
    if pops:
        if not stops:
            pop(cpu)


def to_single(env, mode, a):
    return convert(env, FORM, X87.single, mode, a)


def to_double(env, mode, a):
    return convert(env, FORM, X87.double, mode, a)


def to_word(env, mode, a):
    return to_integer(env, FORM, mode, a, i16)


def to_doubleword(env, mode, a):
    return to_integer(env, FORM, mode, a, i32)


def to_quadword(env, mode, a):
    return to_integer(env, FORM, mode, a, i64)


def storing(name: str, encoding: str, kind, each, missing: int, pops: bool, truncates: bool = False):
    def run(cpu, to):
        cpu.need_x87()
        store_value(cpu, to, each, missing, pops, truncates)

    return op(encoding, kind)(named(run, name))


def store_value(cpu, to, each, missing: int, pops, truncates) -> None:
    up = cpu.x87.up
    mode = u64(X87.to_zero) if truncates else cpu.x87.rounding
    stored(cpu, to, converted(cpu, each, u64(missing), mode), up, pops)


NAN_32, NAN_64 = X87.single.default_nan, X87.double.default_nan
fst_32, fst_64 = (
    storing("fst", "D9 /2", Md, to_single, NAN_32, False),
    storing("fst", "DD /2", Mq, to_double, NAN_64, False),
)
fstp_32, fstp_64 = (
    storing("fstp", "D9 /3", Md, to_single, NAN_32, True),
    storing("fstp", "DD /3", Mq, to_double, NAN_64, True),
)
fist_16 = storing("fist", "DF /2", Mw, to_word, 1 << 15, False)
fist_32 = storing("fist", "DB /2", Md, to_doubleword, 1 << 31, False)
fistp_16 = storing("fistp", "DF /3", Mw, to_word, 1 << 15, True)
fistp_32 = storing("fistp", "DB /3", Md, to_doubleword, 1 << 31, True)
fistp_64 = storing("fistp", "DF /7", Mq, to_quadword, 1 << 63, True)
fisttp_16 = storing("fisttp", "DF /1", Mw, to_word, 1 << 15, True, True)
fisttp_32 = storing("fisttp", "DB /1", Md, to_doubleword, 1 << 31, True, True)
fisttp_64 = storing("fisttp", "DD /1", Mq, to_quadword, 1 << 63, True, True)


def store_tbyte(cpu, to, value) -> None:
    """Ten bytes; over two pages, both or none."""
    if to.address & (PAGE - 1) > PAGE - 10:
        to.probe(10, WRITE)
    cpu.store(u64, to.at(0, 8), u64(value))
    cpu.store(u16, to.at(8, 2), u16(value >> 64))


@function
def store_ten(cpu, to, each, missing: u128) -> None:
    """As `storing`, ten bytes, and pop."""
    up = cpu.x87.up
    value = converted(cpu, each, missing, cpu.x87.rounding)
    found, direction = cpu.x87.flags, cpu.x87.up
    cpu.x87.flags, cpu.x87.up = cpu.before, up
    stops = found & cpu.x87.unmasked & STORE_STOPS != 0
    if not stops:
        store_tbyte(cpu, to, value)
        pop(cpu)
    cpu.x87.flags, cpu.x87.up = cpu.before | found, direction


def unchanged(env, mode, a):
    return a


@op("DB /7", Mp)
def fstp_80(cpu, to):
    """SDM 2A, FSTP."""
    cpu.need_x87()
    store_ten(cpu, to, unchanged, u128(INDEFINITE))


@op("DF /6", Mp)
def fbstp(cpu, to):
    """SDM 2A, FBSTP."""
    cpu.need_x87()
    store_ten(cpu, to, to_decimal, u128(BCD_INDEFINITE))


def to_decimal(env, mode, a):
    """Eighteen decimal digits and a sign."""
    whole = i64(to_integer(env, FORM, mode, a, i64))
    left = u64(0 - whole if whole < 0 else whole)
    if left >= BCD_LIMIT:
        env.flags, env.up = u64(X87.invalid), u64(0)
        return u128(BCD_INDEFINITE)
    digits, n = u128(0), u128(0)
    while n < 72:
        two = left % u64(100)
        digits = digits | u128(two // u64(10) << 4 | two % u64(10)) << n
        left, n = left // u64(100), n + 8
    return digits | a & FORM.sign


@op("DD D0+i", STi)
def fst(cpu, i):
    """SDM 2A, FST."""
    cpu.need_x87()
    copy_top(cpu, i)


@op("D9 D8+i", STi)
def fstp1(cpu, i):
    """AMD APM 3, appendix A.2.7: FSTP's undocumented twin, which takes an empty ST(0) without complaint."""
    cpu.need_x87()
    if not occupied(cpu, u64(0)):
        cpu.x87.up = u64(0)
        pop(cpu)
    elif copy_top(cpu, i):
        pop(cpu)


@op("DD D8+i", STi)
@op("DF D0+i", STi)
@op("DF D8+i", STi)
def fstp(cpu, i):
    """SDM 2A, FSTP, and its undocumented twins (AMD APM 3, appendix A.2.7)."""
    cpu.need_x87()
    if copy_top(cpu, i):
        pop(cpu)


@function
def copy_top(cpu, i: u64) -> bool:
    """ST(i) = ST(0); whether that was done."""
    begin(cpu)
    value = read(cpu, u64(0))
    if not occupied(cpu, u64(0)):
        underflow(cpu)
        value = u128(INDEFINITE)
    done = ended(cpu)
    if done:
        write(cpu, i, value)
    return done


@op("D9 C8+i", STi)
@op("DD C8+i", STi)
@op("DF C8+i", STi)
def fxch(cpu, i):
    """SDM 2A, FXCH, and its undocumented twins."""
    cpu.need_x87()
    exchange_top(cpu, i)


@function
def exchange_top(cpu, i: u64) -> None:
    begin(cpu)
    a, b = read(cpu, u64(0)), read(cpu, i)
    if not occupied(cpu, u64(0)):
        underflow(cpu)
        a = u128(INDEFINITE)
    if not occupied(cpu, i):
        underflow(cpu)
        b = u128(INDEFINITE)
    if ended(cpu):
        write(cpu, u64(0), b)
        write(cpu, i, a)


@op("DF C0+i", STi)
def ffreep(cpu, i):
    """AMD APM 5, appendix: FFREE, then pop."""
    cpu.need_x87()
    free(cpu, i)
    pop(cpu)
    cpu.x87.up = u64(0)
