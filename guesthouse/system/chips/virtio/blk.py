"""The virtio block device, after Virtio 1.2, section 5.2.

Requests are served in order, at once. Not offered: several queues, discard, zoned storage.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import Chain, Queue, QueueError

SECTOR = 512
READ, WRITE, FLUSH, GET_ID = 0, 1, 4, 8
OK, IO_ERROR, UNSUPPORTED = 0, 1, 2
SEGMENTS, READ_ONLY, CAN_FLUSH = 1 << 2, 1 << 5, 1 << 9  # features
MOST = 8 << 20  # bytes of one request
QUEUE = 256


class Disk(Protocol):
    sectors: int
    writable: bool

    def read(self, lba: int, count: int, /) -> bytes: ...
    def write(self, lba: int, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class Blk(Device):
    DEVICE_ID, PCI_CLASS = 2, 0x01_0000
    QUEUES = (QUEUE,)

    def __init__(self, disk: Disk, *, serial: str = "") -> None:
        self.disk, self.serial = disk, serial.encode("ascii", "replace")[:20]
        super().__init__()

    @property
    def features(self) -> int:
        return super().features | SEGMENTS | CAN_FLUSH | (0 if self.disk.writable else READ_ONLY)

    def configuration(self) -> bytes:
        """capacity, size_max, seg_max, geometry, blk_size."""
        return (self.disk.sectors.to_bytes(8, "little") + bytes(4) + (QUEUE - 2).to_bytes(4, "little") + bytes(4)
                + SECTOR.to_bytes(4, "little"))

    def serve(self, n: int, queue: Queue) -> None:
        self.each(queue, lambda chain: self._request(queue, chain))

    def _request(self, queue: Queue, chain: Chain) -> int:
        """Header, data, and the status in the last byte that may be written (5.2.6)."""
        room = chain.room
        if chain.length < 16 or room < 1:
            raise QueueError("a block request without header or status")
        head = queue.gather(chain, 16)
        kind, sector = int.from_bytes(head[:4], "little"), int.from_bytes(head[8:16], "little")
        try:
            status, data = self._serve(queue, chain, kind, sector, room - 1)
        except OSError:
            status, data = IO_ERROR, b""
        queue.scatter(chain, data)
        address, length = next(piece for piece in reversed(chain.writable) if piece[1])
        queue.write(address + length - 1, bytes((status,)))
        return len(data) + 1

    def _serve(self, queue: Queue, chain: Chain, kind: int, sector: int, room: int) -> tuple[int, bytes]:
        if kind == READ:
            if not self._fits(sector, room):
                return IO_ERROR, b""
            return OK, self.disk.read(sector, room // SECTOR)
        if kind == WRITE:
            length = chain.length - 16
            if not self.disk.writable or not self._fits(sector, length):
                return IO_ERROR, b""
            self.disk.write(sector, queue.gather(chain, length + 16)[16:])
            return OK, b""
        if kind == FLUSH:
            self.disk.flush()
            return OK, b""
        return (OK, self.serial.ljust(20, b"\0")[:room]) if kind == GET_ID else (UNSUPPORTED, b"")

    def _fits(self, sector: int, length: int) -> bool:
        return 0 < length <= MOST and length % SECTOR == 0 and sector + length // SECTOR <= self.disk.sectors
