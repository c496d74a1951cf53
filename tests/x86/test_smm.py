"""System-management mode: the way in, the map, the way out (SDM 3C, 32; APM 2, 10)."""

from __future__ import annotations

import pytest

from guesthouse.bits import u64
from guesthouse.engine.cpu import DIED, HALTED, NONE
from tests.x86.system_machine import CODE, KERNEL_CODE, STACK, Machine

BASE, MAP, HANDLER = 0x30000, 0x38000, 0x38000
RSM = "0faa"
CR0_IN_MODE = 0x22  # MP would be clear too; NE and ET stay


@pytest.fixture
def m() -> Machine:
    return Machine()


def interrupted(m: Machine, handler: str = RSM, count: int = 0) -> Machine:
    """An SMI after so many instructions of the handler."""
    m.memory.write(HANDLER, bytes.fromhex(handler))
    m.cpu.smi = u64(1)
    m.run("", count)
    return m


def test_the_handler_begins_in_a_real_mode_of_four_gigabytes(m: Machine) -> None:
    m.run("90", 1)
    cpu = interrupted(m).cpu
    assert (cpu.smm, cpu.pc, cpu.code_bits, cpu.cpl) == (1, HANDLER, 16, 0)
    assert int(cpu.cr0) & 0x8000_0001 == 0 and cpu.cr4 == 0 and cpu.efer == 0 and cpu.rflags() == 2
    assert cpu.segments[1].base == BASE and cpu.segments[1].selector == BASE >> 4
    assert all(cpu.segments[n].limit == 0xFFFF_FFFF for n in range(6)) and cpu.segments[3].base == 0


def test_the_map_is_where_firmware_looks_for_it(m: Machine) -> None:
    m.cpu.r[0], m.cpu.r[15] = u64(0x1122), u64(0x3344)
    m.run("90", 1)
    interrupted(m)
    assert m.get(MAP + 0x7FF8) == 0x1122 and m.get(MAP + 0x7F80) == 0x3344
    assert m.get(MAP + 0x7F78) == CODE + 1 and m.get(MAP + 0x7F58) == 0x8001_0033
    assert m.get(MAP + 0x7EFC, 4) == 0x2_0064 and m.get(MAP + 0x7F00, 4) == BASE
    assert m.get(MAP + 0x7E10, 2) == KERNEL_CODE and m.get(MAP + 0x7ED0) == 0xD01


def test_rsm_goes_on_where_the_program_was_with_what_the_handler_has_changed(m: Machine) -> None:
    m.run("90 ffc0", 1)
    m.cpu.flags = u64(0x200)
    interrupted(m)
    m.put(MAP + 0x7FF8, 41)
    cpu = m.run("", 2)  # rsm; inc eax
    assert (cpu.smm, cpu.pc, cpu.r[0], cpu.code_bits) == (0, CODE + 3, 42, 64)
    assert cpu.flags & 0x200 and cpu.cr0 == 0x8001_0033 and cpu.efer == 0xD01 and cpu.r[4] == STACK + 0x4000


def test_a_relocated_base_is_good_from_the_next_smi_on(m: Machine) -> None:
    m.run("90", 1)
    interrupted(m)
    m.put(MAP + 0x7F00, 0x40000, 4)
    m.run("", 1)
    assert m.cpu.smbase == 0x40000
    m.cpu.smi = u64(1)
    m.run("", 0)
    assert m.cpu.pc == 0x48000


def test_an_smi_in_the_mode_and_an_nmi_wait(m: Machine) -> None:
    m.run("90", 1)
    cpu = interrupted(m, "90" + RSM).cpu
    cpu.smi, cpu.nmi = u64(1), u64(1)
    m.run("", 1)
    assert cpu.smm == 1 and cpu.smi == 1 and cpu.nmi == 1 and cpu.pc == HANDLER + 1
    m.run("", 1)
    assert cpu.smm == 1 and cpu.smi == 0 and cpu.pc == HANDLER  # again at once
    m.run("", 2)
    assert cpu.smm == 0 and m.vector == 2


def test_a_halted_processor_is_halted_again_unless_the_handler_says_no(m: Machine) -> None:
    for restart, reason in ((1, HALTED), (0, NONE)):
        assert m.run("f4", 1).exit == HALTED
        interrupted(m)
        assert m.get(MAP + 0x7EC9, 1) == 1
        m.put(MAP + 0x7EC9, restart, 1)
        m.run("", 1)
        assert int(m.cpu.exit) in (reason, 2 if reason == NONE else reason) and m.cpu.pc == CODE + 1


def test_rsm_is_undefined_outside_and_shuts_down_on_nonsense(m: Machine) -> None:
    m.run(RSM)
    assert m.vector == 6
    m.run("90", 1)
    interrupted(m)
    m.put(MAP + 0x7F58, 0x8000_0010)  # paging without protection
    assert m.run("", 1).exit == DIED


def test_the_mode_has_ram_of_its_own_if_the_board_gives_it(m: Machine) -> None:
    m.run("90", 1)
    views = (0, 0xA0000, m.memory.host), (0xA0000, 0x1000, m.memory.host + 0xC0000)
    for n, (start, length, host) in enumerate(views):
        place = m.cpu.smm_ram[n]
        place.start, place.length, place.host, place.writable = u64(start), u64(length), u64(host), u64(1)
    interrupted(m, "67 c6 05 00000a00 5a" + RSM, 1)  # mov byte [A0000h], 5Ah
    assert m.get(0xC0000, 1) == 0x5A and m.get(0xA0000, 1) == 0
    m.run("", 1)
    assert m.cpu.smm == 0 and m.cpu.ram[0].length == 1 << 20


@pytest.mark.parametrize("write", ["2e c606 0081 5a", "2e c607 5a", "2e 8807", "2e fe07", "2e 66 8907"])
def test_a_handler_may_write_beside_its_code(m: Machine, write: str) -> None:
    """By CS, which begins as the other segments do."""
    m.run("90", 1)
    m.cpu.r[3], m.cpu.r[0] = u64(0x8100), u64(0x5A)
    m.put(0x38100, 0x59, 1)
    interrupted(m, write, 1)
    assert m.get(0x38100, 1) == 0x5A and m.cpu.smm == 1 and not m.cpu.faults
