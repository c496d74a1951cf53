"""Makes regions from jobs: in the compiler's process, which compiler.py begins, and in tests."""

import ctypes
import pickle
import sys
import traceback
from pathlib import Path

from guesthouse.engine.op import Guest, find_guest
from guesthouse.engine.hot.compiler import Job, Told, digest, write_message
from guesthouse.engine.hot.library import Library
from guesthouse.engine.hot.region import PASSES, Block, Instruction, Region
from guesthouse.engine.hot.shelf import Part, Shelf
from guesthouse.typed.machine import assemble, has


class Workshop:
    """Makes object files from jobs; lives in the compiler's process."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.library = guest, Library(guest)
        sys.setrecursionlimit(20000)

    def make(self, job: Job) -> list[Part]:
        """The parts of a region: what it needs of the library, then itself. None if it would do nothing."""
        settled = self.guest.settled(job.blocks[0][4])
        region = Region(self.guest, self.library, [self.read(b) for b in job.blocks], job.name, job.home, settled,
                        job.comes)
        text = region.text()
        if region.barren:
            return []
        needs = self.library.needs(text)
        parts: dict[str, Part] = {}
        self.collect(needs, parts)
        blocks = [(block[0], digest(block)) for block in job.blocks]
        return [*parts.values(), Part(job.name, needs, job.home, blocks, machine_code(text))]

    def collect(self, names: list[str], parts: dict[str, Part]) -> None:
        """The parts of library functions, and of what they need."""
        for name in names:
            if name not in parts:
                needs = [needed for needed in self.library.needs(self.library.texts[name]) if needed != name]
                self.collect(needs, parts)
                parts[name] = Part(name, needs, 0, [], self.library.object(name))

    def read(self, block: Told) -> Block:
        at, count, records, falls, _ = block
        made = []
        for octets in records:
            room = ctypes.create_string_buffer(octets, len(octets))
            record = self.guest.record.at(ctypes.addressof(room))
            record.owner = room
            handler = self.guest.handlers[int(record.handler)]
            made.append(Instruction(handler, record, int(record.after)))
        return Block(at, count, made, falls)


def machine_code(text: str) -> bytes:
    """The object of a region. All that LLVM does to functions as a rule is worth its time for a register stack, and for
    lanes where the host's own instructions do not put them together."""
    lanes = "insertelement" in text and not has("avx")
    return assemble(text, passes=() if lanes or "x86_fp80" in text else PASSES)


class Inside:
    """Compiles at once, in this process: for tests."""

    def __init__(self, guest: Guest, shelf: Shelf | None = None) -> None:
        self.workshop, self.shelf = Workshop(guest), shelf or Shelf(None)

    def send(self, job: Job, inbox: list[tuple[str, list[Part]]]) -> None:
        parts = self.workshop.make(job)
        for part in parts:
            self.shelf.add(part)
        inbox.append((job.name, parts))

    def hear(self) -> None:
        pass


def main(origin: str, path: str) -> None:
    """The compiler's process: jobs come on standard input, parts go to standard output and onto the shelf."""
    workshop, shelf = Workshop(find_guest(origin, whole=True)), Shelf(Path(path))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while size := source.read(8):
        job = pickle.loads(source.read(int.from_bytes(size, "little")))
        try:
            parts = workshop.make(job)
        except Exception:
            traceback.print_exc()
            parts = []
        try:
            write_message(sink, (job.name, parts))
        except BrokenPipeError:
            return
        for part in parts:
            shelf.add(part)


if __name__ == "__main__":
    main(*sys.argv[1:])
