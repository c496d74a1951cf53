import pytest

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.acpi_pm import AcpiPm, ResetPort
from guesthouse.system.chips.kit import Line

STATUS, ENABLE, CONTROL, TIMER = 0, 2, 4, 8


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def off():
    return []


@pytest.fixture
def pm(clock, off):
    return AcpiPm(clock, Line(), power_off=lambda: off.append(True))


def test_the_timer_counts_at_its_frequency_in_24_bits(pm, clock):
    clock.advance_to(SECOND)
    assert pm.read(TIMER, 4) == 3_579_545
    clock.advance_to(10 * SECOND)
    assert pm.read(TIMER, 4) == 35_795_450 & 0xFF_FFFF


def test_only_soft_off_with_sleep_enable_turns_off(pm, off):
    pm.write(CONTROL, 2, 5 << 10)
    pm.write(CONTROL, 2, 1 << 13 | 3 << 10)
    assert off == []
    pm.write(CONTROL, 2, 1 << 13)
    assert off == [True] and pm.read(CONTROL, 2) == 1


def test_acpi_mode_is_always_on(pm):
    pm.write(CONTROL, 2, 0)
    assert pm.read(CONTROL, 2) == 1


def test_the_power_button_interrupts_until_its_status_is_cleared(pm):
    pm.press_power_button()
    assert not pm.sci.high
    pm.write(ENABLE, 2, 0x100)
    assert pm.sci.high and pm.read(STATUS, 2) == 0x100 and pm.read(STATUS, 4) == 0x100_0100
    pm.write(STATUS, 2, 0x100)
    assert not pm.sci.high and pm.read(STATUS, 2) == 0


def test_the_top_bit_of_the_timer_interrupts_when_it_changes(pm, clock):
    pm.write(ENABLE, 2, 1)
    at = clock.next_deadline()
    clock.advance_to(at - 1)
    assert pm.read(TIMER, 4) == 0x7F_FFFF and pm.read(STATUS, 2) == 0
    clock.advance_to(at)
    clock.fire_due()
    assert pm.sci.high and pm.read(STATUS, 2) == 1
    pm.write(STATUS, 2, 1)
    assert not pm.sci.high and clock.next_deadline() > at


def test_a_restored_block_interrupts_again(pm):
    pm.press_power_button()
    pm.write(ENABLE, 2, 0x100)
    copy = AcpiPm(Clock(), Line(), power_off=print)
    copy.restore(pm.save())
    assert copy.sci.high


@pytest.mark.parametrize("writes, resets", [
    ([6], 1), ([2, 6], 1), ([2], 0), ([6, 6], 1), ([6, 2, 6], 2), ([4], 1)])
def test_the_reset_port_resets_on_a_rising_bit_2(writes, resets):
    heard = []
    port = ResetPort(lambda: heard.append(1))
    for value in writes:
        port.write(0, 1, value)
    assert len(heard) == resets and port.read(0, 1) == writes[-1]
