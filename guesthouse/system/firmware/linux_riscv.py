"""Starts a RISC-V Linux Image (arch/riscv/boot.rst and boot-image-header.rst): a0 is the hart, a1 the device tree.

An Image with an EFI stub is an Image; gzip around it or inside an EFI zboot image is unpacked, zstd is not.
"""

from __future__ import annotations

from dataclasses import dataclass

from guesthouse.errors import UserError
from guesthouse.system.firmware.blob import Blob, gunzip
from guesthouse.system.memory import PAGE, Memory

ALIGN = 2 << 20  # RV64 kernels are mapped with 2 MiB pages
TREE_ROOM = 64 << 10
IMAGE_MOST = 256 << 20


@dataclass(frozen=True)
class RiscvEntry:
    """How the hart stands when it enters a loaded program; registers not named are zero."""

    pc: int
    machine_mode: bool
    registers: dict[int, int]


@dataclass(frozen=True)
class Placed:
    """Where a kernel and its ramdisk are, and where the device tree is to go."""

    entry: int
    initrd_at: int
    initrd_end: int
    tree_at: int


def unpack(blob: Blob) -> Blob:
    """The Image itself, out of whatever is around it."""
    blob = blob.called("Linux kernel (RISC-V Image)")
    if blob.data[:2] == b"\x1f\x8b":
        return gunzip(blob, IMAGE_MOST)
    if blob.data[:2] == b"MZ" and blob.data[4:8] == b"zimg":
        kind = blob.take(24, 32, "the compression type").split(b"\0")[0]
        at, size = blob.number(8, 4, "the payload's offset"), blob.number(12, 4, "the payload's size")
        if kind != b"gzip":
            raise blob.error(24, "compression type gzip", "Unpack the kernel first.")
        return gunzip(Blob(blob.take(at, size, "the payload"), blob.name, blob.form), IMAGE_MOST)
    return blob


def load(memory: Memory, base: int, end: int, blob: Blob, initrd: bytes) -> Placed:
    """Put kernel and ramdisk into the RAM at [base, end)."""
    blob = unpack(blob)
    blob.expect(0x38, b"RSC\x05", "the magic number of a RISC-V Image")
    offset, size = blob.number(8, 8, "text_offset"), blob.number(16, 8, "image_size")
    if offset % ALIGN:
        raise blob.error(8, "a text offset that is a multiple of 2 MiB", "Use a 64-bit kernel.")
    start = base + offset
    kernel_end = start + max(size, len(blob.data))
    tree_at = (end - TREE_ROOM) // ALIGN * ALIGN
    initrd_at = (tree_at - len(initrd)) // PAGE * PAGE
    if initrd_at < kernel_end:
        raise UserError(f"{blob.name} and its ramdisk need {kernel_end - base + len(initrd) + ALIGN >> 20} MiB; "
                        f"the machine has {end - base >> 20} MiB.", "Give the machine more memory.")
    memory.write(start, blob.data)
    memory.write(initrd_at, initrd)
    return Placed(start, initrd_at if initrd else 0, initrd_at + len(initrd) if initrd else 0, tree_at)
