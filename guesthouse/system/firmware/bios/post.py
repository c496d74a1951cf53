"""Power-on: vectors, data areas, interrupt controllers, timer, keyboard controller, CMOS, screen (IBM
PC/AT technical reference, BIOS listing, test1 to test6; PS/2 and PC BIOS interface technical reference,
data areas).

Not modelled: tests of anything, option ROMs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guesthouse.storage.geometry import own
from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.disk import Disks
from guesthouse.system.firmware.bios.drives import floppy_type
from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.rom import FLOPPY_TABLE, FONT_8_HIGH, FONT_8, SEGMENT
from guesthouse.system.firmware.bios.settings import EBDA, EBDA_SEGMENT, Settings
from guesthouse.system.firmware.bios.video import Video

PIC, PIC_2, PIT, CMOS, CONTROLLER = 0x20, 0xA0, 0x40, 0x70, 0x64
SHUTDOWN = 0x0F  # where the CMOS says why the processor was reset:
BOOT, JUMP_AFTER_EOI, MOVED, JUMP, IRET, RETF = 0x04, 0x05, 0x09, 0x0A, 0x0B, 0x0C
MADE = 0x0046  # FLAGS after a block move: ZF, no CF
SERVICES = (0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x1A, 0x40)
NAMED = {0x05: "print_screen", 0x08: "tick", 0x09: "keyboard", 0x0E: "floppy_irq", 0x18: "int18", 0x19: "boot",
         0x70: "clock_irq", 0x71: "redirect_irq", 0x74: "mouse_irq", 0x75: "x87_irq", 0x76: "disk_irq"}
MASTER_MASK, SLAVE_MASK = 0xB8, 0x8E  # open: timer, keyboard, cascade, floppy; clock, mouse, x87, first disk
KIB_16M = 15 * 1024
DISK_TABLES = (EBDA + 0x3D, EBDA + 0x4D)


class Post:
    """The service behind the reset vector."""

    def __init__(self, guest: Guest, settings: Settings, labels: dict[str, int], disks: Disks, video: Video,
                 reset: Callable[[], object]) -> None:
        self.guest, self.settings, self.labels, self.disks, self.video = guest, settings, labels, disks, video
        self.reset = reset
        self.done = False

    def run(self) -> None:
        guest = self.guest
        why = guest.indexed_in(CMOS, SHUTDOWN)
        guest.indexed_out(CMOS, SHUTDOWN, 0)
        if self.resumed(why):
            return
        if self.done:  # the processor alone was reset: chips are as the last program left them
            self.reset()
            return
        self.done = True
        self.vectors()
        self.chips()
        self.data_areas()
        self.disk_tables()
        self.cmos()
        self.video.set_mode(3)
        guest.return_to(SEGMENT, self.labels["boot"], 0x0202)

    def resumed(self, why: int) -> bool:
        """The way back to real mode that the 286 has: a reset, of which the CMOS says where to go on."""
        guest, (offset, segment) = self.guest, (self.guest.word(bda.RESUME + n) for n in (0, 2))
        if why == BOOT and self.done:
            guest.return_to(SEGMENT, self.labels["boot"], 0x0202)
        elif why in (JUMP_AFTER_EOI, JUMP) and (offset or segment):
            if why == JUMP_AFTER_EOI:
                guest.port_out(PIC, 0x20)
            guest.return_to(segment, offset, 0x0002)
        elif why == IRET:
            guest.to_stack(segment, offset)
        elif why == RETF:
            guest.to_stack(segment, offset)
            ip, cs = guest.pop(), guest.pop()
            guest.to_stack(segment, guest.sp - 6)
            guest.return_to(cs, ip, 0x0002)
        elif why == MOVED:  # the caller of INT 15h, 87h has its registers on its stack
            guest.to_stack(segment, offset)
            guest.pop_segments()
            guest.popa()
            guest.set_flag(0xFFFF, False)
            guest.set_flag(MADE, True)
        else:
            return False
        return True

    def vectors(self) -> None:
        """The interrupt vector table. 60h to 67h and 78h up are the programs' own and zero."""
        guest, labels = self.guest, self.labels
        for vector in range(256):
            guest.set_vector(vector, 0, 0)
        for vector in (*range(0x60), *range(0x68, 0x78)):
            kind = "master_irq" if 8 <= vector < 0x10 else "slave_irq" if 0x70 <= vector < 0x78 else "ignore"
            guest.set_vector(vector, SEGMENT, labels[kind])
        for vector in SERVICES:
            guest.set_vector(vector, SEGMENT, labels[f"int{vector:02x}"])
        for vector, name in NAMED.items():
            guest.set_vector(vector, SEGMENT, labels[name])
        for vector, offset in ((0x1E, FLOPPY_TABLE), (0x1F, FONT_8_HIGH), (0x43, FONT_8)):
            guest.set_vector(vector, SEGMENT, offset)
        guest.set_vector(0x1D, SEGMENT, 0xF0A4)

    def chips(self) -> None:
        guest = self.guest
        for port, *words in ((PIC, 0x08, 0x04, 0x01, MASTER_MASK), (PIC_2, 0x70, 0x02, 0x01, SLAVE_MASK)):
            guest.port_out(port, 0x11)
            for word in words:
                guest.port_out(port + 1, word)
        guest.port_out(PIT + 3, 0x36)  # channel 0, mode 3, 65536: 18.2 Hz
        guest.port_out(PIT, 0)
        guest.port_out(PIT, 0)
        guest.port_out(PIT + 3, 0x54)  # channel 1, mode 2: memory refresh
        guest.port_out(PIT + 1, 0x12)
        guest.port_out(0x61, 0x0C & guest.port_in(0x61))
        for command, data in ((0xAE, None), (0xA8, None), (0x60, 0x45)):  # both devices on; translation, IRQ1
            guest.port_out(CONTROLLER, command)
            if data is not None:
                guest.port_out(0x60, data)
        guest.port_out(0x60, 0xF4)  # the keyboard may scan
        for _ in range(16):
            if not guest.port_in(CONTROLLER) & 1:
                break
            guest.port_in(0x60)

    def data_areas(self) -> None:
        guest, settings = self.guest, self.settings
        warm = guest.word(bda.RESET_FLAG)
        guest.write(0x400, bytes(256))
        guest.write(EBDA, b"\x01".ljust(512, b"\0"))
        guest.set_word(bda.RESET_FLAG, warm)
        for n, port in enumerate(settings.serials[:4]):
            guest.set_word(bda.COM + 2 * n, port)
            guest.set_byte(bda.COM_TIMEOUT + n, 1)
        for n, port in enumerate(settings.parallels[:3]):
            guest.set_word(bda.LPT + 2 * n, port)
            guest.set_byte(bda.LPT_TIMEOUT + n, 20)
        guest.set_word(bda.EBDA_AT, EBDA_SEGMENT)
        guest.set_word(bda.MEMORY_KIB, bda.BASE_KIB)
        guest.set_word(bda.EQUIPMENT, self.equipment())
        for at, value in ((bda.KEY_HEAD, 0x1E), (bda.KEY_TAIL, 0x1E), (bda.KEY_START, 0x1E), (bda.KEY_END, 0x3E)):
            guest.set_word(at, value)
        guest.set_byte(bda.KEY_FLAGS, 0x10)  # 101 keys
        guest.set_byte(bda.DISKS, len(self.disks.hard))
        self.set_ticks()

    def equipment(self) -> int:
        """INT 11h: floppies, an x87, a mouse, 80x25 colour, serial and parallel ports."""
        floppies = len(self.disks.floppies)
        made = 0x0002 | 0x0020 | (4 if self.settings.mouse else 0)
        made |= (1 | min(floppies - 1, 3) << 6) if floppies else 0
        return made | min(len(self.settings.serials), 4) << 9 | min(len(self.settings.parallels), 3) << 14

    def set_ticks(self) -> None:
        """The time of day in ticks of 65536/1193182 s."""
        guest = self.guest
        hour, minute, second = (_bcd(guest.indexed_in(CMOS, n)) for n in (4, 2, 0))
        guest.set_dword(bda.TICKS, ((hour * 60 + minute) * 60 + second) * 1_193_182 // 65_536)

    def disk_tables(self) -> None:
        """The fixed disk parameter tables that vectors 41h and 46h point to. Where the BIOS counts otherwise than the
        disk, A0h says so and both are told (Phoenix EDD 3.0, "Translated fixed disk parameter table")."""
        for drive, at, vector in zip(self.disks.hard, DISK_TABLES, (0x41, 0x46), strict=False):
            cylinders, heads, sectors = drive.geometry
            theirs = own(drive.geometry, drive.sectors)
            control = 8 if theirs.heads > 8 else 0
            if theirs[1:] == (heads, sectors):
                table = struct.pack("<HBHHBB3xHB", cylinders, heads, 0, 0xFFFF, 0, control, cylinders, sectors)
            else:
                table = struct.pack("<HBBBHBBHBHB", cylinders, heads, 0xA0, theirs.sectors, 0xFFFF, 0, control,
                                    theirs.cylinders, theirs.heads, theirs.cylinders, sectors)
            self.guest.write(at, table + bytes([-sum(table) & 0xFF]))
            self.guest.set_vector(vector, EBDA_SEGMENT, at - EBDA)

    def cmos(self) -> None:
        """Drive types, equipment, memory sizes, and the checksum over 10h to 2Dh."""
        types = [floppy_type(drive) for drive in self.disks.floppies[:2]] + [0, 0]
        extended = self.settings.extended_kib
        low, blocks = min(extended, 0xFFFF), max(0, extended - KIB_16M) // 64
        hard = len(self.disks.hard)
        values = {0x0E: 0, 0x10: types[0] << 4 | types[1], 0x12: (0xF0 if hard else 0) | (0x0F if hard > 1 else 0),
                  0x14: self.equipment() & 0xFF, 0x15: bda.BASE_KIB + 1 & 0xFF, 0x16: bda.BASE_KIB + 1 >> 8,
                  0x17: low & 0xFF, 0x18: low >> 8, 0x19: 47 if hard else 0, 0x1A: 47 if hard > 1 else 0,
                  0x30: low & 0xFF, 0x31: low >> 8, 0x34: min(blocks, 0xFFFF) & 0xFF, 0x35: min(blocks, 0xFFFF) >> 8}
        for index, value in values.items():
            self.guest.indexed_out(CMOS, index, value)
        total = sum(self.guest.indexed_in(CMOS, index) for index in range(0x10, 0x2E))
        self.guest.indexed_out(CMOS, 0x2E, total >> 8 & 0xFF)
        self.guest.indexed_out(CMOS, 0x2F, total & 0xFF)


def _bcd(value: int) -> int:
    return (value >> 4) * 10 + (value & 15)
