"""The registers of the 82540EM gigabit controller, its two rings and its PHY (88E1000); after Intel's PCI/PCI-X Family
of Gigabit Ethernet Controllers Software Developer's Manual (317453), chapters 3 and 13.

`send` takes the frames; without one the link is down. Not modelled: TCP segmentation and checksums by the
controller, delayed interrupts, VLAN filters, statistics (they read as 0), wake-up.
"""

from __future__ import annotations

import struct
from typing import Callable, Protocol

from guesthouse.system.chips.e1000.eeprom import Eeprom
from guesthouse.system.chips.kit import Chip, Field, Register, Stateful, on_read, on_write

FULL_DUPLEX, LINK_UP, SPEED_1000 = 0x01, 0x02, 0x80  # status
RESET, PHY_RESET = 1 << 26, 1 << 31  # control
SENT, LINK_CHANGED, OVERRUN, RECEIVED = 1 << 0, 1 << 2, 1 << 6, 1 << 7  # causes
RECEIVE_ON, ALL_UNICAST, ALL_MULTICAST, BROADCAST, STRIP_CRC = 1 << 1, 1 << 3, 1 << 4, 1 << 15, 1 << 26
TRANSMIT_ON = 1 << 1
END_OF_PACKET, REPORT, EXTENDED, DONE = 0x01, 0x08, 0x20, 0x01  # command and status of a descriptor
READY, PHY_ERROR, PHY_WRITE, PHY_READ = 1 << 28, 1 << 30, 1, 2  # MDIC
DESCRIPTOR, LEAST, MOST = 16, 60, 16_384
ADDRESSES, VALID = 16, 1 << 31
RING_WRITABLE = {"base": 0xFFFF_FFF0, "length": 0xF_FF80}
PHY_RESET_VALUES = {0: 0x1140, 2: 0x0141, 3: 0x0C20, 4: 0x01E1, 9: 0x0E00, 16: 0x0360, 20: 0x0D60}
PHY_WRITABLE = (0, 4, 9, 16, 18, 20, 29, 30)
BROADCAST_ADDRESS = b"\xFF" * 6


class Memory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> object: ...


