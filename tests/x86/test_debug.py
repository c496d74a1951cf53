"""Breakpoints, single steps and their order, after SDM 3B, chapter 18; kvm-unit-tests' debug.flat goes further."""

from __future__ import annotations

import pytest

from guesthouse.bits import u8, u32, u64
from tests.x86.system_machine import CODE, HANDLERS, KERNEL_DATA, STACK, TSS, Machine
from tests.x86.test_modes import OTHER_TASK, Legacy

TF, RF = 0x100, 0x10000
BD, BS, BT, NONE_MET = 1 << 13, 1 << 14, 1 << 15, 0xFFFF_0FF0
DATA, CR4_DE = STACK + 0x800, 8
LBR, BTF = 1, 2  # IA32_DEBUGCTL
EXECUTE, WRITE, PORT, ACCESS = range(4)


@pytest.fixture
def m() -> Machine:
    return Machine()


def arm(m: Machine, n: int, address: int, kind: int, size: int = 1, local: bool = True) -> None:
    lengths = {1: 0, 2: 1, 8: 2, 4: 3}
    m.cpu.dr[n] = u64(address)
    enable = 1 << 2 * n if local else 2 << 2 * n
    m.cpu.set_dr7(m.cpu.dr[7] | enable | (kind | lengths[size] << 2) << 16 + 4 * n)


def met(m: Machine) -> int:
    """What DR6 says, beyond its fixed bits; the processor stands before the handler of #DB."""
    assert m.vector == 1
    return int(m.cpu.dr[6]) ^ NONE_MET


def test_a_breakpoint_is_met_before_its_instruction_runs_and_rf_goes_past_it(m: Machine) -> None:
    arm(m, 0, CODE + 1, EXECUTE)
    m.run("90 ffc0 90", 1)  # nop; inc eax; nop
    assert met(m) == 1 and m.frame()[0] == CODE + 1 and m.frame()[2] & RF == 0
    m.put(int(m.cpu.r[4]) + 16, m.frame()[2] | RF)
    cpu = m.run("48cf", 2, at=HANDLERS + 16)  # iretq; then the instruction
    assert cpu.pc == CODE + 3 and cpu.r[0] == 1 and cpu.flags & RF == 0


def test_without_rf_it_is_met_again(m: Machine) -> None:
    arm(m, 2, CODE, EXECUTE, local=False)
    m.run("90", 0)
    assert met(m) == 4 and m.frame()[0] == CODE
    m.run("48cf", 1, at=HANDLERS + 16)
    assert met(m) == 4


@pytest.mark.parametrize("code, bits", [
    ("c604250008020001", 1), ("8a042500080200", 0), ("c604250108020001", 0)])
def test_a_write_breakpoint_is_a_trap_after_a_write_to_its_bytes_and_no_other(m: Machine, code: str, bits: int) -> None:
    arm(m, 0, DATA, WRITE)
    m.run(code)
    if bits:
        assert met(m) == bits and m.frame()[0] == CODE + 8 and m.get(DATA, 1) == 1
    else:
        assert m.vector is None


def test_an_access_breakpoint_sees_reads_and_any_overlap(m: Machine) -> None:
    arm(m, 3, DATA + 4, ACCESS, 4)
    m.run("488b042500080200")  # mov rax, [DATA]: eight bytes
    assert met(m) == 8


def test_all_conditions_that_hold_are_told_if_one_of_them_is_enabled(m: Machine) -> None:
    arm(m, 0, DATA, WRITE)
    m.cpu.dr[1] = u64(DATA)
    m.cpu.set_dr7(m.cpu.dr[7] | WRITE << 20)
    m.run("c604250008020001")
    assert met(m) == 3


def test_a_port_breakpoint_needs_cr4_de(m: Machine) -> None:
    arm(m, 1, 0x80, PORT)
    for cr4, bits in ((0, 0), (CR4_DE, 2)):
        m.cpu.cr4 = m.cpu.cr4 & ~u64(CR4_DE) | cr4
        m.run("e680")  # out 80h, al: asks the board, then is run again
        m.cpu.replies_known = u64(1)
        m.run("", 1)
        assert (m.vector == 1) == bool(bits)
    assert met(m) == 2


