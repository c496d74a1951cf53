"""Real mode, protected mode with rings and tasks, virtual-8086 mode: single steps by hand (SDM 3A, 5 to 7 and 20)."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.build import Engine
from guesthouse.system.cpu.x86 import entry
from tests.suites.real_mode import RealMode
from tests.x86.system_machine import CODE, GDT, HANDLERS, HANDLER_STEP, IDT, TSS, Machine

VM, NT, IOPL_3 = 0x2_0000, 0x4000, 0x3000
STACK_TOP = 0x24000
# Selectors of the legacy GDT.
CODE_32, DATA_32, CODE_16, DATA_16, USER_CODE, USER_DATA, TASK, OTHER_TASK, GATE, SMALL, DOWN, TASK_GATE, READ = (
    8 * n for n in range(1, 14))
INNER_STACK = 0x28000


def descriptor(base: int, limit: int, access: int) -> int:
    """`access` as Segment.access has it."""
    return (limit & 0xFFFF | (base & 0xFF_FFFF) << 16 | (access & 0xFF) << 40 | (limit >> 16 & 15) << 48
            | (access >> 12 & 15) << 52 | (base >> 24 & 0xFF) << 56)


class Legacy(Machine):
    """In 32-bit flat code at CPL 0, without paging."""

    def enter(self) -> None:
        cpu = self.cpu
        table = [
            0, descriptor(0, 0xFFFFF, 0xC09B), descriptor(0, 0xFFFFF, 0xC093), descriptor(0, 0xFFFF, 0x009B),
            descriptor(0, 0xFFFF, 0x0093), descriptor(0, 0xFFFFF, 0xC0FB), descriptor(0, 0xFFFFF, 0xC0F3),
            descriptor(TSS, 0x67, 0x008B), descriptor(TSS + 0x200, 0x67, 0x0089),
            0x14000 & 0xFFFF | CODE_32 << 16 | 2 << 32 | 0xEC << 40 | (0x14000 >> 16) << 48,
            descriptor(0x30000, 0xFF, 0x4093), descriptor(0x30000, 0xFF, 0x4097),
            OTHER_TASK << 16 | 0xE5 << 40, descriptor(0, 0xFFFFF, 0xC091),
        ]
        for n, value in enumerate(table):
            self.put(GDT + 8 * n, value)
        for vector in range(256):
            target = HANDLERS + HANDLER_STEP * vector
            self.put(IDT + 8 * vector, target & 0xFFFF | CODE_32 << 16 | 0xEE << 40 | target >> 16 << 48)
        cpu.cr0, cpu.cr4, cpu.efer, cpu.flags = u64(0x11), u64(0), u64(0), u64(0)
        cpu.gdtr.base, cpu.gdtr.limit = u64(GDT), u32(0xFF)
        cpu.idtr.base, cpu.idtr.limit = u64(IDT), u32(0x7FF)
        self.put(TSS + 4, INNER_STACK | DATA_32 << 32)
        for n in range(6):
            self.segment(cpu.segments[n], DATA_32, 0xC093)
        self.segment(cpu.segments[1], CODE_32, 0xC09B)
        self.segment(cpu.tr, TASK, 0x8B)
        cpu.tr.base, cpu.tr.limit = u64(TSS), u32(0x67)
        cpu.r[4] = u64(STACK_TOP)
        cpu.cpl = u8(0)
        cpu.settle_mode()

    def user(self, code: int = 0, flags: int = 0x202) -> None:
        cpu = self.cpu
        self.segment(cpu.segments[1], USER_CODE | 3, 0xC0FB)
        for n in (0, 2, 3, 4, 5):
            self.segment(cpu.segments[n], USER_DATA | 3, 0xC0F3)
        cpu.cpl, cpu.flags = u8(3), u64(flags & ~2)
        cpu.settle_mode()

    def words(self, count: int, size: int = 4) -> list[int]:
        top = int(self.cpu.r[4])
        return [self.get(top + size * n, size) for n in range(count)]


class Real(Machine):
    """After RESET#, with the stack at 2000:4000 and code at 1000:0."""

    def enter(self) -> None:
        entry.reset(self.cpu)
        for n, selector in ((1, 0x1000), (2, 0x2000), (3, 0x3000), (0, 0x3000)):
            self.cpu.take_real_segment(u64(n), u64(selector))
        self.cpu.r[4] = u64(0x4000)
        self.cpu.settle_mode()


