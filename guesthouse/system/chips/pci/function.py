"""A PCI function: its configuration space, base address registers and interrupt pin.

After the PCI Local Bus Specification 3.0, chapter 6. Capabilities that software can change are chips of their own
(msi.py). Not modelled: power management, parity and error reporting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable

from guesthouse.system.chips.kit import ONES, Chip, Field, Line, Register, Stateful, on_read, on_write

IO, MEMORY, MASTER, NO_INTX = 0x001, 0x002, 0x004, 0x400  # command
INTX, CAPABILITIES = 0x08, 0x10  # status
BARS, ROM, FIRST_CAPABILITY = 6, 6, 0x40  # the expansion ROM counts as the window behind the six
ROM_ENABLE, ROM_LEAST = 1, 0x800
MULTIFUNCTION = 0x80  # header type
Message = Callable[[int, int], object]  # address, data


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


class Capability(Chip):
    """A capability with registers; offsets count from its id. It can send messages, if the function lets it."""

    BUS = 1
    ID = 0

    def __init__(self) -> None:
        self.send: Message = lambda address, data: None
        super().__init__()

    @property
    def enabled(self) -> bool:
        """Whether the function interrupts by this and no longer by its pin."""
        return False

    def fire(self, vector: int) -> None:
        """Interrupt with this vector."""


class Function(Chip):
    """Configuration space as a chip of 256 bytes.

    Subclasses set the identity and answer `bar_read` and `bar_write`. They interrupt by a level, `interrupting`; who
    has several vectors fires its capability's.
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
    rom_base = Field()
    interrupt_line = Register(0x3C)
    interrupting = Field(False)
    told = Field(False)  # the message for this level has been sent

    def __init__(self, irq: Line | None = None, capabilities: Sequence[Capability] = (), *, rom: bytes = b"") -> None:
        self.irq, self.rom = irq, rom
        self.multifunction = False
        self.on_message: Message = lambda address, data: None  # the board's: where messages go
        self.default_line = 0xFF
        self.live: list[tuple[int, Capability]] = []
        self.constants = self._constants(capabilities)
        for capability in capabilities:
            capability.send = self.message
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.interrupt_line = self.default_line
        self.bars = [self.WINDOWS[n].kind if n in self.WINDOWS else 0 for n in range(BARS)]

    def parts(self) -> dict[str, Stateful]:
        return {type(capability).__name__.lower(): capability for _, capability in self.live}

    def route(self, irq: int) -> None:
        """Preset the interrupt line register, as firmware does."""
        self.default_line = self.interrupt_line = irq

    def _constants(self, capabilities: Sequence[Capability]) -> bytes:
        """The bytes of the configuration space that never change; and where the capabilities are."""
        space = bytearray(0x100)
        for at, size, value in ((0x00, 2, self.VENDOR), (0x02, 2, self.DEVICE), (0x08, 1, self.REVISION),
                                (0x09, 3, self.CLASS), (0x2C, 2, self.SUBSYSTEM_VENDOR),
                                (0x2E, 2, self.SUBSYSTEM), (0x3D, 1, self.PIN)):
            space[at:at + size] = value.to_bytes(size, "little")
        link, at = 0x34, FIRST_CAPABILITY
        for body in self.CAPABILITIES:
            space[link], link = at, at + 1
            space[at:at + len(body) + 1] = body[:1] + b"\0" + body[1:]
            at += len(body) + 4 & ~3
        for capability in capabilities:
            self.live.append((at, capability))
            space[link], space[at], link = at, capability.ID, at + 1
            at += capability.SIZE + 3 & ~3
        space[0x06] = CAPABILITIES if space[0x34] else 0
        return bytes(space)

    def _capability(self, offset: int) -> tuple[int, Capability] | None:
        """Whose registers these are, past its id and link; and where it begins."""
        return next((where for where in self.live if 2 <= offset - where[0] < where[1].SIZE), None)

    def odd_read(self, offset: int, size: int) -> int:
        """What is not a register of its own is put together from registers and constants, byte by byte."""
        if offset + size > self.SIZE:
            return super().odd_read(offset, size)
        if (found := self._capability(offset)) and offset + size <= found[0] + found[1].SIZE:
            return found[1].read(offset - found[0], size)
        return sum(self._byte(offset + i) << 8 * i for i in range(size))

    def _byte(self, offset: int) -> int:
        if reader := self.readers.get((offset, 1)):
            return reader(self)
        if found := self._capability(offset):
            return found[1].read(offset - found[0], 1)
        return self.constants[offset]

    def odd_write(self, offset: int, size: int, value: int) -> None:
        """A wider write reaches the registers in it; constants ignore it."""
        if offset + size > self.SIZE:
            return
        if found := self._capability(offset):
            found[1].write(offset - found[0], size, value)
            self.settle()
        elif size > 1:
            half = size // 2
            for at, part in ((offset, value), (offset + half, value >> 8 * half)):
                self.write(at, half, part & ONES[half])

    @on_read(0x06, pure=True)
    def read_status(self) -> int:
        return self.constants[0x06] | (INTX if self.interrupting else 0)

    @on_read(0x0E, pure=True)
    def header_type(self) -> int:
        return MULTIFUNCTION if self.multifunction else 0

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

    @on_read(0x30, width=32, sizes=(1, 2, 4), pure=True)
    def read_rom_base(self) -> int:
        return int(self.rom_base)

    @on_write(0x30, width=32, sizes=(1, 2, 4))
    def write_rom_base(self, value: int) -> None:
        self.rom_base = value & ~(self._rom_size() - 1) | value & ROM_ENABLE if self.rom else 0

    def _rom_size(self) -> int:
        return max(ROM_LEAST, 1 << (len(self.rom) - 1).bit_length())

    def windows(self) -> Iterable[tuple[int, Bar]]:
        return (*self.WINDOWS.items(), *(((ROM, Bar(self._rom_size())),) if self.rom else ()))

    def window(self, n: int) -> int | None:
        """The address at which the window answers; None: it does not, or has not been placed."""
        bar = Bar(self._rom_size()) if n == ROM else self.WINDOWS[n]
        if not self.command & (IO if bar.io else MEMORY) or n == ROM and not self.rom_base & ROM_ENABLE:
            return None
        at = self.rom_base & ~ROM_ENABLE if n == ROM else self.bars[n] & (~3 if bar.io else ~15)
        if bar.wide:
            at |= self.bars[n + 1] << 32
        top = 1 << (64 if bar.wide else 16 if bar.io else 32)
        return int(at) if 0 < at <= top - bar.size and at + bar.size != 1 << 32 else None

    def window_read(self, n: int, offset: int, size: int) -> int:
        """What a window answers; of the ROM, what it holds."""
        if n == ROM:
            return int.from_bytes(self.rom[offset:offset + size].ljust(size, b"\xFF"), "little")
        return self.bar_read(n, offset, size)

    def window_write(self, n: int, offset: int, size: int, value: int) -> None:
        if n != ROM:
            self.bar_write(n, offset, size, value)

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return ONES[size]

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        pass

    def message(self, address: int, data: int) -> None:
        """A message is a write to memory by a master of the bus."""
        if self.command & MASTER:
            self.on_message(address, data)

    def signalling(self) -> Capability | None:
        """The capability that takes the place of the pin."""
        return next((capability for _, capability in self.live if capability.enabled), None)

    def settle(self) -> None:
        by_message = self.signalling()
        if by_message is not None and self.interrupting and not self.told:
            self.told = True  # first: the message may come back to this chip
            by_message.fire(0)
        self.told = bool(self.interrupting and by_message is not None)
        if self.irq is not None:
            self.irq.set(self.interrupting and by_message is None and not self.command & NO_INTX)
