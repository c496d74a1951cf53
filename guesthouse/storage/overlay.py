"""What a guest writes, over a disk that stays as it is: kept in a temporary file without a name, and then gone.

The file has each sector where the disk has it, and holes elsewhere, so that any run of sectors is one copy. Only
sectors that were written take room, never more than `limit` bytes of them, in blocks of the host's file system.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from guesthouse.storage.disk import Disk, MediumError, span, span_to_write, write_all

IN_MEMORY = 1 << 22  # bytes: a disk that is no larger needs no file
CHART = 1 << 15  # sectors whose marks lie together


class Overlay:
    """A writable disk over another; closing it closes the one below and throws away what was written."""

    def __init__(self, below: Disk, limit: int | None = None) -> None:
        self.below, self.sectors, self.sector_size = below, below.sectors, below.sector_size
        self.writable = True
        self.size = self.sectors * self.sector_size
        self.limit = self.size if limit is None else limit
        self.discard()

    def discard(self) -> None:
        """Forgets everything written."""
        self.dirty = 0  # how many sectors differ, or may differ, from the disk below
        self._charts: dict[int, bytearray] = {}  # by the first sector: 1 for each that was written
        self._file: IO[bytes] | None = None
        self._kept = bytearray()

    def read(self, lba: int, count: int = 1) -> bytes:
        span(self, lba, count)
        if not self.dirty:
            return self.below.read(lba, count)
        parts = [(self._fetch if written else self.below.read)(at, n) for at, n, written in self._runs(lba, count)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        _, length = span_to_write(self, lba, len(data))
        count = length // self.sector_size
        fresh = sum(n for _, n, written in self._runs(lba, count) if not written)
        if (self.dirty + fresh) * self.sector_size > self.limit:
            raise MediumError(errno.ENOSPC, f"the overlay may hold {self.limit} bytes")
        self._keep(lba, memoryview(data).cast("B"))
        for first, start, end in charts(lba, count):  # last: what the host refuses is as it was below
            self._charts.setdefault(first, bytearray(CHART))[start:end] = b"\1" * (end - start)
        self.dirty += fresh

    def flush(self) -> None:
        """Nothing written here shall outlive the machine."""

    def close(self) -> None:
        self.discard()
        self.below.close()

    def state(self) -> dict[int, bytes]:
        """Each sector written, by its number: what a snapshot must keep."""
        return {lba: self._fetch(lba, 1) for at, n, written in self._runs(0, self.sectors) if written
                for lba in range(at, at + n)}

    def restore(self, state: dict[int, bytes]) -> None:
        """The inverse of state()."""
        self.discard()
        for lba, data in state.items():
            self.write(lba, data)

    def _runs(self, lba: int, count: int) -> Iterator[tuple[int, int, bool]]:
        """First sector, how many, and whether they were written."""
        for first, at, end in charts(lba, count):
            chart = self._charts.get(first)
            if chart is None:
                yield first + at, end - at, False
                continue
            while at < end:
                written = chart[at]
                until = chart.find(1 - written, at, end)
                until = end if until < 0 else until
                yield first + at, until - at, bool(written)
                at = until

    def _fetch(self, lba: int, count: int) -> bytes:
        start, length = lba * self.sector_size, count * self.sector_size
        if self._file is None:
            return bytes(self._kept[start:start + length])
        data = os.pread(self._file.fileno(), length, start)
        if len(data) != length:
            raise MediumError(errno.EIO, "the overlay's own file lost something")
        return data

    def _keep(self, lba: int, data: memoryview) -> None:
        start = lba * self.sector_size
        if self.size <= IN_MEMORY:
            self._kept = self._kept or bytearray(self.size)
            self._kept[start:start + len(data)] = data
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="guesthouse-")
        write_all(self._file.fileno(), data, start)


def charts(lba: int, count: int) -> Iterator[tuple[int, int, int]]:
    """The charts that these sectors are marked in: the first sector of each, and from where to where in it."""
    end = lba + count
    while lba < end:
        first = lba - lba % CHART
        until = min(end, first + CHART)
        yield first, lba - first, until - first
        lba = until
