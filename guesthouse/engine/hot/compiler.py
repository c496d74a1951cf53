"""Has regions made by a process of its own (workshop.py): neither Python's lock nor LLVM stops the guest.

What a processor wants compiled goes there as a job; what has been made comes back, and onto the shelf. If earlier runs
have left jobs, the process begins with the guest, and makes these while it is asked for nothing else.
"""

import os
import pickle
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from guesthouse.engine.build import Engine
from guesthouse.engine.op import Guest
from guesthouse.engine.hot.job import Job
from guesthouse.engine.hot.later import Later
from guesthouse.engine.hot.shelf import Part, Shelf
from guesthouse.trace import value

LIVES = 4  # of the compiler's process


class Compiler:
    """Compiles for all processors of a kind, in a process that begins with the first job, which may be one that an
    earlier run has left, and ends with this one."""

    def __init__(self, guest: Guest, path: Path) -> None:
        self.guest, self.path, self.shelf, self.later = guest, path, Shelf(path), Later(path.with_suffix(".later"))
        self._lock = threading.Lock()
        self._inboxes: list[tuple[str, list[tuple[str, list[Part]]]]] = []
        self._heard = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = LIVES
        self._unasked: set[str] = set()  # what has been made, or could not be
        if spare_processors() and any(name not in self.shelf.parts for name in self.later.names()):
            with suppress(OSError):
                self._process = self._begin()

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
        self.later.forget()
        for name, inbox in self._inboxes:
            inbox.append((name, []))
        self._inboxes.clear()

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "guesthouse.engine.hot.workshop", self.guest.origin, str(self.path)]
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
            assert self._process.stdout is not None
            ended = False
            with suppress(BlockingIOError):  # nothing more now
                while octets := os.read(self._process.stdout.fileno(), 1 << 16):
                    self._heard += octets
                ended = True
            heard = self._heard
            while len(heard) >= 8 and len(heard) >= (size := 8 + int.from_bytes(heard[:8], "little")):
                name, parts = pickle.loads(heard[8:size])
                del heard[:size]
                for n, (wanted, inbox) in enumerate(self._inboxes):
                    if wanted == name:
                        inbox.append((name, parts))
                        del self._inboxes[n]
                        break
                else:
                    self._unasked.add(name)
                    for part in parts:
                        self.shelf.note(part)
            if ended:
                self._give_up()
        finally:
            self._lock.release()

    def leave(self, jobs: list[Job]) -> None:
        """A guest ends, and these have not been made."""
        self.later.keep(jobs, self.shelf.parts.keys() | self._unasked)


COMPILERS: dict[Path, Compiler] = {}


def compiler_of(engine: Engine) -> Compiler:
    """The one that all processors with this engine have in common."""
    if engine.shelf not in COMPILERS:
        COMPILERS[engine.shelf] = Compiler(engine.guest, engine.shelf)
    return COMPILERS[engine.shelf]


def spare_processors() -> bool:
    """Whether there is a processor beside the one that the guest runs on."""
    return not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) > 1


def write_message(file: IO[bytes], what: Any) -> None:
    octets = pickle.dumps(what)
    file.write(len(octets).to_bytes(8, "little") + octets)
    file.flush()
