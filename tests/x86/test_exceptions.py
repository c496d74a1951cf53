"""Delivery of interrupts and exceptions in IA-32e mode, after SDM 3A, chapter 6."""

from __future__ import annotations

import pytest

from guesthouse.bits import u64
from guesthouse.engine.cpu import DIED, HALTED, NONE, WINDOW
from tests.x86.system_machine import (
    CODE, GDT, HANDLER_STEP, HANDLERS, IDT, KERNEL_CODE, KERNEL_DATA, PRESENT, STACK, STACK_0, STACK_IST, TSS, USER,
    USER_CODE, USER_DATA, WRITABLE, Machine, gate,
)

IF, TF, NT, RF = 0x200, 0x100, 0x4000, 0x10000


@pytest.fixture
def m() -> Machine:
    return Machine()


def test_a_fault_pushes_the_faulting_instruction_and_sets_rf(m: Machine) -> None:
    cpu = m.run("0f0b")  # ud2
    assert m.vector == 6
    assert m.frame() == [CODE, KERNEL_CODE, 2 | RF, STACK + 0x4000, KERNEL_DATA]
    assert int(cpu.r[4]) == STACK + 0x4000 - 40


def test_an_interrupt_gate_clears_if_and_a_trap_gate_does_not(m: Machine) -> None:
    m.memory.write(IDT + 16 * 0x81, gate(HANDLERS + 16 * 0x81, kind=15))
    for vector, left in ((0x80, 0), (0x81, IF)):
        m.cpu.flags = u64(IF)
        m.run(bytes([0xCD, vector]))
        assert m.vector == vector and int(m.cpu.flags) & IF == left
        assert m.frame()[0] == CODE + 2 and m.frame()[2] == 2 | IF


def test_the_stack_of_a_frame_is_aligned(m: Machine) -> None:
    m.cpu.r[4] = u64(STACK + 0x4009)
    m.run("cc")
    assert m.vector == 3 and int(m.cpu.r[4]) == STACK + 0x4000 - 40 and m.frame()[3] == STACK + 0x4009


def test_an_exception_in_user_mode_takes_the_stack_from_the_tss(m: Machine) -> None:
    m.user(flags=IF)
    m.run("0f0b")
    assert m.vector == 6 and int(m.cpu.cpl) == 0
    assert m.frame() == [CODE, USER_CODE | 3, 2 | IF | RF, STACK + 0x4000, USER_DATA | 3]
    assert int(m.cpu.r[4]) == STACK_0 - 40
    assert int(m.cpu.segments[2].selector) == 0 and int(m.cpu.segments[1].selector) == KERNEL_CODE


def test_ist_switches_the_stack_at_the_same_level_and_keeps_ss(m: Machine) -> None:
    m.memory.write(IDT + 16 * 6, gate(HANDLERS + 16 * 6, ist=1))
    m.run("0f0b")
    assert int(m.cpu.r[4]) == STACK_IST - 40 and int(m.cpu.segments[2].selector) == KERNEL_DATA


def test_software_interrupts_need_the_gates_privilege(m: Machine) -> None:
    m.user()
    m.run("cd20")
    assert m.vector == 13 and m.frame(code=True)[:2] == [0x20 * 8 + 2, CODE]


def test_a_gate_that_is_not_present_gives_np_with_its_index(m: Machine) -> None:
    m.memory.write(IDT + 16 * 0x80, gate(HANDLERS, dpl=3, present=0))
    m.run("cd80")
    assert m.vector == 11 and m.frame(code=True)[0] == 0x80 * 8 + 2


def test_an_external_event_sets_ext_in_the_code_of_a_fault_on_the_way(m: Machine) -> None:
    m.memory.write(IDT + 16 * 0x30, gate(HANDLERS, present=0))
    m.run("90")
    m.cpu.inject(u64(0x30))
    assert m.vector == 11 and m.frame(code=True)[0] == 0x30 * 8 + 3


def test_a_page_fault_tells_address_and_reason(m: Machine) -> None:
    m.map(0x50000, 0)
    m.run("48a10000050000000000")  # mov rax, [50000h]
    assert m.vector == 14 and m.frame(code=True)[:2] == [0, CODE] and int(m.cpu.cr2) == 0x50000


def test_a_page_fault_while_a_fault_is_delivered_is_taken_first(m: Machine) -> None:
    m.map(0x50000, 0)
    m.cpu.r[4] = u64(0x50800)
    m.memory.write(IDT + 16 * 14, gate(HANDLERS + 16 * 14, ist=1))
    m.run("cc")
    assert m.vector == 14 and int(m.cpu.cr2) == 0x507F8 and m.frame(code=True)[:2] == [2, CODE]


def test_a_contributory_fault_in_the_delivery_of_another_is_a_double_fault(m: Machine) -> None:
    m.memory.write(IDT + 16 * 13, gate(HANDLERS, present=0))
    m.run("0f00d8", count=1)  # ltr with selector 0: #GP(0)
    assert m.vector == 8 and m.frame(code=True)[:2] == [0, CODE]


