"""The PC's two 8237A DMA controllers with their page registers, after the data sheet (Intel 231466) and the IBM
PC/AT technical reference.

A device moves as many bytes as it has; the controllers say where to. Not modelled: memory to memory,
cascade timing, verify transfers. Channels 5 to 7 count words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from guesthouse.system.chips.kit import Chip, Field, Register, Stateful, on_read, on_write

TO_MEMORY, FROM_MEMORY = 1, 2  # mode bits 3:2
AUTO, DOWN = 0x10, 0x20
CONTROLLER_OFF = 0x04
PAGE_OF = (7, 3, 1, 2, 15, 11, 9, 10)  # where the page of each channel is, from 80h


class Memory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> object: ...


class Dma(Chip):
    """One controller, its registers `stride` bytes apart."""

    base_address = Field([0] * 4)
    base_count = Field([0] * 4)
    address = Field([0] * 4)
    count = Field([0] * 4)
    mode = Field([0] * 4)
    command = Field()
    mask = Field(0x0F)
    request = Field()
    reached = Field()  # terminal counts, until the status is read
    ended = Field([False] * 4)  # the device's last transfer met the terminal count
    high_next = Field(False)

    def __init__(self, stride: int) -> None:
        self.stride, self.SIZE = stride, 16 * stride
        self.BUS = 1
        super().__init__()

    def read(self, offset: int, size: int = 1) -> int:
        if size > 1:
            return self.odd_read(offset, size)
        return super().read(offset // self.stride, 1)

    def write(self, offset: int, size: int, value: int) -> None:
        if size > 1:
            self.odd_write(offset, size, value)
        else:
            super().write(offset // self.stride, 1, value)

    @on_read(0, count=8)
    def read_channel(self, n: int) -> int:
        value = (self.count if n & 1 else self.address)[n >> 1] & 0xFFFF
        self.high_next = not self.high_next
        return int(value & 0xFF if self.high_next else value >> 8)

    @on_write(0, count=8)
    def write_channel(self, n: int, value: int) -> None:
        bases = self.base_count if n & 1 else self.base_address
        base = bases[n >> 1]
        bases[n >> 1] = base & 0xFF | value << 8 if self.high_next else base & 0xFF00 | value
        (self.count if n & 1 else self.address)[n >> 1] = bases[n >> 1]
        self.high_next = not self.high_next

    @on_read(8)
    def read_status(self) -> int:
        found, self.reached = self.reached, 0
        return int(found | self.request << 4)

    @on_write(8)
    def write_command(self, value: int) -> None:
        self.command = value

    @on_write(9)
    def write_request(self, value: int) -> None:
        bit = 1 << (value & 3)
        self.request = self.request & ~bit | (bit if value & 4 else 0)

    @on_write(10)
    def write_mask(self, value: int) -> None:
        bit = 1 << (value & 3)
        self.mask = self.mask & ~bit | (bit if value & 4 else 0)

    @on_write(11)
    def write_mode(self, value: int) -> None:
        self.mode[value & 3] = value & 0xFC

    @on_write(12)
    def clear_pointer(self, value: int) -> None:
        self.high_next = False

    @on_write(13)
    def master_clear(self, value: int) -> None:
        self.command = self.request = self.reached = 0
        self.mask, self.high_next = 0x0F, False

    @on_read(13)
    def read_temporary(self) -> int:
        return 0

    @on_write(14)
    def clear_mask(self, value: int) -> None:
        self.mask = 0

    @on_read(15, pure=True)
    def read_mask(self) -> int:
        return int(self.mask) | 0xF0

    @on_write(15)
    def write_all_masks(self, value: int) -> None:
        self.mask = value & 15

    def open(self, n: int) -> bool:
        return not self.mask >> n & 1 and not self.command & CONTROLLER_OFF

    def step(self, n: int, count: int) -> None:
        """`count` transfers are done; after the last that was programmed comes the terminal count."""
        self.address[n] = (self.address[n] + (-count if self.mode[n] & DOWN else count)) & 0xFFFF
        self.count[n] -= count
        if self.count[n] >= 0:
            return
        self.reached |= 1 << n
        self.ended[n] = True
        self.count[n] = 0xFFFF
        if self.mode[n] & AUTO:
            self.address[n], self.count[n] = self.base_address[n], self.base_count[n]
        else:
            self.mask |= 1 << n


class Pages(Chip):
    SIZE, BUS = 16, 1
    pages = Register(0, count=16)


class DmaPair(Stateful):
    def __init__(self, memory: Memory, *, refused: type[Exception]) -> None:
        self.memory, self.refused = memory, refused
        self.first, self.second, self.pages = Dma(1), Dma(2), Pages()
        super().__init__()

    def parts(self) -> dict[str, Stateful]:
        return {"first": self.first, "second": self.second, "pages": self.pages}

    def terminal_count(self, channel: int) -> bool:
        """The last transfer that was programmed is done, and the channel is closed or began anew."""
        controller, n = self._of(channel)
        return bool(controller.ended[n])

    def read_for(self, channel: int, count: int) -> bytes:
        """Up to `count` bytes for a device. Shorter: the terminal count came; what is not memory reads as FFh."""
        out = b""
        for at, size in self._pieces(channel, count, FROM_MEMORY):
            try:
                out += self.memory.read(at, size)
            except self.refused:
                out += b"\xFF" * size
        return out

    def write_for(self, channel: int, data: bytes) -> int:
        """Bytes from a device; says how many were taken before the terminal count."""
        done = 0
        for at, size in self._pieces(channel, len(data), TO_MEMORY):
            try:
                self.memory.write(at, data[done:done + size])
            except self.refused:
                pass  # nobody answers on the bus
            done += size
        return done

    def _of(self, channel: int) -> tuple[Dma, int]:
        return (self.first, channel) if channel < 4 else (self.second, channel - 4)

    def _pieces(self, channel: int, count: int, way: int) -> Iterator[tuple[int, int]]:
        """The (address, bytes) of a transfer, which goes round within its 64 KiB page, or 128 KiB of words."""
        controller, n = self._of(channel)
        controller.ended[n] = False
        unit = 1 if channel < 4 else 2
        left = count // unit
        while left and controller.open(n) and not controller.ended[n]:
            address, mode = controller.address[n], controller.mode[n]
            if mode >> 2 & 3 != way:
                return
            size = min(left, controller.count[n] + 1, 1 if mode & DOWN else 0x10000 - address)
            page = self.pages.pages[PAGE_OF[channel]] << 16
            at = page + address if unit == 1 else (page & ~0x1FFFF) + 2 * address
            controller.step(n, size)
            yield at, size * unit
            left -= size
