"""What a file is, by what is in it: a floppy, a hard disk, a CD, a kernel; never by its name.

Each format's book is named in its own file. Not read yet: formats that are not the plain bytes of a medium
(qcow2, VMDK, VHD, VDI), which are named in the refusal.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from guesthouse.errors import UserError
from guesthouse.storage import iso9660, kernels, partitions
from guesthouse.storage.geometry import FLOPPIES, SECTOR, Geometry, floppy_geometry, translated
from guesthouse.storage.source import Source

LARGEST_FLOPPY = 2880 * 1024
CONTAINERS = (  # offset, magic, name
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "VMDK"),
    (0, b"# Disk DescriptorFile", "VMDK"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"conectix", "VHD"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"QED\0", "QED"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
)
PACKED = (  # magic, what unpacks it; gzip is looked into, for kernels come in it
    (b"\xfd7zXZ\0", "unxz"),
    (b"BZh", "bunzip2"),
    (b"\x28\xb5\x2f\xfd", "unzstd"),
    (b"PK\3\4", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z x"),
)


@dataclass(frozen=True)
class Medium:
    """`kind` is floppy, disk, cdrom, linux, multiboot or elf; `warnings` are sentences for the user."""

    kind: str
    size: int
    geometry: Geometry | None = None
    sector_size: int = SECTOR
    details: dict[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sectors(self) -> int:
        return -(-self.size // self.sector_size)


def identify(path: str | Path, kind: str | None = None) -> Medium:
    """What the file is; ImageError if it is broken or nothing that a machine can use.

    With `kind` (floppy, disk or cdrom) the user has said what it is: a hybrid image is more than one of them.
    """
    source = Source.open(path)
    try:
        return look(source) if kind is None else taken_for(source, kind)
    finally:
        source.close()


def is_multiboot(path: str | Path) -> bool:
    """Whether a kernel is one that a multiboot loader starts, and not Linux's protocols."""
    source = Source.open(path)
    try:
        found = kernels.kernel(source)
    finally:
        source.close()
    return found is not None and found[0] == "multiboot"


def look(source: Source) -> Medium:
    if not source.size:
        raise source.broken("machine image", 0, "anything at all (the file is empty)")
    refuse_containers(source)
    if source.peek(0, 2) == b"\x1f\x8b":
        return unpacked(source)
    if iso9660.is_iso(source):  # first: a hybrid image has an MBR, too
        return cdrom(source)
    found = kernels.kernel(source)
    if found:
        return Medium(found[0], source.size, details=found[1])
    return floppy(source) or disk(source)


def taken_for(source: Source, kind: str) -> Medium:
    """The file as that medium, whatever else it could be."""
    if not source.size:
        raise source.broken(kind, 0, "anything at all (the file is empty)")
    refuse_containers(source)
    if kind == "cdrom":
        return cdrom(source) if iso9660.is_iso(source) else Medium("cdrom", source.size, None, iso9660.SECTOR)
    if kind == "disk":
        return disk(source)
    found = floppy(source)
    if found is None and source.size > LARGEST_FLOPPY:
        raise source.broken("floppy", LARGEST_FLOPPY, "the end of the largest floppy (2880 KiB)")
    larger = next(g for g in FLOPPIES.values() if g.total * SECTOR >= min(source.size, LARGEST_FLOPPY))
    return found or Medium("floppy", source.size, larger, details={"bpb": False, "bootable": True})


def refuse_containers(source: Source) -> None:
    for offset, magic, name in CONTAINERS:
        if source.peek(offset, len(magic)) == magic:
            raise UserError(
                f"{source.name} is a {name} image, which guesthouse does not read.",
                f"Convert it: qemu-img convert -O raw {source.name} disk.img",
                exit_status=6,
            )
    for magic, tool in PACKED:
        if source.peek(0, len(magic)) == magic:
            raise compressed(source, tool)


def compressed(source: Source, tool: str) -> UserError:
    return UserError(f"{source.name} is compressed.", f"Unpack it with {tool}; guests need the image itself.")