def test_a_page_fault_in_the_delivery_of_a_page_fault_is_a_double_fault(m: Machine) -> None:
    m.map(0x50000, 0)
    m.cpu.r[4] = u64(0x50800)
    m.memory.write(IDT + 16 * 8, gate(HANDLERS + 16 * 8, ist=1))
    m.run("50")  # push rax
    assert m.vector == 8 and int(m.cpu.cr2) == 0x507F8


def test_nothing_left_to_deliver_with_is_the_end(m: Machine) -> None:
    m.cpu.idtr.limit = m.cpu.idtr.limit & 0
    assert int(m.run("0f0b").exit) == DIED
    assert int(m.run("90").exit) == DIED  # and there is no way back


def test_a_failed_delivery_changes_no_register(m: Machine) -> None:
    m.user()
    m.put(TSS + 4, 1 << 50)  # not canonical: #SS(0), and that has no stack either
    m.run("0f0b")
    assert int(m.cpu.exit) == DIED and int(m.cpu.cpl) == 3
    assert int(m.cpu.r[4]) == STACK + 0x4000 and int(m.cpu.pc) == CODE


def test_iret_comes_back_to_where_the_frame_says(m: Machine) -> None:
    m.user(flags=IF)
    m.run("0f0b")
    before = int(m.cpu.pc)
    m.run("48cf", at=before)
    assert int(m.cpu.pc) == CODE and int(m.cpu.cpl) == 3 and int(m.cpu.flags) & IF
    assert int(m.cpu.r[4]) == STACK + 0x4000 and int(m.cpu.segments[2].selector) == USER_DATA | 3


def test_iret_with_nt_is_refused_in_long_mode(m: Machine) -> None:
    m.cpu.flags = u64(NT)
    m.run("48cf")
    assert m.vector == 13


def test_iret_goes_to_compatibility_mode(m: Machine) -> None:
    m.cpu.r[4] = u64(STACK)
    for n, value in enumerate((CODE + 0x100, 0x1B, 0x202, 0x12345, 0x23)):
        m.put(STACK + 8 * n, value)
    m.run("48cf")
    assert (int(m.cpu.code_bits), int(m.cpu.cpl), int(m.cpu.r[4])) == (32, 3, 0x12345)


@pytest.mark.parametrize("selector, vector, code", [
    (0, 13, 0), (0x18, 13, 0x18), (0x53, 13, 0x50), (0x103, 13, 0x100),
])
def test_iret_checks_the_code_segment(m: Machine, selector: int, vector: int, code: int) -> None:
    m.cpu.r[4] = u64(STACK)
    for n, value in enumerate((CODE, selector, 2, STACK, KERNEL_DATA)):
        m.put(STACK + 8 * n, value)
    m.run("48cf")
    assert m.vector == vector and m.frame(code=True)[0] == code


# Between instructions.


def test_an_enabled_interrupt_leaves_to_the_board(m: Machine) -> None:
    m.cpu.intr, m.cpu.flags = u64(1), u64(IF)
    assert int(m.run("90").exit) == WINDOW and int(m.cpu.pc) == CODE
    m.cpu.inject(u64(0x40))
    assert m.vector == 0x40 and m.frame()[0] == CODE and m.frame()[2] == 2 | IF


def test_sti_lets_one_instruction_through(m: Machine) -> None:
    m.cpu.intr = u64(1)
    assert int(m.run("fb9090", count=5).exit) == WINDOW and int(m.cpu.pc) == CODE + 2


def test_the_board_sees_that_an_interrupt_would_be_taken_once_the_shadow_of_sti_is_over(m: Machine) -> None:
    m.run("fb9090", count=1)
    m.cpu.intr = u64(1)
    assert not m.cpu.takes_interrupt() and not type(m.cpu).takes_interrupt(m.cpu.raw())
    m.cpu.intr = u64(0)
    m.run(count=1)
    m.cpu.intr = u64(1)
    assert m.cpu.takes_interrupt() and type(m.cpu).takes_interrupt(m.cpu.raw())
    m.cpu.inject(u64(0x40))
    assert m.vector == 0x40 and int(m.cpu.shadow) == 0


def test_sti_lets_hlt_through_even_when_a_run_ends_between_them(m: Machine) -> None:
    m.run("fbf4")
    m.cpu.intr = u64(1)
    assert int(m.run(count=5).exit) == HALTED and int(m.cpu.pc) == CODE + 2
    assert int(m.run(count=5).exit) == WINDOW


def test_the_shadow_of_sti_ends_even_if_the_next_instruction_jumps_to_itself(m: Machine) -> None:
    m.cpu.intr = u64(1)
    assert int(m.run("fbebfe", count=5).exit) == WINDOW and int(m.cpu.pc) == CODE + 1


