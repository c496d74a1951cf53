"""Starts a kernel by the Multiboot specification, versions 0.6.96 and 2.0: what its header asks for, where the
file goes, and what it is told.

ELF files and, by the addresses in the header, any other; modules; the memory map; a framebuffer. Not given: drives,
APM and VBE tables, the EFI tags. A kernel that can be moved stays where it was linked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from guesthouse.errors import UserError
from guesthouse.system.firmware.blob import Blob, gunzip
from guesthouse.system.firmware.elf import LOAD, Elf
from guesthouse.system.firmware.linux_x86 import RAM, E820, X86Entry
from guesthouse.system.memory import PAGE, Memory

MAGIC, SEARCH, BOOTED = 0x1BADB002, 8192, 0x2BADB002
MAGIC2, SEARCH2, BOOTED2 = 0xE85250D6, 32768, 0x36D76289
LOADER, GZIP, LARGEST = b"guesthouse\0", b"\x1f\x8b", 256 << 20
INFO, INFO_END = 0x9000, 0x8_0000  # where the kernel finds what it is told, unless it lies there itself
MIB, KIB = 1 << 20, 1 << 10

# Flags of a version 1 header, and of what version 1 tells.
ALIGNED_MODULES, WANTS_VIDEO, HAS_ADDRESSES, KNOWN_FLAGS = 1, 4, 1 << 16, 0x1_0007
TELLS = 1 | 4 | 8 | 0x40 | 0x200  # memory, command line, modules, memory map, the loader's name
TELLS_FRAMEBUFFER = 1 << 12

# Tags of a version 2 header, and of what version 2 tells.
(END, REQUEST, ADDRESSES, ENTRY, CONSOLE, VIDEO, ALIGN) = range(7)
EFI_TAGS, RELOCATABLE, OPTIONAL = (7, 8, 9), 10, 1
(TELL_END, TELL_CMDLINE, TELL_LOADER, TELL_MODULE, TELL_MEMORY, TELL_MAP, TELL_FRAMEBUFFER, TELL_RSDP_1,
 TELL_RSDP_2) = 0, 1, 2, 3, 4, 6, 8, 14, 15
TOLD = (TELL_CMDLINE, TELL_LOADER, TELL_MODULE, TELL_MEMORY, TELL_MAP, TELL_FRAMEBUFFER, TELL_RSDP_1, TELL_RSDP_2)


@dataclass(frozen=True)
class Module:
    """A file that the kernel finds in RAM, and its command line."""

    data: bytes
    text: str = ""


@dataclass(frozen=True)
class Framebuffer:
    """What the screen shows: pixels (red, green and blue from the top bit down), or text in cells of two bytes."""

    address: int
    pitch: int
    width: int
    height: int
    depth: int  # bits for each pixel or cell
    text: bool = False


Video = Callable[[int, int, int, bool], Framebuffer | None]  # width, height, depth, as text: 0 is any


@dataclass(frozen=True)
class Header:
    """What either version's header asks for. `addresses`: header, load, load end, end of zeros, if it has them."""

    version: int
    at: int
    aligned: bool = False
    video: tuple[int, int, int, bool] | None = None
    addresses: tuple[int, int, int, int] | None = None
    entry: int | None = None


def read_header(blob: Blob) -> Header | None:
    """The header of version 2 or else of version 1, or None: then this is no multiboot kernel."""
    for at in places(blob, MAGIC2, SEARCH2, 8):
        if sum(struct.unpack("<4I", blob.take(at, 16, "a header"))) & 0xFFFF_FFFF == 0:
            return header_2(blob, at)
    for at in places(blob, MAGIC, SEARCH, 4):
        if sum(struct.unpack("<3I", blob.take(at, 12, "a header"))) & 0xFFFF_FFFF == 0:
            return header_1(blob, at)
    return None


def places(blob: Blob, magic: int, end: int, align: int) -> Iterator[int]:
    """Where a magic number lies."""
    at = blob.data.find(magic.to_bytes(4, "little"), 0, end)
    while at >= 0:
        if at % align == 0 and at + 2 * align <= len(blob.data):
            yield at
        at = blob.data.find(magic.to_bytes(4, "little"), at + 1, end)


def header_1(blob: Blob, at: int) -> Header:
    flags = blob.number(at + 4, 4, "the flags")
    if flags & 0xFFFF & ~KNOWN_FLAGS:
        raise blob.error(at + 4, f"no flags but {KNOWN_FLAGS & 0xFFFF:#x}, for what others ask cannot be given")
    header = Header(1, at, bool(flags & ALIGNED_MODULES))
    if flags & HAS_ADDRESSES:
        *addresses, entry = struct.unpack("<5I", blob.take(at + 12, 20, "the addresses"))
        header = replace(header, addresses=tuple(addresses), entry=entry)
    if flags & WANTS_VIDEO:
        text, *size = struct.unpack("<4I", blob.take(at + 32, 16, "the video mode"))
        header = replace(header, video=(*size, text == 1))
    return header


