"""Every unprivileged instruction with edge-value and random operands, against unicorn: registers, memory,
fflags, pc.

unicorn 2.1 knows no B extension (test_bitmanip.py has that), neither looks at NaN-boxes nor makes them, and
its FMIN and FMAX are those of IEEE 754-2008: operands and its results are boxed here, and those two get no
signalling NaNs. GUESTHOUSE_RANDOM=n: n times as many.
"""

import os
import random

import pytest

from guesthouse.bits import u64
from guesthouse.engine.encoding import instructions_in
from guesthouse.engine.vcpu import Budget
from guesthouse.system.cpu.riscv import bitmanip, csr, privileged
from guesthouse.system.cpu.riscv.instructions import DECODER, INSTRUCTIONS
from guesthouse.system.cpu.riscv.formats import RA
from tests.riscv.machine import CODE, DATA, MASK, RAM, SIZE

unicorn = pytest.importorskip("unicorn")
from unicorn import riscv_const as names  # noqa: E402

CASES = 12 * int(os.environ.get("GUESTHOUSE_RANDOM", "1"))
EDGES = [0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, MASK >> 1,
         1 << 63, MASK, MASK - 1]
SINGLES = [0, 1, 0x7F_FFFF, 0x80_0000, 0x3F80_0000, 0x3F80_0001, 0x4B00_0001, 0x4F00_0000, 0x4F7F_FFFF,
           0x5F00_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7FC0_0000, 0x7FA0_0000, 0x7FC0_1234, 0x3380_0000, 0x0080_0001]
DOUBLES = [0, 1, (1 << 52) - 1, 1 << 52, 0x3FF << 52, (0x3FF << 52) + 1, 0x41DF_FFFF_FFC0_0000,
           0x41E0_0000_0000_0000, 0x41F0_0000_0000_0000, 0x43E0_0000_0000_0000, 0x43F0_0000_0000_0000,
           0x7FEF_FFFF_FFFF_FFFF, 0x7FF << 52,
           0x7FF8 << 48, 0x7FF4 << 48, 0x36A0_0000_0000_0000, 0x380F_FFFF_FFFF_FFFF, 0x47EF_FFFF_F000_0000]
SKIPPED = {"ecall", "ebreak", "c.ebreak"}
ELSEWHERE = set(instructions_in((bitmanip, csr, privileged)))
CHOSEN = [i for i in INSTRUCTIONS if i not in ELSEWHERE and i.name not in SKIPPED]


class Oracle:
    """unicorn in machine mode with the same memory."""

    def __init__(self):
        self.uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64)
        self.uc.mem_map(RAM, SIZE)
        self.uc.reg_write(names.UC_RISCV_REG_MSTATUS, 0x6000)

    def step(self, word, x, f, fcsr, data):
        uc = self.uc
        uc.mem_write(CODE, word.to_bytes(4, "little"))
        uc.mem_write(DATA, data)
        for n in range(32):
            uc.reg_write(names.UC_RISCV_REG_X0 + n, x[n])
            uc.reg_write(names.UC_RISCV_REG_F0 + n, f[n])
        uc.reg_write(names.UC_RISCV_REG_FCSR, fcsr)
        uc.ctl_remove_cache(CODE, CODE + 4)
        uc.emu_start(CODE, MASK, 0, 1)
        return ([uc.reg_read(names.UC_RISCV_REG_X0 + n) for n in range(32)],
                [uc.reg_read(names.UC_RISCV_REG_F0 + n) for n in range(32)],
                uc.reg_read(names.UC_RISCV_REG_FCSR) & 0xFF, uc.reg_read(names.UC_RISCV_REG_PC),
                bytes(uc.mem_read(DATA, len(data))))


@pytest.fixture(scope="module")
def oracle():
    return Oracle()


def ours(machine, word, x, f, fcsr, data):
    machine.memory.write(DATA, data)
    for n in range(32):
        machine.hart.x[n], machine.hart.f[n] = u64(x[n]), u64(f[n])
    machine.hart.fp.flags, machine.hart.fp.rounding = u64(fcsr & 31), u64(fcsr >> 5)
    machine.program(word)
    machine.hart.pc = u64(CODE)
    assert machine.run(1) == Budget()
    return ([machine.x(n) for n in range(32)], [machine.f(n) for n in range(32)],
            int(machine.hart.fp.rounding) << 5 | int(machine.hart.fp.flags), int(machine.hart.pc),
            machine.memory.read(DATA, len(data)))


