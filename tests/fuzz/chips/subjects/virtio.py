"""Virtio devices behind memory-mapped registers, with a driver that is right, and one that lies."""

from __future__ import annotations

from guesthouse.system.chips.virtio.balloon import Balloon
from guesthouse.system.chips.virtio.blk import Blk
from guesthouse.system.chips.virtio.console import Console
from guesthouse.system.chips.virtio.mmio import VirtioMmio
from guesthouse.system.chips.virtio.rng import Rng
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import BadDisk, Subject, must, traffic

QUEUE, BUFFERS = 0x1000, 0x6000  # the queues' areas, one page each; where buffers are
NEXT, WRITE, INDIRECT = 1, 2, 4
LOW32 = 0xFFFF_FFFF


class Mmio:
    """How a driver reaches a device through memory-mapped registers (4.2.2)."""

    def __init__(self, subject):
        self.s = subject

    def status(self, value=None):
        if value is not None:
            self.s.write(0x70, value, 4)
        return self.s.read(0x70, 4)

    def features(self, value):
        found = 0
        for word in (0, 1):
            self.s.write(0x14, word, 4)
            self.s.write(0x24, word, 4)
            found |= self.s.read(0x10, 4) << 32 * word
            self.s.write(0x20, value >> 32 * word & LOW32, 4)
        return found

    def queue(self, n, areas):
        self.s.write(0x30, n, 4)
        self.s.write(0x38, self.s.RING, 4)
        for at, address in zip((0x80, 0x90, 0xA0), areas):
            self.s.write(at, address & LOW32, 4)
            self.s.write(at + 4, address >> 32, 4)
        self.s.write(0x44, 1, 4)
        must(self.s.read(0x44, 4) == 1 and self.s.read(0x34, 4) >= self.s.RING, "queue", n, "is not ready")

    def notify(self, n):
        self.s.write(0x50, n, 4)

    def interrupts(self):
        found = self.s.read(0x60, 4)
        self.s.write(0x64, found, 4)
        return found

    def configuration(self, at, size):
        return self.s.read(0x100 + at, size)


