"""What a board tells its BIOS, and the words of the BIOS data area (segment 40h) by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from guesthouse.system.firmware.linux_x86 import E820

EBDA, EBDA_SEGMENT, BASE_KIB = 0x9FC00, 0x9FC0, 639

# Linear addresses, after the IBM PS/2 and PC BIOS interface technical reference, data areas.
COM, LPT, EBDA_AT, EQUIPMENT, MEMORY_KIB = 0x400, 0x408, 0x40E, 0x410, 0x413
SHIFT, SHIFT_2, ALT_NUMBER, KEY_HEAD, KEY_TAIL, KEY_BUFFER = 0x417, 0x418, 0x419, 0x41A, 0x41C, 0x41E
FLOPPY_SEEK, FLOPPY_MOTOR, FLOPPY_STATUS = 0x43E, 0x440, 0x441
MODE, COLUMNS, PAGE_BYTES, PAGE_START, CURSORS, CURSOR_SHAPE = 0x449, 0x44A, 0x44C, 0x44E, 0x450, 0x460
PAGE, CRTC, CRT_MODE, CRT_PALETTE = 0x462, 0x463, 0x465, 0x466
TICKS, MIDNIGHT, BREAK, RESET_FLAG, DISK_STATUS, DISKS = 0x46C, 0x470, 0x471, 0x472, 0x474, 0x475
RESUME = 0x467
LPT_TIMEOUT, COM_TIMEOUT, KEY_START, KEY_END = 0x478, 0x47C, 0x480, 0x482
ROWS, CHARACTER_HEIGHT, VIDEO_CONTROL, VIDEO_SWITCHES, VIDEO_FLAGS, VIDEO_DCC = (
    0x484, 0x485, 0x487, 0x488, 0x489, 0x48A)
FLOPPY_MEDIA, KEY_FLAGS, KEY_LEDS = 0x490, 0x496, 0x497
WAIT_POINTER, WAIT_COUNT, WAIT_FLAG, VIDEO_SAVE = 0x498, 0x49C, 0x4A0, 0x4A8


@dataclass(frozen=True)
class Settings:
    memory_map: Callable[[], list[E820]] = list
    extended_kib: int = 0  # RAM from 1 MiB on, up to the hole below 4 GiB
    boot_order: str = "acd"  # floppy, disk, CD-ROM
    serials: tuple[int, ...] = (0x3F8, 0x2F8)
    parallels: tuple[int, ...] = ()
    framebuffer: int = 0  # physical address of the linear framebuffer; 0: no VESA modes
    framebuffer_size: int = 16 << 20
    mouse: bool = True
    menu_ticks: int = 0  # how long, of 55 ms, the key for the boot menu is waited for
    kernel: Callable[[], bool] = lambda: False  # starts the kernel that was given instead of a drive, if there is one
    a20: Callable[[bool | None], bool] | None = None  # sets (None: leaves) the gate, says what it is
