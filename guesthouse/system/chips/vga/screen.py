"""What a VGA shows, as a plain value: text with its attributes and its font, or a picture; after the IBM VGA
technical reference (PS/2 Hardware Interface, "Video Subsystem").

A picture has one row per row in memory: lines that the card shows twice are there once. Not modelled: changes
of registers while the beam is on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from guesthouse.system.chips.vga.dispi import BPP, DAC8, ENABLE, XRES, YRES, Dispi
from guesthouse.system.chips.vga.memory import PLANE
from guesthouse.system.chips.vga.planes import Planes

SPREAD = tuple(bytes(byte >> 7 - bit & 1 for bit in range(8)) for byte in range(256))
PAIRS = tuple(bytes(byte >> 6 - 2 * n & 3 for n in range(4)) for byte in range(256))
SHOWN, SCREEN_OFF = 0x20, 0x20  # attribute index, clocking mode
GRAPHICS, LINE_GRAPHICS, BLINK, COLOURS256, BANKED = 0x01, 0x04, 0x08, 0x40, 0x80  # attribute mode
FIVE = bytes(n * 255 // 31 for n in range(32))
SIX = bytes(n * 255 // 63 for n in range(64))
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Cursor:
    """A character's place, and the scan lines of it that the cursor covers, `first` to `last`."""

    column: int
    row: int
    first: int
    last: int


@dataclass(frozen=True)
class Text:
    """Rows of cells of two bytes, code (page 437 unless the guest has its own font) and attribute.

    `fonts` are two of 256 glyphs of 32 bytes, for attribute bit 3 clear and set (mostly the same one);
    `height` is a glyph's, in scan lines.
    """

    columns: int
    rows: int
    cells: bytes
    cursor: Cursor | None
    fonts: tuple[bytes, bytes]
    height: int
    width: int  # of a glyph, 8 or 9
    palette: tuple[Rgb, ...]  # of the sixteen attributes
    blink: bool  # attribute bit 7 blinks, and is not a bright background

    @property
    def font(self) -> bytes:
        return self.fonts[0]

    def lines(self) -> list[str]:
        """The text alone, with blanks for what code page 437 does not print."""
        codes = self.cells[0::2].translate(bytes(range(256)).replace(b"\0", b" "))
        text = codes.decode("cp437").translate({n: " " for n in (*range(32), 127)})
        return [text[n:n + self.columns] for n in range(0, self.columns * self.rows, max(1, self.columns))]

    def draw(self) -> Picture:
        """As the card's character generator does it; the cursor is on."""
        made: dict[tuple[int, int], bytes] = {}
        out = [self._scan(row, line, made) for row in range(self.rows) for line in range(self.height)]
        return Picture(self.columns * self.width, self.rows * self.height, b"".join(out))

    def _scan(self, row: int, line: int, made: dict[tuple[int, int], bytes]) -> bytes:
        cells = self.cells[2 * row * self.columns:2 * (row + 1) * self.columns]
        cursor = self.cursor
        covered = -1
        if cursor is not None and cursor.row == row and cursor.first <= line <= cursor.last:
            covered = cursor.column
        out = []
        for column in range(self.columns):
            code, attribute = cells[2 * column], cells[2 * column + 1]
            bits = self.fonts[attribute >> 3 & 1][32 * code + line]
            bits = bits << 1 | (bits & 1 if 0xC0 <= code < 0xE0 else 0)
            key = (0x1FF if column == covered else bits, attribute)
            if key not in made:
                made[key] = self._dots(*key)
            out.append(made[key])
        return b"".join(out)

    def _dots(self, bits: int, attribute: int) -> bytes:
        back = attribute >> 4 & (7 if self.blink else 15)
        ink, paper = bytes(self.palette[attribute & 15]), bytes(self.palette[back])
        return b"".join(ink if bits >> 8 - n & 1 else paper for n in range(self.width))


@dataclass(frozen=True)
class Picture:
    """Rows from the top, three bytes per pixel: red, green, blue."""

    width: int
    height: int
    rgb: bytes


Screen = Text | Picture


class Card(Protocol):
    """What of a card is looked at."""

    planes: Planes
    dispi: Dispi
    frame: bytearray | memoryview

    @property
    def crtc(self) -> list[int]: ...
    @property
    def attributes(self) -> list[int]: ...
    @property
    def attribute_index(self) -> int: ...
    @property
    def pel_mask(self) -> int: ...
    @property
    def palette(self) -> memoryview: ...
    def lines(self) -> int: ...


