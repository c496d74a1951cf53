"""The processors of a board at the same time, each in a thread of its own. Real time only: such a run is never the same
twice.

Whoever touches chips, the clock or what belongs to the board holds the lock; compiled code runs without it. The thread
that called Board.run fires timers and does the posted jobs. While somebody needs the processors to stand still, they
come out of their blocks (SoftVcpu.recall) and wait here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from guesthouse.bits import u64
from guesthouse.clock import RealClock
from guesthouse.engine.vcpu import Exit, Yields
from guesthouse.errors import UserError
from guesthouse.system.boards.cores import Core
from guesthouse.system.boards.outcome import Outcome

if TYPE_CHECKING:
    from guesthouse.system.boards.board import Board

SLICE = 1 << 20  # instructions between two looks at the console and at a kernel that may have panicked
SPIN_NS = 200_000  # so long a processor may wait with PAUSE; then the host may run another in its place
AGAIN = 0.005  # seconds after which a processor that does not come out is called again


class Threads:
    """Made with its board; `run` is the board's loop."""

    def __init__(self, board: Board) -> None:
        check_possible(board)
        self.board = board
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.running: dict[int, Core] = {}
        self.waiting: set[int] = set()
        self.holder: int | None = None  # the thread for which all stand still
        self.over = False
        self.awaited: int | None = None  # guest time until which the board's own thread sleeps
        self.failure: BaseException | None = None
        host_clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
        for core in board.cores:
            core.state.parallel, core.state.host_clock = u64(1), u64(host_clock or 0)
            core.state.host_clock_number = u64(time.CLOCK_MONOTONIC)

    # the board's thread

    def run(self, deadline: float | None) -> Outcome:
        self.over, self.failure = False, None
        self.waiting.clear()
        lives = [threading.Thread(target=self._live, args=[core], name=f"guesthouse cpu{core.number}", daemon=True)
                 for core in self.board.cores]
        for life in lives:
            life.start()
        try:
            while (outcome := self._look(deadline)) is None:
                self.board.sleep(self._pause(), deadline)
        finally:
            with self.lock:
                self.over = True
                self._call_out()
            for life in lives:
                life.join()
        return outcome

    def _look(self, deadline: float | None) -> Outcome | None:
        """Do what is due; how the run ends, if it does."""
        board = self.board
        with self.lock:
            self._wait_for_holder()
            if self.failure is not None:
                raise self.failure
            board.clock.sample(0)
            board.clock.fire_due()
            if board.has_jobs():
                with self.still():
                    board.do_jobs()
            return board.ended(None, deadline)

    def _pause(self) -> float | None:
        """Seconds until the next timer is due."""
        with self.lock:
            self.awaited = self.board.clock.next_deadline()
            wait = self.board.clock.skip_idle(0)
        return None if wait < 0 else wait / 1e9

    def _call_out(self) -> None:
        for core in self.running.values():
            core.vcpu.recall()  # type: ignore[attr-defined]
        self.changed.notify_all()

    # the processors' threads

    def _live(self, core: Core) -> None:
        """Run one processor until all is over."""
        try:
            exit: Exit | None = None
            while self._served(core, exit):
                exit = core.vcpu.run(SLICE)
                if type(exit) is Yields:
                    time.sleep(0)
        except BaseException as wrong:
            with self.lock:
                self.running.pop(core.number, None)
                self.failure, self.over = wrong, True
                self.changed.notify_all()
            self.board.ring()

    def _served(self, core: Core, exit: Exit | None) -> bool:
        """Answer an exit, then wait until the processor goes on; false if it does not."""
        board = self.board
        with self.lock:
            self.running.pop(core.number, None)
            if self.holder is not None:
                self.changed.notify_all()
                self._wait_for_holder()
            if exit is not None:
                board.core = core
                board.clock.sample(0)
                board.answer(exit)
                board.flush()
                self._tell_of_news()
            while not self.over:
                if self.holder is None:
                    board.core = core
                    if board.goes_on():
                        self.prepare(core)
                        self.waiting.discard(core.number)
                        self.running[core.number] = core
                        return True
                    self.waiting.add(core.number)
                    self._check_for_life()
                self.changed.wait()
            return False

    def _wait_for_holder(self) -> None:
        """Who has the others stand still may be in the midst of a chip, and has let go of the lock to wait for them."""
        while self.holder is not None:
            self.changed.wait()

    def prepare(self, core: Core) -> None:
        """Tell a processor what time it is."""
        clock = self.board.clock
        assert isinstance(clock, RealClock)
        core.state.host_offset = u64(clock.offset & (1 << 64) - 1)
        core.state.yield_at = u64(clock.now() + SPIN_NS)

    def _tell_of_news(self) -> None:
        """Wake the board's thread if it has something to do before it would wake."""
        at = self.board.clock.next_deadline()
        if self.board.has_ended or at is not None and (self.awaited is None or at < self.awaited):
            self.awaited = at
            self.board.ring()

    def _check_for_life(self) -> None:
        """When all processors wait: whether any of them ever goes on."""
        board = self.board
        if len(self.waiting) == len(board.cores) and not any(board.goes_on() for _ in board.each_core()):
            why = board.dead_halt_of_all()
            if why is not None:
                board.die(why)
                board.ring()

    # for all who hold the lock

    def attract(self, core: Core) -> None:
        with self.lock:
            if core.number in self.running:
                core.vcpu.recall()  # type: ignore[attr-defined]
            else:
                self.changed.notify_all()

    @contextmanager
    def still(self) -> Iterator[None]:
        """While this holds, no processor runs."""
        mine, me = self.board.core, threading.get_ident()
        with self.lock:
            outermost = self.holder != me
            while self.holder not in (None, me):
                self.changed.wait()
            self.holder = me
            while self.running:
                self._call_out()
                self.changed.wait(AGAIN)
            self.board.core = mine
            try:
                yield
            finally:
                if outermost:
                    self.holder = None
                    self.changed.notify_all()


def check_possible(board: Any) -> None:
    """Guest memory is ordered as the host orders it, so the host's order has to be x86's."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or os.name != "posix":
        raise UserError("Processors can run at the same time on Linux hosts with x86-64 processors only.",
                        "Leave `parallel` away: they then take turns.", exit_status=6)
    if not isinstance(board.clock, RealClock) or board.clock.scale != 1.0:
        raise UserError("Processors that run at the same time need real time.", "Leave `parallel` or the time away.")
    if getattr(board.vcpu, "engine", None) is None:
        raise UserError("Processors run at the same time the threaded way only.", "Leave `parallel` or the way away.")
