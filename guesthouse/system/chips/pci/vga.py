"""A VGA on the PCI bus: the framebuffer as window 0, and its registers as memory in window 2, as Linux's bochs
driver and firmware for virtual machines expect them.

The VGA itself is a collaborator; its ports and the window at A0000h are the board's to place.
"""

from __future__ import annotations

from typing import Any, Protocol

from guesthouse.system.chips.kit import ONES, Stateful
from guesthouse.system.chips.pci.function import Bar, Function

PORTS, DISPI, REGISTERS = 0x400, 0x500, 11  # in window 2: from 3C0h on, and the VBE registers
FIRST_PORT = 0x10  # of the VGA's own range, which begins at 3B0h


class Dispi(Protocol):
    def get(self, index: int) -> int: ...
    def put(self, index: int, value: int) -> None: ...


class Card(Protocol):
    @property
    def dispi(self) -> Dispi: ...
    @property
    def frame(self) -> bytearray | memoryview: ...
    def read(self, offset: int, size: int = 1) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...
    def frame_read(self, offset: int, size: int) -> int: ...
    def frame_write(self, offset: int, size: int, value: int) -> None: ...


class VgaFunction(Function):
    VENDOR, DEVICE, REVISION, CLASS = 0x1234, 0x1111, 2, 0x03_0000
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x1AF4, 0x1100

    def __init__(self, vga: Card, *, rom: bytes = b"") -> None:
        self.vga: Any = vga
        self.WINDOWS = {0: Bar(1 << (len(vga.frame) - 1).bit_length(), prefetch=True), 2: Bar(0x1000)}
        super().__init__(rom=rom)

    def parts(self) -> dict[str, Stateful]:
        return {}

    def bar_read(self, n: int, offset: int, size: int) -> int:
        if n == 0:
            return int(self.vga.frame_read(offset, size))
        if PORTS <= offset and offset + size <= PORTS + 0x20:
            return int(self.vga.read(offset - PORTS + FIRST_PORT, size))
        if DISPI <= offset < DISPI + 2 * REGISTERS and size == 2 and not offset & 1:
            return int(self.vga.dispi.get((offset - DISPI) // 2))
        return ONES[size]

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        if n == 0:
            self.vga.frame_write(offset, size, value)
        elif PORTS <= offset and offset + size <= PORTS + 0x20:
            self.vga.write(offset - PORTS + FIRST_PORT, size, value)
        elif DISPI <= offset < DISPI + 2 * REGISTERS and size == 2 and not offset & 1:
            self.vga.dispi.put((offset - DISPI) // 2, value)
