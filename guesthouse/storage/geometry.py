"""Cylinders, heads and sectors: of floppies by their size, of hard disks by the translation every BIOS uses.

After the Phoenix "Enhanced Disk Drive Specification 3.0" (LBA-assist translation).
"""

from __future__ import annotations

from typing import NamedTuple

SECTOR = 512


class Geometry(NamedTuple):
    """How a disk is counted; sectors within a track are counted from one."""

    cylinders: int
    heads: int
    sectors: int

    @property
    def total(self) -> int:
        return self.cylinders * self.heads * self.sectors

    def lba(self, cylinder: int, head: int, sector: int) -> int | None:
        """The number of a sector from zero, or None if there is none of that address."""
        if not (0 <= cylinder < self.cylinders and 0 <= head < self.heads and 1 <= sector <= self.sectors):
            return None
        return (cylinder * self.heads + head) * self.sectors + sector - 1

    def chs(self, lba: int) -> tuple[int, int, int]:
        """Where a sector is; beyond the last cylinder the count goes on."""
        track, sector = divmod(lba, self.sectors)
        cylinder, head = divmod(track, self.heads)
        return cylinder, head, sector + 1


FLOPPIES = {  # KiB: what a drive does with a floppy of that size
    160: Geometry(40, 1, 8),
    180: Geometry(40, 1, 9),
    320: Geometry(40, 2, 8),
    360: Geometry(40, 2, 9),
    720: Geometry(80, 2, 9),
    1200: Geometry(80, 2, 15),
    1440: Geometry(80, 2, 18),
    1680: Geometry(80, 2, 21),  # "DMF", as Microsoft's installation floppies
    1722: Geometry(82, 2, 21),
    2880: Geometry(80, 2, 36),
}


def floppy_geometry(size: int) -> Geometry | None:
    """The geometry of a floppy of `size` bytes, or None if no floppy has that size."""
    return FLOPPIES.get(size // 1024) if size % 1024 == 0 else None


def translated(sectors: int) -> Geometry:
    """A hard disk's geometry when nothing on it says otherwise: at most 1024 cylinders of 63 sectors."""
    sectors = max(sectors, 1)
    heads = next((heads for heads in (16, 32, 64, 128) if sectors <= 1024 * heads * 63), 255)
    return Geometry(min(max(sectors // (heads * 63), 1), 1024), heads, 63)


def own(geometry: tuple[int, int, int], sectors: int) -> Geometry:
    """How an ATA disk itself counts, of which a BIOS says `geometry`: the same if it can (ATA-6, 6.2: up to 16 heads of
    63 sectors). A system that takes the BIOS's word and addresses the disk's registers then finds what it looks for."""
    _, heads, track = geometry if geometry[1] <= 16 and geometry[2] <= 63 else (0, 16, 63)
    return Geometry(min(max(sectors // (heads * track), 1), 16383), heads, track)
