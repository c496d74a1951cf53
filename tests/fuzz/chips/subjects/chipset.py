"""The chipsets' own functions behind their host, message-signalled interrupts, the HPET."""

from __future__ import annotations

from guesthouse.clock import Clock
from guesthouse.system.chips.acpi_pm import AcpiPm
from guesthouse.system.chips.hpet import Hpet
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.function import Bar, Function
from guesthouse.system.chips.pci.host import PciHost
from guesthouse.system.chips.pci.i440fx import HostBridge, Piix3Isa, Piix4Power
from guesthouse.system.chips.pci.msi import Msi, MsiX
from guesthouse.system.chips.pci.pirq import REACHABLE, PirqLines
from guesthouse.system.chips.pci.q35 import Ahci, Ich9Lpc, Ich9Smbus, Mch
from guesthouse.system.chips.smbus import SmbusHost
from tests.fuzz.chips.subject import Door, Subject, Whole, door, must, traffic

LOW32 = 0xFFFF_FFFF
MESSAGE = 0xFEE0_0000


class Card(Function):
    """A function with both kinds of messages and a ROM."""

    VENDOR, DEVICE, CLASS, PIN = 0x1234, 0x5678, 0x02_0000, 1
    WINDOWS = {0: Bar(0x1000), 2: Bar(1 << 20, wide=True)}

    def __init__(self, irq, on_message):
        self.msix = MsiX(5, 0)
        super().__init__(irq, (Msi(), self.msix), rom=b"\x55\xAA" + bytes(3000))
        self.on_message = on_message

    def bar_read(self, n, offset, size):
        return self.msix.page_read(offset, size) if n == 0 else 0

    def bar_write(self, n, offset, size, value):
        if n == 0:
            self.msix.page_write(offset, size, value)


class Messages(Subject):
    COVERS = (Msi, MsiX)
    AFTER_RESET = {("page", 16 * n + 12, 4): 1 for n in range(5)} | {("page", 0x800, 4): 0}

    def build(self):
        return Card(self.line(), self.tell)

    def open(self):
        card = self.chip
        return {"": door(card), "page": Door(card.msix.page_read, card.msix.page_write, 0x1000,
                                             tuple((at, 4) for at in range(0, 0x60, 4)))}

    def poke(self):
        self.chip.interrupting = self.rng.random() < 0.5
        self.chip.settle()
        self.chip.msix.fire(self.rng.randrange(8))

    def adopt(self, other):
        """The function under test has no level of its own."""

    @traffic
    def sends_one_message_for_a_level(self):
        msi = next(at for at, one in self.chip.live if isinstance(one, Msi))
        self.write(4, 6, 2)
        for at, one in self.chip.live:
            self.write(at + 2, 0, 2)
        self.chip.interrupting = False
        self.chip.settle()
        self.write(msi + 4, MESSAGE, 4)
        self.write(msi + 8, 0, 4)
        self.write(msi + 12, 0x4041, 2)
        self.write(msi + 2, 1, 2)
        self.told.clear()
        self.chip.interrupting = True
        self.chip.settle()
        self.chip.settle()
        must(self.told == [(MESSAGE, 0x4041)] and not self.lines[0].high, "messages", self.told)
        self.chip.interrupting = False
        self.chip.settle()
        self.write(msi + 2, 0, 2)
        self.chip.interrupting = True
        self.chip.settle()
        must(self.lines[0].high and len(self.told) == 1, "the pin without messages")
        self.chip.interrupting = False
        self.chip.settle()

    @traffic
    def masks_a_vector(self):
        at = next(at for at, one in self.chip.live if isinstance(one, MsiX))
        self.write(4, 6, 2)
        self.write(at + 2, 0x8000, 2)
        n = self.rng.randrange(5)
        for word, value in enumerate((MESSAGE, 0, 0x30 + n, 1)):
            self.write(16 * n + 4 * word, value, 4, "page")
        self.told.clear()
        self.chip.msix.fire(n)
        waits = self.read(at + 8, 4) & ~7
        must(not self.told and self.read(waits, 4, "page") >> n & 1, "a masked vector waits")
        self.write(16 * n + 12, 0, 4, "page")
        must(
            self.told == [(MESSAGE, 0x30 + n)] and not self.read(0x800, 4, "page") >> n & 1,
            "and goes",
            self.told,
        )

    @traffic
    def has_a_rom(self):
        self.write(0x30, LOW32, 4)
        must(self.read(0x30, 4) == 0xFFFF_F001, "the size of the ROM")
        self.write(0x30, 0xE000_0001, 4)
        self.write(4, 2, 2)
        must(self.chip.window(6) == 0xE000_0000 and self.chip.window_read(6, 0, 2) == 0xAA55, "the ROM")
        self.write(4, 0, 2)
        must(self.chip.window(6) is None, "the ROM, closed")


