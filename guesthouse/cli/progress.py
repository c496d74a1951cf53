"""Tells on stderr of work that takes longer than a second: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from guesthouse.manager import units

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE, PACE = 1.0, 5.0  # seconds before anything is said, and between two plain lines


class Narrator:
    """Called with (what, done, in all) as work goes on; bytes or steps, as `counts` says."""

    def __init__(self, now: Callable[[], float] = time.monotonic, terminal: bool | None = None) -> None:
        self._now = now
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._began: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, wrong: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The work is over: take the bars away."""
        if self._bars:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._now()
        began = self._began.setdefault(what, now)
        if now - began < PATIENCE and what not in self._told:
            return
        if self._terminal:
            self._told[what] = now
            self._bar(what, done, total)
        elif done >= total > 0 or now - self._told.get(what, -PACE) >= PACE:
            self._told[what] = now
            click.echo(f"guesthouse: {what}: {amount(what, done, total)}", err=True)

    def warn(self, sentence: str) -> None:
        click.echo(f"guesthouse: note: {sentence}", err=True)

    def _bar(self, what: str, done: int, total: int) -> None:
        if self._bars is None:
            self._bars = bars()
            self._bars.start()
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total or None, amount="")
        self._bars.update(self._tasks[what], completed=done, total=total or None, amount=amount(what, done, total))


def amount(what: str, done: int, total: int) -> str:
    """Compilation counts functions, everything else bytes."""
    if what.startswith("compil"):
        return f"{done} of {total}" if total else str(done)
    return f"{units.size_text(done)} of {units.size_text(total)}" if total else units.size_text(done)


def bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"),
                    TimeRemainingColumn(), console=Console(stderr=True), transient=True)
