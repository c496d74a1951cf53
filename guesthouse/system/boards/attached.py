"""A drive of the PC: a place for a medium, which the firmware and the drive's own controller both use."""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.errors import UserError
from guesthouse.storage.disk import Disk
from guesthouse.storage.geometry import FLOPPIES, SECTOR, Geometry, translated

BUSES = "", "ide", "ahci", "virtio"
SECTOR_SIZES = {"floppy": SECTOR, "disk": SECTOR, "cdrom": 2048}


class Attached:
    """`kind` is floppy, disk or cdrom, `bus` the one that it is on (bays.py). Without a medium, a drive that could take
    one."""

    def __init__(self, kind: str, disk: Disk | None = None, *, name: str = "",
                 geometry: tuple[int, int, int] | None = None, bus: str = "", serial: str = "",
                 source: object = None) -> None:
        if kind not in SECTOR_SIZES:
            raise UserError(f"There is no drive of the kind {kind!r}.", f"There are: {', '.join(SECTOR_SIZES)}.")
        if bus not in BUSES:
            raise UserError(f"There is no bus {bus!r} for drives.", f"There are: {', '.join(BUSES[1:])}.")
        self.bus, self.serial = bus, serial
        self.source = source  # where the medium came from, for whoever has put it in
        self.kind, self.name, self.sector_size = kind, name or kind, SECTOR_SIZES[kind]
        self.place: tuple[int, int, int, int] | None = None  # on an IDE bus: slot, function, channel, unit
        self.watchers: list[Callable[[], object]] = []  # controllers that have to know of another medium
        self._take(disk, geometry)
        self.changed = False

    def insert(self, disk: Disk, geometry: tuple[int, int, int] | None = None) -> None:
        """Between two runs of the machine, or in a job posted to it."""
        self._take(disk, geometry)

    def eject(self) -> None:
        self._take(None, None)

    def change(self, other: Attached | None) -> None:
        """Take over another drive's medium, or have none; what was in is given back."""
        self.close()
        if other is None:
            self.eject()
        else:
            self._take(other._disk, other.geometry)
        self.source = None if other is None else other.source

    def _take(self, disk: Disk | None, geometry: tuple[int, int, int] | None) -> None:
        self._disk, self.present, self.changed = disk, disk is not None, True
        self.sectors = 0 if disk is None else disk.sectors
        self.writable = disk is not None and disk.writable
        self.geometry: tuple[int, int, int] = geometry or usual_geometry(self.kind, self.sectors)
        for tell in self.watchers:
            tell()

    def read(self, lba: int, count: int) -> bytes:
        return self._medium().read(lba, count)

    def write(self, lba: int, data: bytes) -> None:
        self._medium().write(lba, data)

    def flush(self) -> None:
        if self._disk is not None:
            self._disk.flush()

    def close(self) -> None:
        """What was written is on the host's medium, and the file is given back."""
        if self._disk is not None:
            self._disk.flush()
            self._disk.close()

    def _medium(self) -> Disk:
        if self._disk is None:
            raise OSError("there is no medium in the drive")
        return self._disk


def usual_geometry(kind: str, sectors: int) -> Geometry:
    """The smallest floppy that holds so much, or what every BIOS makes of a disk of that size."""
    if kind != "floppy":
        return translated(sectors)
    return next((known for known in FLOPPIES.values() if sectors <= known.total), FLOPPIES[2880])
