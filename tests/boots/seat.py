"""Someone before a terminal in which guesthouse draws a guest's screen.

Only what has changed is sent, and a line that the guest is still writing comes in pieces: so what the terminal shows is
waited for, and not words in what is sent to it.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, OnTerminal

PATIENCE = 60.0
TOKEN = re.compile(r"\x1b\[([?\d;]*) ?([A-Za-z])|\x1b[^\[]|([^\x00-\x1f])|(\n)|(\r)")


def shown(sent: str) -> str:
    """The text on a terminal to which this was sent."""
    lines: dict[int, dict[int, str]] = {}
    row = column = 0
    for numbers, final, character, feed, back in TOKEN.findall(sent):
        if character:
            lines.setdefault(row, {})[column] = character
            column += 1
        elif feed:
            row += 1
        elif back:
            column = 0
        elif final == "H":
            row, column = (int(n) - 1 for n in numbers.split(";"))
        elif final == "J":
            lines.clear()
    return "\n".join("".join(lines[n].get(at, " ") for at in range(max(lines[n]) + 1)).rstrip()
                     for n in sorted(lines)).rstrip()


class Seat(OnTerminal):
    """`guesthouse run` with these arguments on a terminal of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *arguments: str, folder: Path, cwd: Path = ROOT) -> None:
        monkeypatch.setattr("tests.cli.conftest.COMMAND", [sys.executable, "-m", "guesthouse"])
        monkeypatch.setattr("tests.cli.conftest.environment", lambda folder: os.environ | {
            "TERM": "xterm", "PYTHONPATH": str(ROOT)})
        super().__init__("run", *arguments, folder=folder, cwd=cwd)
        self.sent = b""

    def wait_for(self, pattern: str, seconds: float = PATIENCE) -> str:
        """What the terminal shows, once this regular expression is found in it."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, text := shown(self.sent.decode(errors="ignore"))):
            ready = select.select([self.user], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no {pattern!r} in what the terminal shows:\n{text}"
            self.sent += os.read(self.user, 1 << 16)
        return text

    def leave(self) -> None:
        """Ctrl-A x."""
        self.press(b"\x01x")
        assert self.end() == 0
