"""From linear to physical addresses: the page walk, and who may do what to a page (SDM 3A, 4.3 to 4.10).

4-level, PAE and 32-bit paging, with large and global pages, PCIDs, NX, SMEP, SMAP. More may be forgotten than the book
asks for. Not modelled: 5-level paging, protection keys, memory types.
"""

from guesthouse.bits import i64, likely, select, u32, u64
from guesthouse.engine.cpu import EXECUTE, WRITE
from guesthouse.system.cpu.x86.debug import Breakpoints
from guesthouse.system.cpu.x86.flags import AC
from guesthouse.system.cpu.x86.state import VECTOR_GP, VECTOR_PF, VECTOR_UD
from guesthouse.system.cpu.x86.system_state import (
    CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_NXE, IMPLICIT_SET,
)
from guesthouse.typed import Abandon, compare_exchange, function, load

PHYSICAL_BITS = 40
P, RW, US, A, D, PS, G = 1, 2, 4, 0x20, 0x40, 0x80, 0x100
NX = 1 << 63
FRAME = (1 << 52) - 0x1000
TOO_HIGH = (1 << 52) - (1 << PHYSICAL_BITS)
PDPTE_RESERVED = 0x1E6 | TOO_HIGH | 0x7FF << 52 | NX

# The error code of a page fault, SDM 3A, figure 4-12.
PRESENT, WRITING, BY_USER, RESERVED, FETCHING = 1, 2, 4, 8, 16


def canonical(va: u64):
    """Whether bits 63 to 47 are all alike."""
    return u64(i64(va << 16) >> 16) == va


def large_mark(va: u64, shift: u64) -> u64:
    """Where the mark of a large page of 1 << shift bytes is."""
    return ((va >> shift) * 64 + shift) * 0x9E37_79B9_7F4A_7C15 >> 50