def test_general_detect_is_a_fault_that_clears_itself(m: Machine) -> None:
    m.cpu.set_dr7(u64(1 << 13))
    m.run("0f21f0")  # mov rax, dr6
    assert met(m) == BD and m.frame()[0] == CODE and int(m.cpu.dr[7]) == 0x400


def test_each_step_of_a_repetition_traps(m: Machine) -> None:
    m.cpu.r[1], m.cpu.r[7] = u64(3), u64(DATA)
    m.cpu.flags = u64(TF)
    m.cpu.settle_mode()
    m.run("f3aa 90", 0)
    m.cpu.stepping = u64(1)
    m.run("", 1)
    assert met(m) == BS and m.frame()[0] == CODE and int(m.cpu.r[1]) == 2


def test_popf_that_clears_tf_is_still_followed_by_a_trap(m: Machine) -> None:
    m.cpu.flags, m.cpu.stepping = u64(TF), u64(1)
    m.cpu.settle_mode()
    m.put(STACK + 0x4000, 2)
    m.run("9d 90")
    assert met(m) == BS and m.frame()[0] == CODE + 1


def test_mov_ss_holds_a_trap_back_until_after_the_next_instruction(m: Machine) -> None:
    arm(m, 0, DATA, ACCESS, 2)
    m.put(DATA, KERNEL_DATA, 2)
    cpu = m.run("8e142500080200 90 90", 1)  # mov ss, [DATA]
    assert m.vector is None
    m.run("", 1)
    assert met(m) == 1 and m.frame()[0] == CODE + 8 and cpu.segments[2].selector == KERNEL_DATA


def test_a_fault_forgets_what_its_instruction_had_met(m: Machine) -> None:
    arm(m, 0, DATA, ACCESS)
    m.map(0x90000, 0)
    m.cpu.r[6], m.cpu.r[7] = u64(DATA), u64(0x90000)
    m.run("a4", 1)
    assert m.vector == 14


def test_a_switch_to_a_task_with_the_t_bit_traps_and_clears_local_breakpoints() -> None:
    m = Legacy()
    other = TSS + 0x200
    for at, value in ((0x20, CODE + 0x100), (0x24, 2), (0x38, STACK), (0x4C, 8), (0x64, 1)):
        m.put(other + at, value, 4)
    for at in (0x48, 0x50, 0x54):
        m.put(other + at, 0x10, 4)
    arm(m, 0, 0x1234, WRITE)
    m.run(f"ea 00000000 {OTHER_TASK:02x}00")
    assert met(m) == BT and int(m.cpu.dr[7]) & 0xFF == 0 and m.words(1)[0] == CODE + 0x100


def branches_watched(m: Machine, debugctl: int, flags: int = 0) -> None:
    m.cpu.flags = u64(flags)
    m.cpu.set_model_specific(u64(0x1D9), u64(debugctl), u64(0))
    m.run("", 0)
    m.cpu.stepping, m.cpu.recording = u64(flags >> 8 & 1), u64(debugctl & LBR)


def recorded(m: Machine) -> list[tuple[int, int]]:
    """The last branches, the newest first."""
    def register(n: int) -> int:
        return int(m.cpu.model_specific(u64(n), u64(0)))

    top = register(0x1C9)
    pairs = [(register(0x40 + (top - n & 7)), register(0x60 + (top - n & 7))) for n in range(8)]
    return [pair for pair in pairs if pair != (0, 0)]


def test_btf_steps_from_branch_to_branch_and_is_cleared_by_the_trap(m: Machine) -> None:
    branches_watched(m, BTF, TF)
    m.cpu.set_zero(u8(0))
    cpu = m.run("90 7502 eb02 90 90 ffc0", 2)  # nop; jnz, which goes over the jump: ZF is clear
    assert met(m) == BS and m.frame()[0] == CODE + 5 and int(cpu.model_specific(u64(0x1D9), u64(0))) == 0


