"""Files of the cache: each is whole or not there at all, and is known by its size and SHA-256.

Written under a name of its own beside the target, synced, then renamed (POSIX rename is atomic), so two
processes may write the same file at once and an interrupted one leaves nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from guesthouse.errors import UserError

Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all (0: not known)


@dataclass(frozen=True)
class Expected:
    """What an index says of a file."""

    size: int
    sha256: str

    def holds_for(self, file: Path) -> bool:
        """Whether the file is there, whole and unchanged."""
        try:
            return file.stat().st_size == self.size and digest(file) == self.sha256
        except OSError:
            return False


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def unheard(sentence: str) -> None:
    """A warning that nobody hears."""


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def host_trouble(path: Path) -> Iterator[None]:
    """Turns what the host's file system refuses into a sentence and what to do about it."""
    try:
        yield
    except OSError as trouble:
        place = trouble.filename or path
        if trouble.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"There is no room left for {path}.",
                "Free some space, or set GUESTHOUSE_CACHE to a folder on a larger disk.",
            ) from trouble
        if trouble.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"The cache cannot be written: {place}: {trouble.strerror}.",
                "Make it writable, or set GUESTHOUSE_CACHE to a folder that is.",
            ) from trouble
        raise UserError(f"{place}: {trouble.strerror or trouble}.") from trouble


@contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the target's name only when the block ends well."""
    with host_trouble(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        try:
            with os.fdopen(number, "w+b") as stream:
                yield stream
                stream.flush()
                os.fchmod(number, 0o644)
                os.fsync(number)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def put(target: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    with whole(target) as stream:
        stream.write(data)


def sum_of(data: bytes) -> str:
    """The SHA-256 of these bytes."""
    return hashlib.sha256(data).hexdigest()
