"""The PC's real-time clock with its CMOS memory, after the MC146818A data sheet (Motorola, 1984).

The time is the clock's plus an epoch, plus what the guest has set; the flags are computed when somebody
looks. Not modelled: daylight saving, the square wave, divider chains other than the 32,768 Hz one. Port
70h's NMI bit is kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write

SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY = 0, 2, 4, 6, 7, 8, 9, 0x32
ALARMS = (1, 3, 5)
TIME = (SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY)
A, B, C, D = 0x0A, 0x0B, 0x0C, 0x0D
UIP = 0x80  # A
SET, BINARY, TWENTY_FOUR = 0x80, 0x04, 0x02  # B
PERIODIC, ALARM, UPDATE, IRQF = 0x40, 0x20, 0x10, 0x80  # C, and B's enables
VALID = 0x80  # D
ANY, PM = 0xC0, 0x80
UPDATE_TAKES = 244_000  # nanoseconds that UIP is set before each update
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LAST = int(datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp())


class Rtc(Chip):
    SIZE, BUS = 2, 1
    index = Register(0)
    cells = Field([0] * 128)
    offset = Field()  # nanoseconds that setting the time has added
    held = Field(None)  # the time while B's SET bit stops it: register -> value
    periods_seen = Field()  # how many of each had been when C was last read
    updates_seen = Field()
    alarm_next = Field(None)

    def __init__(self, clock: Clock, irq8: Line, *, epoch: int) -> None:
        self.clock, self.irq, self.epoch = clock, irq8, epoch * SECOND
        super().__init__()
        self.timer = clock.timer(self.settle)

    def clear(self) -> None:
        super().clear()
        self.cells[A], self.cells[B], self.cells[D] = 0x26, TWENTY_FOUR, VALID
        self.cells[ALARMS[0]] = self.cells[ALARMS[1]] = self.cells[ALARMS[2]] = 0
        self._forget()

    def reset(self) -> None:
        """The battery keeps time and memory; the reset pin clears the enables and the flags."""
        self.cells[B] &= ~(PERIODIC | ALARM | UPDATE)
        self._forget()
        self.settle()

    def cmos(self, index: int, value: int) -> None:
        """What the firmware leaves in the memory cells (from 0Eh on)."""
        self.cells[index] = value & 0xFF

    # time

    def now(self) -> int:
        """Nanoseconds since 1970, as this chip sees it."""
        return max(0, self.epoch + self.clock.now() + int(self.offset))

    def _date(self) -> datetime:
        return EPOCH + timedelta(seconds=min(self.now() // SECOND, LAST))

    def _fields(self) -> dict[int, int]:
        t = self._date()
        weekday = t.isoweekday() % 7 + 1  # Sunday is 1
        return {SECONDS: t.second, MINUTES: t.minute, HOURS: t.hour, WEEKDAY: weekday, DAY: t.day,
                MONTH: t.month, YEAR: t.year % 100, CENTURY: t.year // 100}

    def _set_time(self, fields: dict[int, int]) -> None:
        """Impossible dates are brought to the nearest that is possible."""
        def within(index: int, low: int, high: int) -> int:
            return max(low, min(high, fields[index]))

        first = datetime(max(1970, min(9998, fields[CENTURY] * 100 + fields[YEAR] % 100)),
                         within(MONTH, 1, 12), 1, tzinfo=timezone.utc)
        date = first + timedelta(days=within(DAY, 1, 31) - 1, hours=within(HOURS, 0, 23),
                                 minutes=within(MINUTES, 0, 59), seconds=within(SECONDS, 0, 59))
        before = self.now()
        self.offset += int((date - EPOCH).total_seconds()) * SECOND + before % SECOND - before
        self._forget()

    # how a number looks in a register

    def _shown(self, index: int, number: int) -> int:
        mark = 0
        if index == HOURS and not self.cells[B] & TWENTY_FOUR:
            mark, number = (PM if number >= 12 else 0), (number + 11) % 12 + 1
        return mark | (number if self.cells[B] & BINARY else number // 10 << 4 | number % 10)

    def _meant(self, index: int, value: int) -> int:
        twelve = index == HOURS and not self.cells[B] & TWENTY_FOUR
        plain = value & 0x7F if twelve else value
        number = plain if self.cells[B] & BINARY else (plain >> 4) * 10 + (plain & 0xF)
        return number % 12 + (12 if value & PM else 0) if twelve else number

    # flags

    def _rate(self) -> int:
        """Hertz of the periodic interrupt; 0: none."""
        select = int(self.cells[A]) & 0xF
        return 0 if select == 0 else 32768 >> (select - 1 if select > 2 else select + 6)

    def _periods(self) -> int:
        return self.now() * self._rate() // SECOND

    def _forget(self) -> None:
        """All flags are clear from here on."""
        self.periods_seen, self.updates_seen = self._periods(), self.now() // SECOND
        self.alarm_next = self._next_alarm()

    def _next_alarm(self) -> int | None:
        """The next second, counted from 1970, at which the alarm registers match; ANY matches all."""
        wanted: list[int | None] = []
        for index, of, limit in ((5, HOURS, 24), (3, MINUTES, 60), (1, SECONDS, 60)):
            value = self.cells[index]
            number = None if value >= ANY else self._meant(of, value)
            if number is not None and number >= limit:
                return None
            wanted.append(number)
        hour, minute, second = wanted
        t = self.now() // SECOND + 1
        for _ in range(200):  # at most 24 hours, 60 minutes and 60 seconds are passed over
            if hour not in (None, t // 3600 % 24):
                t = (t // 3600 + 1) * 3600
            elif minute not in (None, t // 60 % 60):
                t = (t // 60 + 1) * 60
            elif second not in (None, t % 60):
                t += 1
            else:
                return t
        return None

    def _flags(self) -> int:
        second = self.now() // SECOND
        found = PERIODIC if self._rate() and self._periods() != self.periods_seen else 0
        if self.held is None:
            found |= UPDATE if second != self.updates_seen else 0
            found |= ALARM if self.alarm_next is not None and second >= self.alarm_next else 0
        return found | (IRQF if found & self.cells[B] else 0)

    # the guest's side

    @on_read(1)
    def read_data(self) -> int:
        index = self.index & 0x7F
        if index in TIME:
            fields = self._fields() if self.held is None else self.held
            return self._shown(index, fields[index]) & 0xFF
        if index == A:
            left = SECOND - self.now() % SECOND
            return int(self.cells[A]) | (UIP if self.held is None and left <= UPDATE_TAKES else 0)
        if index == C:
            flags = self._flags()
            self._forget()
            return flags
        return int(self.cells[index])

    @on_write(1)
    def write_data(self, value: int) -> None:
        index = self.index & 0x7F
        if index in TIME:
            self._write_time(index, self._meant(index, value))
        elif index == A:
            self.cells[A] = value & 0x7F
            self.periods_seen = self._periods()
        elif index == B:
            self._write_b(value)
        elif index not in (C, D):
            self.cells[index] = value
            if index in ALARMS:
                self.alarm_next = self._next_alarm()

    def _write_time(self, index: int, number: int) -> None:
        if self.held is not None:
            self.held[index] = number
        elif index != WEEKDAY:  # follows from the date
            self._set_time(self._fields() | {index: number})

    def _write_b(self, value: int) -> None:
        """SET stops the updates, so that a program can write the time field by field."""
        if value & SET:
            value &= ~UPDATE
            self.held = self.held or self._fields()
        self.cells[B] = value
        if self.held is not None and not value & SET:
            fields: dict[int, Any] = self.held
            self.held = None
            self._set_time(fields)

    def settle(self) -> None:
        flags = self._flags()
        self.irq.set(flags & IRQF)
        self.timer.set(None if flags & IRQF else self._next_interrupt())

    def _next_interrupt(self) -> int | None:
        """When an enabled flag will be set, in guest time."""
        enabled, moments = self.cells[B], []
        if enabled & PERIODIC and (rate := self._rate()):
            moments.append(-(-(self._periods() + 1) * SECOND // rate))
        if self.held is None and enabled & UPDATE:
            moments.append((self.now() // SECOND + 1) * SECOND)
        if self.held is None and enabled & ALARM and self.alarm_next is not None:
            moments.append(self.alarm_next * SECOND)
        return self.clock.now() + min(moments) - self.now() if moments else None
