"""Runs the command line on fake machines, in a process of its own: with pipes, or on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Popen

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.cli.on_fakes"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """guesthouse with these arguments, its standard streams pipes."""

    def call(*arguments: str, input: str | None = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], cwd=ROOT, input=input, capture_output=True, text=True,
                              timeout=60, env=environment(tmp_path) | environ)

    return call


@pytest.fixture
def started(popen: Popen, tmp_path: Path) -> Popen:
    """guesthouse with these arguments, while it runs."""

    def call(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return popen([*COMMAND, *arguments], cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     env=environment(tmp_path))

    return call


def environment(folder: Path) -> dict[str, str]:
    """Ours, with caches and reports in a folder of the test's own."""
    return os.environ | {"GUESTHOUSE_CACHE": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state"),
                         "TERM": "xterm"}


class OnTerminal:
    """guesthouse as the leader of a session with a terminal of its own, of which we hold the other end."""

    def __init__(self, *arguments: str, folder: Path, cwd: Path = ROOT) -> None:
        self.user, self.terminal = pty.openpty()
        termios.tcsetwinsize(self.terminal, (33, 99))
        self.before = termios.tcgetattr(self.terminal)
        self.seen = b""
        self.process = subprocess.Popen([*COMMAND, *arguments], cwd=cwd, stdin=self.terminal, stdout=self.terminal,
                                        stderr=self.terminal, start_new_session=True, env=environment(folder))

    def expect(self, text: str, seconds: float = 30.0) -> None:
        """Wait until the terminal has shown this since the last expect."""
        deadline = time.monotonic() + seconds
        while text.encode() not in self.seen:
            ready = select.select([self.user], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.user, 4096)
        self.seen = self.seen.partition(text.encode())[2]

    def press(self, keys: bytes) -> None:
        os.write(self.user, keys)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(30)

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self.terminal) == self.before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.user, self.terminal):
            try:
                os.close(end)
            except OSError:
                pass  # closed by the test


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[Callable[..., OnTerminal]]:
    """guesthouse with these arguments, on a terminal."""
    opened: list[OnTerminal] = []

    def call(*arguments: str) -> OnTerminal:
        opened.append(OnTerminal(*arguments, folder=tmp_path))
        return opened[-1]

    yield call
    for one in opened:
        one.close()
