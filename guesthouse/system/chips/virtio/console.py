"""The virtio console with its one port, after Virtio 1.2, section 5.3.

Not offered: several ports, the control queues, the window's size.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Field
from guesthouse.system.chips.virtio.device import DRIVER_OK, NEEDS_RESET, Device
from guesthouse.system.chips.virtio.queue import Chain, Queue, QueueError

RECEIVE, TRANSMIT = 0, 1
AT_ONCE, WAITING = 65536, 4096  # bytes of one request; bytes that wait for the driver


class Console(Device):
    DEVICE_ID, PCI_CLASS = 3, 0x07_8000
    QUEUES = (64, 64)
    waiting = Field(b"")

    def __init__(self, output: Callable[[bytes], object]) -> None:
        super().__init__()
        self.output = output

    # the host's side

    def room(self) -> int:
        return WAITING - len(self.waiting)

    def receive(self, data: bytes) -> int:
        """Take what fits, and say how much."""
        taken = data[:max(0, self.room())]
        self.waiting += taken
        if self.queues and self.queues[RECEIVE].ready and self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK:
            try:
                self._deliver(self.queues[RECEIVE])
            except QueueError as why:
                self.break_off(why)
        return len(taken)

    # the driver's side

    def serve(self, n: int, queue: Queue) -> None:
        if n == RECEIVE:
            self._deliver(queue)
        else:
            self.each(queue, lambda chain: self._say(queue, chain))

    def _say(self, queue: Queue, chain: Chain) -> int:
        self.output(queue.gather(chain, AT_ONCE))
        return 0

    def _deliver(self, queue: Queue) -> None:
        """What waits goes into the buffers that the driver has put there."""
        self.each(queue, lambda chain: self._fill(queue, chain), lambda: self.waiting)

    def _fill(self, queue: Queue, chain: Chain) -> int:
        written = queue.scatter(chain, self.waiting[:chain.room])
        self.waiting = self.waiting[written:]
        return written
