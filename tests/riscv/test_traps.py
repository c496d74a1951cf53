"""Traps, delegation, interrupts and the way back."""

import pytest

from guesthouse.bits import u64
from guesthouse.engine.vcpu import Budget, Halted, HostCall
from guesthouse.system.cpu.riscv.causes import (
    MIE, MPIE, MPP, MTIP, SEIP, SIE, SPIE, SPP, SSIP, STCE, STIP, SUPERVISOR_INTERRUPTS, TSR, TVM, TW,
)
from tests.riscv.machine import CODE, MASK, RAM, word

M_VECTOR, S_VECTOR = RAM + 0x1000, RAM + 0x2000
ILLEGAL, BREAKPOINT, CALL_U, CALL_S, CALL_M = 2, 3, 8, 9, 11
USER, SUPERVISOR, MACHINE = 0, 1, 3
INTERRUPT = 1 << 63
NOP = word("addi", rd=0, rs1=0, imm=0)


@pytest.fixture
def hart(machine):
    machine.set(mtvec=M_VECTOR, stvec=S_VECTOR)
    machine.hart.pmpcfg[0], machine.hart.pmpaddr[0] = type(machine.hart.pmpcfg[0])(0x1F), u64(MASK >> 10)
    machine.hart.protect_ranges()
    for vector in (M_VECTOR, S_VECTOR):
        machine.program(*[NOP] * 16, at=vector)
    return machine


def enter(machine, mode):
    machine.hart.mode = u64(mode)
    machine.hart.settle()


@pytest.mark.parametrize("mode, cause", [(USER, CALL_U), (SUPERVISOR, CALL_S), (MACHINE, CALL_M)])
def test_ecall_goes_to_machine_mode_with_the_callers_mode(hart, mode, cause):
    enter(hart, mode)
    hart.step(word("ecall"))
    state = hart.hart
    assert (state.mcause, state.mepc, state.mtval) == (cause, CODE, 0)
    assert (state.pc, state.mode) == (M_VECTOR, MACHINE)
    assert int(state.mstatus & MPP) >> 11 == mode


def test_a_delegated_exception_goes_to_supervisor_mode_and_never_from_machine_mode(hart):
    hart.set(medeleg=1 << BREAKPOINT)
    enter(hart, USER)
    hart.step(word("ebreak"))
    assert (hart.hart.scause, hart.hart.sepc, hart.hart.stval) == (BREAKPOINT, CODE, CODE)
    assert hart.hart.pc == S_VECTOR
    assert hart.hart.mode == SUPERVISOR and hart.hart.mstatus & SPP == 0
    enter(hart, MACHINE)
    hart.step(word("ebreak"))
    assert (hart.hart.mcause, hart.hart.pc) == (BREAKPOINT, M_VECTOR)


def test_ecall_from_supervisor_mode_is_a_host_call_where_the_board_is_the_firmware(hart):
    hart.hart.start_supervisor(CODE, 0, 0x1234)
    hart.program(word("ecall"))
    assert hart.run(5) == HostCall() and hart.hart.pc == CODE + 4 and hart.x(11) == 0x1234


@pytest.mark.parametrize("bits", [
    0, 0xFFFF_FFFF, 0x4002, 0x6081, 0x0000_707F, word("csrrw", csr=0x7C0, rs1=1)])
def test_an_illegal_instruction_is_in_mtval(hart, bits):
    hart.memory.write(CODE, bits.to_bytes(4, "little"))
    hart.hart.pc = u64(CODE)
    hart.run(1)
    assert hart.hart.mcause == ILLEGAL and hart.hart.mtval == (bits if bits & 3 == 3 else bits & 0xFFFF)


def test_mret_restores_what_the_trap_saved(hart):
    hart.set(mstatus=MPIE | 1 << 11, mepc=CODE + 0x100)
    hart.step(word("mret"))
    state = hart.hart
    assert (state.pc, state.mode) == (CODE + 0x100, SUPERVISOR)
    assert state.mstatus & (MIE | MPIE | MPP) == MIE | MPIE


def test_sret_restores_what_the_trap_saved(hart):
    hart.set(mstatus=SPIE, sepc=CODE + 0x100)
    enter(hart, SUPERVISOR)
    hart.step(word("sret"))
    assert (hart.hart.pc, hart.hart.mode) == (CODE + 0x100, USER)
    assert hart.hart.mstatus & (SIE | SPIE | SPP) == SIE | SPIE


