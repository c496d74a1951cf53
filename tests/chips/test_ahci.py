"""AHCI 1.3.1: what its registers say, and what a command leaves behind."""

import struct

import pytest

from guesthouse.system.chips.ide.ahci import Hba
from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.kit import Line
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import Memory, Refused

LIST, FRAMES, TABLE, DATA = 0x400, 0x800, 0x1000, 0x4000
GLOBAL, PENDING = 0x04, 0x08
STATUS, ENABLE, COMMAND, TASK_FILE, SIGNATURE, LINK, CONTROL, ERRORS, ACTIVE, ISSUE = (
    0x10, 0x14, 0x18, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38)


class Rig:
    """An adapter with a disk at port 0 and a CD at port 1, both running."""

    def __init__(self):
        self.memory, self.irq, self.disk = Memory(), Line(), MemoryDisk()
        self.chip = Hba(self.memory, self.irq, refused=Refused)
        self.chip.attach(0, AtaDisk(self.disk, serial_ata=True))
        self.chip.attach(1, AtapiCdrom(MemoryDisk(64, 2048)))
        for n in (0, 1):
            for register, value in ((0, LIST), (8, FRAMES), (ERRORS, 0xFFFF_FFFF), (STATUS, 0xFFFF_FFFF),
                                    (ENABLE, 0xFFFF_FFFF), (COMMAND, 0x11)):
                self.put(register, value, n)
        self.chip.write(PENDING, 4, 0xFFFF_FFFF)
        self.chip.write(GLOBAL, 4, 2)

    def get(self, register, n=0):
        return self.chip.read(0x100 + 0x80 * n + register, 4)

    def put(self, register, value, n=0):
        self.chip.write(0x100 + 0x80 * n + register, 4, value)

    def issue(self, command, lba=0, count=1, n=0, *, size=512, flags=0, frame=0x80, packet=b""):
        self.memory.write(LIST, struct.pack("<IIQ", 5 | flags | 1 << 16, 0, TABLE))
        self.memory.write(TABLE, bytes((0x27, frame, command, 0, lba, 0, 0, 0x40, 0, 0, 0, 0, count, 0, 0, 0)).ljust(
            64, b"\0") + packet.ljust(16, b"\0"))
        self.memory.write(TABLE + 0x80, struct.pack("<QII", DATA, 0, size - 1))
        self.put(ISSUE, 1, n)


@pytest.fixture
def rig():
    return Rig()


def test_capabilities_tell_of_ports_slots_queues_and_64_bits(rig):
    found = rig.chip.read(0, 4)
    assert found & 0x1F == 5 and found >> 8 & 0x1F == 31 and found >> 30 == 3
    assert rig.chip.read(0x0C, 4) == 0x3F and rig.chip.read(0x10, 4) == 0x0001_0300


def test_signatures_tell_disks_from_packet_devices_and_an_empty_port_has_no_link(rig):
    assert [rig.get(SIGNATURE, n) for n in (0, 1)] == [0x0000_0101, 0xEB14_0101]
    assert [rig.get(LINK, n) & 0xF for n in (0, 1, 2)] == [3, 3, 0]


def test_a_read_leaves_data_count_frame_and_an_interrupt(rig):
    rig.issue(0x25, lba=7)
    assert rig.memory.read(DATA, 512) == rig.disk.read(7, 1) and rig.memory.read(LIST + 4, 4) == b"\0\2\0\0"
    assert rig.memory.read(FRAMES + 0x40, 3) == b"\x34\x40\x50" and rig.get(STATUS) == 1 and rig.irq.high
    assert rig.get(ISSUE) == 0 and rig.chip.read(PENDING, 4) == 1


def test_a_command_by_pio_leaves_a_setup_frame(rig):
    rig.issue(0xEC)
    assert rig.memory.read(FRAMES + 0x20, 1) == b"\x5F" and rig.get(STATUS) == 2


def test_a_command_that_fails_stops_the_list_and_still_sends_its_frame_with_an_interrupt(rig):
    rig.issue(0x25, lba=255, count=2)
    assert rig.get(STATUS) == 1 << 30 | 1 and rig.get(TASK_FILE) & 1 and rig.get(ISSUE) == 1
    rig.put(COMMAND, 0x10)
    rig.put(COMMAND, 0x11)
    assert rig.get(ISSUE) == 0
    rig.put(STATUS, 0xFFFF_FFFF)
    rig.issue(0x25)
    assert rig.get(STATUS) == 1


def test_a_packet_that_fails_is_heard_of_too(rig):
    rig.issue(0xA0, n=1, packet=b"\xFF", flags=1 << 5)  # no such command
    assert rig.get(STATUS, 1) & (1 << 30 | 1) == 1 << 30 | 1


def test_regions_outside_memory_are_a_fatal_bus_error(rig):
    rig.put(0, 0xFFFF_FC00)
    rig.put(ISSUE, 1)
    assert rig.get(STATUS) & 1 << 29 and rig.irq.high


def test_a_port_that_is_not_started_takes_no_commands(rig):
    rig.put(COMMAND, 0x10)
    rig.issue(0x25)
    assert rig.get(ISSUE) == 0 and rig.get(STATUS) == 0


def test_a_reset_of_the_wire_brings_the_signature_and_tells_of_the_change(rig):
    rig.put(CONTROL, 1)
    rig.put(CONTROL, 0)
    assert rig.get(ERRORS) & 1 << 26 and rig.get(STATUS) & 1 << 6 and rig.get(SIGNATURE) == 0x101


def test_a_reset_of_the_adapter_stops_ports_and_interrupts(rig):
    rig.issue(0x25)
    rig.chip.write(GLOBAL, 4, 1)
    assert rig.chip.read(GLOBAL, 4) == 1 << 31 and not rig.irq.high and rig.get(COMMAND) & 0x8001 == 0
