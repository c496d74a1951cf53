"""INT 10h, 4Fh: VESA BIOS extensions 3.0 (VBE core functions, 1998), through the Bochs display interface's
registers 1CEh and 1CFh.

Not modelled: refresh rates, stereo, flat-panel and power calls.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.guest import ES, Guest
from guesthouse.system.firmware.bios.rom import SEGMENT, VBE_INTERFACE
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.firmware.bios.vbe_protected import edid, interface
from guesthouse.system.firmware.bios.video_state import VideoState

INDEX, DATA = 0x1CE, 0x1CF
XRES, YRES, BPP, ENABLE, BANK, VIRTUAL_WIDTH, VIRTUAL_HEIGHT, X_OFFSET, Y_OFFSET = range(1, 10)
ON, DAC_8, LINEAR, KEEP = 0x01, 0x20, 0x40, 0x80
SIZES = ((640, 400), (640, 480), (800, 600), (1024, 768), (1280, 1024))
STANDARD = {(640, 400, 8): 0x100, (640, 480, 8): 0x101, (800, 600, 8): 0x103, (1024, 768, 8): 0x105,
            (1280, 1024, 8): 0x107, (640, 480, 15): 0x110, (640, 480, 16): 0x111, (640, 480, 24): 0x112,
            (800, 600, 15): 0x113, (800, 600, 16): 0x114, (800, 600, 24): 0x115, (1024, 768, 15): 0x116,
            (1024, 768, 16): 0x117, (1024, 768, 24): 0x118, (1280, 1024, 15): 0x119, (1280, 1024, 16): 0x11A,
            (1280, 1024, 24): 0x11B}
OTHERS = 0x140  # 32 bits a pixel, in the order of SIZES
VBE_MODES = {number: what for what, number in STANDARD.items()} | {
    OTHERS + n: (width, height, 32) for n, (width, height) in enumerate(SIZES)}
# Sizes and positions of red, green, blue, reserved.
MASKS = {8: (0,) * 8, 15: (5, 10, 5, 5, 5, 0, 1, 15), 16: (5, 11, 6, 5, 5, 0, 0, 0), 24: (8, 16, 8, 8, 8, 0, 0, 0),
         32: (8, 16, 8, 8, 8, 0, 8, 24)}
OK, FAILED, OEM_TEXT = 0x004F, 0x014F, b"guesthouse\0"


class Vbe:
    def __init__(self, guest: Guest, settings: Settings, set_mode: Callable[[int], None]) -> None:
        self.guest, self.settings, self.set_vga_mode = guest, settings, set_mode
        self.current: int | None = None
        self.state = VideoState(guest)
        self.functions: dict[int, Callable[[], int]] = {
            0x00: self._information, 0x01: self._mode_information, 0x02: self._set, 0x03: self._get,
            0x04: self._save, 0x05: self._window, 0x06: self._scan_line, 0x07: self._start, 0x08: self._dac_width,
            0x09: self._palette, 0x0A: self._protected, 0x15: self._ddc}

    def call(self) -> None:
        answer = self.functions.get(self.guest.al)
        if answer is not None and self.settings.framebuffer:
            self.guest.ax = answer()

    def get(self, index: int) -> int:
        self.guest.bus.port_write(INDEX, 2, index)
        return self.guest.bus.port_read(DATA, 2)

    def set(self, index: int, value: int) -> None:
        self.guest.bus.port_write(INDEX, 2, index)
        self.guest.bus.port_write(DATA, 2, value & 0xFFFF)

    def leave(self) -> None:
        """A VGA mode is coming."""
        if self.settings.framebuffer:
            self.set(ENABLE, 0)
        self.current = None

    def available(self) -> list[int]:
        room = self.settings.framebuffer_size
        return [n for n, (width, height, depth) in sorted(VBE_MODES.items()) if width * height * _bytes(depth) <= room]

    def _information(self) -> int:
        """The block at ES:DI: 512 bytes if it begins with VBE2, else 256. The mode list is inside it."""
        guest = self.guest
        at, segment, offset = guest.linear(ES, guest.di), guest.es, guest.di
        size = 512 if guest.read(at, 4) == b"VBE2" else 256
        modes = struct.pack(f"<{len(self.available()) + 1}H", *self.available(), 0xFFFF)
        far_modes, far_text = segment << 16 | offset + 0x30 & 0xFFFF, segment << 16 | offset + 0xE0 & 0xFFFF
        made = struct.pack("<4sHIIIHHIII", b"VESA", 0x0300, far_text, 1, far_modes,
                           self.settings.framebuffer_size >> 16, 0x0100, far_text, far_text, far_text)
        guest.write(at, (made.ljust(0x30, b"\0") + modes).ljust(0xE0, b"\0") + OEM_TEXT.ljust(32, b"\0")
                    + bytes(size - 256))
        return OK

    def _mode_information(self) -> int:
        guest = self.guest
        number = guest.cx & 0x1FF
        if number not in self.available():
            return FAILED
        width, height, depth = VBE_MODES[number]
        pitch, model = width * _bytes(depth), 4 if depth == 8 else 6
        images = min(255, self.settings.framebuffer_size // (pitch * height) - 1)
        masks = bytes(MASKS[depth])
        made = struct.pack("<HBBHHHHIH", 0x009B, 7, 0, 64, 64, 0xA000, 0, 0, pitch)
        made += struct.pack("<HHBBBBBBBBB", width, height, 8, 16, 1, depth, 1, model, 0, images, 1)
        made += masks + struct.pack("<BIIH", 2 if depth == 32 else 0, self.settings.framebuffer, 0, 0)
        made += struct.pack("<HBB", pitch, images, images) + masks + struct.pack("<I", 230_000_000)
        guest.write(guest.linear(ES, guest.di), made.ljust(256, b"\0"))
        return OK

    def _set(self) -> int:
        """BX: the mode, bit 14 linear, bit 15 keep what is in the memory."""
        guest, number = self.guest, self.guest.bx & 0x1FF
        if number < 0x100:
            self.set_vga_mode(number | guest.bx >> 8 & 0x80)
            return OK
        if number not in self.available():
            return FAILED
        width, height, depth = VBE_MODES[number]
        self.set(ENABLE, 0)
        for index, value in ((XRES, width), (YRES, height), (BPP, depth), (BANK, 0), (VIRTUAL_WIDTH, width),
                             (X_OFFSET, 0), (Y_OFFSET, 0)):
            self.set(index, value)
        self.set(ENABLE, ON | (LINEAR if guest.bx & 0x4000 else 0) | (KEEP if guest.bx & 0x8000 else 0))
        self.current = guest.bx & 0xC1FF
        return OK

    def _get(self) -> int:
        guest = self.guest
        guest.bx = guest.byte(bda.MODE) if self.current is None else self.current
        return OK

    def _window(self) -> int:
        guest = self.guest
        if guest.bl or guest.bh > 1:
            return FAILED
        if guest.bh == 0:
            self.set(BANK, guest.dx)
        else:
            guest.dx = self.get(BANK)
        return OK

    def _scan_line(self) -> int:
        guest = self.guest
        if self.current is None or guest.bl > 3:
            return FAILED
        depth = _bytes(VBE_MODES[self.current & 0x1FF][2])
        if guest.bl in (0, 2):
            self.set(VIRTUAL_WIDTH, guest.cx if guest.bl == 0 else guest.cx // depth)
        width = self.settings.framebuffer_size // depth if guest.bl == 3 else self.get(VIRTUAL_WIDTH)
        width = min(width, 0xFFFF // depth)
        guest.bx, guest.cx = width * depth, width
        guest.dx = min(0xFFFF, self.settings.framebuffer_size // max(1, width * depth))
        return OK

    def _start(self) -> int:
        guest = self.guest
        if guest.bl in (0x00, 0x80):
            self.set(X_OFFSET, guest.cx)
            self.set(Y_OFFSET, guest.dx)
        elif guest.bl == 1:
            guest.bh, guest.cx, guest.dx = 0, self.get(X_OFFSET), self.get(Y_OFFSET)
        else:
            return FAILED
        return OK

    def _dac_width(self) -> int:
        guest = self.guest
        if guest.bl == 0:
            self.set(ENABLE, self.get(ENABLE) & ~DAC_8 | KEEP | (DAC_8 if guest.bh >= 8 else 0))
        guest.bh = 8 if self.get(ENABLE) & DAC_8 else 6
        return OK

    def _palette(self) -> int:
        """Entries of blue, green, red and nothing at ES:DI."""
        guest = self.guest
        at, first, count = guest.linear(ES, guest.di), guest.dx & 0xFF, min(guest.cx, 256)
        if guest.bl in (0x00, 0x80):
            levels = guest.read(at, 4 * count)
            guest.port_out(0x3C8, first)
            for n in range(count):
                for part in (2, 1, 0):
                    guest.port_out(0x3C9, levels[4 * n + part])
        elif guest.bl == 1:
            guest.port_out(0x3C7, first)
            for n in range(count):
                red, green, blue = (guest.port_in(0x3C9) for _ in range(3))
                guest.write(at + 4 * n, bytes([blue, green, red, 0]))
        else:
            return FAILED
        return OK

    def _save(self) -> int:
        """DL: 0 the size in BX, 1 save to ES:BX, 2 restore; CX says what."""
        guest, what = self.guest, self.guest.cx & 0xF
        if guest.dl == 0:
            guest.bx = self.state.size(what)
        elif guest.dl == 1:
            self.state.save(what, guest.linear(ES, guest.bx))
        elif guest.dl == 2:
            self.state.restore(what, guest.linear(ES, guest.bx))
            self.current = self.current if self.get(ENABLE) & ON else None
        else:
            return FAILED
        return OK

    def _protected(self) -> int:
        """The table of the protected-mode interface at ES:DI, CX bytes."""
        guest = self.guest
        if guest.bl:
            return FAILED
        guest.load_es(SEGMENT)
        guest.di, guest.cx = VBE_INTERFACE, len(interface())
        return OK

    def _ddc(self) -> int:
        """BL: 0 what the monitor's wires can do (DDC2, no blanking), 1 the EDID block DX to ES:DI."""
        guest = self.guest
        if guest.bl == 0:
            guest.bx = 0x0102  # a second for a block
        elif guest.bl == 1 and guest.dx == 0:
            guest.write(guest.linear(ES, guest.di), edid())
        else:
            return FAILED
        return OK


def _bytes(depth: int) -> int:
    return (depth + 7) // 8
