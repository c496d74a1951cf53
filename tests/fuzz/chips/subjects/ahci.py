"""The AHCI adapter with a disk and a CD: command lists as a driver makes them, right and wrong."""

from __future__ import annotations

import struct

from guesthouse.system.chips.ide.ahci import Hba
from guesthouse.system.chips.ide.ahci_port import Port
from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import BadDisk, Subject, door, must, traffic

LIST, FRAMES, TABLE, DATA = 0x400, 0x800, 0x1000, 0x4000
CONTROL, CI, ACTIVE, STATUS, TFD = 0x18, 0x38, 0x34, 0x10, 0x20


class Ahcis(Subject):
    COVERS = (Hba, Port)
    LIMIT = 400_000
    AFTER_RESET = {("", 0x10, 4): 0x0001_0300, ("", 0x04, 4): 0x8000_0000, ("", 0x124, 4): 0x0101,
                   ("", 0x1A4, 4): 0xEB14_0101, ("", 0x128, 4): 0x123, ("", 0x228, 4): 0}

    def build(self):
        self.disks = {"disk": BadDisk(), "cd": BadDisk(64, 2048)}
        chip = Hba(self.memory, self.line(), refused=Refused)
        chip.attach(0, AtaDisk(self.disks["disk"], serial_ata=True))
        chip.attach(1, AtapiCdrom(self.disks["cd"]))
        return chip

    def open(self):
        ports = tuple((0x100 + 0x80 * n + at, 4) for n in (0, 1) for at in range(0, 0x40, 4))
        here = door(self.chip)
        return {"": here._replace(known=here.known + ports)}

    def check(self):
        must(self.chip.enabled or not self.lines[0].high, "an interrupt though they are off")

    def poke(self):
        self.disks["disk"].bad = self.rng.choice((-1, -1, 5))

    def starts(self, n):
        at = 0x100 + 0x80 * n
        self.disks["disk"].bad = -1
        self.write(4, 1, 4)
        self.write(4, 2, 4)
        for register, value in ((CONTROL, 0), (0, LIST), (4, 0), (8, FRAMES), (12, 0), (0x30, 0xFFFF_FFFF),
                                (STATUS, 0xFFFF_FFFF), (0x14, 0xFFFF_FFFF), (CONTROL, 0x11)):
            self.write(at + register, value, 4)
        self.write(8, 0xFFFF_FFFF, 4)
        return at

    def command(self, slot, command, lba=0, count=1, pieces=(), write=False, features=0, packet=bytes(16)):
        table = TABLE + 0x100 * slot
        self.memory.write(LIST + 32 * slot, struct.pack("<IIQ", 5 | write << 6 | len(pieces) << 16, 0, table))
        frame = bytes((0x27, 0x80, command, features & 0xFF, lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF, 0x40,
                       lba >> 24 & 0xFF, 0, 0, features >> 8, count & 0xFF, count >> 8, 0, 0)).ljust(64, b"\0")
        self.memory.write(table, frame + packet)
        for i, (address, size) in enumerate(pieces):
            self.memory.write(table + 0x80 + 16 * i, struct.pack("<QII", address, 0, size - 1))

    @traffic
    def reads_and_writes_by_dma(self):
        at = self.starts(0)
        lba, count, write = self.rng.randrange(200), self.rng.randrange(1, 20), self.rng.random() < 0.5
        split = self.rng.randrange(1, 512 * count)
        pieces = ((DATA, split), (DATA + 0x3000, 512 * count - split)) if split < 0x3000 else ((DATA, 512 * count),)
        if write:
            for address, size in pieces:
                self.memory.write(address, self.rng.randbytes(size))
        self.command(3, 0x35 if write else 0x25, lba, count, pieces, write)
        self.write(at + CI, 8, 4)
        data = b"".join(self.memory.read(address, size) for address, size in pieces)
        must(data == self.disks["disk"].read(lba, count), "the sectors")
        must(self.read(at + CI, 4) == 0 and self.read(at + TFD, 4) & 0xFF == 0x50, "not done")
        must(self.memory.read(LIST + 3 * 32 + 4, 4) == (512 * count).to_bytes(4, "little"), "the count")
        must(self.lines[0].high and self.read(8, 4) == 1 and self.read(at + STATUS, 4) & 1, "the interrupt")
        self.write(at + STATUS, 0xFFFF_FFFF, 4)
        self.write(at + 0x30, 0xFFFF_FFFF, 4)
        self.write(8, 1, 4)
        must(not self.lines[0].high, "it stays")

    @traffic
    def queues(self):
        at = self.starts(0)
        tags = self.rng.sample(range(8), 3)
        for tag in tags:
            self.command(tag, 0x60, tag * 3, tag << 3, ((DATA + 0x400 * tag, 1024),), features=2)
        mask = sum(1 << tag for tag in tags)
        self.write(at + ACTIVE, mask, 4)
        self.write(at + CI, mask, 4)
        must(self.read(at + ACTIVE, 4) == 0 and self.read(at + CI, 4) == 0, "the queue is not empty")
        must(self.read(at + STATUS, 4) & 8, "no set-device-bits frame")
        for tag in tags:
            must(self.memory.read(DATA + 0x400 * tag, 1024) == self.disks["disk"].read(tag * 3, 2), "tag", tag)

    @traffic
    def stops_at_an_error_and_recovers(self):
        at = self.starts(0)
        self.command(0, 0x60, 1000, 5 << 3, ((DATA, 512),), features=1)
        self.command(1, 0x25, 0, 1, ((DATA, 512),))
        self.write(at + ACTIVE, 1 << 5, 4)
        self.write(at + CI, 3, 4)
        must(self.read(at + STATUS, 4) & 1 << 30 and self.read(at + TFD, 4) & 1, "no error")
        must(self.read(at + CI, 4) == 2 and self.read(at + ACTIVE, 4) == 1 << 5, "the list went on")
        self.write(at + CONTROL, 0x10, 4)
        self.write(at + CONTROL, 0x11, 4)
        self.command(0, 0x2F, 0x10, 1, ((DATA, 512),))
        self.write(at + CI, 1, 4)
        must(self.memory.read(DATA, 1)[0] == 5 and sum(self.memory.read(DATA, 512)) & 0xFF == 0, "log page 10h")

    @traffic
    def sends_packets(self):
        at = self.starts(1)
        self.command(0, 0xA0, 0, 0, ((DATA, 0x2000),), features=1, packet=bytes((0, *bytes(15))))
        self.write(at + CI, 1, 4)  # perhaps the disc has been changed
        self.write(at + CONTROL, 0x10, 4)
        self.write(at + CONTROL, 0x11, 4)
        packet = bytes((0x28, 0, 0, 0, 0, 7, 0, 0, 2)).ljust(16, b"\0")
        self.command(0, 0xA0, 0, 0, ((DATA, 4096),), features=1, packet=packet)
        self.write(at + CI, 1, 4)
        must(self.memory.read(DATA, 4096) == self.disks["cd"].read(7, 2), "the disc")

    @traffic
    def lies(self):
        rng, n = self.rng, self.rng.randrange(2)
        at = self.starts(n)
        pieces = [(rng.choice((DATA, 0xFFF0, 1 << 40, (1 << 64) - 2)), rng.choice((1, 2, 512, 0x40_0000)))
                  for _ in range(rng.randrange(4))]
        command = rng.choice((0x25, 0x35, 0x60, 0x61, 0xA0, 0xEC, 0xC8, 0x2F, rng.randrange(256)))
        self.command(rng.randrange(8), command, rng.getrandbits(24), rng.getrandbits(16), pieces,
                     packet=rng.randbytes(16))
        if rng.random() < 0.3:
            self.write(at + rng.choice((0, 4)), rng.choice((0xFC00, 0xFFFF_FC00)), 4)
        self.write(at + CI, self.value(4), 4)
        self.write(at + 0x2C, 1, 4)
        self.write(at + 0x2C, 0, 4)
        must(self.read(at + TFD, 4) & 0x80 == 0, "busy after a reset")


SUBJECTS = {"ahci": Ahcis}