@pytest.fixture
def legacy() -> Any:
    return Legacy()


@pytest.fixture
def real() -> Any:
    return Real()


def test_in_real_mode_int_goes_through_the_vector_table_and_iret_comes_back(real: Any) -> None:
    real.put(0x21 * 4, 0x1000_0100, 4)
    cpu = real.run("CD 21")
    assert (cpu.pc, cpu.r[4], cpu.segments[1].selector) == (0x10100, 0x3FFA, 0x1000)
    assert real.get(0x23FFA, 2) == 2
    assert real.run("CF", at=0x10100).pc == 0x10002 and cpu.r[4] == 0x4000


def test_in_real_mode_a_fault_pushes_no_error_code_and_its_own_address(real: Any) -> None:
    real.put(13 * 4, 0x1000_0200, 4)
    cpu = real.run("66 67 A1 00 00 01 00")  # MOV EAX, [10000h]: beyond the limit
    assert (cpu.pc, cpu.r[4], real.get(0x23FFA, 2)) == (0x10200, 0x3FFA, 0)


def test_a_new_processor_may_begin_at_address_0(machine_code: Engine) -> None:
    """As SIPI with vector 0 has it."""
    ours = RealMode(machine_code)
    ours.memory.write(0, bytes.fromhex("40 eb fd"))  # inc ax; jmp 0
    ours.cpu.pc = u64(0)
    ours.vcpu.run(1000)
    assert int(ours.cpu.r[0]) == 500
    ours.close()


def test_the_limit_stays_when_protected_mode_has_set_it(real: Any) -> None:
    real.cpu.segments[3].limit = u32(0xFFFF_FFFF)
    real.put(0x40010, 0x1234, 2)
    cpu = real.run("67 A1 10 00 01 00")  # DS is 3000h
    assert cpu.get(u16, 0) == 0x1234
    real.run("8E D8")
    assert cpu.segments[3].limit == 0xFFFF_FFFF


def test_addresses_of_16_bits_wrap(real: Any) -> None:
    real.put(0x30000 + 0x0010, 0x77, 1)
    real.cpu.r[3], real.cpu.r[6] = u64(0xFFF0), u64(0x20)
    assert real.run("8A 00").get(u8, 0) == 0x77


@pytest.mark.parametrize("code, offset, vector", [
    ("C4 07", 0xFFFE, None), ("C4 07", 0xFFFD, 13), ("66 C4 07", 0xFFFC, None), ("66 C4 07", 0xFFFE, 13),
    ("67 C4 03", 0xFFFE, 13), ("62 07", 0xFFFE, None), ("0F 01 07", 0xFFFE, None), ("0F 01 07", 0xFFFF, 13),
])
def test_an_operand_of_two_parts_wraps_between_them(real: Any, code: str, offset: int, vector: int | None) -> None:
    """As seen on the host's processor, in segments of 64 KiB."""
    real.put(13 * 4, 0x1000_4000 + 16 * 13, 4)  # where Machine.vector looks
    real.memory.write(0x40000 - 4, bytes.fromhex("00 00 00 80 11 22 33 44"))
    real.memory.write(0x30000, bytes.fromhex("55 66"))
    real.cpu.r[0], real.cpu.r[3] = u64(0), u64(offset)
    cpu = real.run(code)
    assert real.vector == vector
    if vector is None and code.endswith("C4 07"):
        wide = code.startswith("66")
        assert (cpu.r[0], cpu.segments[0].selector) == (0x80000000 if wide else 0x8000, 0x6655)
    if vector is None and code.startswith("0F"):
        assert real.memory.read(0x3FFFE, 2) == b"\xff\xff" and real.memory.read(0x30000, 4) == bytes(4)


@pytest.mark.parametrize("code", ["8E 0F", "8E 37", "8C 37", "C7 3F 00 00", "8F 0F", "FF 3F"])
def test_what_is_no_instruction_is_so_before_its_operand_is_looked_at(real: Any, code: str) -> None:
    real.put(6 * 4, 0x1000_4000 + 16 * 6, 4)
    real.cpu.r[3] = u64(0xFFFF)
    real.run(code)
    assert real.vector == 6


