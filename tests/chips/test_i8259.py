import pytest

from guesthouse.system.chips.i8259 import PicPair
from guesthouse.system.chips.kit import Line


def initialise(pair, icw4=0x01):
    for chip, base, wiring in ((pair.master, 0x30, 4), (pair.slave, 0x38, 2)):
        chip.write(0, 1, 0x11)
        for word in (base, wiring, icw4):
            chip.write(1, 1, word)


@pytest.fixture
def pair():
    pair = PicPair(Line())
    initialise(pair)
    return pair


def eoi(chip, command=0x20):
    chip.write(0, 1, command)


def rise(pair, n):
    pair.set_input(n, False)
    pair.set_input(n, True)


def test_an_edge_is_served_once(pair):
    pair.set_input(4, True)
    assert pair.pending() and pair.acknowledge() == 0x34
    eoi(pair.master)
    assert not pair.pending()
    pair.set_input(4, False)
    pair.set_input(4, True)
    assert pair.pending()


def test_the_slave_speaks_through_input_2(pair):
    rise(pair, 8)
    assert pair.acknowledge() == 0x38
    assert pair.master.read(0, 1) == 0
    pair.master.write(0, 1, 0x0B)
    assert pair.master.read(0, 1) == 0x04


def test_a_masked_input_waits(pair):
    pair.master.write(1, 1, 0x10)
    rise(pair, 4)
    assert not pair.pending() and pair.master.read(1, 1) == 0x10
    pair.master.write(1, 1, 0)
    assert pair.pending()


def test_what_is_in_service_holds_back_lower_ones_and_lets_higher_pass(pair):
    rise(pair, 4)
    pair.acknowledge()
    rise(pair, 5)
    assert not pair.pending()
    rise(pair, 3)
    assert pair.acknowledge() == 0x33
    eoi(pair.master)
    eoi(pair.master)
    assert pair.acknowledge() == 0x35


def test_a_specific_end_ends_that_one(pair):
    rise(pair, 4)
    pair.acknowledge()
    rise(pair, 3)
    pair.acknowledge()
    eoi(pair.master, 0x64)
    pair.master.write(0, 1, 0x0B)
    assert pair.master.read(0, 1) == 0x08


def test_rotation_gives_the_served_one_the_lowest_priority(pair):
    rise(pair, 3)
    pair.acknowledge()
    eoi(pair.master, 0xA0)
    rise(pair, 3)
    rise(pair, 5)
    assert pair.acknowledge() == 0x35


def test_set_priority_needs_no_end(pair):
    eoi(pair.master, 0xC4)
    rise(pair, 0)
    rise(pair, 5)
    assert pair.acknowledge() == 0x35


def test_automatic_end_leaves_nothing_in_service(pair):
    initialise(pair, icw4=0x03)
    rise(pair, 1)
    rise(pair, 9)
    rise(pair, 10)
    assert [pair.acknowledge() for _ in range(3)] == [0x31, 0x39, 0x3A]
    assert not pair.pending() and pair.master.service == pair.slave.service == 0


def test_a_level_requests_for_as_long_as_it_is_high(pair):
    pair.elcr.write(1, 1, 0x08)
    pair.set_input(11, True)
    assert pair.acknowledge() == 0x3B
    eoi(pair.slave)
    eoi(pair.master)
    assert pair.pending()
    pair.set_input(11, False)
    assert pair.slave.request == 0


def test_a_level_that_went_away_is_the_spurious_interrupt(pair):
    pair.elcr.write(0, 1, 0x20)
    pair.set_input(5, True)
    pair.set_input(5, False)
    assert not pair.pending() and pair.acknowledge() == 0x37
    assert pair.master.service == 0


@pytest.mark.parametrize("n", [4, 12])
def test_an_edge_that_is_taken_back_before_it_is_served_was_none(pair, n):
    pair.master.write(1, 1, 0xFF)
    pair.set_input(n, True)
    pair.set_input(n, False)
    pair.master.write(1, 1, 0)
    assert not pair.pending() and pair.acknowledge() == 0x37
    assert pair.master.service == pair.slave.service == 0
    pair.set_input(n, True)
    assert pair.pending()


def test_a_slave_whose_request_went_away_within_the_acknowledge_answers_15(pair):
    pair.set_input(11, True)
    assert pair.master.take() == 2
    pair.set_input(11, False)
    assert pair.slave.take() == 7 and pair.slave.service == 0 and pair.master.service == 4


def test_the_timer_cannot_be_made_a_level(pair):
    pair.elcr.write(0, 1, 0xFF)
    pair.elcr.write(1, 1, 0xFF)
    assert (pair.elcr.read(0, 1), pair.elcr.read(1, 1)) == (0xF8, 0xDE)


def test_the_special_mask_lets_lower_ones_pass_a_masked_one_in_service(pair):
    rise(pair, 2 + 1)
    pair.acknowledge()
    pair.master.write(1, 1, 0x08)
    rise(pair, 6)
    assert not pair.pending()
    pair.master.write(0, 1, 0x68)
    assert pair.pending() and pair.acknowledge() == 0x36


def test_special_fully_nested_mode_lets_the_slave_interrupt_itself(pair):
    initialise(pair, icw4=0x11)
    rise(pair, 12)
    assert pair.acknowledge() == 0x3C
    rise(pair, 8)
    assert pair.pending() and pair.acknowledge() == 0x38


def test_polling_is_an_acknowledge(pair):
    rise(pair, 6)
    pair.master.write(0, 1, 0x0C)
    assert pair.master.read(0, 1) == 0x86
    pair.master.write(0, 1, 0x0C)
    assert pair.master.read(0, 1) == 0 and not pair.pending()
    pair.master.write(0, 1, 0x0B)
    assert pair.master.read(0, 1) == 0x40


def test_linux_probe_finds_a_mask_register_that_holds(pair):
    pair.slave.write(1, 1, 0xFF)
    pair.master.write(1, 1, 0xFB)
    assert pair.master.read(1, 1) == 0xFB


def test_reset_keeps_the_levels_that_others_drive(pair):
    pair.set_input(4, True)
    pair.reset()
    assert not pair.pending() and pair.master.levels == 0x10


def test_a_restored_pair_has_the_same_request(pair):
    rise(pair, 8)
    copy = PicPair(Line())
    copy.restore(pair.save())
    assert copy.output.high and copy.save() == pair.save() and copy.acknowledge() == 0x38
