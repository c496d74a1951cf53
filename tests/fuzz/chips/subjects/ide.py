"""An IDE channel with a disk and a CD behind a bus master, and a driver that moves sectors both ways by every
command there is and compares them with the medium.
"""

from __future__ import annotations

from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.ide.bus_master import BusMaster
from guesthouse.system.chips.ide.channel import Channel
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import BadDisk, Subject, Whole, direct, door, must, traffic

ATA = (
    0x20,
    0x24,
    0xC4,
    0x29,
    0xC8,
    0x25,
    0x30,
    0x34,
    0xC5,
    0x39,
    0xCA,
    0x35,
    0xEC,
    0xA1,
    0x08,
    0x90,
    0xEF,
    0xC6,
    0x91,
    0xF8,
    0x27,
    0xE7,
    0x40,
)
PACKETS = (
    0x00,
    0x03,
    0x12,
    0x1A,
    0x1B,
    0x1E,
    0x25,
    0x28,
    0x2B,
    0x43,
    0x46,
    0x4A,
    0x51,
    0x5A,
    0xA8,
    0xBB,
    0xBE,
)
SECTORS = 300  # more than one DMA chunk
SMALL = (0, 0, 0, 1, 2, 5, 16, 0x3F, 255)


def _words(data):
    return [int.from_bytes(data[n:n + 2], "little") for n in range(0, len(data), 2)]


