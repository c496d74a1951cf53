"""A machine's screen on a terminal: what stops or ends us leaves the terminal as it was."""

from __future__ import annotations

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from guesthouse.cli.watching import Watcher
from guesthouse.display.screen import Text

ENTERED, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"


class Seat:
    """A process that shows a screen of one row on a terminal, of which we hold the other end."""

    def __init__(self) -> None:
        self.process, self.user = pty.fork()
        if not self.process:
            try:
                self._watch()
            finally:
                os._exit(0)
        self.seen = b""

    def _watch(self) -> None:
        cells = b"".join(bytes((byte, 7)) for byte in b"A:\\>")
        machine: Any = SimpleNamespace(name="pc", gone=lambda: None,
                                       screen=SimpleNamespace(now=lambda: Text(4, 1, cells)))
        Watcher(machine).watch()

    def expect(self, what: bytes) -> None:
        deadline = time.monotonic() + 10
        while what not in self.seen:
            assert select.select([self.user], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self.user, 4096)
        self.seen = self.seen.partition(what)[2]

    @property
    def echoes(self) -> bool:
        """Whether the terminal is as a shell wants it."""
        return bool(termios.tcgetattr(self.user)[3] & termios.ECHO)


@pytest.fixture
def seat() -> Iterator[Seat]:
    made = Seat()
    yield made
    os.kill(made.process, signal.SIGKILL)
    os.waitpid(made.process, 0)
    os.close(made.user)


def test_while_stopped_from_outside_the_terminal_is_as_before_and_then_drawn_anew(seat: Seat) -> None:
    seat.expect(ENTERED)
    seat.expect(b"A:\\>")
    assert not seat.echoes
    os.kill(seat.process, signal.SIGTSTP)
    seat.expect(LEFT)
    os.waitpid(seat.process, os.WUNTRACED)
    assert seat.echoes
    os.kill(seat.process, signal.SIGCONT)
    seat.expect(ENTERED)
    seat.expect(b"A:\\>")
    assert not seat.echoes
