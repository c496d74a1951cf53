"""Types a script that comes through a pipe at a guest's console, as a person would: when there is a prompt.

A console drops what is typed before its shell is there, and what is typed too fast. After the script's end, Ctrl-D at
the prompt ends the shell.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

PROMPT = re.compile(rb"[#$%>] \Z")
DRESSING = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and busybox's question where the cursor is
PORTION, HELD = 1024, 1 << 16
PAUSE, QUIET = 0.2, 2.0  # seconds between two portions that nothing answers; and before Ctrl-D without a prompt
END = b"\x04"


class Typist:
    """`offer` the script, tell what the guest `saw` fit to write, and let it `act` when its patience ends."""

    def __init__(self, write: Callable[[bytes], None], userland_is_ours: Callable[[], bool],
                 now: Callable[[], float] = time.monotonic) -> None:
        self._write, self._ours, self._now = write, userland_is_ours, now
        self._script = b""
        self._ended = self._begun = False
        self._tail = b""
        self._answered = False  # the guest wrote something since we last typed
        self._last = now()  # when either side last did something

    @property
    def full(self) -> bool:
        return len(self._script) >= HELD

    def offer(self, data: bytes) -> None:
        """More of the script; b"" is its end."""
        self._script += data
        self._ended = self._ended or not data

    def saw(self, output: bytes) -> None:
        """The guest wrote this."""
        self._tail = (self._tail + output)[-64:]
        self._answered, self._last = True, self._now()

    def patience(self) -> float | None:
        """Seconds until `act` should be called though nothing happens."""
        return PAUSE / 4 if self._script or self._ended else None

    def act(self) -> None:
        """Type the next portion, or the end, if it is time for it."""
        self._begun = self._begun or self._prompted()
        if self._script and self._begun and (self._answered or self._idle() > PAUSE):
            portion, self._script = self._script[:PORTION], self._script[PORTION:]
            self._type(portion)
        elif self._ended and not self._script and self._begun and self._wants_end():
            self._type(END)

    def _wants_end(self) -> bool:
        if self._answered and self._prompted():
            return True
        return self._ours() and self._idle() > QUIET

    def _prompted(self) -> bool:
        return bool(PROMPT.search(DRESSING.sub(b"", self._tail))) and self._idle() > PAUSE / 2

    def _idle(self) -> float:
        return self._now() - self._last

    def _type(self, keys: bytes) -> None:
        self._write(keys)
        self._answered, self._last = False, self._now()
