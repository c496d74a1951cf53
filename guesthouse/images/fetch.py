"""Gets files over HTTP into the cache: streamed, bounded, checked, and either whole or not there at all.

Written to a name of its own beside the target, synced, then renamed (POSIX rename is atomic), so two
processes may fetch the same file at once and an interrupted one leaves nothing. Proxies and certificates
are urllib's business.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from guesthouse.errors import NoSuchThing, UserError

Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all (0: not known)
BLOCK, PATIENCE = 1 << 18, 30.0
AGENT = "guesthouse"


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


def to_file(url: str, target: Path, expected: Expected, progress: Progress = silent) -> None:
    """Fetches what the index promised; anything else is refused and leaves nothing."""
    what = url.rsplit("/", 1)[-1]
    with whole(target) as stream:
        sum_ = hashlib.sha256()
        done = 0
        for block in _blocks(url, expected.size):
            stream.write(block)
            sum_.update(block)
            done += len(block)
            progress(what, done, expected.size)
        _check(url, expected, done, sum_.hexdigest())


def to_memory(url: str, limit: int, expected: Expected | None = None, progress: Progress = silent) -> bytes:
    """Fetches a small file; with `expected`, it must be exactly that."""
    parts, done = [], 0
    for block in _blocks(url, expected.size if expected else limit):
        parts.append(block)
        done += len(block)
        progress(url.rsplit("/", 1)[-1], done, expected.size if expected else 0)
    data = b"".join(parts)
    if expected:
        _check(url, expected, done, hashlib.sha256(data).hexdigest())
    return data


def _check(url: str, expected: Expected, size: int, sha256: str) -> None:
    again = "Try again; if it stays so, the mirror is being updated or is broken: use another one."
    if size != expected.size:
        raise UserError(f"{url} broke off: {size} bytes came of {expected.size}.", again)
    if sha256 != expected.sha256:
        raise UserError(
            f"{url} is not the file that the signed index names: its SHA-256 is {sha256}, but must be"
            f" {expected.sha256}.",
            again,
        )


def _blocks(url: str, limit: int) -> Iterator[bytes]:
    """The answer's body; more than `limit` bytes are refused."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            done, promised = 0, answer.length
            while block := answer.read(BLOCK):
                done += len(block)
                if done > limit:
                    raise UserError(
                        f"{url} is longer than the {limit} bytes that it may have.",
                        "The mirror is broken: use another one.",
                    )
                yield block
            if promised is not None and done < promised:
                raise UserError(f"{url} broke off: {done} bytes came of {promised}.", "Try again.")
    except urllib.error.HTTPError as trouble:
        raise (NoSuchThing if trouble.code in (404, 410) else UserError)(
            f"{url}: the server answered {trouble.code} {trouble.reason}.",
            "Check the mirror's address and the suite, or use another mirror.",
        ) from trouble
    except http.client.HTTPException as trouble:
        raise UserError(f"{url} broke off: {trouble or type(trouble).__name__}.", "Try again.") from trouble
    except (OSError, ValueError) as trouble:
        raise UserError(
            f"{url} cannot be reached: {getattr(trouble, 'reason', trouble)}.",
            "Check the network, the proxy settings and the mirror's address.",
        ) from trouble
