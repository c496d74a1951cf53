"""A serial port as the host sees it: an output callback, an input queue of any length, and an eye on panics."""

from __future__ import annotations

import threading
from collections.abc import Callable

from guesthouse.system.boards.panic import PanicWatch
from guesthouse.system.chips.uart import Uart

Output = Callable[[bytes], object]


def discard(data: bytes) -> None:
    """What happens to output that nobody asked for."""


class Port:
    """One UART of a board. `send` and `send_break` may be called from any thread; `output` is called by the one that
    runs the board."""

    def __init__(self, post: Callable[[Callable[[], object]], None], panic: PanicWatch) -> None:
        self.output: Output = discard
        self.uart: Uart | None = None
        self.queue = bytearray()
        self._post, self._panic = post, panic
        self._lock = threading.Lock()
        self._under_way = 0  # sent, but not yet in the queue

    def emit(self, data: bytes) -> None:
        """The UART's output goes through here."""
        self._panic.see(data)
        self.output(data)

    @property
    def pending(self) -> int:
        """Bytes that the guest has not taken yet."""
        return len(self.queue) + self._under_way

    def send(self, data: bytes) -> None:
        with self._lock:
            self._under_way += len(data)
        self._post(lambda: self._arrive(data))

    def send_break(self) -> None:
        if self.uart is not None:
            self._post(self.uart.receive_break)

    def _arrive(self, data: bytes) -> None:
        self.queue += data
        with self._lock:
            self._under_way -= len(data)
        self.feed()

    def feed(self) -> None:
        """Give the UART as much as it has room for."""
        if self.uart is not None and self.queue:
            taken = self.uart.receive(bytes(self.queue[:Uart.FIFO]))
            del self.queue[:taken]

    def take(self, most: int) -> bytes:
        """Input for firmware calls that read the console past the UART."""
        held = b"" if self.uart is None else bytes(self.uart.received[:most])
        if self.uart is not None and held:
            self.uart.received = self.uart.received[len(held):]
            self.uart.settle()
        rest = bytes(self.queue[:most - len(held)])
        del self.queue[:len(rest)]
        return held + rest
