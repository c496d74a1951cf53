import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.pci.vga import VgaFunction
from guesthouse.system.chips.vga import Picture, Text, Vga
from guesthouse.system.chips.vga.screen import Cursor

TEXT = 0x18000  # B8000h
CRTC_TEXT = bytes.fromhex("5f4f50825581bf1f004f0d0e00000000 9c8e8f28 1f96b9a3ff")
CRTC_13 = bytes.fromhex("5f4f50825480bf1f0041000000000000 9c8e8f28 4096b9a3ff")
CRTC_12 = bytes.fromhex("5f4f508254800b3e0040000000000000 ea8cdf28 00e704e3ff")


def program(vga, misc, sequencer, crtc, graphics, attributes):
    """As a BIOS sets a mode."""
    vga.write(0x12, 1, misc)
    for n, value in enumerate(sequencer):
        vga.write(0x14, 2, n | value << 8)
    vga.write(0x24, 2, 0x0011)
    for n, value in enumerate(crtc):
        vga.write(0x24, 2, n | value << 8)
    for n, value in enumerate(graphics):
        vga.write(0x1E, 2, n | value << 8)
    vga.read(0x2A, 1)
    for n, value in enumerate(attributes):
        vga.write(0x10, 1, n)
        vga.write(0x10, 1, value)
    vga.write(0x10, 1, 0x20)
    for n in range(256):
        dac(vga, n, n & 63, 63 - (n & 63), n >> 2)


def dac(vga, n, *rgb):
    vga.write(0x18, 1, n)
    for value in rgb:
        vga.write(0x19, 1, value)


@pytest.fixture
def vga():
    return Vga(Clock(), frame=bytearray(1 << 20))


@pytest.fixture
def text(vga):
    program(vga, 0x67, (3, 0, 3, 0, 2), CRTC_TEXT, (0, 0, 0, 0, 0, 0x10, 0x0E, 0, 0xFF),
            (*range(16), 0x0C, 0, 0x0F, 8, 0))
    return vga


def mode_13h(vga):
    program(vga, 0x63, (3, 1, 15, 0, 0x0E), CRTC_13, (0, 0, 0, 0, 0, 0x40, 5, 15, 0xFF),
            (*range(16), 0x41, 0, 0x0F, 0, 0))


def mode_12h(vga):
    program(vga, 0xE3, (3, 1, 15, 0, 6), CRTC_12, (0, 0, 0, 0, 0, 0, 5, 15, 0xFF), (*range(16), 1, 0, 15, 0, 0))


def graphics(vga, **registers):
    names = ("set_reset", "enable", "compare", "rotate", "read_map", "mode", "misc", "care", "mask")
    for name, value in registers.items():
        vga.write(0x1E, 2, names.index(name) | value << 8)


def test_a_text_screen_is_its_characters_attributes_and_cursor(text):
    for n, letter in enumerate(b"Hello"):
        text.window_write(TEXT + 160 + 2 * n, 2, letter | 0x1F00)
    text.write(0x24, 2, 0x0E)
    text.write(0x24, 2, 0x0F | 85 << 8)
    screen = text.screen()
    assert isinstance(screen, Text) and (screen.columns, screen.rows, screen.height, screen.width) == (80, 25, 16, 9)
    assert screen.lines()[1].rstrip() == "Hello" and screen.cells[161] == 0x1F
    assert screen.cursor == Cursor(5, 1, 13, 14) and screen.blink
    assert text.window_read(TEXT + 160, 4) == 0x1F651F48


def test_the_start_address_scrolls_a_text_screen(text):
    text.window_write(TEXT + 160, 2, 0x0741)
    text.write(0x24, 2, 0x0D | 80 << 8)
    assert text.screen().lines()[0][0] == "A"


def test_a_font_goes_into_plane_2_and_is_drawn(text):
    text.write(0x14, 2, 0x0402)
    text.write(0x14, 2, 0x0604)
    graphics(text, read_map=2, mode=0, misc=0)
    text.window_write(0x41 * 32, 1, 0x81)
    graphics(text, mode=0x10, misc=0x0E)
    text.write(0x14, 2, 0x0302)
    text.write(0x14, 2, 0x0204)
    text.window_write(TEXT, 2, 0x0741)
    screen = text.screen()
    assert screen.font[0x41 * 32] == 0x81
    picture, ink = screen.draw(), bytes(screen.palette[7])
    assert (picture.width, picture.height) == (720, 400) and len(picture.rgb) == 3 * 720 * 400
    assert picture.rgb[:3] == ink and picture.rgb[21:24] == ink and picture.rgb[3:6] != ink