def header_2(blob: Blob, at: int) -> Header:
    if blob.number(at + 4, 4, "the architecture") != 0:
        raise blob.error(at + 4, "architecture 0, the i386")
    header, end = Header(2, at), at + blob.number(at + 8, 4, "the header's length")
    at += 16
    while at < end:
        kind, flags, size = struct.unpack("<HHI", blob.take(at, 8, "a tag"))
        if kind == END or size < 8:
            break
        header = with_tag(header, blob, at, (kind, flags, size))
        at += -(-size // 8) * 8
    return header


def with_tag(header: Header, blob: Blob, at: int, tag: tuple[int, int, int]) -> Header:
    """The header, and what one more tag of it asks for."""
    kind, flags, size = tag
    if kind == ADDRESSES:
        return replace(header, addresses=struct.unpack("<4I", blob.take(at + 8, 16, "the addresses")))
    if kind == ENTRY:
        return replace(header, entry=blob.number(at + 8, 4, "the entry address"))
    if kind == VIDEO:
        return replace(header, video=(*struct.unpack("<3I", blob.take(at + 8, 12, "the video mode")), False))
    if kind == ALIGN:
        return replace(header, aligned=True)
    wanted = struct.unpack(f"<{(size - 8) // 4}I", blob.take(at + 8, (size - 8) // 4 * 4, "a request"))
    unknown = [n for n in wanted if n not in TOLD] if kind == REQUEST else []
    known = kind in (REQUEST, CONSOLE, RELOCATABLE, *EFI_TAGS)
    if (not known or unknown) and not flags & OPTIONAL:
        raise blob.error(at, f"no tag {kind} with {unknown or 'anything'}, which cannot be given")
    return header


@dataclass(frozen=True)
class Machine:
    """What a kernel is told about the machine. `video`: sets a mode and says how it is, if there is a screen."""

    memory: Memory
    low_end: int
    e820: Sequence[E820]
    rsdp: int
    video: Video = field(default=lambda width, height, depth, text: None)


def load(machine: Machine, blob: Blob, cmdline: str = "", modules: Sequence[Module] = ()) -> X86Entry:
    """Put kernel, modules and information into RAM. The kernel's command line begins with its name, as is usual."""
    blob = blob.called("multiboot kernel")
    if blob.data[:2] == GZIP:  # as boot loaders do
        blob = gunzip(blob, LARGEST)
    header = read_header(blob)
    if header is None:
        raise blob.error(0, "a multiboot header in the first 32 KiB")
    place = place_by_header if header.addresses else place_elf
    entry, start, end = place(machine.memory, blob, header)
    placed = place_modules(machine, max(end, MIB), modules)
    frame = machine.video(*header.video) if header.video else machine.video(0, 0, 0, True)
    line = f"{blob.name} {cmdline}".strip().encode() + b"\0"
    at = INFO if start >= INFO_END or end <= INFO else -(-end // PAGE) * PAGE
    told = (tell_1 if header.version == 1 else tell_2)(machine, at, line, placed, frame)
    if at + len(told) > INFO_END:
        raise UserError(f"{len(told)} bytes of command lines do not fit below {INFO_END >> 10} KiB.")
    machine.memory.write(at, told)
    return X86Entry(entry, False, {"rax": BOOTED if header.version == 1 else BOOTED2, "rbx": at})


def place_by_header(memory: Memory, blob: Blob, header: Header) -> tuple[int, int, int]:
    """Load a file of any format as its header says. Returns its entry, start and end."""
    assert header.addresses is not None
    here, start, load_end, zero_end = header.addresses
    offset = header.at - (here - start)
    size = load_end - start if load_end else len(blob.data) - offset
    if start > here or offset < 0 or size < 0:
        raise blob.error(header.at + 12, "addresses that lie in the file")
    data = blob.take(offset, size, "the program")
    end = max(zero_end, start + size)
    refuse_outside(memory, blob, start, end)
    memory.write(start, data)
    memory.fill(start + size, end - start - size)
    return start if header.entry is None else header.entry, start, end


def refuse_outside(memory: Memory, blob: Blob, start: int, end: int) -> None:
    if not memory.contains(start, end - start):
        raise UserError(f"{blob.name} wants the memory from {start:#x} to {end:#x}, which is not all RAM.",
                        "Give the machine more memory.")


def place_elf(memory: Memory, blob: Blob, header: Header) -> tuple[int, int, int]:
    """Load an ELF file at its physical addresses. Returns its entry, start and end."""
    elf = Elf(blob)
    start, end = elf.load(memory)
    if header.entry is not None:
        return header.entry, start, end
    moved = [s.physical - s.virtual for s in elf.segments
             if s.kind == LOAD and s.virtual <= elf.entry < s.virtual + s.size]
    return elf.entry + (moved[0] if moved else 0), start, end


def place_modules(machine: Machine, at: int, modules: Sequence[Module]) -> list[tuple[int, int, bytes]]:
    """(start, end, command line) of each, above the kernel and on pages of their own."""
    placed = []
    for module in modules:
        at = -(-at // PAGE) * PAGE
        if at + len(module.data) > machine.low_end:
            raise UserError(f"A module of {len(module.data) >> 10} KiB does not fit above the kernel.",
                            "Give the machine more memory.")
        machine.memory.write(at, module.data)
        placed.append((at, at + len(module.data), module.text.encode() + b"\0"))
        at += len(module.data)
    return placed


def memory_sizes(e820: Sequence[E820]) -> tuple[int, int]:
    """KiB of RAM from 0, and from 1 MiB."""
    low = next((m.size for m in e820 if m.start == 0 and m.kind == RAM), 0)
    high = next((m.size for m in e820 if m.start == MIB and m.kind == RAM), 0)
    return low // KIB, high // KIB


def tell_1(machine: Machine, at: int, line: bytes, modules: list[tuple[int, int, bytes]],
           frame: Framebuffer | None) -> bytes:
    """The multiboot information structure at an address, and behind it what it points to."""
    rows = b"".join(struct.pack("<IQQI", 20, m.start, m.size, m.kind) for m in machine.e820)
    size = 120
    at += size
    pieces, where = [rows], [at]
    for piece in (bytes(16 * len(modules)), line, LOADER, *(text for *_, text in modules)):
        at += len(pieces[-1])
        where.append(at)
        pieces.append(piece)
    pieces[1] = b"".join(struct.pack("<4I", start, end, text, 0)
                         for (start, end, _), text in zip(modules, where[4:], strict=True))
    low, high = memory_sizes(machine.e820)
    info = struct.pack("<13I", TELLS, low, high, 0, where[2], len(modules), where[1], 0, 0, 0, 0, len(rows), where[0])
    info += struct.pack("<5I", 0, 0, 0, where[3], 0)
    if frame is not None:
        info = struct.pack("<I", TELLS | TELLS_FRAMEBUFFER) + info[4:] + bytes(88 - len(info)) + described(frame)
    return info.ljust(size, b"\0") + b"".join(pieces)


def described(frame: Framebuffer) -> bytes:
    """A framebuffer, as both versions tell it; with its colours if it has pixels."""
    kind = 2 if frame.text else 1
    told = struct.pack("<QIIIBB", frame.address, frame.pitch, frame.width, frame.height, frame.depth, kind)
    if frame.text:
        return told
    red, green, blue = (5, 6, 5) if frame.depth == 16 else (8, 8, 8)
    return told + bytes((green + blue, red, blue, green, 0, blue))


def tell_2(machine: Machine, at: int, line: bytes, modules: list[tuple[int, int, bytes]],
           frame: Framebuffer | None) -> bytes:
    """The tags of version 2; they contain no addresses of their own."""
    low, high = memory_sizes(machine.e820)
    rows = b"".join(struct.pack("<QQII", m.start, m.size, m.kind, 0) for m in machine.e820)
    rsdp = machine.memory.read(machine.rsdp, 36) if machine.rsdp else b""
    tags = [(TELL_CMDLINE, line), (TELL_LOADER, LOADER), (TELL_MEMORY, struct.pack("<2I", low, high))]
    tags += [(TELL_MODULE, struct.pack("<2I", start, end) + text) for start, end, text in modules]
    tags.append((TELL_MAP, struct.pack("<2I", 24, 0) + rows))
    if frame is not None:
        told = described(frame)
        tags.append((TELL_FRAMEBUFFER, told[:22] + bytes(2) + told[22:]))
    if rsdp:
        tags += [(TELL_RSDP_1, rsdp[:20])] + ([(TELL_RSDP_2, rsdp)] if rsdp[15] >= 2 else [])
    tags.append((TELL_END, b""))
    body = b"".join((struct.pack("<2I", kind, 8 + len(data)) + data).ljust(-(-(8 + len(data)) // 8) * 8, b"\0")
                    for kind, data in tags)
    return struct.pack("<2I", 8 + len(body), 0) + body
