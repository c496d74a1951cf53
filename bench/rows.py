"""Numbers: what was measured on each side, their medians, ratios and means, and how they are shown.

A speed is the other side's time over ours: above 1 we are faster. Medians are of all rounds; means of speeds are
geometric, so that it does not matter which side is called one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from math import exp, log
from statistics import median
from typing import Any

OURS, THEIRS, HOST, BOCHS, V86 = "guesthouse", "QEMU", "native", "Bochs", "v86"


@dataclass(frozen=True)
class Moment:
    """Where a guest was at one line: seconds of the host's clock and of its process's, its instructions."""

    wall: float
    cpu: float
    count: int = 0

    def since(self, start: Moment) -> Moment:
        return Moment(self.wall - start.wall, self.cpu - start.cpu, self.count - start.count)


@dataclass(frozen=True)
class Run:
    """One run of one item, as seen from outside; `seconds` by the guest's own clock, where it told them."""

    took: Moment
    seconds: float | None = None
    result: str = ""

    @property
    def time(self) -> float:
        return self.took.wall if self.seconds is None else self.seconds

    @property
    def cpu(self) -> float:
        return self.took.cpu

    def clock_is_right(self) -> bool:
        """Within a twentieth, and what a line takes to come out."""
        return self.seconds is None or abs(self.seconds - self.took.wall) < 0.03 + 0.05 * self.took.wall


@dataclass
class Row:
    """One item with all its runs by side."""

    name: str
    kind: str = ""
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def add(self, side: str, run: Run) -> None:
        self.runs.setdefault(side, []).append(run)

    def middle(self, side: str, clock: str = "time") -> float | None:
        found = self.runs.get(side)
        return median(getattr(run, clock) for run in found) if found else None

    def speed(self, clock: str = "time", side: str = THEIRS) -> float | None:
        ours, theirs = self.middle(OURS, clock), self.middle(side, clock)
        return theirs / ours if ours and theirs else None

    def rate(self) -> float | None:
        """Guest instructions for each second of CPU time."""
        counted = [run.took.count / run.cpu for run in self.runs.get(OURS, ()) if run.took.count and run.cpu]
        return median(counted) if counted else None

    def complaints(self) -> list[str]:
        """What makes these numbers worthless."""
        wrong = [f"THE CLOCK OF {side}" for side, runs in self.runs.items()
                 if not all(run.clock_is_right() for run in runs)]
        differ = len({run.result for runs in self.runs.values() for run in runs}) > 1
        return ["RESULTS DIFFER"] * differ + wrong

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "speed": self.speed(), "speed_by_cpu": self.speed("cpu"),
                "instructions_per_cpu_second": self.rate(), "complaints": self.complaints(),
                "runs": {side: [asdict(run) for run in runs] for side, runs in self.runs.items()}}


@dataclass
class Part:
    """Rows that belong together; the speed that they shall have on the whole, if one was set."""

    name: str
    rows: list[Row]
    target: float | None = None
    computes: bool = False

    def mean(self, clock: str = "time") -> float | None:
        return mean(row.speed(clock) for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "target": self.target, "speed": self.mean(), "speed_by_cpu": self.mean("cpu"),
                "rows": [row.as_json() for row in self.rows]}


ALL, LEAST = 2.5, 0.8  # the speed of all that computes together, and of the slowest item of it


def mean(speeds: Iterable[float | None]) -> float | None:
    """The geometric mean of those that there are."""
    logs = [log(speed) for speed in speeds if speed]
    return exp(sum(logs) / len(logs)) if logs else None


def together(parts: Sequence[Part]) -> Part:
    """All that computes, as one."""
    return Part("all that computes", [row for part in parts if part.computes for row in part.rows], ALL)


def table(parts: Sequence[Part]) -> list[str]:
    """Lines for people: seconds, medians; each part with its mean and its target."""
    lines = [f"{'':16}{'':24}{'native':>9}{'ours':>9}{'QEMU':>9}{'speed':>8}{'by CPU':>8}{'ours/native':>13}"
             f"{'M instr/CPU s':>15}"]
    for part in parts:
        lines += [line(row) for row in part.rows]
        if len(part.rows) > 1:
            lines += [*summary(part), ""]
    whole = together(parts)
    if len(whole.rows) > 1:
        lines += summary(whole)
        if slow := [row for row in whole.rows if row.speed()]:
            slowest = min(slow, key=lambda row: row.speed() or 0)
            lines.append(f"  slowest of it: {slowest.name} {shown(slowest.speed())} (target {LEAST})")
    return lines


def line(row: Row) -> str:
    native, ours = row.middle(HOST), row.middle(OURS)
    return (f"{row.name:16}{row.kind:24}{shown(native, 3):>9}{shown(ours, 3):>9}{shown(row.middle(THEIRS), 3):>9}"
            f"{shown(row.speed()):>8}{shown(row.speed('cpu')):>8}"
            f"{shown(ours / native if ours and native else None, 1):>13}{shown(row.rate(), 0, 1e-6):>15}"
            + "".join(f"  {side} {shown(row.middle(side), 3)} ({shown(row.speed(side=side), 1)})"
                      for side in (BOCHS, V86) if side in row.runs)
            + "".join(f"  {text}" for text in row.complaints()))


def summary(part: Part) -> list[str]:
    wanted = f" (target {part.target:g})" if part.target else ""
    return [f"  {part.name}, geometric mean: {shown(part.mean())}{wanted}, by CPU time {shown(part.mean('cpu'))}"]


def shown(value: float | None, digits: int = 2, scale: float = 1) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"
