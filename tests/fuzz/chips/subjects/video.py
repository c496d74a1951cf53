"""The VGA with its VBE extension and its PCI function, beside a model of the planes that works bit by bit."""

from __future__ import annotations

from guesthouse.system.chips.pci.vga import VgaFunction
from guesthouse.system.chips.vga import Text, Vga
from tests.fuzz.chips.subject import Door, Subject, door, must, traffic

FRAME = 1 << 17
SEQUENCER, GRAPHICS = (0x03, 0x3D, 0x0F, 0x3F, 0x0E), (0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF)


class Planes:
    """Display memory as the technical reference draws it: of each bit of each plane, where it comes from."""

    def __init__(self, planes, sequencer, graphics):
        self.planes = [bytearray(plane) for plane in planes]
        self.sequencer, self.graphics, self.latches = sequencer, graphics, [0] * 4

    def address(self, offset):
        first, size = ((0, 0x20000), (0, 0x10000), (0x10000, 0x8000), (0x18000, 0x8000))[
            self.graphics[6] >> 2 & 3
        ]
        return offset - first if first <= offset < first + size else None

    def place(self, address):
        if self.sequencer[4] & 8:
            return address & 0xFFFC
        return address & 0xFFFE if self.graphics[6] & 2 else address & 0xFFFF

    def read(self, offset):
        address = self.address(offset)
        if address is None:
            return 0xFF
        self.latches = [plane[self.place(address)] for plane in self.planes]
        if self.sequencer[4] & 8:
            return self.latches[address & 3]
        if self.graphics[5] & 8:
            return sum(self.matches(bit) << bit for bit in range(8))
        plane = self.graphics[4] & 3
        if self.graphics[5] & 0x10:
            plane = plane & 2 | address & 1
        return self.latches[plane]

    def matches(self, bit):
        wanted = [n for n in range(4) if self.graphics[7] >> n & 1]
        return all(self.latches[n] >> bit & 1 == self.graphics[2] >> n & 1 for n in wanted)

    def write(self, offset, value):
        address = self.address(offset)
        if address is None:
            return
        for n in range(4):
            open_ = self.sequencer[2] >> n & 1
            if self.sequencer[4] & 8:
                open_ = open_ and address & 3 == n
            elif not self.sequencer[4] & 4:
                open_ = open_ and (address ^ n) & 1 == 0
            if open_:
                self.planes[n][self.place(address)] = sum(self.bit(n, bit, value) << bit for bit in range(8))

    def bit(self, n, bit, value):
        g, mode, latch = self.graphics, self.graphics[5] & 3, self.latches[n] >> bit & 1
        turned = value >> (bit + (g[3] & 7)) % 8 & 1
        if mode == 1:
            return latch
        if mode == 3:
            return g[0] >> n & 1 if g[8] >> bit & 1 and turned else latch
        if not g[8] >> bit & 1:
            return latch
        if mode == 2:
            new = value >> n & 1
        else:
            new = g[0] >> n & 1 if g[1] >> n & 1 else turned
        return (new, new & latch, new | latch, new ^ latch)[g[3] >> 3 & 3]


