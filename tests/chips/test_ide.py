import pytest

from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.ide.bus_master import BusMaster
from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.piix_ide import PiixIde
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import Memory, Refused

TABLE, DATA = 0x100, 0x2000


class Bench:
    def __init__(self):
        self.irq, self.memory = Line(), Memory()
        self.channel = Channel(self.irq)
        self.disk, self.disc = MemoryDisk(), MemoryDisk(64, 2048)
        self.cd = AtapiCdrom(self.disc)
        self.channel.attach(0, AtaDisk(self.disk))
        self.channel.attach(1, self.cd)
        self.master = BusMaster(self.channel, Channel(Line()), self.memory, refused=Refused)
        self.ports = self.channel.command

    def command(self, command, lba=0, count=1, *, wide=False, device=0xE0, features=0):
        self.ports.write(6, 1, device | (0 if wide else lba >> 24 & 15))
        self.ports.write(1, 1, features)
        for n, shift in ((2, None), (3, 0), (4, 8), (5, 16)):
            if wide:
                self.ports.write(n, 1, (count >> 8 if shift is None else lba >> shift + 24) & 0xFF)
            self.ports.write(n, 1, (count if shift is None else lba >> shift) & 0xFF)
        self.ports.write(7, 1, command)

    def take(self, count):
        return b"".join(self.ports.read(0, 2).to_bytes(2, "little") for _ in range(count // 2))

    def send(self, data):
        for n in range(0, len(data), 2):
            self.ports.write(0, 2, int.from_bytes(data[n:n + 2], "little"))

    def regions(self, *pieces):
        for n, (at, count) in enumerate(pieces):
            last = 0x80 if n == len(pieces) - 1 else 0
            self.memory.write(TABLE + 8 * n, at.to_bytes(4, "little") + (count & 0xFFFF).to_bytes(2, "little")
                              + bytes((0, last)))
        self.master.write(4, 4, TABLE)

    def packet(self, *head, limit=0xFFFE, features=0):
        self.command(0xA0, limit << 8, device=0xB0, features=features)
        assert self.ports.read(2, 1) & 3 == 1 and self.ports.read(7, 1) & 8
        self.send(bytes(head).ljust(12, b"\0"))

    def answer(self):
        found = b""
        while self.ports.read(7, 1) & 8:
            found += self.take(self.ports.read(4, 1) | self.ports.read(5, 1) << 8)
        return found


@pytest.fixture
def bench():
    return Bench()


def test_identify_tells_model_and_size(bench):
    bench.command(0xEC)
    assert bench.irq.high and bench.ports.read(7, 1) == 0x58 and not bench.irq.high
    found = bench.take(512)
    swapped = b"".join(found[n:n + 2][::-1] for n in range(54, 94, 2))
    assert swapped.rstrip() == b"guesthouse disk" and int.from_bytes(found[120:124], "little") == 256
    assert bench.ports.read(7, 1) == 0x50


@pytest.mark.parametrize("command, wide", ((0x20, False), (0x24, True), (0xC4, False), (0x29, True)))
def test_sectors_are_read_one_block_after_the_other(bench, command, wide):
    bench.command(command, 200, 40, wide=wide)
    data = b"".join(bench.take(512) for _ in range(40) if bench.ports.read(7, 1) & 8)
    assert data == bench.disk.read(200, 40) and bench.ports.read(7, 1) == 0x50


@pytest.mark.parametrize("command, wide", ((0x30, False), (0x34, True), (0xC5, False), (0x39, True)))
def test_sectors_are_written_with_an_interrupt_after_each_block(bench, command, wide):
    bench.command(command, 3, 2, wide=wide)
    assert not bench.irq.high
    bench.send(bytes(range(256)) * 4)
    assert bench.irq.high and bench.disk.read(3, 2) == bytes(range(256)) * 4
    bench.command(0xE7)
    assert bench.disk.flushed == 1


def test_cylinder_head_and_sector_are_an_address_too(bench):
    bench.ports.write(6, 1, 0xA2)
    for n, value in ((2, 1), (3, 5), (4, 0), (5, 0)):
        bench.ports.write(n, 1, value)
    bench.ports.write(7, 1, 0x20)
    assert int.from_bytes(bench.take(4), "little") == 2 * 63 + 4


@pytest.mark.parametrize("command, lba, status, error", ((0x20, 256, 0x51, 0x10), (0xB0, 0, 0x51, 4)))
def test_what_the_disk_cannot_is_an_error(bench, command, lba, status, error):
    bench.command(command, lba)
    assert bench.irq.high and (bench.ports.read(7, 1), bench.ports.read(1, 1)) == (status, error)


def test_a_disk_that_is_not_writable_refuses(bench):
    bench.disk.writable = False
    bench.command(0x30)
    assert bench.ports.read(7, 1) & 1


@pytest.mark.parametrize("started_first", (False, True))
def test_dma_fills_the_regions_of_the_table(bench, started_first):
    bench.regions((DATA, 512), (0x8000, 0x400))
    if started_first:
        bench.master.write(0, 1, 9)
    bench.command(0xC8, 10, 3)
    if not started_first:
        bench.master.write(0, 1, 9)
    assert bench.irq.high and bench.master.read(2, 1) & 7 == 4
    assert bench.memory.read(DATA, 512) + bench.memory.read(0x8000, 0x400) == bench.disk.read(10, 3)


def test_dma_writes_to_the_disk(bench):
    bench.memory.write(DATA, bytes(range(256)) * 2)
    bench.regions((DATA, 512))
    bench.command(0x35, 7, 1, wide=True)
    bench.master.write(0, 1, 1)
    assert bench.irq.high and bench.disk.read(7, 1) == bytes(range(256)) * 2


def test_a_table_outside_memory_is_an_error_and_not_ours(bench):
    bench.master.write(4, 4, 0xFFFF_FFF0)
    bench.command(0xC8)
    bench.master.write(0, 1, 9)
    assert bench.master.read(2, 1) & 3 == 2


def test_a_reset_shows_the_signatures(bench):
    bench.channel.control.write(0, 1, 4)
    bench.channel.control.write(0, 1, 0)
    found = []
    for device in (0xA0, 0xB0):
        bench.ports.write(6, 1, device)
        found.append((bench.ports.read(4, 1), bench.ports.read(5, 1)))
    assert found == [(0, 0), (0x14, 0xEB)]


def test_an_empty_cable_floats_and_a_missing_drive_is_silent():
    channel = Channel(Line())
    assert channel.command.read(7, 1) == 0x7F, "nobody is busy"
    channel.attach(0, AtaDisk(MemoryDisk()))
    channel.command.write(6, 1, 0xB0)
    assert channel.command.read(7, 1) == 0


def test_a_cd_is_found_and_read_in_blocks_of_the_guests_size(bench):
    bench.command(0xA1, device=0xB0)
    assert bench.take(2) == b"\xC0\x85"
    bench.packet(0x12, 0, 0, 0, 36)
    assert bench.answer()[8:16] == b"GUESTHSE"
    bench.packet(0x25)
    assert bench.answer() == (63).to_bytes(4, "big") + (2048).to_bytes(4, "big")
    bench.packet(0x28, 0, 0, 0, 0, 5, 0, 0, 40, limit=4096)
    assert bench.answer() == bench.disc.read(5, 40) and bench.ports.read(2, 1) & 3 == 3


def test_a_cd_is_read_by_dma(bench):
    bench.regions((DATA, 4096))
    bench.packet(0x28, 0, 0, 0, 0, 2, 0, 0, 2, features=1)
    bench.master.write(0, 1, 9)
    assert bench.irq.high and bench.memory.read(DATA, 4096) == bench.disc.read(2, 2)


def test_the_tray_opens_unless_it_is_locked_and_a_new_disc_is_told(bench):
    bench.packet(0x1E, 0, 0, 0, 1)
    bench.packet(0x1B, 0, 0, 0, 2)
    assert bench.ports.read(7, 1) & 1
    bench.packet(0x1E)
    bench.packet(0x1B, 0, 0, 0, 2)
    bench.packet(0)
    assert bench.ports.read(1, 1) >> 4 == 2
    bench.cd.insert(bench.disc)
    bench.packet(0)
    assert bench.ports.read(7, 1) & 1
    bench.packet(3, 0, 0, 0, 18)
    assert (found := bench.answer())[2] == 6 and found[12] == 0x28
    bench.packet(0)
    assert bench.ports.read(7, 1) == 0x50


def test_the_contents_are_one_track_and_the_lead_out(bench):
    bench.packet(0x43, 0, 0, 0, 0, 0, 0, 0, 100)
    assert bench.answer() == bytes.fromhex("00120101 0014010000000000 0014aa0000000040")


def test_the_pci_function_reaches_the_bus_master(bench):
    function = PiixIde(bench.master)
    function.bar_write(4, 4, 4, 0x1234)
    assert function.bar_read(4, 4, 4) == 0x1234 and function.read(0x40, 4) == 0x8000_8000
