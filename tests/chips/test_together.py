"""Chips on one set of wires, as a PC has them: what a single chip's test cannot see."""

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.system.chips.i8254 import Pit, time_of
from guesthouse.system.chips.i8259 import PicPair
from guesthouse.system.chips.ioapic import IoApic
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.lapic import ApicBus, LocalApic
from guesthouse.system.chips.uart import Uart

EOI, SVR, LINT0 = 0xB0, 0xF0, 0x350


class Pc:
    def __init__(self):
        self.clock = VirtualClock()
        self.bus = ApicBus()
        self.lapic = LocalApic(0, self.clock, self.bus, Line(), tsc=self.clock.now, tsc_hz=1_000_000_000,
                               external=lambda: self.pics.acknowledge())
        self.pics = PicPair(Line(lambda high: self.lapic.set_lint(0, high)))
        self.ioapic = IoApic(self.bus.deliver)
        self.bus.join_io(self.ioapic)
        self.pit = Pit(self.clock, self.irq(0, 2))
        self.uart = Uart(self.irq(4, 4), lambda data: None)
        self.level = self.irq(11, 11)
        self.lapic.write(SVR, 4, 0x1FF)

    def irq(self, n, pin):
        return Line(lambda high: (self.pics.set_input(n, high), self.ioapic.set_input(pin, high)))

    def use_pics(self):
        self.lapic.write(LINT0, 4, 0x700)
        for chip, base, wiring in ((self.pics.master, 0x20, 4), (self.pics.slave, 0x28, 2)):
            for offset, word in ((0, 0x11), (1, base), (1, wiring), (1, 1), (1, 0)):
                chip.write(offset, 1, word)

    def redirect(self, pin, entry):
        for register, value in ((0x11 + 2 * pin, 0), (0x10 + 2 * pin, entry)):
            self.ioapic.write(0x00, 4, register)
            self.ioapic.write(0x10, 4, value)

    def tick_at(self, period):
        for offset, byte in ((3, 0x34), (0, period & 0xFF), (0, period >> 8)):
            self.pit.write(offset, 1, byte)

    def run_to(self, at):
        while (deadline := self.clock.next_deadline()) is not None and deadline <= at:
            self.clock.advance_to(deadline)
            self.clock.fire_due()
        self.clock.advance_to(at)

    def chips(self):
        """In the order of restoring: from the processor outwards."""
        return (self.lapic, self.ioapic, self.pics, self.pit, self.uart)


@pytest.fixture
def pc():
    return Pc()


def test_the_timer_reaches_the_processor_through_the_8259_and_lint0(pc):
    pc.use_pics()
    pc.tick_at(1000)
    pc.lapic.acknowledge()
    pc.pics.master.write(0, 1, 0x20)
    assert not pc.lapic.output.high
    pc.run_to(time_of(1000))
    assert pc.lapic.output.high and pc.lapic.acknowledge() == 0x20


def test_the_timer_reaches_the_processor_through_the_io_apic(pc):
    pc.redirect(2, 0x30)
    pc.tick_at(1000)
    ticks = 0
    for n in range(1, 6):
        pc.run_to(time_of(1000 * n))
        while pc.lapic.pending() is not None:
            ticks += pc.lapic.acknowledge() == 0x30
            pc.lapic.write(EOI, 4, 0)
    assert ticks == 5 or ticks == 6  # writing the mode may raise the output once


def test_a_level_comes_back_until_its_cause_is_gone(pc):
    pc.redirect(11, 0x8041)
    pc.level.set(True)
    for _ in range(3):
        assert pc.lapic.acknowledge() == 0x41
        pc.lapic.write(EOI, 4, 0)
    pc.level.set(False)
    pc.lapic.acknowledge()
    pc.lapic.write(EOI, 4, 0)
    assert not pc.lapic.output.high


def test_a_wired_machine_is_restored_from_the_processor_outwards(pc):
    pc.use_pics()
    pc.redirect(4, 0x34)
    pc.tick_at(1000)
    pc.uart.write(1, 1, 1)
    pc.uart.receive(b"x")
    pc.lapic.acknowledge()
    copy = Pc()
    copy.uart.write(1, 1, 2)  # what a machine did before it is restored leaves no trace
    copy.clock.restore(pc.clock.save())
    for old, new in zip(pc.chips(), copy.chips()):
        new.restore(old.save())
    assert [chip.save() for chip in copy.chips()] == [chip.save() for chip in pc.chips()]
    assert copy.lapic.output.high == pc.lapic.output.high
    assert copy.clock.next_deadline() == pc.clock.next_deadline()


def test_two_machines_share_nothing(pc):
    other = Pc()
    pc.redirect(11, 0x8041)
    pc.level.set(True)
    assert pc.lapic.output.high and not other.lapic.output.high
