"""The VGA's sequencer and graphics controller with the 256 KiB behind them, and its DAC, after the IBM VGA technical
reference (PS/2 Hardware Interface, "Video Subsystem").

Four planes of 64 KiB; what the processor sees of them is up to the mode registers. A word holds one address of all
planes, plane 0 in its lowest byte, so that what is done to four planes is done once. Games and consoles store here a
million times a second, and choose planes, bits and colours nearly as often: that is why this part is typed, and why
processors call it themselves. Not modelled: the page bit of odd/even addressing.
"""

from guesthouse.bits import rotr, select, u8, u32, u64
from guesthouse.system.chips.kit import REFUSED
from guesthouse.typed import Array, Struct, function, load, store

PLANE = 0x10000
MAP_MASK, MEMORY_MODE = 2, 4  # sequencer
SET_RESET, ENABLE_SET_RESET, COMPARE, ROTATE, READ_MAP, MODE, MISC, DONT_CARE, BIT_MASK = range(9)
CHAIN4, NOT_ODD_EVEN = 0x08, 0x04  # memory mode
READ_COMPARE, HOST_ODD_EVEN = 0x08, 0x10  # mode
NOBODY, PLANES, FRAMEBUFFER = range(3)  # who answers in the window A0000h-BFFFFh
BANK_SIZE = 0x10000
# Ports, from 3C4h on.
SEQUENCER_INDEX, SEQUENCER, PEL_MASK, DAC_READ, DAC_WRITE, DAC, GRAPHICS_INDEX, GRAPHICS = 0, 1, 2, 3, 4, 5, 10, 11
SEQUENCER_MASKS = 0x0E_3F_0F_3D_03  # the bits that registers have: register 0 in the lowest byte, none from 5 on
GRAPHICS_MASKS, LAST_GRAPHICS = 0x0F_0F_7B_03_1F_0F_0F_0F, 8
READING, WRITING = 3, 0  # DAC state


class DisplayMemory(Struct):
    """`bank` is the host address of what of the framebuffer is in the window while the VBE extension has it."""

    answers: u64
    bank: u64
    latches: u32
    sequencer: Array[u8, 8]
    graphics: Array[u8, 16]
    sequencer_index: u8
    graphics_index: u8
    pel_mask: u8
    dac_mask: u8  # 3Fh, or FFh where colours have eight bits
    dac_state: u8
    dac_read: u8
    dac_write: u8
    dac_part: u8
    palette: Array[u8, 768]
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


    # Ports.

    @function
    def port_read(self, offset: u64, size: u64) -> u64:
        value, n = u64(0), u64(0)
        if not self.ours(offset, size):
            return u64(REFUSED)
        while n < size:
            value = value | u64(self.read_port(offset + n)) << n * 8
            n += 1
        return value

    @function
    def port_write(self, offset: u64, size: u64, value: u64) -> u64:
        n = u64(0)
        if not self.ours(offset, size):
            return u64(REFUSED)
        while n < size:
            self.write_port(offset + n, u8(value >> n * 8))
            n += 1
        return u64(0)

    def ours(self, offset: u64, size: u64):
        return offset + size <= DAC + 1 or offset >= GRAPHICS_INDEX and offset + size <= GRAPHICS + 1

    @function
    def read_port(self, port: u64) -> u8:
        if port == SEQUENCER_INDEX:
            return self.sequencer_index
        if port == SEQUENCER:
            return self.peek(u8, SEQUENCER_AT + u64(self.sequencer_index))
        if port == GRAPHICS_INDEX:
            return self.graphics_index
        if port == GRAPHICS:
            return self.peek(u8, GRAPHICS_AT + u64(self.graphics_index))
        if port == PEL_MASK:
            return self.pel_mask
        if port == DAC_READ:
            return self.dac_state
        if port == DAC_WRITE:
            return self.dac_write
        value = self.peek(u8, self.in_palette(self.dac_read))
        self.dac_read += self.next_part()
        return value

    @function
    def write_port(self, port: u64, value: u8) -> None:
        if port == SEQUENCER_INDEX:
            self.sequencer_index = value & 7
        elif port == SEQUENCER:
            index = u64(self.sequencer_index)
            self.poke(u8, SEQUENCER_AT + index, value & u8(u64(SEQUENCER_MASKS) >> index * 8))
        elif port == GRAPHICS_INDEX:
            self.graphics_index = value & 15
        elif port == GRAPHICS:
            index = u64(self.graphics_index)
            mask = select(index == LAST_GRAPHICS, u8(0xFF), u8(u64(GRAPHICS_MASKS) >> index * 8))
            self.poke(u8, GRAPHICS_AT + index, value & mask)
        elif port == PEL_MASK:
            self.pel_mask = value
        elif port == DAC_READ:
            self.dac_read, self.dac_part, self.dac_state = value, u8(0), u8(READING)
        elif port == DAC_WRITE:
            self.dac_write, self.dac_part, self.dac_state = value, u8(0), u8(WRITING)
        else:
            self.poke(u8, self.in_palette(self.dac_write), value & self.dac_mask)
            self.dac_write += self.next_part()

    def in_palette(self, entry: u8):
        return PALETTE_AT + u64(entry) * 3 + u64(self.dac_part)

    def next_part(self):
        """Red, green, blue; 1 if that was the last, and the next entry's turn comes."""
        last = self.dac_part == 2
        self.dac_part = select(last, u8(0), self.dac_part + 1)
        return u8(last)


SEQUENCER_AT, GRAPHICS_AT, PALETTE_AT = (
    DisplayMemory.offset(name) for name in ("sequencer", "graphics", "palette"))


def in_all(byte: u8):
    """The same byte for each plane."""
    return u32(byte) * 0x01010101


def spread(nibble: u8):
    """A byte of ones for each plane whose bit is set. The product has bit n at bit 8n, besides others."""
    return (u32(nibble & 15) * 0x00204081 & 0x01010101) * 0xFF
