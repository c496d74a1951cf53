"""Memory of the engine's own: for a processor's state, and for what is put down one after another, blocks and copies.

A kernel gives memory when it is first touched, and clears it then: 2 MiB in a tenth of a millisecond, but in five where
it has to ask a host of its own for it first. So a thread touches what will be filled next: one for all rooms, for
whoever starts a thread waits until it has been given a processor.
"""

import ctypes
import functools
import mmap
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

SIZE = 256 << 20  # address space of a room; only what is used becomes memory
SMALL = 1 << 16  # what is filled no further is left alone
LARGE_PAGE = 2 << 20
AHEAD = 4 * LARGE_PAGE
CODE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC  # the protection of a room for what is executed


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
                wishes().put((self._octets, self._touch, first, self._touched))


Wish = tuple[Any, Callable[[int], None], int, int]  # whose memory is to be touched, how, from where, up to where


@functools.cache
def wishes() -> SimpleQueue[Wish]:
    """The wishes of all rooms. The thread that sees to them begins with the first."""
    made: SimpleQueue[Wish] = SimpleQueue()
    threading.Thread(target=serve, args=(made,), name="room", daemon=True).start()
    return made


def serve(wishes: SimpleQueue[Wish]) -> None:
    while True:
        touch_all(*wishes.get())


def touch_all(owner: Any, touch: Callable[[int], None], first: int, last: int) -> None:
    """The owner keeps the memory for as long."""
    for address in range(first & -LARGE_PAGE, last, LARGE_PAGE):
        touch(max(first, address))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=wishes.cache_clear)  # the thread is not in the child
