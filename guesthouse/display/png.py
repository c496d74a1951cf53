"""Pictures as PNG files, after the W3C's "Portable Network Graphics (Second Edition)": 8 bits a channel, no
filters.
"""

from __future__ import annotations

import struct
import zlib

from guesthouse.display.screen import Picture


def encode(picture: Picture) -> bytes:
    """The whole file."""
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    step = picture.width * 3
    rows = b"".join(b"\0" + picture.rgb[at : at + step] for at in range(0, len(picture.rgb), step))
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
