"""Control registers, model-specific registers, SYSCALL, CPUID and time, after SDM 2, 3A and 4."""

from __future__ import annotations

import pytest

from guesthouse.bits import u32, u64
from guesthouse.engine.cpu import HALTED, REGISTER_READ, REGISTER_WRITE
from guesthouse.system.cpu.x86 import entry
from guesthouse.system.cpu.x86.cpuid import LEAVES
from tests.x86.system_machine import (
    CODE, CODE_0, CODE_0_32, DATA_0, GDT, HANDLERS, IDT, KERNEL_CODE, STACK, TABLES, Machine,
)

CS, SS, FS, GS = 1, 2, 4, 5
IF, TF, AC = 0x200, 0x100, 1 << 18
STAR, LSTAR, FMASK = 0xC000_0081, 0xC000_0082, 0xC000_0084


@pytest.fixture
def m() -> Machine:
    return Machine()


def wrmsr(m: Machine, number: int, value: int) -> None:
    m.cpu.r[0], m.cpu.r[1], m.cpu.r[2] = u64(value & 0xFFFF_FFFF), u64(number), u64(value >> 32)
    m.run("0f30")


def rdmsr(m: Machine, number: int) -> int:
    m.cpu.r[1] = u64(number)
    m.run("0f32")
    return int(m.cpu.r[0]) | int(m.cpu.r[2]) << 32


def refused(m: Machine, code: str) -> bool:
    """Whether it gives #GP(0)."""
    m.run(code)
    return m.vector == 13 and m.frame(code=True)[0] == 0


# SYSCALL and its kin.


@pytest.fixture
def calls(m: Machine) -> Machine:
    wrmsr(m, STAR, 0x0013_0008 << 32)
    wrmsr(m, LSTAR, HANDLERS + 8)
    wrmsr(m, FMASK, IF | TF | AC)
    m.user(flags=IF | AC | 3)
    return m


def test_syscall_enters_the_kernel(calls: Machine) -> None:
    cpu = calls.run("0f05")
    assert (int(cpu.pc), int(cpu.cpl), int(cpu.r[1]), int(cpu.r[11])) == (HANDLERS + 8, 0, CODE + 2, IF | AC | 3)
    assert int(cpu.rflags()) == 3
    assert [int(cpu.segments[n].selector) for n in (CS, SS)] == [8, 16]
    assert int(cpu.r[4]) == STACK + 0x4000, "the stack is the program's own"


def test_sysret_goes_back_with_its_flags(calls: Machine) -> None:
    calls.run("0f05")
    cpu = calls.run("480f07", at=HANDLERS)
    assert (int(cpu.pc), int(cpu.cpl), int(cpu.rflags()), int(cpu.code_bits)) == (CODE + 2, 3, IF | AC | 3, 64)
    assert [int(cpu.segments[n].selector) for n in (CS, SS)] == [0x23, 0x1B]


def test_sysret_without_rex_goes_to_compatibility_mode(calls: Machine) -> None:
    calls.run("0f05")
    cpu = calls.run("0f07", at=HANDLERS)
    assert int(cpu.code_bits) == 32 and int(cpu.segments[CS].selector) == 0x13


def test_sysret_is_for_the_kernel_and_canonical_addresses(calls: Machine) -> None:
    assert refused(calls, "480f07")
    calls.cpu.r[1] = u64(1 << 47)
    assert refused(calls, "480f07")


def test_syscall_needs_efer(m: Machine) -> None:
    m.cpu.efer = m.cpu.efer & ~u64(1)
    m.run("0f05")
    assert m.vector == 6


def test_sysenter_and_sysexit(m: Machine) -> None:
    for number, value in ((0x174, 8), (0x175, STACK), (0x176, HANDLERS + 8)):
        wrmsr(m, number, value)
    m.user()
    cpu = m.run("0f34")
    assert (int(cpu.pc), int(cpu.r[4]), int(cpu.cpl), int(cpu.flags) & IF) == (HANDLERS + 8, STACK, 0, 0)
    cpu.r[1], cpu.r[2] = u64(0x1234), u64(CODE)
    m.run("480f35", at=HANDLERS)
    assert (int(cpu.pc), int(cpu.r[4]), int(cpu.cpl), int(cpu.segments[CS].selector)) == (CODE, 0x1234, 3, 8 + 32 | 3)


def test_swapgs_exchanges_bases(m: Machine) -> None:
    wrmsr(m, 0xC000_0101, 0x1111)
    wrmsr(m, 0xC000_0102, 0xFFFF_8000_0000_0000)
    m.run("0f01f8")
    assert (rdmsr(m, 0xC000_0101), rdmsr(m, 0xC000_0102)) == (0xFFFF_8000_0000_0000, 0x1111)
    m.user()
    assert refused(m, "0f01f8")


