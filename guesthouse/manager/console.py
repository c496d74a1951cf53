"""A machine's console, as a program uses it: what the guest wrote, waiting for it, and typing.

The transcript is bounded: of a guest that writes for ever, the last part stays.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from guesthouse.errors import GuesthouseError, TimedOut
from guesthouse.threads import Changes

KEPT = 8 << 20
Pattern = str | bytes | re.Pattern[bytes]


class Console:
    """Bytes from the guest arrive with `feed`; `send` takes what we type. Used from any thread."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._changed = Changes()
        self._kept = bytearray()
        self._dropped = 0  # bytes that came before the ones kept
        self._seen = 0  # how far read() and expect() have come, counted from the first byte
        self._listeners: list[Callable[[bytes], object]] = []
        self._ended: Callable[[], GuesthouseError] | None = None

    # For the machine.

    def feed(self, data: bytes) -> None:
        """The guest wrote this."""
        with self._changed.lock:
            self._kept += data
            if len(self._kept) > KEPT:
                surplus = len(self._kept) - KEPT // 2
                del self._kept[:surplus]
                self._dropped += surplus
            listeners = tuple(self._listeners)
            self._changed.tell()
        for listener in listeners:
            listener(data)

    def end(self, why: Callable[[], GuesthouseError]) -> None:
        """Nothing more will come; who waits for it gets this error."""
        with self._changed.lock:
            self._ended = why
            listeners = tuple(self._listeners)
            self._changed.tell()
        for listener in listeners:
            listener(b"")

    def listen(self, listener: Callable[[bytes], object], past: bool = False) -> None:
        """Call with all that comes from now on, b"" at the end; with `past`, first with what came before."""
        with self._changed.lock:
            if past and self._kept:
                listener(bytes(self._kept))
            if self._ended:
                listener(b"")
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[bytes], object]) -> None:
        with self._changed.lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    # For the user.

    @property
    def transcript(self) -> str:
        """All that the guest wrote, as text."""
        with self._changed.lock:
            return self._kept.decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The last lines, as text."""
        return "\n".join(self.transcript.replace("\r", "").rstrip("\n").split("\n")[-lines:])

    def write(self, text: str | bytes) -> None:
        """Type this."""
        self._send(text.encode() if isinstance(text, str) else text)

    def read(self, timeout: float | None = 0.0) -> bytes:
        """What came since the last read or expect; waits for something if there is nothing. b"" after `timeout`."""
        self._changed.wait_for(lambda: self._unread() or self._ended, timeout)
        with self._changed.lock:
            data = self._unread()
            self._seen += len(data)
            return data

    def expect(self, pattern: Pattern, timeout: float = 60.0) -> str:
        """Wait until `pattern` (a text, or a compiled pattern) comes; what was read, up to its end, is returned.

        Looks only at what came after the last read or expect.
        """
        wanted = pattern if isinstance(pattern, re.Pattern) else re.compile(re.escape(_bytes(pattern)))
        deadline = time.monotonic() + timeout
        while True:
            with self._changed.lock:
                unread, ended = self._unread(), self._ended
                if found := wanted.search(unread):
                    self._seen += found.end()
                    return unread[: found.end()].decode(errors="replace")
            if ended:
                raise ended()
            if not self._wait_for_more(self._seen + len(unread), deadline - time.monotonic()):
                raise TimedOut(f"The console did not show {wanted.pattern!r} within {timeout:g} s; its last"
                               f" lines are:\n{self.tail(8)}", "Wait longer, or see `console.transcript`.")
            time.sleep(0.005)  # let more come: to search after each byte would take the guest's time

    def _wait_for_more(self, seen: int, timeout: float) -> bool:
        return bool(self._changed.wait_for(lambda: self._dropped + len(self._kept) > seen or self._ended, timeout))

    def _unread(self) -> bytes:
        self._seen = max(self._seen, self._dropped)
        return bytes(self._kept[self._seen - self._dropped :])


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
