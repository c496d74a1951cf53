"""The bus master of an IDE controller: it moves a drive's data along a list of physical regions, after Intel's
Programming Interface for Bus Master IDE Controller, revision 1.0.

A transfer is done at once, when both the drive and the start bit are ready.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.ide.drive import IN
from guesthouse.system.chips.kit import Chip, Field, on_read, on_write

START, TO_MEMORY = 0x01, 0x08  # command
ACTIVE, ERROR, INTERRUPT, CAPABLE = 0x01, 0x02, 0x04, 0x60  # status
END_OF_TABLE = 0x80
ENTRIES = 8192  # a table is not longer than 64 KiB


class Memory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> object: ...


class BusMaster(Chip):
    SIZE = 0x10
    commands = Field([0, 0])
    states = Field([0, 0])
    tables = Field([0, 0])

    def __init__(self, primary: Channel, secondary: Channel, memory: Memory, *, refused: type[Exception]) -> None:
        self.channels, self.memory, self.refused = (primary, secondary), memory, refused
        super().__init__()
        for n, channel in enumerate(self.channels):
            channel.on_dma = lambda n=n: self.run(n)  # type: ignore[misc]
            channel.on_interrupt = lambda n=n: self._note(n)  # type: ignore[misc]

    def _note(self, n: int) -> None:
        self.states[n] |= INTERRUPT

    @on_read(0, count=2, stride=8, pure=True)
    def read_command(self, n: int) -> int:
        return int(self.commands[n])

    @on_write(0, count=2, stride=8)
    def write_command(self, n: int, value: int) -> None:
        started = value & ~self.commands[n] & START
        self.commands[n] = value & (START | TO_MEMORY)
        if started:
            self.states[n] |= ACTIVE
            self.run(n)
        elif not value & START:
            self.states[n] &= ~ACTIVE

    @on_read(2, count=2, stride=8, pure=True)
    def read_state(self, n: int) -> int:
        return int(self.states[n])

    @on_write(2, count=2, stride=8)
    def write_state(self, n: int, value: int) -> None:
        kept = self.states[n] & (ACTIVE | ERROR | INTERRUPT) & ~(value & (ERROR | INTERRUPT))
        self.states[n] = kept | value & CAPABLE

    @on_read(4, width=32, count=2, stride=8, sizes=(1, 2, 4), pure=True)
    def read_table(self, n: int) -> int:
        return int(self.tables[n])

    @on_write(4, width=32, count=2, stride=8, sizes=(1, 2, 4))
    def write_table(self, n: int, value: int) -> None:
        self.tables[n] = value & ~3

    def run(self, n: int) -> None:
        """Move what there is to be moved. A list that ends too early leaves the drive waiting."""
        drive = self.channels[n].drive()
        if not self.states[n] & ACTIVE or drive is None or not drive.dma or not drive.direction:
            return
        if (drive.direction == IN) != bool(self.commands[n] & TO_MEMORY):
            return
        try:
            self._walk(n)
        except self.refused:
            self.states[n] = self.states[n] & ~ACTIVE | ERROR
        self.channels[n].settle()

    def _walk(self, n: int) -> None:
        drive = self.channels[n].drive()
        assert drive is not None
        for entry in range(ENTRIES):
            raw = self.memory.read(self.tables[n] + 8 * entry, 8)
            address, count = int.from_bytes(raw[:4], "little") & ~1, int.from_bytes(raw[4:6], "little") & ~1
            left = count or 0x10000
            while left and drive.dma and drive.direction:
                if drive.direction == IN:
                    data = drive.pull(left)
                    moved = len(data)
                    self.memory.write(address, data)
                else:
                    moved = drive.push(self.memory.read(address, min(left, drive.room())))
                address, left = address + moved, left - moved
                if not moved:
                    break
            if not drive.dma or not drive.direction:  # the drive is content
                if not left and raw[7] & END_OF_TABLE or drive.interrupting:
                    self.states[n] &= ~ACTIVE
                return
            if raw[7] & END_OF_TABLE:
                return
