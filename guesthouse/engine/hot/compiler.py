"""Makes regions, in a process of its own: neither Python's lock nor LLVM stops the guest.

What a processor wants compiled comes as a job; what has been made goes to it and onto the shelf.
"""

import ctypes
import hashlib
import os
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from guesthouse.engine.build import Engine
from guesthouse.engine.op import Guest, find_guest
from guesthouse.engine.hot.library import Library
from guesthouse.engine.hot.region import PASSES, Block, Instruction, Region
from guesthouse.engine.hot.shelf import Part, Shelf
from guesthouse.trace import value
from guesthouse.typed.machine import assemble, has

LIVES = 4  # of the compiler's process
# A block: where it lies from the page of the region's first block on, count, records with handler numbers, whether it
# falls, mode.
Told = tuple[int, int, list[bytes], bool, int]


@dataclass
class Job:
    """What the compiler gets. The name follows from the rest. `comes`: for each block, the number of the one from
    which it was first seen to be reached."""

    name: str
    home: int  # see Block in engine/processor.py
    blocks: list[Told]
    comes: list[int] = field(default_factory=list)


def digest(block: Told) -> str:
    """What tells a block, its instructions and where it lies, from all others."""
    return hashlib.blake2b(b"".join(block[2]) + f"{block[:2]} {block[3:]}".encode(), digest_size=12).hexdigest()


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


class Compiler:
    """Compiles for all processors of a kind, in a process that begins with the first job and ends with this one."""

    def __init__(self, guest: Guest, path: Path) -> None:
        self.guest, self.path, self.shelf = guest, path, Shelf(path)
        self._lock = threading.Lock()
        self._inboxes: list[tuple[str, list[tuple[str, list[Part]]]]] = []
        self._heard = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = LIVES

    def send(self, job: Job, inbox: list[tuple[str, list[Part]]]) -> None:
        with self._lock:
            self._inboxes.append((job.name, inbox))
            try:
                if self._lives:
                    self._process = self._process or self._begin()
                    assert self._process.stdin is not None
                    write_message(self._process.stdin, job)
                    return
            except OSError:
                pass
            self._give_up()

    def _give_up(self) -> None:
        """The process was killed, by a user or by LLVM over one of these regions: nothing comes for those who wait, and
        the blocks stay threaded. The next job gets a new one, a few times."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self._lives = None, max(0, self._lives - 1)
        self._heard.clear()
        for name, inbox in self._inboxes:
            inbox.append((name, []))
        self._inboxes.clear()

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "guesthouse.engine.hot.compiler", self.guest.origin, str(self.path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        # Ctrl-C is for us; and what LLVM says of a region before it ends the process is for nobody.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                                   stderr=None if value("debug") else subprocess.DEVNULL, process_group=0)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        weakref.finalize(self, process.kill)
        return process

    def hear(self) -> None:
        """Put what has been compiled since the last call into the inboxes of those who wanted it."""
        if self._process is None or not self._lock.acquire(blocking=False):
            return
        try:
            source = self._process.stdout
            assert source is not None
            while octets := source.read(1 << 20):
                self._heard += octets
            heard = self._heard
            while len(heard) >= 8 and len(heard) >= (size := 8 + int.from_bytes(heard[:8], "little")):
                name, parts = pickle.loads(heard[8:size])
                del heard[:size]
                for n, (wanted, inbox) in enumerate(self._inboxes):
                    if wanted == name:
                        inbox.append((name, parts))
                        del self._inboxes[n]
                        break
            if octets == b"":  # the end of the pipe; None: nothing now
                self._give_up()
        finally:
            self._lock.release()


COMPILERS: dict[Path, Compiler] = {}


def compiler_of(engine: Engine) -> Compiler:
    """The one that all processors with this engine have in common."""
    if engine.shelf not in COMPILERS:
        COMPILERS[engine.shelf] = Compiler(engine.guest, engine.shelf)
    return COMPILERS[engine.shelf]


def write_message(file: IO[bytes], what: Any) -> None:
    octets = pickle.dumps(what)
    file.write(len(octets).to_bytes(8, "little") + octets)
    file.flush()


def main(origin: str, path: str) -> None:
    """The compiler's process: jobs come on standard input, parts go to standard output and onto the shelf."""
    from guesthouse.engine.hot import compiler  # not __main__: the jobs' class is the one that was sent

    workshop, shelf = compiler.Workshop(find_guest(origin)), Shelf(Path(path))
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
