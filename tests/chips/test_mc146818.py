import calendar

import pytest

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.mc146818 import Rtc

A, B, C, D = 0x0A, 0x0B, 0x0C, 0x0D
EPOCH = calendar.timegm((2026, 2, 27, 23, 59, 50))  # a Friday


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rtc(clock):
    return Rtc(clock, Line(), epoch=EPOCH)


def get(rtc, index):
    rtc.write(0, 1, index)
    return rtc.read(1, 1)


def put(rtc, index, value):
    rtc.write(0, 1, index)
    rtc.write(1, 1, value)


def time(rtc):
    return [get(rtc, index) for index in (0x32, 9, 8, 7, 4, 2, 0)]


def run_to(clock, at):
    while (deadline := clock.next_deadline()) is not None and deadline <= at:
        clock.advance_to(deadline)
        clock.fire_due()
    clock.advance_to(at)


def test_the_time_is_decimal_in_24_hours_and_passes(rtc, clock):
    assert time(rtc) == [0x20, 0x26, 2, 0x27, 0x23, 0x59, 0x50] and get(rtc, 6) == 6
    clock.advance_to(10 * SECOND)
    assert time(rtc) == [0x20, 0x26, 2, 0x28, 0, 0, 0] and get(rtc, 6) == 7


def test_the_time_is_binary_when_asked_for(rtc):
    put(rtc, B, 0x06)
    assert time(rtc) == [20, 26, 2, 27, 23, 59, 50]


@pytest.mark.parametrize("hour, shown", [
    (0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)])
def test_twelve_hours_have_a_bit_for_the_afternoon(clock, hour, shown):
    rtc = Rtc(clock, Line(), epoch=hour * 3600)
    put(rtc, B, 0)
    assert get(rtc, 4) == shown
    put(rtc, 4, shown)
    put(rtc, B, 2)
    assert get(rtc, 4) == hour // 10 << 4 | hour % 10


def test_setting_the_time_stops_it_until_all_is_written(rtc, clock):
    put(rtc, B, 0x82)
    for index, value in ((0, 0x30), (2, 0x15), (4, 0x06), (7, 0x31), (8, 0x12), (9, 0x99), (0x32, 0x19)):
        put(rtc, index, value)
    clock.advance_to(5 * SECOND)
    assert time(rtc) == [0x19, 0x99, 0x12, 0x31, 0x06, 0x15, 0x30]
    put(rtc, B, 0x02)
    clock.advance_to(7 * SECOND)
    assert time(rtc)[-1] == 0x32


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("value", [0, 0x99, 0xFF])
def test_an_impossible_date_is_made_possible(rtc, index, value):
    put(rtc, index, value)
    assert all(0 <= part <= 0x99 for part in time(rtc))


def test_an_update_is_announced(rtc, clock):
    assert not get(rtc, A) & 0x80
    clock.advance_to(SECOND - 244_000)
    assert get(rtc, A) & 0x80
    clock.advance_to(SECOND)
    assert not get(rtc, A) & 0x80


def test_the_update_interrupt_comes_each_second_and_reading_c_ends_it(rtc, clock):
    put(rtc, B, 0x12)
    run_to(clock, SECOND)
    assert rtc.irq.high and get(rtc, C) & 0xB0 == 0x90
    assert not rtc.irq.high and clock.next_deadline() == 2 * SECOND


def test_the_periodic_interrupt_comes_at_the_selected_rate(rtc, clock):
    put(rtc, A, 0x2F)  # 2 Hz
    get(rtc, C)
    put(rtc, B, 0x42)
    run_to(clock, SECOND // 2)
    assert rtc.irq.high and get(rtc, C) & 0xC0 == 0xC0 and clock.next_deadline() == SECOND


def test_without_an_enable_the_flags_are_set_and_nothing_interrupts(rtc, clock):
    clock.advance_to(2 * SECOND)
    assert get(rtc, C) == 0x50 and not rtc.irq.high and get(rtc, C) == 0


def test_the_alarm_matches_hours_minutes_and_seconds(rtc, clock):
    for index, value in ((5, 0x00), (3, 0x00), (1, 0x05)):
        put(rtc, index, value)
    put(rtc, B, 0x22)
    run_to(clock, 14 * SECOND)
    assert not rtc.irq.high
    run_to(clock, 15 * SECOND)
    assert rtc.irq.high and get(rtc, C) & 0xA0 == 0xA0
    assert clock.next_deadline() == (15 + 86400) * SECOND


def test_a_wildcard_matches_each(rtc, clock):
    for index, value in ((5, 0xFF), (3, 0xC0), (1, 0x30)):
        put(rtc, index, value)
    put(rtc, B, 0x22)
    assert clock.next_deadline() == 40 * SECOND


def test_an_alarm_that_can_never_be_sets_no_timer(rtc, clock):
    put(rtc, 5, 0x25)
    put(rtc, B, 0x22)
    assert clock.next_deadline() is None


def test_memory_cells_hold_and_the_battery_is_good(rtc):
    rtc.cmos(0x15, 0x80)
    put(rtc, 0x7F, 0x5A)
    assert get(rtc, 0x15) == 0x80 and get(rtc, 0x7F) == 0x5A and get(rtc, D) == 0x80


def test_reset_keeps_time_and_memory_and_drops_the_interrupt(rtc, clock):
    put(rtc, 0x40, 7)
    put(rtc, B, 0x12)
    run_to(clock, SECOND)
    rtc.reset()
    assert not rtc.irq.high and get(rtc, 0x40) == 7 and get(rtc, 0) == 0x51 and get(rtc, B) == 0x02


def test_a_restored_clock_interrupts_at_the_same_moment(rtc, clock):
    put(rtc, B, 0x12)
    other = Clock()
    Rtc(other, Line(), epoch=EPOCH).restore(rtc.save())
    assert other.next_deadline() == SECOND
