"""Makes regions from jobs: in the compiler's process, which compiler.py begins, and in tests."""

import ctypes
import os
import pickle
import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from guesthouse.engine.op import Guest, find_guest
from guesthouse.engine.hot.compiler import spare_processors, write_message
from guesthouse.engine.hot.job import Job, Told, digest
from guesthouse.engine.hot.later import Later
from guesthouse.engine.hot.library import Library
from guesthouse.engine.hot.region import PASSES, Block, Instruction, Region
from guesthouse.engine.hot.shelf import Part, Shelf
from guesthouse.typed.image import ready
from guesthouse.typed.machine import has


# Of compilers: of two processors the guest then has one to itself, beside two of them, and of one most. Nicer ones have
# no time at all where the host is busy, and the guest stays in copies.
NICE = 4
CHILD_ENDED, ENDED = "a child has ended", "nobody will send more"  # among the jobs


class Workshop:
    """Makes machine code from jobs; lives in the compiler's process."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self.library = guest, Library(guest)
        sys.setrecursionlimit(20000)

    def make(self, job: Job) -> list[Part]:
        """The parts of a region: what it needs of the library, then itself. None if it would do nothing."""
        return finished(*self.begun(job))

    def begun(self, job: Job) -> tuple[list[Part], str]:
        """The same with a last part that has no code yet, but a text, which is what takes the time."""
        settled = self.guest.settled(job.blocks[0][4])
        region = Region(self.guest, self.library, [self.read(b) for b in job.blocks], job.name, job.home, settled,
                        job.comes, job.ways)
        text = region.text()
        if region.barren:
            return [], text
        needs = self.library.needs(text)
        parts: dict[str, Part] = {}
        self.collect(needs, parts)
        blocks = [(*block[:2], digest(block)) for block in job.blocks]
        return [*parts.values(), Part(job.name, needs, job.home, blocks)], text

    def collect(self, names: list[str], parts: dict[str, Part]) -> None:
        """The parts of library functions, and of what they need."""
        for name in names:
            if name not in parts:
                needs = [needed for needed in self.library.needs(self.library.texts[name]) if needed != name]
                self.collect(needs, parts)
                parts[name] = Part(name, needs, 0, [], self.library.code(name))

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
    """A region's. All that LLVM does to functions as a rule is worth its time for a register stack, and for lanes where
    the host's own instructions do not put them together."""
    lanes = "insertelement" in text and not has("avx")
    return ready(text, () if lanes or "x86_fp80" in text else PASSES)


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

    def leave(self, jobs: list[Job]) -> None:
        pass


def finished(parts: list[Part], text: str) -> list[Part]:
    if parts:
        parts[-1].code = machine_code(text)
    return parts


def main(origin: str, path: str) -> None:
    """The compiler's process: jobs come on standard input, parts go to standard output and onto the shelf. A large one
    is finished by a child: small loops, which a program may be in for a tenth of a second, do not wait for it. What
    earlier runs have left is made while nothing else is to be done."""
    os.nice(NICE)
    workshop, shelf = Workshop(find_guest(origin, whole=True)), Shelf(Path(path))
    later = deque(Later(Path(path).with_suffix(".later")).jobs() if spare_processors() else ())
    sink, one_at_a_time, children = sys.stdout.buffer, threading.Lock(), 0
    jobs: queue.SimpleQueue[Job | str] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(jobs,), daemon=True).start()

    def send(job: Job, parts: list[Part]) -> None:
        with one_at_a_time, suppress(BrokenPipeError):  # then our end is near, too
            write_message(sink, (job.name, parts))
            for part in parts:
                shelf.add(part)

    def finish(child: int, told: int, job: Job) -> None:
        hear(child, told, job, send)
        jobs.put(CHILD_ENDED)

    while (job := jobs.get() if children or not later or not jobs.empty() else later.popleft()) != ENDED:
        if isinstance(job, str):
            children -= 1
            continue
        parts = shelf.whole(job.name)
        if not parts:
            try:
                parts, text = workshop.begun(job)
                if job.large and parts and hasattr(os, "fork"):
                    children += 1
                    threading.Thread(target=finish, args=(*in_a_child(parts, text), job), daemon=True).start()
                    continue
                finished(parts, text)
            except Exception:
                traceback.print_exc()
                parts = []
        send(job, parts)


def listen(jobs: "queue.SimpleQueue[Job | str]") -> None:
    """Whoever sends jobs does not wait until they are made."""
    source = sys.stdin.buffer
    while size := source.read(8):
        jobs.put(pickle.loads(source.read(int.from_bytes(size, "little"))))
    jobs.put(ENDED)


def in_a_child(parts: list[Part], text: str) -> tuple[int, int]:
    """Finish a region in a process of its own: its number, and a pipe that tells."""
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.nice(NICE)  # what is small comes first
        os.close(told)  # or it would wait for itself to read what nobody else does if the compiler has ended
        try:
            with open(tells, "wb") as file:
                pickle.dump(finished(parts, text), file)
        finally:
            os._exit(0)
    os.close(tells)
    return child, told


def hear(child: int, told: int, job: Job, send: Callable[[Job, list[Part]], None]) -> None:
    """Wait for a child, and send what it has made; nothing if LLVM has ended it."""
    with open(told, "rb") as file:
        octets = file.read()
    os.waitpid(child, 0)
    try:
        parts = pickle.loads(octets)
    except (EOFError, pickle.UnpicklingError):
        parts = []
    send(job, parts)


if __name__ == "__main__":
    main(*sys.argv[1:])