def unpacked(source: Source) -> Medium:
    """A kernel that its boot loader would unpack; the first bytes are enough to know it."""
    try:
        head = zlib.decompressobj(31).decompress(source.peek(0, 1 << 16), kernels.SEARCH2)
    except zlib.error:
        raise source.broken("gzip file", 0, "compressed data") from None
    inside = Source(source.name, -1, len(head), head)
    found = kernels.kernel(inside)
    if found is None:
        raise compressed(source, "gunzip")
    return Medium(found[0], source.size, details=found[1] | {"compressed": "gzip"})


def cdrom(source: Source) -> Medium:
    volume = iso9660.volume(source)
    details: dict[str, object] = {"label": volume.label, "boot": list(volume.boot)}
    warnings = shorter(source, volume.sectors * iso9660.SECTOR)
    return Medium("cdrom", source.size, None, iso9660.SECTOR, details, warnings)


def shorter(source: Source, said: int) -> tuple[str, ...]:
    """A warning if the file ends before the end that it tells of."""
    if source.size >= said:
        return ()
    return (f"{source.name} says it has {said} bytes, but ends after {source.size}: was it copied as a whole?",)


def floppy(source: Source) -> Medium | None:
    """A floppy by its size, or a shorter file that begins as one (a boot loader written without padding)."""
    boot = source.peek(0, SECTOR)
    geometry = floppy_geometry(source.size)
    bootable = boot[0x1FE:0x200] == b"\x55\xaa"
    by_bpb = bpb_geometry(boot)
    warnings: tuple[str, ...] = ()
    if geometry is None:
        small = source.size <= LARGEST_FLOPPY and bootable and not partitions.has_table(boot)
        if not small or source.size % SECTOR and source.size < SECTOR:
            return None
        if by_bpb and by_bpb.heads <= 2 and source.size <= by_bpb.total * SECTOR <= LARGEST_FLOPPY:
            geometry = by_bpb
            warnings = shorter(source, geometry.total * SECTOR)
        else:
            geometry = next(g for g in FLOPPIES.values() if g.total * SECTOR >= source.size)
            by_bpb = None
    elif by_bpb is not None and by_bpb.total * SECTOR == source.size and by_bpb.heads <= 2:
        geometry = by_bpb
    else:
        by_bpb = None
    details: dict[str, object] = {"bpb": by_bpb is not None, "bootable": bootable}
    return Medium("floppy", source.size, geometry, details=details, warnings=warnings)


def bpb_geometry(boot: bytes) -> Geometry | None:
    """What a FAT boot sector's parameter block says, if it makes sense (Microsoft's FAT specification 1.03)."""
    if len(boot) < SECTOR:
        return None
    size, total, track, heads = struct.unpack_from("<H6xH3xHH", boot, 0x0B)
    total = total or int.from_bytes(boot[0x20:0x24], "little")
    if size != SECTOR or not 1 <= track <= 63 or not 1 <= heads <= 255 or total < track * heads:
        return None
    return Geometry(total // (track * heads), heads, track) if total % (track * heads) == 0 else None


def disk(source: Source) -> Medium:
    """A hard disk: with a partition table, with a file system and no table, or still empty."""
    boot, total = source.peek(0, SECTOR), source.size // SECTOR
    if partitions.has_gpt(source, boot.ljust(SECTOR, b"\0")) and (
        partitions.has_table(boot) or source.peek(SECTOR, 8) == b"EFI PART"
    ):
        return with_table(source, "gpt", partitions.gpt(source), translated(total))
    if partitions.has_table(boot):
        return with_table(source, "mbr", partitions.mbr(boot), partitions.geometry(boot, total))
    if source.size % SECTOR or source.size < 64 * SECTOR:
        raise source.broken("machine image", 0, "a floppy, disk, CD or kernel image")
    return Medium(
        "disk",
        source.size,
        bpb_geometry(boot) or translated(total),
        details={"table": "none", "partitions": [], "bootable": boot[0x1FE:] == b"\x55\xaa"},
    )


def with_table(source: Source, table: str, found: list[partitions.Partition], geometry: Geometry) -> Medium:
    total = -(-source.size // SECTOR)
    warnings = tuple(
        f"Partition {n} of {source.name} ends at sector {p.first + p.sectors}, the file at {total}."
        for n, p in enumerate(found, 1)
        if p.first + p.sectors > total and p.type != "ee"
    )
    details: dict[str, object] = {"table": table, "partitions": found, "bootable": True}
    return Medium("disk", source.size, geometry, details=details, warnings=warnings)
