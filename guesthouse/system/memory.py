"""The guest-physical space: RAM as one host mapping between guard areas, and the chips around it.

Python code touches RAM through `Memory.read` and `Memory.write` only; they refuse what is not wholly RAM and never
clip. What lies where can change at run time (`map`): shadowed ROMs, flash that takes commands, a framebuffer that
moves. Not modelled: memory types, bus errors (what nobody answers reads as ones).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.cpu import RANGES, WINDOWS, ChipWindow, CodePage
from guesthouse.engine.sharing import Sharing
from guesthouse.errors import UserError
from guesthouse.typed import Pointer

PAGE = 4096
GUARD = 1 << 20  # more than any one access of an instruction can span

Read = Callable[[int, int], int]
Write = Callable[[int, int, int], object]
Forget = Callable[[int], object]


class OutsideRam(UserError):
    """An access that does not lie wholly in guest RAM."""

    def __init__(self, address: int, count: int) -> None:
        super().__init__(f"{count} bytes at guest-physical {address:#x} are not all RAM.")
        self.address, self.count = address, count


class Mapping:
    """Zeroed host memory, given by the host only as it is touched, with guards that stop any access beyond. No huge
    pages are asked for: clearing them took an eighth of a boot, and no program that was measured gained by them."""

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

    def discard(self, offset: int, count: int) -> None:
        ctypes.memset(self.host + offset, 0, count)
        if hasattr(mmap, "MADV_DONTNEED") and not (offset | count) % PAGE:
            self._map.madvise(mmap.MADV_DONTNEED, GUARD + offset, count)

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

    @property
    def end(self) -> int:
        return self.start + self.length

    def without(self, start: int, end: int) -> Iterator[Range]:
        """What is left of it when [start, end) is taken out."""
        if self.start < start:
            yield replace(self, length=min(self.length, start - self.start))
        if self.end > end:
            first = max(self.start, end)
            yield replace(self, start=first, length=self.end - first, offset=self.offset + first - self.start)

    def goes_on_as(self, other: Range) -> bool:
        return (self.end, self.offset + self.length, self.writable) == (other.start, other.offset, other.writable)


@dataclass(frozen=True)
class User:
    """A processor that runs in a memory."""

    cpu: Sharing
    code: Mapping
    forget: Forget


class Memory:
    """All RAM of one machine, and who has to know when it changes."""

    def __init__(self, ranges: list[tuple[int, int]], hidden: int = 0) -> None:
        """`ranges` are (start, length), page aligned, in ascending order. `hidden` bytes more are behind all of them,
        at offset `self.hidden` of the mapping, and no part of the space until they are mapped."""
        self.hidden = sum(length for _, length in ranges)
        self.size = self.hidden + hidden
        self.chips: list[tuple[int | None, tuple[int, ...]]] = []  # see call_directly
        self.management: list[Range] = []  # what processors find besides in system-management mode
        self._users: list[User] = []
        self.still: Callable[[], AbstractContextManager[object]] = nullcontext  # while it holds, no processor runs
        self.ranges: list[Range] = []
        self._starts: list[int] = []
        offset = end = 0
        for start, length in ranges:
            if start % PAGE or length % PAGE or length <= 0 or start < end:
                raise ValueError(f"RAM of {length:#x} bytes at {start:#x}")
            self.ranges.append(Range(start, length, offset))
            offset, end = offset + length, start + length
        self._held = Mapping(self.size // PAGE * 8)  # for each page, who has decoded code there
        self._holders = self._held.view.cast("Q")
        self._mapping = Mapping(self.size)
        self.host = self._mapping.host
        self._view = self._mapping.view
        self._show(self.ranges)

    def map(self, start: int, length: int, offset: int | None, *, writable: bool = True) -> None:
        """From now on the guest finds the mapping from `offset` on at [start, start + length), or no RAM (None). What
        is not writable is ROM: the board can still write it."""
        if start % PAGE or length % PAGE or length <= 0 or (offset or 0) % PAGE or (offset or 0) + length > self.size:
            raise ValueError(f"RAM of {length:#x} bytes at {start:#x}")
        kept = [part for r in self.ranges for part in r.without(start, start + length)]
        made = [] if offset is None else [Range(start, length, offset, writable)]
        self._show(kept + made)

    def protect(self, start: int, length: int) -> None:
        """Make part of the space read-only for the guest: ROM."""
        pieces = list(self._pieces(start, length))
        if len(pieces) != 1:
            raise ValueError(f"ROM of {length:#x} bytes at {start:#x}")
        self.map(start, length, pieces[0][0], writable=False)

    def keep_for_management(self, ranges: list[Range]) -> None:
        """Only in system-management mode processors have these too, two at most, where there is no other RAM."""
        if ranges != self.management:
            self.management = ranges
            self._tell_all()

    def call_directly(self, start: int | None, length: int, ports: bool, chip: int, read: int, write: int,
                      number: int | None = None) -> None:
        """At these ports, or addresses where they are not RAM, processors call a chip's compiled code instead of coming
        back to the board (engine/cpu.py, ChipWindow); None: nowhere any more. With a `number`, only that processor."""
        others = [(who, one) for who, one in self.chips if one[3:] != (chip, read, write)]
        if start is not None:
            others.append((number, (start, length, int(ports), chip, read, write)))
        if len([one for who, one in others if who is None]) >= WINDOWS:  # one is kept for what is a processor's own
            raise ValueError(f"{WINDOWS} windows of chips or more")
        if others != self.chips:
            self.chips = others
            self._tell_all()

    def free(self, start: int, length: int) -> bool:
        """Whether none of [start, start + length) is RAM."""
        return all(r.end <= start or start + length <= r.start for r in self.ranges)

    def slice(self, offset: int, count: int) -> memoryview:
        """Part of the mapping, for a chip whose memory it is."""
        return self._view[offset:offset + count]

    def _show(self, ranges: list[Range]) -> None:
        """Let this be the space."""
        joined: list[Range] = []
        for r in sorted(ranges, key=lambda r: r.start):
            if joined and joined[-1].goes_on_as(r):
                joined[-1] = replace(joined[-1], length=joined[-1].length + r.length)
            else:
                joined.append(r)
        if len(joined) > RANGES - 2:  # two are kept for system management
            raise ValueError(f"more than {RANGES - 2} ranges of RAM")
        if joined != self.ranges or not self._starts:
            self.ranges, self._starts = joined, [r.start for r in joined]
            self._tell_all()

    def _tell_all(self) -> None:
        """All processors at once: what one of them has chosen holds for the others when it goes on."""
        with self.still():
            for user in self._users:
                self.tell(user.cpu)

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

    def _whole(self, address: int, count: int) -> int:
        """Where [address, address + count) lies in the mapping if one range has it all, as almost always; else -1."""
        i = bisect_right(self._starts, address) - 1
        if i >= 0 and 0 < count <= self.ranges[i].length + self.ranges[i].start - address:
            return address - self.ranges[i].start + self.ranges[i].offset
        return -1

    def read(self, address: int, count: int) -> bytes:
        if (at := self._whole(address, count)) >= 0:
            return bytes(self._view[at:at + count])
        pieces = list(self._pieces(address, count))
        return b"".join(self._view[offset:offset + n] for offset, n in pieces)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        source = data.cast("B") if isinstance(data, memoryview) else data
        if (at := self._whole(address, len(source))) >= 0:
            self._view[at:at + len(source)] = source
            self._forget(at, len(source))
            return
        source = memoryview(source)
        pieces = list(self._pieces(address, len(source)))
        done = 0
        for offset, n in pieces:
            self.write_behind(offset, source[done:done + n])
            done += n

    def write_behind(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Into the mapping, wherever that lies in the space now, if at all."""
        if offset < 0 or offset + len(data) > self.size:
            raise OutsideRam(offset, len(data))
        self._view[offset:offset + len(data)] = data
        self._forget(offset, len(data))

    def fill(self, address: int, count: int) -> None:
        """Zeros, without a buffer of that size."""
        for offset, n in list(self._pieces(address, count)):
            ctypes.memset(self.host + offset, 0, n)
            self._forget(offset, n)

    def discard(self, address: int, count: int) -> None:
        """Zeros; whole pages are the host's again until they are touched. What is not RAM is left alone."""
        if not self.contains(address, count):
            return
        for offset, n in list(self._pieces(address, count)):
            self._mapping.discard(offset, n)
            self._forget(offset, n)

    def _forget(self, offset: int, count: int) -> None:
        """Code decoded from these pages must not run on."""
        first, last = offset // PAGE, (offset + count - 1) // PAGE + 1
        if not any(self._holders[first:last]):  # as almost always, whatever the size
            return
        for page in range(first, last):
            held = self._holders[page]
            for n, user in enumerate(self._users):
                if held >> n & 1:
                    user.forget(self.host + page * PAGE)

    def install(self, cpu: Sharing, forget: Forget | None = None) -> None:
        """Give a processor its view of RAM, and its neighbours. `forget(host)` tells it that code in that page has
        changed."""
        cpu.number = u64(len(self._users))
        self.tell(cpu)
        cpu.ram_start, cpu.ram_pages = u64(self.host), u64(self.size // PAGE)
        code = Mapping(self.size // PAGE * CodePage.size)
        cpu.code = Pointer[CodePage](code.host)  # type: ignore[call-arg]
        cpu.holders = Pointer[u64](self._held.host)  # type: ignore[call-arg]
        for user in self._users:
            for one, other in ((cpu, user.cpu), (user.cpu, cpu)):
                one.peer[int(one.peers)] = other.address
                one.peers += u64(1)
        self._users.append(User(cpu, code, forget or (lambda host: cpu.outdate(u64(host)))))

    def tell(self, cpu: Sharing) -> None:
        """Tell a processor what lies where, now and in system-management mode, if it has that."""
        state: Any = cpu
        inside = int(getattr(state, "smm", 0))
        views = [self.ranges, self.ranges + self.management]
        self._fill(state.ram, views[inside])
        if hasattr(state, "smm_ram"):
            self._fill(state.smm_ram, views[1 - inside] if self.management else [])
        chips = [chip for who, chip in self.chips if who is None or who == int(cpu.number)]
        for window, chip in zip(state.windows, chips, strict=False):
            for name, value in zip(ChipWindow.fields, chip, strict=True):
                setattr(window, name, u64(value))
        state.window_count = u64(len(chips))
        cpu.forget_translations()

    def _fill(self, places: Any, ranges: list[Range]) -> None:
        """The largest ranges come first, so that they are found at once."""
        for i, r in enumerate(sorted(ranges, key=lambda r: -r.length)):
            entry = places[i]
            entry.start, entry.length = u64(r.start), u64(r.length)
            entry.host, entry.writable = u64(self.host + r.offset), u64(r.writable)
        places[len(ranges)].length = u64(0)

    def close(self) -> None:
        """Give the memory back; no processor may run after this."""
        for user in self._users:
            user.code.close()
        self._users.clear()
        self._holders.release()
        if self.ranges:
            self._mapping.close()
            self._held.close()
        self.ranges, self._starts = [], []


class Window:
    """A range of ports or addresses that a chip answers; `wait` is what an access takes, in nanoseconds."""

    __slots__ = ("length", "name", "read", "start", "uses", "wait", "write")

    def __init__(self, start: int, length: int, read: Read, write: Write, name: str, wait: int = 0) -> None:
        self.start, self.length, self.read, self.write, self.name = start, length, read, write, name
        self.uses, self.wait = 0, wait


class AddressMap:
    """Who answers where, for ports or for memory-mapped registers."""

    SEEN = 4096  # addresses that are found without a search

    def __init__(self, kind: str, limit: int, wait: int = 0) -> None:
        self.kind, self.limit, self.wait = kind, limit, wait
        self.windows: list[Window] = []
        self._starts: list[int] = []
        self._seen: dict[int, Window] = {}

    def add(self, start: int, length: int, read: Read, write: Write, name: str) -> Window:
        """Offsets from `start` go to the chip. Overlap is a mistake of the board's (or of a BAR: see free)."""
        if start < 0 or length <= 0 or start + length > self.limit or not self.free(start, length):
            raise ValueError(f"{name}: {self.kind} {start:#x} to {start + length - 1:#x} cannot be given")
        made = Window(start, length, read, write, name, self.wait)
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
