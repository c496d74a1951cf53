"""The virtio memory balloon, after Virtio 1.2, section 5.5: pages that the guest gives up go back to the host.

`discard(address, size)` is told of each page; `resize` says how many the host would like. Not offered: statistics, page
poisoning, free page reporting.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Field
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import Chain, Queue

INFLATE, PAGE, AT_ONCE = 0, 4096, 1 << 16  # AT_ONCE: bytes of page numbers in one request
MOST = (1 << 32) - 1


class Balloon(Device):
    DEVICE_ID = 5
    QUEUES = (128, 128)
    wanted = Field()  # pages
    actual = Field()

    def __init__(self, discard: Callable[[int, int], object]) -> None:
        self.discard = discard
        super().__init__()

    def clear(self) -> None:
        wanted = self.__dict__.get("wanted", 0)  # the host's wish outlives a driver
        super().clear()
        self.wanted = wanted

    def resize(self, pages: int) -> None:
        """How large the host would like the balloon."""
        self.wanted = max(0, min(pages, MOST))
        self.configuration_changed()

    def configuration(self) -> bytes:
        return int(self.wanted).to_bytes(4, "little") + int(self.actual).to_bytes(4, "little")

    def configure(self, offset: int, data: bytes) -> None:
        if offset == 4 and len(data) == 4:
            self.actual = int.from_bytes(data, "little")

    def serve(self, n: int, queue: Queue) -> None:
        self.each(queue, lambda chain: self._inflate(queue, chain) if n == INFLATE else 0)

    def _inflate(self, queue: Queue, chain: Chain) -> int:
        numbers = queue.gather(chain, AT_ONCE)
        for at in range(0, len(numbers) & ~3, 4):
            self.discard(int.from_bytes(numbers[at:at + 4], "little") * PAGE, PAGE)
        return 0
