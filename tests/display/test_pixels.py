"""Pixel formats, differences, scrolling and ZRLE, each against a plain second way of saying it."""

from __future__ import annotations

import random
import zlib

import pytest

from guesthouse.display.pixels import Area, Format, Frame, Zrle, differences, raw, scrolled
from guesthouse.display.screen import Picture

FORMATS = [
    Format(), Format(shifts=(0, 8, 16)), Format(big=True), Format(shifts=(24, 16, 8)), Format(depth=32),
    Format(4, 30, False, True, (1023, 1023, 1023), (20, 10, 0)), Format(2, 16, False, True, (31, 63, 31), (11, 5, 0)),
    Format(2, 15, True, True, (31, 31, 31), (10, 5, 0)), Format(1, 8, False, True, (7, 7, 3), (5, 2, 0)),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_pixels_are_what_the_format_says(form):
    rgb = random.Random(1).randbytes(300)
    data = form.convert(rgb)
    for n in range(100):
        value = int.from_bytes(data[n * form.size : (n + 1) * form.size], "big" if form.big else "little")
        assert value == sum(
            (rgb[3 * n + c] * form.maxima[c] + 127) // 255 << form.shifts[c] for c in range(3)
        )
    assert Format.unpack(form.pack()) == form


def test_formats_that_cannot_be_are_refused():
    good = Format().pack()
    for at, value in ((0, 24), (0, 0), (4, 0), (10, 32), (10, 200)):
        bad = bytearray(good)
        bad[at] = value
        if at == 4:
            bad[5] = 0  # a maximum of zero
        assert Format.unpack(bytes(bad)) is None


def picture(chance: random.Random, width: int, height: int, colours: int) -> Picture:
    palette = [chance.randbytes(3) for _ in range(colours)]
    return Picture(width, height, b"".join(chance.choice(palette) for _ in range(width * height)))


def test_differences_hold_all_that_changed_and_are_small():
    chance = random.Random(2)
    old = Frame.of(picture(chance, 150, 70, 4), Format())
    for _ in range(50):
        new = Frame(old.width, old.height, old.size, bytes(old.data))
        for _ in range(chance.randint(0, 3)):
            new.data[chance.randrange(len(new.data))] ^= 1
        shown = Frame(old.width, old.height, old.size, bytes(old.data))
        areas = differences(shown, new)
        for area in areas:
            shown.put(area, new)
        assert shown.data == new.data and len(areas) <= 3


def test_a_scrolled_screen_is_seen_as_such():
    chance = random.Random(3)
    whole = picture(chance, 40, 200, 9)
    step = 40 * 3
    old = Frame.of(Picture(40, 160, whole.rgb[: 160 * step]), Format())
    new = Frame.of(Picture(40, 160, whole.rgb[16 * step : 176 * step]), Format())
    area, by = scrolled(old, new)
    assert (area, by) == (Area(0, 0, 40, 144), 16)
    old.scroll(area, by)
    assert [a.y for a in differences(old, new)] == [144]
    assert scrolled(new, new) is None


def unpack_zrle(stream, data: bytes, area: Area, form: Format) -> bytes:
    """7.7.6, of the subencodings that are allowed; pixels come back with the bytes of a CPIXEL filled up."""
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    data, at = stream.decompress(data[4:]), 0
    out = [[b""] * area.width for _ in range(area.height)]
    compact = form.compact.stop - form.compact.start

    def pixel() -> bytes:
        nonlocal at
        at += compact
        return data[at - compact : at].rjust(form.compact.stop, b"\0").ljust(form.size, b"\0")

    for ty in range(0, area.height, 64):
        for tx in range(0, area.width, 64):
            width, height = min(64, area.width - tx), min(64, area.height - ty)
            kind, at = data[at], at + 1
            palette = [pixel() for _ in range(kind)] if kind <= 16 else None
            assert kind <= 16
            bits = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2}.get(kind, 4)
            for y in range(height):
                row = int.from_bytes(data[at : at + -(-width * bits // 8)], "big") if bits else 0
                total = -(-width * bits // 8) * 8
                at += total // 8
                for x in range(width):
                    index = row >> total - (x + 1) * bits & (1 << bits) - 1
                    out[ty + y][tx + x] = pixel() if kind == 0 else palette[index]
    assert at == len(data)
    return b"".join(b"".join(row) for row in out)


@pytest.mark.parametrize("form", FORMATS[:5] + FORMATS[6:])
@pytest.mark.parametrize("colours", [1, 2, 3, 4, 5, 16, 17, 200])
def test_zrle_brings_the_pixels_over(form, colours):
    chance, encoder, stream = random.Random(colours), Zrle(), zlib.decompressobj()
    for _ in range(2):
        frame = Frame.of(picture(chance, 150, 70, colours), form)
        for area in (frame.area, Area(7, 3, 65, 66), Area(149, 69, 1, 1)):
            assert unpack_zrle(stream, encoder.encode(frame, area, form), area, form) == raw(frame, area)
