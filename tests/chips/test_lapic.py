import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.lapic import ApicBus, LocalApic

ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR, ICR_HIGH = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
TIMER, LINT0, LINT1, ERROR, INITIAL, CURRENT, DIVIDE = 0x320, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3E0
BASE, DEADLINE = 0x1B, 0x6E0
PERIODIC, BY_TSC, MASKED = 1 << 17, 1 << 18, 1 << 16


class World:
    """Two processors on one bus; the TSC runs at 2 GHz."""

    def __init__(self):
        self.clock, self.bus, self.told = Clock(), ApicBus(), []
        self.apics = [self.make(n) for n in range(2)]
        for apic in self.apics:
            apic.write(SVR, 4, 0x1FF)

    def make(self, n):
        return LocalApic(n, self.clock, self.bus, Line(), tsc=lambda: 2 * self.clock.now(),
                         tsc_hz=2_000_000_000, bootstrap=n == 0,
                         external=lambda: 0x77, nmi=lambda: self.told.append((n, "nmi")),
                         init=lambda: self.told.append((n, "init")),
                         startup=lambda vector: self.told.append((n, "startup", vector)),
                         smi=lambda: self.told.append((n, "smi")))

    def run_to(self, at):
        while (deadline := self.clock.next_deadline()) is not None and deadline <= at:
            self.clock.advance_to(deadline)
            self.clock.fire_due()
        self.clock.advance_to(at)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def apic(world):
    return world.apics[0]


def put(apic, register, value):
    apic.write(register, 4, value)


def get(apic, register):
    return apic.read(register, 4)


def ipi(apic, command, destination=0):
    put(apic, ICR_HIGH, destination << 24)
    put(apic, ICR, command)


def x2(apic):
    assert apic.write_msr(BASE, 0xFEE00D00 if apic.bootstrap else 0xFEE00C00)


def test_after_reset_it_is_what_the_manual_says(world):
    fresh = world.make(5)
    assert (get(fresh, ID), get(fresh, VERSION), get(fresh, DFR), get(fresh, SVR)) == (
        0x0500_0000, 0x0005_0014, 0xFFFF_FFFF, 0xFF)
    assert all(get(fresh, at) == MASKED for at in range(0x320, 0x380, 0x10))


def test_an_interrupt_goes_from_request_to_service_to_end(apic):
    apic.receive(0x51, 0, False)
    assert apic.output.high and apic.pending() == 0x51 and get(apic, IRR + 0x20) == 1 << 17
    assert apic.acknowledge() == 0x51
    assert not apic.output.high and get(apic, IRR + 0x20) == 0 and get(apic, ISR + 0x20) == 1 << 17
    put(apic, EOI, 0)
    assert get(apic, ISR + 0x20) == 0


def test_a_higher_class_interrupts_a_lower_one_and_an_equal_class_does_not(apic):
    apic.receive(0x51, 0, False)
    apic.acknowledge()
    apic.receive(0x5F, 0, False)
    assert apic.pending() is None and get(apic, PPR) == 0x50
    apic.receive(0x61, 0, False)
    assert apic.acknowledge() == 0x61
    apic.eoi()
    assert apic.pending() is None
    apic.eoi()
    assert apic.pending() == 0x5F


def test_the_task_priority_holds_back_its_class(apic):
    apic.tpr = 0x50
    apic.receive(0x5F, 0, False)
    assert not apic.has_interrupt() and get(apic, PPR) == 0x50
    put(apic, TPR, 0x4F)
    assert apic.output.high and apic.tpr == 0x4F


def test_an_interrupt_that_has_gone_is_the_spurious_one(apic):
    assert apic.acknowledge() == 0xFF and get(apic, ISR + 0x70) == 0


def test_the_end_of_a_level_is_told_on_the_bus(world, apic):
    class Io:
        def end_of_interrupt(self, vector):
            world.told.append(vector)

    world.bus.join_io(Io())
    for vector, level in ((0x41, True), (0x42, False)):
        apic.receive(vector, 0, level)
        apic.acknowledge()
        apic.eoi()
    assert world.told == [0x41]


def test_an_apic_that_is_disabled_by_software_accepts_nothing_and_masks_its_own(apic):
    put(apic, LINT0, 0x700)
    put(apic, SVR, 0xFF)
    apic.receive(0x51, 0, False)
    assert not apic.has_interrupt() and get(apic, LINT0) == 0x10700
    put(apic, LINT0, 0x700)
    assert get(apic, LINT0) & MASKED


def test_the_8259_asks_through_lint0_in_extint_mode(apic):
    apic.set_lint(0, True)
    assert not apic.has_interrupt()
    put(apic, LINT0, 0x700)
    assert apic.output.high and apic.pending() is None and apic.acknowledge() == 0x77
    apic.set_lint(0, False)
    assert not apic.output.high


def test_the_8259_passes_an_apic_that_is_switched_off(apic):
    apic.write_msr(BASE, 0xFEE00100)
    apic.set_lint(0, True)
    assert apic.output.high and apic.acknowledge() == 0x77


