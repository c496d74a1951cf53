import pytest

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.goldfish_rtc import GoldfishRtc
from guesthouse.system.chips.kit import Line

LOW, HIGH, ALARM_LOW, ALARM_HIGH, ENABLE, CLEAR_ALARM, STATUS, CLEAR = range(0, 0x20, 4)
EPOCH = 1_700_000_000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rtc(clock):
    return GoldfishRtc(clock, Line(), epoch=EPOCH)


def time(rtc):
    return rtc.read(LOW, 4) | rtc.read(HIGH, 4) << 32


def arm(rtc, at):
    rtc.write(ALARM_HIGH, 4, at >> 32)
    rtc.write(ALARM_LOW, 4, at & 0xFFFF_FFFF)


def test_time_is_the_epoch_and_the_clock(rtc, clock):
    clock.advance_to(5 * SECOND + 1)
    assert time(rtc) == (EPOCH + 5) * SECOND + 1


def test_the_time_can_be_set(rtc, clock):
    rtc.write(HIGH, 4, 2)
    rtc.write(LOW, 4, 7)
    clock.advance_to(10)
    assert time(rtc) == (2 << 32) + 17


def test_the_alarm_goes_off_at_its_time_until_it_is_cleared(rtc, clock):
    rtc.write(ENABLE, 4, 1)
    arm(rtc, (EPOCH + 1) * SECOND)
    assert rtc.read(STATUS, 4) == 1 and clock.next_deadline() == SECOND
    clock.advance_to(SECOND)
    clock.fire_due()
    assert rtc.irq.high and rtc.read(STATUS, 4) == 0
    rtc.write(CLEAR, 4, 1)
    assert not rtc.irq.high


def test_an_alarm_in_the_past_goes_off_at_once_if_enabled(rtc):
    arm(rtc, 1)
    assert not rtc.irq.high
    rtc.write(ENABLE, 4, 1)
    assert rtc.irq.high


def test_a_cleared_alarm_does_not_go_off(rtc, clock):
    arm(rtc, (EPOCH + 1) * SECOND)
    rtc.write(CLEAR_ALARM, 4, 1)
    assert clock.next_deadline() is None


def test_a_restored_clock_keeps_its_alarm(rtc):
    arm(rtc, (EPOCH + 1) * SECOND)
    other = Clock()
    GoldfishRtc(other, Line(), epoch=EPOCH).restore(rtc.save())
    assert other.next_deadline() == SECOND
