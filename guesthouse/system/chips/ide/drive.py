"""What every drive on an IDE cable has: the task file, its status, and the block that is being transferred; after
ATA/ATAPI-6 (T13 1410D), chapters 7 and 9.

A drive subclasses this, executes commands and says what comes after a block. A command is done as soon as its
data is: BSY is never seen.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.chips.kit import Field, Stateful

ERR, DRQ, DSC, DRDY = 0x01, 0x08, 0x10, 0x40  # status
ABRT, IDNF, UNC = 0x04, 0x10, 0x40  # error
IN, OUT = 1, 2
TASK_FILE = ("", "features", "count", "low", "mid", "high")


class Disk(Protocol):
    sectors: int
    sector_size: int
    writable: bool

    def read(self, lba: int, count: int, /) -> bytes: ...
    def write(self, lba: int, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class Drive(Stateful):
    SIGNATURE = (0, 0)
    features = Field()  # each remembers the value before in its upper byte, for 48-bit commands
    count = Field(0x01)
    low = Field(0x01)
    mid = Field()
    high = Field()
    device = Field()
    status = Field(DRDY | DSC)
    error = Field(0x01)
    interrupting = Field(False)
    direction = Field(0)
    dma = Field(False)
    buffer = Field(bytearray())
    at = Field()

    def put_register(self, n: int, value: int) -> None:
        name = TASK_FILE[n]
        setattr(self, name, (getattr(self, name) << 8 | value) & 0xFFFF)

    def get_register(self, n: int, previous: bool) -> int:
        value = self.error if n == 1 else getattr(self, TASK_FILE[n])
        return int(value >> 8 & 0xFF if previous and n > 1 else value & 0xFF)

    def soft_reset(self) -> None:
        self.stop()
        self.sign()
        self.status, self.interrupting = DRDY | DSC, False

    def sign(self) -> None:
        """The diagnostic code and the signature by which software knows the kind of drive (9.12)."""
        self.error, self.count, self.low, self.device = 1, 1, 1, self.device & 0x10
        self.mid, self.high = self.SIGNATURE

    def execute(self, command: int) -> None:
        """The command register was written."""

    def block_done(self, data: bytes) -> None:
        """A block has been transferred: go on or finish. `data` is what came from the host."""

    # what commands use

    def stop(self) -> None:
        self.direction, self.dma, self.at = 0, False, 0
        self.buffer = bytearray()
        self.status &= ~DRQ

    def finish(self) -> None:
        self.stop()
        self.status, self.error, self.interrupting = DRDY | DSC, 0, True

    def fail(self, error: int) -> None:
        self.stop()
        self.status, self.error, self.interrupting = DRDY | DSC | ERR, error, True

    def give(self, data: bytes, interrupt: bool = True) -> None:
        """A block for the host."""
        self._transfer(IN, bytearray(data), interrupt)

    def want(self, count: int, interrupt: bool) -> None:
        """A block from the host."""
        self._transfer(OUT, bytearray(count), interrupt)

    def _transfer(self, direction: int, buffer: bytearray, interrupt: bool) -> None:
        self.direction, self.buffer, self.at = direction, buffer, 0
        self.status, self.error = DRDY | DSC | DRQ, 0
        if interrupt and not self.dma:
            self.interrupting = True

    # the data port and the bus master

    def pull(self, count: int) -> bytes:
        """Up to `count` bytes for the host."""
        if self.direction != IN:
            return b""
        data = bytes(self.buffer[self.at:self.at + count])
        self.at += count
        if self.at >= len(self.buffer):
            self.block_done(b"")
        return data

    def room(self) -> int:
        """Bytes of the block that the host has not sent."""
        return len(self.buffer) - int(self.at) if self.direction == OUT else 0

    def push(self, data: bytes) -> int:
        """Bytes from the host; says how many were wanted."""
        if self.direction != OUT:
            return 0
        taken = min(len(data), self.room())
        self.buffer[self.at:self.at + taken] = data[:taken]
        self.at += taken
        if self.at >= len(self.buffer):
            self.block_done(bytes(self.buffer))
        return taken
