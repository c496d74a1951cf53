"""The SMBus host controller of PIIX4 and ICH9 with nothing on its bus: who is called does not answer. After the
82371AB data sheet, section 7.2.

Not modelled: devices, the slave side, alerts.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import ONES, Chip, Field, Register, on_read, on_write

DEVICE_ERROR, START = 0x04, 0x40
CLEARABLE = 0xFE


class SmbusHost(Chip):
    SIZE, BUS = 0x20, 1
    status = Field()
    control = Field()
    command = Register(3)
    address = Register(4)
    data = Register(5, count=2)

    @on_read(0, pure=True)
    def read_status(self) -> int:
        return int(self.status)

    @on_write(0)
    def clear_status(self, value: int) -> None:
        self.status &= ~(value & CLEARABLE)

    @on_read(2, pure=True)
    def read_control(self) -> int:
        return int(self.control)

    @on_write(2)
    def write_control(self, value: int) -> None:
        """A transaction that is started ends at once, without an answer."""
        self.control = value & ~START
        if value & START:
            self.status |= DEVICE_ERROR

    def odd_read(self, offset: int, size: int) -> int:
        return super().odd_read(offset, size) if size > 1 else 0

    def odd_write(self, offset: int, size: int, value: int) -> None:
        if size in ONES and size > 1:
            super().odd_write(offset, size, value)
