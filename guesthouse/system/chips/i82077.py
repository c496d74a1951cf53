"""The floppy disk controller with up to four drives, after the Intel 82077AA data sheet.

The medium's size says its geometry. Not modelled: transfers without DMA, data rates that do not fit the
medium, deleted data marks, scan commands.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.clock import Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write

RESET_NOT, DMA_GATE = 0x04, 0x08  # digital output
READY, TO_HOST, BUSY = 0x80, 0x40, 0x10  # main status
ABNORMAL, INVALID, SEEK_END, EQUIPMENT = 0x40, 0x80, 0x20, 0x10  # ST0
NO_MARK, NOT_WRITABLE, NO_DATA, END = 0x01, 0x02, 0x04, 0x80  # ST1
WRONG_CYLINDER = 0x10  # ST2
SECTOR, CHANNEL, DELAY = 512, 2, 100_000
LENGTHS = {0x02: 9, 0x03: 3, 0x04: 2, 0x05: 9, 0x06: 9, 0x07: 2, 0x08: 1, 0x09: 9, 0x0A: 2, 0x0C: 9, 0x0D: 6,
           0x0E: 1, 0x0F: 3, 0x10: 1, 0x12: 2, 0x13: 4, 0x14: 1, 0x16: 9, 0x18: 1}
AT_ONCE = (0x03, 0x04, 0x08, 0x0E, 0x10, 0x12, 0x13, 0x14, 0x18)
GEOMETRIES = {320: (40, 1, 8), 360: (40, 1, 9), 640: (40, 2, 8), 720: (40, 2, 9), 1440: (80, 2, 9),
              2400: (80, 2, 15), 2880: (80, 2, 18), 3360: (80, 2, 21), 3444: (82, 2, 21), 5760: (80, 2, 36)}
Result = tuple[int, ...]


class Disk(Protocol):
    sectors: int
    writable: bool

    def read(self, lba: int, count: int, /) -> bytes: ...
    def write(self, lba: int, data: bytes, /) -> object: ...


class Dma(Protocol):
    def read_for(self, channel: int, count: int, /) -> bytes: ...
    def write_for(self, channel: int, data: bytes, /) -> int: ...
    def terminal_count(self, channel: int, /) -> bool: ...


def geometry_of(disk: Disk) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track."""
    return GEOMETRIES.get(disk.sectors, (80, 2, min(63, max(1, -(-disk.sectors // 160)))))


class Floppy(Chip):
    SIZE, BUS = 8, 1
    output = Field(0x0C)
    tape = Register(3)
    rate = Field(0)
    collected = Field(b"")
    results = Field(b"")
    executing = Field(b"")
    due = Field(None)
    tracks = Field([0] * 4)
    changed = Field([True] * 4)
    ended = Field([])  # ST0 of seeks and resets that have not been sensed
    configuration = Field(bytes(2))
    timings = Field(bytes(2))
    perpendicular = Field()
    locked = Field()
    interrupting = Field(False)

    def __init__(self, clock: Clock, irq6: Line, dma: Dma) -> None:
        self.clock, self.irq6, self.dma = clock, irq6, dma
        self.timer = clock.timer(self._run)
        self.disks: list[Disk | None] = [None] * 4
        super().__init__()

    # the host's side

    def insert(self, n: int, disk: Disk) -> None:
        self.disks[n], self.changed[n] = disk, True

    def eject(self, n: int) -> None:
        self.disks[n], self.changed[n] = None, True

    # registers

    @on_read(0, pure=True)
    def read_status_a(self) -> int:
        return 0xC0 if self.interrupting else 0x40

    @on_read(1, pure=True)
    def read_status_b(self) -> int:
        return 0xC0

    @on_read(2, pure=True)
    def read_output(self) -> int:
        return int(self.output)

    @on_write(2)
    def write_output(self, value: int) -> None:
        """Bit 2 holds the controller in reset; when it is let go, each drive has its interrupt to be sensed."""
        before, self.output = self.output, value
        if not value & RESET_NOT:
            self.collected = self.results = self.executing = b""
            self.due, self.ended, self.interrupting = None, [], False
        elif not before & RESET_NOT:
            self.ended, self.interrupting = [0xC0 | n for n in range(4)], True

    @on_read(4, pure=True)
    def read_main_status(self) -> int:
        if not self.output & RESET_NOT:
            return 0
        if self.results:
            return READY | TO_HOST | BUSY
        if self.executing:
            seeking = self.executing[0] & 0x1F in (0x07, 0x0F)
            return 1 << (self.executing[1] & 3) if seeking else BUSY
        return READY | (BUSY if self.collected else 0)

    @on_write(4)
    def write_rate(self, value: int) -> None:
        self.rate = value & 3
        if value & 0x80:
            self.write_output(self.output & ~RESET_NOT)
            self.write_output(self.output | RESET_NOT)

    @on_read(7, pure=True)
    def read_input(self) -> int:
        """The change line of the drive that is chosen and turns."""
        n = self.output & 3
        return 0x80 if self.output >> 4 + n & 1 and self.changed[n] else 0

    @on_write(7)
    def write_control(self, value: int) -> None:
        self.rate = value & 3

    @on_read(5)
    def read_data(self) -> int:
        if not self.results:
            return 0
        self.interrupting = False
        first, self.results = self.results[0], self.results[1:]
        return int(first)

    @on_write(5)
    def write_data(self, byte: int) -> None:
        if not self.output & RESET_NOT or self.results or self.executing:
            return
        self.collected += bytes((byte,))
        code = self.collected[0] & 0x1F
        if len(self.collected) < LENGTHS.get(code, 1):
            return
        command, self.collected = self.collected, b""
        if code not in LENGTHS:
            self.results = bytes((INVALID,))
        elif code in AT_ONCE:
            self.results = bytes(self._control(code, command))
        else:
            self.executing, self.due = command, self.clock.now() + DELAY

    def _control(self, code: int, command: bytes) -> Result:
        """Commands without an execution phase."""
        if code == 0x08:
            self.interrupting = False
            if not self.ended:
                return (INVALID,)
            status = self.ended.pop(0)
            return status, self.tracks[status & 3]
        if code == 0x04:
            n = command[1] & 3
            disk = self.disks[n]
            protected = 0x40 if disk is not None and not disk.writable else 0
            return (command[1] & 7 | 0x28 | protected | (0x10 if self.tracks[n] == 0 else 0),)
        if code == 0x0E:
            return (*self.tracks, *self.timings, 0, self.locked << 7 | self.perpendicular, *self.configuration)
        if code == 0x14:
            self.locked = command[0] >> 7
            return (self.locked << 4,)
        if code in (0x10, 0x18):
            return (0x90,) if code == 0x10 else (0x41,)
        if code == 0x03:
            self.timings = command[1:3]
        elif code == 0x12:
            self.perpendicular = command[1] & 0x3F
        else:
            self.configuration = command[2:4]
        return ()

    def _run(self) -> None:
        """The execution phase of the command that was given."""
        command, self.executing, self.due = self.executing, b"", None
        if command:
            code = command[0] & 0x1F
            if code in (0x07, 0x0F):
                self._seek(command)
            else:
                self.results = bytes(self._identify(command) if code == 0x0A else
                                     self._format(command) if code == 0x0D else self._transfer(command, code))
            self.interrupting = True
        self.settle()

    def _seek(self, command: bytes) -> None:
        n, to = command[1] & 3, command[2] if command[0] & 0x1F == 0x0F else 0
        if self.disks[n] is not None and to != self.tracks[n] or to == 0 and self.disks[n] is not None:
            self.changed[n] = False  # a step pulse found the medium
        self.tracks[n] = min(to, 84)
        self.ended = [*self.ended, SEEK_END | command[1] & 7][-4:]

    def _result(self, command: bytes, status1: int, status2: int, place: Result) -> Result:
        return (command[1] & 7 | (ABNORMAL if status1 else 0), status1, status2, *place)

    def _identify(self, command: bytes) -> Result:
        n, head = command[1] & 3, command[1] >> 2 & 1
        disk = self.disks[n]
        place = (self.tracks[n], head, 1, 2)
        good = disk is not None and self.tracks[n] < geometry_of(disk)[0] and head < geometry_of(disk)[1]
        return self._result(command, 0 if good else NO_MARK, 0, place)

    def _place(self, n: int, place: Result) -> int | None:
        """The sector's number on the medium."""
        disk, (cylinder, head, sector, size) = self.disks[n], place
        if disk is None:
            return None
        cylinders, heads, per_track = geometry_of(disk)
        if cylinder >= cylinders or head >= heads or not 1 <= sector <= per_track or size != 2:
            return None
        lba = (cylinder * heads + head) * per_track + sector - 1
        return lba if lba < disk.sectors else None

    def _transfer(self, command: bytes, code: int) -> Result:
        """Sector by sector until the terminal count, or the last one of the cylinder (EOT)."""
        n, last = command[1] & 3, command[6]
        place: Result = tuple(command[2:6])
        disk, writes, verifies = self.disks[n], code in (0x05, 0x09), code == 0x16
        if code == 0x02:
            place = (place[0], place[1], 1, place[3])
        for _ in range(512):
            lba = self._place(n, place)
            if disk is None or lba is None:
                return self._result(command, NO_DATA | (NO_MARK if disk is None else 0), 0, place)
            if place[0] != self.tracks[n]:
                return self._result(command, NO_DATA, WRONG_CYLINDER, place)
            if writes and not disk.writable:
                return self._result(command, NOT_WRITABLE, 0, place)
            try:
                moved = SECTOR if verifies else self._move(disk, lba, writes)
            except OSError:
                return self._result(command, NO_DATA, 0, place)
            at_end = place[2] == last
            wraps = bool(command[0] & 0x80) and place[1] == 0
            place = self._following(place, at_end, bool(command[0] & 0x80))
            if verifies:
                if at_end and not wraps:
                    return self._result(command, 0, 0, place)
            elif self.dma.terminal_count(CHANNEL) or moved < SECTOR:
                return self._result(command, 0, 0, place)
            elif at_end and not wraps:
                return self._result(command, END, 0, place)
        return self._result(command, END, 0, place)

    def _move(self, disk: Disk, lba: int, writes: bool) -> int:
        if not writes:
            return self.dma.write_for(CHANNEL, disk.read(lba, 1))
        data = self.dma.read_for(CHANNEL, SECTOR)
        if data:
            disk.write(lba, data.ljust(SECTOR, b"\0"))
        return len(data)

    @staticmethod
    def _following(place: Result, at_end: bool, both_heads: bool) -> Result:
        """Table 6-6 of the data sheet: where the next sector would be."""
        cylinder, head, sector, size = place
        if not at_end:
            return cylinder, head, sector + 1 & 0xFF, size
        if both_heads and head == 0:
            return cylinder, 1, 1, size
        return cylinder + 1 & 0xFF, 0 if both_heads else head, 1, size

    def _format(self, command: bytes) -> Result:
        """One track: the host gives each sector's address, and all get the same byte."""
        n = command[1] & 3
        disk = self.disks[n]
        place: Result = (self.tracks[n], command[1] >> 2 & 1, 1, 2)
        if disk is None or not disk.writable:
            return self._result(command, NO_MARK if disk is None else NOT_WRITABLE, 0, place)
        for _ in range(min(command[3], 63)):
            address = self.dma.read_for(CHANNEL, 4)
            lba = self._place(n, tuple(address)) if len(address) == 4 else None
            if lba is None:
                return self._result(command, NO_DATA, 0, place)
            disk.write(lba, bytes((command[5],)) * SECTOR)
        return self._result(command, 0, 0, place)

    def settle(self) -> None:
        self.irq6.set(self.interrupting and self.output & DMA_GATE)
        if self.due is None:
            self.timer.cancel()
        else:
            self.timer.set(self.due)
