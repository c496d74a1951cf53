"""ACPI tables for firmware that places them itself: QEMU's table loader (hw/acpi/bios-linker-loader's interface, as
SeaBIOS and EDK II execute it): files to allocate, pointers to relocate, checksums to make.
"""

from __future__ import annotations

import struct

ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
ANYWHERE, LOW = 1, 2  # zones: LOW is F0000h to FFFFFh
TABLES, RSDP = "etc/acpi/tables", "etc/acpi/rsdp"
COMMAND, NAME = 128, 56
HEADER, CHECKSUM_AT = 36, 9
FADT_POINTERS = ((36, 4), (40, 4), (132, 8), (140, 8))  # FACS and DSDT, twice (ACPI 6.5, 5.2.9)


def files(tables: bytes, rsdp_at: int) -> dict[str, bytes]:
    """fw_cfg's files from tables that were made for address 0, and where in them the root pointer is."""
    rsdp = tables[rsdp_at:rsdp_at + 36]
    rsdt, xsdt = int.from_bytes(rsdp[16:20], "little"), int.from_bytes(rsdp[24:32], "little")
    script = [_allocate(RSDP, 16, LOW), _allocate(TABLES, 64, ANYWHERE)]
    for at, size in ((rsdt, 4), (xsdt, 8)):
        for entry in range(at + HEADER, at + _length(tables, at), size):
            script.append(_pointer(TABLES, entry, size))
        script.append(_checksum(TABLES, at, _length(tables, at), at + CHECKSUM_AT))
    for at in _listed(tables, rsdt):
        if tables[at:at + 4] == b"FACP":
            script += [_pointer(TABLES, at + field, size) for field, size in FADT_POINTERS
                       if any(tables[at + field:at + field + size])]
            script.append(_checksum(TABLES, at, _length(tables, at), at + CHECKSUM_AT))
    script += [_pointer(RSDP, 16, 4), _pointer(RSDP, 24, 8), _checksum(RSDP, 0, 20, 8), _checksum(RSDP, 0, 36, 32)]
    return {TABLES: tables, RSDP: rsdp, "etc/table-loader": b"".join(script)}


def _length(tables: bytes, at: int) -> int:
    return int.from_bytes(tables[at + 4:at + 8], "little")


def _listed(tables: bytes, rsdt: int) -> list[int]:
    return [int.from_bytes(tables[n:n + 4], "little") for n in range(rsdt + HEADER, rsdt + _length(tables, rsdt), 4)]


def _allocate(name: str, align: int, zone: int) -> bytes:
    return struct.pack("<I56sIB", ALLOCATE, name.encode(), align, zone).ljust(COMMAND, b"\0")


def _pointer(name: str, at: int, size: int) -> bytes:
    return struct.pack("<I56s56sIB", ADD_POINTER, name.encode(), TABLES.encode(), at, size).ljust(COMMAND, b"\0")


def _checksum(name: str, start: int, length: int, result: int) -> bytes:
    return struct.pack("<I56sIII", ADD_CHECKSUM, name.encode(), result, start, length).ljust(COMMAND, b"\0")
