"""A virtio device behind PCI, by its modern and by its legacy registers; functions behind their host."""

from __future__ import annotations

from functools import partial

from guesthouse.system.chips.pci.host import PciHost
from guesthouse.system.chips.pci.i440fx import HostBridge
from guesthouse.system.chips.pci.piix_ide import PiixIde
from guesthouse.system.chips.virtio.legacy import Legacy
from guesthouse.system.chips.virtio.pci import VirtioPci
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import Door, door, must, traffic
from tests.fuzz.chips.subjects.virtio import BUFFERS, LOW32, QUEUE, RngMmio


class Pci:
    """The same through a PCI function's window (4.1.4)."""

    def __init__(self, subject):
        self.s = subject

    def status(self, value=None):
        if value is not None:
            self.s.write(0x14, value, 1, "window")
        return self.s.read(0x14, 1, "window")

    def features(self, value):
        found = 0
        for word in (0, 1):
            self.s.write(0, word, 4, "window")
            self.s.write(8, word, 4, "window")
            found |= self.s.read(4, 4, "window") << 32 * word
            self.s.write(0x0C, value >> 32 * word & LOW32, 4, "window")
            must(self.s.read(0x0C, 4, "window") == value >> 32 * word & LOW32, "the driver's features")
        return found

    def queue(self, n, areas):
        self.s.write(0x16, n, 2, "window")
        self.s.write(0x18, self.s.RING, 2, "window")
        must(
            self.s.read(0x18, 2, "window") == self.s.RING and self.s.read(0x1E, 2, "window") == n, "queue", n
        )
        for at, address in zip((0x20, 0x28, 0x30), areas):
            self.s.write(at, address & LOW32, 4, "window")
            self.s.write(at + 4, address >> 32, 4, "window")
            must(self.s.read(at, 4, "window") == address & LOW32, "an area of queue", n)
        self.s.write(0x1C, 1, 2, "window")
        must(self.s.read(0x1C, 2, "window") == 1, "queue", n, "is not ready")

    def notify(self, n):
        self.s.write(0x3000 + 4 * n, n, 2, "window")

    def interrupts(self):
        return self.s.read(0x1000, 1, "window")

    def configuration(self, at, size):
        return self.s.read(0x2000 + at, size, "window")


class Scratch:
    def read(self, offset, size=1):
        return 0

    def write(self, offset, size, value):
        pass


