"""DP8390D data sheet, and Novell's card around it."""

import pytest

from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.ne2000 import Ne2000

ADDRESS, DATA, RESET = bytes.fromhex("525400123456"), 0x10, 0x1F
PAGE_0, PAGE_1, STOP, START = 0x20, 0x60, 0x01, 0x02


@pytest.fixture
def wire():
    return []


@pytest.fixture
def card(wire):
    made = Ne2000(Line(), ADDRESS, wire.append)
    for at, value in ((0, PAGE_0 | STOP), (14, 0x48), (12, 0x04), (1, 0x46), (2, 0x80), (3, 0x46), (15, 0x3F),
                      (7, 0xFF), (0, PAGE_1 | STOP), *enumerate(ADDRESS, 1), (7, 0x47), (0, PAGE_0 | START)):
        made.write(at, 1, value)
    return made


def remote(card, at, count, command):
    for register, value in ((8, at & 0xFF), (9, at >> 8), (10, count & 0xFF), (11, count >> 8), (0, command)):
        card.write(register, 1, value)


def test_the_prom_has_each_byte_of_the_address_twice_and_the_mark_of_16_bits(card):
    remote(card, 0, 32, 0x0A)
    found = bytes(card.read(DATA) for _ in range(32))
    assert found[:12:2] == found[1:12:2] == ADDRESS and found[28:] == b"WWWW" and card.read(7) & 0x40


def test_a_stopped_card_says_so_and_takes_nothing(card):
    card.write(0, 1, PAGE_0 | STOP)
    assert card.read(7) & 0x80 and not card.receive(ADDRESS + bytes(60))


def test_a_frame_goes_into_the_ring_behind_a_header_that_tells_the_next_page(card):
    assert card.receive(ADDRESS + bytes(300)) and card.irq.high
    remote(card, 0x4700, 10, 0x0A)
    head = bytes(card.read(DATA) for _ in range(4))
    assert head == bytes((0x01, 0x49)) + (310).to_bytes(2, "little")
    assert bytes(card.read(DATA) for _ in range(6)) == ADDRESS
    card.write(0, 1, PAGE_1 | START)
    assert card.read(7) == 0x49


def test_a_short_frame_is_filled_to_sixty_bytes(card):
    card.receive(ADDRESS + bytes(10))
    remote(card, 0x4702, 2, 0x0A)
    assert card.read(DATA) | card.read(DATA) << 8 == 64


def test_a_full_ring_is_told_and_overwrites_nothing(card):
    while card.receive(ADDRESS + bytes(1400)):
        pass
    assert card.read(7) & 0x10
    card.write(0, 1, PAGE_1 | START)
    assert card.read(7) != 0x46


@pytest.mark.parametrize("to, configuration, taken", [
    (b"\xFF" * 6, 0x04, True), (b"\xFF" * 6, 0x00, False), (b"\x02" * 6, 0x00, False), (b"\x02" * 6, 0x10, True),
    (bytes.fromhex("01005E000001"), 0x08, False),
])
def test_who_is_heard_is_as_the_receive_configuration_says(card, to, configuration, taken):
    card.write(12, 1, configuration)
    assert card.receive(to + bytes(60)) is taken


def test_a_frame_is_sent_as_it_was_written(card, wire):
    frame = bytes(range(100))
    remote(card, 0x4000, 100, 0x12)
    for byte in frame:
        card.write(DATA, 1, byte)
    for register, value in ((4, 0x40), (5, 100), (6, 0), (0, 0x26)):
        card.write(register, 1, value)
    assert wire == [frame] and card.read(7) & 0x02 and card.read(0) & 0x04 == 0


def test_reading_the_reset_port_stops_the_card(card):
    card.read(RESET)
    assert card.read(0) == 0x21 and card.read(7) & 0x80
