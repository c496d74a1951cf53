import pytest

from guesthouse.system.chips.flash import BLOCK, Flash

SIZE = 4 * BLOCK


class Cells:
    def __init__(self):
        self.data, self.full = bytearray(b"\xFF" * SIZE), False

    def read(self, at, count):
        return bytes(self.data[at:at + count])

    def write(self, at, data):
        if self.full:
            raise OSError("no room")
        self.data[at:at + len(data)] = data


@pytest.fixture
def cells():
    return Cells()


@pytest.fixture
def shown():
    return []


@pytest.fixture
def flash(cells, shown):
    chip = Flash(SIZE, cells, shown.append)
    chip.settle()
    return chip


def test_the_array_is_memory_until_a_command_comes_and_after_ff(flash, shown):
    flash.write(0, 1, 0x70)
    flash.write(0, 1, 0xFF)
    assert shown == [True, False, True]


def test_edk2_takes_it_for_flash(flash):
    """QemuFlashDetected: after Clear Status, what Read Status shows is neither the array nor what was written."""
    flash.write(0x100, 1, 0x50)
    assert flash.read(0x100) == 0xFF
    flash.write(0x100, 1, 0x70)
    assert flash.read(0x100) == 0x00


def test_programming_clears_bits_only_and_erasing_sets_those_of_a_block(flash, cells):
    for value in (0xF0, 0x3C):
        flash.write(BLOCK + 5, 1, 0x10)
        flash.write(BLOCK + 5, 1, value)
        assert flash.read(0) & 0x80
    assert cells.data[BLOCK + 5] == 0x30
    flash.write(BLOCK + 9, 1, 0x20)
    flash.write(BLOCK + 9, 1, 0xD0)
    assert cells.data == b"\xFF" * SIZE and flash.read(0) == 0x80


def test_an_erase_that_is_not_confirmed_is_refused(flash, cells):
    cells.data[:] = bytes(SIZE)
    flash.write(0, 1, 0x20)
    flash.write(0, 1, 0x00)
    assert cells.data == bytes(SIZE) and flash.read(0) == 0xB0


def test_a_buffer_is_programmed_when_it_is_confirmed(flash, cells):
    for at, value in ((0, 0xE8), (0, 1), (7, 0x11), (8, 0x22), (0, 0xD0)):
        flash.write(at, 1, value)
    assert cells.data[7:9] == b"\x11\x22" and cells.data[6] == 0xFF


def test_identity_and_query_say_what_it_is(flash):
    flash.write(0, 1, 0x90)
    assert (flash.read(0), flash.read(1)) == (0x89, 0x18)
    flash.write(0, 1, 0x98)
    assert bytes(flash.read(n) for n in (0x10, 0x11, 0x12)) == b"QRY" and 1 << flash.read(0x27) == SIZE
    assert (flash.read(0x2D) + 1) * flash.read(0x2F) * 256 + flash.read(0x30) * 65536 == SIZE


def test_who_cannot_keep_the_bytes_makes_an_error_of_the_chip(flash, cells):
    cells.full = True
    flash.write(0, 1, 0x40)
    flash.write(0, 1, 0)
    assert flash.read(0) == 0x90


@pytest.mark.parametrize("at", [SIZE, SIZE + 100, SIZE - 1])
def test_nothing_happens_beyond_its_end(flash, cells, at):
    for first, second in ((0x40, 0), (0x20, 0xD0)):
        flash.write(at, 4, first)
        flash.write(at, 4, second)
        flash.read(at, 8)
    assert len(cells.data) == SIZE
