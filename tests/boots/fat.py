"""A FAT16 volume without partitions, made of files (Microsoft's FAT specification, 1.03), for firmware to read."""

from __future__ import annotations

import struct

SECTORS, SECTOR, RESERVED, FAT_SECTORS, ENTRIES = 32_768, 512, 1, 64, 512
CLUSTER = 4  # sectors


def fat16(files: dict[str, bytes]) -> bytes:
    """16 MiB with these files in the root; names are 8.3."""
    boot = b"\xEB\x3C\x90guests  " + struct.pack("<HBHBHHBHHHII", SECTOR, CLUSTER, RESERVED, 2, ENTRIES, SECTORS, 0xF8,
                                                 FAT_SECTORS, 63, 16, 0, 0)
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
