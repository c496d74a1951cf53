"""INT 13h: floppies, hard disks, CDs (IBM PS/2 and PC BIOS interface technical reference; Enhanced Disk
Drive specification 3.0; El Torito 1.0, chapter 4).

Sectors go between the drive and guest memory at once; a drive that is not ready is asked again after
the next interrupt. Not modelled: formatting beyond success, the diagnostic functions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guesthouse.storage.geometry import own
from guesthouse.system.firmware.bios import eltorito
from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.drives import Drive, floppy_type
from guesthouse.system.firmware.bios.guest import CF, DS, ES, Guest
from guesthouse.system.firmware.bios.rom import FLOPPY_TABLE, SEGMENT

OK, BAD_COMMAND, PROTECTED, NOT_FOUND, CHANGED, BOUNDARY, CONTROLLER, NO_MEDIUM = 0, 1, 3, 4, 6, 9, 0x20, 0x31
TIMEOUT, LOCKED, NOT_REMOVABLE, WRITE_FAULT = 0x80, 0xB1, 0xB2, 0xCC
CD_FIRST, MOST_SECTORS = 0xE0, 128
BY_CYLINDER = (0x02, 0x03, 0x04, 0x08)  # functions for drives that have cylinders, as CDs have not
AGAIN = -1


class EmulatedDrive:
    """A floppy or disk whose image lies on a CD: sectors of 512 bytes in those of 2048. Read-only."""

    writable, sector_size, changed = False, 512, False
    place: tuple[int, int, int, int] | None = None

    def __init__(self, cd: Drive, entry: eltorito.Entry) -> None:
        self.cd, self.start, self.present = cd, entry.start, True
        self.kind = "disk" if entry.emulation == eltorito.DISK else "floppy"
        self.name = f"{self.kind} on {cd.name}"
        self.geometry = eltorito.GEOMETRY.get(entry.emulation) or self._from_partition()
        self.sectors = self.geometry[0] * self.geometry[1] * self.geometry[2]

    def _from_partition(self) -> tuple[int, int, int]:
        """The end of the first partition is the end of the disk (El Torito, 4.2)."""
        sector = self.cd.read(self.start, 1) or bytes(2048)
        head, sector_low, cylinder = sector[0x1C3:0x1C6]
        return (cylinder | sector_low << 2 & 0x300) + 1, head + 1, max(1, sector_low & 63)

    def read(self, first: int, count: int) -> bytes | None:
        last = (first + count + 3) // 4
        data = self.cd.read(self.start + first // 4, last - first // 4)
        return None if data is None else data[first % 4 * 512:][:count * 512]

    def write(self, first: int, data: bytes) -> None:
        raise OSError("a CD is not written")


class Disks:
    def __init__(self, guest: Guest, drives: list[Drive], note: Callable[[str], None]) -> None:
        self.guest, self.note = guest, note
        self.floppies: list[Drive] = [drive for drive in drives if drive.kind == "floppy"]
        self.hard: list[Drive] = [drive for drive in drives if drive.kind == "disk"]
        self.cds: list[Drive] = [drive for drive in drives if drive.kind == "cdrom"]
        self.locks: dict[int, int] = {}
        self.boot_entry: tuple[eltorito.Entry, int] | None = None
        self.emulated: int | None = None
        self.plain = {
            0x00: self._reset, 0x01: self._status, 0x02: self._read, 0x03: self._write, 0x04: self._verify,
            0x05: self._nothing, 0x08: self._parameters, 0x09: self._nothing, 0x0C: self._nothing,
            0x0D: self._reset, 0x10: self._nothing, 0x11: self._nothing, 0x14: self._nothing, 0x15: self._type,
            0x16: self._change, 0x17: self._nothing, 0x18: self._media_type}
        self.extended = {
            0x41: self._extensions, 0x42: self._read_far, 0x43: self._write_far, 0x44: self._verify_far,
            0x45: self._lock, 0x46: self._eject, 0x47: self._nothing, 0x48: self._parameters_far,
            0x49: self._change_far, 0x4E: self._nothing}

    # who is who

    def drive(self, unit: int) -> Drive | None:
        where, n = ((self.cds, unit - CD_FIRST) if unit >= CD_FIRST else (self.hard, unit - 0x80) if unit >= 0x80
                    else (self.floppies, unit))
        return where[n] if 0 <= n < len(where) else None

    def cd_number(self, n: int) -> int:
        return CD_FIRST + n

    def booted_from(self, drive: Drive, entry: eltorito.Entry, unit: int) -> None:
        self.boot_entry = entry, unit

    def emulate(self, cd: Drive, entry: eltorito.Entry) -> int:
        """The CD's image takes the place of drive 00h or 80h, the real ones move up by one."""
        made = EmulatedDrive(cd, entry)
        where, unit = (self.hard, 0x80) if made.kind == "disk" else (self.floppies, 0x00)
        if self.emulated is not None:
            self._stop_emulation()
        where.insert(0, made)
        self.boot_entry, self.emulated = (entry, unit), unit
        self.guest.set_byte(bda.DISKS, len(self.hard))
        return unit

    def _stop_emulation(self) -> None:
        where = self.hard if self.emulated else self.floppies
        del where[0]
        self.emulated = None
        self.guest.set_byte(bda.DISKS, len(self.hard))

    # the call

    def call(self) -> bool:
        """AH chooses; the status comes back in AH, with carry if it is not zero."""
        guest = self.guest
        function, unit = guest.ah, guest.dl
        if function in (0x4A, 0x4B, 0x4C, 0x4D):
            return self._finish(self._emulation(function), unit)
        drive = self.drive(unit)
        if drive is None:
            if function == 0x15:
                guest.ax = 0
                guest.set_flag(CF, False)
                return False
            if function == 0x08 and unit < 0x80:
                self._no_floppy()
                return self._finish(OK, unit)
            return self._finish(self._reset(None) if function == 0 else BAD_COMMAND if unit >= 0x80 else TIMEOUT, unit)
        answer = self.plain.get(function) or (self.extended.get(function) if unit >= 0x80 else None)
        if answer is None or unit >= CD_FIRST and function in BY_CYLINDER:
            self.note(f"INT 13h, AH={function:02X}h, drive {unit:02X}h")
            return self._finish(BAD_COMMAND, unit)
        return self._finish(answer(drive), unit)

    def _finish(self, status: int | None, unit: int) -> bool:
        """None: the answer has set AH and carry itself."""
        if status == AGAIN:
            return True
        if status is not None:
            self.guest.ah = status
            self.guest.set_flag(CF, status != OK)
            self.guest.set_byte(bda.DISK_STATUS if unit >= 0x80 else bda.FLOPPY_STATUS, status)
        return False

    def _nothing(self, drive: Drive) -> int:
        return OK

    def _reset(self, drive: Drive | None) -> int:
        return OK

    def _status(self, drive: Drive) -> None:
        status = self.guest.byte(bda.DISK_STATUS if self.guest.dl >= 0x80 else bda.FLOPPY_STATUS)
        self.guest.ah = status
        self.guest.set_flag(CF, status != OK)

    # by cylinder, head and sector

    def _place(self, drive: Drive) -> int | None:
        guest, (cylinders, heads, sectors) = self.guest, drive.geometry
        cylinder, sector, head = guest.ch | (guest.cl & 0xC0) << 2, guest.cl & 0x3F, guest.dh
        if not 1 <= sector <= sectors or head >= heads or cylinder >= cylinders + (drive.kind == "floppy") * 4:
            return None
        return (cylinder * heads + head) * sectors + sector - 1

    def _chs(self, drive: Drive, act: Callable[[Drive, int, int, int], int]) -> int:
        guest = self.guest
        count, first = guest.al, self._place(drive)
        if count == 0 or count > MOST_SECTORS and drive.kind == "floppy":
            return BAD_COMMAND
        if first is None:
            status = BAD_COMMAND
        elif first + count > drive.sectors:
            status = NOT_FOUND
        else:
            status = act(drive, first, count, guest.linear(ES, guest.bx))
        if status > BAD_COMMAND:
            guest.al = 0
        return status

    def _read(self, drive: Drive) -> int:
        return self._chs(drive, self._load)

    def _write(self, drive: Drive) -> int:
        return self._chs(drive, self._save)

    def _verify(self, drive: Drive) -> int:
        return self._chs(drive, lambda drive, first, count, at: self._ready(drive))

    def _ready(self, drive: Drive) -> int:
        if not drive.present:
            return TIMEOUT if drive.kind == "floppy" else NO_MEDIUM
        if drive.changed:
            drive.changed = False
            return CHANGED
        return OK

    def _load(self, drive: Drive, first: int, count: int, at: int) -> int:
        status = self._ready(drive)
        if status == OK:
            try:
                data = drive.read(first, count)
            except OSError:
                return CONTROLLER
            if data is None:
                return AGAIN
            self.guest.write(at, data.ljust(count * drive.sector_size, b"\0"))
        return status

    def _save(self, drive: Drive, first: int, count: int, at: int) -> int:
        status = self._ready(drive)
        if status == OK and not drive.writable:
            return PROTECTED
        if status == OK:
            try:
                drive.write(first, self.guest.read(at, count * drive.sector_size))
            except OSError:
                return WRITE_FAULT
        return status

    def _parameters(self, drive: Drive) -> int:
        guest, (cylinders, heads, sectors) = self.guest, drive.geometry
        last = min(cylinders, 1024) - 1
        guest.ax, guest.dh, guest.ch = 0, heads - 1, last & 0xFF
        guest.cl = last >> 2 & 0xC0 | sectors & 0x3F
        if drive.kind == "floppy":
            guest.bx, guest.dl = floppy_type(drive), len(self.floppies)
            guest.load_es(SEGMENT)
            guest.di = FLOPPY_TABLE
        else:
            guest.dl = len(self.hard)
        return OK

    def _no_floppy(self) -> None:
        guest = self.guest
        guest.ax = guest.bx = guest.cx = guest.dx = guest.di = 0
        guest.load_es(0)
        guest.dl = len(self.floppies)

    def _type(self, drive: Drive) -> None:
        """AH: 1 a drive for media without a change line, which CDs are, 2 with one, 3 a disk with CX:DX sectors."""
        guest = self.guest
        guest.ah = {"cdrom": 1, "floppy": 2}.get(drive.kind, 3)
        if drive.kind == "disk":
            guest.al = 0
            guest.cx, guest.dx = min(drive.sectors, 0xFFFF_FFFF) >> 16, drive.sectors & 0xFFFF
        guest.set_flag(CF, False)

    def _change(self, drive: Drive) -> int:
        changed, drive.changed = drive.changed, False
        return CHANGED if changed else OK if drive.present else TIMEOUT

    def _media_type(self, drive: Drive) -> int:
        guest, (cylinders, _, sectors) = self.guest, drive.geometry
        if drive.kind != "floppy" or (guest.cl & 63) > sectors or (guest.ch | (guest.cl & 0xC0) << 2) >= cylinders + 4:
            return 0x0C
        guest.load_es(SEGMENT)
        guest.di = FLOPPY_TABLE
        return OK

    # the extensions

    def _extensions(self, drive: Drive) -> int | None:
        guest = self.guest
        if guest.bx != 0x55AA:
            return BAD_COMMAND
        guest.ah, guest.bx, guest.cx = 0x30, 0xAA55, 0x0007 if drive.kind == "cdrom" else 0x0005
        guest.set_flag(CF, False)
        return None

    def _packet(self, drive: Drive, act: Callable[[Drive, int, int, int], int]) -> int:
        """The disk address packet at DS:SI: size, count, buffer, first block, flat buffer (EDD, 8.1)."""
        guest = self.guest
        at = guest.linear(DS, guest.si)
        size, _, count, offset, segment, first, flat = struct.unpack("<BBHHHQQ", guest.read(at, 24))
        if size < 16:
            return BAD_COMMAND
        target = flat & 0xFFFF_FFFF if (offset, segment) == (0xFFFF, 0xFFFF) and size >= 24 else (segment << 4) + offset
        if first + count > drive.sectors or count * drive.sector_size > 1 << 24:
            guest.set_word(at + 2, 0)
            return NOT_FOUND
        status = act(drive, first, count, target) if count else OK
        if status > 0:
            guest.set_word(at + 2, 0)
        return status

    def _read_far(self, drive: Drive) -> int:
        return self._packet(drive, self._load)

    def _write_far(self, drive: Drive) -> int:
        return self._packet(drive, self._save)

    def _verify_far(self, drive: Drive) -> int:
        return self._packet(drive, lambda drive, first, count, at: self._ready(drive))

    def _parameters_far(self, drive: Drive) -> int:
        """EDD, 8.7: the result buffer at DS:SI, as much as it has room for (1.x: 26 bytes, 2.x: 30, 3.0: 66).
        Cylinders, heads and sectors are the disk's own."""
        guest, (cylinders, heads, sectors) = self.guest, own(drive.geometry, drive.sectors)
        at = guest.linear(DS, guest.si)
        room = guest.word(at)
        if room < 26:
            return BAD_COMMAND
        path = device_path(drive) if room >= 66 else b""
        size = 30 + len(path) if room >= 30 else 26
        flags = 0x0002 if drive.sectors <= 1024 * 255 * 63 else 0
        if drive.kind == "cdrom":
            flags, cylinders, heads, sectors = 0x0074, 0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF
        made = struct.pack("<HHIIIQHI", size, flags, cylinders, heads, sectors, drive.sectors, drive.sector_size,
                           0xFFFF_FFFF) + path
        guest.write(at, made[:size])
        return OK

    def _lock(self, drive: Drive) -> int:
        guest, unit = self.guest, self.guest.dl
        if drive.kind != "cdrom":
            return NOT_REMOVABLE
        count = self.locks.get(unit, 0)
        if guest.al == 0 and count < 255:
            self.locks[unit] = count + 1
        elif guest.al == 1 and count:
            self.locks[unit] = count - 1
        elif guest.al != 2:
            return 0xB4 if guest.al == 0 else 0xB0
        guest.al = int(self.locks.get(unit, 0) > 0)
        return OK

    def _eject(self, drive: Drive) -> int:
        if drive.kind != "cdrom":
            return NOT_REMOVABLE
        if self.locks.get(self.guest.dl):
            return LOCKED
        drive.present = False
        return OK

    def _change_far(self, drive: Drive) -> int:
        changed, drive.changed = drive.changed, False
        return CHANGED if changed else OK

    def _emulation(self, function: int) -> int:
        """4Ah to 4Dh; 4Bh tells about the emulation, into a specification packet at DS:SI, and ends it with AL=0."""
        guest = self.guest
        if function == 0x4D:
            return self._catalogue()
        if function != 0x4B or self.boot_entry is None:
            return BAD_COMMAND
        entry, unit = self.boot_entry
        if guest.dl not in (unit, 0x7F):
            return BAD_COMMAND
        cylinders, heads, sectors = (0, 1, 0)
        if self.emulated is not None:
            drive = self.drive(unit)
            cylinders, heads, sectors = drive.geometry if drive else (0, 1, 0)
        last = max(0, cylinders - 1)
        guest.write(guest.linear(DS, guest.si), struct.pack(
            "<BBBBIHHHHBBB", 0x13, entry.emulation, unit, 0, entry.start, 0, 0, entry.segment or 0x7C0, entry.count,
            last & 0xFF, last >> 2 & 0xC0 | sectors, heads - 1))
        if guest.al == 0 and self.emulated is not None:
            self._stop_emulation()
        return OK

    def _catalogue(self) -> int:
        """4Dh: sectors of the boot catalogue, as the command packet at DS:SI asks for them."""
        guest = self.guest
        if self.boot_entry is None or not self.cds:
            return BAD_COMMAND
        _, count, target, first = struct.unpack("<BBIH", guest.read(guest.linear(DS, guest.si), 8))
        return self._load(self.cds[0], self.boot_entry[0].catalogue + first, max(1, count), target)


def device_path(drive: Drive) -> bytes:
    """EDD, 8.7.2: where an IDE drive is, with a sum of 0; nothing of drives on other buses, which EDD 3.0 has no name
    for."""
    if drive.place is None:
        return b""
    slot, function, channel, unit = drive.place
    made = bytearray(struct.pack("<HB3x4s8s4B4xB7xxx", 0xBEDD, 36, b"PCI ",
                                 (b"ATAPI" if drive.kind == "cdrom" else b"ATA").ljust(8), 0, slot, function, channel,
                                 unit))
    made[-1] = -sum(made) & 0xFF
    return bytes(made)