def see(card: Card) -> Screen:
    if card.dispi.enabled:
        return linear(card)
    if not card.attribute_index & SHOWN or card.planes.sequencer[1] & SCREEN_OFF:
        width, height = (card.crtc[1] + 1) * 8, card.lines()
        return Picture(width, height, bytes(3 * width * height))
    return planar(card) if card.planes.graphics[6] & 1 else text(card)


def colours(card: Card, indices: bytes) -> tuple[bytes, bytes, bytes]:
    """Red, green and blue of each of 256 values, `indices` being the DAC entries that they choose."""
    wide = card.dispi.registers[ENABLE] & DAC8
    level = bytes(range(256)) if wide else SIX * 4
    chosen = [3 * (n & card.pel_mask) for n in indices]
    red, green, blue = (bytes(level[card.palette[n + part]] for n in chosen) for part in range(3))
    return red, green, blue


def attribute_entries(card: Card) -> bytes:
    """The DAC entry of each of the sixteen attribute values."""
    entries = bytearray()
    select = card.attributes[0x14]
    for n in range(16):
        entry = card.attributes[n & card.attributes[0x12]] & 0x3F
        if card.attributes[0x10] & BANKED:
            entry = entry & 0x0F | (select & 3) << 4
        entries.append(entry | (select & 0x0C) << 4)
    return bytes(entries)


def to_rgb(pixels: bytes, red: bytes, green: bytes, blue: bytes) -> bytes:
    out = bytearray(3 * len(pixels))
    out[0::3], out[1::3], out[2::3] = pixels.translate(red), pixels.translate(green), pixels.translate(blue)
    return bytes(out)


def linear(card: Card) -> Picture:
    """A VBE mode: the framebuffer from the display's start."""
    dispi, registers = card.dispi, card.dispi.registers
    width, height, depth = registers[XRES], registers[YRES], registers[BPP]
    row = width * dispi.pixel_bytes
    pieces = [card.frame[at:at + row] for at in range(dispi.start, dispi.start + height * dispi.pitch, dispi.pitch)]
    raw = b"".join(pieces)
    if depth == 8:
        return Picture(width, height, to_rgb(raw, *colours(card, bytes(range(256)))))
    out = bytearray(3 * width * height)
    if depth > 16:
        step = dispi.pixel_bytes
        out[0::3], out[1::3], out[2::3] = raw[2::step], raw[1::step], raw[0::step]
    else:
        out[0::3], out[1::3], out[2::3] = high_colour(raw[0::2], raw[1::2], depth)
    return Picture(width, height, bytes(out))


def high_colour(low: bytes, high: bytes, depth: int) -> tuple[bytes, bytes, bytes]:
    """Red, green and blue of pixels of 15 or 16 bits, by tables over their two bytes."""
    red = high.translate(bytes(FIVE[(n >> 3 if depth == 16 else n >> 2) & 31] for n in range(256)))
    blue = low.translate(bytes(FIVE[n & 31] for n in range(256)))
    bits = 3 if depth == 16 else 2
    upper = high.translate(bytes((n & (1 << bits) - 1) << 3 for n in range(256)))
    lower = low.translate(bytes(n >> 5 for n in range(256)))
    green = (int.from_bytes(upper, "big") | int.from_bytes(lower, "big")).to_bytes(len(low), "big")
    scale = SIX if depth == 16 else FIVE
    return red, green.translate(bytes(scale[n % len(scale)] for n in range(256))), blue


def step(card: Card) -> int:
    """How far apart in a plane two neighbouring addresses are: byte, word and doubleword mode."""
    if card.crtc[0x14] & 0x40:
        return 4
    return 1 if card.crtc[0x17] & 0x40 else 2


def run(plane: memoryview, start: int, count: int, apart: int) -> bytes:
    """`count` bytes of a plane; it goes round."""
    start %= PLANE
    end = start + count * apart
    whole = plane if end <= PLANE else bytes(plane) * 2
    return bytes(whole[start:end:apart])


