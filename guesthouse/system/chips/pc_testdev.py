"""QEMU's pc-testdev, which kvm-unit-tests expect in a PC (QEMU's hw/misc/pc-testdev.c): a port that remembers, memory
that is not RAM, and a port for each interrupt line.

Not modelled: the flush of a page (nothing is kept back that could be flushed).
"""

from __future__ import annotations

from collections.abc import Sequence

from guesthouse.system.chips.kit import Line

REMEMBERS, FLUSH, MIRROR, LINES, MEMORY, MEMORY_SIZE = 0xE0, 0xE4, 0xE8, 0x2000, 0xFF00_0000, 0x1_0000


class PcTestDevice:
    """Not a chip of any machine: it has no registers, so it is not reset, and not saved."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.kept = bytearray(4)
        self.memory = bytearray(MEMORY_SIZE)

    def port_read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.kept[offset & 3:(offset & 3) + size], "little")

    def port_write(self, offset: int, size: int, value: int) -> None:
        put(self.kept, offset & 3, size, value)

    def line_write(self, offset: int, size: int, value: int) -> None:
        if offset < len(self.lines):
            self.lines[offset].set(bool(value))

    def memory_read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.memory[offset:offset + size], "little")

    def memory_write(self, offset: int, size: int, value: int) -> None:
        put(self.memory, offset, size, value)


def put(room: bytearray, at: int, size: int, value: int) -> None:
    """As much of a value as there is room for."""
    data = value.to_bytes(8, "little")[:min(size, len(room) - at)]
    room[at:at + len(data)] = data