class VirtioSubject(Subject):
    LIMIT = 5000
    QUEUES = 1
    RING = 8  # entries of a queue
    PIECES: tuple = (512,)  # a request for the first queue
    WIDTHS = (1, 2, 4, 4, 8)

    def device(self):
        raise NotImplementedError

    def build(self):
        self.bus = Mmio(self)
        self.virtio = self.device()
        return VirtioMmio(self.virtio, self.memory, self.line(), refused=Refused)

    def adopt(self, other):
        self.index = list(other.index)

    index = [0, 0, 0]

    def check(self):
        for queue in self.virtio.queues:
            must(
                0 < queue.size <= queue.maximum and queue.size & queue.size - 1 == 0, "a size of", queue.size
            )
            must(queue.last_available <= 0xFFFF >= queue.used, "an index")

    # the driver

    def areas(self, n):
        return QUEUE + 0x1000 * n, QUEUE + 0x1000 * n + 0x400, QUEUE + 0x1000 * n + 0x800

    def starts(self):
        """3.1: reset, features, queues, DRIVER_OK."""
        self.index = [0, 0, 0]
        self.memory.bytes[QUEUE:BUFFERS] = bytes(BUFFERS - QUEUE)
        must(self.bus.status(0) == 0, "it does not reset")
        self.bus.status(1)
        self.bus.status(3)
        must(self.bus.features(1 << 32) & 1 << 32, "VERSION_1 is not offered")
        must(self.bus.status(11) == 11, "its features are not agreed on")
        for n in range(self.QUEUES):
            self.bus.queue(n, self.areas(n))
        must(self.bus.status(15) == 15 and not self.lines[0].high, "it does not start")
        self.bus.interrupts()

    def describe(self, table, n, address, length, flags=0, following=0):
        self.memory.write(table + 16 * n, address.to_bytes(8, "little") + length.to_bytes(4, "little")
                          + flags.to_bytes(2, "little") + following.to_bytes(2, "little"))

    def offer(self, n, head):
        ring = self.areas(n)[1]
        self.memory.write(ring + 4 + 2 * (self.index[n] % self.RING), head.to_bytes(2, "little"))
        self.index[n] = self.index[n] + 1 & 0xFFFF
        self.memory.write(ring + 2, self.index[n].to_bytes(2, "little"))

    def request(self, n, pieces):
        """Bytes for the device or room for it: one chain, straight or indirect; says where its room is."""
        rng = self.rng
        table, head, at, rooms = self.areas(n)[0], rng.randrange(self.RING - len(pieces) + 1), BUFFERS, []
        first = head
        if rng.random() < 0.3:
            table, first = BUFFERS - 0x100, 0
            self.describe(self.areas(n)[0], head, table, 16 * len(pieces), INDIRECT)
        for i, piece in enumerate(pieces):
            size = piece if isinstance(piece, int) else len(piece)
            at += rng.choice((0, 16, 100))
            if not isinstance(piece, int):
                self.memory.write(at, piece)
            else:
                rooms.append((at, size))
            flags = (WRITE if isinstance(piece, int) else 0) | (NEXT if i < len(pieces) - 1 else 0)
            self.describe(table, first + i, at, size, flags, first + i + 1)
            at += size
        self.offer(n, head)
        return head, rooms

    def is_used(self, n, head, length):
        """The request is back with its length, and the interrupt is there until it is acknowledged."""
        ring, before = self.areas(n)[2], self.index[n] - 1
        must(int.from_bytes(self.memory.read(ring + 2, 2), "little") == self.index[n], "it is not given back")
        entry = self.memory.read(ring + 4 + 8 * (before % self.RING), 8)
        must(
            entry == head.to_bytes(4, "little") + length.to_bytes(4, "little"),
            "given back as",
            entry,
            head,
            length,
        )
        must(self.lines[0].high and self.bus.interrupts() == 1 and not self.lines[0].high, "the interrupt")

    def unchanged(self, before, *rooms):
        """RAM outside the queues and outside what the device may write is as it was."""
        after = bytearray(self.memory.bytes)
        for at, size in (*rooms, (QUEUE, BUFFERS - QUEUE)):
            after[at:at + size] = before[at:at + size]
        must(after == before, "it has written elsewhere")

    def room(self, rooms):
        return b"".join(self.memory.read(at, size) for at, size in rooms)

    @traffic
    def agrees_on_features(self):
        self.bus.status(0)
        self.bus.status(3)
        wanted = self.rng.choice(
            (0, 1 << 32, 1 << 32 | 1 << 28, 1 << 32 | 1 << 50, 1 << 32 | 1 << 27, 1 << 33)
        )
        offered = self.bus.features(wanted)
        good = wanted & 1 << 32 and not wanted & ~offered
        must(self.bus.status(11) == (11 if good else 3), "features", hex(wanted), "of", hex(offered))
        if good:
            agreed = self.virtio.driver_features
            self.changes_features()
            must(self.virtio.driver_features == agreed, "they change after they are agreed on")

    def changes_features(self):
        self.write(0x24, 0, 4)
        self.write(0x20, 0xFF, 4)

    @traffic
    def is_silent(self):
        """A driver that does not want interrupts has none; one that has not started is not served."""
        self.starts()
        if self.rng.random() < 0.5:
            self.memory.write(self.areas(0)[1], b"\1\0")
        else:
            self.bus.status(0)
        self.request(0, self.PIECES)
        self.bus.notify(0)
        must(not self.lines[0].high, "an interrupt that nobody wants")

    @traffic
    def meets_a_liar(self):
        """2.1.1: a driver that breaks the rules of the queue is told to reset, and nothing else happens."""
        rng = self.rng
        self.starts()
        n = rng.randrange(self.QUEUES)
        table, ring, used = self.areas(n)
        self.prepare(n)
        lie = rng.randrange(8)
        self.describe(table, 0, BUFFERS, 64, NEXT, 1)
        self.describe(table, 1, BUFFERS + 64, 64, WRITE, 0)
        if lie == 0:
            self.describe(table, 1, BUFFERS, 64, WRITE | NEXT, 0)  # a loop
        elif lie == 1:
            self.describe(table, 0, BUFFERS, 64, NEXT, self.RING)  # behind the table
        elif lie == 2:
            self.describe(table, 0, BUFFERS, 64, INDIRECT)
            self.describe(BUFFERS, 0, 0x8000, 16, INDIRECT)  # nested
        elif lie == 3:
            self.describe(table, 0, BUFFERS, rng.choice((0, 15, 17, 16 * (self.RING + 1))), INDIRECT)
        elif lie == 4:
            self.describe(table, 0, BUFFERS, 64, WRITE | NEXT, 1)
            self.describe(table, 1, BUFFERS, 64)  # readable after writable
        elif lie == 5:
            self.describe(table, 0, BUFFERS, 64, INDIRECT | NEXT, 1)
        self.offer(n, self.RING if lie == 6 else 0)
        if lie == 7:
            self.memory.write(ring + 2, (self.index[n] + self.RING).to_bytes(2, "little"))
        before = bytes(self.memory.bytes)
        self.bus.notify(n)
        must(
            self.bus.status() & 0x40 and self.lines[0].high and self.bus.interrupts() & 2,
            "lie",
            lie,
            "is believed",
        )
        must(self.memory.bytes == before, "lie", lie, "writes")
        self.bus.notify(n)
        must(self.bus.status(15) & 0x40, "a device that needs a reset forgets it")

    def prepare(self, n):
        """Whatever makes the device look at queue `n`."""

    @traffic
    def points_outside(self):
        rng = self.rng
        self.starts()
        for _ in range(rng.randrange(1, 4)):
            where = rng.choice((0xFFF0, 0xFFFF, 1 << 16, 1 << 32, (1 << 64) - 8, BUFFERS))
            size = rng.choice((0, 1, 16, 17, 512, 1 << 20, LOW32))
            self.describe(
                self.areas(0)[0], 0, where, size, rng.choice((0, NEXT, WRITE, NEXT | WRITE, INDIRECT)), 1
            )
            self.describe(self.areas(0)[0], 1, BUFFERS, rng.choice((1, 512)), WRITE)
            self.offer(0, 0)
            self.bus.notify(0)
            self.bus.interrupts()

    @traffic
    def areas_outside(self):
        self.bus.status(0)
        self.bus.status(3)
        self.bus.features(1 << 32)
        self.bus.status(11)
        where = self.rng.choice((0xFFFE, 0x10000, 1 << 63, (1 << 64) - 2))
        self.bus.queue(0, [where if self.rng.random() < 0.5 else at for at in self.areas(0)])
        self.bus.status(15)
        self.offer(0, 0)
        self.bus.notify(0)

    @traffic
    def areas_stand(self):
        """An area of a queue that is in use does not move, and neither does its size."""
        self.starts()
        queue = self.virtio.queues[0]
        before = queue.descriptors, queue.driver, queue.device, queue.size
        self.moves_areas()
        must((queue.descriptors, queue.driver, queue.device, queue.size) == before, "an area has moved")

    def moves_areas(self):
        self.write(0x30, 0, 4)
        for at in (0x38, 0x80, 0x84, 0x90, 0x94, 0xA0, 0xA4):
            self.write(at, 4, 4)


