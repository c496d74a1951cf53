"""INT 10h: modes, cursor, text and pixels, fonts, palettes (IBM PS/2 and PC BIOS interface technical
reference, interrupt 10h). VESA calls are in vbe.py.

Not modelled: light pen, grey summing.
"""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.guest import ES, Guest
from guesthouse.system.firmware.bios.modes import MODES, TEXT, Mode, palette
from guesthouse.system.firmware.bios.palette import Palette
from guesthouse.system.firmware.bios.raster import Raster
from guesthouse.system.firmware.bios.rom import FONT_8, FONT_8_HIGH, FONT_14, FONT_16, FUNCTIONALITY, SEGMENT
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.firmware.bios.vbe import Vbe
from guesthouse.system.firmware.bios import font

ATTRIBUTE, MISC, SEQUENCER, DAC_MASK, DAC_WRITE, DAC, GRAPHICS = 0x3C0, 0x3C2, 0x3C4, 0x3C6, 0x3C8, 0x3C9, 0x3CE
FONTS = {8: FONT_8, 14: FONT_14, 16: FONT_16}
BELL, BACKSPACE, LINE_FEED, RETURN = 7, 8, 10, 13
GREY = 0x07
USUAL_CURSOR = 0x0607  # of eight lines: the registers have it stretched
CURSORS = {8: 0x0607, 14: 0x0B0C, 16: 0x0D0E}


