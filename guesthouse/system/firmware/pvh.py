"""Starts an ELF kernel by the PVH boot protocol: the XEN_ELFNOTE_PHYS32_ENTRY note and struct hvm_start_info version 1
(Xen's public header arch-x86/hvm/start_info.h). One module: the initial ramdisk.
"""

from __future__ import annotations

import struct

from guesthouse.system.firmware.blob import Blob
from guesthouse.system.firmware.elf import Elf
from guesthouse.system.firmware.linux_x86 import (
    COMMAND_LINE, COMMAND_LINE_ROOM, E820, X86Entry, place_initrd, write_command_line, write_gdt,
)
from guesthouse.system.memory import Memory

MAGIC, VERSION, PHYS32_ENTRY = 0x336E_C578, 1, 18
START_INFO, MODULES, MEMORY_MAP = 0x7000, 0x7040, 0x7080
CODE_32, DATA_32 = 0x20, 0x18  # in the table that write_gdt makes


def entry_point(elf: Elf) -> int:
    """The physical address of the 32-bit entry that the kernel's note names."""
    for note in elf.notes():
        if note.owner == "Xen" and note.kind == PHYS32_ENTRY and len(note.content) in (4, 8):
            return int.from_bytes(note.content, "little") & 0xFFFF_FFFF
    raise elf.blob.called("PVH kernel").error(0, "a note XEN_ELFNOTE_PHYS32_ENTRY",
                                              "Build the kernel with CONFIG_PVH, or give a bzImage.")


def load(memory: Memory, low_end: int, blob: Blob, initrd: bytes, cmdline: str, e820: list[E820],
         rsdp: int) -> X86Entry:
    """Put the kernel's segments, the ramdisk and the start info into RAM."""
    elf = Elf(blob)
    entry = entry_point(elf)
    _, end = elf.load(memory)
    initrd_at = place_initrd(len(initrd), end, low_end)
    write_command_line(memory, cmdline, COMMAND_LINE_ROOM - 1)
    memory.write(initrd_at, initrd)
    memory.write(MODULES, struct.pack("<4Q", initrd_at, len(initrd), 0, 0))
    memory.write(MEMORY_MAP, b"".join(struct.pack("<QQII", m.start, m.size, m.kind, 0) for m in e820))
    memory.write(START_INFO, struct.pack(
        "<IIIIQQQQII", MAGIC, VERSION, 0, 1 if initrd else 0, MODULES if initrd else 0, COMMAND_LINE, rsdp,
        MEMORY_MAP, len(e820), 0))
    write_gdt(memory)
    return X86Entry(entry, False, {"rbx": START_INFO})
