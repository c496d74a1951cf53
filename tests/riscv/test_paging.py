"""Translation, permissions, A and D bits, large pages, and physical memory protection."""

import pytest

from guesthouse.bits import u8, u64
from guesthouse.system.cpu.riscv.causes import MPRV, MXR, SUM
from guesthouse.system.cpu.riscv.csr import write_satp
from tests.riscv.machine import CODE, DATA, MASK, RAM, word

ROOT, POOL = RAM + 0x10_000, RAM + 0x20_000
V, R, W, X, U, G, A, D = (1 << n for n in range(8))
USER, SUPERVISOR, MACHINE = 0, 1, 3
LOAD_ACCESS, STORE_ACCESS, FETCH_PAGE, LOAD_PAGE, STORE_PAGE = 5, 7, 12, 13, 15
VA = 0x4000_0000
LD, SD = word("ld", rd=6, rs1=5, imm=0), word("sd", rs2=7, rs1=5, imm=0)
LEVELS = {8: 3, 9: 4}


class Tables:
    """Page tables in RAM; the code page is mapped where it is."""

    def __init__(self, machine, scheme, mode):
        self.machine, self.levels, self.next = machine, LEVELS[scheme], POOL
        hart = machine.hart
        hart.pmpcfg[0], hart.pmpaddr[0] = u8(0x1F), u64(MASK >> 10)
        hart.protect_ranges()
        machine.set(satp=scheme << 60 | ROOT >> 12, mtvec=RAM + 0x1000)
        self.map(CODE, CODE, V | R | X | A | (U if mode == USER else 0))
        self.enter(mode)

    def enter(self, mode):
        self.machine.hart.mode = u64(mode)
        self.machine.hart.settle()
        self.machine.hart.forget_translations()

    def map(self, va, to, flags, level=0):
        """Returns where the leaf is."""
        table = ROOT
        for n in reversed(range(level + 1, self.levels)):
            at = table + (va >> 12 + 9 * n & 511) * 8
            entry = self.machine.load(at)
            if not entry:
                entry = self.next >> 12 << 10 | V
                self.next += 0x1000
                self.machine.store(at, entry)
            table = entry >> 10 << 12
        at = table + (va >> 12 + 9 * level & 511) * 8
        self.machine.store(at, to >> 12 << 10 | flags)
        return at

    def access(self, instruction, va, mode=None):
        """The cause of the fault that an access gives, or None."""
        self.machine.set(x5=va, mcause=99)
        self.machine.step(instruction)
        cause, failed = int(self.machine.hart.mcause), int(self.machine.hart.mtval)
        if cause == 99:
            return None
        assert failed == va and self.machine.hart.mepc == CODE
        self.enter(int(self.machine.hart.mstatus) >> 11 & 3)
        return cause


@pytest.fixture(params=[8, 9], ids=["sv39", "sv48"])
def tables(request, machine):
    return Tables(machine, request.param, SUPERVISOR)


def test_a_page_is_read_and_written_where_its_entry_says(tables):
    tables.map(VA, DATA, V | R | W)
    tables.machine.store(DATA + 8, 77)
    assert tables.access(LD, VA + 8) is None and tables.machine.x(6) == 77
    tables.machine.set(x7=88)
    assert tables.access(SD, VA + 8) is None and tables.machine.load(DATA + 8) == 88


def test_hardware_sets_a_on_access_and_d_on_store(tables):
    leaf = tables.map(VA, DATA, V | R | W)
    tables.access(LD, VA)
    assert tables.machine.load(leaf) & 0xFF == V | R | W | A
    tables.access(SD, VA)
    assert tables.machine.load(leaf) & 0xFF == V | R | W | A | D


@pytest.mark.parametrize("flags, load, store", [
    (V | R, None, STORE_PAGE), (V | R | W, None, None), (V | X, LOAD_PAGE, STORE_PAGE),
    (V | W, LOAD_PAGE, STORE_PAGE), (R | W, LOAD_PAGE, STORE_PAGE), (V, LOAD_PAGE, STORE_PAGE),
    (V | R | W | U, LOAD_PAGE, STORE_PAGE),
    (V | R | W | 1 << 54, LOAD_PAGE, STORE_PAGE), (V | R | W | 1 << 61, LOAD_PAGE, STORE_PAGE)])
def test_an_entry_grants_what_its_bits_say(tables, flags, load, store):
    tables.map(VA, DATA, flags)
    assert tables.access(LD, VA) == load
    assert tables.access(SD, VA) == store


