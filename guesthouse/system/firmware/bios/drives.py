"""Drives as the BIOS uses them: sectors by number, and the geometry that a floppy's size stands for."""

from __future__ import annotations

from typing import Protocol

# Bytes of a floppy image -> cylinders, heads, sectors, and the drive's type in CMOS and INT 13h, 08h.
FLOPPIES = {
    163_840: (40, 1, 8, 1), 184_320: (40, 1, 9, 1), 327_680: (40, 2, 8, 1), 368_640: (40, 2, 9, 1),
    737_280: (80, 2, 9, 3), 1_228_800: (80, 2, 15, 2), 1_474_560: (80, 2, 18, 4), 1_720_320: (80, 2, 21, 4),
    1_763_328: (82, 2, 21, 4), 2_949_120: (80, 2, 36, 6),
}


class Drive(Protocol):
    """A drive with or without its medium. `read` and `write` raise OSError where the medium cannot; a `read` that
    gives None is not ready yet and is asked again."""

    kind: str  # "floppy", "disk", "cdrom"
    name: str
    geometry: tuple[int, int, int]  # cylinders, heads, sectors
    sectors: int
    sector_size: int
    present: bool
    changed: bool
    writable: bool
    place: tuple[int, int, int, int] | None  # on an IDE bus: slot and function of its controller, channel, unit

    def read(self, first: int, count: int) -> bytes | None: ...
    def write(self, first: int, data: bytes) -> None: ...


class MemoryDrive:
    """A medium in memory."""

    def __init__(self, data: bytes | bytearray, kind: str = "disk", *, name: str = "", writable: bool = True,
                 geometry: tuple[int, int, int] | None = None) -> None:
        self.data, self.kind, self.name, self.writable = bytearray(data), kind, name or kind, writable
        self.sector_size = 2048 if kind == "cdrom" else 512
        self.sectors = len(data) // self.sector_size
        self.geometry = geometry or geometry_of(kind, len(data))
        self.present, self.changed, self.place = True, False, None

    def read(self, first: int, count: int) -> bytes | None:
        return bytes(self.data[first * self.sector_size:(first + count) * self.sector_size])

    def write(self, first: int, data: bytes) -> None:
        at = first * self.sector_size
        self.data[at:at + len(data)] = data


def geometry_of(kind: str, size: int) -> tuple[int, int, int]:
    """What a floppy of this size has, or what fits a disk of this size within the limits of INT 13h."""
    if kind == "floppy":
        for bytes_, (cylinders, heads, sectors, _) in FLOPPIES.items():
            if size <= bytes_:
                return cylinders, heads, sectors
        return 80, 2, 36
    sectors = size // 512
    heads = next((h for h in (16, 32, 64, 128) if sectors <= 1024 * h * 63), 255)
    return max(1, min(1024, sectors // (heads * 63))), heads, 63


def floppy_type(drive: Drive) -> int:
    """1: 360K, 2: 1.2M, 3: 720K, 4: 1.44M, 6: 2.88M."""
    size = drive.geometry[0] * drive.geometry[1] * drive.geometry[2] * 512
    return next((kind for bytes_, (*_, kind) in FLOPPIES.items() if size <= bytes_), 4)