class RngMmio(VirtioSubject):
    COVERS = (VirtioMmio, Rng)
    AFTER_RESET = {("", 0, 4): 0x74726976, ("", 4, 4): 2, ("", 8, 4): 4, ("", 0x34, 4): 64, ("", 0x60, 4): 0,
                   ("", 0x70, 4): 0, ("", 0x44, 4): 0}
    WRITABLE = {("", 0x14, 4): (LOW32, 0), ("", 0x24, 4): (LOW32, 0), ("", 0x30, 4): (LOW32, 0)}

    def device(self):
        return Rng(lambda n: bytes(i * 7 + 1 & 0xFF for i in range(n)))

    @traffic
    def fills(self):
        self.starts()
        for _ in range(self.rng.randrange(1, 12)):
            before = bytes(self.memory.bytes)
            pieces = [self.rng.choice((1, 64, 700, 3000)) for _ in range(self.rng.randrange(1, 4))]
            head, rooms = self.request(0, pieces)
            before = bytes(self.memory.bytes)
            self.bus.notify(0)
            done = min(sum(pieces), 4096)
            must(self.room(rooms)[:done] == self.virtio.random_bytes(done), "the bytes")
            self.is_used(0, head, done)
            self.unchanged(before, *rooms)


class Blks(VirtioSubject):
    COVERS = (Blk,)
    AFTER_RESET = {("", 8, 4): 2, ("", 0x34, 4): 256, ("", 0x100, 4): 64, ("", 0x114, 4): 512}
    SECTORS = 64
    PIECES = (bytes(16), 512, 1)

    def device(self):
        self.disks = {"disk": BadDisk(self.SECTORS)}
        return Blk(self.disks["disk"], serial="serial-7")

    def poke(self):
        self.disks["disk"].bad = self.rng.choice((-1, 9))

    def ask(self, kind, sector, pieces):
        """A request; its status, its room."""
        head, rooms = self.request(
            0, [kind.to_bytes(4, "little") + bytes(4) + sector.to_bytes(8, "little"), *pieces, 1]
        )
        before = bytes(self.memory.bytes)
        self.bus.notify(0)
        self.unchanged(before, *rooms)
        found = self.room(rooms)
        used = self.areas(0)[2] + 8 + 8 * ((self.index[0] - 1) % self.RING)
        length = int.from_bytes(self.memory.read(used, 4), "little")
        self.is_used(0, head, length)
        must(1 <= length <= len(found), "written", length)
        return found[-1], found[:-1]

    @traffic
    def reads_and_writes(self):
        rng, disk = self.rng, self.disks["disk"]
        disk.bad = -1
        self.starts()
        for _ in range(rng.randrange(1, 8)):
            sector, count = rng.randrange(self.SECTORS + 2), rng.randrange(1, 7)
            good, before = sector + count <= self.SECTORS, bytes(disk.bytes)
            sizes = [512 * count] if rng.random() < 0.5 else [512 * count - 100, 100]
            if rng.random() < 0.5:
                status, found = self.ask(0, sector, sizes)
                must(status == (0 if good else 1), "the status of a read", sector, count, status)
                must(not good or found == disk.read(sector, count), "sectors", sector, count)
                must(disk.bytes == before, "a read writes")
            else:
                data = rng.randbytes(512 * count)
                status, _ = self.ask(1, sector, [data[:sizes[0]], *([data[sizes[0]:]] * (len(sizes) - 1))])
                at = 512 * sector
                must(status == (0 if good else 1), "the status of a write", sector, count, status)
                must(
                    disk.bytes == (before[:at] + data + before[at + len(data) :] if good else before),
                    "the disk",
                )

    @traffic
    def other_requests(self):
        rng, disk = self.rng, self.disks["disk"]
        disk.bad = -1
        self.starts()
        flushed = disk.flushed
        must(self.ask(4, 0, [])[0] == 0 and disk.flushed == flushed + 1, "FLUSH")
        must(self.ask(8, 0, [20]) == (0, b"serial-7".ljust(20, b"\0")), "the serial number")
        must(self.ask(rng.choice((2, 3, 5, 99)), 0, [16])[0] == 2, "a request that does not exist")
        must(self.ask(0, 0, [rng.choice((1, 511, 513))])[0] == 1, "half a sector")
        must(self.ask(1, (1 << 64) - 1, [bytes(512)])[0] == 1, "a sector far away")
        disk.bad = 9
        must(
            self.ask(0, 8, [1024])[0] == 1 and self.ask(1, 9, [bytes(512)])[0] == 1, "the host's disk failed"
        )
        disk.bad, disk.writable, before = -1, False, bytes(disk.bytes)
        must(self.ask(1, 0, [bytes(512)])[0] == 1 and disk.bytes == before, "written though protected")
        must(self.bus.features(1 << 32) & 1 << 5, "it does not say that it is protected")
        disk.writable = True
        must(
            self.bus.configuration(0, 4) == self.SECTORS and self.bus.configuration(4, 4) == 0, "the capacity"
        )


