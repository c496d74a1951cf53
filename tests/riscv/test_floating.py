"""What unicorn cannot say of F and D: NaN-boxes, reserved rounding modes, IEEE 754-2019 minimum. The rest is
there.
"""

import pytest

from tests.riscv.machine import MASK, RAM, word

BOX, CANONICAL, ONE = MASK >> 32 << 32, 0x7FC0_0000, 0x3F80_0000


def test_a_result_is_boxed(machine):
    machine.set(f1=BOX | ONE).step(word("fadd.s", rd=2, rs1=1, rs2=1))
    assert machine.f(2) == BOX | 0x4000_0000


@pytest.mark.parametrize("name", ["fsgnj.s", "fmin.s", "fadd.s", "fcvt.d.s", "fsqrt.s"])
def test_what_is_not_boxed_is_the_canonical_nan(machine, name):
    second = {} if name in ("fcvt.d.s", "fsqrt.s") else {"rs2": 1}
    machine.set(f1=ONE).step(word(name, rd=2, rs1=1, **second))
    assert machine.f(2) == (0x7FF8 << 48 if name == "fcvt.d.s" else BOX | CANONICAL)


def test_moves_and_stores_take_the_bits_as_they_are(machine):
    machine.set(f1=0x1234_5678_9ABC_DEF0, x5=RAM + 0x3000)
    machine.step(word("fmv.x.w", rd=6, rs1=1), word("fsw", rs1=5, rs2=1, imm=0), word("fmv.x.d", rd=7, rs1=1))
    assert (machine.x(6), machine.x(7)) == (BOX | 0x9ABC_DEF0, machine.f(1))
    assert machine.load(RAM + 0x3000) == 0x9ABC_DEF0


@pytest.mark.parametrize("rm, frm, legal", [
    (5, 0, False), (6, 0, False), (7, 4, True), (7, 5, False), (7, 7, False)])
def test_a_reserved_rounding_mode_is_illegal(machine, rm, frm, legal):
    machine.set(mcause=99, mtvec=RAM + 0x1000)
    machine.step(word("csrrwi", csr=2, uimm=frm), word("fadd.d", rd=2, rs1=1, rs2=1, rm=rm))
    assert machine.hart.mcause == (99 if legal else 2)


def test_the_minimum_of_a_number_and_a_signalling_nan_is_the_number_and_invalid(machine):
    machine.set(f1=BOX | ONE, f2=BOX | 0x7FA0_0000).step(word("fmin.s", rd=3, rs1=1, rs2=2))
    assert machine.f(3) == BOX | ONE and machine.hart.fp.flags == 16


def test_zeros_have_an_order(machine):
    machine.set(f1=0, f2=1 << 63).step(word("fmin.d", rd=3, rs1=1, rs2=2), word("fmax.d", rd=4, rs1=2, rs2=1))
    assert (machine.f(3), machine.f(4)) == (1 << 63, 0)
