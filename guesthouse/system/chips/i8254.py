"""The 8254 programmable interval timer, after its data sheet (Intel 231164-005).

Counts are computed from the clock when somebody looks, and channel 0 sets a timer for its next rising edge.
Not modelled: the one-clock delay between writing a count and loading it; rising edges of channel 0 that the
host was too late for are one.
"""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Stateful, on_read, on_write

HZ = 1_193_182
LOW, HIGH, BOTH = 1, 2, 3  # RW: which bytes of a count are transferred
PERIODIC, TRIGGERED, PAUSED_BY_GATE = (2, 3), (1, 5), (0, 4)


def ticks_in(ns: int) -> int:
    return ns * HZ // SECOND


def time_of(ticks: int) -> int:
    """The first nanosecond at which `ticks_in` has reached this many."""
    return -(-ticks * SECOND // HZ)


class Counter(Stateful):
    """One of the three channels."""

    mode = Field(3)
    bcd = Field(False)
    access = Field(BOTH)
    reload = Field(0x10000)  # the count that was written
    count = Field(0x10000)  # the count in use
    start = Field(None)  # when the counter began to run; None: it stands
    done = Field(0)  # ticks that it ran before that
    following_at = Field(None)  # when `reload` replaces `count`, in modes 2 and 3
    loaded = Field(False)
    gate = Field(True)
    low_byte = Field(None)  # written, waits for its high byte
    high_next = Field(False)  # the next unlatched or latched read is the high byte
    latched_count = Field(None)
    latched_status = Field(None)

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def ticks(self) -> int:
        self._follow()
        return int(self.done + (ticks_in(self.clock.now() - self.start) if self.start is not None else 0))

    def _follow(self) -> None:
        """A count written while a period runs takes over at its end."""
        if self.following_at is not None and self.clock.now() >= self.following_at:
            self.count, self.start, self.done = self.reload, self.following_at, 0
            self.following_at = None

    def output(self) -> bool:
        if not self.loaded:
            return bool(self.mode != 0)
        ticks = self.ticks()
        if self.mode in PERIODIC:
            if self.start is None:
                return True
            phase = ticks % self.count
            return bool(phase < self.count - 1 if self.mode == 2 else phase < (self.count + 1) // 2)
        if self.mode in (0, 1):
            triggered = self.mode == 0 or self.start is not None
            return not triggered or ticks >= self.count
        return ticks != self.count or self.start is None

    def divisor(self) -> int:
        """What a steady output divides the clock by; 0: it makes no waves."""
        return int(self.reload) if self.loaded and self.mode in PERIODIC else 0

    def value(self) -> int:
        """The counting element as a read finds it, in binary or BCD."""
        ticks = self.ticks()
        span = 10_000 if self.bcd else 0x10000
        if self.mode == 3:
            half = (self.count + 1) // 2
            phase = ticks % self.count
            left = self.count - 2 * (phase if phase < half else phase - half) & ~1
        elif self.mode == 2:
            left = self.count - ticks % self.count
        else:
            left = self.count - ticks
        left %= span
        return int(str(left), 16) if self.bcd else left

    def next_rise(self) -> int | None:
        """When the output goes high next."""
        if self.start is None or not self.loaded:
            return None
        ticks = self.ticks()
        if self.mode in PERIODIC:
            at = (ticks // self.count + 1) * self.count
        else:
            at = self.count + (1 if self.mode in (4, 5) else 0)
            if ticks >= at:
                return None
        return int(self.start + time_of(at - self.done))

    def set_gate(self, high: bool) -> None:
        if high == self.gate:
            return
        self.gate = high
        if self.mode in TRIGGERED:
            if high and self.loaded:
                self._begin()
        elif high:
            if self.loaded:
                self.start = self.clock.now()
                if self.mode in PERIODIC:
                    self._begin()
        else:
            self.done = 0 if self.mode in PERIODIC else self.ticks()
            self.start = self.following_at = None

    def _begin(self) -> None:
        self.count, self.start, self.done = self.reload, self.clock.now(), 0
        self.following_at = None

    def control(self, value: int) -> None:
        access = value >> 4 & 3
        if access == 0:
            self.latch_count()
            return
        gate = self.gate
        self.clear()
        mode = value >> 1 & 7
        self.gate, self.access, self.bcd = gate, access, bool(value & 1)
        self.mode = mode - 4 if mode > 5 else mode

    def latch_count(self) -> None:
        if self.latched_count is None:  # a second latch before the read is ignored
            self.latched_count = self.value()
            self.high_next = self.access == HIGH

    def latch_status(self) -> None:
        if self.latched_status is None:
            empty = not self.loaded or self.following_at is not None
            modes = self.access << 4 | self.mode << 1 | self.bcd
            self.latched_status = self.output() << 7 | empty << 6 | modes

    def read_byte(self) -> int:
        if self.latched_status is not None:
            status, self.latched_status = self.latched_status, None
            return int(status)
        value = self.value() if self.latched_count is None else self.latched_count
        high = self.access == HIGH or self.access == BOTH and self.high_next
        if self.access == BOTH:
            self.high_next = not self.high_next
        if self.access != BOTH or high:
            self.latched_count = None
        return value >> 8 & 0xFF if high else value & 0xFF

    def write_byte(self, byte: int) -> None:
        if self.access == BOTH and self.low_byte is None:
            self.low_byte = byte
            if self.mode == 0:
                self.loaded, self.start, self.done = False, None, 0  # the first byte stops the counting
            return
        written = {LOW: byte, HIGH: byte << 8, BOTH: byte << 8 | (self.low_byte or 0)}[self.access]
        self.low_byte = None
        self._load(written)

    def _load(self, written: int) -> None:
        if self.bcd:
            written = sum((written >> 4 * i & 0xF) * 10**i for i in range(4)) % 10_000
        self.reload = written or (10_000 if self.bcd else 0x10000)
        if self.mode in PERIODIC and self.loaded and self.start is not None:
            self.following_at = self.next_rise()
            return
        self.loaded = True
        if self.mode in TRIGGERED:
            return  # the gate starts it, and only then the new count is used
        self._begin()
        if not self.gate:
            self.start = None


class Pit(Chip):
    SIZE, BUS = 4, 1

    def __init__(self, clock: Clock, irq0: Line) -> None:
        self.counters = [Counter(clock) for _ in range(3)]
        super().__init__()
        self.irq0 = irq0
        self.on_settle: Callable[[], object] = lambda: None  # for who listens to channel 2
        self.timer = clock.timer(self._rise)

    def parts(self) -> dict[str, Stateful]:
        return {f"counter{n}": counter for n, counter in enumerate(self.counters)}

    def set_gate(self, channel: int, high: bool) -> None:
        self.counters[channel].set_gate(high)
        self.settle()

    def output(self, channel: int) -> bool:
        return self.counters[channel].output()

    @on_read(0, count=3)
    def read_counter(self, n: int) -> int:
        return self.counters[n].read_byte()

    @on_write(0, count=3)
    def write_counter(self, n: int, byte: int) -> None:
        self.counters[n].write_byte(byte)

    @on_write(3)
    def write_control(self, value: int) -> None:
        if value >> 6 < 3:
            self.counters[value >> 6].control(value)
            return
        for n, counter in enumerate(self.counters):  # read-back: bits that are 0 latch
            if value >> n + 1 & 1:
                if not value & 0x20:
                    counter.latch_count()
                if not value & 0x10:
                    counter.latch_status()

    def _rise(self) -> None:
        self.irq0.set(False)  # the low part of the period may have passed unseen
        self.settle()

    def settle(self) -> None:
        self.irq0.set(self.counters[0].output())
        self.timer.set(self.counters[0].next_rise())
        self.on_settle()
