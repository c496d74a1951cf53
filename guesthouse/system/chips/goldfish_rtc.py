"""The Goldfish real-time clock with its alarm, after the Android emulator's GOLDFISH-VIRTUAL-HARDWARE
document.
"""

from __future__ import annotations

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write

LOW32 = 0xFFFF_FFFF


class GoldfishRtc(Chip):
    """Nanoseconds since 1970 in two words: reading the low one latches the high one."""

    SIZE = 0x1000
    time_high = Field()
    written_high = Field()
    offset = Field()  # what setting the time has added to it
    alarm_high = Register(0x0C, width=32)
    alarm_at = Field(None)  # in nanoseconds since 1970; None: not armed
    enabled = Field(False)
    pending = Field(False)

    def __init__(self, clock: Clock, irq: Line, *, epoch: int) -> None:
        super().__init__()
        self.clock, self.irq, self.epoch = clock, irq, epoch * SECOND
        self.alarm = clock.timer(self.settle)

    def now(self) -> int:
        return self.epoch + self.clock.now() + int(self.offset) & (1 << 64) - 1

    @on_read(0x00, width=32)
    def read_time_low(self) -> int:
        now = self.now()
        self.time_high = now >> 32 & LOW32
        return now & LOW32

    @on_read(0x04, width=32)
    def read_time_high(self) -> int:
        return int(self.time_high)

    @on_write(0x00, width=32)
    def write_time_low(self, value: int) -> None:
        self.offset += (self.written_high << 32 | value) - self.now()

    @on_write(0x04, width=32)
    def write_time_high(self, value: int) -> None:
        self.written_high = value

    @on_read(0x08, width=32)
    def read_alarm_low(self) -> int:
        return int(self.alarm_at or 0) & LOW32

    @on_write(0x08, width=32)
    def write_alarm_low(self, value: int) -> None:
        """Writing the low word arms the alarm; in the past it goes off at once."""
        self.alarm_at = self.alarm_high << 32 | value

    @on_write(0x10, width=32)
    def enable_interrupt(self, value: int) -> None:
        self.enabled = bool(value & 1)

    @on_write(0x14, width=32)
    def clear_alarm(self, value: int) -> None:
        self.alarm_at = None

    @on_read(0x18, width=32)
    def alarm_status(self) -> int:
        return int(self.alarm_at is not None)

    @on_write(0x1C, width=32)
    def clear_interrupt(self, value: int) -> None:
        self.pending = False

    def settle(self) -> None:
        if self.alarm_at is not None and self.now() >= self.alarm_at:
            self.alarm_at, self.pending = None, True
        self.alarm.set(None if self.alarm_at is None else self.clock.now() + self.alarm_at - self.now())
        self.irq.set(self.pending and self.enabled)
