"""The high-precision event timers, after Intel's IA-PC HPET specification, revision 1.0a: a counter of 64 bits at
100 MHz and three timers, each one-shot or periodic, by edge, level, legacy replacement or message.

Interrupts go to the inputs of an I/O APIC that the board offers. Not modelled: access by bytes and words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from guesthouse.clock import Clock
from guesthouse.system.chips.kit import Chip, Field, Line, on_read, on_write

TICK_NS, PERIOD_FS, TIMERS = 10, 10_000_000, 3
RUN, LEGACY = 1, 2  # general configuration
LEVEL, ENABLE, PERIODIC, CAN_REPEAT, IS_64, SET_VALUE, ONLY_32, ROUTE, MESSAGE, CAN_MESSAGE = (
    1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 8, 0x1F << 9, 1 << 14, 1 << 15)
KEPT = LEVEL | ENABLE | PERIODIC | ONLY_32 | ROUTE | MESSAGE
REVISION_VENDOR = 0x8086_A001 | TIMERS - 1 << 8  # legacy replacement, 64 bits
MASK = (1 << 64) - 1
SIZES = (4, 8)


class Hpet(Chip):
    SIZE = 0x400
    configuration = Field()
    status = Field()
    risen = Field()  # IRQ 0 and 8, by edge: they stay high, for an 8259 forgets who takes a request back
    held = Field()  # the counter when it was last stopped, set or started
    since = Field()  # and when that was
    kinds = Field([0] * TIMERS)
    comparators = Field([MASK] * TIMERS)
    periods = Field([0] * TIMERS)
    messages = Field([0] * TIMERS)
    due = Field([None] * TIMERS)  # when each matches next
    setting = Field([False] * TIMERS)  # the next write to the comparator of a periodic one sets it

    def __init__(self, clock: Clock, inputs: Mapping[int, Line], legacy: tuple[Line, Line],
                 on_legacy: Callable[[bool], object], send: Callable[[int, int], object]) -> None:
        """`inputs` by number; `legacy` are IRQ 0 and 8, which are the chip's own after `on_legacy(True)`."""
        self.clock, self.inputs, self.legacy = clock, inputs, legacy
        self.on_legacy, self.send = on_legacy, send
        self.routes = sum(1 << n for n in inputs)
        super().__init__()
        self.timer = clock.timer(self._expire)

    # time

    def counter(self) -> int:
        passed = (self.clock.now() - self.since) // TICK_NS if self.configuration & RUN else 0
        return int(self.held + passed) & MASK

    def _mask(self, n: int) -> int:
        return 0xFFFF_FFFF if self.kinds[n] & ONLY_32 else MASK

    def _aim(self, n: int) -> None:
        """When does the counter reach the comparator?"""
        if not self.configuration & RUN:
            self.due[n] = None
            return
        left = self.comparators[n] - self.counter() & self._mask(n)
        self.due[n] = self._time_of((self.clock.now() - self.since) // TICK_NS + left)

    def _time_of(self, ticks: int) -> int:
        return int(self.since) + ticks * TICK_NS

    def _aim_all(self) -> None:
        for n in range(TIMERS):
            self._aim(n)

    def _expire(self) -> None:
        now = self.clock.now()
        for n in range(TIMERS):
            if self.due[n] is not None and self.due[n] <= now:
                self._fire(n)
                self._next(n)
        self.settle()

    def _next(self, n: int) -> None:
        """A periodic timer adds its period; periods that nobody has seen are skipped. Others wait for the wrap."""
        passed = self._periods_passed(n)
        self.comparators[n] = self.comparators[n] + passed & self._mask(n)
        self.due[n] += passed * TICK_NS

    def _periods_passed(self, n: int) -> int:
        """The ticks by which a timer that is due moves on."""
        late = (self.clock.now() - self.due[n]) // TICK_NS
        step = (self.periods[n] & self._mask(n) if self.kinds[n] & PERIODIC else 0) or self._mask(n) + 1
        return int(late // step + 1) * step

    def _goes_unheard(self, n: int) -> bool:
        """Whether a timer has matched that tells nobody: it needs no alarm, but moves on before it is seen or set."""
        return self.due[n] is not None and self.due[n] <= self.clock.now() and not self.kinds[n] & (ENABLE | LEVEL)

    def _catch_up(self) -> None:
        for n in range(TIMERS):
            if self._goes_unheard(n):
                self._next(n)

    # interrupts

    def _fire(self, n: int) -> None:
        kind = self.kinds[n]
        if kind & LEVEL:
            self.status |= 1 << n
        if not kind & ENABLE:
            return
        if kind & MESSAGE:
            self.send(self.messages[n] >> 32, self.messages[n] & 0xFFFF_FFFF)
        elif not kind & LEVEL and (line := self._line(n)) is not None:
            line.pulse()
            if self.configuration & LEGACY and n < 2:
                line.set(True)
                self.risen |= 1 << n

    def _line(self, n: int) -> Line | None:
        if self.configuration & LEGACY and n < 2:
            return self.legacy[n]
        return self.inputs.get(self.kinds[n] >> 9 & 0x1F)

    def settle(self) -> None:
        self.on_legacy(bool(self.configuration & LEGACY))
        high = {id(self._line(n)) for n in range(TIMERS)
                if self.status >> n & 1 and self.kinds[n] & (ENABLE | MESSAGE | LEVEL) == ENABLE | LEVEL}
        high |= {id(self.legacy[n]) for n in (0, 1)
                 if self.risen >> n & 1 and self.configuration & LEGACY and self.kinds[n] & (ENABLE | LEVEL) == ENABLE}
        for line in (*self.inputs.values(), *self.legacy):
            line.set(id(line) in high)
        wanted = [at for n, at in enumerate(self.due) if at is not None and self.kinds[n] & (ENABLE | LEVEL)]
        self.timer.set(min(wanted, default=None))

    # registers

    @on_read(0x000, width=64, sizes=SIZES, pure=True)
    def capabilities(self) -> int:
        return PERIOD_FS << 32 | REVISION_VENDOR

    @on_read(0x010, width=64, sizes=SIZES, pure=True)
    def read_configuration(self) -> int:
        return int(self.configuration)

    @on_write(0x010, width=64, sizes=SIZES)
    def write_configuration(self, value: int) -> None:
        self._set_counter(self.counter(), value & (RUN | LEGACY))

    @on_read(0x020, width=64, sizes=SIZES, pure=True)
    def read_status(self) -> int:
        return int(self.status)

    @on_write(0x020, width=64, sizes=(8,))
    def clear_status(self, value: int) -> None:
        self.status &= ~value

    @on_write(0x020, width=32)
    def clear_status_low(self, value: int) -> None:
        self.status &= ~value

    @on_read(0x0F0, width=64, sizes=SIZES, pure=True)
    def read_counter(self) -> int:
        return self.counter()

    @on_write(0x0F0, width=64, sizes=SIZES)
    def write_counter(self, value: int) -> None:
        self._set_counter(value, self.configuration)

    def _set_counter(self, value: int, configuration: int) -> None:
        self._catch_up()
        self.held, self.since, self.configuration = value, self.clock.now(), configuration
        self._aim_all()

    @on_read(0x100, width=64, sizes=SIZES, count=TIMERS, stride=0x20, pure=True)
    def read_kind(self, n: int) -> int:
        return int(self.kinds[n] | CAN_REPEAT | IS_64 | CAN_MESSAGE | self.routes << 32)

    @on_write(0x100, width=64, sizes=SIZES, count=TIMERS, stride=0x20)
    def write_kind(self, n: int, value: int) -> None:
        self._catch_up()
        self.kinds[n] = value & KEPT
        self.setting[n] = bool(value & SET_VALUE and value & PERIODIC)
        if not value & LEVEL:
            self.status &= ~(1 << n)
        if value & ONLY_32:
            self.comparators[n] &= 0xFFFF_FFFF
            self.periods[n] &= 0xFFFF_FFFF
        self._aim(n)

    @on_read(0x108, width=64, sizes=SIZES, count=TIMERS, stride=0x20, pure=True)
    def read_comparator(self, n: int) -> int:
        passed = self._periods_passed(n) if self._goes_unheard(n) else 0
        return int(self.comparators[n] + passed) & self._mask(n)

    @on_write(0x108, width=64, count=TIMERS, stride=0x20)
    def write_comparator(self, n: int, value: int) -> None:
        self._set_comparator(n, value, MASK)

    @on_write(0x108, width=32, count=TIMERS, stride=0x20)
    def write_comparator_low(self, n: int, value: int) -> None:
        self._set_comparator(n, value, 0xFFFF_FFFF)

    @on_write(0x10C, width=32, count=TIMERS, stride=0x20)
    def write_comparator_high(self, n: int, value: int) -> None:
        self._set_comparator(n, value << 32, 0xFFFF_FFFF << 32)

    def _set_comparator(self, n: int, value: int, part: int) -> None:
        """What is written to a periodic timer is its period; after SET_VALUE it is also where it begins (2.3.9.2.2)."""
        self._catch_up()
        if self.kinds[n] & PERIODIC:
            self.periods[n] = (self.periods[n] & ~part | value) & self._mask(n)
        if not self.kinds[n] & PERIODIC or self.setting[n]:
            self.comparators[n] = (self.comparators[n] & ~part | value) & self._mask(n)
            self._aim(n)
        self.setting[n] = False

    @on_read(0x110, width=64, sizes=SIZES, count=TIMERS, stride=0x20, pure=True)
    def read_message(self, n: int) -> int:
        return int(self.messages[n])

    @on_write(0x110, width=64, sizes=SIZES, count=TIMERS, stride=0x20)
    def write_message(self, n: int, value: int) -> None:
        self.messages[n] = value