def test_fsgsbase(m: Machine) -> None:
    m.cpu.r[0] = u64(0x1234_5678_9ABC)
    m.run("f3480faed0")
    assert m.vector == 6
    m.cpu.cr4 = m.cpu.cr4 | 1 << 16
    m.run("f3480faed0f3480faec3", count=2)  # wrfsbase rax; rdfsbase rbx
    assert int(m.cpu.r[3]) == 0x1234_5678_9ABC
    m.cpu.r[0] = u64(1 << 50)
    assert refused(m, "f3480faed8")


# Control registers.


@pytest.mark.parametrize("code, value", [
    ("0f22c0", 0x1_8000_0033), ("0f22c0", 0x8000_0030), ("0f22c0", 0xA000_0033), ("0f22c0", 0x33),
    ("0f22d8", 1 << 52), ("0f22d8", 1 << 63), ("0f22e0", 0x600), ("0f22e0", 0x620 | 1 << 13), ("440f22c0", 16),
])
def test_values_that_control_registers_refuse(m: Machine, code: str, value: int) -> None:
    m.cpu.r[0] = u64(value)
    assert refused(m, code)


def test_pcid_can_be_set_with_a_clean_cr3_and_allows_bit_63(m: Machine) -> None:
    m.cpu.r[0] = u64(0x620 | 1 << 17)
    m.run("0f22e0")
    m.cpu.r[0] = u64(TABLES | 5 | 1 << 63)
    m.run("0f22d8")
    assert m.vector is None and int(m.cpu.cr3) == TABLES | 5
    m.cpu.r[0] = u64(0x620)
    m.run("0f22e0")
    assert m.vector is None


def test_missing_control_and_debug_registers(m: Machine) -> None:
    for code in ("0f20c8", "0f22e8", "440f20c8"):
        m.run(code)
        assert m.vector == 6


def test_cr8_is_the_boards(m: Machine) -> None:
    m.cpu.r[0] = u64(5)
    cpu = m.run("440f22c0")
    assert (int(cpu.exit), int(cpu.exit_address), int(cpu.exit_value)) == (REGISTER_WRITE, 1 << 32 | 8, 5)


def test_clts_smsw_and_lmsw(m: Machine) -> None:
    m.cpu.r[0] = u64(0xE)
    m.run("0f01f0")  # lmsw ax
    assert int(m.cpu.cr0) & 0xF == 0xF, "PE stays"
    m.run("0f060f01e3", count=2)
    assert int(m.cpu.r[3]) & 0xF == 7


def test_debug_registers(m: Machine) -> None:
    m.cpu.r[0] = u64(0x1234)
    m.run("0f23c00f23f80f21fb", count=3)  # mov dr0, rax; mov dr7, rax; mov rbx, dr7
    assert int(m.cpu.dr[0]) == 0x1234 and int(m.cpu.r[3]) == 0x634
    m.cpu.dr[7] = u64(0x2400)
    m.run("0f21c3")
    assert m.vector == 1 and int(m.cpu.dr[6]) >> 13 & 1


@pytest.mark.parametrize("code", [
    "f4", "0f06", "0f0138", "0f09", "0f22d8", "0f20d8", "0f21c0", "0f30", "0f32", "0f01f0",
])
def test_what_only_the_kernel_may_do(m: Machine, code: str) -> None:
    m.cpu.r[0] = u64(STACK)
    m.user()
    assert refused(m, code)


@pytest.mark.parametrize("code", ["0f01ca", "0f01cb", "0f01c8", "0f01c9", "0faa", "0f01c1", "0f01d9"])
def test_what_is_undefined_here(m: Machine, code: str) -> None:
    m.user()
    m.run(code)
    assert m.vector == 6


def test_cli_and_sti_need_io_privilege(m: Machine) -> None:
    m.user(flags=0)
    assert refused(m, "fa")
    m.user(flags=0x3000)
    m.run("fb")
    assert int(m.cpu.flags) & IF


def test_hlt_comes_back_behind_itself(m: Machine) -> None:
    assert int(m.run("f4").exit) == HALTED and int(m.cpu.pc) == CODE + 1


def test_stac_lets_the_kernel_read_user_pages(m: Machine) -> None:
    """The page is in the address cache for either set of rights at the same time."""
    m.cpu.r[3] = u64(0x60000)
    for page in (CODE, STACK, STACK + 0x3000, HANDLERS, GDT, IDT):
        m.map(page, page | 3)
    m.cpu.cr4 = m.cpu.cr4 | 1 << 21
    m.cpu.forget_translations()
    m.run("0f01cb8b030f01ca8b03", count=3)  # stac; mov eax, [rbx]; clac; mov eax, [rbx]
    assert m.vector is None
    m.run()
    assert m.vector == 14 and m.frame(code=True)[:2] == [1, CODE + 8]


