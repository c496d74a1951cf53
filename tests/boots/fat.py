"""A FAT16 volume made of files (Microsoft's FAT specification, 1.03), for firmware and loaders to read; without
partitions, or as the first partition of a disk."""

from __future__ import annotations

import struct

SECTORS, SECTOR, RESERVED, FAT_SECTORS, ENTRIES = 32_768, 512, 1, 64, 512
CLUSTER = 4  # sectors
TRACK = 63  # sectors; a first partition begins with the second track


def partitioned(code: bytes, volume: bytes) -> bytes:
    """A disk whose master boot record has this code, and whose one partition, which is active, is the volume."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\1\1\0", 6, b"\xFE\xFF\xFF", TRACK, len(volume) // SECTOR)
    return (code.ljust(446, b"\0") + entry).ljust(510, b"\0") + b"\x55\xAA" + bytes((TRACK - 1) * SECTOR) + volume


def fat16(files: dict[str, bytes], before: int = 0) -> bytes:
    """16 MiB with these files in the root; names are 8.3. So many sectors of its disk come before."""
    boot = b"\xEB\x3C\x90guests  " + struct.pack("<HBHBHHBHHHII", SECTOR, CLUSTER, RESERVED, 2, ENTRIES, SECTORS, 0xF8,
                                                 FAT_SECTORS, TRACK, 16, before, 0)
    boot += struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x20261128, b"GUESTHOUSE ", b"FAT16   ")
    fat, root, data = [0xFFF8, 0xFFFF], b"", b""
    for name, content in files.items():
        count = max(1, -(-len(content) // (CLUSTER * SECTOR)))
        first = len(fat)
        fat += [*range(first + 1, first + count), 0xFFFF]
        stem, _, extension = name.partition(".")
        root += struct.pack("<8s3sBBBHHHHHHHI", stem.encode().ljust(8), extension.encode().ljust(3), 0x20, 0, 0, 0, 0,
                            0, 0, 0, 0x5C7C, first, len(content))
        data += content.ljust(count * CLUSTER * SECTOR, b"\0")
    table = struct.pack(f"<{len(fat)}H", *fat).ljust(FAT_SECTORS * SECTOR, b"\0")
    made = boot.ljust(510, b"\0") + b"\x55\xAA" + 2 * table + root.ljust(ENTRIES * 32, b"\0") + data
    return made.ljust(SECTORS * SECTOR, b"\0")