def test_btf_lets_repetitions_and_branches_not_taken_pass(m: Machine) -> None:
    branches_watched(m, BTF, TF | 0x40)
    m.cpu.set_zero(u8(1))
    m.cpu.r[1], m.cpu.r[7] = u64(3), u64(DATA)
    m.run("f3aa 7502 90 eb10", 2)
    for _ in range(4):
        if m.vector is None:
            m.run("", 1)
    assert met(m) == BS and m.frame()[0] == CODE + 0x17 and int(m.cpu.r[1]) == 0


def test_branches_calls_and_returns_are_recorded_while_lbr_is_set(m: Machine) -> None:
    branches_watched(m, LBR)
    m.run("e802000000 eb10 90 c3", 5)  # call over the jump to nop; ret; the jump; and one more
    assert recorded(m)[:3] == [(CODE + 5, CODE + 0x17), (CODE + 8, CODE + 5), (CODE, CODE + 7)]


def test_the_eight_last_branches_are_kept(m: Machine) -> None:
    branches_watched(m, LBR)
    m.run("ebfe", 11)
    assert recorded(m) == [(CODE, CODE)] * 8


def test_an_exception_is_recorded_and_the_branch_before_it_kept_apart(m: Machine) -> None:
    branches_watched(m, LBR)
    cpu = m.run("eb02 9090 0f0b", 2)
    assert m.vector == 6 and recorded(m)[:2] == [(CODE + 4, HANDLERS + 6 * 16), (CODE, CODE + 4)]
    assert [int(cpu.model_specific(u64(n), u64(0))) for n in (0x1DD, 0x1DE)] == [CODE, CODE + 4]


def test_an_interrupt_is_recorded_with_the_instruction_that_it_kept_waiting(m: Machine) -> None:
    branches_watched(m, LBR)
    m.run("9090", 1)
    m.cpu.inject(u64(0x40))
    m.run("ebfe", 1, at=HANDLERS + 0x400)
    assert recorded(m)[:2] == [(HANDLERS + 0x400,) * 2, (CODE + 1, HANDLERS + 0x400)]


def test_a_debug_exception_ends_the_recording_unrecorded(m: Machine) -> None:
    arm(m, 0, CODE + 4, EXECUTE)
    branches_watched(m, LBR)
    cpu = m.run("eb02 9090 90", 1)
    assert met(m) == 1 and recorded(m) == [(CODE, CODE + 4)]
    assert int(cpu.model_specific(u64(0x1D9), u64(0))) == 0


def test_a_stack_that_is_not_canonical_is_a_stack_fault(m: Machine) -> None:
    for code, register, vector in (("50", 4, 12), ("ff30", 0, 13), ("8b4500", 5, 12), ("c9", 5, 12), ("a4", 7, 13)):
        m.enter()
        m.cpu.flags = u64(0)
        m.cpu.r[5], m.cpu.r[register] = u64(0), u64(0x8000_0000_0000_1000)
        if register == 4:
            m.put(TSS + 36, 0x2C000)
            m.memory.write(0x2000 + 16 * 12 + 4, b"\x01")  # the handlers of #SS and #GP get a stack from the IST
        m.run(code)
        assert m.vector == vector, code


def test_code_beyond_its_segment_cannot_be_reached() -> None:
    m = Legacy()
    m.cpu.segments[1].limit = u32(CODE + 15)
    m.cpu.settle_mode()
    m.cpu.r[1] = u64(5)
    m.run("e2 0f")  # loop beyond: nothing has changed
    assert m.vector == 13 and int(m.cpu.r[1]) == 5 and m.words(2) == [0, CODE]
    m.enter()
    m.cpu.segments[1].limit = u32(CODE + 2)
    m.cpu.settle_mode()
    m.run("90 b8 01000000", 2)  # the second instruction ends beyond
    assert m.vector == 13 and m.words(2) == [0, CODE + 1]