class Ide(Subject):
    COVERS = (Channel, AtaDisk, AtapiCdrom, BusMaster)
    WIDTHS = (1, 2, 2, 4)
    LIMIT = 220_000
    AFTER_RESET = {("command", 7, 1): 0x50, ("command", 1, 1): 1, ("command", 2, 1): 1, ("command", 3, 1): 1,
                   ("command", 4, 1): 0, ("command", 5, 1): 0, ("master", 0, 1): 0, ("master", 2, 1): 0,
                   ("master", 4, 4): 0}
    WRITABLE = {("master", 4, 4): (0xFFFF_FFFC, 0), ("master", 12, 4): (0xFFFF_FFFC, 0)}

    def build(self):
        self.disks = {"disk": BadDisk(SECTORS), "cd": BadDisk(80, 2048, writable=False)}
        self.channel, self.cd = Channel(self.line()), AtapiCdrom(self.disks["cd"])
        self.channel.attach(0, AtaDisk(self.disks["disk"], geometry=(16, 3, 7)))
        self.channel.attach(1, self.cd)
        self.master = BusMaster(self.channel, Channel(self.line()), self.memory, refused=Refused)
        return Whole(channel=self.channel, master=self.master)

    def open(self):
        cable, (first, second) = self.channel.typed, (half.typed for half in self.master.halves)
        return {"command": direct(door(self.channel.command), (cable.read, cable.write)),
                "control": direct(door(self.channel.control), (cable.control_read, cable.control_write)),
                "master": direct(door(self.master), (first.read, first.write), (second.read, second.write))}

    def adopt(self, other):
        self.cd.disk = other.cd.disk and self.disks["cd"]

    def check(self):
        for drive in self.channel.drives:
            must(
                0 <= drive.moved and (drive.moved < len(drive.buffer) or not drive.direction), "the buffer's place"
            )
            must(bool(drive.status & 8) == bool(drive.direction), "DRQ without a block")

    def poke(self):
        """The user changes the disc; the host's disk has a bad sector, or none."""
        if self.rng.random() < 0.5:
            self.cd.insert(self.disks["cd"]) if self.rng.random() < 0.8 else self.cd.eject()
        self.disks["disk"].bad = self.rng.choice((-1, -1, 7))
        self.disks["cd"].bad = self.rng.choice((-1, -1, 40))

    def ports(self, *values, of="command"):
        for at, value in values:
            self.write(at, value, of=of)

    # the disk

    def ready(self):
        """Drive 0, reset, its parameters as its maker has them; a driver's view of all sectors."""
        self.disks["disk"].bad = -1
        self.ports((0, 4), (0, 0), of="control")
        self.ports((0, 0), (2, 6), of="master")
        self.ports((6, 2), (2, 7), (7, 0x91))
        self.read(7, of="command")
        must(self.read(7, of="command") == 0x50 and not self.lines[0].high, "not ready")

    def address(self, lba, count, extended, chs):
        if extended:
            self.ports((2, count >> 8), (3, lba >> 24 & 0xFF), (4, 0), (5, 0))
        if chs:
            self.ports((6, lba // 7 % 3), (3, lba % 7 + 1), (4, lba // 21 & 0xFF), (5, lba // 21 >> 8))
        else:
            self.ports((6, 0x40 | (0 if extended else lba >> 24 & 15)), (3, lba & 0xFF), (4, lba >> 8 & 0xFF),
                       (5, lba >> 16 & 0xFF))
        self.ports((2, count & 0xFF))

    def place(self):
        rng = self.rng
        lba, count = rng.randrange(SECTORS + 4), rng.choice((1, 1, 1, 2, 3, 5, 8, 17))
        if rng.random() < 0.25:
            lba, count = rng.choice(
                ((SECTORS - 1, 1), (SECTORS, 1), (SECTORS - 2, 3), (0, 0), (rng.getrandbits(28), 1))
            )
        return lba, count, lba + (count or 256) <= SECTORS

    def ends(self, good, what):
        status = self.read(7, of="command")
        error = self.read(1, of="command")
        must(status == (0x50 if good else 0x51) and not self.lines[0].high, what, hex(status), hex(error))
        must(good or error in (0x04, 0x10, 0x40), what, "error", hex(error))

    @traffic
    def reads_sectors(self):
        rng, disk = self.rng, self.disks["disk"]
        self.ready()
        (lba, count, good), command = self.place(), rng.choice((0x20, 0x21, 0x24, 0xC4, 0x29))
        block = rng.choice((1, 2, 8, 16)) if command in (0xC4, 0x29) else 1
        if block > 1 or command in (0xC4, 0x29):
            self.ports((2, block), (7, 0xC6))
        extended = command in (0x24, 0x29)
        good = good and not (extended and count == 0)
        self.address(lba, count, extended, not extended and rng.random() < 0.3 and lba < 100_000)
        self.write(7, command, of="command")
        if good and self.moves_in(lba, count or 256, block):
            self.ends(True, "read")
        elif not good:
            must(self.lines[0].high, "an error does not interrupt")
            self.ends(False, "read beyond the end")
        must(disk.flushed >= 0)

    def moves_in(self, lba, count, block):
        for first in range(lba, lba + count, block):
            blocks = min(block, lba + count - first)
            must(self.lines[0].high, "no interrupt for a block")
            must(self.read(7, of="command") == 0x58 and not self.lines[0].high, "no data")
            size = self.rng.choice((2, 2, 4))
            data = b"".join(self.doors["command"].read(0, size).to_bytes(size, "little")
                            for _ in range(blocks * 512 // size))
            self.operations += blocks
            must(data == self.disks["disk"].read(first, blocks), "sector", first)
        must(not self.lines[0].high, "an interrupt after the last block")
        return True

    @traffic
    def writes_sectors(self):
        rng, disk = self.rng, self.disks["disk"]
        self.ready()
        (lba, count, good), command = self.place(), rng.choice((0x30, 0x31, 0x34, 0xC5, 0x39))
        count = min(count, 17)
        good = lba + (count or 256) <= SECTORS
        block = rng.choice((1, 4)) if command in (0xC5, 0x39) else 1
        self.ports((2, block), (7, 0xC6))
        self.read(7, of="command")
        extended = command in (0x34, 0x39)
        before = bytes(disk.bytes)
        self.address(lba, count, extended, False)
        self.write(7, command, of="command")
        if not good or extended and count == 0 or count == 0:
            must(disk.bytes == before, "written beyond the end")
            return
        data = rng.randbytes(512 * count)
        for first in range(0, count, block):
            must(self.read(7, of="command") == 0x58, "it does not want data")
            self.push(data[512 * first:512 * (first + block)])
            must(self.lines[0].high, "no interrupt after a block")
        self.operations += count
        self.ends(True, "write")
        must(
            disk.bytes == before[: 512 * lba] + data + before[512 * (lba + count) :],
            "the sectors after a write",
        )

    def push(self, block):
        """By bytes, words and doublewords; the last of them may hold more than is wanted."""
        at, write = 0, self.doors["command"].write
        mixed = self.rng.random() < 0.3
        while at < len(block):
            size = self.rng.choice((1, 2, 4)) if mixed else 2
            write(0, size, int.from_bytes(block[at:at + size], "little"))
            at += size

    @traffic
    def moves_by_dma(self):
        """Both ways, through regions of odd sizes; nothing else in RAM changes."""
        rng, disk = self.rng, self.disks["disk"]
        self.ready()
        lba, count, good = self.place()
        count = min(count, 40) or 1
        good, writes = lba + count <= SECTORS, rng.random() < 0.5
        extended = rng.random() < 0.5
        regions = self.regions(512 * count)
        data = rng.randbytes(512 * count)
        self.fill(regions, data if writes else bytes(len(data)))
        ram, sectors = bytes(self.memory.bytes), bytes(disk.bytes)
        self.write(4, 0x100, 4, "master")
        self.write(0, 0 if writes else 8, of="master")
        self.write(2, 6, of="master")
        self.address(lba, count, extended, False)
        early = rng.random() < 0.5
        if early:
            self.write(0, 1 if writes else 9, of="master")
        self.write(7, (0x35 if writes else 0x25) if extended else (0xCA if writes else 0xC8), of="command")
        if not early:
            self.write(0, 1 if writes else 9, of="master")
        must(self.lines[0].high, "no interrupt at the end")
        status = self.read(2, of="master")
        must(status & 6 == 4, "the bus master's status", hex(status))
        self.ends(good, "DMA")
        self.write(0, 0, of="master")
        self.write(2, 4, of="master")
        must(self.read(2, of="master") & 7 == 0, "the bus master does not rest")
        if good and writes:
            sectors = sectors[:512 * lba] + data + sectors[512 * (lba + count):]
        elif good:
            expected = bytearray(ram)
            self.fill(regions, disk.read(lba, count), expected)
            ram = bytes(expected)
        must(disk.bytes == sectors, "the disk after DMA")
        must(self.memory.bytes == ram, "the memory after DMA")

    def regions(self, size):
        """Physical regions at 100h, their buffers from 1000h on, with gaps."""
        rng, at, found = self.rng, 0x1000, []
        while size:
            part = min(size, rng.choice((2, 6, 512, 1024, 4096, 0x8000)))
            at += rng.choice((0, 2, 64))
            if len(found) == 30:
                part = size
            found.append((at, part))
            at, size = at + part, size - part
        for n, (start, part) in enumerate(found):
            last = 0x80 if n == len(found) - 1 else 0
            if last and not self.rng.randrange(4):
                part = 0  # 64 KiB, of which the drive takes what it needs
            self.memory.write(
                0x100 + 8 * n, start.to_bytes(4, "little") + part.to_bytes(2, "little") + bytes((0, last))
            )
        return found

    def fill(self, regions, data, memory=None):
        memory, at = self.memory.bytes if memory is None else memory, 0
        for start, size in regions:
            memory[start:start + size] = data[at:at + size]
            at += size

    @traffic
    def is_led_astray(self):
        """DMA along a list that lies outside RAM, points there, ends too early, or goes the other way."""
        rng = self.rng
        self.ready()
        kind, before, sectors = rng.randrange(4), bytes(self.memory.bytes), bytes(self.disks["disk"].bytes)
        entry = (
            (0x0001_0000 if kind == 1 else 0x1000).to_bytes(4, "little")
            + (256).to_bytes(2, "little")
            + b"\0\x80"
        )
        self.memory.write(0x100, entry)
        self.write(4, rng.choice((0xFFFC, 0x10000, 0xFFFF_FFFC)) if kind == 0 else 0x100, 4, "master")
        self.address(3, 2, False, False)
        self.write(7, 0xC8, of="command")
        self.write(0, 1 if kind == 3 else 9, of="master")
        must(bool(self.read(2, of="master") & 2) == (kind < 2), "the error", kind)
        must(
            self.read(2, of="master") & 1 == (kind > 1) and not self.lines[0].high, "the transfer's end", kind
        )
        changed = before[:0x100] + entry + before[0x108:]
        if kind == 2:
            changed = changed[:0x1000] + sectors[1536:1792] + changed[0x1100:]
        must(
            self.memory.bytes == changed and self.disks["disk"].bytes == sectors,
            "led astray, it writes",
            kind,
        )

    @traffic
    def knows_its_geometry(self):
        """Sectors count from 1; heads and sectors that are not there are not found."""
        rng = self.rng
        self.ready()
        cylinder, head, sector = rng.randrange(16), rng.randrange(4), rng.randrange(9)
        good = head < 3 and 1 <= sector <= 7 and (cylinder * 3 + head) * 7 + sector <= SECTORS
        self.ports((2, 1), (3, sector), (4, cylinder), (5, 0), (6, head), (7, 0x40))
        self.ends(good, "VERIFY by cylinder, head and sector")
        must(self.read(1, of="command") == (0 if good else 0x10), "its error")

    @traffic
    def describes_itself(self):
        self.ready()
        self.write(7, 0xEC, of="command")
        must(self.read(7, of="command") == 0x58, "IDENTIFY")
        words = [self.read(0, 2, "command") for _ in range(256)]
        must(words[60] | words[61] << 16 == SECTORS == words[100] | words[101] << 16, "the size")
        must(
            (words[1], words[3], words[6]) == (16, 3, 7) and words[83] & 0x400 and words[49] & 0x300 == 0x300,
            words,
        )
        must(
            words[54] * words[55] * words[56] == words[57] | words[58] << 16 and words[47] & 0xFF == 16,
            "geometry",
        )
        self.ends(True, "IDENTIFY")
        self.write(7, 0xF8, of="command")
        last = [self.read(n, of="command") for n in (3, 4, 5)]
        must(last == [(SECTORS - 1) >> s & 0xFF for s in (0, 8, 16)], "the last sector", last)

    @traffic
    def refuses(self):
        """A host's disk that fails is UNC, what is not a command ABRT; with nIEN there is no interrupt."""
        self.ready()
        quiet = self.rng.random() < 0.3
        self.write(0, 2 if quiet else 0, of="control")
        command = self.rng.choice((0x20, 0xC8, 0x9A, 0xA0, 0xC6))
        self.disks["disk"].bad = 7
        self.address(7, 1 if command != 0xC6 else 3, False, False)
        self.write(0, 9, of="master")
        self.write(7, command, of="command")
        must(self.lines[0].high == (not quiet), "the interrupt")
        must(self.read(0, of="control") == 0x51, "the status")
        must(
            self.read(1, of="command") == (0x40 if command in (0x20, 0xC8) else 0x04),
            "the error",
            hex(command),
        )
        self.disks["disk"].bad = -1
        self.write(0, 0, of="control")
        self.ends(False, "refused")

    @traffic
    def remembers(self):
        """The register before is behind HOB; a soft reset leaves the signature."""
        self.ready()
        values = [(n, self.rng.randrange(256)) for n in (2, 3, 4, 5)]
        self.ports(*values)
        self.ports(*((n, value ^ 0xFF) for n, value in values))
        must(
            [self.read(n, of="command") for n, _ in values] == [v ^ 0xFF for _, v in values], "the task file"
        )
        self.write(0, 0x80, of="control")
        must(
            [self.read(n, of="command") for n, _ in values] == [v for _, v in values], "the task file before"
        )
        for drive, (mid, high) in ((0, (0, 0)), (0x10, (0x14, 0xEB))):
            self.ports((0, 4), (0, 0), of="control")
            self.write(6, drive, of="command")
            must(
                [self.read(n, of="command") for n in (1, 2, 3, 4, 5)] == [1, 1, 1, mid, high],
                "the signature",
                drive,
            )

    @traffic
    def commands_with_wrong_values(self):
        rng = self.rng
        for n in range(1, 7):
            self.write(n, rng.choice((0, 1, 2, 0xE0, 0xB0, 0xA0, rng.randrange(256))), of="command")
        self.write(7, rng.choice(ATA), of="command")
        for _ in range(rng.randrange(60)):
            self.read(0, rng.choice((1, 2, 4)), "command")
            self.write(0, 0x34, rng.choice((1, 2, 4)), "command")

    @traffic
    def regions_with_wrong_values(self):
        rng = self.rng
        self.memory.write(
            0x100, rng.randbytes(4) + bytes((rng.choice(SMALL), rng.choice(SMALL), 0, rng.choice((0, 0x80))))
        )
        self.write(4, rng.choice((0x100, 0xFFF0, 0xFFF8, rng.getrandbits(32))), 4, "master")
        self.write(0, rng.choice((0, 1, 8, 9)), of="master")
        self.commands_with_wrong_values()

    # the CD

    def packet(self, *raw, limit=0xFFFE, dma=False):
        """A packet of 12 bytes; the answer as it comes, block by block. None: it was refused."""
        self.ports((6, 0x10), (1, int(dma)), (4, limit & 0xFF), (5, limit >> 8), (7, 0xA0))
        must(
            self.read(7, of="command") & 0x58 == 0x58 and self.read(2, of="command") & 3 == 1,
            "no packet is wanted",
        )
        for word in _words(bytes(raw).ljust(12, b"\0")):
            self.write(0, word, 2, "command")
        out = b""
        for _ in range(0 if dma else 500):
            must(self.lines[0].high, "a packet command does not interrupt")
            status = self.read(7, of="command")
            if not status & 8:
                must(self.read(2, of="command") & 3 == 3, "the reason at the end")
                return None if status & 1 else out
            size = self.read(4, of="command") | self.read(5, of="command") << 8
            must(0 < size <= limit and self.read(2, of="command") & 3 == 2, "a block of", size)
            out += b"".join(
                self.doors["command"].read(0, 2).to_bytes(2, "little") for _ in range(size + 1 >> 1)
            )[:size]
            self.operations += 1
        return out

    def cd_ready(self):
        self.disks["cd"].bad = -1
        self.ports((0, 4), (0, 0), of="control")
        self.ports((0, 0), (2, 6), of="master")
        if self.cd.disk is None:
            self.cd.insert(self.disks["cd"])
        for _ in range(2):
            self.packet(0x03, 0, 0, 0, 18)
            self.packet(0x00)
        must(self.packet(0x00) == b"", "not ready")

    @traffic
    def reads_the_disc(self):
        rng = self.rng
        self.cd_ready()
        lba, count = (
            rng.choice((rng.randrange(84), rng.randrange(77, 82))),
            rng.choice((0, 1, 1, 1, 2, 2, 33)),
        )
        limit = rng.choice((0xFFFE, 2048, 512, 510, 4096)) if count < 3 else 0x8000
        dma = rng.random() < 0.3 and count in (1, 2) and lba + count <= 80
        wide = rng.random() < 0.5
        words = lba.to_bytes(4, "big") + (
            count.to_bytes(4, "big") if wide else b"\0" + count.to_bytes(2, "big")
        )
        if dma:
            self.memory.write(0x100, b"\0\x10\0\0" + (2048 * count).to_bytes(2, "little") + b"\0\x80")
            self.write(4, 0x100, 4, "master")
            self.write(0, 8, of="master")
            self.write(0, 9, of="master")
        found = self.packet(0xA8 if wide else 0x28, 0, *words, limit=limit, dma=dma)
        good = lba + count <= 80
        if dma:
            must(self.lines[0].high and self.read(7, of="command") & 0x59 == 0x50, "DMA of the disc")
            found = self.memory.read(0x1000, 2048 * count)
            self.write(0, 0, of="master")
        must(
            found == (self.disks["cd"].read(lba, count) if good else None),
            "disc sectors",
            lba,
            count,
            limit,
            dma,
        )
        if not good:
            must(self.packet(0x03, 0, 0, 0, 18)[2:13:10] == b"\x05\x21", "the sense")

    @traffic
    def describes_the_disc(self):
        self.cd_ready()
        must(self.packet(0x25) == (79).to_bytes(4, "big") + (2048).to_bytes(4, "big"), "the capacity")
        must(self.packet(0x12, 0, 0, 0, 36)[:2] == b"\x05\x80", "INQUIRY")
        toc = self.packet(0x43, 0, 0, 0, 0, 0, 0, 0, 60)
        must(toc == b"\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xAA\0\0\0\0\x50", "the contents", toc)
        length = self.rng.randrange(1, 30)
        must(self.packet(0x43, 0, 0, 0, 0, 0, 0, 0, length) == toc[:length], "not more than was asked")
        self.packet(0x1E, 0, 0, 0, 1)
        must(self.packet(0x1B, 0, 0, 0, 2) is None and self.cd.disk is not None, "locked, and open")
        self.packet(0x1E)
        must(self.packet(0x1B, 0, 0, 0, 2) == b"" and self.cd.disk is None, "not open")
        must(self.packet(0x28, 0, 0, 0, 0, 0, 0, 0, 1) is None, "it reads without a disc")
        must(self.packet(0x03, 0, 0, 0, 18)[2:13:10] == b"\x02\x3A", "no medium")
        self.cd.insert(self.disks["cd"])
        must(
            self.packet(0x00) is None and self.packet(0x03, 0, 0, 0, 18)[2:13:10] == b"\x06\x28",
            "not told of the change",
        )
        must(self.packet(0x00) == b"" and self.packet(0x99) is None, "a command that does not exist")

    @traffic
    def packets_with_wrong_values(self):
        rng = self.rng
        for n, value in (
            (6, 0xB0),
            (1, rng.randrange(2)),
            (4, rng.randrange(256)),
            (5, rng.randrange(256)),
            (7, 0xA0),
        ):
            self.write(n, value, of="command")
        for byte in (rng.choice(PACKETS), *(rng.choice(SMALL) for _ in range(11))):
            self.write(0, byte, of="command")
        for _ in range(rng.randrange(60)):
            self.read(0, 2, "command")


SUBJECTS = {"ide": Ide}
