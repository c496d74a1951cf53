import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.i8254 import HZ, Pit, time_of
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.port61 import Port61


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def edges():
    return []


@pytest.fixture
def pit(clock, edges):
    return Pit(clock, Line(lambda high: edges.append(clock.now()) if high else None))


def program(pit, channel, mode, count, access=3, bcd=0):
    pit.write(3, 1, channel << 6 | access << 4 | mode << 1 | bcd)
    for byte in {1: [count], 2: [count >> 8], 3: [count & 0xFF, count >> 8]}[access]:
        pit.write(channel, 1, byte)


def value(pit, channel):
    pit.write(3, 1, channel << 6)
    return pit.read(channel, 1) | pit.read(channel, 1) << 8


def run_to(clock, at):
    while (deadline := clock.next_deadline()) is not None and deadline <= at:
        clock.advance_to(deadline)
        clock.fire_due()
    clock.advance_to(at)


def test_a_rate_generator_gives_an_edge_each_period_without_drift(pit, clock, edges):
    program(pit, 0, 2, 11932)
    edges.clear()
    run_to(clock, 1_000_000_000)
    assert len(edges) == HZ // 11932 and edges[-1] == time_of(11932 * len(edges))


def test_a_square_wave_is_high_for_half_of_its_period(pit, clock, edges):
    program(pit, 0, 3, 1000)
    clock.advance_to(time_of(499))
    assert pit.output(0)
    clock.advance_to(time_of(500))
    assert not pit.output(0)
    clock.advance_to(time_of(1000))
    assert pit.output(0)


def test_terminal_count_raises_the_output_once_and_counts_on(pit, clock, edges):
    program(pit, 0, 0, 100)
    assert not pit.output(0)
    run_to(clock, time_of(101))
    assert edges == [0, time_of(100)][-len(edges):] and pit.output(0) and value(pit, 0) == 0xFFFF


@pytest.mark.parametrize("mode, left", [(0, 70), (2, 70), (3, 40), (4, 70)])
def test_a_latched_count_stands_still_while_the_counter_runs(pit, clock, mode, left):
    program(pit, 0, mode, 100)
    clock.advance_to(time_of(30))
    pit.write(3, 1, 0)
    clock.advance_to(time_of(60))
    assert pit.read(0, 1) | pit.read(0, 1) << 8 == left


def test_read_back_latches_status_and_count_of_several_channels(pit, clock):
    program(pit, 0, 2, 1000)
    program(pit, 2, 3, 500)
    pit.write(3, 1, 0xCA)
    assert pit.read(0, 1) == 0xB4 and pit.read(0, 1) == 1000 & 0xFF and pit.read(0, 1) == 1000 >> 8
    assert pit.read(2, 1) == 0xB6


def test_a_count_not_yet_written_shows_in_the_status(pit):
    pit.write(3, 1, 0x34)
    pit.write(3, 1, 0xE2)
    assert pit.read(0, 1) == 0xF4


def test_zero_is_65536_and_in_decimal_10000(pit, clock):
    program(pit, 0, 2, 0)
    assert pit.counters[0].count == 65536
    program(pit, 0, 2, 0, bcd=1)
    clock.advance_to(time_of(1))
    assert value(pit, 0) == 0x9999


def test_a_new_count_of_a_rate_generator_waits_for_the_end_of_the_period(pit, clock, edges):
    program(pit, 0, 2, 1000)
    edges.clear()
    run_to(clock, time_of(300))
    pit.write(0, 1, 100)
    pit.write(0, 1, 0)
    run_to(clock, time_of(1000) + time_of(250))
    assert edges == [time_of(1000), time_of(1000) + time_of(100), time_of(1000) + time_of(200)]


@pytest.mark.parametrize("access, written, count", [(1, 0x34, 0x34), (2, 0x1200, 0x1200)])
def test_one_byte_is_enough_when_the_access_says_so(pit, access, written, count):
    program(pit, 1, 2, written, access)
    assert pit.counters[1].count == count


def test_the_gate_pauses_terminal_count(pit, clock):
    program(pit, 2, 0, 1000)
    clock.advance_to(time_of(100))
    pit.set_gate(2, False)
    clock.advance_to(time_of(5000))
    assert value(pit, 2) == 900
    pit.set_gate(2, True)
    clock.advance_to(clock.now() + time_of(900))
    assert pit.output(2)


def test_a_rising_gate_triggers_the_one_shot(pit, clock):
    pit.set_gate(2, False)
    program(pit, 2, 1, 50)
    assert pit.output(2)
    pit.set_gate(2, True)
    assert not pit.output(2)
    clock.advance_to(time_of(50))
    assert pit.output(2)


def test_a_strobe_is_low_for_one_tick(pit, clock, edges):
    program(pit, 0, 4, 10)
    edges.clear()
    clock.advance_to(time_of(10))
    pit.settle()
    assert not pit.output(0)
    run_to(clock, time_of(12))
    assert edges == [time_of(11)]


def test_linux_calibrates_with_channel_2_through_port_61(pit, clock):
    port = Port61(clock, lambda high: pit.set_gate(2, high), lambda: pit.output(2))
    port.write(0, 1, port.read(0, 1) & ~2 | 1)
    program(pit, 2, 0, 59659)
    assert not port.read(0, 1) & 0x20
    clock.advance_to(50_000_000 - 1000)
    assert not port.read(0, 1) & 0x20
    clock.advance_to(50_001_000)
    assert port.read(0, 1) & 0x20


def test_the_refresh_bit_toggles_with_time(pit, clock):
    port = Port61(clock, lambda high: None, lambda: False)
    seen = set()
    for at in range(0, 100_000, 5000):
        clock.advance_to(at)
        seen.add(port.read(0, 1) & 0x10)
    assert seen == {0, 0x10}


def test_a_restored_timer_keeps_its_phase(pit, clock, edges):
    program(pit, 0, 2, 1000)
    clock.advance_to(time_of(400))
    other, rises = Clock(), []
    other.advance_to(clock.now())
    copy = Pit(other, Line(lambda high: rises.append(other.now()) if high else None))
    copy.restore(pit.save())
    rises.clear()
    run_to(other, time_of(1000))
    assert rises == [time_of(1000)]
