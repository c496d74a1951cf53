"""What a board tells firmware that is not ours: cells of the CMOS memory (IBM PC/AT technical reference; QEMU's own
from 34h on) and QEMU's fw_cfg items, from which SeaBIOS and EDK II learn of memory, processors, tables and boot order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guesthouse.storage.disk import Disk
from guesthouse.storage.geometry import SECTOR
from guesthouse.system.chips.fw_cfg import FwCfg
from guesthouse.system.chips.mc146818 import Rtc
from guesthouse.system.firmware import smbios, table_loader
from guesthouse.system.firmware.bios.drives import Drive, floppy_type
from guesthouse.system.firmware.linux_x86 import RAM
from guesthouse.system.memory import Memory

KIB_16M = 15 * 1024
BASE_KIB = 640
UUID, RAM_SIZE, PROCESSORS, BOOT_MENU, MOST_PROCESSORS, IRQ0, MAP = 0x02, 0x03, 0x05, 0x0E, 0x0F, 0x8002, 0x8003
SLEEP_STATES = bytes([0x80, 0, 0, 0, 0, 0x80 | 5])  # S0 and S5 are there, S5 by type 5
KINDS = {"a": "floppy", "c": "disk", "d": "cdrom"}
FLOPPY_PATH = "/pci@i0cf8/isa@1/fdc@03f0/floppy@{}"


@dataclass(frozen=True)
class Handover:
    """A machine as its firmware has to know it. `bootable` are paths of drives, the first to be tried first."""

    low: int  # bytes of RAM below 4 GiB
    high: int
    processors: int
    tables: bytes  # ACPI, made for address 0
    rsdp: int
    drives: Sequence[Drive]
    bootable: Sequence[str] = ()

    def fill_cmos(self, rtc: Rtc) -> None:
        extended = (self.low >> 10) - 1024
        floppies = [drive for drive in self.drives if drive.kind == "floppy"]
        types = [floppy_type(drive) for drive in floppies[:2]] + [0, 0]
        self._word(rtc, 0x15, BASE_KIB)
        self._word(rtc, 0x17, min(extended, 0xFFFF))
        self._word(rtc, 0x30, min(extended, 0xFFFF))
        self._word(rtc, 0x34, min(max(0, extended - KIB_16M) // 64, 0xFFFF))
        rtc.cmos(0x10, types[0] << 4 | types[1])
        rtc.cmos(0x14, 0x06 | (1 | min(len(floppies) - 1, 3) << 6 if floppies else 0))
        self._word(rtc, 0x5B, self.high >> 16 & 0xFFFF)
        rtc.cmos(0x5D, self.high >> 32)
        rtc.cmos(0x5F, self.processors - 1)

    @staticmethod
    def _word(rtc: Rtc, index: int, value: int) -> None:
        rtc.cmos(index, value)
        rtc.cmos(index + 1, value >> 8)

    def fill(self, items: FwCfg) -> None:
        for key, value in ((UUID, bytes(16)), (RAM_SIZE, struct.pack("<Q", self.low + self.high)),
                           (PROCESSORS, struct.pack("<H", self.processors)), (BOOT_MENU, struct.pack("<H", 1)),
                           (MOST_PROCESSORS, struct.pack("<H", self.processors)), (IRQ0, struct.pack("<I", 1)),
                           (MAP, struct.pack("<I", 0))):
            items.add(key, value)
        for name, content in {**self._map(), **table_loader.files(self.tables, self.rsdp), **self._smbios()}.items():
            items.add_file(name, content)
        items.add_file("etc/system-states", SLEEP_STATES)
        if self.bootable:
            items.add_file("bootorder", "\n".join(self.bootable).encode() + b"\0")

    def _map(self) -> dict[str, bytes]:
        ram = ((0, self.low), (1 << 32, self.high))
        return {"etc/e820": b"".join(struct.pack("<QQI", start, size, RAM) for start, size in ram if size)}

    def _smbios(self) -> dict[str, bytes]:
        tables, count, largest = smbios.structures(smbios.Machine(self.low, self.high, self.processors))
        return {"etc/smbios/smbios-tables": tables,
                "etc/smbios/smbios-anchor": smbios.entry_point(tables, count, largest, 0)}


def bootable_paths(drives: Sequence[Drive], order: str, path: Callable[[Any], str]) -> list[str]:
    """Open Firmware paths in the boot order; `path` tells that of a disk or CD."""
    others = [drive for drive in drives if drive.kind != "floppy"]
    floppies = [drive for drive in drives if drive.kind == "floppy"]
    paths = [("floppy", FLOPPY_PATH.format(n)) for n in range(len(floppies))]
    paths += [(drive.kind, path(drive)) for drive in others]
    return [path for letter in order for kind, path in paths if kind == KINDS.get(letter)]


class FlashCells:
    """The bytes of a flash chip: in the guest's memory at `start` of the mapping, and in a disk that keeps them."""

    def __init__(self, memory: Memory, start: int, size: int, disk: Disk) -> None:
        self.memory, self.start, self.size, self.disk = memory, start, size, disk
        memory.write_behind(start, disk.read(0, disk.sectors))

    def read(self, at: int, count: int) -> bytes:
        with self.memory.slice(self.start + at, min(count, self.size - at)) as view:
            return bytes(view)

    def write(self, at: int, data: bytes) -> None:
        self.memory.write_behind(self.start + at, data)
        first, last = at // SECTOR, (at + len(data) - 1) // SECTOR
        self.disk.write(first, self.read(first * SECTOR, (last - first + 1) * SECTOR))