def test_lint1_is_the_nmi(world, apic):
    put(apic, LINT1, 0x400)
    apic.set_lint(1, True)
    apic.set_lint(1, True)
    assert world.told == [(0, "nmi")]


def test_a_one_shot_counts_down_and_fires_once(world, apic):
    put(apic, DIVIDE, 0x3)  # by 16
    put(apic, TIMER, 0xEC)
    put(apic, INITIAL, 1000)
    world.run_to(8000)
    assert get(apic, CURRENT) == 500
    world.run_to(15_999)
    assert not apic.has_interrupt()
    world.run_to(16_000)
    assert apic.acknowledge() == 0xEC and get(apic, CURRENT) == 0
    apic.eoi()
    world.run_to(100_000)
    assert not apic.has_interrupt()


def test_a_periodic_timer_fires_each_period_without_drift(world, apic):
    put(apic, DIVIDE, 0xB)  # by 1
    put(apic, TIMER, PERIODIC | 0xEC)
    put(apic, INITIAL, 333)
    moments = []
    while len(moments) < 5:
        world.run_to(world.clock.next_deadline())
        moments.append(world.clock.now())
        apic.acknowledge()
        apic.eoi()
    assert moments == [333, 666, 999, 1332, 1665]


def test_periods_that_nobody_saw_are_one_interrupt_and_keep_the_phase(world, apic):
    put(apic, DIVIDE, 0xB)
    put(apic, TIMER, PERIODIC | 0xEC)
    put(apic, INITIAL, 100)
    world.clock.advance_to(1050)
    world.clock.fire_due()
    assert apic.acknowledge() == 0xEC and world.clock.next_deadline() == 1100


def test_changing_the_divider_keeps_what_has_been_counted(world, apic):
    put(apic, DIVIDE, 0xB)
    put(apic, INITIAL, 1000)
    world.run_to(400)
    put(apic, DIVIDE, 0x0)  # by 2
    assert get(apic, CURRENT) == 600
    world.run_to(600)
    assert get(apic, CURRENT) == 500 and world.clock.next_deadline() == 1600


def test_init_stops_the_timer(world, apic):
    put(apic, INITIAL, 1000)
    ipi(apic, 0x44500)
    assert world.clock.next_deadline() is None and get(apic, CURRENT) == 0


def test_a_masked_timer_counts_and_does_not_interrupt(world, apic):
    put(apic, TIMER, MASKED | 0xEC)
    put(apic, INITIAL, 10)
    world.run_to(1000)
    assert get(apic, CURRENT) == 0 and not apic.has_interrupt()


def test_an_initial_count_of_zero_stops_the_timer(world, apic):
    put(apic, TIMER, PERIODIC | 0xEC)
    put(apic, INITIAL, 10)
    put(apic, INITIAL, 0)
    assert world.clock.next_deadline() is None and get(apic, CURRENT) == 0


def test_the_deadline_fires_when_the_tsc_has_reached_it_and_reads_as_zero_then(world, apic):
    put(apic, TIMER, BY_TSC | 0xEC)
    apic.write_msr(DEADLINE, 2001)
    assert apic.read_msr(DEADLINE) == 2001 and world.clock.next_deadline() == 1001
    world.run_to(1001)
    assert apic.acknowledge() == 0xEC and apic.read_msr(DEADLINE) == 0


def test_a_deadline_in_the_past_fires_at_once(world, apic):
    world.run_to(1000)
    put(apic, TIMER, BY_TSC | 0xEC)
    apic.write_msr(DEADLINE, 5)
    assert apic.has_interrupt()


def test_the_deadline_is_ignored_in_the_other_modes_and_disarmed_by_leaving_its_own(world, apic):
    apic.write_msr(DEADLINE, 5000)
    assert apic.read_msr(DEADLINE) == 0
    put(apic, TIMER, BY_TSC | 0xEC)
    apic.write_msr(DEADLINE, 5000)
    put(apic, TIMER, 0xEC)
    assert apic.read_msr(DEADLINE) == 0 and world.clock.next_deadline() is None


def test_starting_a_processor_is_init_then_startup(world, apic):
    ipi(apic, 0x4500, 1)
    ipi(apic, 0x0500 | 1 << 15, 1)  # the de-assert of old, which does nothing
    ipi(apic, 0x4608, 1)
    assert world.told == [(1, "init"), (1, "startup", 8)]


def test_init_leaves_mode_and_identity(world, apic):
    x2(world.apics[1])
    ipi(apic, 0x4500, 1)
    other = world.apics[1]
    assert other.read_msr(BASE) == 0xFEE00C00 and other.read_msr(0x802) == 1 and other.read_msr(0x80F) == 0xFF


