"""Characters and pixels in the screen's memory: text, CGA's interleaved lines, four planes, a byte a pixel
(IBM VGA XGA technical reference manual, 1992, chapter 2).
"""

from __future__ import annotations

from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.modes import CGA, LINEAR, PLANAR, TEXT, Mode

SEQUENCER, GRAPHICS = 0x3C4, 0x3CE
MAP_MASK, READ_PLANE, XOR = 2, 4, 0x80
Corner = tuple[int, int]


class Raster:
    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    # a whole line of the screen, in planes (one where memory has none)

    def _place(self, mode: Mode, page: int, line: int) -> int:
        if mode.kind == CGA:
            return mode.base + (line & 1) * 0x2000 + (line >> 1) * 80
        if mode.kind == LINEAR:
            return mode.base + line * 320
        return mode.base + page * mode.page_bytes + line * mode.columns

    def _cell(self, mode: Mode) -> int:
        """Bytes of a character's width."""
        return 8 * mode.bits // 8 if mode.kind != PLANAR else 1

    def _planes(self, mode: Mode) -> range:
        return range(4 if mode.kind == PLANAR else 1)

    def _select(self, mode: Mode, plane: int) -> None:
        if mode.kind == PLANAR:
            self.guest.indexed_out(GRAPHICS, READ_PLANE, plane)
            self.guest.indexed_out(SEQUENCER, MAP_MASK, 1 << plane)

    def _done(self, mode: Mode) -> None:
        if mode.kind == PLANAR:
            self.guest.indexed_out(GRAPHICS, READ_PLANE, 0)
            self.guest.indexed_out(SEQUENCER, MAP_MASK, 0xF)

    def clear(self, mode: Mode) -> None:
        size = 0x8000 if mode.kind in (TEXT, CGA) else 0x1_0000
        if mode.kind == TEXT:
            self.guest.bus.write(mode.base, b"\x20\x07" * (size // 2))
        else:
            self.guest.bus.write(mode.base, bytes(size))  # all planes at once: the map mask is open

    # text

    def _text_at(self, page: int, row: int, column: int, mode: Mode) -> int:
        from_bda = self.guest.word(0x44A) or mode.columns
        return mode.base + page * self.guest.word(0x44C) + 2 * (row * from_bda + column)

    def read(self, mode: Mode, page: int, row: int, column: int) -> int:
        """Attribute and character. In graphics modes the character whose glyph is there, or 0."""
        if mode.kind == TEXT:
            return int.from_bytes(self.guest.bus.read(self._text_at(page, row, column, mode), 2), "little")
        height = self.guest.word(0x485) or mode.height
        shape = [0] * height
        for line in range(height):
            for x in range(8):
                if self.get_pixel(mode, page, column * 8 + x, row * height + line):
                    shape[line] |= 0x80 >> x
        return next((code for code in range(256) if self.glyph(code, height) == bytes(shape)), 0)

    def put(self, mode: Mode, page: int, row: int, column: int, character: int, attribute: int | None,
            count: int) -> None:
        """The character `count` times; without an attribute the old one stays."""
        if mode.kind == TEXT:
            at = self._text_at(page, row, column, mode)
            count = min(count, max(0, (0x8000 - (at - mode.base)) // 2))
            if attribute is not None:
                self.guest.bus.write(at, bytes([character, attribute & 0xFF]) * count)
            else:
                for n in range(count):
                    self.guest.bus.write(at + 2 * n, bytes([character]))
            return
        colour = 7 if attribute is None else attribute
        for n in range(min(count, mode.columns - column)):
            self._draw(mode, page, row, column + n, character, colour)

    # glyphs

    def glyph(self, code: int, height: int) -> bytes:
        """From the table of INT 43h, in 8 lines the upper half from that of INT 1Fh."""
        vector = self.guest.dword(4 * (0x1F if height == 8 and code >= 128 else 0x43))
        index = code - 128 if height == 8 and code >= 128 else code
        return self.guest.read((vector >> 16 << 4) + (vector & 0xFFFF) + index * height, height)

    def _draw(self, mode: Mode, page: int, row: int, column: int, character: int, colour: int) -> None:
        height = self.guest.word(0x485) or mode.height
        shape, size = self.glyph(character, height), self._cell(mode)
        mixes = mode.kind != LINEAR and colour & XOR
        for plane in self._planes(mode):
            self._select(mode, plane)
            for line, dots in enumerate(shape):
                at = self._place(mode, page, row * height + line) + column * size
                cell = self._dots(mode, dots, colour, plane)
                if mixes:
                    cell = bytes(a ^ b for a, b in zip(cell, self.guest.bus.read(at, size)))
                self.guest.bus.write(at, cell)
        self._done(mode)

    def _dots(self, mode: Mode, dots: int, colour: int, plane: int) -> bytes:
        """A line of a glyph in this plane's bytes."""
        if mode.kind == PLANAR:
            return bytes([dots if colour >> plane & 1 else 0])
        pixel, wide = colour & (1 << mode.bits) - 1, 0
        for x in range(8):
            wide = wide << mode.bits | (pixel if dots & 0x80 >> x else 0)
        return wide.to_bytes(mode.bits, "big")

    # scrolling

    def scroll(self, mode: Mode, page: int, lines: int, fill: int, first: Corner, last: Corner, up: bool) -> None:
        """A window of characters moves by `lines`; 0 clears it."""
        rows, columns = (self.guest.byte(0x484) or mode.rows - 1) + 1, self.guest.word(0x44A) or mode.columns
        top, left, bottom, right = first[0], first[1], min(last[0], rows - 1), min(last[1], columns - 1)
        if top > bottom or left > right:
            return
        height = bottom - top + 1
        lines = height if lines == 0 or lines > height else lines
        for plane in self._planes(mode):
            self._select(mode, plane)
            if mode.kind == TEXT:
                self._shift(
                    [self._text_at(page, row, left, mode) for row in range(top, bottom + 1)], lines,
                    bytes([0x20, fill]) * (right - left + 1), up)
            else:
                dots = self.guest.word(0x485) or mode.height
                size = (right - left + 1) * self._cell(mode)
                blank = self._dots(mode, 0xFF, fill, plane) * (right - left + 1)
                places = [self._place(mode, page, line) + left * self._cell(mode)
                          for line in range(top * dots, (bottom + 1) * dots)]
                self._shift(places, lines * dots, blank[:size], up)
        self._done(mode)

    def _shift(self, places: list[int], by: int, blank: bytes, up: bool) -> None:
        """Lines of memory, top to bottom, move by `by`."""
        bus = self.guest.bus
        if not up:
            places = places[::-1]
        for n, at in enumerate(places):
            bus.write(at, bus.read(places[n + by], len(blank)) if n + by < len(places) else blank)

    # pixels

    def _pixel(self, mode: Mode, page: int, x: int, y: int) -> tuple[int, int]:
        """The byte it is in, and how far its bits are shifted there."""
        if mode.kind == LINEAR:
            return self._place(mode, page, y) + x, 0
        bits = mode.bits if mode.kind == CGA else 1
        per = 8 // bits
        return self._place(mode, page, y) + x // per, (per - 1 - x % per) * bits

    def set_pixel(self, mode: Mode, page: int, x: int, y: int, colour: int) -> None:
        if mode.kind == TEXT or not self._inside(mode, x, y):
            return
        at, shift = self._pixel(mode, page, x, y)
        bus, mixes = self.guest.bus, mode.kind != LINEAR and colour & XOR
        for plane in self._planes(mode):
            self._select(mode, plane)
            value = colour >> plane & 1 if mode.kind == PLANAR else colour & (1 << mode.bits) - 1
            mask = 1 if mode.kind == PLANAR else (1 << mode.bits) - 1
            old = bus.read(at, 1)[0]
            bus.write(at, bytes([old ^ value << shift if mixes else old & ~(mask << shift) | value << shift]))
        self._done(mode)

    def get_pixel(self, mode: Mode, page: int, x: int, y: int) -> int:
        if mode.kind == TEXT or not self._inside(mode, x, y):
            return 0
        at, shift = self._pixel(mode, page, x, y)
        value = 0
        for plane in self._planes(mode):
            self._select(mode, plane)
            mask = 1 if mode.kind == PLANAR else (1 << mode.bits) - 1
            value |= (self.guest.bus.read(at, 1)[0] >> shift & mask) << plane
        self._done(mode)
        return value

    def _inside(self, mode: Mode, x: int, y: int) -> bool:
        return x < mode.columns * 8 and y < mode.rows * mode.height + mode.height