class E1000(Chip):
    SIZE, BUS = 0x2_0000, 4
    control = Field()
    mdic = Field(READY)
    causes = Field()
    mask = Field()
    phy = Field([0] * 32)
    collected = Field(bytearray())  # of a frame whose last descriptor has not come
    extended_control = Register(0x18, width=32)
    throttle = Register(0xC4, width=32)
    receive_control = Register(0x100, width=32)
    transmit_control = Field()
    gap = Register(0x410, width=32)
    leds = Register(0xE00, width=32)
    buffers = Register(0x1000, width=32, reset=0x0010_0030)
    receive_base = Register(0x2800, width=32, writable=RING_WRITABLE["base"])
    receive_base_high = Register(0x2804, width=32)
    receive_length = Register(0x2808, width=32, writable=RING_WRITABLE["length"])
    receive_head = Register(0x2810, width=32, writable=0xFFFF)
    receive_tail = Register(0x2818, width=32, writable=0xFFFF)
    receive_delay = Register(0x2820, width=32)
    transmit_base = Register(0x3800, width=32, writable=RING_WRITABLE["base"])
    transmit_base_high = Register(0x3804, width=32)
    transmit_length = Register(0x3808, width=32, writable=RING_WRITABLE["length"])
    transmit_head = Register(0x3810, width=32, writable=0xFFFF)
    transmit_tail = Field()
    transmit_delay = Register(0x3820, width=32)
    multicast = Register(0x5200, width=32, count=128)
    addresses = Register(0x5400, width=32, count=2 * ADDRESSES)
    vlans = Register(0x5600, width=32, count=128)

    def __init__(self, memory: Memory, address: bytes, on_interrupt: Callable[[bool], object],
                 send: Callable[[bytes], object] | None = None, *, refused: type[Exception]) -> None:
        self.memory, self.refused, self.on_interrupt, self.send = memory, refused, on_interrupt, send
        self.address, self.eeprom = address, Eeprom(address)
        super().__init__()

    def parts(self) -> dict[str, Stateful]:
        return {"eeprom": self.eeprom}

    def clear(self) -> None:
        super().clear()
        low, high = struct.unpack("<IH", self.address)
        self.addresses[0:2] = low, high | VALID
        self.phy = [PHY_RESET_VALUES.get(n, 0) for n in range(32)]

    def odd_read(self, offset: int, size: int) -> int:
        return 0 if size == 4 else super().odd_read(offset, size)

    # control, EEPROM, PHY

    @on_read(0x00, width=32, pure=True)
    @on_read(0x04, width=32, pure=True)
    def read_control(self) -> int:
        return int(self.control)

    @on_write(0x00, width=32)
    @on_write(0x04, width=32)
    def write_control(self, value: int) -> None:
        if value & RESET:
            self.clear()
        else:
            self.control = value & ~(RESET | PHY_RESET)
            self.causes |= LINK_CHANGED if self.send is not None else 0

    @on_read(0x08, width=32, pure=True)
    def read_status(self) -> int:
        return FULL_DUPLEX | SPEED_1000 | (LINK_UP if self.send is not None else 0)

    @on_read(0x10, width=32, pure=True)
    def read_eeprom(self) -> int:
        return self.eeprom.get()

    @on_write(0x10, width=32)
    def write_eeprom(self, value: int) -> None:
        self.eeprom.put(value)

    eeprom_read = Field()

    @on_read(0x14, width=32, pure=True)
    def read_eeprom_word(self) -> int:
        return int(self.eeprom_read)

    @on_write(0x14, width=32)
    def ask_eeprom(self, value: int) -> None:
        if value & 1:
            word = value >> 8 & 0x3F
            self.eeprom_read = self.eeprom.words[word] << 16 | word << 8 | 0x10

    @on_read(0x20, width=32, pure=True)
    def read_mdic(self) -> int:
        return int(self.mdic)

    @on_write(0x20, width=32)
    def write_mdic(self, value: int) -> None:
        n, what = value >> 16 & 0x1F, value >> 26 & 3
        if value >> 21 & 0x1F != 1:
            self.mdic = value & 0x3FFF_FFFF | READY | PHY_ERROR
        elif what == PHY_READ:
            self.mdic = value & 0x0FFF_0000 | READY | self._phy(n)
        else:
            self.mdic = value & 0x0FFF_FFFF | READY
            if what == PHY_WRITE and n in PHY_WRITABLE:
                self.phy[n] = value & 0x7DFF if n == 0 else value & 0xFFFF  # reset and restart clear themselves

    def _phy(self, n: int) -> int:
        up = self.send is not None
        return int({1: 0x7949 | (0x24 if up else 0), 5: 0x45E1 if up else 0, 10: 0x3C00 if up else 0,
                17: 0xAC08 if up else 0}.get(n, self.phy[n]))

    # interrupts

    @on_read(0xC0, width=32)
    def take_causes(self) -> int:
        found, self.causes = self.causes, 0
        return int(found)

    @on_write(0xC0, width=32)
    def clear_causes(self, value: int) -> None:
        self.causes &= ~value

    @on_write(0xC8, width=32)
    def set_causes(self, value: int) -> None:
        self.causes |= value & 0x1_FFFF

    @on_read(0xD0, width=32, pure=True)
    def read_mask(self) -> int:
        return int(self.mask)

    @on_write(0xD0, width=32)
    def set_mask(self, value: int) -> None:
        self.mask |= value & 0x1_FFFF

    @on_write(0xD8, width=32)
    def clear_mask(self, value: int) -> None:
        self.mask &= ~value

    def settle(self) -> None:
        self.on_interrupt(bool(self.causes & self.mask))

    # sending

    @on_read(0x400, width=32, pure=True)
    def read_transmit_control(self) -> int:
        return int(self.transmit_control)

    @on_write(0x400, width=32)
    def write_transmit_control(self, value: int) -> None:
        self.transmit_control = value
        self._transmit()

    @on_read(0x3818, width=32, pure=True)
    def read_transmit_tail(self) -> int:
        return int(self.transmit_tail)

    @on_write(0x3818, width=32)
    def write_transmit_tail(self, value: int) -> None:
        self.transmit_tail = value & 0xFFFF
        self._transmit()

    def _transmit(self) -> None:
        """All descriptors up to the tail, once round the ring at most."""
        count = self.transmit_length // DESCRIPTOR
        if not self.transmit_control & TRANSMIT_ON or not self.transmit_head < count > self.transmit_tail:
            return
        try:
            while self.transmit_head != self.transmit_tail:
                self._send_one((self.transmit_base_high << 32 | self.transmit_base) + DESCRIPTOR * self.transmit_head)
                self.transmit_head = (self.transmit_head + 1) % count
        except self.refused:
            self.collected = bytearray()
        self.causes |= SENT

    def _send_one(self, at: int) -> None:
        """3.3: in the legacy form or the extended one, whose contexts carry no data."""
        raw = self.memory.read(at, DESCRIPTOR)
        address, word = struct.unpack("<QI", raw[:12])
        command, context = raw[11], raw[11] & EXTENDED and not word >> 20 & 0xF
        if not context:
            length = word & (0xF_FFFF if command & EXTENDED else 0xFFFF)
            room = MOST - len(self.collected)
            self.collected += self.memory.read(address, min(length, room))
            if command & END_OF_PACKET:
                frame, self.collected = bytes(self.collected), bytearray()
                if self.send is not None:
                    self.send(frame)
        if command & REPORT:
            self.memory.write(at + 12, bytes((raw[12] | DONE,)))

    # receiving

    def receive(self, frame: bytes) -> bool:
        """A frame goes into the next buffers; says whether it was taken."""
        count, size = self.receive_length // DESCRIPTOR, self._buffer_size()
        if not self.receive_control & RECEIVE_ON or not self._wanted(frame) or len(frame) > MOST:
            return False
        frame = frame.ljust(LEAST, b"\0") + (b"" if self.receive_control & STRIP_CRC else bytes(4))
        free = (self.receive_tail - self.receive_head) % count if count else 0
        if free * size < len(frame) or not self.receive_head < count > self.receive_tail:
            self.causes |= OVERRUN
            self.settle()
            return False
        try:
            for done in range(0, len(frame), size):
                self._fill(frame[done:done + size], done + size >= len(frame))
                self.receive_head = (self.receive_head + 1) % count
        except self.refused:
            return False
        self.causes |= RECEIVED
        self.settle()
        return True

    def _fill(self, piece: bytes, last: bool) -> None:
        at = (self.receive_base_high << 32 | self.receive_base) + DESCRIPTOR * self.receive_head
        self.memory.write(int.from_bytes(self.memory.read(at, 8), "little"), piece)
        self.memory.write(at + 8, struct.pack("<HHBBH", len(piece), 0, DONE | (2 if last else 0), 0, 0))

    def _buffer_size(self) -> int:
        size = 2048 >> (self.receive_control >> 16 & 3)
        return int(size * 16 if self.receive_control >> 25 & 1 and size < 2048 else size)

    def _wanted(self, frame: bytes) -> bool:
        to, accepts = frame[:6], self.receive_control
        if to == BROADCAST_ADDRESS:
            return bool(accepts & BROADCAST)
        if len(to) < 6:
            return False
        if accepts & (ALL_MULTICAST if to[0] & 1 else ALL_UNICAST):
            return True
        low, high = struct.unpack("<IH", to)
        if any(self.addresses[2 * n] == low and self.addresses[2 * n + 1] & (VALID | 0xFFFF) == VALID | high
               for n in range(ADDRESSES)):
            return True
        bit = (to[4] | to[5] << 8) >> 4 - (accepts >> 12 & 3) & 0xFFF
        return bool(to[0] & 1 and self.multicast[bit >> 5] >> (bit & 31) & 1)
