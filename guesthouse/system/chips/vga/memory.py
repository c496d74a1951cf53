"""The VGA's sequencer and graphics controller with the 256 KiB behind them, after the IBM VGA technical reference
(PS/2 Hardware Interface, "Video Subsystem").

Four planes of 64 KiB; what the processor sees of them is up to the mode registers. A word holds one address of all
planes, plane 0 in its lowest byte, so that what is done to four planes is done once. Games and consoles store here a
million times a second: that is why this part is typed, and why processors call it themselves (DisplayMemory.read and
write). Not modelled: the page bit of odd/even addressing.
"""

from guesthouse.bits import rotr, select, u8, u32, u64
from guesthouse.typed import Array, Struct, function, load, store

PLANE = 0x10000
MAP_MASK, MEMORY_MODE = 2, 4  # sequencer
SET_RESET, ENABLE_SET_RESET, COMPARE, ROTATE, READ_MAP, MODE, MISC, DONT_CARE, BIT_MASK = range(9)
CHAIN4, NOT_ODD_EVEN = 0x08, 0x04  # memory mode
READ_COMPARE, HOST_ODD_EVEN = 0x08, 0x10  # mode
NOBODY, PLANES, FRAMEBUFFER = range(3)  # who answers in the window A0000h-BFFFFh
BANK_SIZE = 0x10000


class DisplayMemory(Struct):
    """`bank` is the host address of what of the framebuffer is in the window while the VBE extension has it."""

    answers: u64
    bank: u64
    latches: u32
    sequencer: Array[u8, 8]
    graphics: Array[u8, 16]
    planes: Array[u32, PLANE]

    @function
    def read(self, offset: u64, size: u64) -> u64:
        """`size` bytes, 8 at most, at an offset in the window."""
        value, n = u64(0), u64(0)
        while n < size:
            value = value | u64(self.read_byte(offset + n)) << n * 8
            n += 1
        return value

    @function
    def write(self, offset: u64, size: u64, value: u64) -> u64:
        n = u64(0)
        while n < size:
            self.write_byte(offset + n, u8(value >> n * 8))
            n += 1
        return u64(0)

    def read_byte(self, offset: u64):
        if self.answers == PLANES:
            return self.read_planes(self.within(offset))
        if self.answers == FRAMEBUFFER and offset < BANK_SIZE:
            return load(u8, self.bank + offset)
        return u8(0xFF)

    def write_byte(self, offset: u64, value: u8) -> None:
        if self.answers == PLANES:
            self.write_planes(self.within(offset), value)
        elif self.answers == FRAMEBUFFER and offset < BANK_SIZE:
            store(u8, self.bank + offset, value)

    def within(self, offset: u64):
        """The address in display memory, or one beyond it: in no part that is mapped."""
        part = self.graphics[MISC] >> 2 & 3
        start = select(part < 2, u64(0), select(part == 2, u64(0x10000), u64(0x18000)))
        size = select(part == 0, u64(0x20000), select(part == 1, u64(0x10000), u64(0x8000)))
        return select(offset - start < size, offset - start, ~u64(0))

    def place(self, address: u64):
        """The host address of the word of all planes."""
        mask = select(self.graphics[MISC] & 2 != 0, u64(0xFFFE), u64(0xFFFF))
        mask = select(self.sequencer[MEMORY_MODE] & CHAIN4 != 0, u64(0xFFFC), mask)
        return self.planes.address + (address & mask) * 4

    @function
    def read_planes(self, address: u64) -> u8:
        if address == ~u64(0):
            return u8(0xFF)
        latches = load(u32, self.place(address))
        self.latches = latches
        if self.sequencer[MEMORY_MODE] & CHAIN4 != 0:
            return u8(latches >> u32(address & 3) * 8)
        mode, plane = self.graphics[MODE], u32(self.graphics[READ_MAP] & 3)
        if mode & READ_COMPARE != 0:
            differ = (latches ^ spread(self.graphics[COMPARE])) & spread(self.graphics[DONT_CARE])
            differ = differ | differ >> 16
            return ~u8(differ | differ >> 8)
        if mode & HOST_ODD_EVEN != 0:
            plane = plane & 2 | u32(address & 1)
        return u8(latches >> plane * 8)

    @function
    def write_planes(self, address: u64, value: u8) -> None:
        if address == ~u64(0):
            return
        mode, chosen = self.sequencer[MEMORY_MODE], self.sequencer[MAP_MASK]
        if mode & CHAIN4 != 0:
            chosen = chosen & u8(1) << u8(address & 3)
        elif mode & NOT_ODD_EVEN == 0:
            chosen = chosen & select(address & 1 != 0, u8(0xA), u8(0x5))
        data, at = self.data(value), self.place(address)
        for n in range(4):
            if chosen >> n & 1 != 0:
                store(u8, at + n, u8(data >> 8 * n))

    def data(self, value: u8):
        """What the write mode makes of a byte: one for each plane."""
        graphics, latches = self.graphics, self.latches
        mode, mask = graphics[MODE] & 3, graphics[BIT_MASK]
        turned = rotr(value, graphics[ROTATE] & 7)
        fixed = spread(graphics[SET_RESET])
        if mode == 1:
            data, mask = latches, u8(0xFF)
        elif mode == 3:
            data, mask = fixed, mask & turned
        elif mode == 2:
            data = self.combined(spread(value))
        else:
            enabled = spread(graphics[ENABLE_SET_RESET])
            data = self.combined(fixed & enabled | in_all(turned) & ~enabled)
        return data & in_all(mask) | latches & ~in_all(mask)

    def combined(self, data: u32):
        how, latches = self.graphics[ROTATE] >> 3 & 3, self.latches
        if how == 1:
            data = data & latches
        elif how == 2:
            data = data | latches
        elif how == 3:
            data = data ^ latches
        return data


def in_all(byte: u8):
    """The same byte for each plane."""
    return u32(byte) * 0x01010101


def spread(nibble: u8):
    """A byte of ones for each plane whose bit is set. The product has bit n at bit 8n, besides others."""
    return (u32(nibble & 15) * 0x00204081 & 0x01010101) * 0xFF
