"""The x87 register stack: reading and writing ST(i), stack faults, and how an instruction begins and ends.

SDM 1, 8.1.2 (the stack), 8.5 (exceptions). Every x87 instruction that computes does so in three steps:
`begin`, arithmetic that sets flags, and `put` or `push`, which leave everything alone where an exception that
is not masked says so.
"""

from guesthouse.bits import select, u64, u128
from guesthouse.system.cpu.softfloat import X87
from guesthouse.system.cpu.x86.float_state import C0, C2, C3, STACK_FAULT, FloatState
from guesthouse.typed import function

FORM = X87.extended
INDEFINITE = FORM.default_nan
ONE, ZERO = 0x3FFF << 64 | 1 << 63, 0
FPR = FloatState.offset("fpr")
STOPS = X87.invalid | X87.denormal | X87.by_zero  # unmasked, these leave the destination alone: SDM 1, 8.5


def place(cpu, i):
    """The number of the register that ST(i) is."""
    return cpu.top + i & 7


def read(cpu, i):
    """ST(i), whatever its tag says."""
    return cpu.peek(u128, place(cpu, i) * 16 + FPR)


def occupied(cpu, i):
    """Whether ST(i) holds something."""
    return cpu.tags >> place(cpu, i) & 1 != 0


def write(cpu, i, value) -> None:
    """Set ST(i)."""
    n = place(cpu, i)
    cpu.poke(u128, n * 16 + FPR, value)
    cpu.tags = cpu.tags | u64(1) << n


def free(cpu, i) -> None:
    cpu.tags = cpu.tags & ~(u64(1) << place(cpu, i))


def pop(cpu) -> None:
    """Empty ST(0) and go to the next."""
    cpu.tags = cpu.tags & ~(u64(1) << cpu.top)
    cpu.top = cpu.top + 1 & 7


def begin(cpu) -> None:
    """Before arithmetic: the flags so far are put aside so that the instruction's own can be told from them.
    """
    cpu.before = cpu.x87.flags
    cpu.x87.flags = u64(0)
    cpu.x87.up = u64(0)


@function
def ended(cpu) -> bool:
    """After arithmetic: gather the flags; whether the result may be written. If not, nothing was computed,
    and the flags that computing found do not count.
    """
    found = cpu.x87.flags
    done = found & cpu.x87.unmasked & STOPS == 0
    if not done:
        found = found & (STOPS | STACK_FAULT)
        if found & STACK_FAULT == 0:
            cpu.x87.up = u64(0)
    cpu.x87.flags = cpu.before | found
    return done


def underflow(cpu) -> None:
    """An operand is missing (SDM 1, 8.5.1.1)."""
    cpu.x87.flags |= X87.invalid | STACK_FAULT
    cpu.x87.up = u64(0)


@function
def push(cpu, value: u128) -> None:
    """Push a result after begin() and arithmetic; stack overflow makes it the indefinite NaN."""
    n = cpu.top - 1 & 7
    if cpu.tags >> n & 1 != 0 and cpu.x87.flags & STACK_FAULT == 0:
        cpu.x87.flags = u64(X87.invalid | STACK_FAULT)
        value, cpu.x87.up = u128(INDEFINITE), u64(1)
    if ended(cpu):
        cpu.top = n
        write(cpu, 0, value)


def put(cpu, i, value) -> None:
    """Write a result to ST(i) after begin() and arithmetic."""
    if ended(cpu):
        write(cpu, i, value)


def put_and_pop(cpu, i, value) -> None:
    if ended(cpu):
        write(cpu, i, value)
        pop(cpu)


def set_codes(cpu, c0, c2, c3) -> None:
    """Set C0, C2 and C3 from conditions."""
    cpu.codes = select(c0, u64(C0), u64(0)) | select(c2, u64(C2), u64(0)) | select(c3, u64(C3), u64(0))
