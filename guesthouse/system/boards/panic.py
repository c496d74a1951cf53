"""Notices that a Linux kernel has panicked and hangs.

The text on a console alone proves nothing, since programs can print it: after it the guest must also have been seen
in nothing but kernel mode, without idling, for a while. A pvpanic write is proof.
"""

from __future__ import annotations

START, END = b"Kernel panic - ", b"end Kernel panic"
HANGS = 200_000_000  # ns of guest time
KEPT = 400  # bytes of a line that are looked at


class PanicWatch:
    def __init__(self) -> None:
        self.text: str | None = None
        self.certain = False
        self._line = b""
        self._ended = False
        self._since: int | None = None

    def see(self, data: bytes) -> None:
        """Console output; cheap unless a line ends in it."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[-KEPT:] if b"Kernel panic" not in rest else rest[:KEPT]
        for line in lines:
            if END not in line and START in line and self.text is None:
                what = line[line.index(START) + len(START):]
                self.text = "kernel panic: " + what.decode("utf-8", "replace").strip()
            elif END in line and self.text is not None:
                self._ended = True

    def told(self) -> None:
        """The guest's pvpanic driver said so; the text has been printed before."""
        self.text = self.text or "kernel panic: told by pvpanic"
        self.certain = True

    def alive(self) -> None:
        """The guest idles or runs a program."""
        self._since = None

    def hangs(self, now: int) -> bool:
        """To be asked while the guest is in kernel mode: whether it has panicked for good."""
        if self.certain:
            return True
        if not self._ended:
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= HANGS