# Model-specific registers.


def test_registers_of_the_board_leave_and_are_run_again(m: Machine) -> None:
    m.cpu.r[1] = u64(0x1B)
    cpu = m.run("0f32")
    assert (int(cpu.exit), int(cpu.exit_address), int(cpu.pc)) == (REGISTER_READ, 0x1B, CODE)
    cpu.replies[0], cpu.replies_known = u64(0x12_FEE0_0900), u64(1)
    m.run()
    assert (int(cpu.r[0]), int(cpu.r[2])) == (0xFEE0_0900, 0x12)


def test_a_register_that_the_board_refuses_gives_gp(m: Machine) -> None:
    m.cpu.r[1] = u64(0x1234)
    m.run("0f30")
    m.cpu.replies_known, m.cpu.register_refused = u64(1), u64(1)
    m.run()
    assert m.vector == 13 and not int(m.cpu.register_refused)


@pytest.mark.parametrize("number, value", [
    (0xC000_0080, 0x902), (0xC000_0080, 0x401), (LSTAR, 1 << 47), (0xC000_0100, 1 << 63), (0x277, 2), (0x277, 8),
    (0xC000_0103, 1 << 32), (0x251, 0), (0x2FF, 1 << 12),
])
def test_values_that_registers_refuse(m: Machine, number: int, value: int) -> None:
    wrmsr(m, number, value)
    assert m.vector == 13


@pytest.mark.parametrize("number, value", [
    (0x277, 0x0007_0106_0007_0406), (0x250, 0x0606_0606_0606_0606), (0x258, 1), (0x259, 4), (0x268, 5), (0x26F, 4),
    (0x200, 6), (0x20F, 0x800), (0x2FF, 0xC06), (0xC000_0103, 7), (0x1A0, 1), (0xC000_0083, 0x1000),
])
def test_registers_keep_what_is_written(m: Machine, number: int, value: int) -> None:
    wrmsr(m, number, value)
    assert m.vector is None and rdmsr(m, number) == value


def test_the_tsc_counts_nanoseconds_and_can_be_moved(m: Machine) -> None:
    m.cpu.ticks = u64(1000)
    m.run("0f31")
    assert int(m.cpu.r[0]) == 1000
    wrmsr(m, 0x10, 5_000_000_000)
    m.run("0f31")
    assert int(m.cpu.r[2]) << 32 | int(m.cpu.r[0]) == 5_000_000_000
    assert rdmsr(m, 0x3B) == 5_000_000_000 - 1000
    m.cpu.cr4 = m.cpu.cr4 | 4
    m.user()
    assert refused(m, "0f31")


# CPUID and the rest.


def cpuid(m: Machine, leaf: int, subleaf: int = 0) -> tuple[int, ...]:
    m.cpu.r[0], m.cpu.r[1] = u64(leaf), u64(subleaf)
    m.run("0fa2")
    return tuple(int(m.cpu.r[n]) for n in (0, 3, 1, 2))


def test_cpuid_tells_its_table(m: Machine) -> None:
    for (leaf, subleaf), values in LEAVES.items():
        if leaf not in (1, 0xB):
            assert cpuid(m, leaf, subleaf) == values
    assert cpuid(m, 0x8000_0009) == cpuid(m, 0x17) == cpuid(m, 4, 9) == (0, 0, 0, 0)
    assert cpuid(m, 2, 55) == LEAVES[2, 0], "a subleaf counts only where there are several"


def test_cpuid_follows_osxsave_and_knows_its_number(m: Machine) -> None:
    m.cpu.apic_id, m.cpu.processors = u64(2), u64(4)
    assert cpuid(m, 1)[1] >> 24 == 2 and not cpuid(m, 1)[2] >> 27 & 1
    m.cpu.cr4 = m.cpu.cr4 | 1 << 18
    assert cpuid(m, 1)[2] >> 27 & 1 and cpuid(m, 1)[3] >> 28 & 1
    assert cpuid(m, 0xB, 1) == (2, 4, 0x201, 2)
    assert cpuid(m, 0xB) == (0, 1, 0x100, 2) and cpuid(m, 0xB, 2) == (0, 0, 2, 2)


def test_the_brand_is_spelled_in_three_leaves(m: Machine) -> None:
    entry.introduce(m.cpu, 0, 1, "A brand", b"")
    text = b"".join(v.to_bytes(4, "little") for n in range(3) for v in cpuid(m, 0x8000_0002 + n))
    assert text.rstrip(b"\0") == b"A brand"


