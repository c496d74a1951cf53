"""Files that others made, read within their bounds: what is missing or odd is an ImageError that names the place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from guesthouse.errors import ImageError, UserError


@dataclass(frozen=True)
class Blob:
    """The bytes of a file, its name for messages, and the format it is read as."""

    data: bytes
    name: str
    form: str = "file"

    @classmethod
    def of(cls, source: bytes | str | Path, name: str = "") -> Blob:
        if isinstance(source, bytes):
            return cls(source, name or "the image")
        try:
            return cls(Path(source).read_bytes(), name or str(source))
        except OSError as why:
            raise UserError(f"{source} cannot be read: {why.strerror}.", "Check the path.") from why

    def called(self, form: str) -> Blob:
        """The same file, now read as this format."""
        return Blob(self.data, self.name, form)

    def error(self, offset: int, expected: str, do: str = "") -> ImageError:
        return ImageError(self.name, self.form, offset, expected, do)

    def take(self, offset: int, count: int, what: str) -> bytes:
        if offset < 0 or count < 0 or offset + count > len(self.data):
            raise self.error(offset, f"{what} of {count} bytes, but the file ends at {len(self.data):#x}")
        return self.data[offset:offset + count]

    def number(self, offset: int, size: int, what: str) -> int:
        """A little-endian unsigned number."""
        return int.from_bytes(self.take(offset, size, what), "little")

    def expect(self, offset: int, value: bytes, what: str) -> None:
        if self.take(offset, len(value), what) != value:
            raise self.error(offset, what)


def gunzip(blob: Blob, limit: int) -> Blob:
    """The content of a gzip file of at most `limit` bytes."""
    reader = zlib.decompressobj(31)
    try:
        data = reader.decompress(blob.data, limit)
    except zlib.error as why:
        raise blob.called("gzip file").error(0, f"gzip data ({why})") from why
    if not reader.eof:
        what = "more data" if len(data) < limit else f"at most {limit >> 20} MiB of content"
        raise blob.called("gzip file").error(len(blob.data), what)
    return Blob(data, blob.name, blob.form)
