"""Which blocks become regions, and how the regions come into a processor.

What runs often is found without counting in the guest's way: whenever the budget of a run is used up, the trail of the
last blocks is looked at. A block that is seen often enough is compiled together with the blocks of its page that it was
seen to lead to, in another process; the guest goes on meanwhile. When the machine code arrives and the blocks are still
as they were, it is put into the first record of the first of them.
"""

import ctypes
import os
import pickle
import subprocess
import sys
import traceback
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO

from guesthouse.engine import processor
from guesthouse.bits import u64
from guesthouse.engine.build import Engine, find_guest
from guesthouse.engine.cpu import PAGE_BITS, TLB_SIZE, CodePage
from guesthouse.engine.op import Guest
from guesthouse.engine.processor import BUCKETS, TRAIL, bucket_index
from guesthouse.engine.library import Library
from guesthouse.engine.region import PASSES, Block, Instruction, Region
from guesthouse.typed.machine import Code, assemble

ENOUGH = 96  # how often a block is seen before it is compiled; one look sees TRAIL blocks
AT_ONCE = 2  # jobs under way; their messages fit into the pipes, so that neither process waits for the other
MOST_BLOCKS, MOST_INSTRUCTIONS = 24, 160
PAGE_MASK = ~0xFFF
HEADER = processor.Block


@dataclass
class Wanted:
    """A region on its way: where its blocks are, and how it stood with their page and all blocks when it was sent."""

    blocks: list[int]
    ended: int
    beginnings: int


@dataclass
class Job:
    """What the compiler gets: for each block pc, count, its records with handler numbers, and whether it falls."""

    name: str
    blocks: list[tuple[int, int, list[bytes], bool]]


class Regions:
    """The hot way of one processor."""

    def __init__(self, guest: Guest, engine: Engine, state: Any, compiler: "Compiler | Inside") -> None:
        self.guest, self.engine, self.state, self.compiler = guest, engine, state, compiler
        self.code = Code([])
        self.numbers = {address: n for n, address in enumerate(engine.table)}
        self.seen: Counter[int] = Counter()
        self.edges: dict[int, Counter[int]] = {}
        self.tried: set[tuple[int, int]] = set()
        self.wanted: dict[str, Wanted] = {}
        self.installed = self.beginnings = self._room = self._made = 0
        where = state.where
        self._trail = (ctypes.c_uint64 * TRAIL).from_address(where + guest.state.offset("trail"))
        self._buckets = (ctypes.c_uint64 * BUCKETS).from_address(where + guest.state.offset("buckets"))

    def look(self) -> None:
        """Between two runs: learn from the trail, take what has been compiled."""
        room = int(self.state.room)
        if room < self._room:  # all blocks are gone, and their places will be others'
            self.beginnings += 1
            self.tried.clear()
        self._room = room
        for name, parts in self.compiler.done():
            self.install(name, parts)
        end = int(self.state.trail_end)
        trail = list(self._trail)
        trail = trail[end + 1:] + trail[:end + 1]
        self.seen.update(trail)
        for before, after in zip(trail, trail[1:]):
            self.edges.setdefault(before, Counter())[after] += 1
        for pc in sorted(set(trail), key=lambda pc: -self.seen[pc]):
            if len(self.wanted) >= AT_ONCE or self.seen[pc] < ENOUGH:
                break
            self.seen[pc] = 0
            self.want(pc)

    def want(self, pc: int) -> None:
        """Have the region that begins at this block compiled."""
        first = self.find(pc, int(self.state.context) & 0xFFFF)
        if first == 0 or (first, pc) in self.tried:
            return
        self.tried.add((first, pc))
        blocks, job = self.gather(pc, first)
        if not job.blocks:
            return
        self.wanted[job.name] = Wanted(blocks, self.ended(first).value, self.beginnings)
        self.compiler.send(job)

    def find(self, pc: int, mode: int) -> int:
        """The block at pc, in this mode and where the code is now; 0 if there is none, or it lies in two pages."""
        entry = self.state.tlb[pc >> PAGE_BITS & (TLB_SIZE - 1)]
        if int(entry.execute) != pc & PAGE_MASK:
            return 0
        host = pc + int(entry.addend) & (1 << 64) - 1
        block = self._buckets[int(bucket_index(u64(pc), u64(host)))]
        while block:
            header = HEADER.at(block)
            if (int(header.pc), int(header.host), int(header.mode)) == (pc, host, mode):
                return 0 if int(header.second) else int(block)
            block = int(header.in_bucket)
        return 0

    def gather(self, pc: int, first: int) -> tuple[list[int], Job]:
        """The blocks of this page that were seen to follow one another from here on."""
        mode = int(HEADER.at(first).mode)
        self._made += 1
        name = f"region{self._made}"
        order, addresses, jobs, budget = [pc], {pc: first}, [], MOST_INSTRUCTIONS
        for at in order:
            made = self.block(addresses[at])
            if made is None or budget < made[1]:
                addresses[at] = 0
                continue
            budget -= made[1]
            jobs.append(made)
            for following in self.edges.get(at, ()):
                if following not in addresses and following & PAGE_MASK == pc & PAGE_MASK and len(order) < MOST_BLOCKS:
                    found = self.find(following, mode)
                    if found:
                        addresses[following] = found
                        order.append(following)
        return [addresses[at] for at in order if addresses[at]], Job(name, jobs)

    def octets(self, block: int) -> bytes:
        """A block's records."""
        return ctypes.string_at(block + HEADER.size, int(HEADER.at(block).records) * self.guest.record.size)

    def ended(self, block: int) -> ctypes.c_uint64:
        """The count of blocks that have ended in this block's page."""
        page = int(self.state.page_of(HEADER.at(block).host))
        place = int(self.state.code.address) + page * CodePage.size + CodePage.offset("ended")
        return ctypes.c_uint64.from_address(place)

    def block(self, block: int) -> tuple[int, int, list[bytes], bool] | None:
        """A block as the compiler gets it; None if it is not one of plain handlers."""
        header, size = HEADER.at(block), self.guest.record.size
        octets, records = self.octets(block), []
        for at in range(0, len(octets), size):
            address = int.from_bytes(octets[at:at + 8], "little")
            if address == self.engine.advance:
                return int(header.pc), int(header.count), records, True
            number = self.numbers.get(address)
            if number is None:
                return None
            records.append(number.to_bytes(8, "little") + octets[at + 8:at + size])
        return int(header.pc), int(header.count), records, False

    def install(self, name: str, parts: list[bytes]) -> None:
        wanted = self.wanted.pop(name)
        self.code.add(parts[:-1])  # the library, which later regions count on
        if not parts or wanted.beginnings != self.beginnings:
            return
        first, count = wanted.blocks[0], len(wanted.blocks)
        ended, entry = self.ended(first), ctypes.c_uint64.from_address(first + HEADER.size)
        if wanted.ended != ended.value or entry.value not in self.numbers:
            return
        self.code.add(parts[-1:])
        address, table = self.code.address(name), self.code.address(f"{name}.table")
        (ctypes.c_uint64 * (count + 3)).from_address(table)[:] = [
            *(block + HEADER.size for block in wanted.blocks), ctypes.addressof(ended), ended.value, entry.value]
        self.numbers[address] = self.numbers[entry.value]
        entry.value = address
        self.installed += 1