def test_xsetbv(m: Machine) -> None:
    m.cpu.r[0], m.cpu.r[1], m.cpu.r[2] = u64(3), u64(0), u64(0)
    m.run("0f01d1")
    assert m.vector == 6
    m.cpu.cr4 = m.cpu.cr4 | 1 << 18
    m.run("0f01d10f01d0", count=2)
    assert int(m.cpu.xcr0) == 3 and m.vector is None
    for value in (2, 7, 0):
        m.cpu.r[0] = u64(value)
        assert refused(m, "0f01d1")


def test_random_numbers_differ_and_set_carry(m: Machine) -> None:
    seen = set()
    for _ in range(8):
        m.run("480fc7f0")
        seen.add(int(m.cpu.r[0]))
        assert int(m.cpu.rflags()) & 0x8D5 == 1
    assert len(seen) == 8


# The way into long mode.


def protected(m: Machine) -> None:
    """32-bit protected mode without paging, with flat segments and legacy tables."""
    cpu = m.cpu
    m.put(GDT + 8, CODE_0_32)
    m.put(GDT + 16, DATA_0)
    for vector in range(32):
        target = HANDLERS + 16 * vector
        m.put(IDT + 8 * vector, target & 0xFFFF | KERNEL_CODE << 16 | 0x8E00 << 32 | target >> 16 << 48)
    cpu.cr0, cpu.cr4, cpu.efer = u64(0x33), u64(0), u64(0)
    cpu.idtr.limit = u32(0xFF)
    m.segment(cpu.segments[CS], KERNEL_CODE, 0xC09B)
    cpu.settle_mode()
    cpu.forget_translations()


def test_protected_mode_delivers_through_gates_of_8_bytes(m: Machine) -> None:
    protected(m)
    m.run("0f0b")
    assert m.vector == 6
    top = int(m.cpu.r[4])
    assert [m.get(top + 4 * n, 4) for n in range(3)] == [CODE, KERNEL_CODE, 0x10002]
    m.run("cf", at=int(m.cpu.pc))
    assert int(m.cpu.pc) == CODE and int(m.cpu.r[4]) == top + 12


def test_a_kernel_switches_to_long_mode(m: Machine) -> None:
    protected(m)
    m.put(GDT + 24, CODE_0)
    code = (
        "b820000000" "0f22e0"        # mov eax, 20h; mov cr4, eax
        "b8004000000f22d8"           # mov eax, 4000h; mov cr3, eax
        "b9800000c0" "0f32" "0d00010000" "0f30"  # rdmsr; or eax, 100h; wrmsr: EFER.LME
        "0f20c0" "0d00000080" "0f22c0"  # mov eax, cr0; or eax, 80000000h; mov cr0, eax
        "ea000201001800"             # jmp 18h:10200h
    )
    m.run(code, count=12)
    assert (int(m.cpu.pc), int(m.cpu.code_bits), int(m.cpu.efer) & 0x500) == (0x10200, 64, 0x500)
    m.tables()
    m.cpu.r[0] = u64(0x33)
    assert refused(m, "0f22c0"), "paging cannot be left from 64-bit code"


# What systems read and write without asking CPUID (held.py).


@pytest.mark.parametrize("number, value", [
    (0x17, 0), (0x3A, 1), (0xCD, 5), (0x11E, 0xBE70_2111), (0x179, 5), (0x198, 10 << 40 | 10 << 8),
    (0x19C, 0x8028_0000), (0x1D9, 0), (0xFE, 0x508),
])
def test_what_a_processor_of_this_model_has_can_be_read(m: Machine, number: int, value: int) -> None:
    m.cpu.r[1] = u64(number)
    assert rdmsr(m, number) == value and m.vector is None


@pytest.mark.parametrize("number, value, kept", [
    (0x79, 0x1234, 0), (0x2A, 0x1234, 0x1234), (0x186, 0x43_0000, 0), (0x199, 0x800, 0x800), (0x400, ~0, (1 << 64) - 1),
    (0x401, 0, 0), (0x413, 0, 0), (0x402, 1 << 63, 1 << 63), (0x201, 0xF_FFF0_0800, 0xF_FFF0_0800),
    (0x250, 0x0606_0606_0605_0400, 0x0606_0606_0605_0400),
])
def test_what_is_written_is_kept_or_lost(m: Machine, number: int, value: int, kept: int) -> None:
    wrmsr(m, number, value & (1 << 64) - 1)
    assert m.vector is None and rdmsr(m, number) == kept


@pytest.mark.parametrize("number, value", [
    (0x401, 1), (0x400, 1), (0x200, 2), (0x200, 0x106), (0x200, 1 << 60), (0x201, 1), (0x250, 0x0300), (0x2FF, 7),
    (0x2FF, 0x1000),
])
def test_what_makes_no_sense_is_refused(m: Machine, number: int, value: int) -> None:
    wrmsr(m, number, value)
    assert m.vector == 13
