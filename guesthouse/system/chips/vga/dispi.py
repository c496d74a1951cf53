"""The VBE extension of the Bochs VGA: index and data ports at 1CEh that choose a resolution and a depth, after
the Bochs VBE display interface, B0C5h.

Modes with more than eight bits per pixel are in the linear framebuffer, which the bank also shows at A0000h.
Not modelled: four bits per pixel.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, on_read, on_write

ID, XRES, YRES, BPP, ENABLE, BANK, VIRTUAL_WIDTH, VIRTUAL_HEIGHT, X_OFFSET, Y_OFFSET, MEMORY = range(11)
ENABLED, CAPABILITIES, DAC8, LINEAR, NO_CLEAR = 0x01, 0x02, 0x20, 0x40, 0x80
NEWEST, OLDEST = 0xB0C5, 0xB0C0
MAX_X, MAX_Y = 2560, 1600
DEPTHS = (8, 15, 16, 24, 32)
BANK_SIZE = 0x10000


class Dispi(Chip):
    SIZE = 3
    index = Field()
    registers = Field([NEWEST] + [0] * 9)

    def __init__(self, memory: int, clear: Callable[[int], object], settle: Callable[[], object]) -> None:
        super().__init__()
        self.memory, self.clear_frame, self.settled = memory, clear, settle

    @property
    def enabled(self) -> bool:
        return bool(self.registers[ENABLE] & ENABLED)

    @property
    def pixel_bytes(self) -> int:
        return (int(self.registers[BPP]) + 7) // 8

    @property
    def pitch(self) -> int:
        return int(self.registers[VIRTUAL_WIDTH]) * self.pixel_bytes

    @property
    def start(self) -> int:
        return int(self.registers[Y_OFFSET]) * self.pitch + int(self.registers[X_OFFSET]) * self.pixel_bytes

    @on_write(0, width=16)
    def select(self, value: int) -> None:
        self.index = value

    @on_read(0, width=16, pure=True)
    def selected(self) -> int:
        return int(self.index)

    @on_read(1, width=16, pure=True)
    @on_read(2, width=16, pure=True)
    def read_data(self) -> int:
        return self.get(self.index)

    @on_write(1, width=16)
    @on_write(2, width=16)
    def write_data(self, value: int) -> None:
        self.put(self.index, value)

    def get(self, index: int) -> int:
        if self.registers[ENABLE] & CAPABILITIES and XRES <= index <= BPP:
            return (MAX_X, MAX_Y, 32)[index - XRES]
        if index == VIRTUAL_HEIGHT and self.pitch:
            return min(0xFFFF, self.memory // self.pitch)
        if index == MEMORY:
            return min(0xFFFF, self.memory // BANK_SIZE)
        return int(self.registers[index]) if index < len(self.registers) else 0

    def put(self, index: int, value: int) -> None:
        """Resolution and depth are taken while the extension is off; what does not fit is not taken."""
        if index == ID:
            self.registers[ID] = value if OLDEST <= value <= NEWEST else self.registers[ID]
        elif index == ENABLE:
            self._enable(value)
        elif XRES <= index <= BPP:
            good = (value <= MAX_X, value <= MAX_Y, value in DEPTHS)[index - XRES]
            if good and not self.enabled:
                self.registers[index] = value
        elif index == BANK:
            self.registers[BANK] = value % max(1, self.memory // BANK_SIZE)
        elif index == VIRTUAL_WIDTH:
            if self.registers[XRES] <= value and value * self.pixel_bytes * self.registers[YRES] <= self.memory:
                self.registers[VIRTUAL_WIDTH] = value
        elif index in (X_OFFSET, Y_OFFSET):
            self._scroll(index, value)
        self.settled()

    def _enable(self, value: int) -> None:
        x, y = self.registers[XRES], self.registers[YRES]
        if value & ENABLED and not self.enabled:
            if not x or not y or not self.registers[BPP] or x * y * self.pixel_bytes > self.memory:
                value &= ~ENABLED
            else:
                self.registers[BANK:] = [0, x, y, 0, 0]
                if not value & NO_CLEAR:
                    self.clear_frame(x * y * self.pixel_bytes)
        self.registers[ENABLE] = value & (ENABLED | CAPABILITIES | DAC8 | LINEAR | NO_CLEAR)

    def _scroll(self, index: int, value: int) -> None:
        before = self.registers[index]
        self.registers[index] = value
        if self.start + self.pitch * self.registers[YRES] > self.memory:
            self.registers[index] = before
