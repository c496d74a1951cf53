"""Small images of every kind, made byte by byte, for the tests of this room."""

from __future__ import annotations

import struct
import zlib


def boot_sector(*partitions: tuple[int, int, int, int]) -> bytearray:
    """A boot sector; a partition is status, type, first sector, count, with places of a 16-head, 63-sector disk."""
    sector = bytearray(512)
    sector[0x1FE:] = b"\x55\xaa"
    for n, (status, kind, first, count) in enumerate(partitions):
        struct.pack_into(
            "<B3sB3sII",
            sector,
            0x1BE + 16 * n,
            status,
            place(first),
            kind,
            place(first + count - 1),
            first,
            count,
        )
    return sector


def place(lba: int, heads: int = 16, track: int = 63) -> bytes:
    cylinder, rest = divmod(lba, heads * track)
    return bytes((rest // track, rest % track + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))


def mbr_disk() -> bytearray:
    return boot_sector((0x80, 6, 63, 20 * 1008 - 63)) + bytes(20 * 1008 * 512 - 512)


def gpt_disk(sectors: int = 256) -> bytearray:
    image = boot_sector((0, 0xEE, 1, sectors - 1)) + bytes((sectors - 1) * 512)
    entry = struct.pack("<16s16sQQQ72s", bytes(range(16)), bytes(16), 40, 99, 4, "root".encode("utf-16-le"))
    table = entry.ljust(128 * 128, b"\0")
    header = bytearray(
        struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            0x10000,
            92,
            0,
            0,
            1,
            sectors - 1,
            34,
            sectors - 34,
            bytes(16),
            2,
            128,
            128,
            zlib.crc32(table),
        )
    )
    header[16:20] = zlib.crc32(header).to_bytes(4, "little")
    image[512 : 512 + 92] = header
    image[1024 : 1024 + len(table)] = table
    return image


def floppy(size: int, bpb: tuple[int, int] | None = None) -> bytearray:
    image = bytearray(size)
    image[0x1FE:0x200] = b"\x55\xaa"
    if bpb:
        heads, track = bpb
        struct.pack_into("<H6xH3xHH", image, 0x0B, 512, size // 512, track, heads)
    return image


def cd(emulation: int = 0) -> bytearray:
    image = bytearray(24 * 2048)

    def put(sector: int, data: bytes) -> None:
        image[sector * 2048 : sector * 2048 + len(data)] = data

    put(16, struct.pack("<B5sB33s32s8sI", 1, b"CD001", 1, b"", b"A LABEL".ljust(32), b"", 24))
    put(17, struct.pack("<B5sB32s32sI", 0, b"CD001", 1, b"EL TORITO SPECIFICATION", b"", 19))
    put(18, b"\xffCD001\x01")
    validation = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xAA))
    total = sum(struct.unpack("<16H", validation))
    validation[28:30] = (-total & 0xFFFF).to_bytes(2, "little")
    first = struct.pack("<BBHBBHI20x", 0x88, emulation, 0, 0, 0, 4, 20)
    section = struct.pack("<BBH28x", 0x91, 0xEF, 1)
    efi = struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, 8, 21)
    put(19, validation + first + section + efi)
    return image


def bzimage() -> bytearray:
    image = bytearray(8192)
    image[0x1F1], image[0x1FE:0x200], image[0x202:0x206], image[0x211] = 2, b"\x55\xaa", b"HdrS", 1
    image[0x206:0x208] = b"\x0f\x02"
    return image


def elf(machine: int = 3, bits: int = 32) -> bytearray:
    image = bytearray(8192)
    image[:7] = b"\x7fELF" + bytes((bits // 32, 1, 1))
    struct.pack_into("<HHIIII" if bits == 32 else "<HHIQQQ", image, 16, 2, machine, 1, 0x100000, 64, 0)
    struct.pack_into("<HH", image, 42 if bits == 32 else 54, 32 if bits == 32 else 56, 1)
    return image


def multiboot(version: int) -> bytearray:
    image = elf()
    if version == 1:
        image[0x1000:0x100C] = struct.pack("<3I", 0x1BADB002, 3, -(0x1BADB002 + 3) & 0xFFFF_FFFF)
    else:
        image[0x1000:0x1010] = struct.pack("<4I", 0xE85250D6, 0, 16, -(0xE85250D6 + 16) & 0xFFFF_FFFF)
    return image
