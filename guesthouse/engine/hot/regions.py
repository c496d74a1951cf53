"""Which blocks become regions, and how the regions come into a processor.

What runs often is found without counting in the guest's way: now and then some blocks are run one by one, and notes
taken (Processor.sample): how long each has run, by that, and what has come next. A block that has run long enough
is compiled together with those that follow it, in another process; the guest goes on meanwhile. When the machine code
arrives and the blocks are still as they were, it is put into their first records. What is on the shelf from an earlier
run is used when one of its blocks is met. A region that turns out to be left at once gives its blocks back.

Samples are machine code, looks are Python and must cost little: a look sees each block once that has been met since the
last one without a region. Looks are by the clock, not by instructions: what is slow waits no longer for its region than
what is fast. Those that bring no region take a share of the time, which may be saved: where something new begins they
come soon one after the other, where regions do not help (a compiler is in each place for a moment) seldom, and samples
with them.
"""

import ctypes
import hashlib
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guesthouse.engine import processor
from guesthouse.engine.build import Engine
from guesthouse.engine.cpu import ALL_ONES, PAGE_BITS, TLB_SIZE, CodePage
from guesthouse.engine.processor import (
    ANYWHERE, BUCKETS, FOLLOWING, JUMPS, MET, NO_WAY, NOTES, PAGE_MASK, SAMPLE, Jump, Note, Processor, bucket_index,
    jump_index,
)
from guesthouse.engine.room import CODE, Room
from guesthouse.engine.stitching import Link
from guesthouse.engine.hot.compiler import Compiler
from guesthouse.engine.hot.job import BLOCKS, LINKED, STAYED, VISITS, Job, Told, digest
from guesthouse.engine.hot.shelf import Part
from guesthouse.typed.image import Images, possible
from guesthouse.typed.machine import Code, has

if TYPE_CHECKING:
    from guesthouse.engine.hot.workshop import Inside

SHARE = 64  # looks that bring no region may take one part of the time, ...
SAVED = 16_000_000  # ... of which so many nanoseconds may be saved
LOOK, LONGEST = 1_000_000, 48_000_000  # nanoseconds to the next look, at least and at most
WORTH = 64  # blocks without a region in the samples, for which a look is worth its time
CLOCK = 1_000_000  # nanoseconds after which the clock is asked, or when the next look is due; ...
STRIDE, SAMPLES = 250_000, 4  # nanoseconds from one sample to the next, at least; or so many for each look
FEWEST, FURTHEST = 1 << 15, 1 << 21  # instructions to both at least, and until the clock is asked: the pace may change
EPOCH = 1 << 28  # nanoseconds after which it counts half for how long a block has run
ENOUGH = 1_000_000  # nanoseconds that a block has run of late before it is compiled, those first that have run longest:
# it has had a five-hundredth of the time, and what has less is better left in copies; ...
FEW, SIGHTINGS = 100_000, 3  # ... before it is looked for on the shelf; and it has been met so many times
OF_LATE = 20_000_000  # nanoseconds
LAST = 60_000_000  # nanoseconds that the end of a guest may take to tell what was not compiled
TRIES = 4  # blocks that a look asks what regions they would begin: it takes a millisecond for each
AT_ONCE = 2  # jobs of one processor under way, one of them large: the next is better chosen when it can be begun
MOST, MOST_OF_LOOP = (24, 128), (48, 300)  # blocks, instructions
STAYS = 64  # instructions that a region executes until it is left, at least: coming and going takes that long
ROOM_LEFT = 1 << 16  # bytes of the forge that are for copies
LEFT_SOON = 16  # instructions for each visit, besides the first block, as counted; with fewer it gives way to copies.
# What they do slowly (x87, SSE) is worth a shorter visit than STAYS
VISITED, REVIEWS = 4096, 8  # visits after which that is asked, and how many regions are asked in a look
LEAST = 1 / 256  # of the ways from where a region begins, those that come by a block
HEADER = processor.Block
JUMP, RECORD = Jump.size // 8, Jump.offset("record") // 8
HOME, HOST, MODE, COUNT, RECORDS, IN_BUCKET, SECOND, WAY, NOTE = (HEADER.offset(name) // 8 for name in (
    "home", "host", "mode", "count", "records", "in_bucket", "second", "way", "note"))
