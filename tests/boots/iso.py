"""A small ISO 9660 image (ECMA-119): all files in the root, and one to boot from (El Torito).

It also serves as a disk that a boot loader can read. Not modelled: folders, names longer than 8.3, Joliet, Rock Ridge.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 2048
DESCRIPTORS, TABLES, CATALOGUE, ROOT, FILES = 16, 19, 21, 22, 24


def image(files: Mapping[str, bytes], boot: str = "", emulation: int = 0) -> bytes:
    """`boot` names the file that the BIOS loads; isolinux is told where it lies, as mkisofs -boot-info-table does. With
    `emulation` it is the image of a floppy (1: 1.2 MB, 2: 1.44, 3: 2.88) or of a hard disk (4)."""
    places, at = {}, FILES
    for name, data in files.items():
        places[name] = at
        at += max(1, -(-len(data) // SECTOR))
    made = bytearray(at * SECTOR)

    def put(sector: int, data: bytes) -> None:
        made[sector * SECTOR:sector * SECTOR + len(data)] = data

    put(DESCRIPTORS, volume(at))
    put(DESCRIPTORS + 1, b"\x00CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", CATALOGUE))
    put(DESCRIPTORS + 2, b"\xFFCD001\x01")
    put(TABLES, struct.pack("<BBIHH", 1, 0, ROOT, 1, 0))
    put(TABLES + 1, struct.pack(">BBIHH", 1, 0, ROOT, 1, 0))
    put(ROOT, record(b"\0", ROOT, SECTOR, 2) + record(b"\1", ROOT, SECTOR, 2)
        + b"".join(record(f"{name.upper()};1".encode(), places[name], len(files[name]), 0) for name in sorted(files)))
    for name, data in files.items():
        put(places[name], with_table(data, places[name]) if name == boot and not emulation else data)
    if boot:
        put(CATALOGUE, catalogue(places[boot], emulation))
    return bytes(made)


def both(kind: str, value: int) -> bytes:
    return struct.pack("<" + kind, value) + struct.pack(">" + kind, value)


def record(name: bytes, at: int, size: int, flags: int) -> bytes:
    """A directory record (9.1)."""
    body = (b"\0" + both("I", at) + both("I", size) + bytes((126, 1, 1, 0, 0, 0, 0, flags, 0, 0)) + both("H", 1)
            + bytes([len(name)]) + name)
    body += bytes(1 - len(body) % 2)
    return bytes([len(body) + 1]) + body


def volume(sectors: int) -> bytes:
    """The primary volume descriptor (8.4)."""
    head = b"\x01CD001\x01\0" + b" " * 32 + b"GUESTHOUSE".ljust(32) + bytes(8) + both("I", sectors) + bytes(32)
    sizes = both("H", 1) + both("H", 1) + both("H", SECTOR) + both("I", 10)
    paths = struct.pack("<II", TABLES, 0) + struct.pack(">II", TABLES + 1, 0)
    texts = b" " * (4 * 128 + 3 * 37) + (b"0" * 16 + b"\0") * 4 + b"\x01\0"
    return head + sizes + paths + record(b"\0", ROOT, SECTOR, 2) + texts


def catalogue(at: int, emulation: int) -> bytes:
    """The boot catalogue: validation entry, default entry with four sectors of 512 bytes, or one of what is emulated
    (El Torito, 2.1 and 2.2)."""
    valid = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xAA))
    words = struct.unpack("<16H", valid)
    valid[28:30] = struct.pack("<H", -sum(words) & 0xFFFF)
    return bytes(valid) + struct.pack("<BBHBBHI", 0x88, emulation, 0, 0, 0, 1 if emulation else 4, at)


def with_table(data: bytes, at: int) -> bytes:
    """The boot information table, at byte 8 of the boot file."""
    padded = data + bytes(-len(data) % 4)
    total = sum(struct.unpack(f"<{len(padded) // 4 - 16}I", padded[64:])) & 0xFFFF_FFFF
    return data[:8] + struct.pack("<4I", DESCRIPTORS, at, len(data), total).ljust(56, b"\0") + data[64:]