@pytest.mark.parametrize("shorthand, reached", [(1, [0]), (2, [0, 1]), (3, [1])])
def test_shorthands_reach_self_all_or_the_others(world, apic, shorthand, reached):
    ipi(apic, 0x4051 | shorthand << 18)
    assert [n for n in range(2) if world.apics[n].pending() == 0x51] == reached


@pytest.mark.parametrize("format, ldr, destination, reached", [
    (0xFFFF_FFFF, (1, 2), 3, [0, 1]), (0xFFFF_FFFF, (1, 2), 2, [1]),
    (0x0FFF_FFFF, (0x11, 0x21), 0x21, [1]), (0x0FFF_FFFF, (0x11, 0x12), 0x13, [0, 1]),
    (0x0FFF_FFFF, (0x11, 0x21), 0xF1, [0, 1])])
def test_logical_destinations_flat_and_in_clusters(world, apic, format, ldr, destination, reached):
    for a, mine in zip(world.apics, ldr):
        put(a, DFR, format)
        put(a, LDR, mine << 24)
    ipi(apic, 0x4851, destination)
    assert [n for n in range(2) if world.apics[n].pending() == 0x51] == reached


def test_the_lowest_priority_gets_it(world, apic):
    apic.tpr = 0x20
    world.bus.deliver(0x51, 1, 0xFF, False, False)
    assert apic.pending() is None and world.apics[1].pending() == 0x51


def test_a_processor_that_takes_no_interrupts_is_not_of_the_lowest_priority(world, apic):
    apic.tpr = 0x20
    put(world.apics[1], SVR, 0xFF)
    world.bus.deliver(0x51, 1, 0xFF, False, False)
    assert apic.pending() == 0x51


def test_a_message_signalled_interrupt_is_a_write_to_an_address(world):
    world.bus.message(0xFEE0_1000, 0x4051)
    assert world.apics[1].pending() == 0x51 and world.apics[0].pending() is None


def test_illegal_vectors_are_errors_that_a_write_makes_visible(apic):
    put(apic, ERROR, 0xFE)
    apic.receive(3, 0, False)
    ipi(apic, 0x4003, 0)
    assert get(apic, ESR) == 0 and apic.pending() == 0xFE
    put(apic, ESR, 0)
    assert get(apic, ESR) == 0x60
    put(apic, ESR, 0)
    assert get(apic, ESR) == 0


def test_x2apic_is_the_same_registers_through_msrs(world, apic):
    put(apic, TPR, 0x30)
    assert apic.read_msr(0x808) is None
    x2(apic)
    assert apic.read_msr(0x808) == 0x30 and get(apic, TPR) == 0xFFFF_FFFF
    assert apic.write_msr(0x808, 0) and apic.write_msr(0x83F, 0x61) and apic.pending() == 0x61
    assert apic.acknowledge() == 0x61 and apic.read_msr(0x813) == 2 and apic.write_msr(0x80B, 0)
    assert apic.read_msr(0x813) == 0
    assert apic.write_msr(0x830, 0x1_0000_4051) and world.apics[1].pending() == 0x51


def test_x2apic_has_a_fixed_logical_identity(world):
    wide = world.make(0x25)
    x2(wide)
    assert wide.read_msr(0x80D) == 0x0002_0020
    assert wide.answers_to(0x0002_0030, True) and not wide.answers_to(0x0001_0020, True)
    assert wide.answers_to(0x25, False) and wide.answers_to(0xFF, False) and wide.answers_to(0xFFFF_FFFF, False)


@pytest.mark.parametrize("index, value", [
    (0x80B, 1), (0x828, 1), (0x802, 0), (0x80D, 0), (0x80E, 0), (0x831, 0), (0x839, 0), (0x810, 0),
    (0x83F, 0x100), (0x808, 1 << 32), (0x8FF, 0), (BASE, 0xFEE00900), (BASE, 0xFEE00500), (BASE, 0xFEE00D01)])
def test_what_x2apic_does_not_allow_is_a_fault(apic, index, value):
    x2(apic)
    assert apic.write_msr(index, value) is False


@pytest.mark.parametrize("index", [0x80B, 0x83F, 0x80E, 0x831, 0x80C, 0x84F])
def test_what_x2apic_does_not_let_read_is_a_fault(apic, index):
    x2(apic)
    assert apic.read_msr(index) is None


def test_x2apic_cannot_be_entered_from_off_nor_left_for_xapic(apic):
    assert apic.write_msr(BASE, 0xFEE00100)
    assert not apic.write_msr(BASE, 0xFEE00D00)
    assert apic.write_msr(BASE, 0xFEE00900) and apic.write_msr(BASE, 0xFEE00D00)
    assert apic.write_msr(BASE, 0xFEE00100)


def test_a_restored_apic_asks_again_and_keeps_its_deadline(world, apic):
    apic.receive(0x51, 0, False)
    put(apic, TIMER, BY_TSC | 0xEC)
    apic.write_msr(DEADLINE, 4000)
    other = World()
    other.apics[0].restore(apic.save())
    assert other.apics[0].output.high and other.clock.next_deadline() == 2000