class Chipset(Subject):
    """All functions of a chipset, behind their host."""

    LIMIT = 80_000

    def build(self):
        self.spaces, self.placed = [], {}
        self.isa = {n: self.line() for n in REACHABLE}
        self.lines_to = PirqLines(self.PIRQS, self.isa, lambda n, high: None)
        host = PciHost(lambda function, n, bar, at: self.placed.__setitem__((type(function).__name__, n), at))
        self.smbus = SmbusHost()
        self.plug(host)
        return Whole(host=host, smbus=self.smbus)

    def open(self):
        host = self.chip.together["host"]
        known = tuple((1 << 15 | at, size) for at in (4, 0x40, 0x60, 0x68, 0xF0) for size in (1, 4))
        return {
            "": Door(host.read, host.write, 8, ((0, 4), (4, 4), (4, 1), (5, 1), (6, 2))),
            "mapped": Door(host.mapped_read, host.mapped_write, 1 << 28, known),
            "smbus": door(self.smbus),
        }

    def poke(self):
        self.lines_to.inputs[self.rng.randrange(self.PIRQS)].set(self.rng.random() < 0.5)

    def adopt(self, other):
        for mine, its in zip(self.lines_to.inputs, other.lines_to.inputs, strict=True):
            mine.set(its.high)

    @traffic
    def calls_nobody(self):
        """A transaction on the empty bus ends with an error, which ones clear and nothing sets."""
        self.write(0, 0xFF, of="smbus")
        self.write(0, self.value(1), of="smbus")
        must(self.read(0, of="smbus") == 0, "a status that nobody has set")
        value = self.value(1)
        self.write(2, value, of="smbus")
        must(self.read(0, of="smbus") == (4 if value & 0x40 else 0), "the status of a transaction")
        self.write(0, 0, of="smbus")
        must(self.read(0, of="smbus") == (4 if value & 0x40 else 0), "zeros clear")
        self.write(0, 4, of="smbus")
        must(self.read(0, of="smbus") == 0, "ones do not clear")

    @traffic
    def routes_pins(self):
        n, irq = self.rng.randrange(self.PIRQS), self.rng.choice(REACHABLE)
        register = self.ISA << 15 | (0x60 if n < 4 else 0x64) + n
        for line in self.lines_to.inputs:
            line.set(False)
        self.write(register, irq, 1, "mapped")
        self.lines_to.inputs[n].set(True)
        must(self.isa[irq].high and sum(line.high for line in self.isa.values()) == 1, "the route of", n)
        self.write(register, 0x80 | irq, 1, "mapped")
        must(not self.isa[irq].high, "a route that is off")
        self.lines_to.inputs[n].set(False)

    @traffic
    def locks_the_memory_of_system_management(self):
        self.write(self.SMRAM, 0x5A, 1, "mapped")
        kept = self.read(self.SMRAM, 1, "mapped")
        self.write(self.SMRAM, 0x48 | self.value(1) & 7, 1, "mapped")
        must(kept & 0x50 == 0x10 and self.read(self.SMRAM, 1, "mapped") == kept, "SMRAM is open again")

    @traffic
    def places_power_management(self):
        base = self.rng.randrange(1, 0x1FF) << 7
        where, register, on = self.PM
        self.write(where << 12 | 0x40, base, 4, "mapped")
        self.write(where << 12 | register, on, 1, "mapped")
        must(
            self.placed[self.OWNER, 8] == base and self.read(where << 12 | 0x40, 4, "mapped") == base | 1,
            "PM",
        )
        self.write(where << 12 | register, 0, 1, "mapped")
        must(self.placed[self.OWNER, 8] is None, "PM is not taken away")


class I440fx(Chipset):
    COVERS = (Piix3Isa, Piix4Power, HostBridge, SmbusHost)
    PIRQS, ISA, PM, OWNER, SMRAM = 4, 1, (1 << 3 | 3, 0x80, 1), "Piix4Power", 0x72

    def plug(self, host):
        host.plug(0, HostBridge())
        host.plug(1, Piix3Isa(self.lines_to))
        host.plug(1, Piix4Power(self.smbus, self.smbus), 3)


class Q35(Chipset):
    COVERS = (Mch, Ich9Lpc, Ich9Smbus, Ahci)
    PIRQS, ISA, PM, OWNER, SMRAM = 8, 31, (31 << 3, 0x44, 0x80), "Ich9Lpc", 0x9D

    def plug(self, host):
        self.mch = Mch(host.mapped_read, host.mapped_write)
        host.plug(0, self.mch)
        self.power = AcpiPm(Clock(), Line(), power_off=lambda: None)
        self.lpc = Ich9Lpc(self.lines_to, self.power)
        host.plug(31, self.lpc)
        self.sata = Ahci(self.smbus, Line())
        host.plug(31, self.sata, 2)
        host.plug(31, Ich9Smbus(self.smbus), 3)

    def check(self):
        must(0 <= self.sata.index < 0x1000 and self.sata.index % 4 == 0, "the index is", self.sata.index)

    @traffic
    def gives_the_end_of_ram_to_system_management(self):
        value, locked = self.value(1), self.read(self.SMRAM, 1, "mapped") & 0x10
        kept = self.read(0x9E, 1, "mapped")
        self.write(0x9E, value, 1, "mapped")
        now = kept if locked else value & 7 | 0x38
        must(self.read(0x9E, 1, "mapped") == now, "ESMRAMC")
        must(self.mch.tseg == ((1, 2, 8, 16)[now >> 1 & 3] << 20) * (now & 1), "the size of TSEG")

    @traffic
    def chooses_a_register_of_the_adapter(self):
        self.sata.bar_write(4, 0x10, 4, self.value(4))

    def open(self):
        root = self.lpc.root_complex
        return super().open() | {"root": Door(root.read, root.write, root.SIZE, ((0x3404, 4), (0x3140, 2)))}


