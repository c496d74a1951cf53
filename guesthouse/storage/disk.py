"""The block interface that chips and firmware use, and the two disks that need nothing else: a file and
memory.

A sector outside the disk is refused, never clipped. Whatever goes wrong is an OSError: chips tell their
guest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Protocol

from guesthouse.errors import ImageError, NoSuchThing, UserError

LARGEST_ACCESS = 1 << 26  # bytes at a time: more than any chip can ask for in one command


class MediumError(OSError):
    """The medium refuses: EINVAL out of range, EROFS read-only, ENOSPC an overlay that is full, EIO the host."""


class Disk(Protocol):
    """Sectors from 0 to `sectors` - 1, of `sector_size` bytes each."""

    @property
    def sectors(self) -> int: ...

    @property
    def sector_size(self) -> int: ...

    @property
    def writable(self) -> bool: ...

    def read(self, lba: int, count: int = 1) -> bytes: ...

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def span(disk: Disk, lba: int, count: int) -> tuple[int, int]:
    """The first byte and the number of bytes of these sectors, if the disk has them all."""
    if lba < 0 or count < 0 or lba + count > disk.sectors or count * disk.sector_size > LARGEST_ACCESS:
        raise MediumError(
            errno.EINVAL, f"sectors {lba} to {lba + count - 1} of a disk that has {disk.sectors}"
        )
    return lba * disk.sector_size, count * disk.sector_size


def span_to_write(disk: Disk, lba: int, length: int) -> tuple[int, int]:
    """The same for data to be written, which must be whole sectors on a disk that takes them."""
    if not disk.writable:
        raise MediumError(errno.EROFS, "the medium is write-protected")
    if length % disk.sector_size:
        raise MediumError(errno.EINVAL, f"{length} bytes are not whole sectors")
    return span(disk, lba, length // disk.sector_size)


class Memory:
    """A disk in memory; what is missing of its last sector reads as zeros."""

    def __init__(self, data: bytes | bytearray, sector_size: int = 512, writable: bool = True) -> None:
        self.sector_size, self.writable = sector_size, writable
        self.sectors = -(-len(data) // sector_size)
        self.data = bytearray(data).ljust(self.sectors * sector_size, b"\0")

    def read(self, lba: int, count: int = 1) -> bytes:
        start, length = span(self, lba, count)
        return bytes(self.data[start : start + length])

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        start, length = span_to_write(self, lba, len(data))
        self.data[start : start + length] = data

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


class RawFile:
    """A file (or a block device) that is a disk, byte for byte.

    Read-only unless asked; who writes holds a lock on it, so that two machines never write the same disk, and
    who reads holds a shared one, so that nobody writes below it.
    """

    def __init__(self, path: str | Path, sector_size: int = 512, writable: bool = False) -> None:
        self.path, self.sector_size, self.writable = Path(path), sector_size, writable
        self._file = opened(self.path, writable)
        try:
            lock(self._file, self.path, writable)
            self._size = os.lseek(self._file, 0, os.SEEK_END)
            if not self._size:
                raise ImageError(self.path.name, "disk", 0, "at least one sector", "The file is empty.")
            if writable and self._size % sector_size:
                raise ImageError(
                    self.path.name,
                    "disk",
                    self._size,
                    f"whole sectors of {sector_size} bytes",
                    "It can be run without --persist.",
                )
        except BaseException:
            self.close()
            raise
        self.sectors = -(-self._size // sector_size)

    def read(self, lba: int, count: int = 1) -> bytes:
        start, length = span(self, lba, count)
        parts = []
        while length and start < self._size:
            part = os.pread(self._file, length, start)
            if not part:
                raise MediumError(errno.EIO, f"{self.path.name} ended at {start:#x}: someone made it shorter")
            parts.append(part)
            start, length = start + len(part), length - len(part)
        return b"".join(parts) + bytes(length)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        start, _ = span_to_write(self, lba, len(data))
        write_all(self._file, memoryview(data).cast("B"), start)

    def flush(self) -> None:
        """Returns when what was written is on the host's own medium."""
        if self.writable:
            os.fsync(self._file)

    def close(self) -> None:
        """Gives the file and its lock back; closing twice is no mistake."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def write_all(file: int, data: memoryview, start: int) -> None:
    """pwrite(2) until all of it is written."""
    while data:
        done = os.pwrite(file, data, start)
        start, data = start + done, data[done:]


def opened(path: Path, writable: bool) -> int:
    """A descriptor of the file, or a sentence for the user."""
    try:
        # Not blocking: a named pipe must be refused below, not waited for.
        file = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NoSuchThing(f"There is no file {path}.") from None
    except OSError as trouble:
        what, instead = ("written", "; it can be run without --persist") if writable else ("read", "")
        raise UserError(f"{path} cannot be {what}: {trouble.strerror}.", f"Check its permissions{instead}.") from None
    kind = os.fstat(file).st_mode
    if stat.S_ISREG(kind) or stat.S_ISBLK(kind):
        return file
    os.close(file)
    raise UserError(f"{path} is neither a file nor a block device.", "Name a disk, floppy or CD image.")


def lock(file: int, path: Path, writable: bool) -> None:
    """flock(2): given back when the descriptor is closed, however the process ends."""
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{path} is in use by another machine or drive{'' if writable else ', which writes to it'}.",
            "Stop that machine, or use a copy of the file.",
        ) from None
    except OSError as trouble:
        if writable:  # a file system without locks: reading is safe enough there, writing is not
            raise UserError(
                f"{path} cannot be locked: {trouble.strerror}.", "Copy it to another place."
            ) from None


def open_disk(
    path: str | Path, sector_size: int = 512, persist: bool = False, limit: int | None = None
) -> Disk:
    """The disk in a file: with `persist` written in place, else under an overlay thrown away at the end."""
    from guesthouse.storage.overlay import Overlay

    return RawFile(path, sector_size, True) if persist else Overlay(RawFile(path, sector_size), limit)
