"""Text drawn as a picture, with the font the screen brings, as a VGA draws it (IBM VGA technical
reference).
"""

from __future__ import annotations

from guesthouse.display.screen import Font, Picture, Screen, Text

LINE_DRAWING = range(0xC0, 0xE0)
BLANK = Font(8, 16, bytes(256 * 16))


def picture_of(screen: Screen, font: Font | None = None, phase: bool = True) -> Picture:
    """The screen as pixels; `phase` is whether what blinks is seen at this moment."""
    return draw(screen, font, phase, phase) if isinstance(screen, Text) else screen


def draw(
    text: Text, font: Font | None = None, cursor_shown: bool = True, blink_shown: bool = True
) -> Picture:
    """The picture of a text screen."""
    used = text.font or font or BLANK
    cells: dict[tuple[int, int], list[bytes]] = {}  # each kind of cell is drawn once
    lines: list[bytes] = []
    for number in range(text.rows):
        row = text.row(number)
        drawn = []
        for kind in zip(row[::2], row[1::2]):
            pixels = cells.get(kind)
            if pixels is None:
                pixels = cells[kind] = cell(text, used, *kind, blink_shown)
            drawn.append(pixels)
        cursor = text.cursor
        if cursor and cursor_shown and cursor.row == number and 0 <= cursor.column < text.columns:
            drawn[cursor.column] = with_cursor(text, used, drawn[cursor.column], row[2 * cursor.column + 1])
        lines += [b"".join(line) for line in zip(*drawn)]
    return Picture(text.columns * used.width, text.rows * used.height, b"".join(lines))


def cell(text: Text, font: Font, character: int, attribute: int, blink_shown: bool) -> list[bytes]:
    """The scan lines of one cell."""
    fore, back = colours(text, font, attribute)
    if text.blink and attribute & 0x80 and not blink_shown:
        fore = back
    glyphs = font.second if font.second and attribute & 8 else font.glyphs
    doubled = font.width == 9 and character in LINE_DRAWING
    lines = []
    for bits in glyphs[character * font.height : (character + 1) * font.height]:
        wide = bits << 1 | (bits & 1 if doubled else 0) if font.width == 9 else bits
        lines.append(b"".join(fore if wide >> n & 1 else back for n in range(font.width - 1, -1, -1)))
    return lines


def colours(text: Text, font: Font, attribute: int) -> tuple[bytes, bytes]:
    """Foreground and background of an attribute."""
    back = attribute >> 4 & (7 if text.blink else 15)
    return bytes(text.palette[attribute & 15]), bytes(text.palette[back])


def with_cursor(text: Text, font: Font, lines: list[bytes], attribute: int) -> list[bytes]:
    """The cell with the cursor's scan lines filled in the foreground's colour."""
    bar = colours(text, font, attribute)[0] * font.width
    first, last = (text.cursor.first, text.cursor.last) if text.cursor else (1, 0)
    return [bar if first <= n <= last else line for n, line in enumerate(lines)]
