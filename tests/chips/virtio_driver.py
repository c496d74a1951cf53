"""A driver's side of a split virtqueue, for the tests: memory that refuses, and descriptors by hand."""

from guesthouse.system.chips.kit import Line

DESCRIPTORS, DRIVER, DEVICE, BUFFERS = 0x1000, 0x2000, 0x3000, 0x4000
NEXT, WRITE, INDIRECT = 1, 2, 4


class Refused(Exception):
    pass


class Memory:
    def __init__(self, size=0x10000):
        self.bytes = bytearray(size)

    def read(self, at, n):
        if not 0 <= at <= at + n <= len(self.bytes):
            raise Refused(at)
        return bytes(self.bytes[at:at + n])

    def write(self, at, data):
        if not 0 <= at <= at + len(data) <= len(self.bytes):
            raise Refused(at)
        self.bytes[at:at + len(data)] = data


class Driver:
    """Puts descriptors and requests into memory; `index` counts them as the driver would."""

    def __init__(self, size=8):
        self.memory, self.size, self.index, self.irq = Memory(), size, 0, Line()

    def place(self, queue):
        queue.descriptors, queue.driver, queue.device, queue.ready = DESCRIPTORS, DRIVER, DEVICE, True
        queue.size = self.size

    def describe(self, n, at, length, flags=0, following=0, table=DESCRIPTORS):
        self.memory.write(table + 16 * n, at.to_bytes(8, "little") + length.to_bytes(4, "little")
                          + flags.to_bytes(2, "little") + following.to_bytes(2, "little"))

    def offer(self, head):
        self.memory.write(DRIVER + 4 + 2 * (self.index % self.size), head.to_bytes(2, "little"))
        self.index = self.index + 1 & 0xFFFF
        self.memory.write(DRIVER + 2, self.index.to_bytes(2, "little"))

    def silence(self):
        self.memory.write(DRIVER, b"\1\0")

    def used(self):
        """The (head, length) pairs that have come back."""
        count = int.from_bytes(self.memory.read(DEVICE + 2, 2), "little")
        entries = [self.memory.read(DEVICE + 4 + 8 * (i % self.size), 8) for i in range(count)]
        return [(int.from_bytes(e[:4], "little"), int.from_bytes(e[4:], "little")) for e in entries]
