"""Pictures in a VNC client's own pixel format, and its encodings: Raw, CopyRect (what scrolled) and ZRLE.

After RFC 6143 (The Remote Framebuffer Protocol), 7.4 and 7.7. Everything is done on whole rows or planes of
bytes, for single pixels are slow in Python.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from guesthouse.display.screen import Picture

HOST = sys.byteorder
BAND, TILE = 16, 64
FURTHEST = 64  # rows that a screen may have scrolled between two updates


class Area(NamedTuple):
    x: int
    y: int
    width: int
    height: int

    def within(self, other: Area) -> Area:
        """The part that lies in the other one; it may be empty."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        return Area(x, y, max(right - x, 0), max(bottom - y, 0))


@dataclass(frozen=True)
class Format:
    """A PIXEL_FORMAT; `maxima` and `shifts` are of red, green and blue."""

    size: int = 4  # bytes
    depth: int = 24
    big: bool = False
    true_colour: bool = True
    maxima: tuple[int, int, int] = (255, 255, 255)
    shifts: tuple[int, int, int] = (16, 8, 0)

    @classmethod
    def unpack(cls, raw: bytes) -> Format | None:
        """The format in these 16 bytes, or None if there can be none like it."""
        bits, depth, big, true, *rest = struct.unpack(">BBBBHHHBBB3x", raw)
        if bits not in (8, 16, 32) or not true and bits != 8:
            return None
        if not true:
            return cls(1, 8, False, False, (7, 7, 3), (5, 2, 0))  # the map we send makes these true
        maxima, shifts = (rest[0], rest[1], rest[2]), (rest[3], rest[4], rest[5])
        if any(m == 0 or s >= bits or m << s >= 1 << bits for m, s in zip(maxima, shifts)):
            return None
        return cls(bits // 8, min(depth, bits), bool(big), True, maxima, shifts)

    def pack(self) -> bytes:
        return struct.pack(
            ">BBBBHHHBBB3x", self.size * 8, self.depth, self.big, self.true_colour, *self.maxima, *self.shifts
        )

    def convert(self, rgb: bytes) -> bytes:
        """Pixels of three bytes in this format."""
        out = bytearray(len(rgb) // 3 * self.size)
        for place in range(self.size):
            significance = self.size - 1 - place if self.big else place
            plane = 0
            for channel, (most, shift) in enumerate(zip(self.maxima, self.shifts)):
                table = bytes(
                    (value * most + 127) // 255 << shift >> 8 * significance & 0xFF for value in range(256)
                )
                if any(table):
                    plane |= int.from_bytes(rgb[channel::3].translate(table), "little")
            out[place :: self.size] = plane.to_bytes(len(rgb) // 3, "little")
        return bytes(out)

    @property
    def compact(self) -> slice:
        """Which bytes of a pixel a CPIXEL has (7.7.5): three of four, where the colours fit them."""
        used = 0
        for most, shift in zip(self.maxima, self.shifts):
            used |= most << shift
        if self.size != 4 or not self.true_colour or self.depth > 24:
            return slice(0, self.size)
        if used < 1 << 24:
            return slice(1, 4) if self.big else slice(0, 3)
        if not used & 0xFF:
            return slice(0, 3) if self.big else slice(1, 4)
        return slice(0, 4)


COLOUR_MAP = struct.pack(">BxHH", 1, 0, 256) + b"".join(
    struct.pack(">HHH", (n >> 5) * 65535 // 7, (n >> 2 & 7) * 65535 // 7, (n & 3) * 65535 // 3)
    for n in range(256)
)


class Frame:
    """A picture in a client's format: `size` bytes a pixel."""

    def __init__(self, width: int, height: int, size: int, data: bytes) -> None:
        self.width, self.height, self.size, self.data = width, height, size, bytearray(data)
        self.step = width * size

    @classmethod
    def of(cls, picture: Picture, form: Format) -> Frame:
        return cls(picture.width, picture.height, form.size, form.convert(picture.rgb))

    @property
    def area(self) -> Area:
        return Area(0, 0, self.width, self.height)

    def rows(self, area: Area) -> Iterator[bytearray]:
        """The pixels of an area, row by row."""
        for y in range(area.y, area.y + area.height):
            start = y * self.step + area.x * self.size
            yield self.data[start : start + area.width * self.size]

    def put(self, area: Area, other: Frame) -> None:
        """Takes an area from a frame of the same size."""
        for y in range(area.y, area.y + area.height):
            start = y * self.step + area.x * self.size
            end = start + area.width * self.size
            self.data[start:end] = other.data[start:end]

    def scroll(self, area: Area, by: int) -> None:
        """Moves what lies `by` rows below the area (of whole rows) into it."""
        start, end = area.y * self.step, (area.y + area.height) * self.step
        self.data[start:end] = self.data[start + by * self.step : end + by * self.step]


def differences(old: Frame, new: Frame) -> list[Area]:
    """Areas that together hold all that differs: bands of rows, cut where whole tiles are equal."""
    found = []
    if old.data == new.data:
        return []
    for y in range(0, new.height, BAND):
        height = min(BAND, new.height - y)
        span = slice(y * new.step, (y + height) * new.step)
        if old.data[span] == new.data[span]:
            continue
        start = -1
        for x in range(0, new.width + TILE, TILE):
            area = Area(x, y, min(TILE, max(new.width - x, 0)), height)
            differs = area.width > 0 and any(a != b for a, b in zip(old.rows(area), new.rows(area)))
            if differs and start < 0:
                start = x
            elif not differs and start >= 0:
                found.append(Area(start, y, min(x, new.width) - start, height))
                start = -1
    return found


def scrolled(old: Frame, new: Frame) -> tuple[Area, int] | None:
    """Rows of the new frame that were further down in the old one, and how far, if that saves much."""
    before, after = list(old.rows(old.area)), list(new.rows(new.area))
    changed = [n for n, (a, b) in enumerate(zip(before, after)) if a != b]
    if len(changed) < 2 * BAND:
        return None
    top, bottom = changed[0], changed[-1] + 1
    best = (0, 0)
    for by in range(1, min(FURTHEST, (bottom - top) // 2) + 1):
        length = 0
        while top + length + by < bottom and after[top + length] == before[top + length + by]:
            length += 1
        best = max(best, (length, -by))
    length, by = best[0], -best[1]
    return (Area(0, top, new.width, length), by) if 2 * length > bottom - top else None


def raw(frame: Frame, area: Area) -> bytes:
    """7.7.1."""
    return b"".join(frame.rows(area))


class Zrle:
    """7.7.6; one compressed stream for as long as the client stays."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(2)

    def encode(self, frame: Frame, area: Area, form: Format) -> bytes:
        parts = []
        for y in range(area.y, area.y + area.height, TILE):
            for x in range(area.x, area.x + area.width, TILE):
                tile = Area(x, y, TILE, TILE).within(area)
                parts.append(zrle_tile(list(frame.rows(tile)), frame.size, form.compact))
        data = self._stream.compress(b"".join(parts)) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return len(data).to_bytes(4, "big") + data


def zrle_tile(rows: list[bytearray], size: int, compact: slice) -> bytes:
    """A tile of one colour, of a palette of up to sixteen, or as it is."""
    data = bytes().join(rows)
    if data == data[:size] * (len(data) // size):
        return b"\x01" + data[:size][compact]
    view = memoryview(data)
    pixels = view if size == 1 else view.cast("H") if size == 2 else view.cast("I")
    colours = sorted(set(pixels))
    if len(colours) <= 16:
        return packed(pixels, len(rows), colours, size, compact)
    out = bytearray(len(pixels) * (compact.stop - compact.start))
    for n, place in enumerate(range(compact.start, compact.stop)):
        out[n :: compact.stop - compact.start] = data[place::size]
    return b"\x00" + out


def packed(pixels: memoryview[int], height: int, colours: list[int], size: int, compact: slice) -> bytes:
    """Indexes of 1, 2 or 4 bits into a palette; each row begins with a new byte."""
    palette = {colour: index for index, colour in enumerate(colours)}
    bits = 1 if len(colours) == 2 else 2 if len(colours) <= 4 else 4
    out = [bytes((len(colours),)), *(c.to_bytes(size, HOST)[compact] for c in colours)]
    width = len(pixels) // height
    used = -(-width * bits // 8)
    digits = {colour: format(index, f"0{bits}b") for colour, index in palette.items()}
    for start in range(0, len(pixels), width):
        row = "".join(map(digits.__getitem__, pixels[start : start + width].tolist()))
        out.append(int(row.ljust(used * 8, "0"), 2).to_bytes(used, "big"))
    return b"".join(out)
