"""The boot catalogue of a CD, after the El Torito specification 1.0 (Phoenix and IBM, 1995)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

NONE, FLOPPY_12, FLOPPY_144, FLOPPY_288, DISK = range(5)
GEOMETRY = {FLOPPY_12: (80, 2, 15), FLOPPY_144: (80, 2, 18), FLOPPY_288: (80, 2, 36)}
BOOT_RECORD, SECTOR, BOOTABLE, X86, MORE = 17, 2048, 0x88, 0x00, (0x90, 0x91)


@dataclass(frozen=True)
class Entry:
    emulation: int
    segment: int
    system: int
    count: int  # 512-byte sectors to load at boot
    start: int  # 2048-byte sector of the image
    catalogue: int


def boot_entry(read: Callable[[int, int], bytes]) -> Entry | None:
    """The first bootable entry for x86, if the CD has one."""
    record = read(BOOT_RECORD, 1)
    if len(record) < SECTOR or record[:6] != b"\0CD001" or record[7:30] != b"EL TORITO SPECIFICATION":
        return None
    at = int.from_bytes(record[0x47:0x4B], "little")
    found = read(at, 1)
    if len(found) < SECTOR or found[0] != 1 or found[30:32] != b"\x55\xAA":
        return None
    if sum(struct.unpack("<16H", found[:32])) & 0xFFFF:
        return None
    platform = found[1]
    for offset in range(32, SECTOR, 32):
        entry = found[offset:offset + 32]
        if entry[0] in MORE:
            platform = entry[1]
        elif entry[0] == BOOTABLE and platform == X86:
            segment, system, _, count, start = struct.unpack_from("<HBBHI", entry, 2)
            return Entry(entry[1] & 0xF, segment, system, count, start, at)
    return None
