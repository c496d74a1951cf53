"""SMBIOS tables, after the System Management BIOS reference specification 3.6 (DMTF DSP0134): what the machine is,
its processors and its memory, with the entry points of 2.1 and 3.0.

Not described: slots, ports, caches, probes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAKER, PRODUCT, VERSION, DATE = "guesthouse", "guesthouse PC", "1.0", "11/28/2026"
BIOS, SYSTEM, CHASSIS, PROCESSOR, ARRAY, DEVICE, MAPPED, BOOT, END = 0, 1, 3, 4, 16, 17, 19, 32, 127
GIB, LARGEST_DEVICE = 1 << 30, 16 << 30


@dataclass(frozen=True)
class Machine:
    low: int  # bytes of RAM below 4 GiB
    high: int  # and above
    processors: int = 1
    uuid: bytes = bytes(16)


def structures(machine: Machine) -> tuple[bytes, int, int]:
    """All of them one after the other, how many they are, and the size of the largest."""
    made = list(_all(machine))
    return b"".join(made), len(made), max(map(len, made))


def _all(machine: Machine) -> Iterator[bytes]:
    yield _structure(BIOS, 0x0000, struct.pack(
        "<BBHBBQBBBBBB", 1, 2, 0xE000, 3, 0, 1 << 3, 0, 0x0C, 1, 0, 0xFF, 0xFF), MAKER, VERSION, DATE)
    yield _structure(SYSTEM, 0x0100, struct.pack("<BBBB16sBBB", 1, 2, 3, 0, machine.uuid, 6, 0, 0),
                     MAKER, PRODUCT, VERSION)
    yield _structure(CHASSIS, 0x0300, struct.pack("<BBBBBBBBBIBBBBB", 1, 1, 2, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0),
                     MAKER, VERSION)
    for n in range(machine.processors):
        yield _structure(PROCESSOR, 0x0400 + n, struct.pack(
            "<BBBBQBBHHHBBHHHBBBBBBHH", 1, 3, 1, 2, 0, 3, 0, 0, 2000, 2000, 0x41, 1, 0xFFFF, 0xFFFF, 0xFFFF, 0, 0, 0,
            1, 1, 1, 2, 1), f"CPU {n}", MAKER, VERSION)
    yield from _memory(machine)
    yield _structure(BOOT, 0x2000, bytes(7))
    yield _structure(END, 0x7F00, b"")


def _memory(machine: Machine) -> Iterator[bytes]:
    total = machine.low + machine.high
    sizes = [min(LARGEST_DEVICE, total - at) for at in range(0, total, LARGEST_DEVICE)]
    yield _structure(ARRAY, 0x1000, struct.pack(
        "<BBBIHHQ", 1, 3, 6, min(total >> 10, 0x8000_0000), 0xFFFE, len(sizes), total if total >> 10 >= 1 << 31 else 0))
    for n, size in enumerate(sizes):
        mib = size >> 20
        yield _structure(DEVICE, 0x1100 + n, struct.pack(
            "<HHHHHBBBBBHHBBBBBIH", 0x1000, 0xFFFE, 64, 64, min(mib, 0x7FFF), 9, 0, 1, 0, 7, 2, 0, 2, 0, 0, 0, 0,
            mib if mib >= 0x7FFF else 0, 0), f"DIMM {n}", MAKER)
    for n, (start, size) in enumerate(((0, machine.low), (4 * GIB, machine.high))):
        if size:
            wide = start + size > 1 << 42
            first, last = (0xFFFF_FFFF,) * 2 if wide else (start >> 10, (start + size >> 10) - 1)
            yield _structure(MAPPED, 0x1300 + n, struct.pack(
                "<IIHBQQ", first, last, 0x1000, len(sizes), start if wide else 0, start + size - 1 if wide else 0))


def _structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    """6.1: header, formatted part, strings; two zeros end it."""
    names = b"".join(text.encode("ascii") + b"\0" for text in strings) or b"\0"
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + names + b"\0"


def entry_point(tables: bytes, count: int, largest: int, address: int) -> bytes:
    """5.2.1: the 32-bit entry point, 2.8; to lie at a multiple of 16 between F0000h and FFFFFh."""
    inner = bytearray(struct.pack("<5sBHIHB", b"_DMI_", 0, len(tables), address, count, 0x28))
    inner[5] = -sum(inner) & 0xFF
    made = bytearray(struct.pack("<4sBBBBHB5s", b"_SM_", 0, 0x1F, 2, 8, largest, 0, b"") + inner)
    made[4] = -sum(made) & 0xFF
    return bytes(made)


def entry_point_3(tables: bytes, address: int) -> bytes:
    """5.2.2: the 64-bit entry point, 3.0."""
    made = bytearray(struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 0x18, 3, 0, 0, 1, 0, len(tables), address))
    made[5] = -sum(made) & 0xFF
    return bytes(made)
