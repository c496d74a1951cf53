"""A disk in memory, for the tests: each sector begins with its number."""


class MemoryDisk:
    def __init__(self, sectors=256, sector_size=512, writable=True):
        self.sectors, self.sector_size, self.writable, self.flushed = sectors, sector_size, writable, 0
        self.bytes = bytearray(b"".join(n.to_bytes(4, "little").ljust(sector_size, b"\xEE") for n in range(sectors)))

    def read(self, lba, count):
        assert 0 <= lba <= lba + count <= self.sectors, (lba, count)
        return bytes(self.bytes[lba * self.sector_size:(lba + count) * self.sector_size])

    def write(self, lba, data):
        assert self.writable and len(data) % self.sector_size == 0
        assert 0 <= lba <= lba + len(data) // self.sector_size <= self.sectors
        self.bytes[lba * self.sector_size:lba * self.sector_size + len(data)] = data

    def flush(self):
        self.flushed += 1
