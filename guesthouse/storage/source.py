"""The bytes of an image file while it is being looked at: what lies beyond its end is a broken image, not a
crash.
"""

from __future__ import annotations

import os
from pathlib import Path

from guesthouse.errors import ImageError, UserError
from guesthouse.storage.disk import opened

LARGEST_READ = 1 << 20


class Source:
    """A file of `size` bytes that is only read, or the first bytes of one (a decompressed head)."""

    def __init__(self, name: str, file: int, size: int, head: bytes | None = None) -> None:
        self.name, self.size, self._file, self._head = name, size, file, head

    @classmethod
    def open(cls, path: str | Path) -> Source:
        file = opened(Path(path), False)
        try:
            return cls(Path(path).name, file, os.lseek(file, 0, os.SEEK_END))
        except OSError as trouble:  # some of /proc are files without an end
            os.close(file)
            raise unreadable(path, trouble) from None

    @property
    def compressed(self) -> bool:
        """Whether only the head of the file is known."""
        return self._head is not None

    def peek(self, offset: int, length: int) -> bytes:
        """What there is at that place: fewer bytes than asked for at the end, none beyond it."""
        length = min(length, LARGEST_READ)
        if offset < 0 or offset >= self.size:
            return b""
        if self._head is not None:
            return self._head[offset : offset + length]
        try:
            return os.pread(self._file, length, offset)
        except OSError as trouble:
            raise unreadable(self.name, trouble) from None

    def need(self, offset: int, length: int, form: str, what: str) -> bytes:
        """Exactly these bytes, which the format says are there."""
        data = self.peek(offset, length)
        if len(data) != length:
            raise self.broken(form, offset, f"{what} ({length} bytes; the file has {self.size})")
        return data

    def broken(self, form: str, offset: int, expected: str) -> ImageError:
        return ImageError(
            self.name, form, offset, expected, "The file is damaged or was not copied as a whole."
        )

    def close(self) -> None:
        os.close(self._file)


def unreadable(path: str | Path, trouble: OSError) -> UserError:
    return UserError(f"{path} cannot be read: {trouble.strerror}.", "Check that it is an image, and the disk it is on.")
