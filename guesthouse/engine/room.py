"""Memory of the engine's own: for a processor's state, and for what is put down one after another, blocks and copies.

A kernel gives memory when it is first touched, and clears it then: 2 MiB in a tenth of a millisecond, but in five where
it has to ask a host of its own for it first. So a thread touches what will be filled next.
"""

import ctypes
import mmap
import threading
from collections.abc import Callable
from contextlib import suppress

SIZE = 256 << 20  # address space of a room; only what is used becomes memory
SMALL = 1 << 16  # what is filled no further is left alone
LARGE_PAGE = 2 << 20
AHEAD = 4 * LARGE_PAGE


def zeros(size: int, **more: int) -> mmap.mmap:
    """Memory for what the guest's instructions use all the time: in large pages of the host, if it has them, whose own
    address cache is small. Private: a fork of this process goes on for itself."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    made = mmap.mmap(-1, size, **private, **more)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            made.madvise(mmap.MADV_HUGEPAGE)
    return made


class Room:
    """Memory from `start` to `end` that is filled from its start on. `touch` stores to an address, but changes nothing
    there: the filling goes on meanwhile. (madvise could do it, but keeps others from mapping memory for as long.)"""

    def __init__(self, touch: Callable[[int], None], **more: int) -> None:
        self._octets = (ctypes.c_uint8 * SIZE).from_buffer(zeros(SIZE, **more))
        self._touch = touch
        self.start = self._touched = ctypes.addressof(self._octets)
        self.end = self.start + SIZE

    def reach(self, filled: int) -> None:
        """It is filled up to here: have what comes next touched. Returns at once."""
        if filled - self.start > SMALL and min(filled + AHEAD // 2, self.end) > self._touched:
            first, self._touched = self._touched, min(filled + AHEAD & -LARGE_PAGE, self.end)
            with suppress(RuntimeError):  # no more threads
                threading.Thread(target=self._touch_all, args=(first, self._touched), daemon=True).start()

    def _touch_all(self, first: int, last: int) -> None:
        for address in range(first & -LARGE_PAGE, last, LARGE_PAGE):
            self._touch(max(first, address))
