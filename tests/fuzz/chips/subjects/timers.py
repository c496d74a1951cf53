"""Timers and clocks: what they count is computed here from the time that has passed, as the books have it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from guesthouse.system.chips.acpi_pm import AcpiPm, ResetPort
from guesthouse.system.chips.clint import Clint
from guesthouse.system.chips.goldfish_rtc import GoldfishRtc
from guesthouse.system.chips.i8254 import Pit
from guesthouse.system.chips.mc146818 import Rtc
from guesthouse.system.chips.port61 import Port61
from tests.fuzz.chips.subject import Subject, must, traffic

SECOND, PIT_HZ, EPOCH = 1_000_000_000, 1_193_182, 1_700_000_000


def moment(ticks, hz):
    """The first nanosecond at which so many ticks have passed."""
    return -(-ticks * SECOND // hz)


class Pits(Subject):
    COVERS = (Pit,)
    WIDTHS = (1, 1, 1, 2)
    KEPT = frozenset()

    def build(self):
        return Pit(self.clock, self.line())

    def poke(self):
        self.chip.set_gate(self.rng.randrange(3), self.rng.random() < 0.6)
        self.seen.append(self.chip.output(self.rng.randrange(3)))

    def program(self, n, mode, count, bcd):
        """The control word and the count, low byte first; the counter starts afresh."""
        digits = int(str(count % 10000), 16) if bcd else count & 0xFFFF
        self.chip.set_gate(n, True)
        self.write(3, n << 6 | 0x30 | mode << 1 | bcd)
        self.write(n, digits & 0xFF)
        self.write(n, digits >> 8)
        if mode in (1, 5):
            self.chip.set_gate(n, False)
            self.chip.set_gate(n, True)

    def count_of(self, n, bcd):
        """Latched, and some time later once more, which before the read is ignored."""
        self.write(3, n << 6)
        self.pass_time(self.rng.choice((0, 0, 5000)))
        self.write(3, n << 6)
        low, high = self.read(n), self.read(n)
        value = high << 8 | low
        return int(f"{value:04x}") if bcd else value

    @staticmethod
    def counted(mode, count, ticks, span):
        """The counting element and the output so many ticks after the start (the modes' definitions)."""
        if mode == 3:
            half, phase = (count + 1) // 2, ticks % count
            high = phase < half
            return (count - 2 * (phase if high else phase - half) & ~1) % span, high
        if mode == 2:
            return (count - ticks % count) % span, ticks % count != count - 1
        left = (count - ticks) % span
        return left, ticks >= count if mode in (0, 1) else ticks != count

    @traffic
    def counts(self):
        """Each mode, binary and BCD; looked at after some ticks, often at the edges of the period."""
        rng = self.rng
        n, mode, bcd = rng.randrange(3), rng.randrange(6), rng.random() < 0.3
        span = 10_000 if bcd else 0x10000
        count = rng.choice((2, 3, 4, 10, 99, 1000, rng.randrange(2, span), span))
        self.program(n, mode, count, bcd)
        start = self.clock.now()
        before = start * PIT_HZ // SECOND
        for _ in range(2):
            ticks = rng.choice(
                (0, 1, count - 1, count, count + 1, 2 * count - 1, 2 * count, rng.randrange(3 * count))
            )
            to = start + moment(ticks, PIT_HZ)
            if to < self.clock.now():
                continue
            self.pass_time(to - self.clock.now())
            value, high = self.counted(mode, count, ticks, span)
            must(self.chip.output(n) == high, "output in mode", mode, count, ticks)
            if n == 0:
                must(self.lines[0].high == high, "the line in mode", mode, count, ticks)
            must(self.count_of(n, bcd) == value, "count in mode", mode, bcd, count, ticks, before)

    @traffic
    def tells_its_status(self):
        rng = self.rng
        n, mode, bcd, access = rng.randrange(3), rng.randrange(6), rng.randrange(2), rng.randrange(1, 4)
        self.write(3, n << 6 | access << 4 | mode << 1 | bcd)
        self.write(3, 0xE0 | 2 << n)
        status = self.read(n)
        must(status & 0x7F == 0x40 | access << 4 | mode << 1 | bcd, "the status", hex(status))
        must(status >> 7 == (mode != 0), "the output after the control word, mode", mode)
        self.program(n, 2, 1000, 0)
        self.write(3, 0xC0 | 2 << n)
        must(self.read(n) & 0x7F == 0x34, "the status of a counter that runs")
        must(1 <= self.read(n) | self.read(n) << 8 <= 1000, "the count that was latched with it")

    @traffic
    def single_bytes(self):
        """Counts of one byte: the other is zero."""
        n, byte, high = self.rng.randrange(3), self.rng.randrange(1, 256), self.rng.random() < 0.5
        self.chip.set_gate(n, True)
        self.write(3, n << 6 | (0x20 if high else 0x10))
        self.write(n, byte)
        must(self.read(n) == byte, "the byte that was written")
        self.pass_time(moment(byte << 8 * high, PIT_HZ) - 1, late=True)
        must(not self.chip.output(n), "high too early")
        self.pass_time(1)
        must(self.chip.output(n), "not high at the end of the count")

    @traffic
    def waits_for_both_bytes(self):
        """In mode 0 the first byte of a new count stops the old one; the output is low until the new one ends."""
        n, count = self.rng.randrange(3), self.rng.randrange(300, 5000)
        self.program(n, 0, count, 0)
        self.pass_time(moment(100, PIT_HZ))
        self.write(n, count & 0xFF)
        self.pass_time(moment(count, PIT_HZ))
        must(not self.chip.output(n), "it counts on")
        self.write(n, count >> 8)
        start = self.clock.now()
        self.pass_time(moment(count - 1, PIT_HZ))
        must(not self.chip.output(n), "too early")
        self.pass_time(start + moment(count + 1, PIT_HZ) - self.clock.now())
        must(self.chip.output(n), "not at the new end")

    @traffic
    def follows(self):
        """A count that is written while a period runs takes over at its end."""
        rng = self.rng
        mode, first, second = rng.choice((2, 3)), rng.randrange(4, 400) * 2, rng.randrange(4, 400) * 2
        self.program(0, mode, first, 0)
        start = self.clock.now()
        self.pass_time(moment(rng.randrange(1, first // 3), PIT_HZ))
        self.write(0, second & 0xFF)
        self.write(0, second >> 8)
        self.pass_time(start + moment(first, PIT_HZ) - self.clock.now())
        self.pass_time(moment(2, PIT_HZ))
        value = self.count_of(0, 0)
        must(
            abs(value - (second - 2 * (mode - 1))) <= mode,
            "the new period has",
            value,
            "of",
            second,
            "in",
            mode,
        )

    @traffic
    def gates(self):
        """In modes 0 and 4 a low gate only stops the count."""
        n, count = self.rng.randrange(3), self.rng.randrange(200, 5000)
        self.program(n, self.rng.choice((0, 4)), count, 0)
        self.pass_time(moment(100, PIT_HZ))
        self.chip.set_gate(n, False)
        self.pass_time(moment(77, PIT_HZ))
        stands = self.count_of(n, 0)
        must(abs(stands - (count - 100)) <= 1, "it stands at", stands)
        self.pass_time(moment(500, PIT_HZ))
        must(self.count_of(n, 0) == stands, "it runs behind a low gate")
        self.chip.set_gate(n, True)
        self.pass_time(moment(10, PIT_HZ))
        must(abs(self.count_of(n, 0) - (stands - 10)) <= 1, "it does not run on")


class Port61s(Subject):
    COVERS = (Port61,)
    WIDTHS = (1,)
    AFTER_RESET = {("", 0, 1): 0x20}

    def build(self):
        self.gate = None

        def set_gate(high):
            self.gate = high

        return Port61(self.clock, set_gate, lambda: True)

    @traffic
    def controls(self):
        value = self.value(1)
        self.write(0, value)
        must(self.read(0) & ~0x10 == value & 0x0F | 0x20, "port 61h after", hex(value))
        must(self.gate == bool(value & 1), "the gate")

    @traffic
    def refreshes(self):
        before = self.read(0)
        self.pass_time(15_085)
        must((self.read(0) ^ before) & 0x10, "the refresh bit stands")


class Rtcs(Subject):
    COVERS = (Rtc,)
    WIDTHS = (1, 1, 1, 2)
    LIMIT = 4096
    KEPT = frozenset({"index", "cells", "offset", "held", "periods_seen", "updates_seen", "alarm_next"})

    def build(self):
        return Rtc(self.clock, self.line(), epoch=EPOCH)

    def get(self, index):
        self.write(0, index)
        return self.read(1)

    def put(self, index, value):
        self.write(0, index)
        self.write(1, value)

    def adopt(self, other):
        self.chip.restore(other.chip.save())  # the battery

    @traffic
    def keeps_memory(self):
        index, value = (
            self.rng.choice((0x0E, 0x0F, 0x10, 0x31, 0x33, 0x7F, self.rng.randrange(0x33, 0x80))),
            self.value(1),
        )
        self.put(index, value)
        must(self.get(index) == value == self.get(index | 0x80), "cell", hex(index))
        must(self.get(0x0D) == 0x80, "D: the battery is good")

    def number(self, value, binary):
        return value if binary else value // 10 << 4 | value % 10

    @traffic
    def tells_the_time(self):
        """The time that was set, some seconds later, in each of the four formats."""
        rng = self.rng
        binary, whole_day = rng.random() < 0.5, rng.random() < 0.5
        date = datetime(
            rng.randrange(1980, 2098),
            rng.randrange(1, 13),
            rng.randrange(1, 29),
            rng.randrange(24),
            rng.randrange(60),
            rng.randrange(60),
            tzinfo=timezone.utc,
        )
        self.put(0x0A, 0x26)
        self.put(0x0B, 0x80 | binary << 2 | whole_day << 1)
        for index, value in self.fields(date, binary, whole_day).items():
            if index != 6:
                self.put(index, value)
        self.put(0x0B, binary << 2 | whole_day << 1)
        seconds = rng.choice((0, 1, 59, 3600, rng.randrange(100_000)))
        self.pass_time(seconds * SECOND)
        for index, value in self.fields(date + timedelta(seconds=seconds), binary, whole_day).items():
            found = self.get(index)
            must(found == value, "register", index, "is", hex(found), "not", hex(value), date, seconds)

    def fields(self, date, binary, whole_day):
        hour = self.number(date.hour, binary)
        if not whole_day:
            hour = self.number((date.hour + 11) % 12 + 1, binary) | (0x80 if date.hour >= 12 else 0)
        rest = {0: date.second, 2: date.minute, 6: date.isoweekday() % 7 + 1, 7: date.day, 8: date.month,
                9: date.year % 100, 0x32: date.year // 100}
        return {index: self.number(value, binary) for index, value in rest.items()} | {4: hour}

    def quiet(self):
        """Running, with nothing enabled and no flag left, at the beginning of a second."""
        self.put(0x0A, 0x20)
        self.put(0x0B, 0x06)
        self.get(0x0C)
        self.pass_time(SECOND - self.chip.now() % SECOND)
        self.get(0x0C)

    @traffic
    def interrupts_periodically(self):
        select = self.rng.randrange(3, 16)
        period = SECOND * (1 << select - 1) // 32768
        self.quiet()
        self.put(0x0A, 0x20 | select)
        self.put(0x0B, 0x46)
        self.pass_time(period - 1 - 10_000)
        must(not self.lines[0].high, "too early, rate", select)
        self.pass_time(20_000)
        must(self.lines[0].high and self.get(0x0C) & 0xC0 == 0xC0, "no interrupt, rate", select)
        must(not self.lines[0].high and self.get(0x0C) & 0xC0 == 0, "reading C does not end it")

    @traffic
    def sets_and_stops(self):
        """SET stops the updates and clears their enable; C and D are not to be written."""
        value = self.value(1)
        self.put(0x0B, value | 0x80)
        must(self.get(0x0B) == (value | 0x80) & ~0x10, "B")
        before = self.get(0)
        self.pass_time(SECOND * 2)
        must(self.get(0) == before and self.get(0x0A) & 0x80 == 0, "the time goes on though SET")
        for index in (0x0C, 0x0D):
            self.put(index, value)
        self.put(0x0A, value)
        must(self.get(0x0D) == 0x80 and self.get(0x0A) == value & 0x7F, "A and D")
        self.put(0x0B, 2)

    @traffic
    def interrupts_at_updates(self):
        self.quiet()
        self.put(0x0B, 0x16)
        must(self.get(0x0A) & 0x80 == 0, "UIP at a second's beginning")
        self.pass_time(SECOND - 100_000)
        must(not self.lines[0].high and self.get(0x0A) & 0x80, "UIP before the update")
        self.pass_time(100_000)
        must(self.lines[0].high and self.get(0x0C) & 0xD0 == 0x90, "the update's interrupt")

    @traffic
    def alarms(self):
        """At a time of day, or where C0h and above stand for any."""
        rng = self.rng
        self.quiet()
        seconds = rng.randrange(2, 80_000)
        at = datetime.fromtimestamp(self.chip.now() // SECOND + seconds, timezone.utc)
        for index, value in ((5, at.hour), (3, at.minute), (1, at.second)):
            self.put(index, value)
        if rng.random() < 0.3:
            self.put(5, 0xC0 | rng.randrange(64))
            self.put(3, 0xFF)
            seconds = (at.second - self.get(0)) % 60 or 60
        self.get(0x0C)
        self.put(0x0B, 0x26)
        self.pass_time(seconds * SECOND - 1)
        must(not self.lines[0].high, "the alarm comes too early")
        self.pass_time(1)
        must(self.lines[0].high and self.get(0x0C) & 0x20, "the alarm does not come")


class Powers(Subject):
    COVERS = (AcpiPm,)
    WIDTHS = (1, 2, 4)
    AFTER_RESET = {("", 0, 2): 0, ("", 2, 2): 0, ("", 4, 2): 1, ("", 8, 4): 0}
    WRITABLE = {("", 2, 2): (0x0721, 0), ("", 4, 2): (0x1C02, 1)}
    KEPT = frozenset({"carries"})

    def build(self):
        return AcpiPm(self.clock, self.line(), power_off=lambda: self.tell("off"), s5=(5,))

    def poke(self):
        self.chip.press_power_button()
        must(self.read(0, 2) & 0x100, "the button is not seen")

    @traffic
    def counts(self):
        must(self.read(8, 4) == self.clock.now() * 3_579_545 // SECOND & 0xFF_FFFF, "the PM timer")

    @traffic
    def carries(self):
        """TMR_STS is set when the top bit changes, 2.3 seconds apart, and interrupts if it may."""
        self.write(0, 0xFFFF, 2)
        self.write(2, 0x0001, 2)
        half = 1 << 23
        ticks = self.clock.now() * 3_579_545 // SECOND
        at = -(-(ticks // half + 1) * half * SECOND // 3_579_545)
        must(not self.lines[0].high and self.read(0, 2) & 1 == 0, "too early")
        self.pass_time(at - self.clock.now())
        must(self.lines[0].high and self.read(0, 2) & 1, "no carry")
        self.write(0, 1, 2)
        must(not self.lines[0].high, "cleared, but")

    @traffic
    def tells_events(self):
        self.write(2, 0x100, 2)
        self.write(0, 0xFFFF, 2)
        must(not self.lines[0].high, "nothing has happened")
        self.chip.press_power_button()
        must(self.lines[0].high, "the button does not interrupt")
        self.write(0, 0xFEFF, 2)
        must(self.lines[0].high and self.read(0, 2) & 0x100, "a zero clears")
        self.write(0, 0x100, 2)
        must(not self.lines[0].high and self.read(0, 2) == self.read(0, 2) & 1, "cleared, but")

    @traffic
    def switches_off(self):
        self.told.clear()
        kind, enable = self.rng.randrange(8), self.rng.random() < 0.7
        self.write(4, kind << 10 | enable << 13, 2)
        must(self.told == (["off"] if kind == 5 and enable else []), "sleep type", kind, enable, self.told)


class ResetPorts(Subject):
    COVERS = (ResetPort,)
    WIDTHS = (1,)
    AFTER_RESET = {("", 0, 1): 0}
    WRITABLE = {("", 0, 1): (0x06, 0)}

    def build(self):
        return ResetPort(lambda: self.tell("reset"))

    @traffic
    def resets(self):
        self.told.clear()
        first, second = self.rng.choice((0, 2)), self.rng.choice((0, 2, 4, 6))
        self.write(0, first)
        self.write(0, second)
        must(self.told == ["reset"] * (second >> 2), self.told)


class Clints(Subject):
    COVERS = (Clint,)
    WIDTHS = (4, 8, 4, 1)
    AFTER_RESET = {("", 0, 4): 0, ("", 0xBFF8, 8): 0, ("", 0x4000, 8): (1 << 64) - 1, ("", 0x4010, 8): 0}
    WRITABLE = {
        ("", 0, 4): (1, 0),
        ("", 4, 4): (1, 0),
        ("", 8, 4): (0, 0),
        ("", 0x4008, 8): ((1 << 64) - 1, 0),
    }

    def build(self):
        return Clint(self.clock, [self.line(), self.line()], [self.line(), self.line()])

    @traffic
    def interrupts(self):
        """MTIP while mtime is at or above mtimecmp; ticks of 100 ns."""
        rng, hart = self.rng, self.rng.randrange(2)
        self.write(0xBFF8, rng.choice((0, 1 << 40, rng.getrandbits(62))), 8)
        now, ahead = self.read(0xBFF8, 8), rng.choice((0, 1, 1000, 1 << 20))
        target = now + ahead
        for half in (0, 4):
            self.write(0x4000 + 8 * hart + half, target >> 8 * half & 0xFFFF_FFFF, 4)
        must(self.read(0x4000 + 8 * hart, 8) == target, "mtimecmp by halves")
        if ahead > 1:
            must(not self.lines[2 + hart].high, "too early")
        self.pass_time(100 * ahead)
        must(self.lines[2 + hart].high and self.read(0xBFF8, 8) >= target, "no timer interrupt")
        self.write(0x4000 + 8 * hart, (1 << 64) - 1, 8)
        must(not self.lines[2 + hart].high, "it does not end")

    @traffic
    def by_software(self):
        hart, value = self.rng.randrange(2), self.rng.randrange(4)
        self.write(4 * hart, value, 4)
        must(self.lines[hart].high == bool(value & 1), "MSIP")


class Goldfishes(Subject):
    COVERS = (GoldfishRtc,)
    WIDTHS = (4, 4, 4, 1)
    AFTER_RESET = {("", 0x18, 4): 0}
    WRITABLE = {("", 0x0C, 4): (0xFFFF_FFFF, 0)}

    def build(self):
        return GoldfishRtc(self.clock, self.line(), epoch=EPOCH)

    def now(self):
        low = self.read(0, 4)
        return self.read(4, 4) << 32 | low

    @traffic
    def sets_the_time(self):
        value = self.rng.randrange(1 << 62)
        self.write(4, value >> 32, 4)
        self.write(0, value & 0xFFFF_FFFF, 4)
        by = self.rng.choice((0, 1, 5_000_000_000))
        self.pass_time(by)
        must(self.now() == value + by, "the time")

    @traffic
    def alarms(self):
        rng = self.rng
        self.sets_the_time()
        self.write(0x14, 0, 4)
        self.write(0x1C, 0, 4)
        enabled, ahead = rng.randrange(2), rng.choice((0, 1, 1000, 5_000_000_000))
        self.write(0x10, enabled, 4)
        at = self.now() + ahead
        self.write(0x0C, at >> 32, 4)
        self.write(0x08, at & 0xFFFF_FFFF, 4)
        if ahead:
            must(self.read(0x18, 4) == 1 and not self.lines[0].high, "it is armed")
            must(self.read(8, 4) | self.read(0x0C, 4) << 32 == at, "the alarm's time")
            self.pass_time(ahead - 1)
            must(not self.lines[0].high, "too early")
            self.pass_time(1)
        must(self.lines[0].high == bool(enabled) and self.read(0x18, 4) == 0, "the alarm")
        self.write(0x1C, 0, 4)
        must(not self.lines[0].high, "it does not end")


SUBJECTS = {"i8254": Pits, "port61": Port61s, "mc146818": Rtcs, "acpi_pm": Powers, "reset_port": ResetPorts,
            "clint": Clints, "goldfish_rtc": Goldfishes}
