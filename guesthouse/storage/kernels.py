"""Files that are a kernel and need no boot sector: Linux images, multiboot kernels, other ELF files.

After Linux's Documentation/arch/{x86/boot,riscv/boot-image-header,arm64/booting}.rst, the Multiboot
specifications 0.6.96 and 2.0, and the System V ABI's ELF. Loading them is the firmware's work; here they
are only known.
"""

from __future__ import annotations

import struct

from guesthouse.storage.source import Source

MULTIBOOT, MULTIBOOT2 = 0x1BADB002, 0xE85250D6
SEARCH, SEARCH2 = 8192, 32768  # where a header must lie, from the file's beginning
MACHINES = {3: "i386", 6: "i386", 62: "x86_64", 40: "arm", 183: "aarch64", 243: "riscv"}
Found = tuple[str, dict[str, object]]


def kernel(source: Source) -> Found | None:
    """The kind of kernel and what its header says, or None if it is none."""
    head = source.peek(0, SEARCH2)
    if head[:4] == b"\x7fELF":
        return elf(source, head)
    if head[0x202:0x206] == b"HdrS" and head[0x1FE:0x200] == b"\x55\xaa":
        return linux_x86(source, head)
    if head[0x38:0x3C] == b"ARM\x64":
        return "linux", {"arch": "aarch64"}
    if head[0x38:0x3C] == b"RSC\x05":
        return "linux", {"arch": "riscv"}
    version = multiboot(head)
    if version == 1 and has_addresses(head):
        return "multiboot", {"version": 1, "format": "raw"}
    return None


def linux_x86(source: Source, head: bytes) -> Found:
    protocol = int.from_bytes(head[0x206:0x208], "little")
    setup = head[0x1F1] or 4
    if source.size < (setup + 1) * 512:
        raise source.broken(
            "Linux kernel", source.size, f"{setup} sectors of set-up code and the kernel after them"
        )
    kind = "bzImage" if protocol >= 0x200 and head[0x211] & 1 else "zImage"
    return "linux", {
        "arch": "x86",
        "format": kind,
        "protocol": f"{protocol >> 8}.{protocol & 0xFF:02}",
        "setup_sectors": setup,
    }


def elf(source: Source, head: bytes) -> Found:
    if len(head) < 52 or head[4] not in (1, 2) or head[5] not in (1, 2):
        raise source.broken("ELF file", 4, "a class (32 or 64 bits) and a byte order")
    order, bits = "<" if head[5] == 1 else ">", 32 * head[4]
    kind, machine, _, entry, table = struct.unpack_from(f"{order}HHI{'II' if bits == 32 else 'QQ'}", head, 16)
    if kind not in (2, 3):
        raise source.broken("ELF file", 16, "an executable, not an object file or a core dump")
    size, count = struct.unpack_from(f"{order}HH", head.ljust(64, b"\0"), 42 if bits == 32 else 54)
    if table + size * count > source.size and not source.compressed:
        raise source.broken("ELF file", table, f"{count} program headers")
    said: dict[str, object] = {"machine": MACHINES.get(machine, str(machine)), "bits": bits, "entry": entry}
    version = multiboot(head) if MACHINES.get(machine) in ("i386", "x86_64") else 0
    return ("multiboot", said | {"version": version, "format": "elf"}) if version else ("elf", said)


def multiboot(head: bytes) -> int:
    """The version of the first valid multiboot header (2 if there are both), or 0."""
    at = head.find(MULTIBOOT2.to_bytes(4, "little"))
    while 0 <= at <= SEARCH2 - 16:
        if (
            at % 8 == 0
            and at + 16 <= len(head)
            and sum(struct.unpack_from("<4I", head, at)) & 0xFFFF_FFFF == 0
        ):
            return 2
        at = head.find(MULTIBOOT2.to_bytes(4, "little"), at + 1)
    return 1 if header_at(head) is not None else 0


def header_at(head: bytes) -> int | None:
    """Where the multiboot 1 header lies."""
    at = head.find(MULTIBOOT.to_bytes(4, "little"), 0, SEARCH)
    while at >= 0:
        if (
            at % 4 == 0
            and at + 12 <= len(head)
            and sum(struct.unpack_from("<3I", head, at)) & 0xFFFF_FFFF == 0
        ):
            return at
        at = head.find(MULTIBOOT.to_bytes(4, "little"), at + 1, SEARCH)
    return None


def has_addresses(head: bytes) -> bool:
    """Bit 16 of the flags: the header itself says where the file is to be loaded."""
    at = header_at(head)
    return at is not None and at + 32 <= len(head) and bool(head[at + 6] & 1)
