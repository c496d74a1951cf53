"""The virtio entropy device, after Virtio 1.2, section 5.4.

Where the bytes come from is the board's business: the host's generator, or a seeded one for a run to be
repeated.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import Queue

AT_ONCE = 4096  # bytes per request: a guest that asks for more asks again


class Rng(Device):
    DEVICE_ID = 4
    QUEUES = (64,)

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        super().__init__()
        self.random_bytes = random_bytes

    def serve(self, n: int, queue: Queue) -> None:
        self.each(queue, lambda chain: queue.scatter(chain, self.random_bytes(min(chain.room, AT_ONCE))))
