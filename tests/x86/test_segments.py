"""Segment registers, descriptor tables and far transfers, after SDM 3A, chapter 5, and 2A to 2C."""

from __future__ import annotations

import struct

import pytest

from guesthouse.bits import u16, u64
from tests.x86.system_machine import (
    CODE, DATA_3, GDT, HANDLERS, KERNEL_CODE, KERNEL_DATA, STACK, STACK_0, TSS, TSS_SELECTOR, USER_CODE,
    USER_DATA, Machine, gate,
)

ES, CS, SS, DS, FS, GS = range(6)
FREE = 0x40  # a place in the GDT for a descriptor or a gate of 16 bytes
ZF = 0x40


@pytest.fixture
def m() -> Machine:
    return Machine()


def descriptor(access: int, base: int = 0, limit: int = 0xFFFFF, flags: int = 0xC) -> int:
    low = limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | access << 40
    return low | (limit >> 16 & 15 | flags << 4) << 48 | (base >> 24) << 56


def fault(m: Machine) -> tuple[int | None, int]:
    return m.vector, m.frame(code=True)[0]


def test_a_segment_register_takes_what_its_descriptor_says(m: Machine) -> None:
    m.put(GDT + FREE, descriptor(0x92, base=0x1234_5678, limit=0x54321))
    m.cpu.r[0] = u64(FREE)
    m.run("8ee0")  # mov fs, eax
    fs = m.cpu.segments[FS]
    assert (int(fs.base), int(fs.limit), int(fs.access), int(fs.selector)) == (0x1234_5678, 0x5432_1FFF, 0xC093, FREE)
    assert m.get(GDT + FREE + 5, 1) == 0x93, "the accessed bit is set in the table"


@pytest.mark.parametrize("selector, vector, code", [
    (0x100, 13, 0x100), (0x104, 13, 0x104), (TSS_SELECTOR, 13, TSS_SELECTOR), (FREE + 1, 13, FREE),
    (FREE + 8, 11, FREE + 8),
])
def test_data_segments_are_checked(m: Machine, selector: int, vector: int, code: int) -> None:
    m.put(GDT + FREE, descriptor(0x92))
    m.put(GDT + FREE + 8, descriptor(0x12))
    if selector == FREE + 1:
        m.user()
    m.cpu.r[0] = u64(selector)
    m.run("8ed8")
    assert fault(m) == (vector, code) and int(m.cpu.segments[DS].selector) == KERNEL_DATA


@pytest.mark.parametrize("access, vector", [(0x9A, 13), (0x90, 13), (0xF2, 13), (0x12, 12)])
def test_the_stack_segment_is_checked(m: Machine, access: int, vector: int) -> None:
    m.put(GDT + FREE, descriptor(access))
    m.cpu.r[0] = u64(FREE)
    m.run("8ed0")
    assert fault(m) == (vector, FREE)


def test_null_is_no_stack_in_user_mode(m: Machine) -> None:
    m.cpu.r[0] = u64(0)
    m.run("8ed0")
    assert m.vector is None and int(m.cpu.segments[SS].selector) == 0
    m.user()
    m.run("8ed0")
    assert fault(m) == (13, 0)


def test_cs_and_what_is_no_segment_cannot_be_moved_to(m: Machine) -> None:
    for code in ("8ec8", "8ef0", "8cf0"):
        m.run(code)
        assert m.vector == 6


def test_pop_leaves_the_stack_alone_when_the_selector_is_refused(m: Machine) -> None:
    m.put(STACK, 0x100)
    m.cpu.r[4] = u64(STACK)
    m.run("0fa1")
    assert fault(m) == (13, 0x100) and m.frame(code=True)[4] == STACK


def test_tables_are_loaded_and_stored(m: Machine) -> None:
    m.memory.write(STACK, struct.pack("<HQ", 0x57, GDT))
    m.cpu.r[3] = u64(STACK)
    m.run("0f01130f014310", count=2)  # lgdt [rbx]; sgdt [rbx + 16]
    assert m.memory.read(STACK + 16, 10) == struct.pack("<HQ", 0x57, GDT)
    m.user()
    m.run("0f011b")
    assert fault(m) == (13, 0)


def test_ltr_takes_16_bytes_and_makes_the_segment_busy(m: Machine) -> None:
    m.cpu.tr.selector = u16(0)
    m.cpu.r[0] = u64(TSS_SELECTOR)
    m.run("0f00d80f00c9", count=2)  # ltr eax; str ecx
    assert int(m.cpu.tr.base) == TSS and int(m.cpu.r[1]) == TSS_SELECTOR
    assert m.get(GDT + TSS_SELECTOR + 5, 1) == 0x8B
    m.run("0f00d8")
    assert fault(m) == (13, TSS_SELECTOR), "it is busy now"


def test_lldt_and_a_segment_from_the_local_table(m: Machine) -> None:
    m.put(TSS + 0x808, DATA_3)
    m.cpu.r[0], m.cpu.r[1] = u64(FREE), u64(12)
    m.run("0f00d08ee9", count=2)  # lldt eax; mov gs, ecx
    assert int(m.cpu.ldtr.base) == TSS + 0x800 and int(m.cpu.segments[GS].selector) == 12
    m.cpu.r[1] = u64(0x14)
    m.run("8ee9")
    assert fault(m) == (13, 0x14)