class Consoles(VirtioSubject):
    COVERS = (Console,)
    QUEUES = 2
    AFTER_RESET = {("", 8, 4): 3}

    def device(self):
        return Console(lambda data: self.tell(bytes(data)))

    def check(self):
        super().check()
        must(len(self.virtio.waiting) <= 4096, "too much waits")

    def prepare(self, n):
        self.virtio.waiting = b"x" if n == 0 else b""

    def poke(self):
        data = self.rng.randbytes(self.rng.choice((1, 10, 5000)))
        room = self.virtio.room()
        must(self.virtio.receive(data) == min(len(data), room), "what was taken")

    @traffic
    def talks(self):
        rng = self.rng
        self.starts()
        for _ in range(rng.randrange(1, 8)):
            data = [rng.randbytes(rng.randrange(1, 300)) for _ in range(rng.randrange(1, 4))]
            self.told.clear()
            head, _ = self.request(1, data)
            before = bytes(self.memory.bytes)
            self.bus.notify(1)
            must(b"".join(self.told) == b"".join(data), "it says", self.told)
            self.is_used(1, head, 0)
            self.unchanged(before)

    @traffic
    def listens(self):
        """Bytes go into the buffers in their order, before and after these are there."""
        rng = self.rng
        self.starts()
        data = rng.randbytes(rng.randrange(1, 500))
        early = rng.random() < 0.5
        if early:
            self.virtio.receive(data)
        pieces = [rng.randrange(1, 300) for _ in range(rng.randrange(1, 4))]
        head, rooms = self.request(0, pieces)
        before = bytes(self.memory.bytes)
        self.bus.notify(0)
        if not early:
            self.virtio.receive(data)
        done = min(len(data), sum(pieces))
        must(self.room(rooms)[:done] == data[:done], "what came")
        self.is_used(0, head, done)
        self.unchanged(before, *rooms)
        must(self.virtio.room() == 4096 - (len(data) - done), "the room for more")


