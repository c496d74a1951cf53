"""A CD image: its volume descriptors, and what can be booted from it.

After ECMA-119 (ISO 9660), 8, and "El Torito Bootable CD-ROM Format Specification 1.0". Files and folders
are the guest's business.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from guesthouse.storage.source import Source

SECTOR = 2048
FIRST, DESCRIPTORS_AT_MOST = 16, 48
CATALOGUE_SECTORS = 4
EMULATIONS = ("none", "1.2M", "1.44M", "2.88M", "disk")
PLATFORMS = {0x00: "x86", 0x01: "PowerPC", 0x02: "Mac", 0xEF: "EFI"}


@dataclass(frozen=True)
class BootEntry:
    """One image of the boot catalogue; `sectors` are of 512 bytes, `lba` counts sectors of the CD."""

    platform: str
    emulation: str
    segment: int
    sectors: int
    lba: int
    bootable: bool


@dataclass(frozen=True)
class Volume:
    label: str
    sectors: int
    boot: tuple[BootEntry, ...]


def is_iso(source: Source) -> bool:
    return source.peek(FIRST * SECTOR + 1, 5) == b"CD001"


def volume(source: Source) -> Volume:
    """What the descriptors say, up to their terminator."""
    label, sectors = "", 0
    boot: tuple[BootEntry, ...] = ()
    for number in range(FIRST, FIRST + DESCRIPTORS_AT_MOST):
        raw = source.need(number * SECTOR, SECTOR, "CD image", "a volume descriptor")
        if raw[1:6] != b"CD001":
            raise source.broken("CD image", number * SECTOR + 1, "'CD001'")
        if raw[0] == 0xFF:
            return Volume(label, sectors, boot)
        if raw[0] == 1 and not sectors:
            label = raw[40:72].decode("ascii", "replace").rstrip(" \0")
            sectors = int.from_bytes(raw[80:84], "little")
        elif raw[0] == 0 and raw[7:30] == b"EL TORITO SPECIFICATION" and not boot:
            boot = tuple(catalogue(source, int.from_bytes(raw[0x47:0x4B], "little")))
    raise source.broken(
        "CD image", (FIRST + DESCRIPTORS_AT_MOST) * SECTOR, "the end of the volume descriptors"
    )


def catalogue(source: Source, lba: int) -> list[BootEntry]:
    """The entries of the boot catalogue: the initial one, then those in sections."""
    start = lba * SECTOR
    raw = source.need(start, SECTOR, "CD image", "the boot catalogue")
    raw += source.peek(start + SECTOR, (CATALOGUE_SECTORS - 1) * SECTOR)
    if raw[0] != 1 or raw[30:32] != b"\x55\xaa" or sum(struct.unpack_from("<16H", raw)) & 0xFFFF:
        raise source.broken("CD image", start, "the boot catalogue's validation entry")
    found = [entry(source, raw[32:64], raw[1], start + 32)]
    at, platform, left, last = 64, raw[1], 0, False
    while at + 32 <= len(raw):
        kind = raw[at]
        if left:
            if kind != 0x44:  # an extension of the entry before: selection criteria that no BIOS reads
                found.append(entry(source, raw[at : at + 32], platform, start + at))
                left -= 1
        elif kind in (0x90, 0x91) and not last:
            platform, left, last = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "little"), kind == 0x91
        elif kind != 0x44:
            break
        at += 32
    return found


def entry(source: Source, raw: bytes, platform: int, offset: int) -> BootEntry:
    boot, media, segment, _, _, count, lba = struct.unpack_from("<BBHBBHI", raw)
    emulation = EMULATIONS[media & 0xF] if media & 0xF < len(EMULATIONS) else ""
    if not emulation:
        raise source.broken("CD image", offset + 1, "an emulation from 0 to 4")
    if boot == 0x88 and not source.peek(lba * SECTOR, 1):
        raise source.broken("CD image", offset + 8, f"a boot image within the file, not at sector {lba}")
    name = PLATFORMS.get(platform, f"{platform:02x}")
    return BootEntry(name, emulation, segment or 0x7C0, count, lba, boot == 0x88)
