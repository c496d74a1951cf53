"""What every drive on an IDE cable has: the task file, its status, and the block that is being transferred; after
ATA/ATAPI-6 (T13 1410D), chapters 7 and 9.

A drive subclasses this, executes commands and says what comes after a block. A command is done as soon as its
data is: BSY is never seen.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Protocol

from guesthouse.bits import u64
from guesthouse.system.chips.ide.registers import IN, OUT, TaskFile
from guesthouse.system.chips.kit import Cell, Field, Stateful

ERR, DRQ, DSC, DRDY = 0x01, 0x08, 0x10, 0x40  # status
ABRT, IDNF, UNC = 0x04, 0x10, 0x40  # error


class Disk(Protocol):
    sectors: int
    sector_size: int
    writable: bool

    def read(self, lba: int, count: int, /) -> bytes: ...
    def write(self, lba: int, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class Block(Field):
    """What is on its way: nobody changes its length, so that processors may be told where it lies."""

    if not TYPE_CHECKING:
        def __get__(self, drive: Any, owner: type) -> Any:
            return self if drive is None else drive.__dict__[self.name]

    def __set__(self, drive: Any, block: bytearray) -> None:
        drive.__dict__[self.name] = block
        drive.raw.block = ctypes.addressof(ctypes.c_char.from_buffer(block)) if block else 0
        drive.raw.length = len(block)


class Drive(Stateful):
    SIGNATURE = (0, 0)
    TYPED = TaskFile
    features = Cell()
    count = Cell(0x01)
    low = Cell(0x01)
    mid = Cell()
    high = Cell()
    device = Cell()
    status = Cell(DRDY | DSC)
    error = Cell(0x01)
    interrupting = Cell()
    direction = Cell()
    dma = Cell()
    buffer = Block(bytearray())
    moved = Cell()

    def put_register(self, n: int, value: int) -> None:
        self.typed.put(u64(n), u64(value))

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
        self.direction, self.dma, self.moved = 0, False, 0
        if self.buffer:
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
        self.direction, self.buffer, self.moved = direction, buffer, 0
        self.status, self.error = DRDY | DSC | DRQ, 0
        if interrupt and not self.dma:
            self.interrupting = True

    # the data port and the bus master

    def pull(self, count: int) -> bytes | bytearray:
        """Up to `count` bytes for the host."""
        if self.direction != IN:
            return b""
        start = self.moved
        data: bytearray = self.buffer[start:start + count]
        self.moved = start + count
        if start + count >= len(self.buffer):
            self.block_done(b"")
        return data

    def room(self) -> int:
        """Bytes of the block that the host has not sent."""
        return len(self.buffer) - int(self.moved) if self.direction == OUT else 0

    def push(self, data: bytes) -> int:
        """Bytes from the host; says how many were wanted."""
        if self.direction != OUT:
            return 0
        taken = min(len(data), self.room())
        self.buffer[self.moved:self.moved + taken] = data[:taken]
        self.moved += taken
        if self.moved >= len(self.buffer):
            self.block_done(bytes(self.buffer))
        return taken