class Balloons(VirtioSubject):
    COVERS = (Balloon,)
    QUEUES = 2
    KEPT = frozenset({"device.wanted"})
    AFTER_RESET = {("", 8, 4): 5, ("", 0x100, 4): 0}
    PIECES = (bytes(8),)

    def device(self):
        return Balloon(self.tell)

    def poke(self):
        self.virtio.resize(self.rng.choice((-1, 0, 5, 1 << 40)))
        must(self.read(0x100, 4) == self.virtio.wanted, "the host's wish")

    @traffic
    def gives_pages_up(self):
        self.starts()
        pages = [self.rng.getrandbits(32) for _ in range(self.rng.randrange(1, 50))]
        self.told.clear()
        head, _ = self.request(0, [b"".join(page.to_bytes(4, "little") for page in pages)])
        self.bus.notify(0)
        must(self.told == [(page * 4096, 4096) for page in pages], "pages")
        self.is_used(0, head, 0)
        self.told.clear()
        head, _ = self.request(1, [bytes(4)])
        self.bus.notify(1)
        must(not self.told, "pages that come back are given up")
        self.is_used(1, head, 0)


SUBJECTS = {"virtio_mmio": RngMmio, "virtio_blk": Blks, "virtio_console": Consoles, "virtio_balloon": Balloons}
