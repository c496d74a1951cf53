"""Saving and restoring what the screen is made of: INT 10h, 1Ch, and VBE 4F04h (VBE 3.0).

What is saved is bytes in the caller's buffer: registers of the VGA, its words of the BIOS data area, the palette, and
the display interface's registers.
"""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.system.firmware.bios.guest import Guest

HARDWARE, DATA, DAC, EXTENSION = 1, 2, 4, 8
SEQUENCER, GRAPHICS, ATTRIBUTE, DAC_MASK, DAC_READ, DAC_WRITE, DAC_DATA, DISPI = (
    0x3C4, 0x3CE, 0x3C0, 0x3C6, 0x3C7, 0x3C8, 0x3C9, 0x1CE)
MISC_READ, MISC_WRITE = 0x3CC, 0x3C2
COUNTS = {SEQUENCER: 5, GRAPHICS: 9}
CRTC_COUNT, ATTRIBUTES = 25, 21
WORDS = ((0x449, 0x1E), (0x484, 7), (0x4A8, 4), (0x7C, 4), (0x10C, 4))  # linear addresses, with vectors 1Fh and 43h
DISPI_ORDER = (1, 2, 3, 6, 8, 9, 5, 4)  # ENABLE last but BANK, which needs it
BLOCK = 64


class VideoState:
    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def size(self, what: int) -> int:
        """In blocks of 64 bytes."""
        return -(-len(self._save(what)) // BLOCK)

    def save(self, what: int, at: int) -> None:
        self.guest.write(at, self._save(what))

    def _save(self, what: int) -> bytes:
        parts = ((HARDWARE, self._registers), (DATA, self._words), (DAC, self._colours), (EXTENSION, self._extension))
        return b"".join(read() for bit, read in parts if what & bit)

    def restore(self, what: int, at: int) -> None:
        raw = iter(self.guest.read(at, len(self._save(what))))
        take = raw.__next__
        if what & HARDWARE:
            self._set_registers(take)
        if what & DATA:
            for start, count in WORDS:
                self.guest.write(start, bytes(take() for _ in range(count)))
        if what & DAC:
            self.guest.port_out(DAC_MASK, take())
            self.guest.port_out(DAC_WRITE, 0)
            for _ in range(768):
                self.guest.port_out(DAC_DATA, take())
        if what & EXTENSION:
            for index in DISPI_ORDER:
                self.guest.bus.port_write(DISPI, 2, index)
                self.guest.bus.port_write(DISPI + 1, 2, take() | take() << 8)

    def _crtc(self) -> int:
        return 0x3D4 if self.guest.port_in(MISC_READ) & 1 else 0x3B4

    def _registers(self) -> bytes:
        guest, crtc = self.guest, self._crtc()
        made = [guest.port_in(MISC_READ)]
        made += [guest.indexed_in(port, n) for port, count in COUNTS.items() for n in range(count)]
        made += [guest.indexed_in(crtc, n) for n in range(CRTC_COUNT)]
        for n in range(ATTRIBUTES):
            guest.port_in(crtc + 6)
            made.append(guest.indexed_in(ATTRIBUTE, n))
        guest.port_in(crtc + 6)
        guest.port_out(ATTRIBUTE, 0x20)
        return bytes(made)

    def _set_registers(self, following: Callable[[], int]) -> None:
        guest = self.guest
        guest.port_out(MISC_WRITE, following())
        for port, count in COUNTS.items():
            for n in range(count):
                guest.indexed_out(port, n, following())
        crtc = self._crtc()
        values = [following() for _ in range(CRTC_COUNT)]
        guest.indexed_out(crtc, 0x11, values[0x11] & 0x7F)  # opens registers 0 to 7
        for n, value in enumerate(values):
            guest.indexed_out(crtc, n, value)
        guest.port_in(crtc + 6)
        for n in range(ATTRIBUTES):
            guest.port_out(ATTRIBUTE, n)
            guest.port_out(ATTRIBUTE, following())
        guest.port_out(ATTRIBUTE, 0x20)

    def _words(self) -> bytes:
        return b"".join(self.guest.read(start, count) for start, count in WORDS)

    def _colours(self) -> bytes:
        guest = self.guest
        mask = guest.port_in(DAC_MASK)
        guest.port_out(DAC_READ, 0)
        return bytes([mask, *(guest.port_in(DAC_DATA) for _ in range(768))])

    def _extension(self) -> bytes:
        made = b""
        for index in DISPI_ORDER:
            self.guest.bus.port_write(DISPI, 2, index)
            made += self.guest.bus.port_read(DISPI + 1, 2).to_bytes(2, "little")
        return made
