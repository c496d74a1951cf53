"""Blocks that are met again, as machine code put together from stencils (stencils.py).

A block runs first by its handlers. When it is found for the second time, each of its records gets a copy of its
handler's stencil, with its operands filled in, as its handler; the copies stand one behind the other, so that each
falls into the next. Whatever else looks at records (regions, the end of a block whose bytes change) finds them as
before. A copy lives as long as its block: nothing leads into it but records, and a store that ends its own block is
none that a stencil does.

A record without a stencil keeps its handler, and so does one whose operands do not fit the holes.

A branch to a known distance has a Link. It is made when the branch is first taken, and undone when the block that it
leads to ends. Inside a page it holds wherever the page is mapped; from page to page the address cache is asked whether
the other page is where it was.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.cpu import PAGE, load_sized
from guesthouse.engine.op import Record
from guesthouse.engine.sharing import Sharing
from guesthouse.typed import Array, Pointer, Struct, copy, function, static, store

DIALECTS = 4  # at most
LEAST = 256  # bytes that are left in the forge: a block ends with two links, at most
FIELD_32, FIELD_64, RECORD, NUMBER, NEXT, ASIDE = range(6)  # what goes into a hole, and ...
LINK, PLACE = 6, 8  # ... a link, for the code, and where it lies in the forge; for the second link, one more
# Stencils behind those of the handlers and of `advance`: one that goes on with the handler of a record that has none,
# and one that goes to the handler where another stencil cannot do its work.
BY_HANDLER, TO_HANDLER = range(1, 3)


class Stencil(Struct):
    """The code of one handler, without a jump to what follows at its end. Addresses count from the table's start."""

    code: u32
    holes: u32
    length: u16  # in bytes; 0: there is none
    count: u16  # of holes
    narrow: u16  # of them: the first, which must be 32 bits with a sign
    slow: u8  # it may jump to its handler, aside of the block
    stays: u8  # the record keeps its handler
    links: u8  # how many blocks it leads to, and which fields of the record tell how far they are
    link_place: Array[u8, 2]
    link_octets: Array[u8, 2]
    usual: u16  # number of the stencil to be taken instead if operands are as they mostly are, or 0
    far: u16  # number of the stencil to be taken instead if these blocks are not all in the page of this one


class Hole(Struct):
    """A place in a copy, and what is put there: a field of the record, for the most part, and a constant added."""

    addend: u64
    place: u16
    kind: u8
    field: u8  # its offset in the record
    octets: u8  # of the field


class Link(Struct):
    """Where a branch leads: the first record of a block, how many instructions that has (all ones: it is not known
    yet), and where its bytes are."""

    record: u64
    count: u64
    host: u64
    following: u64  # the next link to the same block


class Dialect(Struct):
    """For which modes a table of stencils is: those that have this value under this mask."""

    mask: u64
    value: u64
    table: u64  # of a Stencil for each handler and for `advance`, then BY_HANDLER and TO_HANDLER


