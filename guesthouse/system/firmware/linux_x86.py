"""Starts a Linux bzImage by the kernel's 64-bit or 32-bit boot protocol (Documentation/arch/x86/boot.rst and
zero-page.rst).

Not done: the 16-bit setup code is not run, so there are no EDD, APM or video modes; no setup_data; nothing above 4 GiB.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from guesthouse.errors import UserError
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.memory import PAGE, Memory

# Where things lie below 640 KiB; all of it is ours until the kernel is up.
GDT, ZERO_PAGE, COMMAND_LINE, PAGE_TABLES = 0x6000, 0x7000, 0x2_0000, 0x3_0000
COMMAND_LINE_ROOM = 0x1_0000
KERNEL_CODE, KERNEL_DATA = 0x10, 0x18  # __BOOT_CS and __BOOT_DS
FLAT_CODE_64, FLAT_CODE_32, FLAT_DATA = 0x00AF_9B00_0000_FFFF, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF
HEADER = 0x1F1
RAM, RESERVED = 1, 2
CAN_64_BIT = 1  # xloadflags XLF_KERNEL_64
LOADED_HIGH, CAN_USE_HEAP = 0x01, 0x80  # loadflags
GIB = 1 << 30


@dataclass(frozen=True)
class E820:
    """One line of the memory map that firmware gives."""

    start: int
    size: int
    kind: int


@dataclass(frozen=True)
class X86Entry:
    """How the processor stands when it enters a loaded program; registers not named are zero."""

    pc: int
    long_mode: bool
    registers: dict[str, int] = field(default_factory=dict)
    gdt: int = GDT
    page_table: int = 0
    code: int = 0  # CS, where it must be a certain selector


@dataclass(frozen=True)
class Kernel:
    """The fields of the setup header that a loader needs."""

    code_at: int  # offset of the protected-mode kernel in the file
    preferred: int
    align: int
    room: int
    relocatable: bool
    command_line_most: int
    initrd_last: int
    long_mode: bool


def is_bzimage(blob: Blob) -> bool:
    return blob.data[0x202:0x206] == b"HdrS"


def read_header(blob: Blob) -> Kernel:
    """Check that this is a kernel which one of the protocols can start."""
    blob = blob.called("Linux kernel (bzImage)")
    blob.expect(0x1FE, b"\x55\xaa", "the boot sector signature 55 AA")
    blob.expect(0x202, b"HdrS", "the setup header's HdrS")
    if blob.number(0x206, 2, "the protocol version") < 0x020C:
        raise blob.error(0x206, "boot protocol 2.12 or newer (Linux 3.8)")
    if not blob.number(0x211, 1, "loadflags") & LOADED_HIGH:
        raise blob.error(0x211, "a kernel that loads high (bzImage)")
    return Kernel(
        code_at=((blob.number(0x1F1, 1, "setup_sects") or 4) + 1) * 512,
        preferred=blob.number(0x258, 8, "pref_address"),
        align=blob.number(0x230, 4, "kernel_alignment"),
        room=blob.number(0x260, 4, "init_size"),
        relocatable=blob.number(0x234, 1, "relocatable_kernel") != 0,
        command_line_most=blob.number(0x238, 4, "cmdline_size"),
        initrd_last=blob.number(0x22C, 4, "initrd_addr_max"),
        long_mode=bool(blob.number(0x236, 2, "xloadflags") & CAN_64_BIT))


def load(memory: Memory, low_end: int, blob: Blob, initrd: bytes, cmdline: str, e820: list[E820],
         rsdp: int, text_screen: bool = False) -> X86Entry:
    """Put a kernel, its initial ramdisk and its parameters into RAM; `low_end` is where RAM below 4 GiB ends."""
    kernel = read_header(blob)
    blob = blob.called("Linux kernel (bzImage)")
    code = memoryview(blob.data)[kernel.code_at:]  # not a copy: it is large
    if not code:
        raise blob.error(kernel.code_at, "the protected-mode kernel")
    start, end = kernel.preferred, kernel.preferred + max(kernel.room, len(code))
    if end > low_end or not memory.contains(start, end - start):
        raise UserError(f"{blob.name} needs RAM up to {end >> 20} MiB; the machine's ends at {low_end >> 20} MiB.",
                        "Give the machine more memory.")
    initrd_at = place_initrd(len(initrd), end, min(low_end, kernel.initrd_last + 1))
    write_command_line(memory, cmdline, min(kernel.command_line_most, COMMAND_LINE_ROOM - 1))
    memory.write(start, code)
    memory.write(initrd_at, initrd)
    memory.write(ZERO_PAGE, zero_page(blob, initrd_at, len(initrd), e820, rsdp, text_screen))
    if not kernel.long_mode:  # "32-bit boot protocol": __BOOT_CS and __BOOT_DS are flat, paging is off
        write_gdt(memory, FLAT_CODE_32)
        return X86Entry(start, False, {"rsi": ZERO_PAGE}, code=KERNEL_CODE)
    write_gdt(memory)
    write_page_tables(memory)
    return X86Entry(start + 0x200, True, {"rsi": ZERO_PAGE}, GDT, PAGE_TABLES)


def place_initrd(size: int, kernel_end: int, end: int) -> int:
    """As high as it may be: the kernel unpacks upwards from its own end."""
    at = (end - size) // PAGE * PAGE if size else 0
    if size and at < kernel_end:
        raise UserError(f"An initial ramdisk of {size >> 20} MiB does not fit above the kernel, "
                        f"between {kernel_end >> 20} and {end >> 20} MiB.", "Give the machine more memory.")
    return at


def write_command_line(memory: Memory, cmdline: str, most: int) -> None:
    text = cmdline.encode()
    if len(text) > most:
        raise UserError(f"The kernel's command line has {len(text)} bytes; this kernel takes {most}.",
                        "Shorten what --append gives.")
    if b"\0" in text:
        raise UserError("The kernel's command line contains a zero byte.")
    memory.write(COMMAND_LINE, text + b"\0")


def zero_page(blob: Blob, initrd_at: int, initrd_size: int, e820: list[E820], rsdp: int, text_screen: bool) -> bytes:
    """struct boot_params: the setup header from the file, and what we tell about the machine."""
    page = bytearray(PAGE)
    end = 0x202 + blob.number(0x201, 1, "the setup header's size")
    page[HEADER:end] = blob.take(HEADER, end - HEADER, "the setup header")
    if text_screen:  # struct screen_info: as the BIOS leaves a VGA, in mode 3, with 80 columns, 25 lines, 16 rows each
        page[0x06], page[0x07], page[0x0E], page[0x0F], page[0x10] = 3, 80, 25, 1, 16
    page[0x210] = 0xFF  # type_of_loader: none of the assigned ones
    page[0x211] = page[0x211] & ~CAN_USE_HEAP
    struct.pack_into("<I", page, 0x218, initrd_at)
    struct.pack_into("<I", page, 0x21C, initrd_size)
    struct.pack_into("<I", page, 0x228, COMMAND_LINE)
    struct.pack_into("<Q", page, 0x070, rsdp)
    page[0x1E8] = len(e820)
    for n, line in enumerate(e820):
        struct.pack_into("<QQI", page, 0x2D0 + 20 * n, line.start, line.size, line.kind)
    return bytes(page)


def write_gdt(memory: Memory, code: int = FLAT_CODE_64) -> None:
    """This code at 10h, flat data at 18h, flat 32-bit code at 20h (SDM 3A, 3.4.5)."""
    memory.write(GDT, struct.pack("<5Q", 0, 0, code, FLAT_DATA, FLAT_CODE_32))


def write_page_tables(memory: Memory) -> None:
    """The first 4 GiB are themselves, in 2 MiB pages (SDM 3A, 4.5)."""
    top, pointers, first = PAGE_TABLES, PAGE_TABLES + PAGE, PAGE_TABLES + 2 * PAGE
    memory.write(top, struct.pack("<Q", pointers | 3).ljust(PAGE, b"\0"))
    memory.write(pointers, struct.pack("<4Q", *(first + n * PAGE | 3 for n in range(4))).ljust(PAGE, b"\0"))
    large = (n << 21 | 0x83 for n in range(2048))  # present, writable, page size
    memory.write(first, struct.pack("<2048Q", *large))
