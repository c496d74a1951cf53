"""Traffic that looks like a driver's, with wrong values in it: whole commands to disks, CDs and floppies."""

import random

from tests.chips.disks import MemoryDisk
from tests.chips.test_fuzz import World, step

ROUNDS = 4000
ATA = (0x20, 0x24, 0xC4, 0x29, 0xC8, 0x25, 0x30, 0x34, 0xC5, 0x39, 0xCA, 0x35, 0xEC, 0xA1, 0x08, 0x90, 0xEF, 0xC6,
       0x91, 0xF8, 0x27, 0xE7, 0x40)
PACKETS = (0x00, 0x03, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43, 0x46, 0x4A, 0x51, 0x5A, 0xA8, 0xBB, 0xBE)
FLOPPY = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18, 19, 20, 22, 24)


def small(rng):
    return rng.choice((0, 0, 0, 1, 2, 5, 16, 0x3F, 255))


def ata_command(rng, chip):
    ports = chip.channel.command
    for n in range(1, 7):
        ports.write(n, 1, rng.choice((0, 1, 2, 0xE0, 0xB0, 0xA0, rng.randrange(256))))
    ports.write(7, 1, rng.choice(ATA))


def packet(rng, chip):
    ports = chip.channel.command
    for n, value in ((6, 0xB0), (1, rng.randrange(2)), (4, rng.randrange(256)), (5, rng.randrange(256)), (7, 0xA0)):
        ports.write(n, 1, value)
    for byte in (rng.choice(PACKETS), *(small(rng) for _ in range(11))):
        ports.write(0, 1, byte)


def bus_master(rng, chip):
    chip.master.memory.write(0x100, rng.randbytes(4) + bytes((small(rng), small(rng), 0, rng.choice((0, 0x80)))))
    chip.master.write(4, 4, rng.choice((0x100, 0xFFF0, rng.getrandbits(32))))
    chip.master.write(0, 1, rng.choice((0, 1, 8, 9)))


def data(rng, chip):
    ports = chip.channel.command
    for _ in range(rng.randrange(300)):
        ports.read(0, 2)
        ports.write(0, 2, 0x1234)


def tray(rng, chip):
    chip.cd.insert(MemoryDisk(64, 2048)) if rng.random() < 0.8 else chip.cd.eject()


def test_disks_and_cds_survive_commands_with_wrong_values():
    rng, world = random.Random("ide"), World("ide")
    for _ in range(ROUNDS):
        rng.choice((ata_command, packet, bus_master, data, tray))(rng, world.chip)
        step(rng, world)
    world.chip.channel.reset()
    assert world.chip.channel.command.read(7, 1) == 0x50


def floppy_command(rng, chip):
    for byte in (rng.choice(FLOPPY) | rng.choice((0, 0x40, 0x80, 0xC0)), *(small(rng) for _ in range(8))):
        chip.floppy.write(5, 1, byte)
    chip.floppy.clock.advance_to(chip.floppy.clock.now() + 200_000)
    chip.floppy.clock.fire_due()


def dma_channel(rng, chip):
    chip.dma.first.write(10, 1, 2)
    chip.dma.first.write(11, 1, rng.choice((0x46, 0x4A, 0x56, 0x66)))
    chip.floppy.write(2, 1, rng.choice((0x1C, 0x1C, 0x0C, 0x1D, 0)))


def results(rng, chip):
    for _ in range(10):
        chip.floppy.read(5, 1)


def media(rng, chip):
    chip.floppy.insert(rng.randrange(4), MemoryDisk(rng.choice((2880, 720, 5))))


def test_floppies_survive_commands_with_wrong_values():
    rng, world = random.Random("floppy"), World("floppy")
    for n in range(ROUNDS):
        rng.choice((floppy_command, dma_channel, results))(rng, world.chip)
        if n % 100 == 0:
            media(rng, world.chip)
        step(rng, world)
    assert len(world.chip.floppy.results) <= 10 and len(world.chip.floppy.ended) <= 4