class Stitching(Sharing):
    """The part of a processor's state that puts blocks together."""

    dialects: Array[Dialect, DIALECTS]
    dialect_count: u64  # 0: blocks are not put together
    forge: u64  # where the next copy goes
    forge_start: u64
    forge_end: u64  # where the last link begins: they lie at the end
    forge_limit: u64
    unlinked: u64  # handler that makes a link: where that lies in the forge stands in for the record
    room_start: u64  # of blocks: stencils count from there to find their records
    handlers: Pointer[u64]  # machine-code address for each handler number, and `advance` behind them
    handler_count: u64
    again: u64  # handler that goes on where the jump cache does not know the block at pc
    stitched: u64  # blocks, for --stats

    @function
    def stitch(self, guest: static, first: u64, records: u64, numbers: u64, mode: u64,
               host: u64) -> None:
        """Give the records from `first` on, of one block with bytes at `host`, copies of their stencils; `numbers` are
        their handlers'."""
        table = self.table_for(mode)
        if table == 0:
            return
        to_handler = table + (self.handler_count + TO_HANDLER) * Stencil.size
        aside, n = self.forge, u64(0)
        while n < records:
            aside += self.size_of(self.choose(guest, table, first + n * guest.record.size, numbers, n, host))
            n += 1
        if aside + records * self.size_of(to_handler) + LEAST > self.forge_end:
            return  # until all blocks are forgotten
        at, n = self.forge, u64(0)
        while n < records:
            record, number = first + n * guest.record.size, u64(Pointer[u16](numbers)[n])
            stencil = self.choose(guest, table, record, numbers, n, host)
            following = at + self.size_of(stencil)
            self.fill_in(table, stencil, record, number, at, following, aside)
            place = Pointer[Stencil](stencil)[0]
            if place.slow != 0:
                self.fill_in(table, to_handler, record, number, aside, aside, aside)
                aside += self.size_of(to_handler)
            if place.stays == 0 and Pointer[Record](record)[0].handler == self.handlers[number]:
                Pointer[Record](record)[0].handler = at  # else a region stands there
            at = following
            n += 1
        self.forge = aside + 15 & ~u64(15)
        self.stitched += 1

    def table_for(self, mode: u64) -> u64:
        n, table = u64(0), u64(0)
        while n < self.dialect_count:
            dialect = self.dialects[n]
            if mode & dialect.mask == dialect.value:
                table = dialect.table
            n += 1
        return table

    def size_of(self, stencil: u64) -> u64:
        return u64(Pointer[Stencil](stencil)[0].length)

    @function
    def choose(self, guest: static, table: u64, record: u64, numbers: u64, n: u64, host: u64) -> u64:
        """The stencil for a record: that of its handler, if there is one into which its operands fit."""
        stencil = table + u64(Pointer[u16](numbers)[n]) * Stencil.size
        place, usual = Pointer[Stencil](stencil)[0], True
        for name, value in guest.usual:
            usual = usual and getattr(Pointer[guest.record](record)[0], name) == value
        if usual and place.usual != 0:
            stencil = table + u64(place.usual) * Stencil.size
        n, offset = u64(0), host & (PAGE - 1)
        while n < u64(place.links):
            if offset + load_sized(record + u64(place.link_place[n]), u64(place.link_octets[n])) >= PAGE:
                stencil = table + u64(place.far) * Stencil.size
            n += 1
        place = Pointer[Stencil](stencil)[0]
        fits, hole = place.length != 0, table + u64(place.holes)
        end = hole + u64(place.narrow) * Hole.size
        while hole < end:
            fits = fits and self.value(record, hole) + (1 << 31) >> 32 == 0
            hole += Hole.size
        return select(fits, stencil, table + (self.handler_count + BY_HANDLER) * Stencil.size)

    def value(self, record: u64, hole: u64) -> u64:
        place = Pointer[Hole](hole)[0]
        return load_sized(record + u64(place.field), u64(place.octets)) + place.addend

    @function
    def fill_in(self, table: u64, stencil: u64, record: u64, number: u64, at: u64, following: u64, aside: u64) -> None:
        """Make a copy at `at`; `following` and `aside` are where it goes on, and where it goes for its handler."""
        place = Pointer[Stencil](stencil)[0]
        n = u64(place.links)
        while n != 0:
            self.forge_end -= Link.size
            self.undo(self.forge_end)
            n -= 1
        copy(at, table + u64(place.code), u64(place.length))
        n, hole = u64(0), table + u64(place.holes)
        while n < u64(place.count):
            what = Pointer[Hole](hole)[0]
            to = at + u64(what.place)
            if what.kind == FIELD_64:
                store(u64, to, self.value(record, hole))
            elif what.kind == FIELD_32:
                store(u32, to, u32(self.value(record, hole)))
            elif what.kind == RECORD:
                store(u32, to, u32(record - self.room_start + what.addend))
            elif what.kind == NUMBER:
                store(u32, to, u32(number + what.addend))
            elif what.kind == NEXT:
                store(u32, to, u32(following - to + what.addend))
            elif what.kind == ASIDE:
                store(u32, to, u32(aside - to + what.addend))
            else:
                link = self.forge_end + u64(what.kind & 1) * Link.size
                store(u32, to, u32(link - select(what.kind < PLACE, to, self.forge_start) + what.addend))
            n += 1
            hole += Hole.size

    def is_copy(self, handler: int) -> bool:
        """Whether a handler is a copy of a stencil. For Python."""
        return bool(self.forge_start <= handler < self.forge)

    def undo(self, link: u64) -> None:
        """Let a link lead to the handler that makes it."""
        Pointer[Link](link)[0].count = ~u64(0)

    @function
    def undo_all(self, link: u64) -> None:
        """The same for this one and those after it."""
        while link != 0:
            self.undo(link)
            link = Pointer[Link](link)[0].following
