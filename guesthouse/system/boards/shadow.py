"""The space between 640 KiB and 1 MiB and the ROM at its two places, as a chipset's registers choose: for each part of
C0000h to FFFFFh whether reads and writes go to RAM or to what lies before it (Intel 82441FX data sheet, 3.2.18, PAM;
82Q35 data sheet, 5.1.16), and what is for system management alone: SMRAM behind the VGA's window (82441FX, 3.2.20) and
TSEG, the end of RAM below 4 GiB (82Q35, ESMRAMC).

RAM below 4 GiB lies in the mapping where it lies in the space. Not modelled: DMA that writes behind a ROM, D_CLS.
"""

from __future__ import annotations

from collections.abc import Sequence

from guesthouse.system.chips.kit import ONES
from guesthouse.system.memory import AddressMap, Memory, Range

SMRAM, SMRAM_SIZE = 0xA_0000, 0x2_0000
START, PART, LOW_ROM, LAST, END = 0xC_0000, 0x4000, 0xE_0000, 0xF_0000, 0x10_0000
READ, WRITE = 1, 2  # attributes of a part
OPEN, ENABLED = 0x40, 0x08  # SMRAM register: D_OPEN, G_SMRAME


class Shadow:
    """`rom` is where the firmware lies in the mapping, `rom_size` how much it is; RAM below 4 GiB ends at `top`."""

    def __init__(self, memory: Memory, addresses: AddressMap, rom: int, rom_size: int, top: int) -> None:
        self.memory, self.rom, self.rom_size, self.top, self.tseg = memory, rom, rom_size, top, 0
        self.attributes: dict[int, int] = {}
        addresses.add(START, END - START, lambda offset, size: ONES[size], self._write_behind, "shadow")

    def choose(self, pam: Sequence[int], smram: int, tseg: int) -> None:
        """The registers PAM0 to PAM6 and SMRAM have these values now, and TSEG this size."""
        now = {LAST: pam[0] >> 4 & 3}
        for n, value in enumerate(pam[1:]):
            now |= {START + 2 * n * PART: value & 3, START + (2 * n + 1) * PART: value >> 4 & 3}
        changed = {at: what for at, what in now.items() if self.attributes.get(at) != what}
        self.attributes = now
        for at, what in changed.items():
            self._show(at, END - LAST if at == LAST else PART, what)
        opened = smram & ENABLED and smram & OPEN
        self.memory.map(SMRAM, SMRAM_SIZE, SMRAM if opened else None)
        self._hide(tseg if smram & ENABLED and self.top - tseg >= END else 0)
        closed = [Range(SMRAM, SMRAM_SIZE, SMRAM)] if smram & ENABLED and not opened else []
        start = self.top - self.tseg
        self.memory.keep_for_management(closed + ([Range(start, self.tseg, start)] if self.tseg else []))

    def _hide(self, tseg: int) -> None:
        """TSEG has this size now, and whoever is not in system management finds nothing there."""
        for size, shown in ((self.tseg, True), (tseg, False)):
            if self.tseg != tseg and size:
                self.memory.map(self.top - size, size, self.top - size if shown else None)
        self.tseg = tseg

    def _show(self, at: int, length: int, attributes: int) -> None:
        below_rom = END - self.rom_size
        if attributes & READ:
            self.memory.map(at, length, at, writable=bool(attributes & WRITE))
        elif at >= LOW_ROM and at >= below_rom:
            self.memory.map(at, length, self.rom + at - below_rom, writable=False)
        else:
            self.memory.map(at, length, None)

    def _write_behind(self, offset: int, size: int, value: int) -> None:
        """A write to what is not RAM for reads: it is kept where the attributes say so."""
        at = START + offset
        part = LAST if at >= LAST else at // PART * PART
        if self.attributes.get(part, 0) & WRITE:
            self.memory.write_behind(at, value.to_bytes(size, "little"))
