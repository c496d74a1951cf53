"""Control and status registers: what can be written, by whom, and what is read back."""

import pytest

from guesthouse.bits import u64
from guesthouse.system.cpu.riscv.causes import FS, STCE
from guesthouse.system.cpu.riscv.csr import CSRS
from tests.riscv.machine import CODE, MASK, RAM, word

NUMBER = {csr.name: csr.number for csr in CSRS}
USER, SUPERVISOR, MACHINE = 0, 1, 3
ILLEGAL = 2


@pytest.fixture
def hart(machine):
    machine.hart.pmpcfg[0], machine.hart.pmpaddr[0] = type(machine.hart.pmpcfg[0])(0x1F), u64(MASK >> 10)
    machine.hart.protect_ranges()
    return machine.set(mtvec=RAM + 0x1000)


def write(hart, name, value):
    hart.set(x5=value)
    hart.step(word("csrrw", csr=NUMBER[name], rs1=5, rd=6))
    return hart.x(6)


def read(hart, name):
    hart.step(word("csrr", csr=NUMBER[name], rd=6))
    return hart.x(6)


def refused(hart, mode, instruction):
    hart.hart.mode = u64(mode)
    hart.hart.settle()
    hart.set(mcause=99)
    hart.step(instruction)
    cause = int(hart.hart.mcause)
    hart.hart.mode = u64(MACHINE)
    hart.hart.settle()
    assert cause in (99, ILLEGAL)
    return cause == ILLEGAL


@pytest.mark.parametrize("name, kept", [
    ("mscratch", MASK), ("mepc", MASK & ~1), ("mtvec", MASK & ~2), ("stvec", MASK & ~2), ("medeleg", 0xB3FF),
    ("mideleg", 0x222), ("mie", 0xAAA), ("mcounteren", 0xFFFF_FFFF), ("mhpmcounter3", 0), ("mhpmevent31", 0),
    ("mcountinhibit", 0), ("scause", MASK), ("sepc", MASK & ~1), ("fflags", 31), ("frm", 7), ("fcsr", 255),
    ("satp", 0), ("misa", 2 << 62 | 0x14112F), ("tselect", 0)])
def test_only_legal_bits_are_kept(hart, name, kept):
    write(hart, name, MASK)
    assert read(hart, name) == kept


def test_satp_takes_the_modes_that_exist(hart):
    for mode in range(16):
        write(hart, "satp", 0)
        write(hart, "satp", mode << 60 | 5)
        assert read(hart, "satp") == (mode << 60 | 5 if mode in (0, 8, 9) else 0)


def test_mpp_cannot_be_2(hart):
    write(hart, "mstatus", 1 << 11)
    write(hart, "mstatus", 2 << 11)
    assert read(hart, "mstatus") >> 11 & 3 == 1


def test_sd_sums_up_fs(hart):
    write(hart, "mstatus", 1 << 13)
    assert not read(hart, "sstatus") >> 63
    hart.step(word("fmv.d.x", rd=1, rs1=0))
    assert read(hart, "sstatus") >> 63 and read(hart, "mstatus") & FS == FS


@pytest.mark.parametrize("instruction", [
    word("fadd.d"), word("fld", rs1=5), word("csrr", csr=3), word("fmv.x.d"), 0x2000])
def test_floats_are_illegal_while_they_are_off(hart, instruction):
    hart.set(x5=RAM, x8=RAM)
    write(hart, "mstatus", 0)
    assert refused(hart, MACHINE, instruction)
    write(hart, "mstatus", 1 << 13)
    assert not refused(hart, MACHINE, instruction)


def test_a_mode_sees_its_own_registers_and_lower_ones(hart):
    assert refused(hart, USER, word("csrr", csr=NUMBER["sscratch"]))
    assert not refused(hart, SUPERVISOR, word("csrr", csr=NUMBER["sscratch"]))
    assert refused(hart, SUPERVISOR, word("csrr", csr=NUMBER["mscratch"]))


def test_a_read_only_register_can_be_read_by_an_instruction_that_does_not_write(hart):
    number = NUMBER["mhartid"]
    assert refused(hart, MACHINE, word("csrrw", csr=number, rs1=0))
    assert refused(hart, MACHINE, word("csrrsi", csr=number, uimm=1))
    assert not refused(hart, MACHINE, word("csrrs", csr=number, rs1=0))
    assert not refused(hart, MACHINE, word("csrrci", csr=number, uimm=0))


@pytest.mark.parametrize("name, bit", [("cycle", 0), ("time", 1), ("instret", 2), ("hpmcounter7", 7)])
def test_counters_are_lent_by_the_modes_above(hart, name, bit):
    instruction = word("csrr", csr=NUMBER[name])
    assert not refused(hart, MACHINE, instruction)
    assert refused(hart, SUPERVISOR, instruction)
    write(hart, "mcounteren", 1 << bit)
    assert not refused(hart, SUPERVISOR, instruction) and refused(hart, USER, instruction)
    write(hart, "scounteren", 1 << bit)
    assert not refused(hart, USER, instruction)


def test_stimecmp_needs_both_enables(hart):
    instruction = word("csrr", csr=NUMBER["stimecmp"])
    assert not refused(hart, MACHINE, instruction) and refused(hart, SUPERVISOR, instruction)
    write(hart, "mcounteren", 2)
    assert refused(hart, SUPERVISOR, instruction)
    write(hart, "menvcfg", STCE)
    assert not refused(hart, SUPERVISOR, instruction)


def test_time_counts_hundreds_of_nanoseconds(hart):
    hart.hart.ticks = u64(12_345)
    assert read(hart, "time") == 123


def test_a_counter_reads_what_was_written_in_the_next_instruction(hart):
    hart.set(x5=1000)
    hart.step(word("csrrw", csr=NUMBER["minstret"], rs1=5), word("csrr", csr=NUMBER["minstret"], rd=6),
              word("csrr", csr=NUMBER["minstret"], rd=7))
    assert (hart.x(6), hart.x(7)) == (1000, 1001)


def test_supervisor_registers_are_views_of_what_is_delegated(hart):
    write(hart, "mie", 0xAAA)
    assert read(hart, "sie") == 0
    write(hart, "mideleg", 0x222)
    assert read(hart, "sie") == 0x222
    write(hart, "sie", 0)
    assert read(hart, "mie") == 0x888


def test_a_register_that_does_not_exist_is_illegal(hart):
    for number in (0x005, 0x200, 0x3A1, 0x3C0, 0x7C0, 0xFFF):
        assert refused(hart, MACHINE, word("csrr", csr=number)), hex(number)


def test_cache_operations_ask_the_environment_configuration(hart):
    zero, clean = word("cbo.zero", rs1=8), word("cbo.clean", rs1=8)
    hart.set(x8=RAM + 0x2010)
    hart.store(RAM + 0x2038, MASK)
    assert refused(hart, SUPERVISOR, zero) and refused(hart, SUPERVISOR, clean)
    write(hart, "menvcfg", 0xF0)
    assert refused(hart, USER, zero)
    assert not refused(hart, SUPERVISOR, zero) and not refused(hart, SUPERVISOR, clean)
    assert hart.load(RAM + 0x2038) == 0 and hart.hart.pc == CODE + 4
