"""Threads, and waiting for what they change, safe from the exceptions of signal handlers.

Such an exception (KeyboardInterrupt, or the one that ends us) may come in the main thread after any call. CPython lets
none come between the taking of a lock of its own and the block of its `with` (bpo-29988, gh-148874). But
threading.Condition is written in Python: an exception within it may leave its lock taken for ever, or raise another;
and so may one within what is made of it, Event, Timer, Future, and Thread with its start() and join(). So the main
thread begins threads with `begin`, shares with them a lock of CPython's own, and waits for them with Changes or at a
SimpleQueue.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
SLICE = 1.0  # seconds: Python hears of a signal that came in the instant before a wait only when the wait is over


def begin(life: Callable[[], object]) -> None:
    """Let it run in a thread of its own; nobody waits for its end, the process neither."""
    _thread.start_new_thread(life, ())


class Changes:
    """Whoever looks or changes does so `with changes.lock`, and then tells."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._bells: set[SimpleQueue[None]] = set()

    def tell(self) -> None:
        """Something has changed: who waits looks again."""
        for bell in tuple(self._bells):
            if bell.empty():
                bell.put(None)

    def wait_for(self, what: Callable[[], T], timeout: float | None = None) -> T:
        """What `what()` says as soon as it is true, or when the time is up; asked with the lock held. Who calls this
        does not hold it, for nobody could change anything then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        bell: SimpleQueue[None] = SimpleQueue()
        self._bells.add(bell)
        try:
            while True:
                with self.lock:
                    found = what()
                left = SLICE if deadline is None else deadline - time.monotonic()
                if found or left <= 0:
                    return found
                with suppress(Empty):
                    bell.get(timeout=min(left, SLICE))
        finally:
            self._bells.discard(bell)
