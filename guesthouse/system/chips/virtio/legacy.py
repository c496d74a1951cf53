"""The registers of virtio before version 1, in a window of ports, after Virtio 1.2, section 4.1.4.10; and the table
that says which MSI-X vector belongs to which queue, for both kinds of registers.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, Register, Stateful, on_read, on_write
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import Queue

NO_VECTOR, PAGE = 0xFFFF, 0x1000
CONFIG, CONFIG_WITH_VECTORS = 0x14, 0x18


class Vectors(Stateful):
    configuration = Field(NO_VECTOR)
    queues = Field([])

    def __init__(self, queues: int, count: int) -> None:
        self.many, self.count = queues, count
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.queues = [NO_VECTOR] * self.many

    def of(self, queue: int | None) -> int:
        if queue is None:
            return int(self.configuration)
        return int(self.queues[queue]) if queue < self.many else NO_VECTOR

    def choose(self, queue: int | None, vector: int) -> None:
        """A vector that there is not reads back as none (4.1.5.1.2)."""
        vector = vector if vector < self.count else NO_VECTOR
        if queue is None:
            self.configuration = vector
        elif queue < self.many:
            self.queues[queue] = vector


class Legacy(Chip):
    SIZE = 0x80
    queue_select = Register(0x0E, width=16)

    def __init__(self, device: Device, vectors: Vectors, with_vectors: Callable[[], bool]) -> None:
        self.device, self.vectors, self.with_vectors = device, vectors, with_vectors
        super().__init__()

    def selected(self) -> Queue | None:
        return self.device.queue(self.queue_select)

    def _config(self) -> int:
        return CONFIG_WITH_VECTORS if self.with_vectors() else CONFIG

    def read(self, offset: int, size: int = 1) -> int:
        if offset >= self._config():
            return self.device.read_configuration(offset - self._config(), size)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= self._config():
            self.device.write_configuration(offset - self._config(), size, value)
        else:
            super().write(offset, size, value)

    @on_read(0x00, width=32, pure=True)
    def offered_features(self) -> int:
        return self.device.offered(0)

    @on_read(0x04, width=32, pure=True)
    def accepted_features(self) -> int:
        return int(self.device.driver_features & 0xFFFF_FFFF)

    @on_write(0x04, width=32)
    def accept_features(self, value: int) -> None:
        self.device.accept(0, value & self.device.offered(0))

    @on_read(0x08, width=32, pure=True)
    def queue_page(self) -> int:
        queue = self.selected()
        return 0 if queue is None else int(queue.descriptors) // PAGE & 0xFFFF_FFFF

    @on_write(0x08, width=32)
    def set_queue_page(self, page: int) -> None:
        """One page number places all three areas (2.7.2)."""
        if (queue := self.selected()) is not None:
            queue.size, queue.descriptors = queue.maximum, page * PAGE
            queue.driver = queue.descriptors + 16 * queue.size
            queue.device = queue.driver + 6 + 2 * queue.size + PAGE - 1 & ~(PAGE - 1)
            queue.ready = page != 0
            if not page:
                queue.last_available = queue.used = 0

    @on_read(0x0C, width=16, pure=True)
    def queue_size(self) -> int:
        queue = self.selected()
        return 0 if queue is None else int(queue.maximum)

    @on_write(0x10, width=16)
    def notify(self, queue: int) -> None:
        self.device.notify(queue)

    @on_read(0x12, pure=True)
    def status(self) -> int:
        return int(self.device.status)

    @on_write(0x12)
    def set_status(self, value: int) -> None:
        if value == 0:
            self.vectors.reset()
        self.device.set_status(value)

    @on_read(0x13)
    def take_interrupts(self) -> int:
        return self.device.take_interrupts()

    @on_read(0x14, width=16, pure=True)
    def configuration_vector(self) -> int:
        return int(self.vectors.configuration)

    @on_write(0x14, width=16)
    def set_configuration_vector(self, value: int) -> None:
        self.vectors.choose(None, value)

    @on_read(0x16, width=16, pure=True)
    def queue_vector(self) -> int:
        return self.vectors.of(self.queue_select)

    @on_write(0x16, width=16)
    def set_queue_vector(self, value: int) -> None:
        self.vectors.choose(self.queue_select, value)
