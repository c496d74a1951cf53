import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.i8237 import DmaPair
from guesthouse.system.chips.i82077 import Floppy
from guesthouse.system.chips.kit import Line
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import Memory, Refused

AT = 0x2400


class Bench:
    def __init__(self):
        self.clock, self.irq, self.memory, self.disk = Clock(), Line(), Memory(), MemoryDisk(2880)
        self.dma = DmaPair(self.memory, refused=Refused)
        self.chip = Floppy(self.clock, self.irq, self.dma)
        self.chip.insert(0, self.disk)
        self.chip.write(2, 1, 0)
        self.chip.write(2, 1, 0x1C)

    def program(self, mode, count, at=AT):
        first = self.dma.first
        for port, value in ((12, 0), (11, mode | 2), (4, at & 0xFF), (4, at >> 8), (5, count - 1 & 0xFF),
                            (5, count - 1 >> 8), (10, 2)):
            first.write(port, 1, value)
        self.dma.pages.write(1, 1, 0)

    def command(self, *values):
        for value in values:
            assert self.chip.read(4, 1) & 0xC0 == 0x80
            self.chip.write(5, 1, value)
        self.clock.advance_to(self.clock.now() + 1_000_000)
        self.clock.fire_due()
        found = []
        while self.chip.read(4, 1) & 0xC0 == 0xC0:
            found.append(self.chip.read(5, 1))
        return found

    def seek(self, track):
        self.command(0x0F, 0, track)
        assert self.irq.high and self.command(8) == [0x20, track]


@pytest.fixture
def bench():
    made = Bench()
    assert made.irq.high and [made.command(8)[0] for _ in range(4)] == [0xC0, 0xC1, 0xC2, 0xC3]
    return made


def test_nothing_to_sense_is_an_invalid_command(bench):
    assert bench.command(8) == [0x80] and bench.command(0x1F) == [0x80] and bench.command(0x10) == [0x90]


def test_sectors_are_read_into_memory_until_the_terminal_count(bench):
    bench.seek(3)
    bench.program(0x44, 1024)
    assert bench.command(0xE6, 0, 3, 0, 18, 2, 18, 27, 255) == [0, 0, 0, 3, 1, 2, 2]
    assert bench.memory.read(AT, 1024) == bench.disk.read(3 * 36 + 17, 2)
    assert bench.dma.first.read(8, 1) & 4 and bench.dma.first.read(15, 1) & 4


def test_sectors_are_written(bench):
    bench.memory.write(AT, b"\x5A" * 512)
    bench.program(0x48, 512)
    assert bench.command(0x45, 4, 0, 1, 1, 2, 18, 27, 255)[:3] == [4, 0, 0]
    assert bench.disk.read(18, 1) == b"\x5A" * 512


def test_the_end_of_the_track_before_the_terminal_count_is_told(bench):
    bench.program(0x44, 0x8000)
    assert bench.command(0x46, 0, 0, 0, 18, 2, 18, 27, 255)[:2] == [0x40, 0x80]


@pytest.mark.parametrize("place, answer", (((0, 0, 19, 2), [0x40, 4, 0]), ((1, 0, 1, 2), [0x40, 4, 0x10])))
def test_a_sector_that_is_not_there_is_an_error(bench, place, answer):
    bench.program(0x44, 512)
    assert bench.command(0x46, 0, *place, 18, 27, 255)[:3] == answer


def test_a_drive_without_a_disk_finds_no_mark_and_a_protected_one_is_not_written(bench):
    bench.program(0x48, 512)
    bench.disk.writable = False
    assert bench.command(0x45, 0, 0, 0, 1, 2, 18, 27, 255)[:2] == [0x40, 2] and bench.command(4, 0)[0] & 0x40
    bench.chip.eject(0)
    assert bench.command(0x4A, 0)[:2] == [0x40, 1]


def test_the_change_line_falls_at_the_next_step(bench):
    assert bench.chip.read(7, 1) == 0x80
    bench.seek(1)
    assert bench.chip.read(7, 1) == 0


def test_a_track_is_formatted(bench):
    bench.memory.write(AT, b"".join(bytes((0, 0, n + 1, 2)) for n in range(18)))
    bench.program(0x48, 72)
    assert bench.command(0x4D, 0, 2, 18, 80, 0xF6)[:3] == [0, 0, 0]
    assert bench.disk.read(0, 18) == b"\xF6" * 512 * 18
