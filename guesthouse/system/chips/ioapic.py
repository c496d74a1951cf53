"""The I/O APIC: 24 inputs, each with a redirection entry that makes a message of it.

After the 82093AA data sheet (Intel 290566-001), with the EOI register of version 20h (ICH datasheets). An
input line carries "asserted"; the polarity bit is kept and has no effect. Edges on a masked input are lost,
as the data sheet says.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, Register, on_read, on_write

PINS, VERSION = 24, 0x20
DELIVERY_PENDING, REMOTE_IRR, LEVEL, MASKED = 1 << 12, 1 << 14, 1 << 15, 1 << 16
WRITABLE = 0xFF00_0000_0001_FFFF & ~(DELIVERY_PENDING | REMOTE_IRR)
FIXED, LOWEST = 0, 1
Deliver = Callable[[int, int, int, bool, bool], object]  # vector, mode, destination, logical, level


class IoApic(Chip):
    SIZE = 0x1000
    select = Register(0x00, width=32, writable=0xFF, sizes=(1, 4))
    identity = Field()
    entries = Field([MASKED] * PINS)
    levels = Field()

    def __init__(self, deliver: Deliver, *, apic_id: int = 0) -> None:
        self.apic_id = apic_id
        super().__init__()
        self.deliver = deliver

    def clear(self) -> None:
        levels = self.__dict__.get("levels", 0)  # belong to those who drive the inputs
        super().clear()
        self.identity, self.levels = self.apic_id << 24, levels

    def set_input(self, n: int, high: bool) -> None:
        bit = 1 << n
        rises = high and not self.levels & bit
        self.levels = self.levels | bit if high else self.levels & ~bit
        entry = self.entries[n]
        if entry & LEVEL:
            self._service_level(n)
        elif rises and not entry & MASKED:
            self._send(entry)

    def end_of_interrupt(self, vector: int) -> None:
        """A processor is done with a level: if the input is still asserted it is told again."""
        for n, entry in enumerate(self.entries):
            if entry & REMOTE_IRR and entry & 0xFF == vector:
                self.entries[n] = entry & ~REMOTE_IRR
                self._service_level(n)

    def _service_level(self, n: int) -> None:
        entry = self.entries[n]
        if self.levels >> n & 1 and not entry & (MASKED | REMOTE_IRR):
            if entry >> 8 & 7 in (FIXED, LOWEST):
                self.entries[n] = entry | REMOTE_IRR
            self._send(entry)

    def _send(self, entry: int) -> None:
        if self.event is not None:
            self.event("message", entry=entry)
        self.deliver(entry & 0xFF, entry >> 8 & 7, entry >> 56, bool(entry >> 11 & 1), bool(entry & LEVEL))

    @on_read(0x10, width=32, pure=True)
    def read_window(self) -> int:
        if self.select >= 0x10:
            n, high = divmod(self.select - 0x10, 2)
            return int(self.entries[n] >> 32 * high) if n < PINS else 0
        return int({0: self.identity, 1: PINS - 1 << 16 | VERSION, 2: self.identity}.get(self.select, 0))

    @on_write(0x10, width=32)
    def write_window(self, value: int) -> None:
        if self.select == 0:
            self.identity = value & 0x0F00_0000
        n, high = divmod(self.select - 0x10, 2)
        if not 0 <= n < PINS:
            return
        old = self.entries[n]
        shift = 32 * high
        writable = WRITABLE & 0xFFFF_FFFF << shift
        entry = old & ~writable | value << shift & writable
        if not entry & LEVEL:
            entry &= ~REMOTE_IRR  # what Linux does to end an interrupt by hand
        self.entries[n] = entry
        if entry & LEVEL:
            self._service_level(n)

    @on_write(0x40, width=32)
    def write_end_of_interrupt(self, value: int) -> None:
        self.end_of_interrupt(value & 0xFF)
