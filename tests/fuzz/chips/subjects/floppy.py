"""The 8237 pair, and the floppy controller behind it, with drivers that compare what was moved."""

from __future__ import annotations

from guesthouse.system.chips.i8237 import DmaPair
from guesthouse.system.chips.i82077 import Floppy
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import BadDisk, Subject, Whole, door, must, traffic

SMALL = (0, 0, 0, 1, 2, 5, 16, 0x3F, 255)


class Dmas(Subject):
    """The 8237 pair, with a device on each channel."""

    COVERS = (DmaPair,)
    WIDTHS = (1,)
    KEPT = frozenset()
    AFTER_RESET = {("first", 8, 1): 0, ("first", 13, 1): 0, ("first", 15, 1): 0xFF, ("second", 30, 1): 0xFF}
    WRITABLE = {("pages", n, 1): (0xFF, 0) for n in range(16)}

    def build(self):
        return DmaPair(self.memory, refused=Refused)

    def open(self):
        return {name: door(getattr(self.chip, name)) for name in ("first", "second", "pages")}

    def check(self):
        for dma in (self.chip.first, self.chip.second):
            for row in (dma.address, dma.count, dma.base_address, dma.base_count):
                must(all(0 <= value <= 0xFFFF for value in row), "a count", row)

    def poke(self):
        n, size = self.rng.randrange(8), self.rng.choice((0, 1, 2, 512, 5000))
        if self.rng.random() < 0.5:
            data = self.chip.read_for(n, size)
            must(len(data) <= size, "more than was asked")
            self.seen.append(data)
        else:
            must(0 <= self.chip.write_for(n, bytes(size)) <= size, "more than there is")

    def program(self, n, mode, address, count, page):
        of, stride, channel = ("first", 1, n) if n < 4 else ("second", 2, n - 4)
        put = lambda at, value: self.write(at * stride, value, of=of)  # noqa: E731
        put(8, 0)
        put(10, 4 | channel)
        put(11, mode << 2 | channel)
        put(12, 0)
        for at, value in ((2 * channel, address), (2 * channel + 1, count)):
            put(at, value & 0xFF)
            put(at, value >> 8)
        self.write((7, 3, 1, 2, 15, 11, 9, 10)[n], page, of="pages")
        put(10, channel)

    @traffic
    def moves(self):
        """A device's bytes go round within their page, up or down, once or again, until the terminal count."""
        rng = self.rng
        n, to_memory, down, auto = (
            rng.choice((0, 1, 2, 3, 5, 6, 7)),
            rng.random() < 0.5,
            rng.random() < 0.2,
            rng.random() < 0.3,
        )
        unit = 1 if n < 4 else 2
        total = rng.randrange(1, 600)
        address = rng.choice((0, 0x2000, 0xFF00, 0xFFFF, 0x8000, rng.randrange(0x10000)))
        if unit == 2 and 0x8000 - 600 < address < 0x8600:
            address = 0  # a transfer that leaves RAM half way is refused as a whole
        self.read(8 * (1 if n < 4 else 2), of="first" if n < 4 else "second")
        self.program(
            n,
            (0x05 if to_memory else 0x06) - 4 + 0x10 | (8 if down else 0) | (4 if auto else 0),
            address,
            total - 1,
            0,
        )
        size = unit * rng.randrange(1, 900)
        span = 0x10000
        start = lambda i: (address + (-1 if down else 1) * (i % total)) % span * unit  # noqa: E731
        before = bytearray(self.memory.bytes)
        if to_memory:
            data = rng.randbytes(size)
            taken = self.chip.write_for(n, data)
            first = min(size // unit, total)
            must(taken == first * unit, "took", taken, "of", size, "with", total)
            for i in range(first):
                for k in range(unit):
                    if start(i) + k < len(before):
                        before[start(i) + k] = data[i * unit + k]
            must(self.memory.bytes == before, "the memory", n, down, auto)
        else:
            first = min(size // unit, total)
            found = self.chip.read_for(n, size)
            expected = b"".join(
                bytes(before[start(i) : start(i) + unit]).ljust(unit, b"\xff") for i in range(first)
            )
            must(found == expected, "the bytes of channel", n, down, auto, address, total, size)
            must(self.memory.bytes == before, "a read writes")
        ended = size // unit >= total
        must(self.chip.terminal_count(n) == ended, "the terminal count")
        status = self.read(8 * (1 if n < 4 else 2), of="first" if n < 4 else "second")
        must(bool(status >> (n & 3) & 1) == ended, "the status", hex(status))
        self.left(n, address, total, size // unit, down, auto)

    def left(self, n, address, total, moved, down, auto):
        """What the registers show afterwards: where it goes on, and how many less one are left."""
        of, stride, channel = ("first", 1, n) if n < 4 else ("second", 2, n - 4)
        self.write(12 * stride, 0, of=of)
        found = [self.read(2 * channel * stride, of=of) | self.read(2 * channel * stride, of=of) << 8]
        found.append(
            self.read((2 * channel + 1) * stride, of=of) | self.read((2 * channel + 1) * stride, of=of) << 8
        )
        if moved >= total and auto:
            must(found == [address, total - 1], "after autoinitialisation", found)
        else:
            done = min(moved, total)
            must(
                found == [(address + (-done if down else done)) & 0xFFFF, (total - 1 - done) & 0xFFFF],
                "left",
                found,
            )
        closed = self.read(15 * stride, of=of) >> channel & 1
        must(closed == (moved >= total and not auto), "the mask")

    @traffic
    def masks(self):
        of, stride = self.rng.choice((("first", 1), ("second", 2)))
        value, channel = self.rng.randrange(16), self.rng.randrange(4)
        self.write(15 * stride, value, of=of)
        must(self.read(15 * stride, of=of) == 0xF0 | value, "all masks")
        self.write(10 * stride, channel, of=of)
        must(self.read(15 * stride, of=of) == 0xF0 | value & ~(1 << channel), "one mask")
        self.write(9 * stride, 4 | channel, of=of)
        must(self.read(8 * stride, of=of) >> 4 & 1 << channel, "the request")
        self.write(14 * stride, 0, of=of)
        must(self.read(15 * stride, of=of) == 0xF0, "no mask")
        self.write(13 * stride, 0, of=of)
        must((self.read(15 * stride, of=of), self.read(8 * stride, of=of)) == (0xFF, 0), "the master clear")


class Floppies(Subject):
    """The floppy controller and the DMA that it asks, with a medium in the first drive."""

    COVERS = (Floppy,)
    WIDTHS = (1, 1, 1, 2)
    LIMIT = 1200
    AFTER_RESET = {("floppy", 2, 1): 0x0C, ("floppy", 4, 1): 0x80}
    KEPT = frozenset()
    COMMANDS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18, 19, 20, 22, 24)

    def build(self):
        self.disks = {"a": BadDisk(720)}
        self.dma = DmaPair(self.memory, refused=Refused)
        self.floppy = Floppy(self.clock, self.line(), self.dma)
        self.floppy.insert(0, self.disks["a"])
        return Whole(dma=self.dma, floppy=self.floppy)

    def open(self):
        return {"floppy": door(self.floppy), "first": door(self.dma.first), "pages": door(self.dma.pages)}

    def adopt(self, other):
        for n, disk in enumerate(other.floppy.disks):
            self.floppy.disks[n] = None if disk is None else self.disks["a"]
        self.floppy.changed = list(other.floppy.changed)

    def check(self):
        floppy = self.floppy
        must(len(floppy.results) <= 10 and len(floppy.ended) <= 4 and len(floppy.collected) <= 9, "a queue")
        must(all(0 <= track < 86 for track in floppy.tracks), "a head beyond the disk")

    def poke(self):
        n = self.rng.randrange(4)
        self.floppy.insert(n, self.disks["a"]) if self.rng.random() < 0.7 else self.floppy.eject(n)
        self.disks["a"].bad = self.rng.choice((-1, -1, 30))
        self.disks["a"].writable = True

    def ready(self):
        self.disks["a"].bad = -1
        self.floppy.insert(0, self.disks["a"])
        self.write(2, 0, of="floppy")
        must(self.read(4, of="floppy") == 0, "busy in reset")
        self.write(2, 0x1C, of="floppy")
        must(self.lines[0].high, "no interrupt after the reset")
        for n in range(4):
            must(self.command(8)[0] == 0xC0 | n, "the drive's interrupt after the reset")
        must(not self.lines[0].high, "sensed, but")
        self.write(8, 0, of="first")

    def command(self, *words):
        """The command phase; then the result phase, when there is one."""
        for word in words:
            must(self.read(4, of="floppy") & 0xC0 == 0x80, "it does not take the command", words)
            self.write(5, word, of="floppy")
        return self.results()

    def results(self):
        self.pass_time(200_000)
        found = []
        for _ in range(12):
            if self.read(4, of="floppy") & 0xC0 != 0xC0:
                return found
            found.append(self.read(5, of="floppy"))
        must(False, "results without an end")

    def dma_for(self, mode, at, count):
        for port, value in (
            (10, 6),
            (11, mode | 2),
            (12, 0),
            (4, at & 0xFF),
            (4, at >> 8),
            (5, count - 1 & 0xFF),
            (5, count - 1 >> 8),
            (10, 2),
        ):
            self.write(port, value, of="first")
        self.write(1, 0, of="pages")

    def seek(self, cylinder, head=0):
        must(self.command(15, head << 2, cylinder) == [] and self.lines[0].high, "SEEK does not interrupt")
        must(self.command(8) == [0x20 | head << 2, cylinder] and not self.lines[0].high, "SENSE after SEEK")

    @traffic
    def reads_and_writes(self):
        rng, disk = self.rng, self.disks["a"]
        self.ready()
        cylinder, head, sector = rng.randrange(40), rng.randrange(2), rng.randrange(1, 10)
        both, writes = rng.random() < 0.5, rng.random() < 0.5
        most = (10 - sector) + (9 if both and head == 0 else 0)
        count = rng.randrange(1, most + 1)
        self.seek(cylinder, head)
        lba = (cylinder * 2 + head) * 9 + sector - 1
        data, before = rng.randbytes(512 * count), bytes(disk.bytes)
        self.memory.write(0x4000, data)
        ram = bytearray(self.memory.bytes)
        self.dma_for(0x48 if writes else 0x44, 0x4000, 512 * count)
        code = (0x45 if writes else 0x46) | (0x80 if both else 0)
        found = self.command(code, head << 2, cylinder, head, sector, 2, 9, 0x1B, 0xFF)
        must(self.lines[0].high is False, "the interrupt after the results")
        must(found[:3] == [head << 2, 0, 0], "the status", found)
        ends = (cylinder * 2 + head) * 9 + sector - 1 + count
        after = [ends // 18, ends // 9 % 2, ends % 9 + 1, 2]
        if not both and sector + count == 10:
            after = [cylinder + 1, head, 1, 2]
        must(found[3:] == after, "where it ended", found[3:], after)
        if writes:
            must(disk.bytes == before[:512 * lba] + data + before[512 * (lba + count):], "the medium")
        else:
            ram[0x4000:0x4000 + 512 * count] = before[512 * lba:512 * (lba + count)]
        must(self.memory.bytes == ram, "the memory")

    @traffic
    def does_not_find(self):
        """Wrong cylinders, sectors and media are told in the status, and nothing moves."""
        rng = self.rng
        self.ready()
        kind = rng.randrange(5)
        self.seek(40 if kind == 4 else 3)
        place = [(4, 0, 1, 2), (3, 0, rng.choice((0, 10)), 2), (3, 2, 1, 2), (3, 0, 1, 3), (40, 0, 1, 2)][
            kind
        ]
        before, sectors = bytes(self.memory.bytes), bytes(self.disks["a"].bytes)
        self.dma_for(0x44, 0x4000, 512)
        found = self.command(0x46, 0, *place, 9, 0x1B, 0xFF)
        must(found[0] & 0xC0 == 0x40 and found[1] & 4 and found[3:] == list(place), "the status", kind, found)
        must(bool(found[2] & 0x10) == (kind == 0), "the wrong cylinder", found)
        self.floppy.eject(0)
        self.dma_for(0x44, 0x4000, 512)
        found = self.command(0x46, 0, 3, 0, 1, 2, 9, 0x1B, 0xFF)
        must(found[0] & 0xC0 == 0x40 and found[1] & 1, "the status without a medium", found)
        must(self.memory.bytes == before and self.disks["a"].bytes == sectors, "something moved")

    @traffic
    def is_protected(self):
        self.ready()
        self.seek(0)
        self.disks["a"].writable = False
        before = bytes(self.disks["a"].bytes)
        self.dma_for(0x48, 0x4000, 512)
        found = self.command(0x45, 0, 0, 0, 1, 2, 9, 0x1B, 0xFF)
        must(found[:2] == [0x40, 2] and self.disks["a"].bytes == before, "written though protected", found)
        must(self.command(4, 0)[0] & 0x40, "SENSE DRIVE STATUS")
        self.disks["a"].writable = True
        must(self.command(4, 0)[0] == 0x38, "SENSE DRIVE STATUS at track 0")

    @traffic
    def changes(self):
        self.ready()
        must(self.read(7, of="floppy") == 0x80, "the change line of a new medium")
        self.seek((self.floppy.tracks[0] + self.rng.randrange(1, 39)) % 40)
        must(self.read(7, of="floppy") == 0, "the change line after a step")
        must(self.command(7, 0) == [] and self.command(8) == [0x20, 0], "RECALIBRATE")
        must(self.command(8) == [0x80], "SENSE without anything")
        must(self.command(0x10) == [0x90] and self.command(0x1F) == [0x80], "VERSION, and no command")
        must(self.command(0x03, 0x12, 0x34) == [] and self.command(0x13, 0, 0x56, 0x78) == [], "SPECIFY")
        must(self.command(0x0E)[4:6] == [0x12, 0x34] and self.command(0x0E)[8:] == [0x56, 0x78], "DUMPREG")
        must(self.command(0x94) == [0x10] and self.command(0x14) == [0], "LOCK")

    @traffic
    def is_flooded(self):
        """Commands without number, and nobody asks for their results."""
        self.ready()
        for _ in range(self.rng.randrange(20)):
            for byte in self.rng.choice(((15, 0, 9), (15, 0, 3), (7, 0), (8,), (0x1F,), (4, 0))):
                self.write(5, byte, of="floppy")
            self.pass_time(200_000)
            if self.rng.random() < 0.5:
                self.read(5, of="floppy")
            self.check()

    @traffic
    def formats(self):
        rng, disk = self.rng, self.disks["a"]
        self.ready()
        cylinder, head, filler = rng.randrange(40), rng.randrange(2), rng.randrange(256)
        self.seek(cylinder, head)
        self.memory.write(0x4000, b"".join(bytes((cylinder, head, n, 2)) for n in range(1, 10)))
        before = bytes(disk.bytes)
        self.dma_for(0x48, 0x4000, 36)
        found = self.command(0x4D, head << 2, 2, 9, 0x50, filler)
        lba = (cylinder * 2 + head) * 9
        must(found[:3] == [head << 2, 0, 0], "the status", found)
        must(
            disk.bytes == before[: 512 * lba] + bytes((filler,)) * 4608 + before[512 * (lba + 9) :],
            "the track",
        )

    @traffic
    def commands_with_wrong_values(self):
        rng = self.rng
        for byte in (
            rng.choice(self.COMMANDS) | rng.choice((0, 0x40, 0x80, 0xC0)),
            *(rng.choice(SMALL) for _ in range(8)),
        ):
            self.write(5, byte, of="floppy")
        self.pass_time(200_000)
        self.write(11, rng.choice((0x46, 0x4A, 0x56, 0x66)), of="first")
        self.write(10, 2, of="first")
        for _ in range(rng.randrange(12)):
            self.read(5, of="floppy")


SUBJECTS = {"i8237": Dmas, "i82077": Floppies}
