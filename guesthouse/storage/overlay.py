"""What a guest writes, over a disk that stays as it is: kept in a temporary file without a name, and then
gone.

Only sectors that were written take room, in a file that never has more than `limit` bytes.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import IO

from guesthouse.storage.disk import Disk, MediumError, span, span_to_write, write_all

IN_MEMORY = 1 << 22  # bytes written before there is a file at all


class Overlay:
    """A writable disk over another; closing it closes the one below and throws away what was written."""

    def __init__(self, below: Disk, limit: int | None = None) -> None:
        self.below, self.sectors, self.sector_size, self.writable = (
            below,
            below.sectors,
            below.sector_size,
            True,
        )
        self.limit = self.sectors * self.sector_size if limit is None else limit
        self.discard()

    @property
    def dirty(self) -> int:
        """How many sectors differ, or may differ, from the disk below."""
        return len(self._slot)

    def discard(self) -> None:
        """Forgets everything written."""
        self._slot: dict[int, int] = {}  # sector: its place among those kept
        self._file: IO[bytes] | None = None
        self._kept = bytearray()

    def read(self, lba: int, count: int = 1) -> bytes:
        span(self, lba, count)
        if not self._slot:
            return self.below.read(lba, count)
        slots = [self._slot.get(n) for n in range(lba, lba + count)]
        parts, at = [], 0
        while at < count:
            end = run_end(slots, at)
            slot = slots[at]
            parts.append(self.below.read(lba + at, end - at) if slot is None else self._fetch(slot, end - at))
            at = end
        return b"".join(parts)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        _, length = span_to_write(self, lba, len(data))
        count, view = length // self.sector_size, memoryview(data).cast("B")
        fresh = [n for n in range(lba, lba + count) if n not in self._slot]
        if (len(self._slot) + len(fresh)) * self.sector_size > self.limit:
            raise MediumError(errno.ENOSPC, f"the overlay may hold {self.limit} bytes")
        new = {n: len(self._slot) + i for i, n in enumerate(fresh)}
        slots: list[int | None] = [
            self._slot[n] if n in self._slot else new[n] for n in range(lba, lba + count)
        ]
        at = 0
        while at < count:
            end = run_end(slots, at)
            self._keep(slots[at] or 0, view[at * self.sector_size : end * self.sector_size])
            at = end
        self._slot.update(new)  # last: a write the host refuses leaves unwritten sectors as they were below

    def flush(self) -> None:
        """Nothing written here shall outlive the machine."""

    def close(self) -> None:
        self.discard()
        self.below.close()

    def state(self) -> dict[int, bytes]:
        """Each sector written, by its number: what a snapshot must keep."""
        return {lba: self._fetch(slot, 1) for lba, slot in sorted(self._slot.items())}

    def restore(self, state: dict[int, bytes]) -> None:
        """The inverse of state()."""
        self.discard()
        for lba, data in state.items():
            self.write(lba, data)

    def _fetch(self, slot: int, count: int) -> bytes:
        start, length = slot * self.sector_size, count * self.sector_size
        if self._file is None:
            return bytes(self._kept[start : start + length])
        data = os.pread(self._file.fileno(), length, start)
        if len(data) != length:
            raise MediumError(errno.EIO, "the overlay's own file lost something")
        return data

    def _keep(self, slot: int, data: memoryview) -> None:
        start = slot * self.sector_size
        if self._file is None and start + len(data) > IN_MEMORY:
            self._move_to_file()
        if self._file is None:
            self._kept[start : start + len(data)] = data
            return
        write_all(self._file.fileno(), data, start)

    def _move_to_file(self) -> None:
        file = tempfile.TemporaryFile(prefix="guesthouse-")
        write_all(file.fileno(), memoryview(self._kept), 0)
        self._file, self._kept = file, bytearray()


def run_end(slots: list[int | None], at: int) -> int:
    """Where the run ends that starts at `at`: sectors below, or kept in places that follow each other."""
    end = at + 1
    while end < len(slots):
        before, here = slots[end - 1], slots[end]
        if (here is None) != (before is None) or (
            here is not None and before is not None and here != before + 1
        ):
            break
        end += 1
    return end
