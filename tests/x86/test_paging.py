"""The page walk, against unicorn for what is allowed and against SDM 3A, 4.7 for the error code."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from guesthouse.bits import u8, u64
from guesthouse.engine.cpu import BANKS, EXECUTE, FAULT, LISTED, READ, TLB_SIZE, WRITE
from guesthouse.system.cpu.x86.system_state import (
    CR0_WP, CR4_PCIDE, CR4_PGE, CR4_SMAP, CR4_SMEP, EFER_NXE,
)
from guesthouse.system.memory import Memory
from guesthouse.typed import Abandon
from tests.x86.system_machine import CODE, LARGE, NX, PRESENT, STACK, TABLES, USER, WRITABLE, Machine

A, D, G, AC = 0x20, 0x40, 0x100, 1 << 18
DATA, OTHER = 0x80000, 0x90000
KEEP = 1 << 63  # of what is written to CR3
ALL = PRESENT | WRITABLE | USER


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


@pytest.fixture
def m(machine: Machine) -> Machine:
    """In order again after any test."""
    machine.memory.fill(0, 1 << 20)
    machine.tables()
    machine.enter()
    machine.cpu.forget_translations()
    machine.cpu.fault = u64(0)
    return machine


def tried(m: Machine, va: int, access: int) -> int | tuple[int, int]:
    """The physical address, or (vector, error code)."""
    m.cpu.exit = u64(0)
    try:
        return int(m.cpu.walk(u64(va), u64(access)))
    except Abandon:
        assert int(m.cpu.exit) == FAULT
        return int(m.cpu.fault), int(m.cpu.fault_code)


def set_levels(m: Machine, entries: list[int], va: int = DATA) -> None:
    """The rights of the four entries on the way to a page."""
    for level, rights in enumerate(entries):
        at = TABLES + 0x1000 * level + 8 * (va >> 39 - 9 * level & 511)
        frame = TABLES + 0x1000 * (level + 1) if level < 3 else va & ~0xFFF
        m.put(at, frame | rights)


def expected(rights: list[int], access: int, cpl: int, wp: bool, smep: bool, smap: bool, nxe: bool) -> int | None:
    """The error code that SDM 3A, 4.6 and 4.7 give, or None where the access is allowed. AC is clear."""
    code = (access == WRITE) * 2 | (cpl == 3) * 4 | (access == EXECUTE and (nxe or smep)) * 16
    for entry in rights:
        if not entry & PRESENT:
            return code
        if entry & NX and not nxe:
            return code | 9
    user_page, writable = all(e & USER for e in rights), all(e & WRITABLE for e in rights)
    bad = access == EXECUTE and any(e & NX for e in rights)
    if cpl == 3:
        bad |= not user_page or access == WRITE and not writable
    else:
        bad |= access == WRITE and not writable and wp
        bad |= user_page and (smep if access == EXECUTE else smap)
    return code | 1 if bad else None


def test_rights_of_all_levels_count(m: Machine) -> None:
    numbers = random.Random(4)
    for _ in range(150):
        rights = [ALL & ~numbers.choice((0, 0, 0, 0, PRESENT, WRITABLE, USER)) | numbers.choice((0, 0, 0, NX))
                  for _ in range(4)]
        cpl, wp, smep, smap, nxe = (numbers.choice(c) for c in ((0, 3), *[(False, True)] * 4))
        set_levels(m, rights)
        m.cpu.cpl = u8(cpl)
        m.cpu.cr0 = m.cpu.cr0 & ~u64(CR0_WP) | wp * CR0_WP
        m.cpu.cr4 = m.cpu.cr4 & ~u64(CR4_SMEP | CR4_SMAP) | (smep * CR4_SMEP | smap * CR4_SMAP)
        m.cpu.efer = m.cpu.efer & ~u64(EFER_NXE) | nxe * EFER_NXE
        for access in (READ, WRITE, EXECUTE):
            code = expected(rights, access, cpl, wp, smep, smap, nxe)
            assert tried(m, DATA + 5, access) == (DATA + 5 if code is None else (14, code)), (rights, access)


def test_ac_lets_the_supervisor_reach_user_data_but_not_the_processor(m: Machine) -> None:
    m.cpu.cr4 = m.cpu.cr4 | CR4_SMAP
    assert tried(m, DATA, READ) == (14, 1)
    m.cpu.flags = u64(AC)
    assert tried(m, DATA, READ) == DATA
    m.cpu.implicit = u64(1)
    assert tried(m, DATA, READ) == (14, 1)
    m.cpu.implicit = u64(0)


def test_accessed_and_dirty_are_set_as_used(m: Machine) -> None:
    leaf = TABLES + 0x3000 + 8 * (DATA >> 12)
    assert not m.get(leaf) & (A | D)
    tried(m, DATA, READ)
    assert m.get(leaf) & (A | D) == A and m.get(TABLES) & A
    tried(m, DATA, WRITE)
    assert m.get(leaf) & (A | D) == A | D and not m.get(TABLES) & D


def test_a_refused_access_leaves_the_page_unmarked(m: Machine) -> None:
    m.map(DATA, DATA | PRESENT)
    assert tried(m, DATA, WRITE) == (14, 3)
    assert not m.get(TABLES + 0x3000 + 8 * (DATA >> 12)) & (A | D)


@pytest.mark.parametrize("level, bit", [(0, 7), (1, 45), (2, 51), (3, 40), (0, 50)])
def test_reserved_bits_fault(m: Machine, level: int, bit: int) -> None:
    at = TABLES + 0x1000 * level + (8 * (DATA >> 12) if level == 3 else 0)
    m.put(at, m.get(at) | 1 << bit)
    assert tried(m, DATA, READ) == (14, 9)


def test_large_pages(m: Machine) -> None:
    m.put(TABLES + 0x2000, 0x1234_5600_0000 & 0xFF_FFE0_0000 | ALL | LARGE | 1 << 12)
    assert tried(m, 0x12345, READ) == (0x1234_5600_0000 & 0xFF_FFE0_0000) + 0x12345
    m.put(TABLES + 0x1000, 0xC000_0000 | ALL | LARGE)
    assert tried(m, 0x1234_5678, WRITE) == 0xC000_0000 + 0x1234_5678
    for table, bit in ((0x2000, 13), (0x2000, 20), (0x1000, 13), (0x1000, 29)):
        m.put(TABLES + 0x1000, TABLES + 0x2000 | ALL)
        m.put(TABLES + 0x2000, ALL | LARGE)
        m.put(TABLES + table, m.get(TABLES + table) & 0xFFF | LARGE | 1 << bit)
        assert tried(m, 0, READ) == (14, 9)


def test_invlpg_forgets_all_of_a_large_page(m: Machine) -> None:
    m.put(TABLES + 0x2000, ALL | LARGE)
    m.run("a10050000000000000")
    assert int(m.cpu.tlb[5].read) == 0x5000
    m.cpu.invalidate(u64(0x6000))
    assert int(m.cpu.tlb[5].read) != 0x5000


def test_addresses_that_are_not_canonical_give_gp(m: Machine) -> None:
    for va in (1 << 47, 0xFFFF_7FFF_FFFF_FFFF, 1 << 63):
        assert tried(m, va, READ) == (13, 0)
    assert tried(m, 0xFFFF_8000_0000_0000, READ) == (14, 0)


def test_without_paging_addresses_are_physical(m: Machine) -> None:
    m.cpu.cr0 = m.cpu.cr0 & 0x7FFF_FFFF
    assert tried(m, 0x1_2345_6789, WRITE) == 0x2345_6789


def test_32_bit_paging(m: Machine) -> None:
    m.cpu.efer, m.cpu.cr4 = u64(0), u64(0x10)
    m.cpu.cr3 = u64(0x60000)
    m.put(0x60000 + 4 * 1, 0x61000 | ALL, 4)
    m.put(0x61000 + 4 * 2, 0x70000 | PRESENT | USER, 4)
    m.put(0x60000 + 4 * 2, 0x0040_0000 | ALL | LARGE | 3 << 13, 4)
    assert tried(m, 0x40_2010, READ) == 0x70010
    assert m.get(0x61000 + 8, 4) & A and m.get(0x60004, 4) & A
    assert tried(m, 0x40_3010, READ) == (14, 0)
    assert tried(m, 0x81_2345, READ) == 0x3_0041_2345
    m.cpu.cpl = u8(3)
    assert tried(m, 0x40_2010, WRITE) == (14, 7)


def test_pae_paging(m: Machine) -> None:
    m.cpu.efer, m.cpu.cr4 = u64(EFER_NXE), u64(0x30)
    m.cpu.cr3 = u64(0x60020)
    m.put(0x60020 + 8 * 3, 0x61000 | PRESENT)
    m.put(0x61000 + 8, 0x62000 | ALL)
    m.put(0x62000 + 8 * 7, 0x1_0007_0000 | ALL | NX)
    va = 3 << 30 | 1 << 21 | 7 << 12 | 0x21
    assert tried(m, va, WRITE) == 0x1_0007_0021
    assert tried(m, va, EXECUTE) == (14, 0x11)
    m.put(0x60020 + 8 * 3, 0x61000 | PRESENT | WRITABLE)
    assert tried(m, va, READ) == (14, 9)


def test_a_change_of_the_tables_is_seen_after_a_write_to_cr3(m: Machine) -> None:
    m.put(0x90000, 0x11)
    m.put(DATA, 0x22)
    m.run("8b042500000800")  # mov eax, [80000h]
    assert int(m.cpu.r[0]) == 0x22
    m.put(TABLES + 0x3000 + 8 * (DATA >> 12), 0x90000 | ALL)
    m.cpu.r[1] = u64(TABLES)
    m.run("0f22d98b042500000800", count=2)  # mov cr3, rcx
    assert int(m.cpu.r[0]) == 0x11


def unicorn_machine(m: Machine) -> Any:
    """Unicorn with the same memory and control registers."""
    unicorn = pytest.importorskip("unicorn")
    from unicorn import x86_const as names

    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(0, 1 << 20)
    uc.mem_write(0, m.memory.read(0, 1 << 20))
    uc.msr_write(0xC000_0080, 0xD00)
    for name, value in (("CR3", TABLES), ("CR4", int(m.cpu.cr4)), ("CR0", int(m.cpu.cr0)), ("RSP", STACK)):
        uc.reg_write(getattr(names, f"UC_X86_REG_{name}"), value)
    return uc


@pytest.mark.parametrize("wp", [0, CR0_WP])
def test_unicorn_allows_and_refuses_the_same(m: Machine, wp: int) -> None:
    unicorn = pytest.importorskip("unicorn")
    m.cpu.cr0 = m.cpu.cr0 & ~u64(CR0_WP) | wp
    choices = (ALL, PRESENT, PRESENT | USER, WRITABLE | USER, ALL | NX, ALL | 1 << 45)
    for upper, lower in itertools.product(choices, choices):
        set_levels(m, [ALL, ALL, ALL, ALL], DATA)
        set_levels(m, [ALL, ALL, ALL, lower], DATA)
        m.put(TABLES + 0x1000 + 8, TABLES + 0x2000 | upper)  # the second GiB shares the tables below
        for code, access in (("a1", READ), ("a3", WRITE)):
            va = 0x4000_0000 + DATA
            uc = unicorn_machine(m)
            uc.mem_write(0x10000, bytes.fromhex(code) + va.to_bytes(8, "little"))
            try:
                uc.emu_start(0x10000, 0x10009, count=1)
                theirs = True
            except unicorn.UcError:
                theirs = False
            assert isinstance(tried(m, va, access), int) == theirs, (hex(upper), hex(lower), access)


def test_code_in_a_page_that_is_mapped_anew_is_seen_after_invlpg(m: Machine) -> None:
    m.memory.write(0x90000, bytes.fromhex("b802000000"))
    m.run("b801000000")
    m.put(TABLES + 0x3000 + 8 * (CODE >> 12), 0x90000 | ALL)
    m.cpu.invalidate(u64(CODE))
    m.cpu.pc = u64(CODE)
    m.run()
    assert int(m.cpu.r[0]) == 2


def load_cr3(m: Machine, value: int) -> None:
    m.cpu.r[1] = u64(value)
    m.run("0f22d9")


def with_pcids(m: Machine) -> None:
    """DATA is a page of ones, what it will be changed to one of twos."""
    m.memory.write(DATA, b"\1" * 4096)
    m.memory.write(OTHER, b"\2" * 4096)
    m.cpu.cr4 = m.cpu.cr4 | CR4_PCIDE | CR4_PGE
    m.cpu.forget_translations()


def read_as(m: Machine, cpl: int, va: int = DATA) -> int:
    m.cpu.cpl = u8(cpl)
    m.cpu.settle_privilege()
    value = int(m.cpu.load(u8, u64(va)))
    m.cpu.cpl = u8(0)
    m.cpu.settle_privilege()
    return value


def remap(m: Machine, rights: int = ALL, va: int = DATA, to: int = OTHER) -> None:
    """A change that the processor is not told of."""
    m.put(TABLES + 0x3000 + 8 * (va >> 12), to | rights)


def test_code_of_a_pcid_is_found_again_only_if_the_system_says_so(m: Machine) -> None:
    with_pcids(m)
    numbers = []
    for value in (1, 2, 1 | KEEP, 2, 1 | KEEP, 3 | KEEP, 1):
        load_cr3(m, TABLES | value)
        numbers.append(int(m.cpu.program_number))
    one, two, again, fresh, once_more, unknown, renewed = numbers
    assert one == again == once_more and len({one, two, fresh, unknown, renewed}) == 5
    load_cr3(m, TABLES | 2)
    m.cpu.forget_translations()
    load_cr3(m, TABLES | 1 | KEEP)
    assert int(m.cpu.program_number) not in numbers, "what was flushed for all is not taken up again"


def test_local_code_of_the_system_is_not_found_in_another_space_and_global_is(m: Machine) -> None:
    with_pcids(m)
    for rights, kept in ((ALL, False), (ALL | G, True)):
        m.map(CODE, CODE | rights)
        load_cr3(m, TABLES | 1)
        m.run("90")
        before = int(m.cpu.context)
        load_cr3(m, TABLES | 2)
        assert (int(m.cpu.context) == before) == kept


def test_translations_of_a_pcid_are_kept_until_cr3_is_written_without_bit_63(m: Machine) -> None:
    with_pcids(m)
    load_cr3(m, TABLES | 1)
    assert read_as(m, 3) == 1
    remap(m)
    load_cr3(m, TABLES | 2)
    assert read_as(m, 3) == 2
    load_cr3(m, TABLES | 1 | KEEP)
    assert read_as(m, 3) == 1
    load_cr3(m, TABLES | 9 | KEEP)  # takes the place that 1 had
    load_cr3(m, TABLES | 1 | KEEP)
    assert read_as(m, 3) == 2


def test_what_the_system_reads_of_one_space_is_not_kept_for_another(m: Machine) -> None:
    with_pcids(m)
    load_cr3(m, TABLES | 1)
    assert read_as(m, 0) == 1
    remap(m)
    load_cr3(m, TABLES | 2 | KEEP)
    assert read_as(m, 0) == 2


@pytest.mark.parametrize("global_", [True, False])
@pytest.mark.parametrize("pge", [CR4_PGE, 0])
def test_global_pages_outlive_writes_to_cr3_and_not_invlpg(m: Machine, global_: bool, pge: int) -> None:
    with_pcids(m)
    m.cpu.cr4 = m.cpu.cr4 & ~u64(CR4_PGE) | pge
    rights = ALL | G * global_
    m.map(DATA, DATA | rights)
    assert read_as(m, 0) == 1
    remap(m, rights)
    load_cr3(m, TABLES | 1)
    assert read_as(m, 0) == (1 if global_ and pge else 2)
    m.cpu.invalidate(u64(DATA))
    assert read_as(m, 0) == 2


@pytest.mark.parametrize("kind, pcid, kept", [  # of spaces 1 and 2, and of global pages
    (1, 1, "2g"), (1, 2, "1g"), (1, 3, "12g"), (2, 0, ""), (3, 0, "g")])
def test_invpcid(m: Machine, kind: int, pcid: int, kept: str) -> None:
    with_pcids(m)
    global_page = DATA + 0x1000
    m.map(global_page, DATA | ALL | G)
    for number in (1, 2):
        load_cr3(m, TABLES | number)
        assert read_as(m, 3) == 1
    assert read_as(m, 0, global_page) == 1
    remap(m)
    remap(m, ALL | G, global_page)
    m.memory.write(STACK, pcid.to_bytes(16, "little"))
    m.cpu.r[0], m.cpu.r[1] = u64(kind), u64(STACK)
    m.run("660f388201")
    found = "2" * (read_as(m, 3) == 1) + "g" * (read_as(m, 0, global_page) == 1)
    load_cr3(m, TABLES | 1 | KEEP)
    assert "1" * (read_as(m, 3) == 1) + found == kept


@pytest.mark.parametrize("cpl", [0, 3])
def test_a_space_with_many_pages_is_forgotten_as_a_whole(m: Machine, cpl: int) -> None:
    """Each page is filled in twice, for code and for data."""
    with_pcids(m)
    pages = range(0x30000, 0x200000, 0x1000)
    assert 2 * len(pages) > LISTED

    def seen() -> set[int]:
        m.cpu.cpl = u8(cpl)
        m.cpu.settle_privilege()
        for va in pages:
            m.cpu.fetch(u64(va))
        m.cpu.cpl = u8(0)
        m.cpu.settle_privilege()
        return {read_as(m, cpl, va) for va in pages}

    for va in pages:
        remap(m, va=va, to=DATA)
    load_cr3(m, TABLES | 1)
    assert seen() == {1}
    for va in pages:
        remap(m, va=va)
    load_cr3(m, TABLES | 1)
    assert seen() == {2}


@pytest.mark.parametrize("writers", [(3,), (0,), (3, 0)])
def test_a_page_with_code_is_shut_to_stores_of_all_spaces(m: Machine, writers: tuple[int, ...]) -> None:
    with_pcids(m)
    for pcid in (1, 2):
        load_cr3(m, TABLES | pcid)
        for cpl in writers:
            m.cpu.cpl = u8(cpl)
            m.cpu.settle_privilege()
            m.cpu.store(u8, u64(DATA), u8(1))
        m.cpu.cpl = u8(0)
        m.cpu.settle_privilege()

    def open_to_stores() -> int:
        page, entries = int(m.cpu.host(u64(DATA))), (m.cpu.tlbs[n] for n in range(TLB_SIZE * BANKS))
        return sum(int(e.write + e.addend) == page for e in entries if ~int(e.write) & 0xFFF)

    assert open_to_stores() >= len(writers)
    m.cpu.claim(m.cpu.host(u64(DATA)), u64(16))
    assert open_to_stores() == 0


def test_tables_are_marked_as_accessed_only_when_the_whole_walk_succeeds(m: Machine) -> None:
    set_levels(m, [ALL, ALL, ALL, ALL & ~WRITABLE])
    m.cpu.cr0 = m.cpu.cr0 | CR0_WP
    tops = [TABLES + 0x1000 * level + 8 * (DATA >> 39 - 9 * level & 511) for level in range(4)]
    assert tried(m, DATA, WRITE) == (14, 3)
    assert [m.get(at) & (A | D) for at in tops] == [0, 0, 0, 0]
    assert tried(m, DATA, READ) == DATA
    assert [m.get(at) & (A | D) for at in tops] == [A, A, A, A]


def test_tables_in_rom_are_used_and_stay_as_they_are() -> None:
    made = Memory([(0, 1 << 20)])
    made.protect(TABLES, 0x4000)
    m = Machine(made)
    assert tried(m, DATA, WRITE) == DATA and tried(m, DATA, READ) == DATA
    assert m.get(TABLES + 0x3000 + 8 * (DATA >> 12)) & (A | D) == 0