class Video:
    def __init__(self, guest: Guest, settings: Settings, note: Callable[[str], None]) -> None:
        self.guest, self.note = guest, note
        self.palette, self.raster = Palette(guest), Raster(guest)
        self.vbe = Vbe(guest, settings, self.set_mode)
        self.functions: dict[int, Callable[[], object]] = {
            0x00: self._set_mode, 0x01: self._shape, 0x02: self._move, 0x03: self._where,
            0x05: lambda: self.set_page(guest.al), 0x06: lambda: self._scroll(up=True),
            0x07: lambda: self._scroll(up=False), 0x08: self._read, 0x09: lambda: self._write(attribute=True),
            0x0A: lambda: self._write(attribute=False), 0x0B: self._cga_palette, 0x0C: self._set_pixel,
            0x0D: self._get_pixel, 0x0E: lambda: self.teletype(guest.al, guest.bl), 0x0F: self._state,
            0x10: self.palette.call, 0x11: self._font, 0x12: self._alternate, 0x13: self._string,
            0x1A: self._display, 0x1B: self._capabilities, 0x1C: self._save, 0x4F: self.vbe.call}

    def call(self) -> None:
        answer = self.functions.get(self.guest.ah)
        if answer is None:
            self.note(f"INT 10h, AX={self.guest.ax:04X}h")
        else:
            answer()

    def _save(self) -> None:
        """AL: 0 the size in BX, 1 save to ES:BX, 2 restore; CX says what."""
        guest, state, what = self.guest, self.vbe.state, self.guest.cx & 7
        if guest.al == 0:
            guest.bx = state.size(what)
        elif guest.al <= 2:
            (state.save if guest.al == 1 else state.restore)(what, guest.linear(ES, guest.bx))
        guest.al = 0x1C

    # modes

    @property
    def mode(self) -> Mode:
        return MODES.get(self.guest.byte(bda.MODE) & 0x7F, MODES[3])

    def _set_mode(self) -> None:
        number = self.guest.al
        self.set_mode(number)
        self.guest.al = 0x20 if number & 0x7F > 7 else 0x3F if number & 0x7F == 6 else 0x30  # as BIOSes of the AT time

    def set_mode(self, number: int) -> None:
        mode = MODES.get(number & 0x7F)
        if mode is None:
            self.note(f"video mode {number:02X}h")
            return
        self.vbe.leave()
        self._registers(mode)
        self._data(mode)
        if not number & 0x80:
            self.raster.clear(mode)
        if mode.kind == TEXT:
            self.load_font(mode.height, 0)
        self._cursor(0, 0, 0)

    def _registers(self, mode: Mode) -> None:
        guest, crtc = self.guest, 0x3D4 if mode.misc & 1 else 0x3B4
        guest.port_out(MISC, mode.misc)
        guest.indexed_out(SEQUENCER, 0, 1)
        for n, value in enumerate(mode.sequencer):
            guest.indexed_out(SEQUENCER, n + 1, value)
        guest.indexed_out(SEQUENCER, 0, 3)
        guest.indexed_out(crtc, 0x11, 0)  # opens registers 0 to 7
        for n, value in enumerate(mode.crtc):
            guest.indexed_out(crtc, n, value)
        for n, value in enumerate(mode.graphics):
            guest.indexed_out(GRAPHICS, n, value)
        guest.port_in(crtc + 6)  # the next write to the attribute controller is an index
        for n, value in enumerate(mode.attribute):
            guest.port_out(ATTRIBUTE, n)
            guest.port_out(ATTRIBUTE, value)
        guest.port_out(ATTRIBUTE, 0x14)
        guest.port_out(ATTRIBUTE, 0)
        guest.port_out(ATTRIBUTE, 0x20)  # the screen is on
        guest.port_out(DAC_MASK, 0xFF)
        if not guest.byte(bda.VIDEO_FLAGS) & 0x08:
            guest.port_out(DAC_WRITE, 0)
            for level in palette(mode.palette):
                guest.port_out(DAC, level)

    def _data(self, mode: Mode) -> None:
        guest = self.guest
        guest.set_byte(bda.MODE, mode.number)
        guest.set_word(bda.COLUMNS, mode.columns)
        guest.set_word(bda.PAGE_BYTES, mode.page_bytes)
        guest.set_word(bda.PAGE_START, 0)
        guest.write(bda.CURSORS, bytes(16))
        guest.set_word(bda.CURSOR_SHAPE, USUAL_CURSOR)
        guest.set_byte(bda.PAGE, 0)
        guest.set_word(bda.CRTC, 0x3D4 if mode.misc & 1 else 0x3B4)
        guest.set_byte(bda.CRT_MODE, (0x2C, 0x28, 0x2D, 0x29, 0x2A, 0x2E, 0x1E, 0x29)[mode.number & 7])
        guest.set_byte(bda.CRT_PALETTE, 0x3F if mode.number == 6 else 0x30)
        guest.set_byte(bda.ROWS, mode.rows - 1)
        guest.set_word(bda.CHARACTER_HEIGHT, mode.height)
        guest.set_byte(bda.VIDEO_CONTROL, 0x60)
        guest.set_byte(bda.VIDEO_SWITCHES, 0xF9)
        guest.set_byte(bda.VIDEO_FLAGS, guest.byte(bda.VIDEO_FLAGS) & 0x08 | 0x51)
        guest.set_byte(bda.VIDEO_DCC, 0x0B)
        equipment = guest.word(bda.EQUIPMENT) & ~0x30
        guest.set_word(bda.EQUIPMENT, equipment | (0x30 if mode.number == 7 else 0x20 if mode.columns == 80 else 0x10))
        if mode.kind != TEXT:
            guest.set_vector(0x43, SEGMENT, FONTS[mode.height])
        guest.set_vector(0x1F, SEGMENT, FONT_8_HIGH)

    # cursor and pages

    def _crtc(self, index: int, value: int) -> None:
        self.guest.indexed_out(self.guest.word(bda.CRTC), index, value)

    def _shape(self) -> None:
        """CH, CL: the first and last line. Shapes meant for 8 lines are stretched (cursor emulation)."""
        guest = self.guest
        guest.set_word(bda.CURSOR_SHAPE, guest.cx)
        first, last, height = guest.ch & 0x1F, guest.cl & 0x1F, guest.byte(bda.CHARACTER_HEIGHT)
        if height > 8 and last < 8 and first < 8 and not guest.byte(bda.VIDEO_CONTROL) & 1:
            shift = height - 9 if first >= 6 or last - first < 2 else 0
            first, last = (first + shift, last + shift) if shift else (first * height // 8, last * height // 8)
        self._crtc(0x0A, first | guest.ch & 0x20)
        self._crtc(0x0B, last)

    def _move(self) -> None:
        self._cursor(self.guest.bh, self.guest.dh, self.guest.dl)

    def _cursor(self, page: int, row: int, column: int) -> None:
        guest = self.guest
        guest.set_word(bda.CURSORS + 2 * (page & 7), row << 8 | column)
        if page == guest.byte(bda.PAGE):
            at = guest.word(bda.PAGE_START) // 2 + row * guest.word(bda.COLUMNS) + column
            self._crtc(0x0E, at >> 8)
            self._crtc(0x0F, at & 0xFF)

    def _where(self) -> None:
        guest = self.guest
        guest.dx = guest.word(bda.CURSORS + 2 * (guest.bh & 7))
        guest.cx = guest.word(bda.CURSOR_SHAPE)

    def set_page(self, page: int) -> None:
        guest = self.guest
        if page >= self.mode.pages:
            return
        start = page * guest.word(bda.PAGE_BYTES)
        guest.set_byte(bda.PAGE, page)
        guest.set_word(bda.PAGE_START, start)
        start = start // 2 if self.mode.kind == TEXT else start
        self._crtc(0x0C, start >> 8)
        self._crtc(0x0D, start & 0xFF)
        where = guest.word(bda.CURSORS + 2 * page)
        self._cursor(page, where >> 8, where & 0xFF)

    # characters

    def _scroll(self, up: bool) -> None:
        guest = self.guest
        self.raster.scroll(self.mode, guest.byte(bda.PAGE), guest.al, guest.bh, (guest.ch, guest.cl),
                           (guest.dh, guest.dl), up)

    def _position(self, page: int) -> tuple[int, int]:
        where = self.guest.word(bda.CURSORS + 2 * (page & 7))
        return where >> 8, where & 0xFF

    def _read(self) -> None:
        row, column = self._position(self.guest.bh)
        self.guest.ax = self.raster.read(self.mode, self.guest.bh, row, column)

    def _write(self, attribute: bool) -> None:
        guest = self.guest
        row, column = self._position(guest.bh)
        kept = None if not attribute and self.mode.kind == TEXT else guest.bl
        self.raster.put(self.mode, guest.bh, row, column, guest.al, kept, guest.cx)

    def teletype(self, character: int, colour: int = GREY, page: int | None = None,
                 attribute: int | None = None) -> None:
        """A character at the cursor, which goes on; at the end the screen scrolls."""
        guest = self.guest
        page = guest.byte(bda.PAGE) if page is None else page
        row, column = self._position(page)
        columns, rows = guest.word(bda.COLUMNS) or 80, (guest.byte(bda.ROWS) or 24) + 1
        if character == BACKSPACE:
            column = max(0, column - 1)
        elif character == LINE_FEED:
            row += 1
        elif character == RETURN:
            column = 0
        elif character != BELL:
            shown = attribute if self.mode.kind == TEXT else colour if attribute is None else attribute
            self.raster.put(self.mode, page, row, column, character, shown, 1)
            column += 1
            if column >= columns:
                row, column = row + 1, 0
        if row >= rows:
            row = rows - 1
            fill = self.raster.read(self.mode, page, row, column) >> 8 if self.mode.kind == TEXT else 0
            self.raster.scroll(self.mode, page, 1, fill, (0, 0), (row, columns - 1), True)
        self._cursor(page, row, column)

    def print(self, text: str) -> None:
        """For the firmware's own messages."""
        for character in text.encode("cp437", "replace"):
            self.teletype(character)

    def _string(self) -> None:
        """13h: the string at ES:BP; AL bit 0 moves the cursor, bit 1: attributes are in the string."""
        guest = self.guest
        step, at = 2 if guest.al & 2 else 1, guest.linear(ES, guest.bp)
        before = self._position(guest.bh)
        self._cursor(guest.bh, guest.dh, guest.dl)
        for n in range(guest.cx):
            character = guest.byte(at + n * step)
            attribute = guest.byte(at + n * step + 1) if step == 2 else guest.bl
            self.teletype(character, attribute, guest.bh, attribute)
        if not guest.al & 1:
            self._cursor(guest.bh, *before)

    # pixels, state, fonts

    def _cga_palette(self) -> None:
        self.palette.cga(self.guest.bh, self.guest.bl)

    def _set_pixel(self) -> None:
        guest = self.guest
        self.raster.set_pixel(self.mode, guest.bh, guest.cx, guest.dx, guest.al)

    def _get_pixel(self) -> None:
        guest = self.guest
        guest.al = self.raster.get_pixel(self.mode, guest.bh, guest.cx, guest.dx)

    def _state(self) -> None:
        guest = self.guest
        guest.al = guest.byte(bda.MODE) | guest.byte(bda.VIDEO_CONTROL) & 0x80
        guest.ah, guest.bh = guest.word(bda.COLUMNS), guest.byte(bda.PAGE)

    def load_font(self, height: int, block: int, glyphs: bytes = b"", first: int = 0) -> None:
        """Glyphs go to plane 2, 32 bytes each, while the planes are addressed one by one."""
        guest, glyphs = self.guest, glyphs or font.glyphs(height)
        for port, index, value in ((SEQUENCER, 2, 4), (SEQUENCER, 4, 7), (GRAPHICS, 4, 2), (GRAPHICS, 5, 0),
                                   (GRAPHICS, 6, 4)):
            guest.indexed_out(port, index, value)
        start = 0xA0000 + ((block & 3) << 14 | (block & 4) << 11)
        for n in range(len(glyphs) // height):
            guest.bus.write(start + 32 * (first + n), glyphs[n * height:(n + 1) * height].ljust(32, b"\0"))
        mono = self.mode.number == 7
        for port, index, value in ((SEQUENCER, 2, 3), (SEQUENCER, 4, 2), (GRAPHICS, 4, 0), (GRAPHICS, 5, 0x10),
                                   (GRAPHICS, 6, 0x0A if mono else 0x0E)):
            guest.indexed_out(port, index, value)

    def _font(self) -> None:
        guest, function = self.guest, self.guest.al
        if function == 0x30:
            self._font_address()
        elif function & 0x0F <= 4 and function < 0x20:
            self._load(function)
        elif 0x20 <= function <= 0x24:
            if function == 0x21:
                guest.set_vector(0x43, guest.es, guest.bp)
                height = guest.cx
            elif function == 0x20:
                guest.set_vector(0x1F, guest.es, guest.bp)
                return
            else:
                height = {0x22: 14, 0x23: 8, 0x24: 16}[function]
                guest.set_vector(0x43, SEGMENT, FONTS[height])
            guest.set_word(bda.CHARACTER_HEIGHT, height)
            guest.set_byte(bda.ROWS, {1: 14, 2: 25, 3: 43}.get(guest.bl, guest.dl) - 1)

    def _load(self, function: int) -> None:
        """x0 the user's, x1 8x14, x2 8x8, x4 8x16, x3 block choice; 1x also sets the rows to fit."""
        guest, which = self.guest, function & 0x0F
        if which == 3:
            guest.indexed_out(SEQUENCER, 3, guest.bl)
            return
        height = guest.bh if which == 0 else {1: 14, 2: 8, 4: 16}[which]
        if not 1 <= height <= 32:
            return
        if which == 0:
            glyphs = guest.read(guest.linear(ES, guest.bp), min(guest.cx, 256) * height)
            self.load_font(height, guest.bl, glyphs, guest.dx & 0xFF)
        else:
            self.load_font(height, guest.bl)
        if function & 0x10:
            self._fit(height)

    def _fit(self, height: int) -> None:
        guest, lines = self.guest, 400
        rows = lines // height
        self._crtc(0x09, 0x40 | height - 1)
        self._crtc(0x12, rows * height - 1 & 0xFF)
        guest.set_byte(bda.ROWS, rows - 1)
        guest.set_word(bda.CHARACTER_HEIGHT, height)
        guest.set_word(bda.PAGE_BYTES, (rows * guest.word(bda.COLUMNS) * 2 + 0xFF) & ~0xFF)
        shape = CURSORS.get(height, height - 2 << 8 | height - 1)
        guest.set_word(bda.CURSOR_SHAPE, shape)
        self._crtc(0x0A, shape >> 8)
        self._crtc(0x0B, shape & 0xFF)

    def _font_address(self) -> None:
        guest = self.guest
        if guest.bh in (0, 1):
            vector = guest.dword(4 * (0x1F, 0x43)[guest.bh])
            segment, offset = vector >> 16, vector & 0xFFFF
        else:
            segment, offset = SEGMENT, {2: FONT_14, 3: FONT_8, 4: FONT_8_HIGH, 5: FONT_14, 6: FONT_16, 7: FONT_16}.get(
                guest.bh, FONT_16)
        guest.cx, guest.dl = guest.word(bda.CHARACTER_HEIGHT), guest.byte(bda.ROWS)
        guest.load_es(segment)
        guest.bp = offset

    def _alternate(self) -> None:
        guest, function = self.guest, self.guest.bl
        if function == 0x10:
            guest.bh = int(self.mode.number == 7)
            guest.bl, guest.cx = 3, 0x0009
            return
        if function == 0x31:
            flags = guest.byte(bda.VIDEO_FLAGS) & ~0x08
            guest.set_byte(bda.VIDEO_FLAGS, flags | guest.al << 3 & 0x08)
        elif function == 0x34:
            control = guest.byte(bda.VIDEO_CONTROL) & ~1
            guest.set_byte(bda.VIDEO_CONTROL, control | guest.al & 1)
        elif function == 0x36:
            guest.port_out(SEQUENCER, 1)
            guest.port_out(SEQUENCER + 1, guest.port_in(SEQUENCER + 1) & ~0x20 | (guest.al & 1) << 5)
        elif function not in (0x30, 0x32, 0x33, 0x20):
            return
        guest.al = 0x12

    def _display(self) -> None:
        """1Ah: a VGA with a colour display, and nothing else."""
        if self.guest.al == 0:
            self.guest.bx = 0x0008
        self.guest.al = 0x1A

    def _capabilities(self) -> None:
        """1Bh: functionality and state, 64 bytes at ES:DI, which begin with where the static table is."""
        guest = self.guest
        at = guest.linear(ES, guest.di)
        state = bytearray(64)
        state[0:4] = (SEGMENT << 16 | FUNCTIONALITY).to_bytes(4, "little")
        state[4:4 + 0x1E] = guest.read(bda.MODE, 0x1E)
        state[0x22] = guest.byte(bda.ROWS) + 1
        state[0x23:0x25] = guest.read(bda.CHARACTER_HEIGHT, 2)
        state[0x25] = 8
        state[0x27:0x29] = (256 if self.mode.bits == 8 else 1 << self.mode.bits).to_bytes(2, "little")
        state[0x29], state[0x2A], state[0x31] = self.mode.pages, {200: 0, 350: 1, 400: 2, 480: 3}.get(
            self.mode.rows * self.mode.height, 2), 3
        guest.write(at, bytes(state))
        guest.al = 0x1B