class Paging(Breakpoints):
    """What the engine's TLB is filled from."""

    @function
    def walk(self, va: u64, access: u64) -> u64:
        """The physical address for READ, WRITE or EXECUTE at the present privilege, or a fault."""
        return self.translated(va, access) & self.a20_mask

    def translated(self, va: u64, access: u64) -> u64:
        if self.cr0 & CR0_PG == 0:
            self.local, self.writable = u64(0), u64(1)
            return va & 0xFFFF_FFFF
        if likely(self.long_mode()):
            if not canonical(va):
                self.fault_address, self.stray = va, u64(access != EXECUTE and self.implicit == 0)
                self.raise_fault(VECTOR_GP)
            return self.walk_wide(self.cr3 & FRAME, u64(39), va, access)
        va = va & 0xFFFF_FFFF
        if self.cr4 & CR4_PAE != 0:
            return self.walk_pae(va, access)
        return self.walk_narrow(va, access)

    @function
    def walk_wide(self, table: u64, shift: u64, va: u64, access: u64) -> u64:
        """A walk through tables of 64-bit entries, from one whose entries map 1 << shift bytes each. Nothing is marked
        as accessed unless the whole walk succeeds."""
        root, top, rights, barred, seen = table, shift, u64(RW | US), u64(0), u64(A)
        while True:
            place = table + (va >> shift & 0x1FF) * 8
            at = self.host(place)
            entry = load(u64, at) if at != 0 else ~u64(0)
            if entry & P == 0:
                self.page_fault(va, access, u64(0))
            leaf = shift == 12 or entry & PS != 0
            if entry & self.reserved_bits(shift, leaf) != 0:
                self.page_fault(va, access, u64(PRESENT | RESERVED))
            allowed, no_code = rights & entry, barred | entry & NX
            if not leaf:
                seen = seen & entry
                rights, barred, table, shift = allowed, no_code, entry & FRAME, shift - 9
            else:
                self.check_rights(va, access, allowed, no_code)
                if seen == 0:
                    self.mark_tables(root, top, shift, va)
                if self.marked(place, entry, self.marks(access)):
                    self.tell_more(entry, allowed)
                    return self.leaf_address(entry & FRAME, shift, va)
                rights, barred, seen, table, shift = u64(RW | US), u64(0), u64(A), root, top

    @function
    def mark_tables(self, table: u64, shift: u64, last: u64, va: u64) -> None:
        """Mark the 64-bit entries above that of the page, which has been found, as accessed."""
        while shift > last:
            place = table + (va >> shift & 0x1FF) * 8
            at = self.host(place)
            entry = load(u64, at) if at != 0 else ~u64(0)
            self.marked(place, entry, u64(A))
            table, shift = entry & FRAME, shift - 9

    @function
    def walk_pae(self, va: u64, access: u64) -> u64:
        """Three levels; the topmost entry has no rights (4.4.1). It is read at each walk, not kept since MOV CR3."""
        at = self.host((self.cr3 & 0xFFFF_FFE0) + (va >> 30 & 3) * 8)
        entry = load(u64, at) if at != 0 else ~u64(0)
        if entry & P == 0:
            self.page_fault(va, access, u64(0))
        if entry & PDPTE_RESERVED != 0:
            self.page_fault(va, access, u64(PRESENT | RESERVED))
        return self.walk_wide(entry & FRAME, u64(21), va, access)

    @function
    def walk_narrow(self, va: u64, access: u64) -> u64:
        """Two levels of 32-bit entries, with 4 MiB pages where CR4.PSE allows them (4.3)."""
        table, shift, rights, above = self.cr3 & 0xFFFF_F000, u64(22), u64(RW | US), u64(0)
        while True:
            place = table + (va >> shift & 0x3FF) * 4
            at = self.host(place)
            entry = u64(load(u32, at)) if at != 0 else u64(0xFFFF_FFFF)
            if entry & P == 0:
                self.page_fault(va, access, u64(0))
            large = shift == 22 and entry & PS != 0 and self.cr4 & CR4_PSE != 0
            if large and entry & 0x20_0000 != 0:
                self.page_fault(va, access, u64(PRESENT | RESERVED))
            if shift == 12 or large:
                self.check_rights(va, access, rights & entry, u64(0))
                first = (self.cr3 & 0xFFFF_F000) + (va >> 22 & 0x3FF) * 4
                above_done = large or self.marked(first, above, u64(A))
                if above_done and self.marked(place, entry, self.marks(access)):
                    self.tell_more(entry, rights & entry)
                    high = select(large, (entry & 0x1F_E000) << 19, u64(0))
                    return self.leaf_address(entry & 0xFFFF_F000 | high, shift, va)
                table, shift, rights = self.cr3 & 0xFFFF_F000, u64(22), u64(RW | US)
            else:
                above, rights, table, shift = entry, rights & entry, entry & 0xFFFF_F000, shift - 10

    @function
    def reserved_bits(self, shift: u64, leaf: bool) -> u64:
        """What must be zero in a 64-bit entry (tables 4-14 to 4-20)."""
        reserved = u64(TOO_HIGH)
        if self.efer & EFER_NXE == 0:
            reserved = reserved | NX
        if shift == 39:
            return reserved | PS
        if leaf and shift != 12:
            return reserved | (u64(1) << shift) - 0x2000
        return reserved

    def marks(self, access: u64) -> u64:
        """The flags that a use of a page leaves in the entry that maps it."""
        return select(access == WRITE, u64(A | D), u64(A))

    @function
    def marked(self, place: u64, entry: u64, marks: u64) -> bool:
        """Set the accessed and dirty flags; false if another processor was faster and the entry must be read again.
        An entry in ROM stays as it is."""
        if entry & marks == marks:
            return True
        at = self.host_to_write(place)
        if at == 0:
            return True
        self.overwrite(at, u64(4))
        done = compare_exchange(u32, at, u32(entry), u32(entry | marks)) == u32(entry)
        self.tell_of_change(at, u64(4))
        return done

    def tell_more(self, entry: u64, allowed: u64) -> None:
        """What the engine wants to know of a page besides its address (Cpu.local, Cpu.writable)."""
        self.local = u64(entry & G == 0 or self.cr4 & CR4_PGE == 0)
        self.writable = u64(entry & D != 0 and allowed & RW != 0)

    def leaf_address(self, frame: u64, shift: u64, va: u64) -> u64:
        if shift > 12:
            n = large_mark(va, shift)
            self.large[n >> 6] = self.large[n >> 6] | u64(1) << (n & 63)
        within = (u64(1) << shift) - 1
        return frame & ~within | va & within

    @function
    def check_rights(self, va: u64, access: u64, rights: u64, barred: u64) -> None:
        """Fault unless the access is allowed by what all levels allow (SDM 3A, 4.6.1)."""
        refused = barred != 0 and access == EXECUTE
        if access == WRITE and rights & RW == 0:
            refused = refused or self.by_user() or self.cr0 & CR0_WP != 0
        if self.by_user():
            refused = refused or rights & US == 0
        elif rights & US != 0:
            refused = refused or self.kept_from_user_pages(access)
        if refused:
            self.page_fault(va, access, u64(PRESENT))

    def by_user(self):
        """Whether accesses are user-mode accesses."""
        return self.cpl == 3 and self.implicit == 0

    def kept_from_user_pages(self, access: u64):
        """Whether SMEP or SMAP forbid this supervisor access to a user page."""
        if access == EXECUTE:
            return self.cr4 & CR4_SMEP != 0
        return self.cr4 & CR4_SMAP != 0 and (self.implicit != 0 or self.flags & AC == 0)

    @function
    def page_fault(self, va: u64, access: u64, code: u64) -> None:
        """#PF. CR2 changes when the fault is delivered, not here: a probe may be given up."""
        self.fault_address = va
        code = code | select(access == WRITE, u64(WRITING), u64(0)) | select(self.by_user(), u64(BY_USER), u64(0))
        tells_fetches = self.cr4 & CR4_SMEP != 0 or self.efer & EFER_NXE != 0
        if access == EXECUTE and tells_fetches:
            code = code | FETCHING
        self.raise_fault(VECTOR_PF, code)

    def no_code(self, va: u64) -> None:
        """Where nothing answers a fetch, all bits read as one, and FF FF is no instruction."""
        self.raise_fault(VECTOR_UD)

    @function
    def invalidate(self, va: u64) -> None:
        """INVLPG: forget the page of this address, all of it."""
        if not self.long_mode():
            va = va & 0xFFFF_FFFF
        large = False
        for shift in (21, 22, 30):
            n = large_mark(va, u64(shift))
            large = large or self.large[n >> 6] >> (n & 63) & 1 != 0
        if large:
            self.forget_translations()
        else:
            self.flush_page(va)

    # The processor's own accesses to descriptor tables and task-state segments: as CPL 0, without RFLAGS.AC (4.6.1).

    @function
    def system_load(self, kind: type, va: u64) -> u64:
        """A value of `kind`, zero-extended, from a system table."""
        value, done = u64(0), True
        self.act_as_processor()
        try:
            value = u64(self.load(kind, va))
        except Abandon:
            done = False
        self.act_as_program(done)
        return value

    @function
    def system_store(self, kind: type, va: u64, value: u64) -> None:
        """Store the low part of a value, `kind`, in a system table."""
        done = True
        self.act_as_processor()
        try:
            self.store(kind, va, kind(value))
        except Abandon:
            done = False
        self.act_as_program(done)

    def act_as_processor(self) -> None:
        self.implicit = u64(1)
        self.aim(u64(IMPLICIT_SET))

    def act_as_program(self, done: bool) -> None:
        """Back to the program's rights, and on with the fault if there was one."""
        self.implicit = u64(0)
        self.aim(self.translations)
        if not done:
            raise Abandon
