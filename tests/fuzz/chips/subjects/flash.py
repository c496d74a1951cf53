"""The NOR flash: its array beside bytes that lose ones when programmed, and regain them 4 KiB at a time."""

from __future__ import annotations

from guesthouse.system.chips.flash import Flash
from tests.fuzz.chips.subject import Door, Subject, must, traffic

SIZE, BLOCK = 0x4000, 0x1000


class Cells:
    """What keeps the bytes; the host may refuse to."""

    def __init__(self) -> None:
        self.bytes, self.bad = bytearray(b"\xFF" * SIZE), -1

    def read(self, at, count):
        assert 0 <= at <= at + count <= SIZE, (at, count)
        return bytes(self.bytes[at:at + count])

    def write(self, at, data):
        assert 0 <= at <= at + len(data) <= SIZE, (at, len(data))
        if at <= self.bad < at + len(data):
            raise OSError("the host's file failed")
        self.bytes[at:at + len(data)] = data


class Flashes(Subject):
    COVERS = (Flash,)
    LIMIT = 400
    WIDTHS = (1, 1, 2, 4)

    def build(self):
        self.cells = self.disks["cells"] = Cells()
        self.shown = None
        return Flash(SIZE, self.cells, self.show)

    def show(self, array):
        self.shown = array

    def open(self):
        return {
            "": Door(
                self.chip.read, self.chip.write, SIZE + 16, ((0, 1), (0x10, 1), (SIZE - 1, 1), (SIZE, 1))
            )
        }

    def check(self):
        chip = self.chip
        must(len(chip.buffer) <= 32 and -1 <= chip.left <= 32, "the buffer")
        must(self.shown == (chip.command == 0xFF), "the array is shown, or is not")

    def poke(self):
        self.cells.bad = self.rng.choice((-1, -1, 5))

    def ready(self):
        """From wherever it is: two writes end whatever goes on, and the array is there."""
        self.cells.bad = -1
        for _ in range(40):
            self.write(0, 0xFF)
            if self.read(0) == self.cells.bytes[0] and self.shown:
                break
        self.write(0, 0x50)
        must(self.shown, "it does not come back to its array")

    def status(self):
        return self.read(self.rng.randrange(SIZE))

    @traffic
    def programs(self):
        self.ready()
        at, value = self.rng.randrange(SIZE), self.rng.randrange(256)
        expected = bytearray(self.cells.bytes)
        expected[at] &= value
        self.write(at, self.rng.choice((0x40, 0x10)))
        must(not self.shown, "a command, and the array is shown")
        self.write(at, value)
        must(self.status() == 0x80, "the status after programming")
        self.write(0, 0xFF)
        must(self.cells.bytes == expected and self.read(at) == expected[at] and self.shown, "programmed")

    @traffic
    def erases(self):
        self.ready()
        at, good = self.rng.randrange(SIZE), self.rng.random() < 0.7
        expected = bytearray(self.cells.bytes)
        if good:
            expected[at // BLOCK * BLOCK:(at // BLOCK + 1) * BLOCK] = b"\xFF" * BLOCK
        self.write(at, 0x20)
        self.write(at, 0xD0 if good else 0x00)
        must(self.status() == (0x80 if good else 0xB0) and self.cells.bytes == expected, "erased")

    @traffic
    def programs_many(self):
        self.ready()
        count, at = self.rng.randrange(1, 33), self.rng.randrange(SIZE - 32)
        data = self.rng.randbytes(count)
        expected = bytearray(self.cells.bytes)
        self.write(at, 0xE8)
        must(self.status() == 0x80, "the buffer is not there")
        self.write(at, count - 1)
        for n, byte in enumerate(data):
            self.write(at + n, byte)
        must(self.cells.bytes == expected, "programmed before the confirmation")
        good = self.rng.random() < 0.8
        self.write(at, 0xD0 if good else 0xFF)
        for n, byte in enumerate(data if good else b""):
            expected[at + n] &= byte
        must(self.status() == (0x80 if good else 0x90) and self.cells.bytes == expected, "programmed", good)

    @traffic
    def is_flooded(self):
        self.ready()
        self.write(0, 0xE8)
        self.write(0, self.value(1))
        for _ in range(self.rng.randrange(90)):
            self.write(self.rng.randrange(SIZE + 4), self.value(1))
            self.check()

    @traffic
    def describes_itself(self):
        self.ready()
        self.write(0x55, 0x98)
        must(
            bytes(self.read(n) for n in (0x10, 0x11, 0x12)) == b"QRY" and 1 << self.read(0x27) == SIZE, "CFI"
        )
        blocks = (self.read(0x2D) | self.read(0x2E) << 8) + 1
        must(blocks * 256 * (self.read(0x2F) | self.read(0x30) << 8) == SIZE, "the blocks")
        self.write(0, 0x90)
        must(self.read(0) == 0x89, "the maker")
        self.write(0, 0xFF)

    @traffic
    def the_host_fails(self):
        self.ready()
        self.cells.bad, before = 5, bytes(self.cells.bytes)
        self.write(5, 0x40)
        self.write(5, 0)
        must(self.status() == 0x90 and self.cells.bytes == before, "the host failed to program")
        self.ready()
        self.cells.bad = 5
        self.write(0, 0x20)
        self.write(0, 0xD0)
        must(self.status() == 0xA0 and self.cells.bytes == before, "the host failed to erase")


SUBJECTS = {"flash": Flashes}