def text(card: Card) -> Text:
    crtc, planes = card.crtc, card.planes.planes
    columns, height = crtc[1] + 1, (crtc[9] & 31) + 1
    rows = max(1, card.lines() // height)
    pitch, apart = crtc[0x13] * 2, step(card)
    start = crtc[0x0C] << 8 | crtc[0x0D]
    cells = bytearray()
    for row in range(rows):
        line = bytearray(2 * columns)
        at = (start + row * pitch) * apart
        line[0::2], line[1::2] = run(planes[0], at, columns, apart), run(planes[1], at, columns, apart)
        cells += line
    palette = tuple(zip(*(part[:16] for part in colours(card, attribute_entries(card).ljust(256, b"\0")))))
    return Text(columns, rows, bytes(cells), cursor(card, start, columns, rows, pitch), fonts(card), height,
                8 if card.planes.sequencer[1] & 1 else 9, palette, bool(card.attributes[0x10] & BLINK))


def cursor(card: Card, start: int, columns: int, rows: int, pitch: int) -> Cursor | None:
    crtc = card.crtc
    first, last = crtc[0x0A] & 31, crtc[0x0B] & 31
    at = (crtc[0x0E] << 8 | crtc[0x0F]) - start & 0xFFFF
    row, column = divmod(at, pitch or columns)
    if crtc[0x0A] & 0x20 or first > last or row >= rows or column >= columns:
        return None
    return Cursor(column, row, first, last)


def fonts(card: Card) -> tuple[bytes, bytes]:
    """Character map select: of the eight places in plane 2, the two that are in use."""
    select = card.planes.sequencer[3]
    second = select >> 2 & 3 | select >> 3 & 4
    first = select & 3 | select >> 2 & 4
    plane = card.planes.planes[2]
    one, other = (bytes(plane[at:at + 0x2000]) for at in (place(first), place(second)))
    return one, other


def place(n: int) -> int:
    """Maps 0 to 3 are 16 KiB apart, 4 to 7 lie between them."""
    return (n & 3) * 0x4000 + (n >> 2) * 0x2000


def planar(card: Card) -> Picture:
    crtc = card.crtc
    doubled, scans = bool(crtc[9] & 0x80), (crtc[9] & 31) + 1
    by_scan = crtc[0x17] & 3 != 3  # CGA and Hercules: the scan line chooses the bank
    lines = card.lines() // (2 if doubled else 1)
    rows = max(1, lines if by_scan else lines // scans)
    compare = crtc[0x18] | (crtc[7] & 0x10) << 4 | (crtc[9] & 0x40) << 3
    compare //= (2 if doubled else 1) * (1 if by_scan else scans)
    characters, deep = crtc[1] + 1, card.planes.graphics[5] & 0x40
    width = characters * (4 if deep else 8)
    pan = card.attributes[0x13] & 7
    pan = pan >> 1 if deep else pan
    start, pitch = crtc[0x0C] << 8 | crtc[0x0D], crtc[0x13] * 2
    out = []
    for y in range(rows):
        row, scan = divmod(y, scans) if by_scan else (y, 0)
        if y > compare:  # split screen: from here on it is address 0
            row, base = (y - compare - 1) // (scans if by_scan else 1), 0
        else:
            base = start
        out.append(scan_line(card, base + row * pitch, scan, characters + 1)[pan:pan + width])
    entries = bytes(range(256)) if deep else attribute_entries(card) * 16
    return Picture(width, rows, to_rgb(b"".join(out), *colours(card, entries)))


def scan_line(card: Card, address: int, scan: int, characters: int) -> bytes:
    """The pixels of one line, as attribute values or, with 256 colours, as DAC entries."""
    apart, mode = step(card), card.planes.graphics[5]
    at = address * apart
    if not card.crtc[0x17] & 1:
        at = at & ~0x2000 | (scan & 1) << 13
    if not card.crtc[0x17] & 2:
        at = at & ~0x4000 | (scan & 2) << 13
    one, two, three, four = (run(plane, at, characters, apart) for plane in card.planes.planes)
    if mode & 0x40:
        out = bytearray(4 * characters)
        out[0::4], out[1::4], out[2::4], out[3::4] = one, two, three, four
        return bytes(out)
    if mode & 0x20:
        return b"".join(PAIRS[a] + PAIRS[b] for a, b in zip(one, two))
    spread = [int.from_bytes(b"".join([SPREAD[byte] for byte in plane]), "big") for plane in (one, two, three, four)]
    return (spread[0] | spread[1] << 1 | spread[2] << 2 | spread[3] << 3).to_bytes(8 * characters, "big")