def gives_single(name):
    return name.startswith("fcvt.s.") or name == "fmv.w.x" or (
        name.endswith(".s") and not name.startswith(("fcvt", "feq", "flt", "fle", "fclass")))


def words(rng, instruction):
    """A random word that is this instruction; rounding modes are legal."""
    number = INSTRUCTIONS.index(instruction) + 1
    while True:
        pattern = instruction.pattern
        word = pattern.match | rng.getrandbits(pattern.width) & ~pattern.mask
        rounding = instruction.pattern.fields.get("rm")
        if rounding and instruction.pattern.extract("rm", word) in (5, 6):
            continue
        if int(DECODER.find(u64(word))) == number:
            return word


def integers(rng):
    return rng.choice([rng.choice(EDGES), rng.getrandbits(64), rng.getrandbits(64) >> rng.randrange(64)])


def floats(rng, instruction):
    """Patterns of the format that the instruction reads."""
    single = instruction.name.endswith(".s") or ".s." in instruction.name or instruction.name.endswith("w")
    if instruction.name.startswith("fcvt"):
        single = instruction.name.endswith(".s")
    few, bits, fraction = (SINGLES, 32, 23) if single else (DOUBLES, 64, 52)
    value = rng.choice([rng.choice(few) | rng.getrandbits(1) << bits - 1, rng.getrandbits(bits),
                        near(rng, bits, fraction)])
    exponent = (1 << bits - 1 - fraction) - 1
    if instruction.name.startswith(("fmin", "fmax")) and value >> fraction & exponent == exponent:
        value |= 1 << fraction - 1
    return value | MASK >> 32 << 32 if single else value


def near(rng, bits, fraction):
    """Of similar size, so that sums cancel and products stay in range; few bits, so that ties occur."""
    bias = (1 << bits - 2 - fraction) - 1
    low = rng.getrandbits(fraction) >> rng.randrange(fraction) << rng.randrange(fraction)
    high = rng.getrandbits(1) << bits - 1 | bias + rng.randrange(-3, 60) << fraction
    return high | low & (1 << fraction) - 1


def aim(rng, instruction, word, x):
    """Let the base register point into DATA: aligned for atomics, to nowhere for those that have no base."""
    if "(rs1)" not in instruction.form and instruction.name not in ("ret", "c.jr", "c.jalr"):
        return True
    base = next((o for o in instruction.operands if o.name == "rs1"), None)
    offset = next((instruction.value(o, word) for o in instruction.operands if o.name == "imm"), 0)
    register = instruction.value(base, word) if base else RA
    at = DATA + rng.randrange(8, 40)
    if instruction.name.startswith(("lr", "sc", "amo")):
        at &= ~7
    x[register] = at - offset & MASK
    return register != 0


@pytest.mark.parametrize("instruction", CHOSEN, ids=lambda i: i.name)
def test_agrees_with_unicorn(machine, oracle, instruction):
    rng = random.Random(instruction.name)
    for _ in range(CASES):
        word = words(rng, instruction)
        x = [0] + [integers(rng) for _ in range(31)]
        f = [floats(rng, instruction) for _ in range(32)]
        if not aim(rng, instruction, word, x):
            continue
        fcsr, data = rng.randrange(5) << 5 | rng.getrandbits(5), rng.randbytes(64)
        expected = oracle.step(word, x, f, fcsr, data)
        if gives_single(instruction.name):
            rd = instruction.value(instruction.operands[0], word)
            expected[1][rd] |= MASK >> 32 << 32
        found = ours(machine, word, x, f, fcsr, data)
        assert found == expected, difference(word, x, f, fcsr, found, expected)


def difference(word, x, f, fcsr, found, expected):
    """The instruction, what it read, and each place where the two differ."""
    lines = [DECODER.disassemble(word), f"fcsr {fcsr:#x}"]
    for name, before, is_, was in (("x", x, found[0], expected[0]), ("f", f, found[1], expected[1])):
        lines += [f"{name}{n} {before[n]:#x}: {a:#x}, not {b:#x}"
                  for n, (a, b) in enumerate(zip(is_, was)) if a != b]
    lines += [f"{a!r}, not {b!r}" for a, b in zip(found[2:], expected[2:]) if a != b]
    number = int(DECODER.find(u64(word)))
    for operand in INSTRUCTIONS[number - 1].operands:
        value = INSTRUCTIONS[number - 1].value(operand, word)
        kind = operand.kind.name
        if kind in "xf":
            lines.append(f"{operand.name} = {kind}{value} = {(x if kind == 'x' else f)[value]:#x}")
    return "\n".join(lines)
