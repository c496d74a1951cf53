"""SiFive's core-local interruptor, after the SiFive U54-MC core manual, chapter 8 (CLINT): msip, mtimecmp,
mtime.
"""

from __future__ import annotations

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Chip, Field, Line, on_read, on_write

HARTS = 64  # more than that do not fit one board of ours; the map has room for 4095
MSIP, MTIMECMP, MTIME = 0x0000, 0x4000, 0xBFF8


class Clint(Chip):
    SIZE, BUS = 0x10000, 4
    msip = Field([])
    mtimecmp = Field([])
    offset = Field(0)  # what writing mtime has added to the clock's own ticks

    def __init__(self, clock: Clock, software: list[Line], timer: list[Line], *,
                 frequency: int = 10_000_000) -> None:
        self.clock, self.software, self.timer, self.frequency = clock, software, timer, frequency
        self.alarms = [clock.timer(self.settle) for _ in timer]
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.msip = [0] * len(self.software)
        self.mtimecmp = [(1 << 64) - 1] * len(self.timer)  # the manual leaves it open; this one is silent

    def ticks(self) -> int:
        """mtime, which is also what the harts' `time` CSR reads."""
        return int(self.clock.now() * self.frequency // SECOND + self.offset) & (1 << 64) - 1

    def time_of(self, ticks: int) -> int:
        """The guest time at which mtime reaches `ticks`."""
        return -(-(ticks - int(self.offset)) * SECOND // self.frequency)

    @on_read(MSIP, width=32, count=HARTS, pure=True)
    def read_msip(self, hart: int) -> int:
        return int(self.msip[hart]) if hart < len(self.msip) else 0

    @on_write(MSIP, width=32, count=HARTS)
    def write_msip(self, hart: int, value: int) -> None:
        if hart < len(self.msip):
            self.msip[hart] = value & 1

    @on_read(MTIMECMP, width=64, count=HARTS, sizes=(4, 8), pure=True)
    def read_mtimecmp(self, hart: int) -> int:
        return int(self.mtimecmp[hart]) if hart < len(self.mtimecmp) else 0

    @on_write(MTIMECMP, width=64, count=HARTS, sizes=(4, 8))
    def write_mtimecmp(self, hart: int, value: int) -> None:
        if hart < len(self.mtimecmp):
            self.mtimecmp[hart] = value

    @on_read(MTIME, width=64, sizes=(4, 8), pure=True)
    def read_mtime(self) -> int:
        return self.ticks()

    @on_write(MTIME, width=64, sizes=(4, 8))
    def write_mtime(self, value: int) -> None:
        self.offset = value - self.clock.now() * self.frequency // SECOND

    def settle(self) -> None:
        now = self.ticks()
        for hart, line in enumerate(self.software):
            line.set(self.msip[hart])
        for hart, line in enumerate(self.timer):
            due = now >= self.mtimecmp[hart]
            line.set(due)
            # An alarm beyond this century is no alarm: Linux writes all ones for "never".
            far = self.mtimecmp[hart] - now > self.frequency << 32
            self.alarms[hart].set(None if due or far else self.time_of(self.mtimecmp[hart]))
