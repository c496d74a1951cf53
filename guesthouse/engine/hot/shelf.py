"""Regions that were compiled before, in a file beside the engine: the second boot of a kernel starts hot.

The file belongs to one engine (its key is in the name) and only grows: each entry has a head, which tells in JSON what
it is, and machine code (typed/image.py). What a reader finds is not trusted: a digest tells whether an entry is whole,
and a region is used only where the guest has the very blocks that it was made from. Who writes holds a lock, cuts off
what is not whole, and begins anew with the younger half when the file has become too large. A file that cannot be
written is none.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from guesthouse.engine.cpu import PAGE

MAGIC = b"guesthouse regions 5\n"
LIMIT = 96 << 20  # bytes
FRONT = 4 + 4 + 16  # lengths of head and code, digest of both


@dataclass
class Part:
    """An image with what it needs: a region, which has blocks (place, instructions and digest of each, see
    compiler.py), or a library function."""

    name: str
    needs: list[str]
    home: int = 0
    blocks: list[tuple[int, int, str]] = field(default_factory=list)
    code: bytes = b""


class Shelf:
    """The parts in one file. A path of None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.entries: dict[str, tuple[int, int, int]] = {}
        self.parts: dict[str, Part] = {}
        # Regions by their home and the digests of the blocks of their first page; where in it these lie, and how many
        # instructions they have.
        self.by_block: dict[tuple[int, str], list[str]] = {}
        self.places: set[tuple[int, int]] = set()
        self._data = b""
        try:
            self._data = path.read_bytes() if path else b""
        except OSError:
            return
        found = entries(self._data)
        if path and len(self._data) != (sum(found[-1]) + FRONT if found else len(MAGIC)):
            with contextlib.suppress(OSError):
                path.with_suffix(".whole").unlink(missing_ok=True)  # who appends next makes it whole first
        for start, head, body in found:
            try:
                told = json.loads(self._data[start + FRONT:start + FRONT + head])
                blocks = [(int(at) & (1 << 64) - 1, int(count), str(block)) for at, count, block in told["blocks"]]
                home = int(told["home"]) & (1 << 64) - 1
                part = Part(str(told["name"]), list(map(str, told["needs"])), home, blocks)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue
            if part.name not in self.parts:  # two processes may have made it at the same time
                self.entries[part.name] = start, head, body
                self.note(part)

    def note(self, part: Part) -> None:
        """Make a part known, for this process."""
        if part.name not in self.parts:
            self.parts[part.name] = part
            for at, count, block in part.blocks:
                if at < PAGE:
                    self.places.add((at, count))
                    self.by_block.setdefault((part.home, block), []).append(part.name)

    def code(self, name: str) -> bytes | None:
        """The code of a part; None if it is not here, or not whole."""
        part = self.parts.get(name)
        if part is None or part.code or name not in self.entries:
            return part.code if part else None
        start, head, body = self.entries[name]
        whole = self._data[start + FRONT:start + FRONT + head + body]
        if digest(whole) != self._data[start + 8:start + FRONT]:
            return None
        return whole[head:]

    def whole(self, name: str) -> list[Part]:
        """A part and all that it needs, with their code; none if one of them is not here, or not whole."""
        part, found = self.parts.get(name), self.code(name)
        needed = [self.whole(needed) for needed in part.needs] if part else []
        if part is None or not found or not all(needed):
            return []
        return [*(one for parts in needed for one in parts), replace(part, code=found)]

    def add(self, part: Part) -> None:
        """Keep a part, if it is new."""
        if part.name in self.parts:
            return
        self.note(part)
        if self.path is None:
            return
        told = asdict(part)
        del told["code"]
        head = json.dumps(told).encode()
        whole = head + part.code
        entry = len(head).to_bytes(4, "little") + len(part.code).to_bytes(4, "little") + digest(whole) + whole
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                append(self.path, entry)
        except OSError:
            self.path = None  # no room, no permission: then without


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among those who write to this file, or to one beside it."""
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def entries(data: bytes) -> list[tuple[int, int, int]]:
    """Where each entry that is there in full begins, and the lengths of its head and code."""
    found, at = [], len(MAGIC)
    while data.startswith(MAGIC) and at + FRONT <= len(data):
        head, body = int.from_bytes(data[at:at + 4], "little"), int.from_bytes(data[at + 4:at + 8], "little")
        if at + FRONT + head + body > len(data):
            break
        found.append((at, head, body))
        at += FRONT + head + body
    return found


def append(path: Path, entry: bytes) -> None:
    """Under the lock. Most of the time the file is whole, which its length at its end tells."""
    if not path.exists():
        path.write_bytes(MAGIC)
    size = path.stat().st_size
    mark = path.with_suffix(".whole")  # how long the file was after the last entry
    if not mark.exists() or mark.read_bytes() != str(size).encode() or size > LIMIT:
        tidy(path)
    with open(path, "ab") as file:
        file.write(entry)
    mark.write_bytes(str(path.stat().st_size).encode())


def tidy(path: Path) -> None:
    """Leave away what is not whole, and the older half if there is too much."""
    data = path.read_bytes()
    kept = [data[at:at + FRONT + head + body] for at, head, body in entries(data)]
    kept = [entry for entry in kept if digest(entry[FRONT:]) == entry[8:FRONT]]
    if len(data) > LIMIT:
        kept = kept[len(kept) // 2:]
    write_anew(path, MAGIC + b"".join(kept))


def write_anew(path: Path, data: bytes) -> None:
    """Put a whole file in the place of one that may be there."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".tmp", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
