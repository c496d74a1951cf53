"""x87 instructions that do not compute: control and status words, environments, whole states, the stack's
top.

SDM 1, 8.1 and SDM 2A.
"""

from guesthouse.bits import u16, u32, u64, u128
from guesthouse.engine.cpu import READ, WRITE
from guesthouse.system.cpu.x86.definitions import op
from guesthouse.system.cpu.x86.operands import AX, Mp, Mw, Size, STi
from guesthouse.system.cpu.x86.x87_pointers import pointer_words, set_pointers
from guesthouse.system.cpu.x86.x87_stack import free, read
from guesthouse.typed import function


@op("9B")
def fwait(cpu):
    """SDM 2B, WAIT/FWAIT."""
    cpu.need_wait()


@op("DB E3")
def fninit(cpu):
    """SDM 2A, FINIT/FNINIT."""
    cpu.need_x87_present()
    cpu.initialise_x87()


@op("DB E2")
def fnclex(cpu):
    """SDM 2A, FCLEX/FNCLEX."""
    cpu.need_x87_present()
    cpu.x87.flags, cpu.ignne = u64(0), u64(0)


@op("DB E0")
@op("DB E1")
@op("DB E4")
def fnop_287(cpu):
    """SDM 2A: FNENI, FNDISI and FNSETPM of older coprocessors do nothing."""
    cpu.need_x87_present()


@op("D9 D0")
def fnop(cpu):
    """SDM 2A, FNOP."""
    cpu.need_x87()


@op("D9 /7", Mw)
def fnstcw(cpu, to):
    """SDM 2A, FSTCW/FNSTCW."""
    cpu.need_x87_present()
    to.put(u16(cpu.fcw))


@op("D9 /5", Mw)
def fldcw(cpu, by):
    """SDM 2A, FLDCW."""
    cpu.need_x87()
    cpu.set_fcw(u64(by.get()))


@op("DD /7", Mw)
@op("DF E0", AX)
def fnstsw(cpu, to):
    """SDM 2A, FSTSW/FNSTSW."""
    cpu.need_x87_present()
    to.put(u16(cpu.fsw()))


@op("D9 F6")
def fdecstp(cpu):
    """SDM 2A, FDECSTP."""
    cpu.need_x87()
    cpu.top = cpu.top - 1 & 7
    cpu.x87.up = u64(0)


@op("D9 F7")
def fincstp(cpu):
    """SDM 2A, FINCSTP."""
    cpu.need_x87()
    cpu.top = cpu.top + 1 & 7
    cpu.x87.up = u64(0)


@op("DD C0+i", STi)
def ffree(cpu, i):
    """SDM 2A, FFREE."""
    cpu.need_x87()
    free(cpu, i)
    cpu.x87.up = u64(0)


# Environments: 14 bytes with operand size 16, else 28 (SDM 1, 8.1.10).


@op("D9 /6", Mp, Size)
def fnstenv(cpu, to, size):
    """SDM 2A, FSTENV/FNSTENV. It masks all exceptions afterwards."""
    cpu.need_x87_present()
    store_environment(cpu, to, short(size))
    cpu.set_fcw(cpu.fcw | 63)


@op("D9 /4", Mp, Size)
def fldenv(cpu, by, size):
    """SDM 2A, FLDENV."""
    cpu.need_x87()
    load_environment(cpu, by, short(size))


@op("DD /6", Mp, Size)
def fnsave(cpu, to, size):
    """SDM 2A, FSAVE/FNSAVE."""
    cpu.need_x87_present()
    to.probe(94 if short(size) else 108, WRITE)
    store_environment(cpu, to, short(size))
    store_stack(cpu, to, 14 if short(size) else 28)
    cpu.initialise_x87()


@op("DD /4", Mp, Size)
def frstor(cpu, by, size):
    """SDM 2A, FRSTOR."""
    cpu.need_x87()
    by.probe(94 if short(size) else 108, READ)
    load_environment(cpu, by, short(size))
    load_stack(cpu, by, 14 if short(size) else 28)


def short(size):
    """Whether the 16-bit layout is meant."""
    return size.bits == 16


@function
def store_environment(cpu, to, is_short) -> None:
    word, step = (u16, 2) if is_short else (u32, 4)
    to.probe(7 * step, WRITE)
    blank = 0 if is_short else 0xFFFF_0000
    ip, code, dp, data = pointer_words(cpu, is_short)
    words = (cpu.fcw | blank, cpu.fsw() | blank, cpu.full_tags() | blank, ip, code, dp, data | blank)
    for n, part in enumerate(words):
        cpu.store(word, to.at(n * step, step), word(part))


@function
def load_environment(cpu, by, is_short) -> None:
    word, step = (u16, 2) if is_short else (u32, 4)
    parts = [u64(cpu.load(word, by.at(n * step, step))) for n in range(7)]
    cpu.set_fcw(parts[0])
    cpu.set_fsw(parts[1])
    cpu.set_full_tags(parts[2] & 0xFFFF)
    set_pointers(cpu, parts[3], parts[4], parts[5], parts[6], is_short)


@function
def store_stack(cpu, to, start) -> None:
    """ST(0) to ST(7), ten bytes each, from byte `start` of the operand on; in words, which alone are aligned."""
    i = u64(0)
    while i < 8:
        value = read(cpu, i)
        for n in range(5):
            cpu.store(u16, to.at(i * 10 + (start + 2 * n), 2), u16(value >> 16 * n))
        i += 1


@function
def load_stack(cpu, by, start) -> None:
    i = u64(0)
    while i < 8:
        value = u128(0)
        for n in range(5):
            value = value | u128(cpu.load(u16, by.at(i * 10 + (start + 2 * n), 2))) << 16 * n
        cpu.fpr[cpu.top + i & 7] = value
        i += 1
