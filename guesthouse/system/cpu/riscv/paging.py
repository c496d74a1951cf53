"""Bare, Sv39 and Sv48 translation and physical memory protection (Volume II, chapters 10.3 to 10.5 and 3.7;
Svnapot).

The hardware sets A and D bits. ASIDLEN is 16. Protection has a grain of one page (G = 10, 3.7.1), so a page is
never only partly covered. Not modelled: Sv57; Svpbmt's bits are reserved.
"""

from guesthouse.bits import i64, u8, u64
from guesthouse.engine.cpu import EXECUTE, READ, WRITE
from guesthouse.system.cpu.riscv.causes import (
    FETCH_ACCESS, FETCH_PAGE, LOAD_ACCESS, LOAD_PAGE, MACHINE, MPP, MPRV, MXR, STORE_ACCESS, STORE_PAGE, SUM,
    SUPERVISOR, USER,
)
from guesthouse.system.cpu.riscv.state import PMP_ENTRIES, State
from guesthouse.typed import Table, fill, function, load, packed, store

SV39, SV48 = 8, 9
PTE_V, PTE_R, PTE_W, PTE_X, PTE_U, PTE_G, PTE_A, PTE_D = (1 << n for n in range(8))
PTE_N = 1 << 63
PTE_RESERVED = 0x7FC0 << 48  # bits 54 to 62
PPN, ASID = (1 << 44) - 1, (1 << 16) - 1
PHYSICAL_BITS = 56
PMP_R, PMP_W, PMP_X, PMP_L = 0x01, 0x02, 0x04, 0x80
PMP_A, PMP_TOR, PMP_NAPOT = 0x18, 0x08, 0x18
GRAIN = 10  # pmpaddr's lowest 10 bits say nothing: 4 KiB

PAGE_FAULTS = Table(u8, [LOAD_PAGE, STORE_PAGE, FETCH_PAGE])  # by READ, WRITE, EXECUTE
ACCESS_FAULTS = Table(u8, [LOAD_ACCESS, STORE_ACCESS, FETCH_ACCESS])
PMP_NEEDS = Table(u8, [PMP_R, PMP_W, PMP_X])
PTE_NEEDS = Table(u8, [PTE_R, PTE_W, PTE_X])


