"""IA-PC HPET 1.0a: the counter, and how a timer interrupts."""

import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.hpet import Hpet
from guesthouse.system.chips.kit import Line

CONFIGURATION, STATUS, COUNTER, TIMER, COMPARATOR = 0x10, 0x20, 0xF0, 0x100, 0x108
RUN, LEGACY = 1, 2
LEVEL, ENABLE, PERIODIC, SET, ONLY_32, MESSAGE = 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 8, 1 << 14


class Rig:
    def __init__(self):
        self.clock, self.edges, self.sent, self.replaced = Clock(), [], [], []
        self.inputs = {20: Line(lambda high: self.edges.append((20, high)))}
        self.legacy = tuple(Line(lambda high, n=n: self.edges.append((n, high))) for n in (0, 8))
        self.chip = Hpet(self.clock, self.inputs, self.legacy, self.replaced.append,
                         lambda *what: self.sent.append(what))

    def get(self, register):
        return self.chip.read(register, 8)

    def put(self, register, value):
        self.chip.write(register, 8, value)

    def pass_(self, ticks):
        self.clock.advance_to(self.clock.now() + 10 * ticks)
        self.clock.fire_due()


@pytest.fixture
def rig():
    return Rig()


def test_the_period_is_that_of_100_mhz_and_three_timers_are_there(rig):
    found = rig.get(0)
    assert found >> 32 == 10_000_000 and found >> 8 & 0x1F == 2 and found >> 13 & 7 == 5


def test_the_counter_goes_on_only_while_it_is_let(rig):
    rig.pass_(5)
    assert rig.get(COUNTER) == 0
    rig.put(CONFIGURATION, RUN)
    rig.pass_(7)
    rig.put(CONFIGURATION, 0)
    rig.pass_(9)
    assert rig.get(COUNTER) == 7


def test_a_timer_by_edge_pulses_the_input_that_it_is_routed_to(rig):
    rig.put(TIMER, ENABLE | 20 << 9)
    rig.put(COMPARATOR, 100)
    rig.put(CONFIGURATION, RUN)
    rig.pass_(99)
    assert rig.edges == []
    rig.pass_(1)
    assert rig.edges == [(20, True), (20, False)] and rig.get(STATUS) == 0


def test_a_timer_by_level_holds_its_input_until_the_status_is_cleared(rig):
    rig.put(TIMER, ENABLE | LEVEL | 20 << 9)
    rig.put(COMPARATOR, 10)
    rig.put(CONFIGURATION, RUN)
    rig.pass_(10)
    assert rig.inputs[20].high and rig.get(STATUS) == 1
    rig.put(STATUS, 1)
    assert not rig.inputs[20].high


def test_a_periodic_timer_that_tells_nobody_needs_no_alarm_and_goes_on(rig):
    rig.put(TIMER, PERIODIC | SET | 20 << 9)
    rig.put(COMPARATOR, 50)
    rig.put(CONFIGURATION, RUN)
    assert rig.clock.next_deadline() is None
    rig.pass_(120)
    assert rig.get(COMPARATOR) == 150
    rig.put(TIMER, ENABLE | PERIODIC | 20 << 9)
    rig.pass_(29)
    assert rig.edges == []
    rig.pass_(1)
    assert len(rig.edges) == 2 and rig.get(COMPARATOR) == 200


def test_a_periodic_timer_adds_its_period(rig):
    rig.put(TIMER, ENABLE | PERIODIC | SET | 20 << 9)
    rig.put(COMPARATOR, 50)
    rig.put(COMPARATOR, 30)
    rig.put(CONFIGURATION, RUN)
    rig.pass_(50)
    assert len(rig.edges) == 2 and rig.get(COMPARATOR) == 80
    rig.pass_(30)
    assert len(rig.edges) == 4 and rig.get(COMPARATOR) == 110


def test_legacy_replacement_takes_irq_0_and_8_whatever_the_route_says(rig):
    rig.put(TIMER, ENABLE | 20 << 9)
    rig.put(COMPARATOR, 10)
    rig.put(CONFIGURATION, RUN | LEGACY)
    rig.pass_(10)
    assert rig.edges == [(0, True), (0, False), (0, True)] and rig.replaced[-1] is True
    rig.put(TIMER, 0)
    assert not rig.legacy[0].high


def test_a_message_goes_where_its_register_says(rig):
    rig.put(TIMER, ENABLE | MESSAGE)
    rig.put(0x110, 0xFEE0_1000 << 32 | 0x41)
    rig.put(COMPARATOR, 10)
    rig.put(CONFIGURATION, RUN)
    rig.pass_(10)
    assert rig.sent == [(0xFEE0_1000, 0x41)] and rig.edges == []


def test_a_timer_of_32_bits_compares_the_low_half(rig):
    rig.put(COUNTER, 0xFFFF_FFF0)
    rig.put(TIMER, ENABLE | ONLY_32 | 20 << 9)
    rig.put(COMPARATOR, 0x10)
    rig.put(CONFIGURATION, RUN)
    rig.pass_(0x20)
    assert len(rig.edges) == 2 and rig.get(COUNTER) == 1 << 32 | 0x10
