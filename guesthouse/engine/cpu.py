"""What the state of any guest processor begins with, and its checked path to memory.

The address cache (TLB) here is the only way from guest addresses to host memory: an entry is filled from the guest's
page walk and bounds-checked against the RAM that the board gave. Everything that is not RAM becomes an exit.
Not modelled: caches, speculative accesses, and memory types.
"""

from guesthouse.bits import likely, select, u8, u16, u32, u64, u128, unlikely
from guesthouse.typed import Abandon, Array, Pointer, Struct, fill, function, invoke, load, store

READ, WRITE, EXECUTE = 0, 1, 2
PAGE, PAGE_BITS = 4096, 12
# The address cache has a set of entries for each kind of access rights, and one more, for code alone: while that is in
# force, no access to data is fast. Set 0, which is that of programs, has a bank for each of several address spaces; the
# others are the system's, whose translations are as a rule the same in all of them.
TLB_SIZE, TLB_SETS, SPACES = 16384, 4, 8
WATCHED_SET = TLB_SETS
BANKS = SPACES + TLB_SETS  # entries of set 0 for each space, then those of the other sets
ALL_ONES, ALL_32 = (1 << 64) - 1, (1 << 32) - 1
WRITERS = 2  # entries of the address cache that a page of RAM knows to write to it
ANY = (1 << 32) - 1  # of the entries: who may write is not known
LISTED = 508  # entries; where more have been filled, all are emptied
RANGES = 32  # of RAM
RETURNS = 128  # that are remembered
WINDOWS = 16  # of chips, at most
REFUSED = 1 << 63  # what a chip's compiled code answers for what is the board's matter
REPLIES = 128  # the devices that one instruction can meet: FXSAVE 55, ENTER with 31 levels 66
STEP = 1 << 15  # a bit of the mode given to use(): while it is set, poll() is called after every instruction

# Why the engine comes back from machine code (Cpu.exit). FAULT never leaves the engine: it is delivered to the guest.
(
    NONE, FAULT, BUDGET, MEMORY_READ, MEMORY_WRITE, PORT_READ, PORT_WRITE, REGISTER_READ, REGISTER_WRITE,
    HALTED, WINDOW, BREAKPOINT, HOST_CALL, DIED, YIELD, ALONE,
) = range(16)


class TlbEntry(Struct):
    """One page: for each kind of access the virtual page it serves (all ones: none), and host minus virtual address."""

    read: u64
    write: u64
    execute: u64
    addend: u64


BANK, ENTRY_BITS = TLB_SIZE * TlbEntry.size, TlbEntry.size.bit_length() - 1


class Filled(Struct):
    """How many entries have been filled since these were emptied, and the numbers of the first LISTED."""

    count: u64
    entries: Array[u32, LISTED]


class Space(Struct):
    """An address space whose programs' translations are kept in a bank of its own."""

    name: u64  # the guest's name of it, plus 1; 0: nobody's
    number: u64  # what contexts have of it: another one each time the bank is emptied
    filled: Filled


class RamRange(Struct):
    """Guest-physical addresses [start, start + length) are host memory from `host` on; read-only where told."""

    start: u64
    length: u64
    host: u64
    writable: u64


class ChipWindow(Struct):
    """Addresses or ports [start, start + length) where a chip's own compiled code answers. The rest are host addresses:
    of the chip's state, and of C functions (chip_code.py)."""

    start: u64
    length: u64
    ports: u64  # 1: ports; 0: guest-physical addresses
    chip: u64
    read: u64
    write: u64


class CodePage(Struct):
    """What has been decoded from one RAM page."""

    block: u64  # the newest block that has bytes there, or 0
    lines: u64  # a bit for each 64 bytes of the page that have been decoded
    ended: u64  # how many blocks have ended because their bytes changed
    writers: Array[u32, WRITERS]  # the entries of the address cache that may write to it, plus 1; 0: none; ANY


class Return(Struct):
    """Where a call will return, and its landing's machine code; at first code that looks for the block at pc."""

    pc: u64
    code: u64  # counted from where the forge begins