def test_sum_lets_supervisor_mode_touch_user_pages_and_mxr_read_code(tables):
    tables.map(VA, DATA, V | R | W | U)
    tables.machine.set(x8=SUM)
    assert tables.access(LD, VA) == LOAD_PAGE
    tables.machine.step(word("csrrs", csr=0x100, rs1=8))
    assert tables.access(LD, VA) is None
    tables.machine.step(word("csrrc", csr=0x100, rs1=8))
    assert tables.access(LD, VA) == LOAD_PAGE
    tables.map(VA + 0x1000, DATA, V | X)
    tables.machine.set(x8=MXR)
    assert tables.access(LD, VA + 0x1000) == LOAD_PAGE
    tables.machine.step(word("csrrs", csr=0x100, rs1=8))
    assert tables.access(LD, VA + 0x1000) is None


def test_supervisor_mode_never_executes_user_pages(tables):
    tables.map(VA, DATA, V | R | X | U)
    tables.machine.set(x5=VA, mstatus=SUM)
    tables.machine.step(word("jalr", rd=0, rs1=5))
    tables.machine.run(1)
    hart = tables.machine.hart
    assert (hart.mcause, hart.mtval, hart.mepc) == (FETCH_PAGE, VA, VA)


def test_user_mode_sees_only_user_pages(machine):
    tables = Tables(machine, 8, USER)
    tables.map(VA, DATA, V | R | W)
    tables.map(VA + 0x1000, DATA, V | R | W | U)
    assert tables.access(LD, VA) == LOAD_PAGE
    assert tables.access(LD, VA + 0x1000) is None


def test_an_address_that_is_not_sign_extended_faults(tables):
    assert tables.access(LD, 1 << 12 + 9 * tables.levels - 1) == LOAD_PAGE
    assert tables.access(SD, 1 << 60) == STORE_PAGE


def test_a_large_page_must_be_aligned(tables):
    tables.map(VA, RAM, V | R, level=1)
    tables.machine.store(RAM + 0x12348, 5)
    assert tables.access(LD, VA + 0x12348) is None and tables.machine.x(6) == 5
    tables.map(VA + 0x20_0000, RAM + 0x1000, V | R, level=1)
    assert tables.access(LD, VA + 0x20_0000) == LOAD_PAGE


def test_sfence_of_one_address_forgets_all_of_a_large_page(tables):
    leaf = tables.map(VA, RAM, V | R, level=1)
    assert tables.access(LD, VA + 0x5000) is None
    tables.machine.store(leaf, 0)
    tables.machine.set(x5=VA + 0x1000)
    tables.machine.step(word("sfence.vma", rs1=5))
    assert tables.access(LD, VA + 0x5000) == LOAD_PAGE


def test_sfence_of_one_address_forgets_a_page(tables):
    leaf = tables.map(VA, DATA, V | R)
    assert tables.access(LD, VA) is None
    tables.machine.store(leaf, 0)
    tables.machine.step(word("sfence.vma", rs1=5))
    assert tables.access(LD, VA) == LOAD_PAGE


def change_asid(hart, asid):
    write_satp(hart, u64(int(hart.satp) & ~(0xFFFF << 44) | asid << 44))
    assert hart.satp >> 44 & 0xFFFF == asid


def test_translations_of_programs_are_kept_for_their_asid(machine):
    tables = Tables(machine, 8, USER)
    leaf = tables.map(VA, DATA, V | R | U)
    change_asid(machine.hart, 1)
    assert tables.access(LD, VA) is None
    tables.machine.store(leaf, 0)
    change_asid(machine.hart, 2)
    change_asid(machine.hart, 1)
    assert tables.access(LD, VA) is None
    machine.hart.forget_space(u64(2))
    assert tables.access(LD, VA) is None
    machine.hart.forget_space(u64(1))
    assert tables.access(LD, VA) == LOAD_PAGE


@pytest.mark.parametrize("rights, kept", [(V | R, False), (V | R | G, True)])
def test_translations_of_the_system_are_kept_if_they_are_global(machine, rights, kept):
    tables = Tables(machine, 8, SUPERVISOR)
    leaf = tables.map(VA, DATA, rights)
    assert tables.access(LD, VA) is None
    tables.machine.store(leaf, 0)
    change_asid(machine.hart, 1)
    machine.set(x8=1)
    machine.step(word("sfence.vma", rs1=0, rs2=8))
    assert (tables.access(LD, VA) is None) == kept
    machine.step(word("sfence.vma", rs1=0, rs2=0))
    assert tables.access(LD, VA) == LOAD_PAGE


def test_a_napot_entry_is_sixteen_pages(tables):
    napot = 1 << 63 | V | R
    for n in range(16):
        tables.map(VA + n * 0x1000, DATA + 0x8000, napot)
    tables.machine.store(DATA + 0x5010, 9)
    assert tables.access(LD, VA + 0x5010) is None and tables.machine.x(6) == 9
    tables.map(VA + 0x10000, DATA + 0x4000, napot)
    assert tables.access(LD, VA + 0x10000) == LOAD_PAGE


