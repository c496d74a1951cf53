"""Blocks that are met again, as machine code put together from stencils (stencils.py).

A block runs first by its handlers. When it is found for the second time, each of its records gets a copy of its
handler's stencil, with its operands filled in, as its handler; the copies stand one behind the other, so that each
falls into the next. Whatever else looks at records (regions, the end of a block whose bytes change) finds them as
before. A copy lives as long as its block: nothing leads into it but records, and a store that ends its own block is
none that a stencil does.

A record without a stencil keeps its handler, and so does one whose operands do not fit the holes.

A branch to a known distance has a Link. It is made when the branch is first taken, by writing into the copy where it
leads, and undone when the block that it leads to ends or becomes the entry of a region. Inside a page it holds wherever
the page is mapped; from page to page, or to an instruction that may lie in two of them, for one address in one context,
as what the jump cache has does. To follow it touches no data: in programs of much code half of the time went into
waiting for links and records.

A call promises where it will return: behind its copy stands a landing, which is a link, and a small table tells it by
the stack pointer. A return looks there before it looks into the jump cache.
"""

from guesthouse.bits import select, u8, u16, u32, u64
from guesthouse.engine.cpu import PAGE, RETURNS, Return, load_sized
from guesthouse.engine.op import Record
from guesthouse.engine.sharing import Sharing
from guesthouse.typed import Array, Pointer, Struct, copy, function, static, store

DIALECTS = 4  # at most
BLOCK_LIMIT = 64  # instructions of a block, ...
RECORDS = 2 * BLOCK_LIMIT + 1  # ... and records, at most
INSTRUCTION = 16  # bytes, at most
LEAST = 256  # bytes that are left in the forge: a block ends with two links, at most
FIELD_32, FIELD_64, RECORD, NUMBER, NEXT, ASIDE = range(6)  # what goes into a hole, ...
# ... of a link: where it goes as long as it is not made; then what is written when it is: how many instructions the
# block has that it leads to, its first record, that one's handler, the pc and the context. For the second, one more.
UNMADE, COUNT, CODE, AT, CONTEXT = range(6, 16, 2)
LAND, BY_RECORD_IS, BY_NUMBER_IS, FIELD_8 = range(16, 20)  # where a call's landing is, and what stands once; a field
NEAR, IN_CONTEXT, BY_ADDRESS = range(3)  # for what a link is made: any address, one context, one address there
AGAIN = 8  # times that a link is met in another context until it is made for that one
# Stencils behind those of the handlers and of `advance`: one that goes on with the handler of a record that has none,
# one that goes to the handler where another stencil cannot do its work, one for a link that is not made; the landing of
# calls, and that of calls behind which the page ends. Those from BY_RECORD on stand once, where the forge begins: to a
# handler in a record, to that of a number, and to `again`.
BY_HANDLER, TO_HANDLER, TO_LINK, LANDING, LANDING_FAR, BY_RECORD, BY_NUMBER, LOOK_AGAIN = range(1, 9)


class Stencil(Struct):
    """The code of one handler, without a jump to what follows at its end. Addresses count from the table's start."""

    code: u32
    holes: u32
    length: u16  # in bytes; 0: there is none
    count: u16  # of holes
    narrow: u16  # of them: the first, which must be 32 bits with a sign, or 8
    slow: u8  # it may jump to its handler, aside of the block
    stays: u8  # the record keeps its handler
    lands: u8  # a landing stands behind it
    stands: u8  # it ends with the guest's flags in the host's
    links: u8  # how many blocks it leads to, and which fields of the record tell how far they are
    link_place: Array[u8, 2]
    link_octets: Array[u8, 2]
    usual: u16  # number of the stencil to be taken instead if operands are as they mostly are, or 0
    on_stack: u16  # ... and if that is on the stack
    far: Array[u16, 3]  # numbers of those to be taken instead if the first of these blocks may not be in the page of
    #                     this one, if the second may not, if both may not
    standing: u16  # number of that to be taken instead where the host's flags stand, which asks for them first
    tight: Array[u16, 2]  # numbers of those to be taken instead if all its operands have 8 bits, if its registers have


