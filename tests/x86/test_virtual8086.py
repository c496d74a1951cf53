"""VME and PVI: what IOPL below 3 lets a program do (SDM 3B, 21.2 to 21.4)."""

from __future__ import annotations

from typing import Any

import pytest

from guesthouse.bits import u8, u64
from tests.x86.system_machine import CODE, TSS
from tests.x86.test_modes import STACK_TOP, VM, Legacy

IF, VIF, VIP, IOPL_3, TF = 0x200, 0x8_0000, 0x10_0000, 0x3000, 0x100
VME, PVI = 1, 2
BITMAP = 0x88  # of I/O permissions; that of redirection lies in the 32 bytes before


@pytest.fixture
def m() -> Any:
    """Virtual-8086 code at 1000:0 with VME, all interrupts redirected to its own vectors."""
    m = Legacy()
    virtual(m, 0)
    return m


def virtual(m: Any, flags: int, cr4: int = VME) -> None:
    cpu = m.cpu
    cpu.cr4, cpu.flags = u64(cr4), u64(VM | flags)
    for n in range(6):
        cpu.segments[n].selector = 0x1000 if n == 1 else type(cpu.segments[n].selector)(0x2000)
    cpu.segments[1].selector = type(cpu.segments[1].selector)(0x1000)
    cpu.r[4] = u64(STACK_TOP - 0x20000)
    m.put(TSS + 102, BITMAP, 2)
    cpu.tr.limit = type(cpu.tr.limit)(0x200)
    cpu.enter_virtual()


def test_cli_and_sti_act_on_vif(m: Any) -> None:
    assert int(m.run("fb").flags) & (VIF | IF) == VIF and m.vector is None
    assert int(m.run("fa").flags) & (VIF | IF) == 0 and m.vector is None


def test_sti_with_an_interrupt_waiting_is_for_the_monitor(m: Any) -> None:
    virtual(m, VIP)
    m.run("fb")
    assert m.vector == 13


def test_pushf_shows_vif_as_if_and_an_iopl_of_3(m: Any) -> None:
    virtual(m, VIF)
    m.run("9c")
    assert m.get(STACK_TOP - 2, 2) == IF | IOPL_3 | 2
    m.run("66 9c")  # PUSHFD
    assert m.vector == 13


@pytest.mark.parametrize("image, flags, faults", [(IF, 0, False), (IF, VIP, True), (0, VIP, False), (TF, 0, True)])
def test_popf_and_iret_set_vif_unless_an_interrupt_waits(m: Any, image: int, flags: int, faults: bool) -> None:
    for code, at in (("9d", 0), ("cf", 4)):
        virtual(m, flags | IF)
        m.memory.write(STACK_TOP, bytes.fromhex("3412 0010 0000"))
        m.put(STACK_TOP + at, image, 2)
        cpu = m.run(code)
        assert (m.vector == 13) == faults
        if not faults:
            assert int(cpu.flags) & (VIF | IF | IOPL_3) == IF | (VIF if image & IF else 0)
            assert int(cpu.pc) == (CODE + 1 if at == 0 else 0x11234)


@pytest.mark.parametrize("iopl, cleared", [(0, VIF), (IOPL_3, IF)])
def test_int_goes_to_the_programs_own_vector_if_its_bit_is_clear(m: Any, iopl: int, cleared: int) -> None:
    virtual(m, iopl | IF | VIF)
    m.put(0x21 * 4, 0x1000_0100, 4)
    cpu = m.run("cd 21")
    assert cpu.pc == 0x10100 and cpu.flags & VM and int(cpu.flags) & (IF | VIF) == (IF | VIF) & ~cleared
    assert m.get(STACK_TOP - 2, 2) == IF | IOPL_3 | 2 and m.get(STACK_TOP - 6, 2) == 2


def test_int_goes_to_the_monitor_if_its_bit_is_set(m: Any) -> None:
    m.put(TSS + BITMAP - 32 + 4, 2, 1)
    for iopl, vector in ((0, 13), (IOPL_3, 0x21)):
        virtual(m, iopl)
        m.run("cd 21")
        assert m.vector == vector and int(m.cpu.flags) & VM == 0


def test_pvi_gives_protected_programs_vif_too() -> None:
    m = Legacy()
    for cr4, vector in ((PVI, None), (VME, 13)):
        m.cpu.cr4 = u64(cr4)
        m.user(flags=0)
        m.run("fb")
        assert m.vector == vector
        m.cpu.cpl = u8(0)
        m.enter()
