"""Reads Debian packages, deb(5): an ar archive whose `data.tar` holds the files. Nothing is unpacked onto
the host.

Members are read by name into memory, so no path in a package can lead anywhere. Not modelled: zstd, which
Python's standard library lacks and Debian's own packages do not use.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from guesthouse.errors import ImageError, NotSupportedHere

MAGIC = b"!<arch>\n"
BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError, ValueError)
LARGEST = 1 << 28  # no file that we want is larger; guards against a small package with a huge file


class Window(io.RawIOBase):
    """The bytes from `start` to `start + size` of a file, as a file."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self.stream, self.start, self.size, self.at = stream, start, size, 0

    def readable(self) -> bool:
        """True: see io.IOBase."""
        return True

    def readinto(self, buffer: object) -> int:
        """See io.RawIOBase."""
        view = memoryview(cast(bytearray, buffer))
        self.stream.seek(self.start + self.at)
        data = self.stream.read(max(0, min(len(view), self.size - self.at)))
        view[: len(data)] = data
        self.at += len(data)
        return len(data)


def members(stream: BinaryIO, name: str) -> dict[str, Window]:
    """The members of an ar archive by name."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise ImageError(name, "Debian package", 0, "the ar signature `!<arch>`")
    found: dict[str, Window] = {}
    at = len(MAGIC)
    end = stream.seek(0, io.SEEK_END)
    while at < end:
        stream.seek(at)
        header = stream.read(60)
        digits = header[48:58].rstrip(b" ")
        if len(header) != 60 or header[58:] != b"`\n" or not digits.isdigit():
            raise ImageError(name, "Debian package", at, "the 60-byte header of an ar member")
        size = int(digits)
        if at + 60 + size > end:
            raise ImageError(name, "Debian package", at + 48, f"a size of at most {end - at - 60}, for the file ends")
        found.setdefault(header[:16].decode("latin-1").rstrip(" /"), Window(stream, at + 60, size))
        at += 60 + size + size % 2
    return found


def extract(
    package: Path,
    wanted: Callable[[str], bool],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, bytes]:
    """The regular files whose name (`boot/vmlinuz-6.1`, without `./`) is wanted; progress in bytes read."""
    with package.open("rb") as stream:
        parts = members(stream, package.name)
        name = next((n for n in parts if n.startswith("data.tar")), None)
        if name is None:
            raise ImageError(package.name, "Debian package", len(MAGIC), "a member data.tar")
        window = parts[name]
        try:
            with tarfile.open(fileobj=_plain(window, name, package.name), mode="r|") as tar:
                return dict(_files(tar, wanted, lambda: progress(window.at, window.size)))
        except BROKEN as trouble:
            raise ImageError(
                package.name,
                "Debian package",
                window.start + window.at,
                f"more of a sound {name} ({trouble})",
            ) from trouble


def _files(
    tar: tarfile.TarFile, wanted: Callable[[str], bool], tick: Callable[[], None]
) -> Iterator[tuple[str, bytes]]:
    for info in tar:
        name = info.name.removeprefix("./")
        if info.isreg() and wanted(name):
            yield name, _content(tar, info)
        tick()


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    if info.size > LARGEST:
        raise ValueError(f"{info.name} has {info.size} bytes, more than {LARGEST}")
    stream = tar.extractfile(info)
    data = stream.read() if stream else b""
    if len(data) != info.size:
        raise EOFError(f"{info.name} has {len(data)} bytes of {info.size}")
    return data


def _plain(window: Window, name: str, package: str) -> BinaryIO:
    """The member without its compression."""
    source = cast(BinaryIO, io.BufferedReader(window, 1 << 16))
    match name:
        case "data.tar":
            return source
        case "data.tar.gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=source))
        case "data.tar.xz" | "data.tar.lzma":
            return cast(BinaryIO, lzma.LZMAFile(source))
    raise NotSupportedHere(
        f"{package} is compressed in a way that this Python cannot read ({name}).",
        "Use a suite whose packages are compressed with xz, as Debian's are.",
    )