class Workshop:
    """Makes object files from jobs; lives in the compiler's process."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.library = guest, Library(guest)
        sys.setrecursionlimit(20000)

    def make(self, job: Job) -> list[bytes]:
        """The objects of a region: what it needs of the library if that is new, then itself."""
        region = Region(self.guest, self.library, [self.read(b) for b in job.blocks], job.name)
        text = region.text()
        library = self.library.new_text()
        return [*([assemble(library)] if library else []), assemble(text, passes=PASSES)]

    def read(self, block: tuple[int, int, list[bytes], bool]) -> Block:
        pc, count, records, falls = block
        made = []
        for octets in records:
            room = ctypes.create_string_buffer(octets, len(octets))
            record = self.guest.record.at(ctypes.addressof(room))
            record.owner = room
            handler = self.guest.handlers[int(record.handler)]
            made.append(Instruction(handler, record, int(record.after), int(record.left), int(record.length)))
        return Block(pc, count, made, falls)


class Inside:
    """Compiles at once, in this process: for tests."""

    def __init__(self, guest: Guest) -> None:
        self.workshop = Workshop(guest)
        self.ready: list[tuple[str, list[bytes]]] = []

    def send(self, job: Job) -> None:
        self.ready.append((job.name, self.workshop.make(job)))

    def done(self) -> list[tuple[str, list[bytes]]]:
        ready, self.ready = self.ready, []
        return ready


class Compiler:
    """Compiles in a process of its own, which ends with this one or when it is closed."""

    def __init__(self, guest: Guest) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "guesthouse.engine.regions", guest.origin], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, process_group=0)
        assert self.process.stdin is not None and self.process.stdout is not None
        self._out, self._in = self.process.stdin, self.process.stdout
        os.set_blocking(self._in.fileno(), False)
        self._heard = bytearray()
        weakref.finalize(self, self.process.kill)

    def send(self, job: Job) -> None:
        write_message(self._out, job)

    def done(self) -> list[tuple[str, list[bytes]]]:
        """What has been compiled since the last call: names of jobs and their objects."""
        while octets := self._in.read(1 << 20):
            self._heard += octets
        found = []
        while len(self._heard) >= 8 and len(self._heard) >= (size := 8 + int.from_bytes(self._heard[:8], "little")):
            found.append(pickle.loads(self._heard[8:size]))
            del self._heard[:size]
        return found


def write_message(file: BinaryIO, what: Any) -> None:
    octets = pickle.dumps(what)
    file.write(len(octets).to_bytes(8, "little") + octets)
    file.flush()


def main(origin: str) -> None:
    """The compiler's process: jobs come on standard input, objects go to standard output."""
    from guesthouse.engine import regions  # not __main__: the jobs' class is the one that was sent

    os.nice(5)
    workshop = regions.Workshop(find_guest(origin))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while size := source.read(8):
        job = pickle.loads(source.read(int.from_bytes(size, "little")))
        try:
            objects = workshop.make(job)
        except Exception:
            traceback.print_exc()
            objects = []
        write_message(sink, (job.name, objects))


if __name__ == "__main__":
    main(*sys.argv[1:])
