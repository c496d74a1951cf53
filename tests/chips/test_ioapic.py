import pytest

from guesthouse.system.chips.ioapic import IoApic


@pytest.fixture
def sent():
    return []


@pytest.fixture
def ioapic(sent):
    return IoApic(lambda *message: sent.append(message))


def put(ioapic, register, value):
    ioapic.write(0x00, 4, register)
    ioapic.write(0x10, 4, value)


def get(ioapic, register):
    ioapic.write(0x00, 4, register)
    return ioapic.read(0x10, 4)


def entry(ioapic, pin, low, high=0):
    put(ioapic, 0x11 + 2 * pin, high)
    put(ioapic, 0x10 + 2 * pin, low)


def test_linux_finds_24_inputs_all_masked(ioapic):
    assert get(ioapic, 1) == 0x0017_0020
    assert all(get(ioapic, 0x10 + 2 * pin) == 0x10000 for pin in range(24))


def test_an_edge_is_one_message_to_its_destination(ioapic, sent):
    entry(ioapic, 4, 0x0931, 0x0300_0000)
    ioapic.set_input(4, True)
    ioapic.set_input(4, True)
    ioapic.set_input(4, False)
    assert sent == [(0x31, 1, 3, True, False)]


def test_an_edge_on_a_masked_input_is_lost(ioapic, sent):
    ioapic.set_input(4, True)
    entry(ioapic, 4, 0x31)
    assert sent == []


def test_a_level_is_told_again_after_its_end_for_as_long_as_it_is_high(ioapic, sent):
    entry(ioapic, 11, 0x8041)
    ioapic.set_input(11, True)
    assert sent == [(0x41, 0, 0, False, True)] and get(ioapic, 0x10 + 22) == 0xC041
    ioapic.end_of_interrupt(0x40)
    assert len(sent) == 1
    ioapic.end_of_interrupt(0x41)
    assert len(sent) == 2
    ioapic.set_input(11, False)
    ioapic.write(0x40, 4, 0x41)
    assert len(sent) == 2 and get(ioapic, 0x10 + 22) == 0x8041


def test_unmasking_a_level_that_is_high_tells_it(ioapic, sent):
    ioapic.set_input(11, True)
    entry(ioapic, 11, 0x18041)
    assert sent == []
    entry(ioapic, 11, 0x8041)
    assert len(sent) == 1


def test_switching_to_edge_and_back_ends_a_level_by_hand(ioapic, sent):
    entry(ioapic, 11, 0x8041)
    ioapic.set_input(11, True)
    entry(ioapic, 11, 0x10041)
    entry(ioapic, 11, 0x18041)
    assert get(ioapic, 0x10 + 22) == 0x18041


def test_read_only_bits_stay(ioapic):
    entry(ioapic, 0, 0xFFFF_FFFF, 0xFFFF_FFFF)
    assert (get(ioapic, 0x10), get(ioapic, 0x11)) == (0x1_AFFF, 0xFF00_0000)
    put(ioapic, 0, 0xFFFF_FFFF)
    assert get(ioapic, 0) == 0x0F00_0000 and get(ioapic, 2) == 0x0F00_0000
    assert get(ioapic, 0x90) == 0
