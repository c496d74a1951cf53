import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.clint import Clint
from guesthouse.system.chips.kit import Line

MSIP, MTIMECMP, MTIME = 0x0000, 0x4000, 0xBFF8


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def clint(clock):
    return Clint(clock, [Line(), Line()], [Line(), Line()], frequency=10_000_000)


def test_a_software_interrupt_is_one_bit_of_one_hart(clint):
    clint.write(MSIP + 4, 4, 0xFFFF_FFFF)
    assert [line.high for line in clint.software] == [False, True] and clint.read(MSIP + 4, 4) == 1
    clint.write(MSIP + 4, 4, 0)
    assert not clint.software[1].high


def test_time_counts_at_its_frequency(clint, clock):
    clock.advance_to(1_000_000_099)
    assert clint.read(MTIME, 8) == clint.ticks() == 10_000_000


def test_the_timer_is_high_from_its_compare_value_on_until_that_is_moved(clint, clock):
    clint.write(MTIMECMP, 8, 1000)
    assert not clint.timer[0].high and clock.next_deadline() == 100_000
    clock.advance_to(100_000)
    clock.fire_due()
    assert clint.timer[0].high and clock.next_deadline() is None
    clint.write(MTIMECMP, 8, 2000)
    assert not clint.timer[0].high


def test_the_compare_value_is_written_in_halves_too(clint):
    clint.write(MTIMECMP + 8, 4, 5)
    clint.write(MTIMECMP + 12, 4, 1)
    assert clint.read(MTIMECMP + 8, 8) == 0x1_0000_0005 and clint.read(MTIMECMP + 12, 4) == 1


def test_a_compare_value_of_never_sets_no_timer(clint, clock):
    clint.write(MTIMECMP, 8, (1 << 64) - 1)
    assert clock.next_deadline() is None


def test_time_may_be_set_and_moves_the_deadline(clint, clock):
    clint.write(MTIMECMP, 8, 1000)
    clint.write(MTIME, 8, 900)
    assert clint.read(MTIME, 8) == 900 and clock.next_deadline() == 10_000
    clint.write(MTIME, 4, 1000)
    assert clint.timer[0].high


def test_a_hart_that_does_not_exist_reads_as_zero(clint):
    clint.write(MSIP + 8, 4, 1)
    clint.write(MTIMECMP + 16, 8, 1)
    assert clint.read(MSIP + 8, 4) == 0 and clint.read(MTIMECMP + 16, 8) == 0


def test_a_restored_clint_waits_for_the_same_moment(clint, clock):
    clint.write(MTIMECMP, 8, 1000)
    clint.write(MSIP, 4, 1)
    other = Clock()
    copy = Clint(other, [Line(), Line()], [Line(), Line()])
    copy.restore(clint.save())
    assert other.next_deadline() == 100_000 and copy.software[0].high
