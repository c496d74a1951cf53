import pytest

from guesthouse.system.chips.i8237 import DmaPair
from tests.chips.virtio_driver import Memory, Refused


@pytest.fixture
def pair():
    return DmaPair(Memory(0x30000), refused=Refused)


def program(pair, channel, mode, address, count, page):
    chip, stride = (pair.first, 1) if channel < 4 else (pair.second, 2)
    n = channel & 3
    for port, value in ((12, 0), (11, mode | n), (2 * n, address & 0xFF), (2 * n, address >> 8),
                        (2 * n + 1, count - 1 & 0xFF), (2 * n + 1, count - 1 >> 8), (10, n)):
        chip.write(port * stride, 1, value)
    pair.pages.write({1: 3, 2: 1, 5: 11}[channel], 1, page)


def test_a_device_fills_memory_until_the_count_is_over_and_the_channel_closes(pair):
    program(pair, 2, 0x44, 0x1000, 4, 1)
    assert pair.write_for(2, b"abcdefgh") == 4 and pair.terminal_count(2)
    assert pair.memory.read(0x11000, 5) == b"abcd\0" and pair.write_for(2, b"x") == 0
    assert pair.first.read(8, 1) == 4 and pair.first.read(8, 1) == 0


def test_an_address_goes_round_within_its_page(pair):
    pair.memory.write(0x1FFFF, b"A")
    pair.memory.write(0x10000, b"B")
    program(pair, 1, 0x48, 0xFFFF, 2, 1)
    assert pair.read_for(1, 2) == b"AB"


def test_auto_initialisation_begins_anew(pair):
    program(pair, 1, 0x54, 0x100, 2, 0)
    assert pair.write_for(1, b"ab") == 2 and pair.write_for(1, b"cd") == 2
    assert pair.memory.read(0x100, 2) == b"cd"


def test_upper_channels_move_words_in_pages_of_128_kib(pair):
    program(pair, 5, 0x44, 0x100, 2, 3)
    assert pair.write_for(5, b"abcdef") == 4 and pair.memory.read(0x20200, 4) == b"abcd"


def test_what_is_not_memory_reads_as_ones(pair):
    program(pair, 2, 0x48, 0, 2, 0x80)
    assert pair.read_for(2, 2) == b"\xFF\xFF"


def test_counters_read_back_low_byte_first(pair):
    program(pair, 2, 0x44, 0x1234, 0x10, 0)
    pair.first.write(12, 1, 0)
    assert [pair.first.read(4, 1), pair.first.read(4, 1), pair.first.read(5, 1)] == [0x34, 0x12, 0x0F]
