"""How a run of a board ends. Guest trouble is a value here, never an exception."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PoweredOff:
    """The guest switched itself off; `status` is not 0 where its firmware call said that something failed."""

    status: int = 0


@dataclass(frozen=True)
class Reset:
    """The guest asked for a reset. A new board has to be made for it."""


@dataclass(frozen=True)
class Died:
    """The guest cannot go on: a triple fault, a halt for good, a kernel panic. `report` tells all that is known."""

    reason: str
    report: str = field(repr=False, compare=False)


@dataclass(frozen=True)
class Stopped:
    """stop() was called; run() goes on from here."""


@dataclass(frozen=True)
class OutOfTime:
    """A limit given to run() was reached; run() goes on from here."""


@dataclass(frozen=True)
class AtBreakpoint:
    address: int


Outcome = PoweredOff | Reset | Died | Stopped | OutOfTime | AtBreakpoint
