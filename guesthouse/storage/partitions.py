"""The partition tables of a hard disk: MBR, and GPT behind its protective MBR.

After the UEFI specification 2.10, chapter 5. Not modelled: logical partitions within an extended one (only
guests need them), disklabels, GPT's backup header (a guest repairs from it; here it only has to be told
that it must).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from guesthouse.storage.geometry import SECTOR, Geometry, translated
from guesthouse.storage.source import Source

SIGNATURE, TABLE = 0x1FE, 0x1BE
PROTECTIVE = 0xEE
ENTRIES_AT_MOST = 1024


@dataclass(frozen=True)
class Partition:
    """`type` is the byte of an MBR as two hexadecimal digits, or the GUID of a GPT."""

    type: str
    first: int
    sectors: int
    active: bool = False
    name: str = ""


@dataclass(frozen=True)
class Entry:
    """One of the four of an MBR, with its places as cylinder, head and sector too."""

    status: int
    type: int
    first: int
    sectors: int
    start: tuple[int, int, int]
    end: tuple[int, int, int]


def entries(sector: bytes) -> list[Entry]:
    """The four entries of a boot sector, empty ones included."""
    found = []
    for at in range(TABLE, SIGNATURE, 16):
        status, start, kind, end, first, count = struct.unpack_from("<B3sB3sII", sector, at)
        found.append(Entry(status, kind, first, count, chs(start), chs(end)))
    return found


def chs(raw: bytes) -> tuple[int, int, int]:
    """Three bytes: head, sector with the cylinder's two highest bits, cylinder."""
    return raw[2] | (raw[1] & 0xC0) << 2, raw[0], raw[1] & 0x3F


def has_table(sector: bytes) -> bool:
    """Whether a boot sector holds a partition table, and not the code or text of one that has none."""
    if len(sector) < SECTOR or sector[SIGNATURE:SECTOR] != b"\x55\xaa":
        return False
    table = entries(sector)
    used = [e for e in table if e.type]
    return bool(used) and all(e.status in (0, 0x80) for e in table) and all(e.sectors for e in used)


def mbr(sector: bytes) -> list[Partition]:
    """The partitions of an MBR."""
    return [
        Partition(f"{e.type:02x}", e.first, e.sectors, e.status == 0x80) for e in entries(sector) if e.type
    ]


def geometry(sector: bytes, total: int) -> Geometry:
    """What the one who made the partitions took for heads and sectors, or else what a BIOS takes."""
    for entry in entries(sector):
        cylinder, head, last = entry.end
        if not entry.type or not last or entry.type == PROTECTIVE:
            continue
        heads, track = head + 1, last  # a partition ends with a cylinder: its last head, its last sector
        agreed = Geometry(max(total // (heads * track), 1), heads, track)
        start = (entry.start[0] * heads + entry.start[1]) * track + entry.start[2] - 1
        end = (cylinder * heads + head) * track + last - 1
        # Cylinder 1023 may stand for any beyond it, so only an end before it proves something.
        if (
            heads <= 255
            and start == entry.first
            and (end == entry.first + entry.sectors - 1 or cylinder == 1023)
        ):
            return agreed._replace(cylinders=min(agreed.cylinders, 1024))
    return translated(total)


def has_gpt(source: Source, sector: bytes) -> bool:
    """A protective entry, or the header itself where the MBR has been written over."""
    return any(e.type == PROTECTIVE for e in entries(sector)) or source.peek(SECTOR, 8) == b"EFI PART"


def gpt(source: Source) -> list[Partition]:
    """The partitions of the primary GPT."""
    header = source.need(SECTOR, SECTOR, "GPT disk", "a GPT header")
    (magic, _, size, check, _, mine, _, _, _, _, table, count, entry_size, table_check) = struct.unpack_from(
        "<8sIIIIQQQQ16sQIII", header
    )
    if magic != b"EFI PART" or not 92 <= size <= SECTOR or mine != 1:
        raise source.broken("GPT disk", SECTOR, "a GPT header ('EFI PART')")
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != check:
        raise source.broken("GPT disk", SECTOR + 16, "the header's CRC-32")
    if not 1 <= count <= ENTRIES_AT_MOST:
        raise source.broken("GPT disk", SECTOR + 80, f"1 to {ENTRIES_AT_MOST} entries, not {count}")
    if entry_size not in (128, 256, 512, 1024):
        raise source.broken("GPT disk", SECTOR + 84, f"entries of 128 to 1024 bytes, not {entry_size}")
    raw = source.need(table * SECTOR, count * entry_size, "GPT disk", "the table of partitions")
    if zlib.crc32(raw) != table_check:
        raise source.broken("GPT disk", table * SECTOR, "the table's CRC-32")
    return [p for at in range(0, len(raw), entry_size) if (p := gpt_entry(raw[at : at + 128]))]


def gpt_entry(raw: bytes) -> Partition | None:
    kind, _, first, last, flags, name = struct.unpack("<16s16sQQQ72s", raw)
    if not any(kind) or last < first:
        return None
    text = name.decode("utf-16-le", "replace").split("\0")[0]
    return Partition(str(UUID(bytes_le=kind)), first, last - first + 1, bool(flags & 4), text)