class Paging(State):
    """Addresses: from virtual to physical, and what each mode may access."""

    @function
    def walk(self, va: u64, access: u64) -> u64:
        """The physical address of `va` for this access in the present mode, or the fault."""
        mode = self.mode
        if access != EXECUTE and self.mstatus & MPRV != 0:
            mode = (self.mstatus & MPP) >> 11
        if mode == MACHINE or self.satp >> 60 == 0:
            if va >> PHYSICAL_BITS != 0:
                self.raise_fault(ACCESS_FAULTS[access], va)
            physical, self.local, self.writable = va, u64(0), u64(1)
        else:
            physical = self.translate(va, access, mode)
        if not self.permits(physical, access, mode):
            self.raise_fault(ACCESS_FAULTS[access], va)
        if access == READ and self.writable != 0 and not self.permits(physical, u64(WRITE), mode):
            self.writable = u64(0)
        return physical

    @function
    def translate(self, va: u64, access: u64, mode: u64) -> u64:
        """10.3.2, the algorithm."""
        level = (self.satp >> 60) - (SV39 - 2)
        unused = i64(52 - 9) - i64(level) * 9
        if u64(i64(va) << unused >> unused) != va:
            self.raise_fault(PAGE_FAULTS[access], va)
        table = (self.satp & PPN) << 12
        entry = u64(0)
        pte = u64(0)
        while True:
            entry = table + (va >> (level * 9 + 12) & 0x1FF) * 8
            pte = self.read_entry(entry, va, access)
            if pte & (PTE_R | PTE_X) != 0:
                break
            # A pointer to the next level: only V and the page number may be set.
            if pte & (PTE_N | PTE_W | PTE_U | PTE_A | PTE_D) != 0 or level == 0:
                self.raise_fault(PAGE_FAULTS[access], va)
            level = level - 1
            table = (pte >> 10 & PPN) << 12
        if not self.agrees(pte, level, access, mode):
            self.raise_fault(PAGE_FAULTS[access], va)
        self.mark(entry, pte, va, access)
        self.local = u64(pte & PTE_G == 0)
        self.writable = u64(pte & PTE_W != 0 and pte & PTE_D != 0)
        if level != 0:
            self.note_wide(va, level)
        inside = (u64(1) << (level * 9 + 12)) - 1
        if pte & PTE_N != 0:
            inside = u64(0xFFFF)  # 64 KiB, 11: its page number ends in 1000
        return (pte >> 10 & PPN) << 12 & ~inside | va & inside

    @function
    def read_entry(self, entry: u64, va: u64, access: u64) -> u64:
        """The page-table entry at a physical address; faults if it cannot be read or is invalid."""
        host = self.host(entry)
        if host == 0 or not self.permits(entry, u64(0), u64(SUPERVISOR)):
            self.raise_fault(ACCESS_FAULTS[access], va)
        pte = load(u64, host)
        if pte & PTE_V == 0 or pte & (PTE_R | PTE_W) == PTE_W or pte & PTE_RESERVED != 0:
            self.raise_fault(PAGE_FAULTS[access], va)
        return pte

    @function
    def agrees(self, pte: u64, level: u64, access: u64, mode: u64) -> bool:
        """Whether a leaf grants this access (10.3.1), and is well-formed."""
        granted = pte
        if self.mstatus & MXR != 0:
            granted = granted | (pte & PTE_X) >> 2
        if granted & u64(PTE_NEEDS[access]) == 0:
            return False
        if mode == USER and pte & PTE_U == 0:
            return False
        if mode == SUPERVISOR and pte & PTE_U != 0 and (access == EXECUTE or self.mstatus & SUM == 0):
            return False
        if pte & PTE_N != 0:
            return level == 0 and pte >> 10 & 0xF == 8
        return pte >> 10 & ((u64(1) << level * 9) - 1) == 0

    @function
    def mark(self, entry: u64, pte: u64, va: u64, access: u64) -> None:
        """Set A, and D for a store. The table is ordinary memory: code decoded from its page goes."""
        marked = pte | PTE_A
        if access == WRITE:
            marked = marked | PTE_D
        if marked != pte:
            host = self.host_to_write(entry)
            if host == 0 or not self.permits(entry, u64(WRITE), u64(SUPERVISOR)):
                self.raise_fault(ACCESS_FAULTS[access], va)
            self.overwrite(host, u64(8))
            store(u64, host, marked)

    # Large pages. The address cache holds their pieces; SFENCE.VMA of one address must find them all.

    def wide_bit(self, va, level):
        return ((va >> (level * 9 + 12)) * 4 + level) * 0x9E37_79B9_7F4A_7C15 >> 52

    @function
    def note_wide(self, va: u64, level: u64) -> None:
        bit = self.wide_bit(va, level)
        self.wide[bit >> 6] = self.wide[bit >> 6] | u64(1) << (bit & 63)

    @function
    def forget_page(self, va: u64) -> None:
        """SFENCE.VMA of one address: of one page, or of everything if a large page may have been there."""
        found = u64(0)
        for level in (1, 2, 3):
            bit = self.wide_bit(va, u64(level))
            found = found | self.wide[bit >> 6] >> (bit & 63) & 1
        if found != 0:
            self.forget_translations()
        else:
            self.flush_page(va)

    def asid(self) -> u64:
        return self.satp >> 44 & ASID

    @function
    def forget_translations(self) -> None:
        self.flush()
        fill(self.wide.address, u8(0), u64(64 * 8))

    # Who may access what: translations are kept apart by set, see Cpu.use.

    @function
    def settle(self) -> None:
        """Choose the set of translations, after mode, SUM, MPRV or MPP have changed."""
        which = self.mode
        if self.mode == SUPERVISOR and self.mstatus & SUM != 0:
            which = u64(2)
        if self.mode == MACHINE:
            seen = u64(0)
            if self.mstatus & MPRV != 0:
                seen = self.mstatus & (MPRV | MPP | SUM)
            if seen != self.data_as:
                # Loads of machine mode mean something else from now on.
                self.data_as = seen
                self.empty_set(u64(3))
        self.use(which, self.mode)

    def no_code(self, va):
        self.raise_fault(FETCH_ACCESS, va)

    # Physical memory protection.

    @function
    def permits(self, physical: u64, access: u64, mode: u64) -> bool:
        """3.7.1: the lowest entry that covers the address decides; without one, only machine mode may."""
        n = u64(0)
        while n < self.pmp_used:
            if physical - self.pmp_start[n] < self.pmp_length[n]:
                granted = self.pmpcfg[n] & (PMP_NEEDS[access] | PMP_L)
                if mode == MACHINE and granted & PMP_L == 0:
                    return True
                return granted & PMP_NEEDS[access] != 0
            n += 1
        return mode == MACHINE

    @function
    def protect_ranges(self) -> None:
        """Work the ranges out again after an entry has changed."""
        self.pmp_used = u64(0)
        n, below = u64(0), u64(0)
        while n < PMP_ENTRIES:
            at = self.pmpaddr[n] >> GRAIN << GRAIN
            matching = self.pmpcfg[n] & PMP_A
            self.pmp_length[n] = u64(0)
            if matching == PMP_TOR and at > below:
                self.pmp_start[n], self.pmp_length[n] = below << 2, at - below << 2
            if matching == PMP_NAPOT:
                ones = self.pmpaddr[n] | (1 << GRAIN - 1) - 1
                ones = ones & ~(ones + 1)  # the lowest run of ones
                self.pmp_start[n] = (self.pmpaddr[n] & ~(ones * 2 + 1)) << 2
                self.pmp_length[n] = ones * 2 + 2 << 2
            if self.pmp_length[n] != 0:
                self.pmp_used = n + 1
            below = at
            n += 1
        self.forget_translations()

    def read_pmpaddr(self, n):
        """The grain shows in what is read (3.7.1.1)."""
        if self.pmpcfg[n] & PMP_A & 0x10 != 0:
            return self.pmpaddr[n] | (1 << GRAIN - 1) - 1
        return self.pmpaddr[n] >> GRAIN << GRAIN

    def pmp_locked(self, n):
        """A locked entry cannot be written; neither can the address below a locked top-of-range (3.7.1.2)."""
        if self.pmpcfg[n] & PMP_L != 0:
            return True
        following = n + 1 & (PMP_ENTRIES - 1)
        return following != 0 and self.pmpcfg[following] & (PMP_L | PMP_A) == PMP_L | PMP_TOR

    def read_pmpcfg(self, first):
        return packed(u64, [self.pmpcfg[first + n] for n in range(8)])

    @function
    def write_pmpaddr(self, n: u64, value: u64) -> None:
        if not self.pmp_locked(n):
            self.pmpaddr[n] = value & (1 << PHYSICAL_BITS - 2) - 1
            self.protect_ranges()

    @function
    def write_pmpcfg(self, first: u64, value: u64) -> None:
        """Eight entries at once. W without R is reserved: neither. Four bytes are below the grain: NAPOT."""
        n = u64(0)
        while n < 8:
            byte = u8(value >> n * 8) & (PMP_L | PMP_A | PMP_X | PMP_W | PMP_R)
            if byte & (PMP_R | PMP_W) == PMP_W:
                byte = byte & ~u8(PMP_W)
            if byte & PMP_A == 0x10:
                byte = byte | PMP_NAPOT
            if self.pmpcfg[first + n] & PMP_L == 0:
                self.pmpcfg[first + n] = byte
            n += 1
        self.protect_ranges()