class Vgas(Subject):
    COVERS = (Vga, VgaFunction)
    LIMIT = 1 << 19
    WIDTHS = (1, 1, 2, 4)
    KEPT = frozenset()
    AFTER_RESET = {("dispi", 1, 2): 0xB0C5, ("ports", 0x16, 1): 0xFF}
    WRITABLE = {("ports", 0x16, 1): (0xFF, 0)}

    def build(self):
        return Vga(self.clock, frame=bytearray(FRAME))

    def open(self):
        chip = self.chip
        self.function = VgaFunction(chip)
        bar = lambda n: (lambda at, size: self.function.bar_read(n, at, size),  # noqa: E731
                         lambda at, size, value: self.function.bar_write(n, at, size, value))
        return {
            "ports": door(chip),
            "dispi": door(chip.dispi),
            "window": Door(chip.window_read, chip.window_write, 0x20000),
            "frame": Door(*bar(0), FRAME),
            "registers": Door(*bar(2), 0x1000),
            "pci": door(self.function),
        }

    def adopt(self, other):
        self.chip.frame[:] = other.chip.frame
        self.function.restore(other.function.save())

    def check(self):
        chip, dispi = self.chip, self.chip.dispi
        must(
            len(chip.frame) == FRAME and all(len(plane) == 0x10000 for plane in chip.planes.planes),
            "memory has grown",
        )
        must(len(chip.palette) == 768 and max(chip.planes.latches) < 256, "the palette")
        must(
            not dispi.enabled or dispi.start + dispi.pitch * dispi.registers[2] <= FRAME,
            "a picture beyond the memory",
        )
        must(all(0 <= value <= 0xFFFF for value in dispi.registers), "a register of the extension")
        if self.rng.random() < 0.3:
            self.looks()

    def looks(self):
        screen = self.chip.screen()
        if isinstance(screen, Text):
            must(len(screen.cells) == 2 * screen.columns * screen.rows, "cells")
            if screen.columns * screen.rows > 4000:
                return
            screen = screen.draw()
        must(len(screen.rgb) == 3 * screen.width * screen.height, "pixels")

    def at(self, port, index, value):
        """Through an index register."""
        self.write(port, index, of="ports")
        self.write(port + 1, value, of="ports")

    def disabled(self):
        self.write(0, 4, 2, "dispi")
        self.write(1, 0, 2, "dispi")

    @traffic
    def draws(self):
        """Registers at random, then bytes; planes, latches and answers as the model has them."""
        rng, chip = self.rng, self.chip
        self.disabled()
        self.write(0x12, 0x67, of="ports")
        for port, masks in ((0x14, SEQUENCER), (0x1E, GRAPHICS)):
            for index, mask in enumerate(masks):
                if index or port != 0x14:
                    plain = {(0x14, 2): 15, (0x1E, 8): 0xFF}.get((port, index), 0)
                    self.at(port, index, rng.randrange(256) if rng.random() < 0.6 else plain)
                    must(self.read(port + 1, of="ports") & ~mask == 0, "bits that the register does not have")
        base = rng.choice((0, 0x8000, 0x10000, 0x17FFC, 0x18000, 0xFFFC))
        model = Planes(chip.planes.planes, list(chip.planes.sequencer), list(chip.planes.graphics))
        model.latches = list(chip.planes.latches)
        for _ in range(rng.randrange(4, 20)):
            offset, value = base + rng.randrange(12), rng.randrange(256)
            if rng.random() < 0.5:
                expected = model.read(offset)
                must(self.read(offset, 1, "window") == expected, "byte", hex(offset))
            else:
                model.write(offset, value)
                self.write(offset, value, 1, "window")
        must(model.planes == chip.planes.planes and model.latches == chip.planes.latches, "the planes")

    @traffic
    def indexed_registers(self):
        rng, value = self.rng, self.value(1)
        self.write(0x12, 0x67, of="ports")
        for port, masks in ((0x14, SEQUENCER), (0x1E, GRAPHICS)):
            index = rng.randrange(len(masks))
            self.at(port, index, value)
            must(
                self.read(port, of="ports") == index
                and self.read(port + 1, of="ports") == value & masks[index],
                "index",
                index,
            )
        index, high = rng.randrange(0x19), rng.choice((0x14, 0x44)) - 0x10
        self.at(0x24, 0x11, 0)
        self.at(0x24, index, value)
        must(
            self.read(0x25, of="ports") == value and self.read(0x05, of="ports") == 0xFF, "CRTC", index, high
        )
        self.at(0x24, 0x11, 0x80)
        for index in (rng.randrange(7), 7):
            self.write(0x24, index, of="ports")
            before = self.read(0x25, of="ports")
            self.write(0x25, value, of="ports")
            kept = before & ~0x10 | value & 0x10 if index == 7 else before
            must(self.read(0x25, of="ports") == kept, "protected CRTC", index)
        self.write(0x12, 0x66, of="ports")
        must(self.read(0x1C, of="ports") == 0x66 and self.read(0x24, of="ports") == 0xFF, "monochrome")
        must(self.read(0x04, of="ports") == 7, "monochrome")

    @traffic
    def attributes(self):
        rng, value, index = self.rng, self.value(1), self.rng.randrange(0x15)
        self.write(0x12, 0x67, of="ports")
        self.read(0x2A, of="ports")
        self.write(0x10, index, of="ports")
        self.write(0x10, value, of="ports")
        self.write(0x10, index | rng.choice((0, 0x20)), of="ports")
        mask = 0x3F if index < 16 or index == 0x12 else 0xFF
        must(self.read(0x11, of="ports") == value & mask, "attribute", index)
        if self.chip.attribute_index & 0x20 and index < 16:
            self.write(0x10, value ^ 0xFF, of="ports")
            must(self.read(0x11, of="ports") == value & mask, "a palette that is shown is closed")
        self.read(0x2A, of="ports")
        self.write(0x10, 0x20, of="ports")

    @traffic
    def palette(self):
        """Three parts of each colour, one colour after the other; six bits of each unless there are eight."""
        rng = self.rng
        self.disabled()
        first, count = rng.choice((rng.randrange(256), 255, 254)), rng.randrange(1, 6)
        data = rng.randbytes(3 * count)
        self.write(0x18, first, of="ports")
        must(self.read(0x17, of="ports") == 0, "the DAC's state")
        for byte in data:
            self.write(0x19, byte, of="ports")
        self.write(0x17, first, of="ports")
        must(self.read(0x17, of="ports") == 3, "the DAC's state")
        must(
            [self.read(0x19, of="ports") for _ in data] == [byte & 0x3F for byte in data],
            "colours from",
            first,
        )

    @traffic
    def retraces(self):
        """In a BIOS's timing a frame is 14.3 ms (70 Hz), of which the picture is 400 of 449 lines."""
        self.write(0x12, 0x67, of="ports")
        self.at(0x14, 1, 0)
        self.at(0x24, 0x11, 0)
        for index, value in (
            (0, 0x5F),
            (1, 0x4F),
            (6, 0xBF),
            (7, 0x1F),
            (0x10, 0x9C),
            (0x11, 0x0E),
            (0x12, 0x8F),
        ):
            self.at(0x24, index, value)
        line = 900 * 1_000_000_000 // 28_322_000
        now = self.clock.now()
        self.pass_time(-now % (line * 449))
        must(self.read(0x2A, of="ports") & 9 == 0, "the beam at the top")
        self.pass_time(line - 1000)
        must(self.read(0x2A, of="ports") & 9 == 1, "the beam at the end of a line")
        self.pass_time(line * 405 - line + 2000)
        must(self.read(0x2A, of="ports") & 9 == 1, "the beam below the picture")
        self.pass_time(line * 8)
        must(self.read(0x2A, of="ports") & 9 == 9, "the beam on its way back")
        self.pass_time(line * 10)
        must(self.read(0x2A, of="ports") & 9 == 1, "the beam before the top")

    def dispi(self, index, value=None):
        self.write(0, index, 2, "dispi")
        if value is not None:
            self.write(1, value, 2, "dispi")
        return self.read(1, 2, "dispi")

    @traffic
    def extends(self):
        """A mode that fits is taken, one that does not is not; the bank shows the framebuffer's parts."""
        rng = self.rng
        self.dispi(4, 0)
        x, y, depth = (
            rng.choice((64, 320, 2560, 100)),
            rng.choice((50, 100, 1600)),
            rng.choice((8, 15, 16, 24, 32)),
        )
        must([self.dispi(n, v) for n, v in ((1, x), (2, y), (3, depth))] == [x, y, depth], "what was chosen")
        must(
            [self.dispi(1, 2561), self.dispi(2, 1601), self.dispi(3, 7)] == [x, y, depth],
            "what does not exist",
        )
        fits = x * y * (depth + 7 >> 3) <= FRAME
        must(self.dispi(4, 0x41) == (0x41 if fits else 0x40), "enabled", x, y, depth)
        must(self.dispi(10) == FRAME >> 16, "the memory")
        if fits:
            must(
                self.dispi(1, 128) == x and self.dispi(6) == x and self.dispi(8) == self.dispi(9) == 0,
                "while enabled",
            )
            must(not any(self.chip.frame[:x * y * (depth + 7 >> 3)]), "it is not cleared")
            bank, at, value = rng.randrange(2), rng.randrange(0xFFF0), self.value(4)
            must(self.dispi(5, bank) == bank, "the bank")
            self.write(at, value, 4, "window")
            must(self.read(bank * 0x10000 + at, 4, "frame") == value, "the bank's window")
            must(self.read(0x10000, 4, "window") == 0xFFFF_FFFF, "behind the bank's window")
            must(self.read(0x506, 2, "registers") == depth, "the extension's registers as memory")
            self.dispi(9, rng.choice((0, 10, 0xFFFF, rng.randrange(FRAME // x))))
            self.check()
            self.looks()
        must(self.dispi(4, 3) & 2 and [self.dispi(n) for n in (1, 2, 3)] == [2560, 1600, 32], "capabilities")
        must(
            self.dispi(0, 0xB0C2) == 0xB0C2
            and self.dispi(0, 0x1234) == 0xB0C2
            and self.dispi(0, 0xB0C5) == 0xB0C5,
            "ID",
        )
        self.dispi(4, 0)

    @traffic
    def frame_ends(self):
        at = FRAME - self.rng.randrange(1, 5)
        self.write(at, 0x1234_5678, 4, "frame")
        must((self.read(at, 4, "frame") == 0xFFFF_FFFF) == (at > FRAME - 4), "the framebuffer's end")


SUBJECTS = {"vga": Vgas}
