"""The VGA's sequencer and graphics controller with the 256 KiB behind them, after the IBM VGA technical reference
(PS/2 Hardware Interface, "Video Subsystem").

Four planes of 64 KiB; what the processor sees of them is up to the mode registers. Not modelled: the
page bit of odd/even addressing.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Field, Stateful

PLANE = 0x10000
MAPS = ((0, 0x20000), (0, 0x10000), (0x10000, 0x8000), (0x18000, 0x8000))  # offset from A0000h, size
EXPAND = bytes(0xFF if nibble >> plane & 1 else 0 for nibble in range(16) for plane in range(4))
MAP_MASK, MEMORY_MODE = 2, 4  # sequencer
SET_RESET, ENABLE_SET_RESET, COMPARE, ROTATE, READ_MAP, MODE, MISC, DONT_CARE, BIT_MASK = range(9)
CHAIN4, NOT_ODD_EVEN = 0x08, 0x04  # memory mode
READ_COMPARE, HOST_ODD_EVEN = 0x08, 0x10  # mode


class Planes(Stateful):
    planes = Field([bytearray(PLANE) for _ in range(4)])
    latches = Field([0] * 4)
    sequencer = Field([0] * 8)
    graphics = Field([0] * 16)

    def locate(self, offset: int) -> int | None:
        """Where an offset in the window A0000h-BFFFFh is in display memory; None: in no part that is mapped."""
        start, size = MAPS[self.graphics[MISC] >> 2 & 3]
        return offset - start if start <= offset < start + size else None

    def _place(self, address: int) -> int:
        """The offset within the planes."""
        if self.sequencer[MEMORY_MODE] & CHAIN4:
            return address & 0xFFFC
        return address & 0xFFFE if self.graphics[MISC] & 2 else address & 0xFFFF

    def read(self, offset: int) -> int:
        address = self.locate(offset)
        if address is None:
            return 0xFF
        place, graphics = self._place(address), self.graphics
        latches = self.latches = [plane[place] for plane in self.planes]
        if self.sequencer[MEMORY_MODE] & CHAIN4:
            return int(latches[address & 3])
        if graphics[MODE] & READ_COMPARE:
            differ = 0
            for n in range(4):
                if graphics[DONT_CARE] >> n & 1:
                    differ |= latches[n] ^ (0xFF if graphics[COMPARE] >> n & 1 else 0)
            return ~differ & 0xFF
        if graphics[MODE] & HOST_ODD_EVEN:
            return int(latches[graphics[READ_MAP] & 2 | address & 1])
        return int(latches[graphics[READ_MAP] & 3])

    def write(self, offset: int, value: int) -> None:
        address = self.locate(offset)
        if address is None:
            return
        mode, chosen = self.sequencer[MEMORY_MODE], self.sequencer[MAP_MASK]
        if mode & CHAIN4:
            chosen &= 1 << (address & 3)
        elif not mode & NOT_ODD_EVEN:
            chosen &= 0xA if address & 1 else 0x5
        place = self._place(address)
        if self._plain():
            for n in range(4):
                if chosen >> n & 1:
                    self.planes[n][place] = value
            return
        data, mask = self._data(value)
        for n in range(4):
            if chosen >> n & 1:
                self.planes[n][place] = data[n] & mask | self.latches[n] & ~mask & 0xFF

    def _plain(self) -> bool:
        """Bytes go into the planes as they are: text, and most of what chain-4 modes do."""
        graphics = self.graphics
        untouched = graphics[ENABLE_SET_RESET] | graphics[ROTATE] | graphics[MODE] & 3
        return not untouched and bool(graphics[BIT_MASK] == 0xFF)

    def _data(self, value: int) -> tuple[list[int], int]:
        """What the write mode makes of a byte: one for each plane, and the bits that do not come from the latches."""
        graphics = self.graphics
        mode, mask = graphics[MODE] & 3, graphics[BIT_MASK]
        if mode == 1:
            return self.latches, 0xFF
        turn = graphics[ROTATE] & 7
        turned = (value >> turn | value << 8 - turn) & 0xFF
        fixed = EXPAND[4 * (graphics[SET_RESET] & 15):][:4]
        if mode == 3:
            return list(fixed), mask & turned
        if mode == 2:
            data = list(EXPAND[4 * (value & 15):][:4])
        else:
            data = [fixed[n] if graphics[ENABLE_SET_RESET] >> n & 1 else turned for n in range(4)]
        return self._combined(data), mask

    def _combined(self, data: list[int]) -> list[int]:
        function, latches = self.graphics[ROTATE] >> 3 & 3, self.latches
        if function == 1:
            return [data[n] & latches[n] for n in range(4)]
        if function == 2:
            return [data[n] | latches[n] for n in range(4)]
        return [data[n] ^ latches[n] for n in range(4)] if function == 3 else data