def test_the_way_into_protected_mode_and_back(real: Any) -> None:
    for n, value in enumerate((0, descriptor(0, 0xFFFFF, 0xC09B), descriptor(0, 0xFFFFF, 0xC093))):
        real.put(GDT + 8 * n, value)
    real.memory.write(0x30000, struct.pack("<HI", 0x17, GDT))
    cpu = real.run("0F 01 16 00 00 0F 20 C0 0C 01 0F 22 C0 66 EA 00 50 01 00 08 00", 5)
    assert (cpu.pc, cpu.code_bits, cpu.segments[1].selector) == (0x15000, 32, 8)
    cpu = real.run("66 B8 10 00 8E D8 8E C0 8E D0", 4, at=0x15000)
    assert cpu.flat == 1 and cpu.stack_bits == 32


def test_a_segment_keeps_what_lies_beyond_its_limit(legacy: Any) -> None:
    cpu = legacy.cpu
    for selector, offset, fine in ((SMALL, 0xFC, True), (SMALL, 0xFD, False), (DOWN, 0x100, True), (DOWN, 0xFF, False)):
        cpu.r[0], cpu.r[3], cpu.r[4] = u64(selector), u64(offset), u64(STACK_TOP)
        legacy.run("8E D8 8B 0B", 2)
        assert (legacy.vector is None) == fine
        assert fine or (legacy.vector, legacy.words(2)) == (13, [0, CODE + 2])


def test_what_may_not_be_written_or_is_null_faults(legacy: Any) -> None:
    cpu = legacy.cpu
    for selector, code, vector in (
        (READ, "8B 0B", None), (READ, "89 0B", 13), (READ, "01 0B", 13), (READ, "39 0B", None), (0, "8B 0B", 13),
        (CODE_32, "8B 0B", None), (CODE_32, "88 0B", 13), (READ, "A5", None),
    ):
        cpu.r[0], cpu.r[3], cpu.r[6], cpu.r[7] = u64(selector), u64(0x30000), u64(0x30000), u64(0x30100)
        legacy.run("8E D8" + code, 2)
        assert legacy.vector == vector, code


def test_a_gate_calls_an_inner_level_with_parameters(legacy: Any) -> None:
    legacy.user()
    legacy.put(STACK_TOP, 0x22222222_11111111)
    cpu = legacy.run(f"9A 00 00 00 00 {GATE | 3:02X} 00")
    assert (cpu.pc, cpu.cpl, cpu.r[4]) == (0x14000, 0, INNER_STACK - 24)
    assert legacy.words(6) == [CODE + 7, USER_CODE | 3, 0x11111111, 0x22222222, STACK_TOP, USER_DATA | 3]
    cpu = legacy.run("CA 08 00", at=0x14000)
    assert (cpu.pc, cpu.cpl, cpu.r[4]) == (CODE + 7, 3, STACK_TOP + 8)


def test_a_gate_of_16_bits_pushes_words(legacy: Any) -> None:
    legacy.put(IDT + 8 * 0x40, 0x5000 | CODE_16 << 16 | 0x86 << 40)
    cpu = legacy.run("CD 40")
    assert (cpu.pc, cpu.code_bits, cpu.r[4]) == (0x5000, 16, STACK_TOP - 6)
    assert legacy.words(3, 2) == [CODE + 2 & 0xFFFF, CODE_32, 2]


def prepare_task(legacy: Any, flags: int = 2, code: int = CODE_32, data: int = DATA_32) -> None:
    """A TSS to switch to, at 12000h with ESP 26000h."""
    at = TSS + 0x200
    legacy.memory.write(at, struct.pack("<26I", *([0] * 8), 0x12000, flags, 7, 0, 0, 0, 0x26000, 0, 0, 0, data, code,
                                        data, data, data, data, 0, 0x680000))


@pytest.mark.parametrize("code", [f"9A 00 00 00 00 {OTHER_TASK:02X} 00", f"9A 00 00 00 00 {TASK_GATE:02X} 00"])
def test_a_call_switches_tasks_and_iret_comes_back(legacy: Any, code: str) -> None:
    prepare_task(legacy)
    cpu = legacy.run(code)
    assert (cpu.pc, cpu.r[4], cpu.r[0], cpu.tr.selector) == (0x12000, 0x26000, 7, OTHER_TASK)
    assert cpu.flags & NT and cpu.cr0 & 8 and legacy.get(TSS + 0x200, 2) == TASK
    assert legacy.get(GDT + OTHER_TASK + 5, 1) == legacy.get(GDT + TASK + 5, 1) == 0x8B
    cpu = legacy.run("CF", at=0x12000)
    assert (cpu.pc, cpu.r[4], cpu.tr.selector) == (CODE + 7, STACK_TOP, TASK)
    assert not cpu.flags & NT and legacy.get(GDT + OTHER_TASK + 5, 1) == 0x89


