"""INT 10h, 10h and 0Bh: palette registers and DAC (IBM VGA XGA technical reference manual, 1992)."""

from __future__ import annotations

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.guest import ES, Guest

ATTRIBUTE, ATTRIBUTE_READ, MASK, DAC_READ, DAC_WRITE, DAC = 0x3C0, 0x3C1, 0x3C6, 0x3C7, 0x3C8, 0x3C9
MODE, OVERSCAN, COLOUR_SELECT, SCREEN_ON, BLINK = 0x10, 0x11, 0x14, 0x20, 0x08


class Palette:
    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def get(self, index: int) -> int:
        guest = self.guest
        guest.port_in(guest.word(bda.CRTC) + 6)
        guest.port_out(ATTRIBUTE, index)
        value = guest.port_in(ATTRIBUTE_READ)
        guest.port_in(guest.word(bda.CRTC) + 6)
        guest.port_out(ATTRIBUTE, SCREEN_ON)
        return value

    def set(self, index: int, value: int) -> None:
        guest = self.guest
        guest.port_in(guest.word(bda.CRTC) + 6)
        guest.port_out(ATTRIBUTE, index & 0x1F)
        guest.port_out(ATTRIBUTE, value)
        guest.port_out(ATTRIBUTE, SCREEN_ON)

    def cga(self, what: int, value: int) -> None:
        """0Bh: BH=0 border and background, BH=1 which of the two palettes of four colours."""
        guest = self.guest
        chosen = guest.byte(bda.CRT_PALETTE)
        if what == 0:
            chosen = chosen & 0xE0 | value & 0x1F
            colour = value & 7 | (value & 8) << 1
            self.set(OVERSCAN, colour)
            if 4 <= guest.byte(bda.MODE) & 0x7F <= 6:
                self.set(0, colour)
        if guest.byte(bda.MODE) & 0x7F in (4, 5):
            chosen = chosen & ~0x20 | (value & 1) << 5 if what == 1 else chosen
            for n in range(1, 4):
                self.set(n, 2 * n + (chosen >> 5 & 1) | chosen & 0x10 if what == 1 else
                         2 * n + (chosen >> 5 & 1) | (value & 0x10))
        guest.set_byte(bda.CRT_PALETTE, chosen)

    def call(self) -> None:
        guest, function = self.guest, self.guest.al
        if function == 0x00:
            self.set(guest.bl, guest.bh)
        elif function == 0x01:
            self.set(OVERSCAN, guest.bh)
        elif function == 0x02:
            values = guest.read(guest.linear(ES, guest.dx), 17)
            for n in range(16):
                self.set(n, values[n])
            self.set(OVERSCAN, values[16])
        elif function == 0x03:
            mode = self.get(MODE) & ~BLINK
            self.set(MODE, mode | (guest.bl & 1) << 3)
        elif function == 0x07:
            guest.bh = self.get(guest.bl & 0x1F)
        elif function == 0x08:
            guest.bh = self.get(OVERSCAN)
        elif function == 0x09:
            guest.write(guest.linear(ES, guest.dx), bytes([*(self.get(n) for n in range(16)), self.get(OVERSCAN)]))
        else:
            self._dac(function)

    def _dac(self, function: int) -> None:
        guest = self.guest
        if function == 0x10:
            self._write(guest.bl, bytes([guest.dh, guest.ch, guest.cl]))
        elif function == 0x12:
            self._write(guest.bx & 0xFF, guest.read(guest.linear(ES, guest.dx), 3 * min(guest.cx, 256)))
        elif function == 0x13:
            if guest.bl == 0:
                self.set(MODE, self.get(MODE) & 0x7F | (guest.bh & 1) << 7)
            else:
                self.set(COLOUR_SELECT, guest.bh << 2 if not self.get(MODE) & 0x80 else guest.bh)
        elif function == 0x15:
            guest.dh, guest.ch, guest.cl = self._read(guest.bl, 1)
        elif function == 0x17:
            guest.write(guest.linear(ES, guest.dx), self._read(guest.bl, min(guest.cx, 256)))
        elif function == 0x18:
            guest.port_out(MASK, guest.bl)
        elif function == 0x19:
            guest.bl = guest.port_in(MASK)
        elif function == 0x1A:
            guest.bl, guest.bh = self.get(MODE) >> 7, self.get(COLOUR_SELECT) >> 2
        elif function == 0x1B:
            self._grey(guest.bx & 0xFF, min(guest.cx, 256))

    def _write(self, first: int, levels: bytes) -> None:
        self.guest.port_out(DAC_WRITE, first)
        for level in levels:
            self.guest.port_out(DAC, level & 0x3F)

    def _read(self, first: int, count: int) -> bytes:
        self.guest.port_out(DAC_READ, first)
        return bytes(self.guest.port_in(DAC) for _ in range(3 * count))

    def _grey(self, first: int, count: int) -> None:
        """Each colour becomes the grey of the same brightness: 30 % red, 59 % green, 11 % blue."""
        levels = self._read(first, count)
        greys = [(30 * levels[n] + 59 * levels[n + 1] + 11 * levels[n + 2]) // 100 for n in range(0, 3 * count, 3)]
        self._write(first, bytes(grey for grey in greys for _ in range(3)))