@pytest.mark.parametrize("selector, rights, limit", [
    (KERNEL_CODE, 0xA09B00, 0xFFFF_FFFF), (USER_DATA, 0xC0F300, 0xFFFF_FFFF), (TSS_SELECTOR, 0x8900, 0x67),
    (0, None, None), (0x100, None, None),
])
def test_lar_and_lsl(m: Machine, selector: int, rights: int | None, limit: int | None) -> None:
    m.cpu.r[0] = u64(selector)
    for code, wanted in (("0f02d8", rights), ("0f03d8", limit)):
        m.cpu.r[3] = u64(77)
        m.run(code)
        assert bool(int(m.cpu.rflags()) & ZF) == (wanted is not None)
        assert int(m.cpu.r[3]) == (77 if wanted is None else wanted)


def test_verr_and_verw(m: Machine) -> None:
    for selector, readable, writable in ((KERNEL_CODE, True, False), (USER_DATA, True, True), (0, False, False)):
        m.cpu.r[0] = u64(selector)
        m.run("0f00e0")
        assert bool(int(m.cpu.rflags()) & ZF) == readable
        m.run("0f00e8")
        assert bool(int(m.cpu.rflags()) & ZF) == writable


# Far transfers.


def far_pointer(m: Machine, selector: int, offset: int) -> None:
    m.memory.write(STACK, struct.pack("<QH", offset, selector))
    m.cpu.r[3] = u64(STACK)


def test_a_far_jump_enters_compatibility_mode_and_one_comes_back(m: Machine) -> None:
    m.memory.write(STACK, struct.pack("<IH", CODE + 0x100, 0x50))
    m.cpu.r[3] = u64(STACK)
    m.run("ff2b")  # jmp far dword [rbx]
    assert int(m.cpu.code_bits) == 32 and int(m.cpu.pc) == CODE + 0x100
    m.run("ea000201000800", at=CODE + 0x100)
    assert int(m.cpu.code_bits) == 64 and int(m.cpu.pc) == CODE + 0x200


@pytest.mark.parametrize("selector, vector, code", [
    (0, 13, 0), (KERNEL_DATA, 13, KERNEL_DATA), (USER_CODE, 13, USER_CODE),
])
def test_far_jumps_are_checked(m: Machine, selector: int, vector: int, code: int) -> None:
    far_pointer(m, selector, CODE)
    m.run("48ff2b")
    assert fault(m) == (vector, code)


def test_a_far_call_and_return(m: Machine) -> None:
    far_pointer(m, KERNEL_CODE, CODE + 0x300)
    m.run("48ff1b")  # call far qword [rbx]
    assert int(m.cpu.pc) == CODE + 0x300
    assert (m.get(STACK + 0x3FF0), m.get(STACK + 0x3FF8)) == (CODE + 3, KERNEL_CODE)
    m.run("48cb", at=CODE + 0x300)
    assert int(m.cpu.pc) == CODE + 3 and int(m.cpu.r[4]) == STACK + 0x4000


def test_a_far_return_to_user_mode_drops_what_it_may_not_have(m: Machine) -> None:
    for n, value in enumerate((CODE + 0x100, USER_CODE | 3, 0x5555, USER_DATA | 3)):
        m.put(STACK + 8 * n, value)
    m.cpu.r[4] = u64(STACK)
    m.run("48cb")
    assert (int(m.cpu.cpl), int(m.cpu.r[4]), int(m.cpu.pc)) == (3, 0x5555, CODE + 0x100)
    assert int(m.cpu.segments[DS].selector) == 0


def call_gate(m: Machine, dpl: int = 3) -> None:
    m.memory.write(GDT + FREE, gate(HANDLERS, kind=12, dpl=dpl))


def test_a_call_gate_leads_to_an_inner_level_on_its_stack(m: Machine) -> None:
    call_gate(m)
    far_pointer(m, FREE | 3, 0x999)
    m.user()
    m.run("48ff1b")
    assert (int(m.cpu.cpl), int(m.cpu.pc), int(m.cpu.r[4])) == (0, HANDLERS, STACK_0 - 32)
    assert m.frame()[:4] == [CODE + 3, USER_CODE | 3, STACK + 0x4000, USER_DATA | 3]
    m.run("48cb", at=HANDLERS)
    assert (int(m.cpu.cpl), int(m.cpu.pc), int(m.cpu.r[4])) == (3, CODE + 3, STACK + 0x4000)


def test_a_call_gate_has_a_privilege_of_its_own(m: Machine) -> None:
    call_gate(m, dpl=0)
    far_pointer(m, FREE | 3, 0)
    m.user()
    m.run("48ff1b")
    assert fault(m) == (13, FREE)


def test_a_jump_through_a_gate_stays_at_its_level(m: Machine) -> None:
    call_gate(m)
    far_pointer(m, FREE, 0)
    m.run("48ff2b")
    assert int(m.cpu.pc) == HANDLERS and int(m.cpu.r[4]) == STACK + 0x4000
    m.user()
    m.run("48ff2b")
    assert fault(m) == (13, KERNEL_CODE)
