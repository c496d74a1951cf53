"""The split virtqueue, seen from the device, after Virtio 1.2, section 2.7.

Nothing that a driver writes is believed: a loop, a wrong length or an address outside memory raises
QueueError, and the device asks for a reset. Not offered: event indices, packed queues.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Protocol

from guesthouse.system.chips.kit import Field, Stateful

NEXT, WRITE, INDIRECT = 1, 2, 4  # descriptor flags
NO_INTERRUPT = 1  # avail flags
DESCRIPTOR = struct.Struct("<QIHH")
MAX_CHAIN = 1 << 32  # bytes (2.7.5.2)
Piece = tuple[int, int]  # address, length


class GuestMemory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> object: ...


class QueueError(Exception):
    """The driver broke the rules of the queue; the device survives it."""


@dataclass(slots=True)
class Chain:
    """One request: what the driver lets the device read, and write; how many bytes that is."""

    head: int
    readable: list[Piece] = field(default_factory=list)
    writable: list[Piece] = field(default_factory=list)
    length: int = 0
    room: int = 0


class Queue(Stateful):
    size = Field()
    ready = Field(False)
    descriptors = Field()  # addresses of the three areas
    driver = Field()
    device = Field()
    last_available = Field()
    used = Field()

    def __init__(self, memory: GuestMemory, refused: type[Exception], maximum: int) -> None:
        self.memory, self.refused, self.maximum = memory, refused, maximum
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.size = self.maximum

    def set_size(self, size: int) -> None:
        """Only a power of two within the maximum is taken."""
        if 0 < size <= self.maximum and size & (size - 1) == 0 and not self.ready:
            self.size = size

    def pop(self) -> Chain | None:
        """The next request, if there is one."""
        index = self._word(self.driver + 2)
        waiting = index - self.last_available & 0xFFFF
        if waiting == 0:
            return None
        if waiting > self.size:
            raise QueueError(f"{waiting} requests in a queue of {self.size}")
        head = self._word(self.driver + 4 + 2 * (self.last_available % self.size))
        self.last_available = self.last_available + 1 & 0xFFFF
        return self._chain(head)

    def push(self, chain: Chain, written: int) -> None:
        """Give a request back. The index is written last: from then on it is the driver's."""
        entry = chain.head.to_bytes(4, "little") + written.to_bytes(4, "little")
        self.write(self.device + 4 + 8 * (self.used % self.size), entry)
        self.used = self.used + 1 & 0xFFFF
        self.write(self.device + 2, int(self.used).to_bytes(2, "little"))

    def wants_interrupt(self) -> bool:
        return not self._word(self.driver) & NO_INTERRUPT

    def gather(self, chain: Chain, limit: int) -> bytes:
        """What the driver wrote, at most `limit` bytes of it."""
        parts = []
        for address, length in chain.readable:
            parts.append(self.read(address, min(length, limit)))
            limit -= len(parts[-1])
        return b"".join(parts)

    def scatter(self, chain: Chain, data: bytes) -> int:
        """Fill what the driver lets us write; says how much."""
        done = 0
        for address, length in chain.writable:
            piece = data[done:done + length]
            if piece:
                self.write(address, piece)
            done += len(piece)
        return done

    def _chain(self, head: int) -> Chain:
        chain = Chain(head)
        index, left = head, int(self.size)
        while left > 0:  # more descriptors than there are is a loop
            if index >= self.size:
                raise QueueError(f"descriptor {index} of {self.size}")
            address, length, flags, following = DESCRIPTOR.unpack(self.read(self.descriptors + 16 * index, 16))
            if flags & INDIRECT:
                if flags & NEXT or length == 0 or length % 16 or length // 16 > self.size:
                    raise QueueError(f"an indirect table of {length} bytes")
                return self._indirect(chain, list(DESCRIPTOR.iter_unpack(self.read(address, length))))
            self._add(chain, address, length, flags)
            if not flags & NEXT:
                return self._sound(chain)
            index, left = following, left - 1
        raise QueueError("the descriptors form a loop")

    def _indirect(self, chain: Chain, table: list[tuple[int, int, int, int]]) -> Chain:
        """The rest of a chain has a table of its own (2.7.5.3), which is read at once."""
        index = 0
        for _ in table:
            if index >= len(table):
                raise QueueError(f"descriptor {index} of {len(table)}")
            address, length, flags, index = table[index]
            if flags & INDIRECT:
                raise QueueError("an indirect table in another")
            self._add(chain, address, length, flags)
            if not flags & NEXT:
                return self._sound(chain)
        raise QueueError("the descriptors form a loop")

    @staticmethod
    def _sound(chain: Chain) -> Chain:
        if chain.room + chain.length > MAX_CHAIN:
            raise QueueError("a request of more than 4 GiB")
        return chain

    @staticmethod
    def _add(chain: Chain, address: int, length: int, flags: int) -> None:
        if flags & WRITE:
            chain.writable.append((address, length))
            chain.room += length
        elif chain.writable:
            raise QueueError("a readable descriptor after a writable one")
        else:
            chain.readable.append((address, length))
            chain.length += length

    def _word(self, at: int) -> int:
        return int.from_bytes(self.read(at, 2), "little")

    def read(self, address: int, n: int) -> bytes:
        try:
            return self.memory.read(address, n)
        except self.refused as refusal:
            raise QueueError(f"{n} bytes at {address:#x} are not memory") from refusal

    def write(self, address: int, data: bytes) -> None:
        try:
            self.memory.write(address, data)
        except self.refused as refusal:
            raise QueueError(f"{len(data)} bytes at {address:#x} are not memory") from refusal