def test_a_jump_to_a_task_frees_the_old_one(legacy: Any) -> None:
    prepare_task(legacy)
    cpu = legacy.run(f"EA 00 00 00 00 {OTHER_TASK:02X} 00")
    assert cpu.pc == 0x12000 and not cpu.flags & NT and legacy.get(GDT + TASK + 5, 1) == 0x89


def test_a_fault_through_a_task_gate_has_its_code_on_the_stack_of_the_task(legacy: Any) -> None:
    prepare_task(legacy)
    legacy.put(IDT + 8 * 13, OTHER_TASK << 16 | 0x85 << 40)
    legacy.cpu.r[0] = u64(0x7FF8)
    cpu = legacy.run("8E D8")
    assert (cpu.pc, legacy.words(1), legacy.get(TSS + 0x20, 4)) == (0x12000, [0x7FF8], CODE)


def test_a_bad_segment_faults_in_the_new_task(legacy: Any) -> None:
    prepare_task(legacy, data=USER_CODE)
    legacy.run(f"EA 00 00 00 00 {OTHER_TASK:02X} 00")
    assert legacy.cpu.tr.selector == OTHER_TASK and legacy.vector in (10, 8, None)


def virtual(legacy: Any, iopl: int = 0) -> Any:
    """To virtual-8086 mode by IRET, at 1000:0010 with the stack 2000:4000."""
    frame = (0x10, 0x1000, VM | 0x202 | iopl, 0x4000, 0x2000, 0x3000, 0x3001, 0x3002, 0x3003)
    legacy.memory.write(STACK_TOP, struct.pack("<9I", *frame))
    return legacy.run("CF")


def test_iret_enters_virtual_8086_mode_and_an_interrupt_leaves_it(legacy: Any) -> None:
    cpu = virtual(legacy)
    assert (cpu.pc, cpu.cpl, cpu.code_bits, cpu.r[4]) == (0x10010, 3, 16, 0x4000)
    assert [int(cpu.segments[n].base) for n in range(6)] == [0x30000, 0x10000, 0x20000, 0x30010, 0x30020, 0x30030]
    cpu = legacy.run("CC", at=0x10010)
    assert (legacy.vector, cpu.cpl, cpu.r[4]) == (3, 0, INNER_STACK - 36)
    assert legacy.words(9) == [0x11, 0x1000, VM | 0x202, 0x4000, 0x2000, 0x3000, 0x3001, 0x3002, 0x3003]
    assert all(cpu.segments[n].selector == 0 for n in (0, 3, 4, 5)) and not cpu.flags & VM
    assert legacy.run("CF", at=0x14030).pc == 0x10011


@pytest.mark.parametrize("code", ["FA", "FB", "9C", "9D", "CD 21", "CF", "F4"])
def test_sensitive_instructions_fault_in_virtual_8086_mode(legacy: Any, code: str) -> None:
    virtual(legacy)
    legacy.run(code, at=0x10010)
    assert (legacy.vector, legacy.words(2)) == (13, [0, 0x10])


def test_with_iopl_3_they_do_not(legacy: Any) -> None:
    cpu = virtual(legacy, IOPL_3)
    assert legacy.run("FA", at=0x10010).pc == 0x10011 and not cpu.flags & 0x200
    legacy.run("9C", at=0x10011)
    assert legacy.get(0x23FFE, 2) == 0x3002
    legacy.run("0F 00 C0", at=0x10012)
    assert legacy.vector == 6


def test_a_pushed_selector_leaves_the_upper_half_of_its_slot_alone(legacy: Any) -> None:
    legacy.put(STACK_TOP - 4, 0xDEAD_BEEF, 4)
    assert legacy.run("1E").r[4] == STACK_TOP - 4 and legacy.words(1) == [0xDEAD_0000 | DATA_32]


def test_pop_ss_moves_the_pointer_as_wide_as_the_old_stack_was(legacy: Any) -> None:
    cpu = legacy.cpu
    cpu.r[0], cpu.r[4] = u64(DATA_16), u64(0x2FFFC)
    legacy.put(0xFFFC, DATA_32, 4)
    legacy.run("8E D0 17", 2)
    assert (cpu.r[4], cpu.stack_bits, cpu.segments[2].selector) == (0x20000, 32, DATA_32)