ENDED = CodePage.offset("ended")
ABOUT, RAN, AFTER = Note.offset("block") // 8, Note.offset("ran") // 8, Note.offset("following") // 4


@dataclass
class Wanted:
    """A region on its way: where its blocks are, and how it stood with their pages and all blocks when it was sent."""

    job: Job
    blocks: list[int]
    ended: list[int]
    beginnings: int


class Regions:
    """The hot way of one processor."""

    def __init__(self, engine: Engine, state: Any, compiler: "Compiler | Inside") -> None:
        self.guest, self.engine, self.state, self.compiler = engine.guest, engine, state, compiler
        self.raw = state.raw()  # the same, which a look takes a twentieth of the time to read
        self.shelf = compiler.shelf
        self.clock: Callable[[], int] = time.perf_counter_ns
        self.code = Images(Room(engine.touch, prot=CODE)) if possible() else Code([])
        self.loaded: set[str] = set()
        self.inbox: list[tuple[str, list[Part]]] = []
        self.unfit = frozenset() if has("fxsr") else engine.of_stack  # handlers whose blocks stay threaded
        self.heads: dict[int, tuple[int, int]] = {}  # blocks that lead into regions: to which, and the handler before
        # Blocks that have run long enough: where, and before which look they were met last, the latest at the end.
        self.ready: dict[int, tuple[int, int]] = {}
        self.counts: deque[tuple[str, int, Any]] = deque()  # regions in use: names, addresses, the words that count
        self.left: set[str] = set()  # regions that were left too soon
        self.large: set[int] = set()  # those of them with which large regions begin, as far as that is known
        self.placed: dict[int, list[int]] = {}  # the blocks of a region, by where it is
        self.tried: set[tuple[int, int]] = set()
        self.brief: dict[int, int] = {}  # how often a region that would begin there was found to be left too soon
        self.wanted: dict[str, Wanted] = {}
        # Regions of the shelf and pages of RAM where they did not fit: how often, and before which look not again.
        self.refused: dict[tuple[str, int], tuple[int, int]] = {}
        self.digests: dict[tuple[int, int], str] = {}  # of blocks, by where they lie in a region; "": not for one
        self.installed = 0
        self._due, self._attended = 0, (0, 0)  # by the clock; after how many instructions, and when
        self._between, self._saved, self._looked = STRIDE, SAVED, 0
        where, self._start = state.where, int(state.room_start)
        room = int(state.room_end) - self._start
        self._words = (ctypes.c_uint64 * (room >> 3)).from_address(self._start)
        self._numbers = (ctypes.c_uint16 * (room >> 1)).from_address(self._start)
        self._pages = ctypes.c_uint64.from_address(where + self.guest.state.offset("code"))
        at, size = where + self.guest.state.offset("notes"), NOTES * Note.size
        self._notes, self._halves = (ctypes.c_uint64 * (size >> 3)).from_address(at), (
            ctypes.c_uint32 * (size >> 2)).from_address(at)
        self._met, self._met_at = ((ctypes.c_uint64 * MET).from_address(where + self.guest.state.offset(name))
                                   for name in ("met", "met_at"))
        self.beginnings, self.raw.enough = self.raw.forgettings, min(FEW, ENOUGH)
        self.raw.stride, self.raw.weight = FEWEST, STRIDE // SAMPLE
        Processor.sample_anew(self.raw, 0)  # type: ignore[arg-type]
        self._buckets = (ctypes.c_uint64 * BUCKETS).from_address(where + self.guest.state.offset("buckets"))
        self._jumps = (ctypes.c_uint64 * (JUMPS * JUMP)).from_address(where + self.guest.state.offset("jumps"))

    def attend(self, executed: int) -> int:
        """Between two runs: look at the samples, if it is time and there is something to see. After how many
        instructions to come again."""
        now = self.clock()
        if now >= self._due and (self.wanted or self.raw.uncovered >= WORTH):
            installed = self.installed
            self.look()
            ended = self.clock()
            cost = ended - now if self.installed == installed else 0  # what brings a region is time well spent
            self._saved = min(self._saved + (now - self._looked) // SHARE, SAVED) - cost
            wait = min(max(-self._saved * SHARE, LOOK), LONGEST)
            self._looked, self._due, self._between = ended, ended + wait, max(wait // SAMPLES, STRIDE)
            weight = self._between // SAMPLE
            self.raw.weight, self.raw.enough = weight, max(min(FEW, ENOUGH), SIGHTINGS * weight)
        self.raw.epoch = now // EPOCH & 0xFFFF_FFFF
        (before, at), self._attended = self._attended, (executed, now)
        ran, took = executed - before, now - at + 1
        self.raw.stride = max(ran * self._between // took, FEWEST)
        return min(max(ran * max(self._due - now, CLOCK) // took, FEWEST), FURTHEST)

    def look(self) -> None:
        """Between two runs: learn from the samples, take what has been compiled."""
        if self.beginnings != self.raw.forgettings:  # all blocks are gone, and their places will be others'
            self.begin_anew()
        self.compiler.hear()
        while self.inbox:
            self.receive(*self.inbox.pop(0))
        self.review()
        met = self.learn()
        for block, pc in met.items():
            # What tells a block costs twenty times as much as where it lies.
            if (pc & ~PAGE_MASK, self.word(block, COUNT)) in self.shelf.places:
                self.take(pc, block)
        self.order(met)

    def order(self, met: Iterable[int]) -> None:
        """Have regions made that begin with blocks that are ready, but not with those that a region on its way has:
        what has been met in this look first, for it runs now; then what has been met of late; and if nothing is on its
        way, what has run longest. A small region does not wait for a large one."""
        for _ in range(TRIES):
            if len(self.wanted) >= AT_ONCE:
                return
            others: set[int] = set().union(*(wanted.blocks for wanted in self.wanted.values()))
            if any(wanted.job.large for wanted in self.wanted.values()):
                others |= self.large
            now = [block for block in met if block in self.ready and block not in others]
            now = now or [block for block in self.of_late() if block not in others]
            block = max(now or (() if self.wanted else self.ready), key=self.ran, default=0)
            if not block:
                return
            if self.want(block, self.ready[block][0], bool(now)):
                self._notes[self.note(block) + RAN] = 0
                del self.ready[block]

    def of_late(self) -> Iterator[int]:
        """The blocks that are ready and have been met not long ago."""
        for block, (_, when) in reversed(self.ready.items()):
            if when < self._due - OF_LATE:
                return
            yield block

    def leave(self) -> None:
        """The guest ends: what is on its way, and what has run long enough, is for the next run."""
        jobs, covered = [wanted.job for wanted in self.wanted.values()], set[int]()
        until = self.clock() + LAST
        for block in sorted(self.ready, key=self.ran, reverse=True) if self.beginnings == self.raw.forgettings else ():
            if self.clock() > until:
                break
            if block not in covered and not self.leads(block) and (block, self.ended(block).value) not in self.tried:
                blocks, job = self.gather(block, self.ready[block][0])
                covered.update(blocks)
                jobs += [job] * bool(job.blocks)
        self.compiler.leave(jobs)

    def begin_anew(self) -> None:
        self.beginnings = self.raw.forgettings
        for of_old in (self.tried, self.heads, self.placed, self.ready, self.large, self.brief, self.refused,
                       self.digests, self.counts):
            of_old.clear()

    def learn(self) -> dict[int, int]:
        """The blocks that samples have met since the last look, have run for long enough, and led into no region; and
        where. Then the next sample begins."""
        count = self.raw.met_count
        met = dict(zip(self._met[:count], self._met_at[:count], strict=True))
        for block, pc in met.items():
            if self.ran(block) >= ENOUGH << self.brief.get(block, 0):
                self.ready.pop(block, None)
                self.ready[block] = pc, self._due
        Processor.sample_anew(self.raw, 0)  # type: ignore[arg-type]
        return met

    def want(self, first: int, pc: int, now: bool = True) -> bool:
        """Have the region compiled that begins with this block, which has been seen at pc. False: it must wait. A large
        one that does not run now is not made: others would have to wait, and it can run again."""
        key = first, self.ended(first).value
        if self.leads(first) or key in self.tried:
            return True
        blocks, job = self.gather(first, pc)
        if job.large and not now:
            return True
        if job.large and any(wanted.job.large for wanted in self.wanted.values()):
            self.large.add(first)
            return False
        if not job.blocks or job.name in self.left:
            self.brief[first] = self.brief.get(first, 0) + 1
            return True
        self.tried.add(key)
        if job.name not in self.wanted:
            ended = [self.ended(block).value for block in blocks]
            self.wanted[job.name] = Wanted(job, blocks, ended, self.beginnings)
            self.compiler.send(job, self.inbox)
        return True

    def leads(self, block: int) -> bool:
        """Whether a block leads into a region."""
        return block in self.heads and self.heads[block][0] == self.entry(block)

    def take(self, pc: int, block: int) -> None:
        """Use a region from the shelf that has this block, if there is one for what the guest has there: the largest.
        Where one does not fit it is tried again, more and more seldom."""
        if self.leads(block):
            return
        told, look, page = self.digest(block, pc & ~PAGE_MASK), self.raw.look, self.word(block, HOST) & PAGE_MASK
        names = self.shelf.by_block.get((self.word(block, HOME), told), ()) if told else ()
        for name in sorted(names, key=lambda name: -len(self.shelf.parts[name].blocks)):
            tried, due = self.refused.get((name, page), (0, 0))
            if look >= due and name not in self.left:
                self.refused[name, page] = tried + 1, look + (1 << tried)
                blocks = self.blocks_of(part := self.shelf.parts[name], pc & PAGE_MASK, self.word(block, MODE))
                if blocks and self.stay(blocks, [at for at, _, _ in part.blocks]) and self.load(name):
                    self.install(name, blocks)
                    return

    def blocks_of(self, part: Part, origin: int, mode: int) -> list[int]:
        """The guest's blocks that a region was made from; none if one of them is not there, or another."""
        blocks: list[int] = []
        pages: dict[int, int] = {}
        for at, _, expected in part.blocks:
            pc = origin + at & ALL_ONES
            block = self.find(pc, mode) or self.prepare(pc, mode)
            if not block or self.digest(block, at) != expected or not self.in_pages(block, at, pages):
                return []
            blocks.append(block)
        return blocks

    def prepare(self, pc: int, mode: int) -> int:
        """Have a block decoded of which only the page has been met; 0 if even that has not."""
        entry = self.state.tlb[pc >> PAGE_BITS & (TLB_SIZE - 1)]
        if int(entry.execute) != pc & PAGE_MASK or self.raw.context & 0xFFFF != mode:
            return 0
        self.engine.prepare(self.state.where, pc)
        return self.find(pc, mode)

    def load(self, name: str) -> bool:
        """Bring a part from the shelf into this process, with all that it needs."""
        if name in self.loaded:
            return True
        part, data = self.shelf.parts.get(name), self.shelf.code(name)
        if part is None or data is None or not all(self.load(needed) for needed in part.needs):
            return False
        with suppress(MemoryError):
            self.code.add([data])
            self.loaded.add(name)
        return name in self.loaded

    def last(self, pc: int) -> int:
        """The block that was last run at pc, in whatever mode and address space, if it is known still and lies in one
        page; or 0."""
        jumps, jump = self._jumps, int(jump_index(pc)) * JUMP  # type: ignore[arg-type]
        if jumps[jump] != pc or (record := jumps[jump + RECORD]) == ALL_ONES:
            return 0
        header = record - HEADER.size - self._start >> 3
        return 0 if self._words[header + SECOND] or self._words[header + MODE] > 0xFFFF else record - HEADER.size

    def find(self, pc: int, mode: int) -> int:
        """The block that was last run at pc in this mode, or one that lies where the code is now; 0 if there is none,
        or it lies in two pages."""
        last = self.last(pc)
        if last and self.word(last, MODE) == mode:
            return last
        entry = self.state.tlb[pc >> PAGE_BITS & (TLB_SIZE - 1)]
        if int(entry.execute) != pc & PAGE_MASK or self.raw.context & 0xFFFF != mode:
            return 0
        host = pc + int(entry.addend) & ALL_ONES
        block = self._buckets[int(bucket_index(host))]  # type: ignore[arg-type]
        while block:
            right = self.word(block, HOME) in (ANYWHERE, pc & PAGE_MASK)
            if right and (self.word(block, HOST), self.word(block, MODE)) == (host, mode):
                return 0 if self.word(block, SECOND) else int(block)
            block = self.word(block, IN_BUCKET)
        return 0

    def gather(self, first: int, pc: int) -> tuple[list[int], Job]:
        """The blocks of a region that begins with this one. If it comes back to where it began, it has all of the loop,
        or each turn would go through several regions. Else it stays smaller, for LLVM's time for each instruction grows
        with the region, and has no blocks that lead into regions already: going there costs little then, and making
        them again, much. None if it would soon be left: copies are better then."""
        found = self.follow(first, pc, MOST_OF_LOOP, True) or self.follow(first, pc, MOST, False)
        found = found if self.stay([block for block, *_ in found], [at for _, at, *_ in found]) else []
        blocks = [told for block, at, *_ in found if (told := self.block(block, at))]
        home = self.word(first, HOME)
        name = hashlib.blake2b(f"{home} {' '.join(map(digest, blocks))}".encode(), digest_size=12).hexdigest()
        return [block for block, *_ in found], Job(f"region.{name}", home, blocks, [come for _, _, come, _ in found],
                                                   [ways for *_, ways in found])

    def follow(self, first: int, pc: int, limits: tuple[int, int],
               loop: bool) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
        """The blocks that were seen to follow one another from here on, those that follow most often first. For each:
        where it lies, after which it comes, where it leads and how often. Of a loop, those that lead into regions, too;
        none if no block leads back to the first."""
        mode, (most, room), turns = self.word(first, MODE), limits, False
        taken: list[tuple[int, int, int, list[tuple[int, int]]]] = []
        at = pc & ~PAGE_MASK
        known, pages = {at}, dict[int, int]()
        queue = [(-1.0, at, first, 0)]
        while queue and len(taken) < most:
            flow, at, block, come = heapq.heappop(queue)
            count = self.word(block, COUNT)
            if room < count or not self.fit(block) or not self.in_pages(block, at, pages):
                continue
            room -= count
            following = self.following(block)
            taken.append((block, at, come, [(at + distance & ALL_ONES, times) for _, distance, times in following]))
            of_all = flow / sum(times for _, _, times in following) if following else 0
            for after, distance, times in following:
                there, part = at + distance & ALL_ONES, of_all * times
                turns = turns or after == first
                if part <= -LEAST and there not in known and self.word(after, MODE) == mode:
                    known.add(there)
                    if loop or not self.leads(after):
                        heapq.heappush(queue, (part, there, after, len(taken) - 1))
        return taken if turns or not loop else []

    def stay(self, blocks: list[int], places: list[int]) -> bool:
        """Whether blocks that lie there keep the processor for long enough, as far as samples tell."""
        inside, executed, left = set(places), 0, 0
        for block, at in zip(blocks, places, strict=True):
            for _, distance, times in self.following(block):
                executed += self.word(block, COUNT) * times
                left += times * (at + distance & ALL_ONES not in inside)
        return executed >= STAYS * left

    def following(self, block: int) -> list[tuple[int, int, int]]:
        """The blocks that samples have met after this one, how far on each is, and how often it came."""
        at = 2 * self.note(block) + AFTER
        often = self._halves[at + 2 * FOLLOWING:at + 3 * FOLLOWING]
        count = often.index(0) if 0 in often else FOLLOWING
        blocks, distances = self._halves[at:at + count], self._halves[at + FOLLOWING:at + FOLLOWING + count]
        return [(self._start + after, distance - (distance >> 31 << 32), times)
                for after, distance, times in zip(blocks, distances, often, strict=False)]

    def note(self, block: int) -> int:
        """Where the note about a block begins in all notes, in words; 0, the one about none, if there is none."""
        at = self.word(block, NOTE) * (Note.size // 8)
        return at if self._notes[at + ABOUT] == block else 0

    def ran(self, block: int) -> int:
        """For how long a block has run, as samples tell."""
        return self._notes[self.note(block) + RAN]

    def word(self, block: int, field: int) -> int:
        """A field of a block's header."""
        return self._words[(block - self._start >> 3) + field]

    def entry(self, block: int) -> int:
        """The handler in a block's first record."""
        return self._words[block + HEADER.size - self._start >> 3]

    def ended(self, block: int) -> ctypes.c_uint64:
        """The count of blocks that have ended in this block's page."""
        page = self.word(block, HOST) - self.raw.ram_start >> PAGE_BITS
        return ctypes.c_uint64.from_address(self._pages.value + page * CodePage.size + ENDED)

    def original(self, block: int) -> int:
        """What runs a block's first record where no region does: its handler, or its copy of a stencil; 0 if the block
        has ended, or leads into a region that is not ours."""
        now = self.entry(block)
        region, before = self.heads.get(block, (0, 0))
        now = before if now == region else now
        copy = self.raw.forge_start <= now < self.raw.forge
        return now if copy or now == self.engine.table[self.numbers(block)[0]] else 0

    def numbers(self, block: int) -> list[int]:
        """The numbers of the handlers of a block's records."""
        count = self.word(block, RECORDS)
        at = block + HEADER.size + count * self.guest.record.size - self._start >> 1
        return self._numbers[at:at + count]

    def digest(self, block: int, at: int) -> str:
        """What tells a block that lies there in its region; nothing if it is not one of plain handlers."""
        key = block, at
        if key not in self.digests:
            told = self.block(block, at)
            self.digests[key] = digest(told) if told else ""
        return self.digests[key]

    def block(self, block: int, at: int) -> Told | None:
        """A block as the compiler gets it, which lies there in its region; None if it has instructions that regions
        cannot have, or has ended."""
        size, count, mode = self.guest.record.size, self.word(block, COUNT), self.word(block, MODE)
        if not self.fit(block):
            return None
        octets = ctypes.string_at(block + HEADER.size, self.word(block, RECORDS) * size)
        records: list[bytes] = []
        for n, number in enumerate(self.numbers(block)):
            if number == self.engine.count:  # the end of a block that does not branch
                return at, count, records, True, mode
            records.append(number.to_bytes(8, "little") + octets[n * size + 8:(n + 1) * size])
        return at, count, records, False, mode

    def fit(self, block: int) -> bool:
        """Whether a block has not ended, and has no instructions that regions cannot have."""
        return self.word(block, MODE) <= 0xFFFF and (not self.unfit or self.unfit.isdisjoint(self.numbers(block)))

    def receive(self, name: str, parts: list[Part]) -> None:
        """Use what has been compiled, unless the guest has other blocks there by now."""
        wanted = self.wanted.pop(name)
        for part in parts:
            self.shelf.note(part)
        same = wanted.beginnings == self.beginnings and name not in self.left
        if same and parts and wanted.ended == [self.ended(block).value for block in wanted.blocks] and self.load(name):
            self.install(name, wanted.blocks)

    def install(self, name: str, blocks: list[int]) -> None:
        """Put a region into the first records of its blocks, where no other stands that is as large: a loop that lies
        in two would go from one to the other at each turn."""
        originals = [self.original(block) for block in blocks]
        if not all(originals):
            return
        address, table = self.code.address(name), self.code.address(f"{name}.table")
        self.give_back(address, set(self.placed.get(address, ())) - set(blocks))  # the same elsewhere: it has one table
        if address not in self.placed:
            self.counts.append((name, address, (ctypes.c_uint64 * BLOCKS).from_address(table)))
        self.placed[address] = blocks
        linked = ctypes.c_uint64.from_address(table + 8 * LINKED).value
        # VISITS and STAYED begin anew.
        words: list[Any] = [self.engine.dispatch, self.engine.make_up, 0, 0, self.links(linked), linked]
        places = [at for at, _, _ in self.shelf.parts[name].blocks]
        for n, (block, original, at) in enumerate(zip(blocks, originals, places, strict=True)):
            header, ended = block - self._start >> 3, self.ended(block)
            words += [block + HEADER.size, original, ctypes.addressof(ended), ended.value,
                      self.word(block, HOST) & PAGE_MASK, at]
            smaller = self.leads(block) and len(self.placed[self.heads[block][0]]) < len(blocks)
            if smaller or self.entry(block) == original:
                self.heads[block] = address, original
                self._words[header + HEADER.size // 8], self._words[header + WAY] = address, n
                self.engine.redirect(self.state.where, block)
        (ctypes.c_uint64 * len(words)).from_address(table)[:] = words
        self.installed += 1

    def links(self, count: int) -> int:
        """Where new links are, for a region; 0: there is no room. They lie where those of copies do, and as long:
        blocks that links lead to know them. Those that the region has had for other blocks are left to themselves."""
        raw, size = self.raw, count * Link.size
        if not size or raw.forge_end - raw.forge < size + ROOM_LEFT:
            return 0
        raw.forge_end -= size
        ctypes.memset(raw.forge_end, 0, size)
        return int(raw.forge_end)

    def give_back(self, address: int, blocks: Iterable[int]) -> None:
        """Blocks of the region at this address are what they were before."""
        for block in blocks:
            if self.leads(block) and self.heads[block][0] == address:
                self._words[block + HEADER.size - self._start >> 3] = self.heads.pop(block)[1]
                self._words[(block - self._start >> 3) + WAY] = NO_WAY
                self.engine.redirect(self.state.where, block)

    def review(self) -> None:
        """What samples tell of the ways out of a region is a guess, and another run's. Here it is counted: one that is
        left too soon gives its blocks back, and is not used again. A few by turns."""
        for _ in range(min(REVIEWS, len(self.counts))):
            name, address, words = self.counts.popleft()
            if words[VISITS] >= VISITED:
                if words[STAYED] < LEFT_SOON * words[VISITS]:
                    self.left.add(name)
                    self.give_back(address, self.placed.pop(address, ()))
                    continue
                words[VISITS] = words[STAYED] = 0
            self.counts.append((name, address, words))

    def in_pages(self, block: int, at: int, pages: dict[int, int]) -> bool:
        """Whether a block lies where the others of its page do, which `pages` tells: host addresses by virtual ones."""
        host = self.word(block, HOST) & PAGE_MASK
        return pages.setdefault(at & PAGE_MASK, host) == host