class Hole(Struct):
    """A place in a copy, and what is put there: a field of the record, for the most part, and a constant added."""

    addend: u64
    place: u16
    kind: u8
    field: u8  # its offset in the record
    octets: u8  # of the field


class Link(Struct):
    """Where a branch leads: the first record of a block, or 0, and what of the copy tells it. Those of regions are not
    written into code: they have no holes."""

    record: u64
    count: u64  # as it is written in the copy
    following: u64  # the next link to the same block
    copy: u64  # where the copy is
    holes: u64  # the first of its stencil
    hole_count: u64
    which: u64  # of the stencil's links
    strange: u64  # how often it was met in another context than ...
    generation: u64  # ... that for which it was made, ...
    pc: u64  # ... and for this address
    aside: u64  # where the copy goes as long as the link is not made


class Dialect(Struct):
    """For which modes a table of stencils is: those that have this value under this mask."""

    mask: u64
    value: u64
    table: u64  # of a Stencil for each handler and for `advance`, then BY_HANDLER and so on


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
    by_number: u64  # where this stencil stands, and LOOK_AGAIN
    look_again: u64
    stitched: u64  # blocks, for --stats
    chosen: Array[u64, RECORDS]  # the stencils for a block's records

    @function
    def stitch(self, guest: static, first: u64, records: u64, numbers: u64, mode: u64,
               host: u64) -> None:
        """Give the records from `first` on, of one block with bytes at `host`, copies of their stencils; `numbers` are
        their handlers'."""
        table = self.table_for(mode)
        if table == 0:
            return
        self.begin_forge(table)
        aside, more, n, before = self.forge, u64(0), u64(0), table
        while n < records:
            record = first + n * guest.record.size
            before = self.choose(guest, table, record, numbers, n, host, before)
            self.chosen[n], place = before, Pointer[Stencil](before)[0]
            aside, more = aside + u64(place.length), more + self.size_aside(table, before)
            if place.lands != 0:
                landing = self.landing(table, record, host)
                aside, more = aside + self.size_of(landing), more + self.size_aside(table, landing)
            n += 1
        if aside + more + LEAST > self.forge_end:
            return  # until all blocks are forgotten
        at, n = self.forge, u64(0)
        while n < records:
            record, number, stencil = first + n * guest.record.size, u64(Pointer[u16](numbers)[n]), self.chosen[n]
            self.copy_to(table, stencil, record, number, at, aside)
            place = Pointer[Stencil](stencil)[0]
            if place.stays == 0 and Pointer[Record](record)[0].handler == self.handlers[number]:
                Pointer[Record](record)[0].handler = at  # else a region stands there
            at, aside = at + u64(place.length), aside + self.size_aside(table, stencil)
            if place.lands != 0:
                landing = self.landing(table, record, host)
                self.copy_to(table, landing, record, number, at, aside)
                at, aside = at + self.size_of(landing), aside + self.size_aside(table, landing)
            n += 1
        self.forge = aside + 15 & ~u64(15)
        self.stitched += 1

    def begin_forge(self, table: u64) -> None:
        """Put there what stands once, if nothing is there."""
        if self.forge != self.forge_start:
            return
        n = u64(BY_RECORD)
        while n <= LOOK_AGAIN:
            place = Pointer[Stencil](self.own(table, n))[0]
            self.by_number = select(n == BY_NUMBER, self.forge, self.by_number)
            self.look_again = self.forge
            copy(self.forge, table + u64(place.code), u64(place.length))
            self.forge += u64(place.length)
            n += 1
        self.forget_returns()

    def own(self, table: u64, n: u64) -> u64:
        """One of the stencils that are no handler's."""
        return table + (self.handler_count + n) * Stencil.size

    def landing(self, table: u64, record: u64, host: u64) -> u64:
        beyond = (host & (PAGE - 1)) + u64(Pointer[Record](record)[0].after) > PAGE - INSTRUCTION
        return self.own(table, select(beyond, u64(LANDING_FAR), u64(LANDING)))

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

    def size_aside(self, table: u64, stencil: u64) -> u64:
        """Of what a copy goes to if it cannot do its work, or for its links."""
        place = Pointer[Stencil](stencil)[0]
        return u64(place.slow) * self.size_of(self.own(table, u64(TO_HANDLER))) + \
            u64(place.links) * self.size_of(self.own(table, u64(TO_LINK)))

    @function
    def choose(self, guest: static, table: u64, record: u64, numbers: u64, n: u64, host: u64, before: u64) -> u64:
        """The stencil for a record: that of its handler, if there is one into which its operands fit. `before`: which
        has been chosen for the record before it; for the first, that of number 0."""
        stencil = table + u64(Pointer[u16](numbers)[n]) * Stencil.size
        place, usual = Pointer[Stencil](stencil)[0], True
        for name, value in guest.usual:
            usual = usual and getattr(Pointer[guest.record](record)[0], name) == value
        if usual and place.usual != 0:
            stencil = table + u64(place.usual) * Stencil.size
        for name, value in guest.stacked.fields:
            usual = usual and getattr(Pointer[guest.record](record)[0], name) == value
        if usual and place.on_stack != 0:
            stencil = table + u64(place.on_stack) * Stencil.size
        if place.standing != 0 and Pointer[Stencil](before)[0].stands != 0:
            stencil = table + u64(place.standing) * Stencil.size
        n, offset, far, near = u64(0), host & (PAGE - 1), u64(0), Pointer[Stencil](stencil)[0]
        while n < u64(near.links):
            if offset + load_sized(record + u64(near.link_place[n]), u64(near.link_octets[n])) > PAGE - INSTRUCTION:
                far = far + n + 1
            n += 1
        if far != 0:
            stencil = table + u64(near.far[far - 1]) * Stencil.size
        n, wide = u64(0), Pointer[Stencil](stencil)[0]
        while n < 2:
            tight = table + u64(wide.tight[n]) * Stencil.size
            if wide.tight[n] != 0 and self.fits(table, tight, record):
                return tight
            n += 1
        return select(self.fits(table, stencil, record), stencil, self.own(table, u64(BY_HANDLER)))

    @function
    def fits(self, table: u64, stencil: u64, record: u64) -> bool:
        """Whether a record's operands fit into the holes."""
        place = Pointer[Stencil](stencil)[0]
        fits, hole = place.length != 0, table + u64(place.holes)
        end = hole + u64(place.narrow) * Hole.size
        while hole < end:
            bits = select(Pointer[Hole](hole)[0].kind == FIELD_8, u64(8), u64(32))
            fits = fits and self.value(record, hole) + (u64(1) << bits - 1) >> bits == 0
            hole += Hole.size
        return fits

    def value(self, record: u64, hole: u64) -> u64:
        place = Pointer[Hole](hole)[0]
        return load_sized(record + u64(place.field), u64(place.octets)) + place.addend

    @function
    def copy_to(self, table: u64, stencil: u64, record: u64, number: u64, at: u64, aside: u64) -> None:
        """Make a copy at `at`, and its links; `aside` is where it goes for its handler and as long as these are not
        made."""
        place = Pointer[Stencil](stencil)[0]
        to_handler, to_link = self.own(table, u64(TO_HANDLER)), self.own(table, u64(TO_LINK))
        outside = aside + u64(place.slow) * self.size_of(to_handler)
        self.fill_in(table, stencil, record, number, at, aside, outside)
        if place.slow != 0:
            self.fill_in(table, to_handler, record, number, aside, aside, aside)
        n = u64(0)
        while n < u64(place.links):
            self.forge_end -= Link.size
            link = Pointer[Link](self.forge_end)[0]
            link.copy, link.holes, link.hole_count, link.which = at, table + u64(place.holes), u64(place.count), n
            link.strange, link.aside = u64(0), outside
            self.undo(self.forge_end)
            self.fill_in(table, to_link, record, self.forge_end - self.forge_start, outside, outside, outside)
            outside, n = outside + self.size_of(to_link), n + 1

    @function
    def fill_in(self, table: u64, stencil: u64, record: u64, number: u64, at: u64, aside: u64, outside: u64) -> None:
        place, to_link = Pointer[Stencil](stencil)[0], self.size_of(self.own(table, u64(TO_LINK)))
        copy(at, table + u64(place.code), u64(place.length))
        following = at + u64(place.length)
        n, hole = u64(0), table + u64(place.holes)
        while n < u64(place.count):
            what = Pointer[Hole](hole)[0]
            to = at + u64(what.place)
            if what.kind == FIELD_64:
                store(u64, to, self.value(record, hole))
            elif what.kind == FIELD_32:
                store(u32, to, u32(self.value(record, hole)))
            elif what.kind == FIELD_8:
                store(u8, to, u8(self.value(record, hole)))
            elif what.kind == RECORD:
                store(u32, to, u32(record - self.room_start + what.addend))
            elif what.kind == NUMBER:
                store(u32, to, u32(number + what.addend))
            elif what.kind == NEXT:
                store(u32, to, u32(following - to + what.addend))
            elif what.kind == ASIDE:
                store(u32, to, u32(aside - to + what.addend))
            elif what.kind == LAND:
                store(u32, to, u32(following - self.forge_start + what.addend))
            elif what.kind == BY_RECORD_IS:
                store(u32, to, u32(self.forge_start - to + what.addend))
            elif what.kind == BY_NUMBER_IS:
                store(u32, to, u32(self.by_number - to + what.addend))
            elif what.kind < COUNT:
                store(u32, to, u32(outside + u64(what.kind & 1) * to_link - to + what.addend))
            n += 1
            hole += Hole.size

    @function
    def to_handler_of(self, record: u64) -> u64:
        """Code that goes to a record's handler, made in the forge; 0 if there is no room."""
        table = self.dialects[0].table  # regions have modes that no dialect is for; this stencil is the same in all
        if table == 0:
            return u64(0)
        self.begin_forge(table)
        at, stencil = self.forge, self.own(table, u64(BY_HANDLER))
        after = at + self.size_of(stencil) + 15 & ~u64(15)
        if after > self.forge_end:
            return u64(0)
        self.fill_in(table, stencil, record, u64(0), at, at, at)
        self.forge = after
        return at

    def is_copy(self, handler: u64):
        """Whether a handler is a copy of a stencil."""
        return handler - self.forge_start < self.forge - self.forge_start

    @function
    def aim_link(self, link: u64, count: u64, record: u64, code: u64, pc: u64) -> None:
        """Let a link lead to the block with this first record and to this code, for a branch to pc in the context in
        force."""
        place = Pointer[Link](link)[0]
        n, hole = u64(0), place.holes
        place.record, place.count, place.generation, place.pc = record, count, self.context >> 16, pc
        while n < place.hole_count:
            what = Pointer[Hole](hole)[0]
            to, kind = place.copy + u64(what.place), what.kind & 0xFE
            if what.kind >= COUNT and what.kind < LAND and u64(what.kind & 1) == place.which:
                if kind == COUNT:
                    store(u8, to, u8(count + what.addend))
                elif kind == CODE:
                    store(u32, to, u32(code - to + what.addend))
                elif kind == AT:
                    store(u64, to, pc + what.addend)
                else:
                    store(u32, to, u32(place.generation + what.addend))
            n += 1
            hole += Hole.size

    def note_call(self, stack: u64) -> None:
        """A body has put the address of the next instruction there, to come back to it. For stencils alone."""

    def note_return(self, stack: u64) -> None:
        """A body goes on at the address that it found there. For stencils alone."""

    def promise(self, stack: u64, pc: u64, code: u64) -> None:
        place = self.returns[stack >> 3 & (RETURNS - 1)]
        place.pc, place.code = pc, code

    def promised(self, stack: u64):
        """Whether a call has promised to return to pc, and the code for it."""
        place = self.returns[stack >> 3 & (RETURNS - 1)]
        return place.pc == self.pc, self.forge_start + place.code

    @function
    def forget_returns(self) -> None:
        n = u64(0)
        while n < RETURNS:
            place = Pointer[Return](self.returns.address)[n]
            place.pc, place.code = u64(0), self.look_again - self.forge_start
            n += 1

    def undo(self, link: u64) -> None:
        """Let a link lead to the handler that makes it."""
        self.aim_link(link, u64(0), u64(0), Pointer[Link](link)[0].aside, u64(0))

    @function
    def undo_all(self, link: u64) -> None:
        """The same for this one and those after it."""
        while link != 0:
            self.undo(link)
            link = Pointer[Link](link)[0].following
