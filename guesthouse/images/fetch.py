"""Gets files over HTTP: streamed, bounded by what the index promised, and checked against it.

Proxies and certificates are urllib's business, which takes them from the environment.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from guesthouse.errors import NoSuchThing, UserError
from guesthouse.images.files import Expected, Progress, silent, whole

BLOCK, PATIENCE = 1 << 18, 30.0
AGENT = "guesthouse"


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
