"""Message-signalled interrupts: the capabilities MSI and MSI-X, after the PCI Local Bus Specification 3.0, section 6.8.

A message is sent with `send(address, data)`. MSI has 64-bit addresses and one vector; not offered: several, masking
one by one. MSI-X keeps its table and its pending bits in one page of a window, at 0 and at 800h.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import ONES, Field, Register, on_read, on_write
from guesthouse.system.chips.pci.function import Capability

ENABLE, WIDE = 0x0001, 0x0080  # MSI's control
TABLE_ENABLE, TABLE_MASKED = 0x8000, 0x4000  # MSI-X's
ENTRY, MASKED, PENDING, PAGE = 16, 1, 0x800, 0x1000
MOST = PENDING // ENTRY


class Msi(Capability):
    SIZE, ID = 0x0E, 0x05
    control = Field()
    low = Register(0x04, width=32, writable=0xFFFF_FFFC, sizes=(1, 2, 4))
    high = Register(0x08, width=32, sizes=(1, 2, 4))
    data = Register(0x0C, width=16, sizes=(1, 2))

    @property
    def enabled(self) -> bool:
        return bool(self.control & ENABLE)

    @on_read(0x02, width=16, sizes=(1, 2), pure=True)
    def read_control(self) -> int:
        return int(self.control | WIDE)

    @on_write(0x02, width=16, sizes=(1, 2))
    def write_control(self, value: int) -> None:
        self.control = value & ENABLE

    def fire(self, vector: int) -> None:
        self.send(self.high << 32 | self.low, self.data)


class MsiX(Capability):
    """`vectors` of them, in window `bar`; the function passes that window's accesses on."""

    SIZE, ID = 0x0C, 0x11
    control = Field()
    table = Field([])
    pending = Field()

    def __init__(self, vectors: int, bar: int) -> None:
        self.vectors, self.bar = min(vectors, MOST), bar
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.table = [0, 0, 0, MASKED] * self.vectors

    @property
    def enabled(self) -> bool:
        return bool(self.control & TABLE_ENABLE)

    @on_read(0x02, width=16, sizes=(1, 2), pure=True)
    def read_control(self) -> int:
        return int(self.control | self.vectors - 1)

    @on_write(0x02, width=16, sizes=(1, 2))
    def write_control(self, value: int) -> None:
        self.control = value & (TABLE_ENABLE | TABLE_MASKED)
        self._send_pending()

    @on_read(0x04, width=32, count=2, sizes=(1, 2, 4), pure=True)
    def place(self, n: int) -> int:
        return self.bar | (PENDING if n else 0)

    def fire(self, vector: int) -> None:
        if vector < self.vectors:
            self.pending |= 1 << vector
            self._send_pending()

    def _send_pending(self) -> None:
        if not self.pending or self.control & (TABLE_ENABLE | TABLE_MASKED) != TABLE_ENABLE:
            return
        for n in range(self.vectors):
            low, high, data, control = self.table[4 * n:4 * n + 4]
            if self.pending >> n & 1 and not control & MASKED:
                self.pending &= ~(1 << n)
                self.send(high << 32 | low & ~3, data)

    # the page in the window

    def page_read(self, offset: int, size: int) -> int:
        """Software reads 4 or 8 bytes (6.8.2); what else it does reads as ones."""
        if size < 4 or offset % size:
            return ONES[size]
        return sum(self._word(offset + at) << 8 * at for at in range(0, size, 4))

    def _word(self, offset: int) -> int:
        if offset < ENTRY * self.vectors:
            return int(self.table[offset // 4])
        return int(self.pending) >> 8 * (offset - PENDING) & 0xFFFF_FFFF if offset >= PENDING else 0

    def page_write(self, offset: int, size: int, value: int) -> None:
        if size >= 4 and offset % size == 0:
            for at in range(0, size, 4):
                if offset + at < ENTRY * self.vectors:
                    word = value >> 8 * at & 0xFFFF_FFFF
                    self.table[(offset + at) // 4] = word & MASKED if (offset + at) % ENTRY == 12 else word
            self._send_pending()