class Cpu(Struct, lowest=-128):
    """The engine's part of a processor's state. A guest's own state is a subclass, and supplies the methods
    that op.Guest names, and `start`: the pc of the running block's first instruction, from which the addresses in its
    records count. What copies of stencils touch most lies where the host reaches it by a displacement of 8 bits: code
    that has twice the size takes twice the time."""

    pc: u64
    tlb: Pointer[TlbEntry]  # the bank that is in force
    context: u64  # what a decoded block depends on besides its bytes; see flush()
    door: u64  # what branches look for: the context, or none at all if someone has called (sharing.py)
    left: u64  # instructions left of the budget; exact only outside blocks and in operations with counts=True, ...
    near: Array[u64, 22]  # room for a guest's registers
    returns: Array[Return, RETURNS]  # by the stack pointer (stitching.py)
    nearby: Array[u64, 12]  # room for what else its operands are made of
    withheld: u64  # ... there but for these
    budget: u64  # what this run was given
    ticks: u64  # guest time in nanoseconds when the budget began
    pace: u64  # guest time that passes with 1024 instructions
    called: u64  # come out of your blocks: ...
    recalled: u64  # ... and leave to the board
    parallel: u64  # the other processors run at the same time, in threads of their own
    tlb_set: u64  # given to use()
    space: u64  # which bank of set 0 is that of the address space in force
    program_number: u64  # of this space
    system_number: u64  # the same for the other sets together
    newest: u64  # of these numbers; none is given twice
    stack: Pointer[TlbEntry]  # in this bank: that of the page where the stack is, as a rule (stencils.py)
    local: u64  # what walk() tells besides: this holds in the address space in force alone
    writable: u64  # ... and a store would be allowed, too, and leave no mark
    local_code: u64  # the other sets have, or had, code that is local
    exit: u64
    exit_address: u64
    exit_size: u64
    exit_value: u64
    fault: u64  # the guest's own number of the exception
    fault_code: u64
    fault_address: u64
    replies_used: u64
    replies_known: u64
    replies: Array[u64, REPLIES]
    ram: Array[RamRange, RANGES + 1]  # the last that is used is followed by one without length
    ram_start: u64  # host address of all RAM, one mapping
    ram_pages: u64
    windows: Array[ChipWindow, WINDOWS]
    window_count: u64
    code: Pointer[CodePage]  # for each RAM page
    holders: Pointer[u64]  # for each RAM page, a bit for each processor that has decoded something there
    faults: u64  # counters, for --stats
    fills: u64
    flushes: u64
    invalidations: u64
    builds: u64
    lookups: u64
    watches: u64  # not 0: the guest's watch() is told of accesses, and says which pages the address cache may not have
    locals: Filled  # entries of the other sets that are local
    spaces: Array[Space, SPACES]
    tlbs: Array[TlbEntry, TLB_SIZE * BANKS]

    # Guest memory, by virtual address.

    def load(self, kind: type, va: u64):
        """The value of `kind` at a guest virtual address, or a fault, or an exit to the device there."""
        entry = self.entry(va)
        if likely(entry.read == self.page(kind, va)):
            return load(kind, va + entry.addend)
        return self.load_slowly(kind, va, u64(READ))

    def load_to_change(self, kind: type, va: u64):
        """Like load, for a value that this instruction will store back: a fault is a write fault."""
        entry = self.entry(va)
        if likely(entry.write == self.page(kind, va)):
            return load(kind, va + entry.addend)
        return self.load_slowly(kind, va, u64(WRITE))

    def store(self, kind: type, va: u64, value) -> None:
        """Store a value of `kind` at a guest virtual address, or fault, or exit to the device there."""
        entry = self.entry(va)
        if likely(entry.write == self.page(kind, va)):
            store(kind, va + entry.addend, value)
        else:
            self.store_slowly(kind, va, value)

    def entry(self, va: u64):
        """The only entry of the address cache that can have this page."""
        return self.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]

    def page(self, kind: type, va: u64):
        """The page that this entry must have, for all bytes of an access to be there: that of the last one."""
        return va + (kind.size - 1) & ~u64(PAGE - 1)

    def stack_entry(self, va: u64):
        """entry() where stencils take a page for that of the stack. Any entry will do, for it tells its page."""
        return self.stack[0]

    def stack_page(self, kind: type, va: u64):
        """page() there. The entry may be that of the last byte's page, where the first is in the one before: what is
        not aligned has a page that no entry has."""
        return va & (~u64(PAGE - 1) | kind.size - 1)

    def find_stack(self) -> None:
        """The stack may be in another page than it was."""
        self.stack = Pointer[TlbEntry](self.entry(self.stack_pointer()).address)

    def stack_pointer(self) -> u64:
        """An address in the page where the stack is. For guests that say what is on it (op.Guest.stacked)."""
        return u64(0)

    def load_slowly(self, kind: type, va: u64, access: u64):
        if kind.size == 16:
            self.probe_wide(va, access)
            low = u128(self.load_bytes(va, u64(8), access))
            return low | u128(self.load_bytes(va + 8, u64(8), access)) << 64
        return kind(self.load_bytes(va, u64(kind.size), access))

    def store_slowly(self, kind: type, va: u64, value) -> None:
        if kind.size == 16:
            self.probe_wide(va, u64(WRITE))
            self.store_bytes(va, u64(8), u64(value))
            self.store_bytes(va + 8, u64(8), u64(value >> 64))
        else:
            self.store_bytes(va, u64(kind.size), u64(value))

    @function
    def load_bytes(self, va: u64, size: u64, access: u64) -> u64:
        """The slow path of load: a walk, a device, or two pages."""
        if unlikely(self.watches != 0):
            self.watch(va, size, u64(READ))
        if unlikely((va & (PAGE - 1)) + size > PAGE):
            self.probe(va, size, access)
            first = PAGE - (va & (PAGE - 1))
            low = self.load_in_page(va, first, access)
            return low | self.load_in_page(va + first, size - first, access) << first * 8
        return self.load_in_page(va, size, access)

    @function
    def load_in_page(self, va: u64, size: u64, access: u64) -> u64:
        physical = self.walk(va, access)
        host = self.host(physical)
        if host == 0:
            return self.outside(u64(MEMORY_READ), physical, size, u64(0))
        if access != WRITE or self.host_to_write(physical) != 0:  # the store that follows may be to ROM
            self.install(va, physical, host, access)
        return load_sized(host, size)

    @function
    def store_bytes(self, va: u64, size: u64, value: u64) -> None:
        """The slow path of store: a walk, a device, a page that holds decoded code, or two pages."""
        if unlikely(self.watches != 0):
            self.watch(va, size, u64(WRITE))
        if unlikely((va & (PAGE - 1)) + size > PAGE):
            self.probe(va, size, u64(WRITE))
            first = PAGE - (va & (PAGE - 1))
            self.store_in_page(va, first, value)
            self.store_in_page(va + first, size - first, value >> first * 8)
        else:
            self.store_in_page(va, size, value)

    @function
    def store_in_page(self, va: u64, size: u64, value: u64) -> None:
        physical = self.walk(va, u64(WRITE))
        host = self.host_to_write(physical)
        if host == 0:
            self.outside(u64(MEMORY_WRITE), physical, size, value)
        else:
            self.overwrite(host, size)
            self.install(va, physical, host, u64(WRITE))
            store_sized(host, size, value)
            self.tell_of_change(host, size)

    @function
    def probe(self, va: u64, size: u64, access: u64) -> None:
        """Fault now if any byte of [va, va + size) would: an access over two pages changes both or none."""
        self.walk(va, access)
        last = va + (size - 1)
        if (last ^ va) >> PAGE_BITS != 0:
            self.walk(last & ~u64(PAGE - 1), access)

    @function
    def probe_wide(self, va: u64, access: u64) -> None:
        """Before an access to 16 bytes, which is made in two parts."""
        if unlikely(self.watches != 0):
            self.watch(va, u64(16), access)
        self.probe(va, u64(16), access)

    @function
    def outside(self, kind: u64, address: u64, size: u64, value: u64) -> u64:
        """An access to a port, or to what is not RAM. A chip with a window of its own is asked without leaving, and may
        refuse, as that is the board's matter. An instruction that meets devices in memory asks again each time it is
        run, so that nothing may come of being asked twice; one that asks for a port asks for no other device after
        it, and not again what the board has answered."""
        if kind >= PORT_READ and self.replies_used < self.replies_known:
            return self.device(kind, address, size, value)
        n = u64(0)
        while n < self.window_count:
            window = Pointer[ChipWindow](self.windows.address)[n]
            offset = address - window.start
            if offset < window.length and window.ports == u64(kind >= PORT_READ):
                if kind == MEMORY_READ or kind == PORT_READ:
                    answer = invoke(window.read, window.chip, offset, size)
                else:
                    answer = invoke(window.write, window.chip, offset, size, value)
                if answer != REFUSED:
                    return answer
            n += 1
        return self.device(kind, address, size, value)

    @function
    def device(self, kind: u64, address: u64, size: u64, value: u64) -> u64:
        """Ask the board: leave with an exit, or, when the instruction is run again, take the reply.

        An instruction that meets several devices is run again once for each; it must change nothing before its last.
        """
        n = self.replies_used
        if n < self.replies_known:
            self.replies_used = n + 1
            return self.replies[n & (REPLIES - 1)]
        self.exit, self.exit_address, self.exit_size, self.exit_value = kind, address, size, value
        raise Abandon

    # Guest memory, by physical address.

    def host(self, physical: u64) -> u64:
        """The host address of a guest-physical one, or 0 where there is no RAM. Good to the end of its 4 KiB page."""
        return self.backing(physical, u64(0))

    def host_to_write(self, physical: u64) -> u64:
        """As host, but 0 where the range is read-only."""
        return self.backing(physical, u64(1))

    @function
    def backing(self, physical: u64, writable: u64) -> u64:
        n = u64(0)
        while True:
            place = Pointer[RamRange](self.ram.address)[n]
            if physical - place.start < place.length:
                if place.writable < writable:
                    return u64(0)
                return place.host + (physical - place.start)
            if place.length == 0:
                return u64(0)
            n += 1

    def page_of(self, host: u64) -> u64:
        """The number of the RAM page at this host address; ram_pages or more if it is not RAM."""
        return host - self.ram_start >> PAGE_BITS

    @function
    def install(self, va: u64, physical: u64, host: u64, access: u64) -> None:
        """Remember where this page is: walk() has just found it."""
        page = va & ~u64(PAGE - 1)
        if unlikely(self.watches != 0) and access != EXECUTE and self.watched(page):
            return
        self.fills += 1
        entry = self.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]
        self.list_entry(self.entry_number(entry), access)
        addend = host - va
        if entry.addend != addend:
            entry.read, entry.write, entry.execute = ~u64(0), ~u64(0), ~u64(0)
            entry.addend = addend
        if access == EXECUTE:
            entry.execute = page
        else:
            # Where a program may write it may read, and mostly it does both. What the entry has already stays: a copy
            # from page to page of the same place and distance would fill it twice for each word.
            if access == READ or entry.read == ~u64(0):
                entry.read = page
            if access == WRITE or entry.write == ~u64(0) and self.writable != 0 and self.host_to_write(physical) != 0:
                self.let_write(entry, page, host)

    def let_write(self, entry, page: u64, host: u64) -> None:
        """A page that holds decoded code is never written by the fast path."""
        if self.holders[self.page_of(host)] == 0:
            self.note_writer(host & ~u64(PAGE - 1), self.entry_number(entry))
            entry.write = page
            if unlikely(self.parallel != 0):
                self.fence()
                if self.holders[self.page_of(host)] != 0:  # another has decoded there meanwhile
                    entry.write = ~u64(0)

    @function
    def note_writer(self, page: u64, number: u64) -> None:
        """The entry with this number will write to the RAM page at this host address."""
        writers, n = self.code[self.page_of(page)].writers, u64(0)
        while n < WRITERS:
            known = u64(writers[n])
            if known == number + 1 or known != ANY and (known == 0 or not self.writes(known - 1, page)):
                writers[n] = u32(number + 1)
                return
            n += 1
        writers[0] = u32(ANY)

    def writes(self, number: u64, page: u64):
        """Whether the entry with this number may write to the RAM page at this host address."""
        entry = Pointer[TlbEntry](self.tlbs.address)[number]
        return (entry.write != ~u64(0)) & (entry.write + entry.addend == page)

    def entry_number(self, entry) -> u64:
        return entry.address - self.tlbs.address >> ENTRY_BITS

    def list_entry(self, number: u64, access: u64) -> None:
        """The entry with this number is about to be filled."""
        bank = number // TLB_SIZE
        if bank < SPACES:
            listed(self.spaces[bank].filled, number)
        elif self.local != 0:
            listed(self.locals, number)
            if access == EXECUTE:
                self.local_code = u64(1)

    # For guests with watchpoints; others keep `watches` 0.

    def watch(self, va: u64, size: u64, access: u64) -> None:
        """A program is about to read or write here. The halves of 16 bytes are told once more."""

    def watched(self, page: u64):
        """Whether accesses to this page must not become fast."""
        return False

    @function
    def overwrite(self, host: u64, size: u64) -> None:
        """Bytes of one RAM page change: every block of ours decoded from them ends before its next instruction."""
        page = self.page_of(host)
        if page < self.ram_pages and self.holders[page] != 0:
            if self.code[page].block == 0 or self.code[page].lines & lines_of(host, size) != 0:
                self.retire(host, size)

    @function
    def forget(self, host: u64) -> None:
        """The RAM page with this byte changes."""
        if self.page_of(host) < self.ram_pages:
            self.retire(host & ~u64(PAGE - 1), u64(PAGE))

    @function
    def host_of_stores(self, va: u64) -> u64:
        """Where the address cache would have a page that may hold code, and so is not written by the fast path; 0 if
        it is not RAM that can be written unseen. Tell overwrite() before writing there, and tell_of_change() after."""
        if self.watches != 0 and self.watched(va & ~u64(PAGE - 1)):
            return u64(0)
        return self.host_to_write(self.walk(va, u64(WRITE)))

    # Address spaces.

    def begin(self) -> None:
        """For a new state: nothing is known."""
        n = u64(0)
        while n < SPACES:
            self.spaces[n].filled.count = u64(LISTED + 1)  # banks are emptied when somebody takes them up
            n += 1
        self.spaces[0].name = u64(1)
        self.use(u64(0), u64(0))
        self.flush()

    def quiet(self):
        """Whether the guest's poll() has nothing to do, where that is told quickly."""
        return False

    @function
    def flush(self) -> None:
        """Forget all translations. Blocks stay, but are found again through a new fetch translation."""
        self.flushes += 1
        self.locals.count = u64(LISTED + 1)  # as if all were local
        self.forget_spaces()

    @function
    def enter_space(self, name: u64, kept: bool) -> None:
        """Another address space: what is known of the one with this name holds still, or not. Afterwards the guest says
        use() or aim() again, as the bank of set 0 is another."""
        self.flushes += 1
        self.forget_locals()
        self.space = name & (SPACES - 1)
        place = self.spaces[self.space]
        if place.name != name + 1 or not kept:
            place.name = name + 1
            self.empty_space(self.space)
        self.program_number = place.number
        self.renumber()

    @function
    def forget_space(self, name: u64) -> None:
        """Forget the translations that are those of this address space alone."""
        n = name & (SPACES - 1)
        if self.spaces[n].name == name + 1:
            self.empty_space(n)
        if n == self.space:
            self.forget_locals()

    @function
    def forget_spaces(self) -> None:
        """Forget all translations but those that hold in all address spaces."""
        n = u64(0)
        while n < SPACES:
            if self.spaces[n].name != 0:
                self.empty_space(n)
            n += 1
        self.forget_locals()

    @function
    def empty_space(self, n: u64) -> None:
        place = self.spaces[n]
        if place.filled.count > LISTED:
            fill(self.tlbs.address + n * BANK, u8(0xFF), u64(BANK))
        else:
            self.empty_listed(place.filled)
        place.filled.count = u64(0)
        self.newest += 1
        place.number = self.newest
        if n == self.space:
            self.program_number = self.newest
            self.renumber()

    @function
    def end_contexts(self) -> None:
        """Nothing is known any more of where code is, but what the address cache has."""
        n = u64(0)
        while n < SPACES:
            self.newest += 1
            self.spaces[n].number = self.newest
            n += 1
        self.newest += 1
        self.program_number, self.system_number = self.spaces[self.space].number, self.newest
        self.renumber()

    def lives(self, generation: u64) -> bool:
        """Whether an address space has contexts of this generation still."""
        n, found = u64(0), generation == self.system_number
        while n < SPACES:
            found = found or self.spaces[n].number == generation
            n += 1
        return found

    def empty_listed(self, filled) -> None:
        n = u64(0)
        while n < filled.count:
            self.shut_entry(u64(filled.entries[n]))
            n += 1

    def shut_entry(self, number: u64) -> None:
        entry = Pointer[TlbEntry](self.tlbs.address)[number]
        entry.read, entry.write, entry.execute = ~u64(0), ~u64(0), ~u64(0)

    @function
    def forget_locals(self) -> None:
        """Forget what the sets of the system have of the address space in force alone."""
        if self.locals.count > LISTED:
            fill(self.tlbs.address + SPACES * BANK, u8(0xFF), u64((TLB_SETS - 1) * BANK))
            self.local_code = u64(1)
        else:
            self.empty_listed(self.locals)
        self.locals.count = u64(0)
        if self.local_code != 0:
            self.local_code = u64(0)
            self.newest += 1
            self.system_number = self.newest
            self.renumber()
        if unlikely(self.watches != 0):
            self.empty_set(u64(WATCHED_SET))

    def empty_set(self, tlb_set: u64) -> None:
        """One that is not that of programs. The watched one counts only while somebody watches: who takes it up has to
        empty it."""
        fill(self.tlbs.address + (tlb_set + (SPACES - 1)) * BANK, u8(0xFF), u64(BANK))

    @function
    def forget_translations(self) -> None:
        """What lies where in the guest-physical space has changed. A guest that keeps more than the TLB adds to it."""
        self.flush()

    @function
    def flush_page(self, va: u64) -> None:
        """Forget the translation of one page, in all address spaces."""
        self.flushes += 1
        bank, n = u64(0), va >> PAGE_BITS & (TLB_SIZE - 1)
        while bank < BANKS:
            if bank >= SPACES or self.spaces[bank].name != 0:
                self.shut_entry(n)
            bank, n = bank + 1, n + TLB_SIZE
        self.forget_jumps(va)

    def use(self, tlb_set: u64, mode: u64) -> None:
        """Switch to another set of translations (0 to 3: who may access what; 0 is for programs) and another mode (16
        bits: whatever else decoding or fetching depends on, the privilege included)."""
        self.tlb_set = tlb_set
        self.aim(tlb_set)
        self.enter_context(self.generation() << 16 | mode)

    def aim(self, tlb_set: u64) -> None:
        """Use a set of translations without a change of mode."""
        bank = select(tlb_set == 0, self.space, tlb_set + (SPACES - 1))
        self.tlb = Pointer[TlbEntry](self.tlbs.address + bank * BANK)
        self.find_stack()

    def generation(self):
        """What contexts have of the translations in force: code was found by them."""
        programs = (self.tlb_set == 0) | (self.tlb_set == WATCHED_SET)
        return select(programs, self.program_number, self.system_number)

    def renumber(self) -> None:
        self.enter_context(self.generation() << 16 | self.context & 0xFFFF)

    def enter_context(self, context: u64) -> None:
        self.context = self.door = context

    def now(self) -> u64:
        """Guest time in nanoseconds. Only in operations defined with counts=True. Instructions take equally long, but
        processors in several threads need a clock in common: the host's."""
        if unlikely(self.parallel != 0):
            return self.host_time()
        return self.ticks + ((self.budget - self.withheld - self.left) * self.pace >> 10)

    @function
    def fetch(self, va: u64) -> u64:
        """The host address of the code at a virtual address, or a fault. Code outside RAM cannot be executed."""
        entry = self.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]
        if entry.execute == va & ~u64(PAGE - 1):
            return va + entry.addend
        physical = self.walk(va, u64(EXECUTE))
        host = self.host(physical)
        if host == 0:
            self.no_code(va)
        self.install(va, physical, host, u64(EXECUTE))
        return host