class RngPci(RngMmio):
    """Behind the PCI host, with the function's configuration space."""

    COVERS = (VirtioPci, PciHost)
    AFTER_RESET = {("", 0, 4): 0, ("window", 0x12, 2): 1, ("window", 0x14, 1): 0, ("window", 0x18, 2): 64}
    WRITABLE = {("", 0, 4): (0x80FF_FFFC, 0), ("window", 0, 4): (LOW32, 0), ("window", 0x16, 2): (0xFFFF, 0)}

    def build(self):
        self.bus, self.placed = Pci(self), {}
        self.virtio = self.device()
        host = PciHost(self.remap)
        host.plug(0, HostBridge())
        self.function = VirtioPci(self.virtio, self.memory, self.line(), refused=Refused)
        self.function.on_message = self.tell
        host.plug(1, self.function)
        self.piix = PiixIde(Scratch())
        host.plug(2, self.piix)
        return host

    def remap(self, function, n, bar, at):
        self.placed[id(function) == id(self.function), n] = at

    def open(self):
        function = self.function
        ours = (("ports", 0, function.legacy.SIZE, door(function.legacy).known),
                ("vectors", 1, 0x1000, tuple((at, 4) for at in (0, 4, 8, 12, 16, 28, 0x800))),
                ("window", 4, 0x4000, door(function.registers).known))
        return {"": Door(self.chip.read, self.chip.write, 8, ((0, 4), (4, 4), (4, 2), (5, 1), (6, 2))),
                **{name: Door(partial(function.bar_read, n), partial(function.bar_write, n), size, known)
                   for name, n, size, known in ours}}

    def changes_features(self):
        self.write(8, 0, 4, "window")
        self.write(0x0C, 0xFF, 4, "window")

    def moves_areas(self):
        self.write(0x16, 0, 2, "window")
        self.write(0x18, 4, 2, "window")
        for at in range(0x20, 0x38, 4):
            self.write(at, 4, 4, "window")

    def config(self, slot, register, value=None, size=4):
        self.write(0, 1 << 31 | slot << 11 | register & 0xFC, 4)
        if value is not None:
            self.write(4 + (register & 3), value, size)
        return self.read(4 + (register & 3), size)

    @traffic
    def is_found(self):
        """Enumeration: vendor and device, nobody in an empty slot, the list of capabilities."""
        must(self.config(1, 0) == 0x1005_1AF4 and self.config(0, 0) == 0x1237_8086, "identities")
        must(
            self.config(2, 0) == 0x7010_8086 and self.config(self.rng.randrange(3, 32), 0) == LOW32,
            "identities",
        )
        must(self.config(1, 8) >> 8 == 0xFF_0000 and self.config(0, 8) >> 8 == 0x06_0000, "classes")
        at, kinds = self.config(1, 0x34, size=1), []
        while at and len(kinds) < 20:
            head = self.config(1, at)
            if head & 0xFF == 9:
                kinds.append(head >> 24)
            at = head >> 8 & 0xFF
        must({1, 2, 3, 4, 5} <= set(kinds) and self.config(1, 6, size=2) & 0x10, "capabilities", kinds)
        self.write(0, 1 << 31 | 1 << 16 | 1 << 11, 4)
        must(self.read(4, 4) == LOW32, "another bus")
        self.write(0, 1 << 11, 4)
        must(self.read(4, 4) == LOW32, "configuration that is not enabled")

    @traffic
    def is_placed(self):
        """Windows: their size by writing ones, their place only while the command register opens them."""
        rng = self.rng
        for slot, register, size, io in ((1, 0x14, 0x1000, False), (2, 0x20, 0x10, True)):
            ours = slot == 1
            self.config(slot, 4, 0, 2)
            found = self.config(slot, register, LOW32)
            must(~(found & ~(3 if io else 15)) + 1 & LOW32 == size, "the size of a window", hex(found))
            place = rng.randrange(1, (0x10000 if io else 1 << 32) // size - 1) * size
            must(
                self.config(slot, register, place | rng.randrange(16)) == place | (1 if io else found & 15),
                "its place",
            )
            must(self.placed.get((ours, register - 0x10 >> 2)) is None, "placed while closed")
            must(self.config(slot, 4, 1 if io else 2, 2) == (1 if io else 2), "the command")
            must(self.placed[ours, register - 0x10 >> 2] == place, "it is at", self.placed)
            self.config(slot, 4, 4, 2)
            must(self.placed[ours, register - 0x10 >> 2] is None, "it does not close")
        value = self.value(4)
        must(self.config(2, 0x40, value) == value, "the IDE's timings")
        must(self.config(2, 0x0C, value) == value & 0xFFFF, "cache line and latency")
        must(self.config(1, 4, 0xFFFF, 2) == 0x407, "the command's bits")
        must(self.config(1, 0x1C, value) == 0 and self.config(1, 0, value) == 0x1005_1AF4, "constants")

    @traffic
    def interrupts_by_pin(self):
        self.starts()
        self.config(1, 4, 7, 2)
        self.request(0, [16])
        self.bus.notify(0)
        must(self.lines[0].high and self.config(1, 6, size=2) & 8, "INTA")
        self.config(1, 4, 0x407, 2)
        must(not self.lines[0].high and self.config(1, 6, size=2) & 8, "INTA that is switched off")
        self.config(1, 4, 7, 2)
        must(self.lines[0].high, "INTA again")
        self.bus.interrupts()
        must(not self.lines[0].high and not self.config(1, 6, size=2) & 8, "INTA after the acknowledge")

    def by_pin(self):
        """Windows, bus master and pin on; MSI-X off."""
        self.config(1, 4, 7, 2)
        self.config(1, self.vectors_at() + 2, 0, 2)

    def vectors_at(self):
        return next(at for at, capability in self.function.live if capability is self.function.msix)

    def starts(self):
        self.by_pin()
        super().starts()

    @traffic
    def interrupts_by_message(self):
        """A queue's vector, and no pin; while the vector is masked, it waits."""
        self.starts()
        self.write(0x16, 0, 2, "window")
        self.write(0x1A, 1, 2, "window")
        masked = self.rng.randrange(2)
        for word, value in enumerate((0xFEE0_0000, 0, 0x51, masked)):
            self.write(16 + 4 * word, value, 4, "vectors")
        self.config(1, self.vectors_at() + 2, 0x8000, 2)
        self.told.clear()
        self.request(0, [16])
        self.bus.notify(0)
        must(self.told == [(0xFEE0_0000, 0x51)] * (1 - masked) and not self.lines[0].high, "messages", self.told)
        self.write(28, 0, 4, "vectors")
        must(self.told == [(0xFEE0_0000, 0x51)], "messages", self.told)
        self.by_pin()

    @traffic
    def chooses_vectors(self):
        """4.1.5.1.2: a vector that the table has is kept, another one reads back as none."""
        count = (self.config(1, self.vectors_at() + 2, size=2) & 0x7FF) + 1
        for register in (0x10, 0x1A):
            self.write(0x16, 0, 2, "window")
            vector = self.rng.choice((0, 1, count - 1, count, 0x7FF, 0xFFFF))
            self.write(register, vector, 2, "window")
            found = self.read(register, 2, "window")
            must(found == (vector if vector < count else 0xFFFF), "vector", vector, "of", count, "is", found)


class LegacyPorts:
    """The registers before version 1 (4.1.4.10): no FEATURES_OK, and one page number places a queue."""

    def __init__(self, subject):
        self.s = subject

    def status(self, value=None):
        if value is not None:
            self.s.write(0x12, value, 1, "ports")
        return self.s.read(0x12, 1, "ports")

    def features(self, value):
        found = self.s.read(0, 4, "ports")
        self.s.write(4, value & LOW32, 4, "ports")
        must(self.s.read(4, 4, "ports") == value & found, "the driver's features")
        return found

    def queue(self, n, areas):
        self.s.write(0x0E, n, 2, "ports")
        must(self.s.read(0x0C, 2, "ports") == self.s.RING, "the size of queue", n)
        self.s.write(8, areas[0] >> 12, 4, "ports")
        must(self.s.read(8, 4, "ports") == areas[0] >> 12 & LOW32, "the page of queue", n)

    def notify(self, n):
        self.s.write(0x10, n, 2, "ports")

    def interrupts(self):
        return self.s.read(0x13, 1, "ports")


class RngLegacy(RngPci):
    COVERS = (Legacy,)
    RING = 64
    AFTER_RESET = {("ports", 0x0C, 2): 64, ("ports", 0x12, 1): 0, ("ports", 8, 4): 0}
    WRITABLE = {("ports", 0x0E, 2): (0xFFFF, 0)}

    def build(self):
        made = super().build()
        self.bus = LegacyPorts(self)
        return made

    def areas(self, n):
        """2.7.2: descriptors, behind them the available ring, and at the next page the used one."""
        return QUEUE, QUEUE + 16 * self.RING, QUEUE + 0x1000

    def starts(self):
        self.by_pin()
        self.index = [0, 0, 0]
        self.memory.bytes[QUEUE:BUFFERS] = bytes(BUFFERS - QUEUE)
        must(self.bus.status(0) == 0, "it does not reset")
        self.bus.status(3)
        self.bus.features(0)
        self.bus.queue(0, self.areas(0))
        must(self.bus.status(7) == 7 and not self.lines[0].high, "it does not start")
        self.bus.interrupts()

    def interrupts_by_message(self):
        """By its modern registers."""

    def agrees_on_features(self):
        """There is nothing to agree on."""

    def moves_areas(self):
        """A legacy driver may."""


SUBJECTS = {"virtio_pci": RngPci, "virtio_legacy": RngLegacy}
