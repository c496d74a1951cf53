"""Blocks of decoded instructions: looked up, built, run, and forgotten when their bytes change.

A block is a run of records that ends with a branch, at the end of its page, or after BLOCK_LIMIT instructions. It is
found by (host address, mode) in a hash table, and before that in a small direct-mapped cache by (pc, context). As a
rule it runs wherever its bytes are mapped: what libraries have in common is decoded once, although each process has
them at another place. Where decoding looks at the address itself (Guest.home), the block belongs to that page alone.
Its instructions are subtracted from the budget when it is entered, so that handlers need not count. An instruction
that lies in two pages is a block of its own, and known to both pages. One for which the budget does not allow its
block is decoded anew into `scratch` and run alone.
"""

from guesthouse.bits import select, u8, u16, u32, u64, unlikely
from guesthouse.engine.cpu import (
    BUDGET, FAULT, MEMORY_READ, NONE, PAGE, PAGE_BITS, REGISTER_WRITE, STEP, TLB_SIZE, CodePage, Cpu, lines_of,
)
from guesthouse.engine.op import FALLS, Record
from guesthouse.engine.stitching import AGAIN, BLOCK_LIMIT, BY_ADDRESS, NEAR, RECORDS, Link, Stitching
from guesthouse.typed import Abandon, Array, Pointer, Struct, copy, fill, function, static

LONGEST = BLOCK_LIMIT * 16  # bytes of a block, at most
BUCKETS = 1 << 18
JUMP_PAGES, JUMPS_A_PAGE = 256, 512  # the jump cache: so many pages, so many places in each
JUMPS = JUMP_PAGES * JUMPS_A_PAGE
ANYWHERE, PAGE_MASK = (1 << 64) - 1, (1 << 64) - PAGE
NO_WAY = NEVER = (1 << 64) - 1
MARK_BITS = 17
MARKS = 1 << MARK_BITS  # bits of a hashed set of pages
TRAIL = 64  # branch targets that are remembered, for reports
SAMPLE = 64  # blocks that a sample has
MET = 2048  # blocks that may wait until they are looked at
NOTES = 1 << 15  # blocks of which samples are remembered
FOLLOWING = 16  # blocks that are remembered to have come after one, ...
FAR = 1 << 31  # ... if they are no further (Note.distances): a program and its libraries are never twice as far apart
LOOKUP, LEFT, ABANDONED = range(3)  # why machine code came back to run()


class Block(Struct):
    """Followed by its records, and by the numbers of their handlers, 16 bits each."""

    home: u64  # the virtual page where alone it can run, or ANYWHERE
    host: u64  # address of its first byte
    mode: u64
    count: u64  # instructions
    records: u64
    length: u64  # in bytes
    in_bucket: u64  # the next block of the same bucket
    in_page: u64  # the next block of the same page
    second: u64  # where its only instruction goes on in another page, or 0
    in_second: u64  # the next block of that page
    way: u64  # which block it is of the region that it leads into (hot/region.py), or NO_WAY
    links: u64  # the first of those that lead here (stitching.py)
    found: u64  # how often: once, or again (2), and so it is put together
    doorway: u64  # where links lead if it does not begin with a copy, or 0 as long as none has come
    note: u64  # which note may be about it; the first is about none


class Note(Struct):
    """What samples have told about a block."""

    block: u64
    ran: u64  # how long without leading into a region; twice, if it was come back to; half as much counts each epoch
    look: u32  # which was told of it last, or 0
    epoch: u32  # when that was
    following: Array[u32, FOLLOWING]  # what came next: blocks, counted from where the room begins, ...
    distances: Array[u32, FOLLOWING]  # ... how much further they were, as signed numbers, ...
    often: Array[u32, FOLLOWING]  # ... and how often each came


class Jump(Struct):
    """One entry of the cache that branches look into."""

    pc: u64
    context: u64
    record: u64
    count: u64


