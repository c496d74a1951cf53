"""The guest-physical space: RAM as one host mapping between guard areas, and the chips around it.

Python code touches RAM through `Memory.read` and `Memory.write` only; they refuse what is not wholly RAM and never
clip. Not modelled: memory types, bus errors (what nobody answers reads as ones), RAM that comes and goes.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from guesthouse.bits import u64
from guesthouse.engine.cpu import CodePage, Cpu
from guesthouse.errors import UserError
from guesthouse.typed import Pointer

PAGE = 4096
GUARD = 1 << 20  # more than any one access of an instruction can span
RANGES = 8  # as many as Cpu.ram has

Read = Callable[[int, int], int]
Write = Callable[[int, int, int], object]
Forget = Callable[[int], object]


class OutsideRam(UserError):
    """An access that does not lie wholly in guest RAM."""

    def __init__(self, address: int, count: int) -> None:
        super().__init__(f"{count} bytes at guest-physical {address:#x} are not all RAM.")
        self.address, self.count = address, count


class Mapping:
    """Zeroed host memory, given by the host only as it is touched, with guards that stop any access beyond."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // PAGE) * PAGE
        try:
            self._map = mmap.mmap(-1, self.size + 2 * GUARD, **_private())
        except (OSError, ValueError, OverflowError) as why:
            raise UserError(f"The host cannot give {size >> 20} MiB of memory.", "Ask for less memory.") from why
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.host = base + GUARD
        _forbid(base, GUARD)
        _forbid(self.host + self.size, GUARD)
        self.view = memoryview(self._map)[GUARD:GUARD + self.size]

    def close(self) -> None:
        self.view.release()
        self._map.close()


def _private() -> dict[str, int]:
    if sys.platform == "win32":
        return {}
    return {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)}


def _forbid(address: int, size: int) -> None:
    """Make host pages inaccessible."""
    if sys.platform == "win32":
        done = ctypes.windll.kernel32.VirtualProtect(
            ctypes.c_void_p(address), ctypes.c_size_t(size), 1, ctypes.byref(ctypes.c_ulong()))
    else:
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        done = not protect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0)
    if not done:
        raise UserError("The host refuses to guard the guest's memory.")


@dataclass(frozen=True)
class Range:
    """Guest-physical addresses [start, start + length) are RAM from `offset` in the mapping on."""

    start: int
    length: int
    offset: int
    writable: bool = True


