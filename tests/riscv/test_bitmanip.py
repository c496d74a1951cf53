"""Zba, Zbb and Zbs against what Python's integers say: unicorn does not have them. riscv-tests has them too."""

import random

import pytest

from guesthouse.engine.encoding import instructions_in
from guesthouse.system.cpu.riscv import bitmanip
from tests.riscv.machine import MASK, word

W = MASK >> 32
EDGES = [0, 1, 0x80, 0xFF00, 0x8000_0000, W, 1 << 32, 1 << 63, MASK, MASK >> 1, 0x0100_0000_8000_0001]


def signed(value, bits=64):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def words(value):
    return signed(value, 32)


def rotate(value, by, bits):
    value &= (1 << bits) - 1
    by %= bits
    return value << by | value >> bits - by


MEANING = {
    "sh1add": lambda a, b: (a << 1) + b, "sh2add": lambda a, b: (a << 2) + b,
    "sh3add": lambda a, b: (a << 3) + b,
    "add.uw": lambda a, b: (a & W) + b, "sh1add.uw": lambda a, b: ((a & W) << 1) + b,
    "sh2add.uw": lambda a, b: ((a & W) << 2) + b, "sh3add.uw": lambda a, b: ((a & W) << 3) + b,
    "slli.uw": lambda a, n: (a & W) << n,
    "andn": lambda a, b: a & ~b, "orn": lambda a, b: a | ~b, "xnor": lambda a, b: ~(a ^ b),
    "clz": lambda a: 64 - a.bit_length(), "clzw": lambda a: 32 - (a & W).bit_length(),
    "ctz": lambda a: f"{a:064b}"[::-1].index("1") if a else 64,
    "ctzw": lambda a: f"{a & W:032b}"[::-1].index("1") if a & W else 32,
    "cpop": lambda a: a.bit_count(), "cpopw": lambda a: (a & W).bit_count(),
    "max": lambda a, b: max(signed(a), signed(b)), "maxu": max,
    "min": lambda a, b: min(signed(a), signed(b)), "minu": min,
    "sext.b": lambda a: signed(a, 8), "sext.h": lambda a: signed(a, 16), "zext.h": lambda a: a & 0xFFFF,
    "rol": lambda a, b: rotate(a, b & 63, 64), "ror": lambda a, b: rotate(a, -b & 63, 64),
    "rori": lambda a, n: rotate(a, -n, 64),
    "rolw": lambda a, b: words(rotate(a, b & 31, 32)), "rorw": lambda a, b: words(rotate(a, -b & 31, 32)),
    "roriw": lambda a, n: words(rotate(a, -n & 31, 32)),
    "orc.b": lambda a: int.from_bytes(bytes(255 if byte else 0 for byte in a.to_bytes(8, "big")), "big"),
    "rev8": lambda a: int.from_bytes(a.to_bytes(8, "big"), "little"),
    "bclr": lambda a, b: a & ~(1 << (b & 63)), "bclri": lambda a, n: a & ~(1 << n),
    "bext": lambda a, b: a >> (b & 63) & 1, "bexti": lambda a, n: a >> n & 1,
    "binv": lambda a, b: a ^ 1 << (b & 63), "binvi": lambda a, n: a ^ 1 << n,
    "bset": lambda a, b: a | 1 << (b & 63), "bseti": lambda a, n: a | 1 << n,
}


def test_all_are_covered():
    assert {i.name for i in instructions_in([bitmanip])} == set(MEANING)


@pytest.mark.parametrize("name", MEANING)
def test_means_what_python_says(machine, name):
    rng = random.Random(name)
    instruction = next(i for i in instructions_in([bitmanip]) if i.name == name)
    names = [o.name for o in instruction.operands[1:]]
    for _ in range(24):
        a, b = (rng.choice([rng.choice(EDGES), rng.getrandbits(64)]) for _ in range(2))
        b = b if "rs2" in names else b % (32 if name.endswith("iw") else 64)
        given = {"rs1": a} if names == ["rs1"] else {"rs1": a, names[1]: b}
        machine.set(x6=a, x7=b)
        fields = {"rs1": 6, "rs2": 7, "shamt": b}
        machine.step(word(name, rd=5, **{k: fields[k] for k in names}))
        assert machine.x(5) == MEANING[name](*given.values()) & MASK, (hex(a), hex(b))
