"""The IDE function of the PIIX3, after the 82371SB data sheet, section 2.3: both channels in compatibility mode,
and a window for the bus master.

The channels' own ports and interrupts are the board's to place.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.chips.kit import Register
from guesthouse.system.chips.pci.function import Bar, Function

DECODED = 0x8000  # IDETIM: the channel answers


class Window(Protocol):
    def read(self, offset: int, size: int = 1) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...


class PiixIde(Function):
    VENDOR, DEVICE, CLASS = 0x8086, 0x7010, 0x01_0180
    WINDOWS = {4: Bar(0x10, io=True)}
    timings = Register(0x40, width=16, count=2, reset=DECODED, sizes=(1, 2))

    def __init__(self, bus_master: Window) -> None:
        super().__init__()
        self.bus_master = bus_master

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.bus_master.read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.bus_master.write(offset, size, value)
