"""Guest time: integer nanoseconds since the machine was switched on, and the timers that wait on it.

Time is an input. A board samples a clock between two runs of its vCPU and everything above asks `now()`, so
a chip sees time stand still while it answers one access, and a run in virtual time is repeatable to the
instruction.
"""

from __future__ import annotations

import heapq
import time
from typing import Callable

SECOND = 1_000_000_000
FEWEST = 1 << 12  # instructions that are worth a look at real time
BEYOND = 16  # a budget goes on beyond its deadline by one part of so many: if it ends before, another is needed
CROWD = 64  # entries of moved timers that may wait before they are swept out


class Timer:
    """Calls back once when guest time reaches `at`; None means it is not set."""

    __slots__ = ("_clock", "at", "callback", "order")

    def __init__(self, clock: Clock, callback: Callable[[], None], order: int) -> None:
        self._clock, self.callback, self.order = clock, callback, order
        self.at: int | None = None

    def set(self, at: int | None) -> None:
        """Move the timer to `at`, which may lie in the past (then it is due at once); None cancels."""
        if at != self.at:
            self.at = at
            if at is not None:
                self._clock._push(at, self)

    def cancel(self) -> None:
        self.at = None


class Clock:
    """Guest time that goes where it is told, and never backwards."""

    def __init__(self) -> None:
        self._now = 0
        self._timers = 0
        # Entries of cancelled or moved timers stay until they surface: `timer.at` says which entry counts.
        self._waiting: list[tuple[int, int, Timer]] = []

    def now(self) -> int:
        return self._now

    def advance_to(self, at: int) -> None:
        if at > self._now:
            self._now = at

    def timer(self, callback: Callable[[], None]) -> Timer:
        """A new timer. Equal deadlines fire in the order of creation, which a restored machine repeats."""
        self._timers += 1
        return Timer(self, callback, self._timers)

    def next_deadline(self) -> int | None:
        waiting = self._waiting
        while waiting:
            at, _, timer = waiting[0]
            if timer.at == at:
                return at
            heapq.heappop(waiting)
        return None

    def fire_due(self) -> None:
        """Call each timer that is due, earliest first and none twice.

        A callback that sets its timer into the past is called in the next round: a guest that programs a
        period of a nanosecond slows itself down, but does not hold the board here for ever.
        """
        if not self._waiting or self._waiting[0][0] > self._now:
            return
        due: list[tuple[int, int, Timer]] = []
        while (at := self.next_deadline()) is not None and at <= self._now:
            entry = heapq.heappop(self._waiting)
            if not due or entry != due[-1]:
                due.append(entry)
        for at, _, timer in due:
            if timer.at == at:
                timer.at = None
                timer.callback()
            elif timer.at is not None and timer.at <= self._now:
                self._push(timer.at, timer)  # moved by an earlier callback of this round

    def sample(self, count: int) -> None:
        """Bring `now()` up to date; `count` is the number of instructions the guest has executed."""

    def spend(self, nanoseconds: int) -> None:
        """The guest has waited for a device so long. Host time passes by itself meanwhile."""

    def budget(self, count: int, limit: int) -> int:
        """How many instructions may run from `count` on before somebody has to look at the timers."""
        return limit

    def tell_rate(self, rate: int) -> None:
        """So many instructions a second have been measured, by real time."""

    def skip_idle(self, count: int) -> int:
        """The guest waits for an interrupt: nanoseconds of host time to sleep; -1: there is no deadline."""
        at = self.next_deadline()
        if at is None:
            return -1
        self.advance_to(at)
        return 0

    def save(self) -> dict[str, int]:
        """The time itself; each chip saves the deadlines of its own timers."""
        return {"now": self._now}

    def restore(self, saved: dict[str, int]) -> None:
        self._now = saved["now"]

    def _push(self, at: int, timer: Timer) -> None:
        heapq.heappush(self._waiting, (at, timer.order, timer))
        if len(self._waiting) > CROWD + 4 * self._timers:
            self._waiting = sorted({entry for entry in self._waiting if entry[2].at == entry[0]})


class VirtualClock(Clock):
    """Time is a function of the instruction count, of the accesses to ports and of the idle time skipped: the same in
    each run."""

    def __init__(self, instructions_per_second: int = SECOND) -> None:
        super().__init__()
        self.rate = instructions_per_second
        self._skipped = 0

    def sample(self, count: int) -> None:
        self.advance_to(self._skipped + count * SECOND // self.rate)

    def spend(self, nanoseconds: int) -> None:
        """At once: what the guest reads of the clock must not depend on when somebody samples it next."""
        self._skipped += nanoseconds
        self.advance_to(self.now() + nanoseconds)

    def budget(self, count: int, limit: int) -> int:
        at = self.next_deadline()
        if at is None:
            return limit
        until = -((self._skipped - at) * self.rate // SECOND)  # rounded up: then the deadline is due
        return max(1, min(limit, until - count))

    def skip_idle(self, count: int) -> int:
        self.sample(count)
        at = self.next_deadline()
        if at is None:
            return -1
        self._skipped += max(0, at - self._now)
        self.advance_to(at)
        return 0

    def save(self) -> dict[str, int]:
        return super().save() | {"skipped": self._skipped}

    def restore(self, saved: dict[str, int]) -> None:
        super().restore(saved)
        self._skipped = saved["skipped"]


class RealClock(Clock):
    """Host time since the start, less the pauses, times `scale`."""

    def __init__(self, host: Callable[[], int] = time.monotonic_ns, scale: float = 1.0) -> None:
        super().__init__()
        self._host, self.scale = host, scale
        self._base, self._start = 0, host()
        self._paused = False
        self._rate = 0  # 0: not known

    def sample(self, count: int) -> None:
        if not self._paused:
            passed = self._host() - self._start
            self.advance_to(self._base + (passed if self.scale == 1.0 else int(passed * self.scale)))

    def budget(self, count: int, limit: int) -> int:
        """As many as there are likely to be before the next deadline, and a few more."""
        at = self.next_deadline()
        if at is None or not self._rate:
            return limit
        until = int((at - self._now) / self.scale) * self._rate // SECOND
        return min(limit, max(FEWEST, until + until // BEYOND))

    def tell_rate(self, rate: int) -> None:
        self._rate = rate

    def skip_idle(self, count: int) -> int:
        self.sample(count)
        at = self.next_deadline()
        return -1 if at is None else max(0, int((at - self._now) / self.scale))

    @property
    def offset(self) -> int:
        """Guest time minus host time, until the next pause."""
        return self._base - self._start

    def pause(self) -> None:
        """Guest time stands still from here on: a stopped machine does not age."""
        self.sample(0)
        self._paused = True

    def resume(self) -> None:
        self._base, self._start, self._paused = self._now, self._host(), False

    def restore(self, saved: dict[str, int]) -> None:
        super().restore(saved)
        self._base, self._start = self._now, self._host()
