"""What a processor does because others share its memory: code that one decodes and another changes, calls from one to
the other, and atomic instructions.

Each processor has blocks of its own; `holders` tells who has some of a page. Whoever stores there tells the holders,
and no address cache may write to such a page unnoticed. Where processors take turns, all that happens at once. Where
they run at the same time (`parallel`), a processor is called: its branches find their door shut, it comes back to its
run loop and heeds what was asked. `inside` is odd while it may be between the check and the store of a fast path; who
shuts a page to the fast paths of the others waits until each has passed a safe point.
"""

from guesthouse.bits import likely, u32, u64, unlikely
from guesthouse.engine.cpu import (
    ALL_ONES, ALONE, ANY, BANKS, BUDGET, PAGE, PAGE_BITS, TLB_SIZE, WRITE, WRITERS, Cpu, TlbEntry, lines_of,
)
from guesthouse.typed import Abandon, Array, Pointer, compare_exchange, exchange, fetch_add, function, invoke

PROCESSORS = 64  # at most: each has a bit in `holders`
OUTDATED = 64  # pages that can wait to be forgotten; if there are more, everything is


class Sharing(Cpu):
    """The part of a processor's state that others read or change while it runs."""

    number: u64
    peers: u64  # how many others there are, and where their states are
    peer: Array[u64, PROCESSORS]
    inside: u64
    ordered: u64  # a place for exchanges that are there for their ordering only
    alone: u64  # nobody else runs: an atomic operation needs no help of the host's
    yield_at: u64  # guest time from which on a processor that only waits for another gives up its turn; 0: never
    expected: Array[u64, 2]  # what an atomic operation has read
    outdated: Array[u64, OUTDATED]  # host addresses whose pages others have changed
    outdated_count: u64
    outdated_lock: u64
    host_clock: u64  # address of clock_gettime, and what it is asked for; parallel processors only
    host_clock_number: u64
    host_offset: u64  # from the host's time to the guest's
    timespec: Array[u64, 2]

    # Time.

    @function
    def host_time(self) -> u64:
        """Guest time by the host's clock, which all processors see alike."""
        invoke(self.host_clock, self.host_clock_number, self.timespec.address)
        return self.timespec[0] * 1_000_000_000 + self.timespec[1] + self.host_offset

    # Order.

    def where_is(self, field: str):
        """The host address of one of our own fields."""
        return self.address + u64(type(self).offset(field) & ALL_ONES)

    def fence(self) -> None:
        """All stores before are seen by all before any load after (MFENCE). Nothing where processors take turns."""
        if unlikely(self.parallel != 0):
            exchange(u64, self.where_is("ordered"), u64(0))

    def set_out(self) -> None:
        if self.parallel != 0:
            fetch_add(u64, self.where_is("inside"), u64(1))

    set_down = set_out

    def pass_safe_point(self) -> None:
        """Between two blocks; orders memory too, as instructions do that serialise."""
        if self.parallel != 0:
            fetch_add(u64, self.where_is("inside"), u64(2))

    # Calls.

    @function
    def summon(self) -> None:
        """From another thread: come back to the run loop, soon."""
        exchange(u64, self.where_is("called"), u64(1))
        self.door = ~u64(0)

    @function
    def heed(self) -> None:
        """Do what was asked with summon()."""
        exchange(u64, self.where_is("called"), u64(0))
        self.door = self.context
        if self.outdated_count != 0:
            self.catch_up()
        if self.recalled != 0:
            self.recalled = u64(0)
            self.exit = u64(BUDGET)

    @function
    def wait_for(self, peer: u64) -> None:
        """Until another processor has passed a safe point. Meanwhile we are at one: it may wait for us."""
        other = Pointer[type(self)](peer)[0]
        was = fetch_add(u64, other.where_is("inside"), u64(0))
        if was & 1 != 0:
            self.set_down()
            other.summon()
            while fetch_add(u64, other.where_is("inside"), u64(0)) == was:
                pass
            self.set_out()

    # Pages with code.

    @function
    def claim(self, host: u64, size: u64) -> None:
        """These bytes will be decoded: from now on nobody changes them unnoticed."""
        page = self.page_of(host)
        if page < self.ram_pages:
            if self.parallel != 0:
                self.code[page].lines = self.code[page].lines | lines_of(host, size)
            if self.holders[page] >> self.number & 1 == 0:
                fetch_add(u64, self.holders.address + page * 8, u64(1) << self.number)
                self.shut(host & ~u64(PAGE - 1))
                n = u64(0)
                while n < self.peers:
                    peer = self.peer[n]
                    if Pointer[type(self)](peer)[0].shut(host & ~u64(PAGE - 1)) and self.parallel != 0:
                        self.wait_for(peer)
                    n += 1

    @function
    def shut(self, page: u64) -> bool:
        """No fast path of ours writes to the RAM page at this host address any more; whether one could have."""
        writers, n, found = self.code[self.page_of(page)].writers, u64(0), False
        if writers[0] == ANY:
            found = self.shut_among(page, u64(0), u64(TLB_SIZE * BANKS))
        while n < WRITERS:
            if writers[n] != 0 and writers[n] != ANY and self.shut_among(page, u64(writers[n]) - 1, u64(1)):
                found = True
            writers[n] = u32(0)
            n += 1
        return found

    @function
    def shut_among(self, page: u64, first: u64, count: u64) -> bool:
        n, found = first, False
        while n < first + count:
            if self.writes(n, page):
                Pointer[TlbEntry](self.tlbs.address)[n].write, found = ~u64(0), True
            n += 1
        return found

    def give_up(self, page: u64) -> None:
        """We have no code of this RAM page any more."""
        if self.holders[page] >> self.number & 1 != 0:
            fetch_add(u64, self.holders.address + page * 8, u64(0) - (u64(1) << self.number))

    def tell_of_change(self, host: u64, size: u64) -> None:
        """Bytes in one page have been stored to, past the fast path: tell those who decoded them."""
        if unlikely(self.peers != 0):
            self.tell_peers(host, size)

    @function
    def tell_peers(self, host: u64, size: u64) -> None:
        self.fence()
        page, n = self.page_of(host), u64(0)
        if page < self.ram_pages and self.holders[page] & ~(u64(1) << self.number) != 0:
            while n < self.peers:
                other = Pointer[type(self)](self.peer[n])[0]
                if self.holders[page] >> other.number & 1 != 0:
                    if other.code[page].block == 0 or other.code[page].lines & lines_of(host, size) != 0:
                        other.outdate(host)
                n += 1

    @function
    def outdate(self, host: u64) -> None:
        """Someone else has changed bytes of this RAM page. From another thread if `parallel`."""
        if self.parallel == 0:
            self.forget(host)
        else:
            self.lock_outdated()
            n = self.outdated_count
            if n < OUTDATED:
                self.outdated[n] = host
            self.outdated_count = n + 1
            exchange(u64, self.where_is("outdated_lock"), u64(0))
            self.summon()

    def lock_outdated(self) -> None:
        while exchange(u64, self.where_is("outdated_lock"), u64(1)) != 0:
            pass

    @function
    def catch_up(self) -> None:
        """Forget what others have changed."""
        self.lock_outdated()
        n = self.outdated_count
        if n > OUTDATED:
            n = u64(0)
            self.forget_all()
        while n != 0:
            n -= 1
            self.forget(self.outdated[n])
        self.outdated_count = u64(0)
        exchange(u64, self.where_is("outdated_lock"), u64(0))

    # Atomic operations of parallel processors: read, then write if nothing else has been written since, else begin
    # the instruction again. What no host can do at once (unaligned, in a page with code) is done while all others
    # stand still: the exit ALONE asks for that.

    def load_to_lock(self, kind: type, va: u64):
        """The value of an operand that store_locked will write."""
        entry = self.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]
        aligned = va & (kind.size - 1) == 0
        if not likely((entry.write == va & ~u64(PAGE - 1)) & aligned):
            self.ready_to_lock(va, u64(kind.size))
        value = self.load_to_change(kind, va)
        self.expected[0] = u64(value)
        if kind.size == 16:
            self.expected[1] = u64(value >> 64)
        return value

    @function
    def ready_to_lock(self, va: u64, size: u64) -> None:
        """Bring the page into the address cache; leave with ALONE where that does not help. Devices have no locks."""
        if self.alone == 0:
            if (va & (PAGE - 1)) + size <= PAGE:
                physical = self.walk(va, u64(WRITE))
                host = self.host_to_write(physical)
                if host == 0:
                    return
                if va & (size - 1) == 0 and self.holders[self.page_of(host)] == 0:
                    self.install(va, physical, host, u64(WRITE))
                    return
            self.ask_to_be_alone()

    def ask_to_be_alone(self) -> None:
        self.exit = u64(ALONE)
        raise Abandon

    def store_locked(self, kind: type, va: u64, value) -> None:
        """Write what load_to_lock has read, changed; or abandon the instruction, which is then run again."""
        entry = self.tlb[va >> PAGE_BITS & (TLB_SIZE - 1)]
        if likely((entry.write == va & ~u64(PAGE - 1)) & (va & (kind.size - 1) == 0)):
            old = kind(self.expected[0])
            if kind.size == 16:
                old = old | kind(self.expected[1]) << 64
            if unlikely(compare_exchange(kind, va + entry.addend, old, value) != old):
                raise Abandon
        else:
            if self.alone == 0 and self.replies_known == 0:  # no device: the page was shut meanwhile
                self.ask_to_be_alone()
            self.store(kind, va, value)