def test_mode_13h_shows_bytes_as_dac_entries(vga):
    mode_13h(vga)
    vga.window_write(320 * 7 + 5, 1, 0xC1)
    dac(vga, 0xC1, 63, 0, 32)
    screen = vga.screen()
    assert (screen.width, screen.height) == (320, 200)
    assert screen.rgb[3 * (320 * 7 + 5):][:3] == bytes((255, 0, 32 * 255 // 63))
    assert vga.window_read(320 * 7 + 4, 2) == 0xC100


def test_an_unchained_mode_x_shows_the_same_memory_by_planes(vga):
    mode_13h(vga)
    vga.write(0x14, 2, 0x0604)
    vga.write(0x24, 2, 0x0014)
    vga.write(0x24, 2, 0xE317)
    vga.write(0x14, 2, 0x0402)
    vga.window_write(80, 1, 1)
    dac(vga, 1, 63, 63, 63)
    assert vga.screen().rgb[3 * (320 + 2):][:3] == b"\xFF\xFF\xFF"


def test_sixteen_colours_come_from_four_planes(vga):
    mode_12h(vga)
    vga.write(0x14, 2, 0x0502)
    vga.window_write(0, 1, 0x80)
    dac(vga, 5, 1, 2, 3)
    screen = vga.screen()
    assert (screen.width, screen.height) == (640, 480) and screen.rgb[:3] == bytes((4, 8, 12))


def test_write_mode_0_rotates_sets_and_combines_under_the_mask(vga):
    mode_12h(vga)
    vga.window_write(0, 1, 0xF0)
    assert vga.window_read(0, 1) == 0xF0
    graphics(vga, rotate=0x1C, mask=0x3F, set_reset=1, enable=1)  # XOR, rotate by 4
    vga.window_write(0, 1, 0x0F)
    found = []
    for plane in range(4):
        graphics(vga, read_map=plane)
        found.append(vga.window_read(0, 1))
    assert found == [0xF0 & 0xC0 | (0xFF ^ 0xF0) & 0x3F] + [0xF0 & 0xC0 | 0] * 3


def test_write_mode_1_copies_latches(vga):
    mode_12h(vga)
    vga.window_write(0, 1, 0x5A)
    vga.window_read(0, 1)
    graphics(vga, mode=1)
    vga.window_write(9, 1, 0)
    graphics(vga, mode=0, read_map=3)
    assert vga.window_read(9, 1) == 0x5A


def test_write_modes_2_and_3_paint_a_colour_and_read_mode_1_finds_it(vga):
    mode_12h(vga)
    graphics(vga, mode=2, mask=0x0F)
    vga.window_read(0, 1)
    vga.window_write(0, 1, 0x6)
    graphics(vga, mode=3, mask=0xFF, set_reset=9)
    vga.window_read(0, 1)
    vga.window_write(0, 1, 0xC0)
    found = []
    for colour in (6, 9, 0):
        graphics(vga, mode=8, compare=colour, care=15)
        found.append(vga.window_read(0, 1))
    assert found == [0x0F, 0xC0, 0x30]


def test_a_locked_crtc_keeps_its_timing_but_takes_the_line_compare_bit(text):
    text.write(0x24, 2, 0x8E11)
    text.write(0x24, 2, 0x0000)
    text.write(0x24, 2, 0x0007)
    text.write(0x24, 1, 0)
    assert text.read(0x25, 1) == 0x5F
    text.write(0x24, 1, 7)
    assert text.read(0x25, 1) == 0x0F


def test_the_retrace_comes_seventy_times_a_second(text):
    found = []
    for _ in range(100_000):
        text.clock.advance_to(text.clock.now() + 10_000)
        found.append(text.read(0x2A, 1) >> 3 & 1)
    assert sum(a < b for a, b in zip(found, found[1:])) == 70


def test_a_screen_that_is_off_is_black(text):
    text.read(0x2A, 1)
    text.write(0x10, 1, 0)
    assert isinstance(text.screen(), Picture) and not any(text.screen().rgb)


@pytest.mark.parametrize("depth, pixel, rgb", ((8, b"\x05", (20, 234, 4)), (15, b"\x1F\x7C", (255, 0, 255)),
                                               (16, b"\xE0\x07", (0, 255, 0)), (24, b"\1\2\3", (3, 2, 1)),
                                               (32, b"\1\2\3\0", (3, 2, 1))))
def test_a_vbe_mode_shows_the_framebuffer(text, depth, pixel, rgb):
    function = VgaFunction(text)
    for index, value in ((1, 320), (2, 200), (3, depth), (4, 0x41)):
        text.dispi.write(0, 2, index)
        text.dispi.write(1, 2, value)
    at = 320 * ((depth + 7) // 8)
    for n, byte in enumerate(pixel):
        function.bar_write(0, at + n, 1, byte)
    screen = text.screen()
    assert (screen.width, screen.height) == (320, 200) and tuple(screen.rgb[960:963]) == rgb
    assert text.window_read(at, 1) == pixel[0] and function.bar_read(2, 0x502, 2) == 320


def test_a_vbe_mode_that_does_not_fit_is_refused(vga):
    for index, value in ((1, 2560), (2, 1600), (3, 32), (4, 0x41)):
        vga.dispi.put(index, value)
    assert not vga.dispi.enabled