# What follows where the address cache does not have a page: hot code leaves it to handlers.
SLOW = Cpu.load_bytes, Cpu.store_bytes, Cpu.probe, Cpu.probe_wide


def listed(filled, number: u64) -> None:
    if filled.count < LISTED:
        filled.entries[filled.count] = u32(number)
    filled.count += 1


def lines_of(host: u64, size: u64) -> u64:
    """The bits of CodePage.lines for bytes that lie in one page; `size` is at least 1."""
    first, last = (host & (PAGE - 1)) >> 6, (host + (size - 1) & (PAGE - 1)) >> 6
    return ~u64(0) >> 63 - last & ~u64(0) << first


def load_sized(host: u64, size: u64) -> u64:
    """`size` bytes at a host address (1 to 8), as an integer."""
    if size == 8:
        return load(u64, host)
    if size == 4:
        return u64(load(u32, host))
    if size == 2:
        return u64(load(u16, host))
    if size == 1:
        return u64(load(u8, host))
    value, n = u64(0), u64(0)
    while n < size:
        value = value | u64(load(u8, host + n)) << n * 8
        n += 1
    return value


def store_sized(host: u64, size: u64, value: u64) -> None:
    """Store the low `size` bytes (1 to 8) of a value at a host address."""
    if size == 8:
        store(u64, host, value)
    elif size == 4:
        store(u32, host, u32(value))
    elif size == 2:
        store(u16, host, u16(value))
    else:
        n = u64(0)
        while n < size:
            store(u8, host + n, u8(value >> n * 8))
            n += 1
