"""What is on a screen at one moment, as a value: text in cells, or a picture.

Whoever makes one (a video chip, a test) gives bytes that have the right length: anything else is refused
here, so that all who draw can rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST = 16384  # pixels, or cells, in each direction
VGA_PALETTE = tuple(
    (r, g, b)
    for r, g, b in (
        (0x00, 0x00, 0x00), (0x00, 0x00, 0xAA), (0x00, 0xAA, 0x00), (0x00, 0xAA, 0xAA),
        (0xAA, 0x00, 0x00), (0xAA, 0x00, 0xAA), (0xAA, 0x55, 0x00), (0xAA, 0xAA, 0xAA),
        (0x55, 0x55, 0x55), (0x55, 0x55, 0xFF), (0x55, 0xFF, 0x55), (0x55, 0xFF, 0xFF),
        (0xFF, 0x55, 0x55), (0xFF, 0x55, 0xFF), (0xFF, 0xFF, 0x55), (0xFF, 0xFF, 0xFF),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Font:
    """256 glyphs of `height` bytes each, the leftmost pixel in bit 7.

    With `width` 9 the ninth column is blank, but repeats the eighth for C0h to DFh (the line-drawing characters).
    `second` holds the glyphs of characters whose attribute has bit 3, where that bit selects a font.
    """

    width: int
    height: int
    glyphs: bytes
    second: bytes | None = None

    def __post_init__(self) -> None:
        if self.width not in (8, 9) or not 1 <= self.height <= 32:
            raise ValueError(f"no font has cells of {self.width} by {self.height}")
        for glyphs in (self.glyphs, self.second or self.glyphs):
            if len(glyphs) != 256 * self.height:
                raise ValueError(f"{len(glyphs)} bytes of glyphs, not {256 * self.height}")


@dataclass(frozen=True)
class Cursor:
    """A block in a cell, from the scan line `first` to `last`."""

    column: int
    row: int
    first: int = 14
    last: int = 15


@dataclass(frozen=True)
class Text:
    """`cells` are pairs of character and attribute, row by row; `blink`: attribute bit 7 blinks, else it brightens."""

    columns: int
    rows: int
    cells: bytes
    cursor: Cursor | None = None
    blink: bool = True
    palette: tuple[tuple[int, int, int], ...] = VGA_PALETTE
    font: Font | None = None

    def __post_init__(self) -> None:
        check_size(self.columns, self.rows)
        if len(self.cells) != 2 * self.columns * self.rows or len(self.palette) != 16:
            raise ValueError(f"{len(self.cells)} bytes of cells for {self.columns} by {self.rows}")

    def row(self, number: int) -> bytes:
        """The cells of one row."""
        return self.cells[number * self.columns * 2 : (number + 1) * self.columns * 2]


@dataclass(frozen=True)
class Picture:
    """`rgb` has three bytes for each pixel, row by row."""

    width: int
    height: int
    rgb: bytes

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        if len(self.rgb) != 3 * self.width * self.height:
            raise ValueError(f"{len(self.rgb)} bytes for {self.width} by {self.height} pixels")


Screen = Text | Picture


def check_size(width: int, height: int) -> None:
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise ValueError(f"no screen has {width} by {height}")
