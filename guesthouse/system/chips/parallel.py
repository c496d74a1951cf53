"""A parallel port with a printer that takes everything, after the IBM PC/AT technical reference, "Serial/Parallel
Adapter", and IEEE 1284, compatibility mode.

Not modelled: EPP and ECP, input from the printer.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write

STROBE, INITIALISE_NOT, IRQ_ENABLE, INPUT = 0x01, 0x04, 0x10, 0x20  # control
BUSY_NOT, ACK_NOT, SELECTED, ERROR_NOT = 0x80, 0x40, 0x10, 0x08  # status


class Parallel(Chip):
    SIZE, BUS = 3, 1
    data = Register(0)
    control = Field(INITIALISE_NOT | 0x08)
    acknowledged = Field(False)  # until the next strobe: an 8259 wants to find the line high

    def __init__(self, irq: Line, output: Callable[[bytes], object]) -> None:
        super().__init__()
        self.irq, self.output = irq, output

    @on_read(1, pure=True)
    def read_status(self) -> int:
        return BUSY_NOT | ACK_NOT | SELECTED | ERROR_NOT | 0x07

    @on_write(1)
    def write_status(self, value: int) -> None:
        """Its bits are the printer's."""

    @on_read(2, pure=True)
    def read_control(self) -> int:
        return int(self.control) | 0xC0

    @on_write(2)
    def write_control(self, value: int) -> None:
        """The strobe's end hands the byte on, which the printer acknowledges."""
        before, self.control = self.control, value & 0x3F
        self.acknowledged = self.acknowledged and value & (IRQ_ENABLE | STROBE) == IRQ_ENABLE
        if before & ~value & STROBE and not value & INPUT:
            self.output(bytes((self.data,)))
            self.acknowledged = bool(value & IRQ_ENABLE)

    def settle(self) -> None:
        self.irq.set(self.acknowledged)