class Memory:
    """All RAM of one machine, and who has to know when it changes."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        """`ranges` are (start, length), page aligned, in ascending order."""
        self.size = sum(length for _, length in ranges)
        self._mapping = Mapping(self.size)
        self.host = self._mapping.host
        self._view = self._mapping.view
        self.ranges: list[Range] = []
        offset = 0
        for start, length in ranges:
            self._add(Range(start, length, offset))
            offset += length
        self._starts = [r.start for r in self.ranges]
        self._cpus: list[tuple[Mapping, memoryview, Forget]] = []

    def _add(self, r: Range) -> None:
        last = self.ranges[-1] if self.ranges else Range(0, 0, 0)
        if r.start % PAGE or r.length % PAGE or r.length <= 0 or r.start < last.start + last.length:
            raise ValueError(f"RAM of {r.length:#x} bytes at {r.start:#x}")
        if len(self.ranges) == RANGES:
            raise ValueError(f"more than {RANGES} ranges of RAM")
        self.ranges.append(r)

    def protect(self, start: int, length: int) -> None:
        """Make part of one range read-only for the guest: ROM. The board can still write it."""
        i = bisect_right(self._starts, start) - 1
        r = self.ranges[i] if i >= 0 else Range(0, 0, 0)
        before, after = start - r.start, r.start + r.length - start - length
        if before < 0 or after < 0 or start % PAGE or length % PAGE or length <= 0 or self._cpus:
            raise ValueError(f"ROM of {length:#x} bytes at {start:#x}")
        parts = [Range(r.start, before, r.offset, r.writable), Range(start, length, r.offset + before, False),
                 Range(start + length, after, r.offset + before + length, r.writable)]
        self.ranges[i:i + 1] = [part for part in parts if part.length]
        self._starts = [part.start for part in self.ranges]
        if len(self.ranges) > RANGES:
            raise ValueError(f"more than {RANGES} ranges of RAM")

    def _pieces(self, address: int, count: int) -> Iterator[tuple[int, int]]:
        """Where [address, address + count) lies in the mapping, as (offset, count); OutsideRam if any is not RAM."""
        if count < 0 or address < 0:
            raise OutsideRam(address, count)
        at, left = address, count
        while left > 0:
            i = bisect_right(self._starts, at) - 1
            inside = at - self.ranges[i].start if i >= 0 else 0
            room = self.ranges[i].length - inside if i >= 0 else 0
            if room <= 0:
                raise OutsideRam(address, count)
            piece = min(room, left)
            yield self.ranges[i].offset + inside, piece
            at, left = at + piece, left - piece

    def contains(self, address: int, count: int = 1) -> bool:
        try:
            return sum(n for _, n in self._pieces(address, count)) == count
        except OutsideRam:
            return False

    def read(self, address: int, count: int) -> bytes:
        pieces = list(self._pieces(address, count))
        return b"".join(self._view[offset:offset + n] for offset, n in pieces)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        source = memoryview(data).cast("B")
        pieces = list(self._pieces(address, len(source)))
        done = 0
        for offset, n in pieces:
            self._forget(offset, n)
            self._view[offset:offset + n] = source[done:done + n]
            done += n

    def fill(self, address: int, count: int) -> None:
        """Zeros, without a buffer of that size."""
        for offset, n in list(self._pieces(address, count)):
            self._forget(offset, n)
            ctypes.memset(self.host + offset, 0, n)

    def _forget(self, offset: int, count: int) -> None:
        """Code decoded from these pages must not run on."""
        first, last = offset // PAGE, (offset + count - 1) // PAGE
        for _, code, forget in self._cpus:
            for page in range(first, last + 1):
                if code[2 * page]:
                    forget(self.host + page * PAGE)

    def install(self, cpu: Cpu, forget: Forget | None = None) -> None:
        """Give a processor its view of RAM. `forget(host)` tells it that code in that page changes."""
        for i, r in enumerate(self.ranges):
            entry = cpu.ram[i]
            entry.start, entry.length = u64(r.start), u64(r.length)
            entry.host, entry.writable = u64(self.host + r.offset), u64(r.writable)
        for i in range(len(self.ranges), RANGES):
            cpu.ram[i].length = u64(0)
        cpu.ram_start, cpu.ram_pages = u64(self.host), u64(self.size // PAGE)
        code = Mapping(self.size // PAGE * CodePage.size)
        cpu.code = Pointer[CodePage](code.host)  # type: ignore[call-arg]
        self._cpus.append((code, code.view.cast("Q"), forget or (lambda host: cpu.forget(u64(host)))))

    def close(self) -> None:
        """Give the memory back; no processor may run after this."""
        for code, view, _ in self._cpus:
            view.release()
            code.close()
        self._cpus.clear()
        if self.ranges:
            self._mapping.close()
        self.ranges, self._starts = [], []


class Window:
    """A range of ports or addresses that a chip answers."""

    __slots__ = ("length", "name", "read", "start", "uses", "write")

    def __init__(self, start: int, length: int, read: Read, write: Write, name: str) -> None:
        self.start, self.length, self.read, self.write, self.name = start, length, read, write, name
        self.uses = 0


class AddressMap:
    """Who answers where, for ports or for memory-mapped registers."""

    SEEN = 4096  # addresses that are found without a search

    def __init__(self, kind: str, limit: int) -> None:
        self.kind, self.limit = kind, limit
        self.windows: list[Window] = []
        self._starts: list[int] = []
        self._seen: dict[int, Window] = {}

    def add(self, start: int, length: int, read: Read, write: Write, name: str) -> Window:
        """Offsets from `start` go to the chip. Overlap is a mistake of the board's (or of a BAR: see free)."""
        if start < 0 or length <= 0 or start + length > self.limit or not self.free(start, length):
            raise ValueError(f"{name}: {self.kind} {start:#x} to {start + length - 1:#x} cannot be given")
        made = Window(start, length, read, write, name)
        i = bisect_right(self._starts, start)
        self.windows.insert(i, made)
        self._starts.insert(i, start)
        self._seen.clear()
        return made

    def free(self, start: int, length: int) -> bool:
        i = bisect_right(self._starts, start + length - 1) - 1
        return i < 0 or self.windows[i].start + self.windows[i].length <= start

    def remove(self, window: Window) -> None:
        i = self.windows.index(window)
        del self.windows[i], self._starts[i]
        self._seen.clear()

    def find(self, address: int) -> Window | None:
        window = self._seen.get(address)
        return window if window is not None else self._search(address)

    def _search(self, address: int) -> Window | None:
        i = bisect_right(self._starts, address) - 1
        if i < 0 or address - self.windows[i].start >= self.windows[i].length:
            return None
        if len(self._seen) >= self.SEEN:
            self._seen.clear()
        self._seen[address] = self.windows[i]
        return self.windows[i]
