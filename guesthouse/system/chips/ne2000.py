"""An NE2000: the DP8390 network controller (National Semiconductor, DP8390D/NS32490D data sheet) with 16 KiB of its own
memory, in 32 ports as Novell's card has them.

`send` takes what goes onto the wire; without one nobody is there. Not modelled: collisions, monitor mode's counters,
the send-packet command, loopback beyond silence.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import ONES, Chip, Field, Line, on_read, on_write

STOP, START, TRANSMIT, REMOTE_READ, REMOTE_WRITE, NO_REMOTE = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20  # command
RECEIVED, SENT, RECEIVE_ERROR, SEND_ERROR, OVERWRITTEN, COUNTERS, REMOTE_DONE, RESET = (1 << n for n in range(8))
PROMISCUOUS, MULTICAST, BROADCAST = 0x10, 0x08, 0x04  # receive configuration
MEMORY, MEMORY_END, PAGE, ADDRESS_SIZE = 0x4000, 0x8000, 0x100, 6
LEAST, MOST, WORDS = 60, 1514, 0x01
EVERYBODY = b"\xFF" * 6
Send = Callable[[bytes], object]


class Ne2000(Chip):
    SIZE = 0x20
    command = Field(STOP | NO_REMOTE)
    start_page = Field()
    stop_page = Field()
    boundary = Field()
    current = Field()
    transmit_page = Field()
    transmit_count = Field()
    transmit_status = Field()
    receive_status = Field()
    interrupts = Field(RESET)
    mask = Field()
    remote = Field()
    remote_count = Field()
    receive_configuration = Field()
    transmit_configuration = Field()
    data_configuration = Field()
    physical = Field(bytearray(6))
    multicast = Field(bytearray(8))
    memory = Field(bytearray(MEMORY_END - MEMORY))

    def __init__(self, irq: Line, address: bytes, send: Send | None = None) -> None:
        self.irq, self.send = irq, send
        self.prom = bytes(byte for byte in address for _ in (0, 1)).ljust(28, b"\0") + b"\x57" * 4
        super().__init__()

    # the wire

    def receive(self, frame: bytes) -> bool:
        """A frame for this card goes into its ring, with a header before it; says whether there was room."""
        if self.command & (STOP | START) != START or len(frame) > MOST or not self._wanted(frame):
            return False
        first, end = self.start_page, self.stop_page
        if not MEMORY // PAGE <= first < end <= MEMORY_END // PAGE or not first <= self.current < end:
            return False
        frame = frame.ljust(LEAST, b"\0")
        pages = (len(frame) + 4 + 4 + PAGE - 1) // PAGE
        free = (self.boundary - self.current) % (end - first) or end - first
        if pages >= free:
            self.interrupts |= OVERWRITTEN
            self.settle()
            return False
        following = first + (self.current - first + pages) % (end - first)
        self.receive_status = 0x01 | (0x20 if frame[0] & 1 else 0)
        head = bytes((self.receive_status, following)) + (len(frame) + 4).to_bytes(2, "little")
        at = self.current * PAGE
        for byte in head + frame:
            self._put(at, byte)
            at = at + 1 if at + 1 < end * PAGE else first * PAGE
        self.current = following
        self.interrupts |= RECEIVED
        self.settle()
        return True

    def _wanted(self, frame: bytes) -> bool:
        to, accepts = frame[:6], self.receive_configuration
        if accepts & PROMISCUOUS or to == self.physical:
            return True
        if to == EVERYBODY:
            return bool(accepts & BROADCAST)
        bit = crc(to) >> 26
        return bool(len(to) == 6 and to[0] & 1 and accepts & MULTICAST and self.multicast[bit >> 3] >> (bit & 7) & 1)

    def _transmit(self) -> None:
        at, count = self.transmit_page * PAGE, min(int(self.transmit_count), MOST)
        frame = bytes(self._get(at + i) for i in range(count))
        if self.send is not None and not self.transmit_configuration & 0x06:
            self.send(frame)
        self.command &= ~TRANSMIT
        self.transmit_status = 0x01
        self.interrupts |= SENT

    # the card's memory

    def _get(self, at: int) -> int:
        at &= 0xFFFF
        if at < len(self.prom):
            return self.prom[at]
        return int(self.memory[at - MEMORY]) if MEMORY <= at < MEMORY_END else 0xFF

    def _put(self, at: int, value: int) -> None:
        if MEMORY <= at & 0xFFFF < MEMORY_END:
            self.memory[(at & 0xFFFF) - MEMORY] = value

    def _step(self, count: int) -> None:
        """The remote DMA goes on, and round the ring."""
        self.remote = self.remote + count & 0xFFFF
        if self.remote == self.stop_page * PAGE:
            self.remote = self.start_page * PAGE
        self.remote_count = max(0, self.remote_count - count)
        if not self.remote_count:
            self.interrupts |= REMOTE_DONE

    def _width(self, size: int) -> int:
        """Set to words, the card moves one even for a byte."""
        return 2 if size == 1 and self.data_configuration & WORDS else 1

    def read(self, offset: int, size: int = 1) -> int:
        if not 0x10 <= offset < 0x18:
            return super().read(offset, size)
        value = 0
        for i in range(size):
            if self.remote_count or not i:
                value |= self._get(self.remote) << 8 * i
                self._step(self._width(size))
        self.settle()
        return value & ONES[size]

    def write(self, offset: int, size: int, value: int) -> None:
        if not 0x10 <= offset < 0x18:
            super().write(offset, size, value)
            return
        for i in range(size):
            if self.remote_count:
                self._put(self.remote, value >> 8 * i & 0xFF)
                self._step(self._width(size))
        self.settle()

    # registers, in pages

    @on_read(0, pure=True)
    def read_command(self) -> int:
        return int(self.command)

    @on_write(0)
    def write_command(self, value: int) -> None:
        self.command = value
        if value & STOP:
            self.interrupts |= RESET
        elif value & START:
            self.interrupts &= ~RESET
        if value & (REMOTE_READ | REMOTE_WRITE) and not value & NO_REMOTE and not self.remote_count:
            self.interrupts |= REMOTE_DONE
        if value & TRANSMIT and not value & STOP:
            self._transmit()

    @on_read(1, count=15)
    def read_paged(self, n: int) -> int:
        page, n = self.command >> 6, n + 1
        if page == 1:
            return int(self.physical[n - 1] if n < 7 else self.current if n == 7 else self.multicast[n - 8])
        if page == 2:
            return int({1: self.start_page, 2: self.stop_page, 4: self.transmit_page, 12: self.receive_configuration,
                        13: self.transmit_configuration, 14: self.data_configuration, 15: self.mask}.get(n, 0))
        if page == 3:
            return 0
        return int({3: self.boundary, 4: self.transmit_status, 7: self.interrupts, 8: self.remote & 0xFF,
                    9: self.remote >> 8, 10: 0x50, 11: 0x43, 12: self.receive_status}.get(n, 0))

    @on_write(1, count=15)
    def write_paged(self, n: int, value: int) -> None:
        page, n = self.command >> 6, n + 1
        if page == 1:
            self._write_addresses(n, value)
        elif page == 0 and n in PLAIN:
            name, shift = PLAIN[n]
            kept = getattr(self, name) & ~(0xFF << shift) if name in WIDE else 0
            setattr(self, name, kept | value << shift)
        elif page == 0 and n == 7:
            self.interrupts &= ~(value & ~RESET)

    def _write_addresses(self, n: int, value: int) -> None:
        if n < 7:
            self.physical[n - 1] = value
        elif n == 7:
            self.current = value
        else:
            self.multicast[n - 8] = value

    @on_read(0x18, count=8)
    def reset_port(self, n: int) -> int:
        self.interrupts |= RESET
        self.command = STOP | NO_REMOTE
        return 0

    @on_write(0x18, count=8)
    def end_reset(self, n: int, value: int) -> None:
        """The other half of a reset pulse."""

    def settle(self) -> None:
        self.irq.set(self.interrupts & self.mask & 0x7F)


PLAIN = {1: ("start_page", 0), 2: ("stop_page", 0), 3: ("boundary", 0), 4: ("transmit_page", 0),
         5: ("transmit_count", 0), 6: ("transmit_count", 8), 8: ("remote", 0), 9: ("remote", 8),
         10: ("remote_count", 0), 11: ("remote_count", 8), 12: ("receive_configuration", 0),
         13: ("transmit_configuration", 0), 14: ("data_configuration", 0), 15: ("mask", 0)}
WIDE = {"transmit_count", "remote", "remote_count"}


def crc(data: bytes) -> int:
    """Ethernet's, most significant bit first, as the hash of multicast addresses wants it."""
    value = 0xFFFF_FFFF
    for byte in data:
        for n in range(8):
            carry = value >> 31 ^ byte >> n & 1
            value = value << 1 & 0xFFFF_FFFF ^ (0x04C1_1DB7 if carry else 0)
    return value
