"""Reservations, atomic operations, and alignment."""

import pytest

from guesthouse.bits import u64
from tests.riscv.machine import CODE, DATA, MASK, RAM, word

LR, SC = word("lr.d", rd=6, rs1=5), word("sc.d", rd=7, rs1=5, rs2=8)
ADD = word("sd", rs2=9, rs1=5, imm=0)


@pytest.fixture
def hart(machine):
    machine.store(DATA, 11)
    return machine.set(x5=DATA, x8=22, x9=33, mtvec=RAM + 0x1000)


def test_a_store_conditional_stores_what_was_reserved(hart):
    hart.step(LR, SC)
    assert (hart.x(6), hart.x(7), hart.load(DATA)) == (11, 0, 22)


def test_a_second_store_conditional_fails(hart):
    hart.step(LR, SC, SC)
    assert hart.x(7) == 1


def test_without_a_reservation_it_fails_and_changes_nothing(hart):
    hart.step(SC)
    assert (hart.x(7), hart.load(DATA)) == (1, 11)


def test_a_store_between_them_takes_the_reservation(hart):
    hart.step(LR, ADD, SC)
    assert (hart.x(7), hart.load(DATA)) == (1, 33)


def test_a_device_that_writes_takes_the_reservation(hart):
    hart.step(LR)
    hart.memory.write(DATA, b"\7")
    hart.step(SC)
    assert (hart.x(7), hart.load(DATA)) == (1, 7)


def test_another_address_or_size_fails(hart):
    hart.step(LR, word("addi", rd=5, rs1=5, imm=8), SC)
    assert hart.x(7) == 1
    hart.set(x5=DATA).step(LR, word("sc.w", rd=7, rs1=5, rs2=8))
    assert hart.x(7) == 1


def test_a_trap_takes_the_reservation(hart):
    hart.step(LR)
    hart.program(SC, at=RAM + 0x1000)
    hart.step(word("ecall"))
    hart.run(1)
    assert hart.x(7) == 1


@pytest.mark.parametrize("name, cause", [("lr.w", 4), ("lr.d", 4), ("sc.w", 6), ("sc.d", 6), ("amoadd.w", 6),
                                         ("amoswap.d", 6)])
def test_a_misaligned_atomic_faults(hart, name, cause):
    hart.set(x5=DATA + 2)
    hart.step(word(name, rd=6, rs1=5))
    assert (hart.hart.mcause, hart.hart.mtval, hart.hart.mepc) == (cause, DATA + 2, CODE)


def test_a_misaligned_load_does_not(hart):
    hart.store(DATA + 0xFFD, 0x1122334455667788)
    hart.set(x5=DATA + 0xFFD)
    hart.step(word("ld", rd=6, rs1=5, imm=0))
    assert hart.x(6) == 0x1122334455667788


def test_a_word_operation_extends_what_was_there_and_leaves_the_rest(hart):
    hart.store(DATA, MASK ^ 0x7FFF_FFFF)
    hart.step(word("amoadd.w", rd=6, rs1=5, rs2=8))
    assert (hart.x(6), hart.load(DATA)) == (MASK ^ 0x7FFF_FFFF, MASK >> 32 << 32 | 0x8000_0016)


def test_the_target_may_be_the_address(hart):
    hart.step(word("amoswap.d", rd=5, rs1=5, rs2=8))
    assert (hart.x(5), hart.load(DATA)) == (11, 22) and hart.hart.fault == u64(0)
