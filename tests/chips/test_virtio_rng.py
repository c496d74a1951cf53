"""The entropy device through both transports: what is true of one is true of the other."""

import pytest

from guesthouse.system.chips.virtio.mmio import VirtioMmio
from guesthouse.system.chips.virtio.pci import VirtioPci
from guesthouse.system.chips.virtio.rng import Rng
from guesthouse.trace import Trace
from tests.chips.virtio_driver import BUFFERS, DESCRIPTORS, DEVICE, DRIVER, NEXT, WRITE, Driver, Refused


class Mmio:
    """Registers of both transports by one name: (offset, size)."""

    NAMES = {"features_select": (0x14, 4), "features": (0x10, 4), "accept_select": (0x24, 4),
             "accept": (0x20, 4), "status": (0x70, 4), "select": (0x30, 4), "maximum": (0x34, 4),
             "size": (0x38, 4), "ready": (0x44, 4), "descriptors": (0x80, 4), "driver": (0x90, 4),
             "device": (0xA0, 4), "notify": (0x50, 4)}

    def __init__(self, driver, random_bytes):
        self.chip = VirtioMmio(Rng(random_bytes), driver.memory, driver.irq, refused=Refused)
        self.device = self.chip.device

    def get(self, name):
        return self.chip.read(*self.NAMES[name])

    def put(self, name, value):
        self.chip.write(*self.NAMES[name], value)

    def acknowledge(self):
        why = self.chip.read(0x60, 4)
        self.chip.write(0x64, 4, why)
        return why


class Pci(Mmio):
    NAMES = {"features_select": (0x00, 4), "features": (0x04, 4), "accept_select": (0x08, 4),
             "accept": (0x0C, 4), "status": (0x14, 1), "select": (0x16, 2), "maximum": (0x18, 2),
             "size": (0x18, 2), "ready": (0x1C, 2), "descriptors": (0x20, 4), "driver": (0x28, 4),
             "device": (0x30, 4), "notify": (0x3000, 2)}

    def __init__(self, driver, random_bytes):
        self.chip = VirtioPci(Rng(random_bytes), driver.memory, driver.irq, refused=Refused)
        self.device = self.chip.device

    def get(self, name):
        return self.chip.bar_read(4, *self.NAMES[name])

    def put(self, name, value):
        self.chip.bar_write(4, *self.NAMES[name], value)

    def acknowledge(self):
        return self.chip.bar_read(4, 0x1000, 1)


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture(params=[Mmio, Pci])
def transport(request, driver):
    return request.param(driver, lambda n: b"r" * n)


def accept(transport, low=0, high=1):
    for word, value in enumerate((low, high)):
        transport.put("accept_select", word)
        transport.put("accept", value)


def start(transport):
    transport.put("status", 3)
    accept(transport)
    transport.put("status", 11)
    assert transport.get("status") == 11
    transport.put("select", 0)
    transport.put("size", 8)
    for area, at in (("descriptors", DESCRIPTORS), ("driver", DRIVER), ("device", DEVICE)):
        transport.put(area, at)
    transport.put("ready", 1)
    transport.put("status", 15)


def ask(driver, transport, length=16, at=BUFFERS):
    driver.describe(0, at, length, WRITE)
    driver.offer(0)
    transport.put("notify", 0)


def test_a_request_is_filled_and_told(driver, transport):
    start(transport)
    ask(driver, transport)
    assert driver.used() == [(0, 16)] and driver.memory.read(BUFFERS, 17) == b"r" * 16 + b"\0"
    assert driver.irq.high and transport.acknowledge() == 1 and not driver.irq.high


def test_a_driver_that_polls_is_not_interrupted(driver, transport):
    start(transport)
    driver.silence()
    ask(driver, transport)
    assert driver.used() == [(0, 16)] and not driver.irq.high


def test_a_large_request_is_answered_in_part(driver, transport):
    start(transport)
    ask(driver, transport, length=0xC000)
    assert driver.used() == [(0, 4096)]


def test_nothing_happens_before_the_driver_is_ready(driver, transport):
    ask(driver, transport)
    assert driver.used() == []


def test_the_modern_interface_must_be_accepted(transport):
    transport.put("features_select", 1)
    assert transport.get("features") & 1
    transport.put("status", 3)
    accept(transport, high=0)
    transport.put("status", 11)
    assert transport.get("status") == 3


def test_a_feature_that_was_not_offered_is_not_agreed_on(transport):
    transport.put("status", 3)
    accept(transport, low=1)
    transport.put("status", 11)
    assert transport.get("status") == 3


def test_a_hostile_request_makes_the_device_ask_for_a_reset_and_a_reset_heals_it(driver, transport):
    start(transport)
    driver.describe(0, BUFFERS, 16, WRITE | NEXT, 0)
    driver.offer(0)
    transport.put("notify", 0)
    assert transport.get("status") == 15 | 64 and driver.irq.high and transport.acknowledge() & 2
    transport.put("status", 0)
    assert transport.get("status") == 0 and not driver.irq.high and transport.get("ready") == 0
    driver.__init__()
    transport.device.queues[0].memory = driver.memory
    start(transport)
    ask(driver, transport)
    assert driver.used() == [(0, 16)]


def test_why_a_driver_was_refused_is_told_when_asked_for(driver, transport):
    lines = []
    transport.chip.trace_to(Trace.parse("rng.driver_error", write=lines.append), "rng")
    start(transport)
    ask(driver, transport, at=1 << 60)
    assert lines == ["0 rng.driver_error why='16 bytes at 0x1000000000000000 are not memory'"]


def test_a_queue_that_does_not_exist_has_no_size(transport):
    transport.put("select", 1)
    transport.put("ready", 1)
    assert transport.get("maximum") == 0 and transport.get("ready") == 0


def test_a_restored_device_interrupts_and_serves_on(driver, transport):
    start(transport)
    ask(driver, transport)
    again = Driver()
    again.memory, again.index = driver.memory, driver.index
    copy = type(transport)(again, lambda n: b"s" * n)
    copy.chip.restore(transport.chip.save())
    assert again.irq.high
    ask(again, copy)
    assert again.used() == [(0, 16), (0, 16)] and again.memory.read(BUFFERS, 1) == b"s"


def test_the_memory_mapped_identity_is_what_linux_looks_for(driver):
    chip = Mmio(driver, bytes).chip
    assert [chip.read(at, 4) for at in (0, 4, 8)] == [0x74726976, 2, 4]


def test_the_pci_identity_and_capabilities_are_what_linux_looks_for(driver):
    chip = Pci(driver, bytes).chip
    assert chip.read(0, 4) == 0x1005_1AF4 and chip.read(0x3D, 1) == 1
    found, at = {}, chip.read(0x34, 1)
    while at:
        if chip.read(at, 1) == 9:
            found[chip.read(at + 3, 1)] = chip.read(at + 8, 4), chip.read(at + 12, 4)
        at = chip.read(at + 1, 1)
    assert found == {1: (0, 0x38), 2: (0x3000, 0x1000), 3: (0x1000, 1), 4: (0x2000, 0x1000), 5: (0, 0)}
