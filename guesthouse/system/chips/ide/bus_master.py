"""The bus master of an IDE controller: it moves a drive's data along a list of physical regions, after Intel's
Programming Interface for Bus Master IDE Controller, revision 1.0.

A transfer is done at once, when both the drive and the start bit are ready.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from guesthouse.bits import u64
from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.ide.drive import Drive
from guesthouse.system.chips.ide.registers import ACTIVE, ERROR, IN, INTERRUPT, START, TO_MEMORY, Master
from guesthouse.system.chips.kit import Cell, Chip, Stateful, on_read, on_write

END_OF_TABLE = 0x8000
ENTRY, ENTRIES, PAGE = struct.Struct("<IHH"), 8192, 4096  # a table is not longer than 64 KiB


class Memory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes | bytearray, /) -> object: ...


class Half(Stateful):
    """What moves the data of one channel."""

    TYPED = Master
    command = Cell()
    state = Cell()
    table = Cell()

    def __init__(self, channel: Channel, memory: Memory, refused: type[Exception]) -> None:
        self.channel, self.memory, self.refused = channel, memory, refused
        super().__init__()
        channel.on_dma, channel.on_interrupt = self.run, self.note

    def note(self) -> None:
        self.state |= INTERRUPT

    def put_command(self, value: int) -> None:
        if value & ~self.command & START:
            self.state |= ACTIVE
            self.command = value & (START | TO_MEMORY)
            self.run()
        else:
            self.typed.put_command(u64(value))

    def run(self) -> None:
        """Move what there is to be moved. A list that ends too early leaves the drive waiting."""
        drive = self.channel.drive()
        if not self.state & ACTIVE or drive is None or not drive.dma or not drive.direction:
            return
        if (drive.direction == IN) != bool(self.command & TO_MEMORY):
            return
        try:
            self._walk(drive)
        except self.refused:
            self.state = self.state & ~ACTIVE | ERROR
        self.channel.settle()

    def _walk(self, drive: Drive) -> None:
        for address, count, last in self._regions():
            left = count or 0x10000
            while left and (direction := drive.direction) and drive.dma:
                if direction == IN:
                    data = drive.pull(left)
                    moved = len(data)
                    self.memory.write(address, data)
                else:
                    moved = drive.push(self.memory.read(address, min(left, drive.room())))
                address, left = address + moved, left - moved
                if not moved:
                    break
            if not drive.dma or not drive.direction:  # the drive is content
                if not left and last or drive.interrupting:
                    self.state &= ~ACTIVE
                return
            if last:
                return

    def _regions(self) -> Iterator[tuple[int, int, int]]:
        """The table: address, length and whether it is the last. What lies in one page of it is read at once."""
        at, end = self.table, self.table + ENTRY.size * ENTRIES
        while at < end:
            rows = self.memory.read(at, PAGE - at % PAGE & ~(ENTRY.size - 1) or ENTRY.size)
            for address, count, flags in ENTRY.iter_unpack(rows):
                yield address & ~1, count & ~1, flags & END_OF_TABLE
            at += len(rows)


class BusMaster(Chip):
    SIZE = 0x10

    def __init__(self, primary: Channel, secondary: Channel, memory: Memory, *, refused: type[Exception]) -> None:
        self.halves = [Half(channel, memory, refused) for channel in (primary, secondary)]
        super().__init__()

    def parts(self) -> dict[str, Stateful]:
        return {"primary": self.halves[0], "secondary": self.halves[1]}

    @on_read(0, count=2, stride=8, pure=True)
    def read_command(self, n: int) -> int:
        return int(self.halves[n].command)

    @on_write(0, count=2, stride=8)
    def write_command(self, n: int, value: int) -> None:
        self.halves[n].put_command(value)

    @on_read(2, count=2, stride=8, pure=True)
    def read_state(self, n: int) -> int:
        return int(self.halves[n].state)

    @on_write(2, count=2, stride=8)
    def write_state(self, n: int, value: int) -> None:
        self.halves[n].typed.put_state(u64(value))

    @on_read(4, width=32, count=2, stride=8, sizes=(1, 2, 4), pure=True)
    def read_table(self, n: int) -> int:
        return int(self.halves[n].table)

    @on_write(4, width=32, count=2, stride=8, sizes=(1, 2, 4))
    def write_table(self, n: int, value: int) -> None:
        self.halves[n].typed.put_table(u64(value))