@pytest.mark.parametrize("name, bit", [("sret", TSR), ("wfi", TW), ("sfence.vma", TVM), ("sinval.vma", TVM)])
def test_what_machine_mode_may_forbid_to_supervisor_mode(hart, name, bit):
    enter(hart, SUPERVISOR)
    hart.set(mcause=99, mip=SSIP, mie=SSIP, mideleg=SSIP)
    hart.step(word(name))
    assert hart.hart.mcause == 99
    enter(hart, SUPERVISOR)
    hart.hart.mstatus = hart.hart.mstatus | bit
    hart.step(word(name))
    assert hart.hart.mcause == ILLEGAL


@pytest.mark.parametrize("name", ["mret", "sret", "wfi", "sfence.vma", "sfence.w.inval"])
def test_user_mode_has_no_privileged_instructions(hart, name):
    enter(hart, USER)
    hart.step(word(name))
    assert hart.hart.mcause == ILLEGAL


def test_an_interrupt_is_taken_when_its_bit_and_mie_are_set(hart):
    hart.set(mip=MTIP, mie=MTIP)
    hart.step(NOP)
    assert hart.hart.pc == CODE + 4
    hart.step(word("csrrsi", csr=0x300, uimm=MIE))
    assert (hart.hart.mcause, hart.hart.mepc, hart.hart.pc) == (INTERRUPT | 7, CODE + 4, M_VECTOR)


def test_interrupts_have_an_order(hart):
    hart.set(mip=0xAAA, mie=0xAAA, mstatus=MIE)
    order = []
    for _ in range(6):
        hart.hart.mode, hart.hart.mstatus = u64(MACHINE), u64(MIE)
        hart.step(NOP)
        cause = int(hart.hart.mcause) & 63
        order.append(cause)
        hart.hart.mip = hart.hart.mip & ~(u64(1) << cause)
    assert order == [11, 3, 7, 9, 1, 5]


def test_a_delegated_interrupt_waits_for_sie_in_supervisor_mode_but_not_in_user_mode(hart):
    hart.set(mip=SSIP, mie=SSIP, mideleg=SUPERVISOR_INTERRUPTS)
    enter(hart, SUPERVISOR)
    hart.step(NOP)
    assert hart.hart.pc == CODE + 4
    enter(hart, USER)
    hart.step(NOP)
    assert (hart.hart.scause, hart.hart.pc) == (INTERRUPT | 1, S_VECTOR + 4)


def test_vectored_interrupts_have_an_entry_each_and_exceptions_the_base(hart):
    hart.set(mtvec=M_VECTOR | 1, mip=MTIP, mie=MTIP, mstatus=MIE)
    hart.memory.write(M_VECTOR + 4 * 7, NOP.to_bytes(4, "little"))
    hart.run(1)
    assert hart.hart.pc == M_VECTOR + 4 * 7 + 4
    hart.set(mip=0)
    hart.step(word("ebreak"))
    assert hart.hart.pc == M_VECTOR


def test_wfi_halts_until_something_enabled_is_pending(hart):
    hart.program(word("wfi"), word("wfi"))
    hart.set(mie=SEIP)
    assert hart.run(10) == Halted() and hart.hart.pc == CODE + 4 and not hart.hart.wakes()
    hart.set(mip=SEIP)
    assert hart.hart.wakes() and hart.run(1) == Budget() and hart.hart.pc == CODE + 8


def test_the_timer_of_sstc_is_pending_from_its_time_on(hart):
    hart.set(menvcfg=STCE, stimecmp=3)
    hart.set(mie=STIP)
    hart.hart.ticks = u64(299)
    hart.step(NOP)
    assert not hart.hart.mip & STIP
    hart.hart.ticks = u64(300)
    hart.step(NOP)
    assert hart.hart.mip & STIP
    hart.set(x5=MASK).step(word("csrrw", csr=0x14D, rs1=5))  # it ends its run: the board must look at the new time
    hart.step(NOP)
    assert not hart.hart.mip & STIP


def test_seip_is_what_software_wrote_or_the_line(hart):
    hart.set(x5=SEIP, mip=SEIP)
    hart.step(word("csrrs", csr=0x344, rs1=0, rd=6))
    assert hart.x(6) == SEIP
    hart.step(word("csrrsi", csr=0x344, uimm=2, rd=6))
    assert hart.x(6) == SEIP | 0 and hart.hart.seip == 0, "the line's bit does not become software's"
    hart.step(word("csrrs", csr=0x344, rs1=5, rd=6))
    hart.set(mip=0)
    hart.step(word("csrrs", csr=0x344, rs1=0, rd=6))
    assert hart.x(6) == SEIP
