"""A virtio device as its transports see it: status, features, queues and configuration, after Virtio 1.2,
chapter 2.

A device subclasses this, names its queues and serves them; it knows neither transport.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import ONES, Field, Stateful
from guesthouse.system.chips.virtio.queue import Chain, GuestMemory, Queue, QueueError
from guesthouse.trace import Emit

DRIVER, ACKNOWLEDGE, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 2, 1, 4, 8, 64, 128
INDIRECT_DESCRIPTORS, VERSION_1 = 1 << 28, 1 << 32
USED_BUFFER, CONFIGURATION = 1, 2  # what an interrupt tells
Interrupt = Callable[[int | None], object]  # of which queue; None: of no one's


class Device(Stateful):
    DEVICE_ID = 0
    PCI_CLASS = 0xFF_0000
    QUEUES: tuple[int, ...] = ()  # the largest size of each
    FEATURES = 0
    event: Emit | None = None  # the transport's

    status = Field()
    driver_features = Field()
    generation = Field()
    interrupts = Field()

    def __init__(self) -> None:
        self.queues: list[Queue] = []
        self.on_interrupt: Interrupt = lambda queue: None
        super().__init__()

    def attach(self, memory: GuestMemory, refused: type[Exception],
               on_interrupt: Interrupt) -> None:
        """The transport's part: where the queues are, and whom to tell that `interrupts` has changed."""
        self.queues = [Queue(memory, refused, size) for size in self.QUEUES]
        self.on_interrupt = on_interrupt

    def parts(self) -> dict[str, Stateful]:
        return {f"queue{n}": queue for n, queue in enumerate(self.queues)}

    @property
    def features(self) -> int:
        return self.FEATURES | VERSION_1 | INDIRECT_DESCRIPTORS

    def configuration(self) -> bytes:
        """The device-specific configuration space."""
        return b""

    def configure(self, offset: int, data: bytes) -> None:
        """The driver writes into the configuration space."""

    def serve(self, n: int, queue: Queue) -> None:
        """The driver has put something into queue `n`."""

    # what the transports call

    def set_status(self, value: int) -> None:
        """2.1: writing 0 resets; features that do not fit are answered by FEATURES_OK staying clear."""
        if value == 0:
            self.reset()
            self.on_interrupt(None)
            return
        if value & FEATURES_OK and not self.status & FEATURES_OK and not self._acceptable():
            value &= ~FEATURES_OK
        self.status = value & 0xFF | self.status & NEEDS_RESET

    def _acceptable(self) -> bool:
        return bool(self.driver_features & VERSION_1) and not self.driver_features & ~self.features

    def accept(self, word: int, value: int) -> None:
        """The driver chooses 32 features; not any more once they are agreed on."""
        if word < 2 and not self.status & FEATURES_OK:
            shift = 32 * word
            self.driver_features = self.driver_features & ~(ONES[4] << shift) | value << shift

    def offered(self, word: int) -> int:
        return self.features >> 32 * word & ONES[4] if word < 2 else 0

    def queue(self, n: int) -> Queue | None:
        return self.queues[n] if n < len(self.queues) else None

    def notify(self, n: int) -> None:
        queue = self.queue(n)
        if queue is None or not queue.ready or self.status & (DRIVER_OK | NEEDS_RESET) != DRIVER_OK:
            return
        try:
            self.serve(n, queue)
        except QueueError as why:
            self.break_off(why)

    def break_off(self, why: QueueError) -> None:
        """2.1.1: nothing sensible can be done until the driver resets the device."""
        if self.event is not None:
            self.event("driver_error", why=why)
        self.status |= NEEDS_RESET
        self.interrupt(CONFIGURATION)

    def each(self, queue: Queue, act: Callable[[Chain], int], more: Callable[[], object] = lambda: True) -> None:
        """Serve what waits in a queue, while there is `more` to be served; `act` says how many bytes it has written. A
        driver that adds as fast as we serve tells us again."""
        served = False
        for _ in range(queue.size):
            chain = queue.pop() if more() else None
            if chain is None:
                break
            queue.push(chain, act(chain))
            served = True
        if served:
            self.used(queue)

    def used(self, queue: Queue) -> None:
        """Requests have been given back: tell the driver, unless it does not want to hear it."""
        if queue.wants_interrupt():
            self.interrupt(USED_BUFFER, self.queues.index(queue))

    def take_interrupts(self) -> int:
        """What the reasons are; reading them acknowledges."""
        found, self.interrupts = self.interrupts, 0
        self.on_interrupt(None)
        return int(found)

    def configuration_changed(self) -> None:
        self.generation = self.generation + 1 & 0xFF
        self.interrupt(CONFIGURATION)

    def interrupt(self, why: int, queue: int | None = None) -> None:
        self.interrupts |= why
        self.on_interrupt(queue)

    def read_configuration(self, offset: int, size: int) -> int:
        return int.from_bytes(self.configuration()[offset:offset + size], "little")

    def write_configuration(self, offset: int, size: int, value: int) -> None:
        self.configure(offset, (value & ONES[size]).to_bytes(size, "little"))