def test_a_store_over_two_pages_changes_both_or_none(tables):
    tables.map(VA, DATA, V | R | W)
    tables.machine.set(x5=VA + 0xFFC, x7=MASK)
    tables.machine.step(SD)
    assert (tables.machine.hart.mcause, tables.machine.hart.mtval) == (STORE_PAGE, VA + 0x1000)
    assert tables.machine.load(DATA + 0xFF8) == 0


def test_an_instruction_over_two_pages_faults_at_the_second(tables):
    tables.map(VA, DATA, V | R | X)
    tables.machine.memory.write(DATA + 0xFFE, b"\x13\0")
    tables.machine.set(x5=VA + 0xFFE)
    tables.machine.step(word("jalr", rd=0, rs1=5))
    tables.machine.run(1)
    state = tables.machine.hart
    assert (state.mcause, state.mtval, state.mepc) == (FETCH_PAGE, VA + 0x1000, VA + 0xFFE)


def test_mprv_lets_machine_mode_load_as_another(tables):
    tables.map(VA, DATA, V | R)
    tables.machine.store(DATA, 3)
    tables.enter(MACHINE)
    tables.machine.set(mstatus=MPRV | SUPERVISOR << 11)
    tables.machine.hart.settle()
    assert tables.access(LD, VA) is None and tables.machine.x(6) == 3
    tables.machine.set(x8=MPRV)
    tables.machine.step(word("csrrc", csr=0x300, rs1=8))
    tables.machine.set(x5=DATA)
    tables.machine.store(DATA, 4)
    assert tables.access(LD, DATA) is None and tables.machine.x(6) == 4


def protect(machine, *entries):
    """(cfg, address >> 2) of each entry."""
    for n, (_, address) in enumerate(entries):
        machine.set(x9=address)
        machine.step(word("csrrw", csr=0x3B0 + n, rs1=9))
    machine.set(x9=sum(config << 8 * n for n, (config, _) in enumerate(entries)))
    machine.step(word("csrrw", csr=0x3A0, rs1=9))


def napot(start, size):
    return start >> 2 | (size >> 3) - 1


def cause_of(machine, instruction, va, mode):
    machine.hart.mode = u64(mode)
    machine.hart.settle()
    machine.set(x5=va, mcause=99, mtvec=RAM + 0x1000)
    machine.step(instruction)
    cause = int(machine.hart.mcause)
    machine.hart.mode = u64(MACHINE)
    machine.hart.settle()
    return None if cause == 99 else cause


def test_without_an_entry_only_machine_mode_has_access(machine):
    protect(machine, (0x1C, napot(CODE, 0x1000)))
    assert cause_of(machine, LD, DATA, SUPERVISOR) == LOAD_ACCESS
    assert cause_of(machine, LD, DATA, MACHINE) is None


def test_the_lowest_entry_that_covers_an_address_decides(machine):
    protect(machine, (0x19, napot(DATA, 0x1000)), (0x1F, MASK >> 10))
    assert cause_of(machine, SD, DATA + 8, SUPERVISOR) == STORE_ACCESS
    assert cause_of(machine, LD, DATA + 8, SUPERVISOR) is None
    assert cause_of(machine, SD, DATA + 0x1000, SUPERVISOR) is None
    assert cause_of(machine, SD, DATA + 8, MACHINE) is None


def test_a_locked_entry_binds_machine_mode_and_cannot_be_changed(machine):
    protect(machine, (0x99, napot(DATA, 0x1000)), (0x1F, MASK >> 10))
    assert cause_of(machine, SD, DATA + 8, MACHINE) == STORE_ACCESS
    protect(machine, (0x1F, napot(DATA, 0x2000)))
    assert cause_of(machine, SD, DATA + 8, MACHINE) == STORE_ACCESS


def test_top_of_range_begins_where_the_entry_below_ends(machine):
    protect(machine, (0, DATA >> 2), (0x0B, DATA + 0x2000 >> 2), (0x1C, napot(CODE, 0x1000)))
    assert cause_of(machine, SD, DATA + 0x1FF8, SUPERVISOR) is None
    assert cause_of(machine, SD, DATA + 0x2000, SUPERVISOR) == STORE_ACCESS
    assert cause_of(machine, LD, DATA - 8, SUPERVISOR) == LOAD_ACCESS


def test_an_address_beyond_physical_memory_space_is_an_access_fault(machine):
    assert cause_of(machine, LD, 1 << 56, MACHINE) == LOAD_ACCESS