class Processor(Stitching):
    """What a guest's state derives from."""

    room: u64  # where the next block goes
    room_end: u64
    record_size: u64
    ends: Pointer[u8]  # FALLS, BRANCHES or LEAVES for each handler number
    resync: u64  # handler that looks its own instruction up again: put into the records of forgotten blocks
    trail: Array[u64, TRAIL]  # where the last blocks began, but for copies and regions; the newest at trail_end
    trail_end: u64
    pause: u64  # instructions until the next sample of what runs; in one (0) each block is run alone, and noted
    stride: u64  # instructions from sample to sample
    weight: u64  # what a block in a sample stands for, in the unit of Note.ran
    epoch: u64  # counts up as time goes by
    sampled: u64  # how many blocks it has
    last: u64  # the last of them, or 0; ...
    last_at: u64  # ... where that was
    notes: Array[Note, NOTES]  # by turns: each is about the block that it tells, until another needs the place
    newest_note: u64
    look: u64  # which comes next, from 1 on
    enough: u64  # how long a block has run at least that is told to looks
    met: Array[u64, MET]  # such blocks of samples that led into no region, each once, ...
    met_at: Array[u64, MET]  # ... and where they were
    met_count: u64
    uncovered: u64  # how often one was met that led into no region
    forgettings: u64  # how often all blocks have been forgotten
    sought: u64  # a link whose block, at pc, the jump cache did not have; it is to learn of it
    age: u64  # of contexts: the bits of `newest` that links do not look at
    crossing: u64  # decode_run: host address of the second page of an instruction, or 0
    window: Array[u8, 32]
    scratch: Array[u64, 64]
    jump_marks: Array[u64, MARKS // 64]  # pages that have places in the jump cache
    buckets: Array[u64, BUCKETS]
    jumps: Array[Jump, JUMPS]

    @function
    def run(self, guest: static) -> None:
        """Execute until the budget is used up or `exit` says otherwise. An unfinished instruction is finished first."""
        self.set_out()
        self.replies_used = self.sought = u64(0)
        if self.replies_known != 0:
            if self.left != 0:
                self.finish(guest)
        else:
            self.poll()
        while self.exit == NONE:
            if self.left == 0:
                self.exit = u64(BUDGET)
            elif unlikely(self.called != 0):
                self.heed()
            else:
                self.step(guest, self.left)
                self.pass_safe_point()
        self.set_down()

    @function
    def finish(self, guest: static) -> None:
        """Run the one instruction that asked the board, with the replies so far."""
        others = self.left - 1
        self.left = u64(1)
        self.step(guest, u64(0))
        self.left += others
        if self.exit < MEMORY_READ or self.exit > REGISTER_WRITE:  # else it asks for more
            faulted = self.replies_known == 0
            self.replies_known = u64(0)
            self.replies_used = u64(0)
            if self.exit == NONE and not faulted:
                self.poll()

    @function
    def step(self, guest: static, allowed: u64) -> None:
        """Run from pc until machine code comes back; deliver what it came back with."""
        why, stepping, before = u64(ABANDONED), self.context & STEP, self.left
        try:
            record = self.find(guest, allowed)
            if unlikely(self.pause == 0):
                self.sample(record)
            if unlikely(self.pause < self.left):
                self.withheld, self.left = self.left - self.pause, self.pause
            why = enter(self, record, self.left)
        except Abandon:
            pass
        self.left, self.withheld = self.left + self.withheld, u64(0)
        executed = before - self.left
        self.pause = select(self.pause > executed + BLOCK_LIMIT, self.pause - executed, u64(0))
        if self.exit == FAULT:
            self.exit, self.replies_known = u64(NONE), u64(0)
            self.faults += 1
            self.left -= 1
            self.deliver()
            if self.exit == NONE:
                self.poll()
        elif (why == LEFT or why == LOOKUP and stepping != 0) and self.exit == NONE and self.replies_known == 0:
            self.poll()

    @function
    def find(self, guest: static, allowed: u64) -> u64:
        """The record to begin with at pc, in a block of at most `allowed` instructions, taken off the budget."""
        pc, stepping = self.pc, self.context & STEP != 0
        sought = select(self.start == pc, self.sought, u64(0))
        self.start, self.sought = pc, u64(0)
        if self.pause != 0:
            self.lookups += 1
        if unlikely(self.newest >> 31 != self.age):  # links tell contexts by 32 bits
            self.age = self.newest >> 31
            self.forget_all()
        self.bring_jump(pc)
        jump = self.jumps[jump_index(pc)]
        if jump.pc == pc and jump.context == self.context and jump.count <= allowed and not stepping:
            if Pointer[Block](jump.record - Block.size)[0].mode == self.context & 0xFFFF:  # else it has ended
                self.come_to(pc)
                if sought != 0:
                    self.connect(sought, jump.record)
                self.left -= jump.count
                return jump.record
        host = self.fetch(pc)
        block = self.last_there(pc, host)
        if block == 0:
            block = self.known(pc, host)
        if block == 0 and allowed >= BLOCK_LIMIT and not stepping:  # with less it would be run one by one
            block = self.build(guest, pc, host)
        if block != 0 and not stepping:
            header = Pointer[Block](block)[0]
            if header.count <= allowed:
                self.come_to(pc)
                if self.dialect_count == 0 or self.found_again(guest, block):
                    self.keep_jump(pc, block + Block.size, header.count)
                    if sought != 0:
                        self.connect(sought, block + Block.size)
                self.left -= header.count
                return block + Block.size
        self.decode_run(guest, pc, host, self.scratch.address, u64(1))
        self.left -= 1
        return self.scratch.address

    def sample(self, record: u64) -> None:
        """The block with this first record comes next in the sample. The first may have begun in the midst of one."""
        before, self.last, block = self.last, u64(0), record - Block.size
        self.sampled += 1
        if self.sampled > 1 and record != self.scratch.address:
            header = Pointer[Block](block)[0]
            if header.second == 0:
                distance = self.start - self.last_at
                self.last, self.last_at = block, self.start
                if before != 0 and distance + FAR < 2 * FAR:
                    self.follows(self.note(before), u32(block - self.room_start), u32(distance))
                if header.way == NO_WAY:
                    note = self.note(block)
                    ages = self.epoch - u64(note.epoch)
                    note.ran = select(ages > 63, u64(0), note.ran >> (ages & 63))
                    note.ran += select(before != 0 and -distance < FAR, 2 * self.weight, self.weight)
                    note.epoch = u32(self.epoch)
                    self.uncovered += 1
                    if note.look != u32(self.look) and note.ran >= self.enough:
                        self.met[self.met_count], self.met_at[self.met_count] = block, self.start
                        note.look, self.met_count = u32(self.look), self.met_count + 1
        if self.sampled > SAMPLE:
            self.sampled = self.last = u64(0)
            self.pause = select(self.met_count + SAMPLE <= MET, self.stride, u64(NEVER))

    def note(self, block: u64):
        """The note about a block: a new one, if there is none or its place has been taken."""
        header = Pointer[Block](block)[0]
        if self.notes[header.note & (NOTES - 1)].block != block:
            header.note = self.newest_note = self.newest_note % (NOTES - 1) + 1
            fill(self.notes[header.note & (NOTES - 1)].address, u8(0), u64(Note.size))
            self.notes[header.note & (NOTES - 1)].block = block
        return self.notes[header.note & (NOTES - 1)]

    def follows(self, note: Note, block: u32, distance: u32) -> None:
        """One more block has come after this one, or the same again; the last place is for those that have none."""
        n = u64(0)
        while n < FOLLOWING - 1 and note.often[n] != 0 and (
                note.following[n] != block or note.distances[n] != distance):
            n += 1
        if note.following[n] != block or note.distances[n] != distance:
            note.following[n], note.distances[n], note.often[n] = block, distance, u32(0)
        note.often[n] += 1

    def sample_anew(self, pause: u64) -> None:
        """What has been met is known, or gone: the next sample begins after so many instructions."""
        self.sampled = self.last = self.met_count = self.uncovered = u64(0)
        self.pause, self.look = pause, self.look + 1

    def bring_jump(self, pc: u64) -> None:
        """An entry for pc that has had to make room is beside its place: let them change places."""
        n = jump_index(pc)
        jump, beside = self.jumps[n], self.jumps[n ^ 1]
        if jump.pc != pc and beside.pc == pc:
            other, context, record, count = jump.pc, jump.context, jump.record, jump.count
            jump.pc, jump.context, jump.record, jump.count = pc, beside.context, beside.record, beside.count
            beside.pc, beside.context, beside.record, beside.count = other, context, record, count

    def keep_jump(self, pc: u64, record: u64, count: u64) -> None:
        """Branches to pc shall find its block; the entry that has been there, if there was one, makes room."""
        n, mark = jump_index(pc), page_mark(pc)
        jump, beside = self.jumps[n], self.jumps[n ^ 1]
        if jump.pc != pc and jump.record + 1 > 1:
            beside.pc, beside.context, beside.record, beside.count = jump.pc, jump.context, jump.record, jump.count
        jump.pc, jump.context, jump.record, jump.count = pc, self.context, record, count
        self.jump_marks[mark >> 6] = self.jump_marks[mark >> 6] | u64(1) << (mark & 63)

    def found_again(self, guest: static, block: u64) -> bool:
        """Whether a block has been found before. The second time it is put together; the first time branches do not
        yet learn of it. One that leads into a region is as good as found, and would lose its way into that."""
        header, records = Pointer[Block](block)[0], block + Block.size
        if header.way != NO_WAY:
            return True
        header.found += 1
        if header.found == 2:
            self.stitch(guest, records, header.records, records + header.records * guest.record.size, header.mode,
                        header.host)
        return header.found > 1

    def last_there(self, pc: u64, host: u64) -> u64:
        """The block that the jump cache has for pc, if it is the one decoded from these bytes in this mode; or 0. Its
        context does not matter: that is how a guest that has changed its address space finds its blocks again."""
        jump = self.jumps[jump_index(pc)]
        # An entry that is none has a pc, too, which a guest can have: all zero at first, all ones once forgotten.
        if jump.pc == pc and jump.record + 1 > 1:
            block = jump.record - Block.size
            header = Pointer[Block](block)[0]
            if header.host == host and header.mode == self.context & 0xFFFF and header.second == 0:
                return block  # it has run at this pc: it may do so
        return u64(0)

    def known(self, pc: u64, host: u64) -> u64:
        """The block decoded from these bytes in this mode, which can run at this address, or 0."""
        block, home = self.buckets[bucket_index(host)], self.home(pc)
        while block != 0:
            header = Pointer[Block](block)[0]
            if header.host == host and header.home == home and header.mode == self.context & 0xFFFF:
                if header.second == 0 or self.fetch(pc + PAGE & ~u64(PAGE - 1)) == header.second:
                    return block
            block = header.in_bucket
        return u64(0)

    @function
    def build(self, guest: static, pc: u64, host: u64) -> u64:
        """Decode a block and make it known."""
        self.builds += 1
        if self.room_end - self.room < Block.size + (guest.record.size + 2) * RECORDS:
            self.forget_all()
        block = self.room
        header = Pointer[Block](block)[0]
        self.claim(host, longest(pc))
        records = self.decode_run(guest, pc, host, block + Block.size, u64(BLOCK_LIMIT))
        bucket = bucket_index(host)
        header.home, header.host, header.mode = self.home(pc), host, self.context & 0xFFFF
        header.records, header.in_bucket, header.second = records, self.buckets[bucket], self.crossing
        header.found, header.links, header.doorway, header.way = u64(0), u64(0), u64(0), u64(NO_WAY)
        header.note = u64(0)
        header.count = u64(Pointer[guest.record](block + Block.size)[0].left)
        self.buckets[bucket] = block
        self.room = block + (Block.size + records * (guest.record.size + 2) + 63 & ~u64(63))
        length = u64(Pointer[guest.record](block + Block.size)[records - 1].after)
        header.length = length
        if self.crossing == 0:
            header.in_page = self.enlist(block, host, length)
        else:
            in_page = PAGE - (pc & (PAGE - 1))
            header.in_page = self.enlist(block, host, in_page)
            header.in_second = self.enlist(block, self.crossing, length - in_page)
        return block

    @function
    def enlist(self, block: u64, host: u64, length: u64) -> u64:
        """Make a block with these bytes the newest of its RAM page; returns the one before it."""
        page, before = self.page_of(host), u64(0)
        if page < self.ram_pages:
            code = self.code[page]
            before = code.block
            code.block, code.lines = block, code.lines | lines_of(host, length)
        return before

    @function
    def decode_run(self, guest: static, pc: u64, host: u64, to: u64, limit: u64) -> u64:
        """Decode from pc into records at `to`; returns how many. An instruction in two pages stands alone."""
        at, count, records = u64(0), u64(0), u64(0)
        self.crossing = u64(0)
        ends, page_end = u8(FALLS), (pc | (PAGE - 1)) + 1
        while ends == FALLS and count < limit and (count == 0 or pc + at < page_end):
            here = Pointer[guest.record](to + records * guest.record.size)
            in_page = PAGE - ((pc + at) & (PAGE - 1))
            made = self.decode(pc, at, self.bytes_at(host + at, in_page), here)
            if u64(here[0].length) > in_page:
                if count != 0:
                    break
                second = self.fetch(pc + in_page)
                if limit != 1:
                    self.claim(second, u64(16))
                copy(self.window.address + in_page, second, 16 - in_page)
                made = self.decode(pc, u64(0), self.window.address, here)
                if u64(here[0].length) > in_page:
                    self.crossing = second
            at += u64(here[0].length)
            n = u64(0)
            while n < made:
                number = here[n].handler
                ends = self.ends[number]
                here[n].after, here[n].left = u16(at), u8(count)
                n += 1
            records += made
            count += 1
        if count != 0:
            if ends == FALLS:
                last = Pointer[guest.record](to + records * guest.record.size)[0]
                last.handler, last.after, last.left, last.length = self.handler_count, u16(at), u8(count), u8(0)
                records += 1
            n, numbers = u64(0), to + records * guest.record.size
            while n < records:
                record = Pointer[guest.record](to + n * guest.record.size)[0]
                record.left = u8(count) - record.left
                Pointer[u16](numbers)[n] = u16(record.handler)
                record.handler = self.handlers[record.handler]
                n += 1
        return records

    def bytes_at(self, host: u64, in_page: u64) -> u64:
        """An address from which 16 bytes can be read: those of the page, then zeros."""
        if in_page >= 16:
            return host
        fill(self.window.address, u8(0), u64(16))
        copy(self.window.address, host, in_page)
        return self.window.address

    @function
    def retire(self, host: u64, size: u64) -> None:
        """Every block that has one of these bytes, all in one page, ends before its next instruction, and is found no
        more. The others of the page stay: programs keep data beside their code."""
        code = self.code[self.page_of(host)]
        block, kept, lines = code.block, u64(0), u64(0)
        while block != 0:
            header = Pointer[Block](block)[0]
            begins = header.host >> PAGE_BITS == host >> PAGE_BITS
            following = select(begins, header.in_page, header.in_second)
            in_page = PAGE - (header.host & (PAGE - 1))
            in_first = select(header.length < in_page, header.length, in_page)
            start = select(begins, header.host, header.second)
            length = select(begins, in_first, header.length - in_first)
            if start - host < size or host - start < length:
                self.end(block)
            elif begins:
                header.in_page, kept, lines = kept, block, lines | lines_of(start, length)
            else:
                header.in_second, kept, lines = kept, block, lines | lines_of(start, length)
            block = following
        code.block, code.lines = kept, lines
        if kept == 0:
            self.give_up(self.page_of(host))

    def end(self, block: u64) -> None:
        """A block runs no further. One that lies in two pages stays in the other's chain, where it does no harm."""
        self.invalidations += 1
        header = Pointer[Block](block)[0]
        self.code[self.page_of(header.host)].ended += 1
        self.unlink(block, bucket_index(header.host), header.in_bucket)
        header.mode = ~u64(0)
        self.undo_all(header.links)
        n = u64(0)
        while n < header.records:
            Pointer[Record](block + Block.size + n * self.record_size)[0].handler = self.resync
            n += 1

    def unlink(self, block: u64, bucket: u64, following: u64) -> None:
        if self.buckets[bucket] == block:
            self.buckets[bucket] = following
            return
        before = self.buckets[bucket]
        while before != 0:
            header = Pointer[Block](before)[0]
            if header.in_bucket == block:
                header.in_bucket = following
                return
            before = header.in_bucket

    @function
    def forget_all(self) -> None:
        """Start again with an empty room. Only between blocks."""
        self.room, self.forge, self.forge_end = self.room_start, self.forge_start, self.forge_limit
        self.sample_anew(self.stride)
        self.forgettings += 1
        self.forget_returns()
        fill(self.buckets.address, u8(0), u64(BUCKETS * 8))
        fill(self.jumps.address, u8(0xFF), u64(JUMPS * Jump.size))
        fill(self.jump_marks.address, u8(0), u64(MARKS // 8))
        fill(self.code.address, u8(0), self.ram_pages * CodePage.size)
        self.flush()  # which entries may write where is forgotten, too
        n = u64(0)
        while n < self.ram_pages:
            self.give_up(n)
            n += 1

    def come_to(self, pc: u64) -> None:
        """A block begins here: remember it for reports."""
        end = self.trail_end + 1 & (TRAIL - 1)
        self.trail[end] = pc
        self.trail_end = end

    def branches(self) -> list[int]:
        """Where the last blocks began, the newest last. For Python."""
        end = int(self.trail_end)
        return [pc for n in range(TRAIL) if (pc := int(self.trail[(end + 1 + n) % TRAIL]))]

    @function
    def forget_jumps(self, va: u64) -> None:
        """The translation of the page at va may have changed: branches into it must look again. Blocks that begin in
        the page before may go on in this one."""
        known = False
        for page in (va & ~u64(PAGE - 1), (va & ~u64(PAGE - 1)) - PAGE):
            mark = page_mark(page)
            if self.jump_marks[mark >> 6] >> (mark & 63) & 1 != 0:  # most pages have no code
                jump = self.jumps[jump_index(page) & ~u64(JUMPS_A_PAGE - 1)]
                fill(jump.address, u8(0xFF), u64(JUMPS_A_PAGE * Jump.size))
                known = True
        if known:
            self.end_contexts()  # so that no link leads there

    def block_again(self, left: u64):
        """As next_block, where the block at pc is beside its place, or the context has changed since it was found, but
        not where its page is."""
        pc = self.pc
        self.bring_jump(pc)
        jump, entry = self.jumps[jump_index(pc)], self.tlb[pc >> PAGE_BITS & (TLB_SIZE - 1)]
        known = jump.pc == pc and jump.context == self.context
        if not known and entry.execute == pc & ~u64(PAGE - 1):
            known = self.last_there(pc, pc + entry.addend) != 0
        if known and self.door == self.context and jump.count <= left:
            jump.context = self.context
            if self.sought != 0 and self.start == pc:
                self.connect(self.sought, jump.record)
            self.start, self.sought = pc, u64(0)
            self.come_to(pc)
            return True, jump.record, left - jump.count
        return False, u64(0), left

    def make_link(self, number: u64, rest: u64):
        """As next_block, for a branch that could not follow its link to the block at `start`. It will know that block
        from now on, if it knew none."""
        self.pc, link = self.start, self.forge_start + number
        left = rest + Pointer[Link](link)[0].count
        found, record, rest = self.next_known(left)
        if found:
            self.connect(link, record)
        else:
            self.sought = link
        return found, record, select(found, rest, left)

    @function
    def redirect(self, block: u64) -> None:
        """The first record of a block has got another handler, which links to the block do not know."""
        header = Pointer[Block](block)[0]
        self.undo_all(header.links)
        header.links = u64(0)

    @function
    def connect(self, link: u64, record: u64) -> None:
        """A branch has come by this link to this block, at pc. One that is met in several contexts by turns (code that
        processes share) is not made anew each time, but at once if its context is over. The jump cache may still have a
        block that has ended."""
        header, place = Pointer[Block](record - Block.size)[0], Pointer[Link](link)[0]
        if place.record == 0 and header.mode != ~u64(0) and header.home == ANYWHERE:
            code = self.entrance(record)
            if code != 0:
                place.following, header.links = header.links, link
                self.aim_link(link, header.count, record, code, self.pc)
        elif place.record == record and self.pause != 0:  # else it is only that each block is run alone
            place.strange += 1
            if place.strange & (AGAIN - 1) == 0 or not self.lives(place.generation):
                self.aim_link(link, header.count, record, self.entrance(record), self.pc)

    def entrance(self, record: u64):
        """Where links lead to the block with this first record: to its copy, or what goes to its handler; 0 if there is
        no room for that."""
        handler, header = Pointer[Record](record)[0].handler, Pointer[Block](record - Block.size)[0]
        if self.is_copy(handler):
            return handler
        if header.doorway == 0:
            header.doorway = self.to_handler_of(record)
        return header.doorway

    def follow(self, short: bool, known: u64, context: u32, reach: static):
        """Whether a link may be followed to the block at `start`, if the budget is not too short. It was made for any
        address, or for one context, or for one address in one context."""
        if unlikely(short):
            return False
        if reach == BY_ADDRESS and unlikely(self.start != known):
            return False
        if reach != NEAR and unlikely(u32(self.context >> 16) != context):
            return False
        return True

    def next_by_link(self, link: u64, left: u64, reach: static):
        """As next_known, for a region that goes on at `start`: whether its link may be followed, what it tells, and
        the budget after it."""
        place = Pointer[Link](link)[0]
        rest = left - place.count
        short = (place.record == 0) | (left < place.count)
        return self.follow(short, place.pc, u32(place.generation), reach), place.record, rest

    def next_block(self, left: u64):
        """The same as next_known, for reports to see."""
        found, record, rest = self.next_known(left)
        if found:
            self.come_to(self.pc)
        return found, record, rest

    def next_known(self, left: u64):
        """What a branch does: whether the block at pc is known, its first record, and the budget after it."""
        pc = self.pc
        jump = self.jumps[jump_index(pc)]
        if unlikely(jump.pc != pc or jump.context != self.door or left < jump.count):
            return False, u64(0), left
        self.start = pc
        return True, jump.record, left - jump.count


def enter(cpu: Cpu, record: u64, left: u64) -> u64:
    """Run machine code from this record on; threaded.py has it. The plain way has none."""
    raise NotImplementedError


def longest(pc: u64) -> u64:
    """How many bytes a block that begins at pc can have in its page."""
    return select(pc & (PAGE - 1) > PAGE - LONGEST, PAGE - (pc & (PAGE - 1)), u64(LONGEST))


def jump_index(pc: u64) -> u64:
    """Places of one page lie together, so that those of a page can be forgotten."""
    page = pc >> PAGE_BITS
    return (page ^ page >> 8) % JUMP_PAGES * JUMPS_A_PAGE + (pc ^ pc >> 9) % JUMPS_A_PAGE


def page_mark(pc: u64) -> u64:
    return (pc >> PAGE_BITS) * 0x9E37_79B9_7F4A_7C15 >> 64 - MARK_BITS


def bucket_index(host: u64) -> u64:
    return (host ^ host >> 16) & (BUCKETS - 1)
