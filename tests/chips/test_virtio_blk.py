"""The block device and the console, at their queues."""

import pytest

from guesthouse.system.chips.virtio.blk import Blk
from guesthouse.system.chips.virtio.console import Console
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import BUFFERS, NEXT, WRITE, Driver, Refused

HEAD, STATUS = BUFFERS, BUFFERS + 0x800


class Bench(Driver):
    """A driver with its device; no transport between them."""

    def __init__(self, device, queue=0):
        super().__init__()
        self.device = device
        device.attach(self.memory, Refused, lambda queue: None)
        self.place(device.queues[queue])
        device.status = 0x0F

    def request(self, kind, sector, flags, length, data=b""):
        self.memory.write(HEAD, kind.to_bytes(8, "little") + sector.to_bytes(8, "little"))
        self.memory.write(HEAD + 0x1000, data)
        self.describe(0, HEAD, 16, NEXT, 1)
        self.describe(1, HEAD + 0x1000, length, NEXT | flags, 2)
        self.describe(2, STATUS, 1, WRITE)
        self.offer(0)
        self.device.notify(0)
        return self.memory.read(STATUS, 1)[0]


@pytest.fixture
def disk():
    return MemoryDisk()


@pytest.fixture
def bench(disk):
    return Bench(Blk(disk, serial="GH1"))


def test_sectors_are_read_and_counted_with_the_status(bench, disk):
    assert bench.request(0, 9, WRITE, 1024) == 0
    assert bench.memory.read(HEAD + 0x1000, 1024) == disk.read(9, 2)
    assert bench.used() == [(0, 1025)] and bench.device.interrupts == 1


def test_sectors_are_written_and_flushed(bench, disk):
    assert bench.request(1, 5, 0, 512, b"\x77" * 512) == 0 and disk.read(5, 1) == b"\x77" * 512
    assert bench.request(4, 0, 0, 0) == 0 and disk.flushed == 1


@pytest.mark.parametrize("kind, sector, length, status", ((0, 256, 512, 1), (0, 0, 100, 1), (99, 0, 512, 2)))
def test_what_cannot_be_is_told_in_the_status(bench, kind, sector, length, status):
    assert bench.request(kind, sector, WRITE, length) == status


def test_a_disk_that_is_not_writable_says_so_and_stays(bench, disk):
    disk.writable = False
    assert bench.device.features & 1 << 5 and bench.request(1, 0, 0, 512) == 1


def test_the_disk_has_a_name_and_a_size(bench):
    assert bench.request(8, 0, WRITE, 20) == 0 and bench.memory.read(HEAD + 0x1000, 4) == b"GH1\0"
    assert bench.device.read_configuration(0, 8) == 256


def test_a_request_without_a_status_asks_for_a_reset(bench):
    bench.describe(0, HEAD, 16)
    bench.offer(0)
    bench.device.notify(0)
    assert bench.device.status & 64


def test_a_console_sends_what_the_driver_gives():
    heard = []
    bench = Bench(Console(heard.append), queue=1)
    bench.memory.write(BUFFERS, b"hello")
    bench.describe(0, BUFFERS, 5)
    bench.offer(0)
    bench.device.notify(1)
    assert heard == [b"hello"] and bench.used() == [(0, 0)]


def test_a_console_keeps_what_comes_until_there_is_a_buffer():
    bench = Bench(Console(lambda data: None))
    assert bench.device.receive(b"abc" * 2000) == 4096 and bench.device.room() == 0
    bench.describe(0, BUFFERS, 8, WRITE)
    bench.offer(0)
    bench.device.notify(0)
    assert bench.memory.read(BUFFERS, 9) == b"abcabcab\0" and bench.used() == [(0, 8)]
    bench.offer(0)
    bench.device.receive(b"")
    assert bench.memory.read(BUFFERS, 8) == b"cabcabca"