def test_mov_ss_holds_interrupts_off_too(m: Machine) -> None:
    m.cpu.intr, m.cpu.flags, m.cpu.r[0] = u64(0), u64(IF), u64(KERNEL_DATA)
    m.run("8ed0")
    m.cpu.intr = u64(1)
    assert int(m.run(count=5).exit) == WINDOW and int(m.cpu.pc) > CODE + 2


def test_popf_and_cli_decide_at_once(m: Machine) -> None:
    m.cpu.intr, m.cpu.r[0] = u64(1), u64(IF)
    assert int(m.run("509dfa", count=5).exit) == WINDOW and int(m.cpu.pc) == CODE + 2


def test_nmi_is_blocked_until_iret(m: Machine) -> None:
    m.cpu.nmi = u64(1)
    m.run("90", count=1)
    assert int(m.cpu.nmi_blocked) == 1 and int(m.cpu.nmi) == 0 and m.frame()[0] == CODE
    m.cpu.nmi = u64(1)
    m.run("90")
    assert int(m.cpu.nmi) == 1
    m.run("48cf")
    assert int(m.cpu.nmi) == 0 and m.vector == 2


def test_single_step_traps_after_each_instruction(m: Machine) -> None:
    m.cpu.r[0] = u64(TF)
    m.run("509d9090", count=3)  # push, popf, nop
    assert m.vector == 1 and m.frame()[0] == CODE + 3 and m.frame()[2] & TF
    assert int(m.cpu.dr[6]) >> 14 & 1 and not int(m.cpu.flags) & TF
    m.run("48cf", at=int(m.cpu.pc))
    m.run(count=1)
    assert m.vector == 1 and m.frame()[0] == CODE + 4


def test_icebp_is_a_trap_without_privilege(m: Machine) -> None:
    m.user()
    m.run("f1")
    assert m.vector == 1 and m.frame()[0] == CODE + 1


# Ports.


@pytest.mark.parametrize("iopl, bit, allowed", [(3, 1, True), (0, 1, False), (0, 0, True)])
def test_ports_are_guarded_by_iopl_and_the_bitmap(m: Machine, iopl: int, bit: int, allowed: bool) -> None:
    m.cpu.tr.limit = m.cpu.tr.limit + 0x20
    m.put(TSS + 102, 104, 2)
    m.put(TSS + 104 + 8, bit << 3, 1)
    m.user(flags=iopl << 12 | 2)
    m.run("e643")  # out 43h, al
    assert (int(m.cpu.exit) != NONE and m.vector is None) == allowed
    assert (m.vector == 13) == (not allowed)


def test_protection_of_other_tables_is_not_the_programs(m: Machine) -> None:
    """The processor reads the GDT as a supervisor, whoever runs: its page need not be a user page."""
    m.map(GDT, GDT | PRESENT | WRITABLE)
    m.user()
    m.cpu.r[0] = u64(USER_DATA | 3)
    m.run("8ed8")
    assert m.vector is None and int(m.cpu.segments[3].selector) == USER_DATA | 3
    m.run("a10010000000000000")  # the program itself may not
    assert m.vector == 14 and m.frame(code=True)[0] == 5


def test_smap_keeps_the_processor_from_tables_in_user_pages(m: Machine) -> None:
    m.map(GDT, GDT | PRESENT | WRITABLE | USER)
    m.cpu.cr4 = m.cpu.cr4 | 1 << 21
    m.cpu.flags = u64(1 << 18)  # AC helps only the program's own accesses
    m.cpu.settle_mode()
    m.cpu.r[0] = u64(KERNEL_DATA)
    m.run("8ed8")
    assert int(m.cpu.exit) == DIED  # the handlers' code segment cannot be read either


def test_the_shadow_of_sti_ends_with_the_hlt_that_follows_it(m: Machine) -> None:
    m.cpu.intr = u64(1)
    assert m.run("fb f4 fa", 2).exit == HALTED
    assert m.run("", 1).exit == WINDOW and int(m.cpu.pc) == CODE + 2


@pytest.mark.parametrize("code", [
    "50", "6a01", "ff30", "8f00", "58", "9c", "9d", "e800000000", "c3", "c9", "c8000000", "ff13", "8b0424", "8b4500",
    "ff3424", "0fa0", "48cb", "48cf",
])
def test_a_stack_that_is_not_canonical_is_a_stack_fault(m: Machine, code: str) -> None:
    m.memory.write(IDT + 16 * 12, gate(HANDLERS + 12 * HANDLER_STEP, ist=1))
    for n, value in ((0, STACK), (3, STACK), (4, 1 << 63), (5, 1 << 63)):
        m.cpu.r[n] = u64(value)
    m.put(STACK, CODE)
    m.run(code)
    assert (m.vector, m.frame(code=True)[:2]) == (12, [0, CODE])
