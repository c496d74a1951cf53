"""A PCI function: its configuration space, base address registers and interrupt pin.

After the PCI Local Bus Specification 3.0, chapter 6. Not modelled: type 1 headers, expansion ROMs, power
management.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guesthouse.system.chips.kit import ONES, Chip, Field, Line, Register, on_read, on_write

IO, MEMORY, MASTER, NO_INTX = 0x001, 0x002, 0x004, 0x400  # command
INTX, CAPABILITIES = 0x08, 0x10  # status
BARS, FIRST_CAPABILITY = 6, 0x40


@dataclass(frozen=True)
class Bar:
    """One window: `size` bytes (a power of two) of ports or of memory."""

    size: int
    io: bool = False
    wide: bool = False  # a 64-bit memory window, which takes the next register too
    prefetch: bool = False

    @property
    def kind(self) -> int:
        return 1 if self.io else (4 if self.wide else 0) | (8 if self.prefetch else 0)


class Function(Chip):
    """Configuration space as a chip of 256 bytes.

    Subclasses set the identity and answer `bar_read` and `bar_write`.
    """

    SIZE = 0x100
    VENDOR, DEVICE, REVISION, CLASS = 0xFFFF, 0xFFFF, 0, 0  # CLASS: base, sub, interface in 24 bits
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0, 0
    PIN = 0  # 1: INTA#
    WINDOWS: dict[int, Bar] = {}
    CAPABILITIES: tuple[bytes, ...] = ()  # each without its link byte: id, then body

    command = Register(0x04, width=16, writable=IO | MEMORY | MASTER | NO_INTX, sizes=(1, 2))
    cache_line = Register(0x0C)
    latency = Register(0x0D)
    bars = Field([0] * BARS)
    interrupt_line = Register(0x3C)
    interrupting = Field(False)

    def __init__(self, irq: Line | None = None) -> None:
        self.irq = irq
        self.default_line = 0xFF
        self.constants = self._constants()
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.interrupt_line = self.default_line
        self.bars = [self.WINDOWS[n].kind if n in self.WINDOWS else 0 for n in range(BARS)]

    def route(self, irq: int) -> None:
        """Preset the interrupt line register, as firmware does."""
        self.default_line = self.interrupt_line = irq

    def _constants(self) -> bytes:
        """The bytes of the configuration space that never change."""
        space = bytearray(0x100)
        for at, size, value in ((0x00, 2, self.VENDOR), (0x02, 2, self.DEVICE), (0x08, 1, self.REVISION),
                                (0x09, 3, self.CLASS), (0x2C, 2, self.SUBSYSTEM_VENDOR),
                                (0x2E, 2, self.SUBSYSTEM), (0x3D, 1, self.PIN)):
            space[at:at + size] = value.to_bytes(size, "little")
        link, at = 0x34, FIRST_CAPABILITY
        for body in self.CAPABILITIES:
            space[link] = at
            space[at:at + len(body) + 1] = body[:1] + b"\0" + body[1:]
            link, at = at + 1, at + (len(body) + 1 + 3 & ~3)
        space[0x06] = CAPABILITIES if self.CAPABILITIES else 0
        return bytes(space)

    def odd_read(self, offset: int, size: int) -> int:
        """What is not a register of its own is put together from registers and constants, byte by byte."""
        if offset + size > self.SIZE:
            return super().odd_read(offset, size)
        value = 0
        for i in range(size):
            reader = self.readers.get((offset + i, 1))
            value |= (reader(self) if reader else self.constants[offset + i]) << 8 * i
        return value

    def odd_write(self, offset: int, size: int, value: int) -> None:
        """A wider write reaches the registers in it; constants ignore it."""
        if size > 1 and offset + size <= self.SIZE:
            half = size // 2
            for at, part in ((offset, value), (offset + half, value >> 8 * half)):
                self.write(at, half, part & ONES[half])

    @on_read(0x06, pure=True)
    def read_status(self) -> int:
        return self.constants[0x06] | (INTX if self.interrupting else 0)

    @on_read(0x10, width=32, count=BARS, sizes=(1, 2, 4), pure=True)
    def read_bar(self, n: int) -> int:
        return int(self.bars[n])

    @on_write(0x10, width=32, count=BARS, sizes=(1, 2, 4))
    def write_bar(self, n: int, value: int) -> None:
        """Bits below the size stay 0: that is how software finds it (6.2.5.1)."""
        bar = self.WINDOWS.get(n)
        if bar is not None:
            self.bars[n] = value & ~(bar.size - 1) & 0xFFFF_FFFF | bar.kind
        elif n and (below := self.WINDOWS.get(n - 1)) is not None and below.wide:
            self.bars[n] = value & ~(below.size - 1 >> 32)

    def window(self, n: int) -> int | None:
        """The address at which the window answers; None: it does not, or has not been placed."""
        bar = self.WINDOWS[n]
        if not self.command & (IO if bar.io else MEMORY):
            return None
        at = self.bars[n] & (~3 if bar.io else ~15)
        if bar.wide:
            at |= self.bars[n + 1] << 32
        top = 1 << (64 if bar.wide else 16 if bar.io else 32)
        return int(at) if 0 < at <= top - bar.size and at + bar.size != 1 << 32 else None

    def windows(self) -> Iterable[tuple[int, Bar]]:
        return self.WINDOWS.items()

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return ONES[size]

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        pass

    def settle(self) -> None:
        if self.irq is not None:
            self.irq.set(self.interrupting and not self.command & NO_INTX)