class Hpets(Subject):
    COVERS = (Hpet,)
    WIDTHS = (4, 8)
    AFTER_RESET = {
        ("", 0, 8): 10_000_000 << 32 | 0x8086_A201,
        ("", 0x10, 4): 0,
        ("", 0xF0, 8): 0,
        ("", 0x20, 4): 0,
    }

    def build(self):
        return Hpet(self.clock, {20: self.line(), 21: self.line()}, (self.line(), self.line()),
                    lambda legacy: None, self.tell)

    def stops(self):
        self.write(0x10, 0, 4)
        for n in range(3):
            self.write(0x100 + 0x20 * n, 0, 4)
        self.write(0x20, 7, 4)
        self.write(0xF0, 0, 8)

    @traffic
    def counts(self):
        self.stops()
        self.write(0x10, 1, 4)
        by = self.rng.choice((10, 1000, 12_345_678))
        self.pass_time(by)
        must(self.read(0xF0, 8) == by // 10, "the counter after", by)
        self.write(0x10, 0, 4)
        self.pass_time(1000)
        must(self.read(0xF0, 4) == by // 10, "a counter that stands")

    @traffic
    def matches_once_and_stays_until_it_is_cleared(self):
        self.stops()
        n, ticks = self.rng.randrange(3), self.rng.randrange(1, 5000)
        self.write(0x100 + 0x20 * n, 20 << 9 | 6, 4)  # level, enabled, input 20
        self.write(0x108 + 0x20 * n, ticks, 8)
        self.write(0x10, 1, 4)
        self.pass_time(10 * ticks - 1)
        must(not self.lines[0].high, "too early")
        self.pass_time(1)
        must(self.lines[0].high and self.read(0x20, 4) == 1 << n, "no match")
        self.write(0x20, 1 << n, 4)
        must(not self.lines[0].high and self.read(0x20, 4) == 0, "it stays")
        self.stops()

    @traffic
    def clears_one_of_several(self):
        self.stops()
        for n, route in ((0, 20), (1, 21)):
            self.write(0x100 + 0x20 * n, route << 9 | 6, 4)
            self.write(0x108 + 0x20 * n, 100, 8)
        self.write(0x10, 1, 4)
        self.pass_time(1000)
        cleared = self.rng.randrange(2)
        self.write(0x20, 1 << cleared, self.rng.choice((4, 8)))
        must(self.read(0x20, 4) == 2 - cleared, "the other timer's status")
        must(self.levels()[:2] == [cleared == 1, cleared == 0], "the lines", self.levels())
        self.stops()

    @traffic
    def waits_for_the_wrap(self):
        """A comparator that the counter has passed matches when it comes round: one of 32 bits after 43 seconds."""
        self.stops()
        self.write(0xF0, 0x1000, 8)
        self.write(0x100, 20 << 9 | 1 << 8 | 6, 4)
        self.write(0x108, self.rng.randrange(0x1000), 4)
        self.write(0x10, 1, 4)
        self.pass_time(self.rng.choice((10, 1_000_000_000)))
        must(not self.lines[0].high, "it matches what has been")
        self.pass_time(43_000_000_000)
        must(self.lines[0].high, "it does not match after the wrap")
        self.stops()

    @traffic
    def keeps_period_and_comparator_apart(self):
        """2.3.9.2.2: a periodic timer takes a value for its period, and after SET_VALUE for its start too."""
        self.stops()
        sets, first, second = (
            self.rng.random() < 0.5,
            self.rng.randrange(1000, 2000),
            self.rng.randrange(1000, 2000),
        )
        self.write(0x100, 1 << 6 | 1 << 3, 4)
        self.write(0x108, first, 8)
        if sets:
            self.write(0x100, 1 << 6 | 1 << 3, 4)
        self.write(0x108, second, 8)
        must(self.read(0x108, 8) == (second if sets else first), "the comparator", sets)
        self.stops()

    @traffic
    def repeats_with_messages(self):
        self.stops()
        period = self.rng.randrange(10, 500)
        self.write(0x110, MESSAGE << 32 | 0x31, 8)
        self.write(0x100, 1 << 14 | 1 << 6 | 1 << 3 | 1 << 2, 4)
        self.write(0x108, period, 8)
        self.told.clear()
        self.write(0x10, 1, 4)
        for _ in range(5):
            self.pass_time(10 * period)
        must(self.told == [(MESSAGE, 0x31)] * 5, "messages", self.told, period)
        self.stops()


SUBJECTS = {"messages": Messages, "i440fx": I440fx, "q35": Q35, "hpet": Hpets}
