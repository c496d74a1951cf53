"""Screens as values, drawn, read and saved."""

from __future__ import annotations

import re
import struct
import zlib

import pytest

from guesthouse.display.cp437 import UNICODE
from guesthouse.display.png import encode
from guesthouse.display.render import draw
from guesthouse.display.screen import Cursor, Font, Picture, Text
from guesthouse.display.watch import shows, text_of


def pixel(picture: Picture, x: int, y: int) -> tuple[int, ...]:
    at = (y * picture.width + x) * 3
    return tuple(picture.rgb[at : at + 3])


def test_code_page_437_has_256_pictures_and_keeps_ascii():
    assert len(UNICODE) == 256 and UNICODE[0x41] == "A" and UNICODE[0xC4] == "─" and UNICODE[1] == "☺"


def test_the_text_is_what_a_person_reads(text):
    screen = text("C:\\>dir", "", "  \u2554\u2550")
    assert text_of(screen) == "C:\\>dir\n\n  ╔═"
    assert shows(screen, "C:\\>") and shows(screen, re.compile("d.r$", re.M)) and not shows(screen, "A:\\>")
    assert text_of(Picture(1, 1, bytes(3))) == ""


def test_glyphs_are_drawn_in_the_attributes_colours(text, font):
    picture = draw(text("A", attribute=0x1E), font)
    assert (picture.width, picture.height) == (160, 16)
    assert [pixel(picture, x, 0) == (255, 255, 85) for x in range(8)] == [
        bool(0x41 >> 7 - x & 1) for x in range(8)
    ]
    assert pixel(picture, 0, 0) == (0, 0, 170)


def test_the_ninth_column_continues_only_line_drawing(text):
    full = Font(9, 16, b"\xff" * 4096)
    picture = draw(text("A\u2500"), full)
    assert pixel(picture, 7, 0) != pixel(picture, 8, 0) and pixel(picture, 16, 0) == pixel(picture, 17, 0)


def test_bit_3_selects_the_second_font_where_there_is_one(text):
    both = Font(8, 8, bytes(2048), b"\xff" * 2048)
    assert pixel(draw(text("A", attribute=7), both), 0, 0) == (0, 0, 0)
    assert pixel(draw(text("A", attribute=15), both), 0, 0) == (255, 255, 255)


def test_blinking_and_the_cursor_come_and_go(text, font):
    screen = text("A", attribute=0x87, cursor=Cursor(1, 0, 14, 15), font=font)
    seen, gone = draw(screen), draw(screen, None, False, False)
    assert pixel(seen, 8, 15) == (170, 170, 170) and pixel(gone, 8, 13) == (0, 0, 0)
    assert pixel(seen, 1, 0) == (170, 170, 170) and pixel(gone, 1, 0) == (0, 0, 0)


def test_without_blinking_bit_7_is_a_bright_background(text, font):
    assert pixel(draw(text("A", attribute=0x90, blink=False), font), 0, 0) == (85, 85, 255)


@pytest.mark.parametrize("cursor", [Cursor(99, 0), Cursor(0, 99), Cursor(-1, 0), Cursor(0, 0, 15, 3)])
def test_a_cursor_off_the_screen_is_not_drawn(text, font, cursor):
    assert draw(text("A", cursor=cursor), font) == draw(text("A"), font)


def test_bytes_of_the_wrong_length_are_no_screen():
    for wrong in (
        lambda: Text(80, 25, bytes(9)),
        lambda: Picture(2, 2, bytes(9)),
        lambda: Picture(0, 1, b""),
        lambda: Font(8, 16, bytes(9)),
        lambda: Font(7, 16, bytes(4096)),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_a_png_holds_the_pixels():
    rgb = bytes(range(3 * 5 * 4))
    data = encode(Picture(5, 4, rgb))
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == (5, 4)
    at, rows = 8, b""
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert int.from_bytes(data[at + 8 + length : at + 12 + length], "big") == zlib.crc32(name + body)
        rows += body if name == b"IDAT" else b""
        at += 12 + length
    rows = zlib.decompress(rows)
    assert b"".join(rows[n + 1 : n + 16] for n in range(0, len(rows), 16)) == rgb
