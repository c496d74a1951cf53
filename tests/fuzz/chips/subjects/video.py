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
        if self.rng.random() < 0.05:
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

    # what is to be seen

    def mode(self, sequencer, graphics, crtc, attributes):
        """A whole mode, register by register; the picture is on."""
        self.disabled()
        self.write(0x12, 0x67, of="ports")
        self.write(0x16, 0xFF, of="ports")
        for index, value in sequencer.items():
            self.at(0x14, index, value)
        for index, value in ({0: 0, 1: 0, 2: 0, 3: 0, 7: 0, 8: 0xFF} | graphics).items():
            self.at(0x1E, index, value)
        self.at(0x24, 0x11, 0)
        for index, value in ({7: 0x10, 8: 0, 0x18: 0xFF} | crtc).items():
            self.at(0x24, index, value)
        self.read(0x2A, of="ports")
        for index, value in attributes.items():
            self.write(0x10, index, of="ports")
            self.write(0x10, value, of="ports")
        self.write(0x10, 0x20, of="ports")
        for plane in self.chip.planes.planes:
            plane[:0x4000] = self.rng.randbytes(0x4000)

    def colour(self, value):
        """What the DAC makes of one of its entries: six bits of each part, drawn out to eight."""
        entry = value & self.chip.pel_mask
        wide = self.chip.dispi.registers[4] & 0x20
        parts = self.chip.palette[3 * entry:3 * entry + 3]
        return bytes(part if wide else (part & 63) * 255 // 63 for part in parts)

    def attributed(self, value):
        """The DAC's entry of one of sixteen attributes: palette, colour plane enable, colour select."""
        a = self.chip.attributes
        entry = a[value & a[0x12] & 15] & 0x3F
        if a[0x10] & 0x80:
            entry = entry & 15 | (a[0x14] & 3) << 4
        return entry | (a[0x14] >> 2 & 3) << 6

    def any_attributes(self, mode):
        rng = self.rng
        return {n: rng.randrange(64) for n in range(16)} | {
            0x10: mode | rng.choice((0, 0x80)),
            0x12: rng.choice((15, 15, 7)),
            0x13: 0,
            0x14: rng.randrange(16),
        }

    def samples(self, screen, expected):
        for _ in range(40):
            x, y = self.rng.randrange(screen.width), self.rng.randrange(screen.height)
            at = 3 * (y * screen.width + x)
            must(screen.rgb[at:at + 3] == expected(x, y), "the pixel", x, y)

    @traffic
    def shows_sixteen_colours(self):
        start, pan = self.rng.randrange(0x2000), self.rng.randrange(8)
        double = self.rng.choice((0, 0, 1))
        self.mode(
            {1: 1, 2: 15, 4: 6},
            {5: 0, 6: 5},
            {
                1: 0x4F,
                9: double,
                0x0C: start >> 8,
                0x0D: start & 0xFF,
                0x12: 0x1F,
                0x13: 0x28,
                0x14: 0,
                0x17: 0xE3,
            },
            self.any_attributes(1) | {0x13: pan},
        )
        planes, screen = self.chip.planes.planes, self.chip.screen()
        must((screen.width, screen.height) == (640, 32 >> double), "the size")

        def pixel(x, y):
            byte, bit = start + 80 * y + (x + pan) // 8, 7 - (x + pan) % 8
            return self.colour(self.attributed(sum((planes[n][byte] >> bit & 1) << n for n in range(4))))

        self.samples(screen, pixel)

    @traffic
    def shows_256_colours(self):
        """Mode 13h, and without chaining; below the line compare register's line it begins at 0."""
        start, unchained = self.rng.randrange(0xC00), self.rng.random() < 0.5
        split = self.rng.choice((0xFF, 20))
        apart = 1 if unchained else 4
        self.mode({1: 1, 2: 15, 4: 6 if unchained else 14}, {5: 0x40, 6: 5}, {
            1: 0x4F, 9: 1, 0x0C: start >> 8, 0x0D: start & 0xFF,
            0x12: 0x3F, 0x13: 0x28, 0x18: split, 7: 0x10 if split == 0xFF else 0,
            0x14: 0 if unchained else 0x40, 0x17: 0xE3 if unchained else 0xA3}, self.any_attributes(0x41))
        planes, screen = self.chip.planes.planes, self.chip.screen()
        must((screen.width, screen.height) == (320, 32), "the size")

        def pixel(x, y):
            line = start + 80 * y if split == 0xFF or y <= split // 2 else 80 * (y - split // 2 - 1)
            return self.colour(planes[x & 3][(line + x // 4) * apart & 0xFFFF])

        self.samples(screen, pixel)

    @traffic
    def shows_text(self):
        """Characters and attributes where word addressing has them; the cursor; the font that is chosen."""
        rng = self.rng
        start, at, tall = rng.randrange(2000), rng.randrange(1300), rng.choice((7, 13, 15))
        fonts = rng.randrange(64)
        first, last = rng.randrange(16), rng.randrange(16)
        self.mode(
            {1: rng.randrange(2), 2: 3, 3: fonts, 4: 2},
            {5: 0x10, 6: 0x0E},
            {
                1: 0x4F,
                9: tall,
                0x0A: first,
                0x0B: last,
                0x0C: start >> 8,
                0x0D: start & 0xFF,
                0x0E: start + at >> 8,
                0x0F: start + at & 0xFF,
                0x12: 0x6F,
                7: 0x10,
                0x13: 0x28,
                0x14: 0,
                0x17: 0xA3,
            },
            self.any_attributes(8),
        )
        chip, screen = self.chip, self.chip.screen()
        planes, rows = chip.planes.planes, 112 // (tall + 1)
        must((screen.columns, screen.rows, screen.height) == (80, rows, tall + 1), "the size")
        for _ in range(30):
            x, y = rng.randrange(80), rng.randrange(rows)
            cell = screen.cells[2 * (80 * y + x):][:2]
            where = 2 * (start + 80 * y + x)
            must(cell == bytes((planes[0][where], planes[1][where])), "the character", x, y)
        shown = at < 80 * rows and first <= last
        cursor = screen.cursor
        must((cursor is not None) == shown, "the cursor", at)
        must(
            not shown
            or (cursor.column, cursor.row, cursor.first, cursor.last) == (at % 80, at // 80, first, last)
        )
        for n, (low, high) in enumerate(((0, 4), (2, 5))):
            number = fonts >> low & 3 | (fonts >> high & 1) << 2
            begin = (number & 3) * 0x4000 + (0x2000 if number & 4 else 0)
            must(screen.fonts[n] == planes[2][begin:begin + 0x2000], "font", n, number)
        value = rng.randrange(16)
        must(bytes(screen.palette[value]) == self.colour(self.attributed(value)), "the colour", value)
        must(
            screen.blink and screen.width == (8 if chip.planes.sequencer[1] & 1 else 9), "blinking, the width"
        )
        if rng.random() < 0.6:
            self.draws_cells(screen)

    def draws_cells(self, screen):
        """A few pixels of the drawn text; the ninth column repeats the eighth for C0h to DFh."""
        drawn = screen.draw()
        for _ in range(20):
            x, y = self.rng.randrange(80), self.rng.randrange(screen.rows)
            column, line = self.rng.randrange(screen.width), self.rng.randrange(screen.height)
            code, attribute = screen.cells[2 * (80 * y + x):][:2]
            bits = screen.fonts[attribute >> 3 & 1][32 * code + line]
            ink = bits >> 7 - column & 1 if column < 8 else bits & 1 and 0xC0 <= code < 0xE0
            cursor = screen.cursor
            if cursor and (cursor.column, cursor.row) == (x, y):
                ink = ink or cursor.first <= line <= cursor.last
            expected = screen.palette[attribute & 15 if ink else attribute >> 4 & 7]
            at = 3 * ((y * screen.height + line) * drawn.width + x * screen.width + column)
            must(drawn.rgb[at:at + 3] == bytes(expected), "a pixel of the character", hex(code))

    @traffic
    def shows_true_colours(self):
        rng = self.rng
        depth = rng.choice((8, 15, 16, 24, 32))
        size = depth + 7 >> 3
        self.disabled()
        for index, value in (
            (1, 64),
            (2, 48),
            (3, depth),
            (4, 0x41),
            (6, 80),
            (8, rng.randrange(16)),
            (9, rng.randrange(9)),
        ):
            self.dispi(index, value)
        self.chip.frame[:0x8000] = rng.randbytes(0x8000)
        registers, screen = self.chip.dispi.registers, self.chip.screen()
        must((screen.width, screen.height) == (64, 48), "the size")

        def pixel(x, y):
            at = ((y + registers[9]) * 80 + x + registers[8]) * size
            raw = int.from_bytes(self.chip.frame[at:at + size], "little")
            if depth == 8:
                return self.colour(raw)
            if depth > 16:
                return bytes((raw >> 16 & 0xFF, raw >> 8 & 0xFF, raw & 0xFF))
            green = depth - 10
            parts = (
                (raw >> 5 + green & 31, 31),
                (raw >> 5 & (1 << green) - 1, (1 << green) - 1),
                (raw & 31, 31),
            )
            return bytes(part * 255 // most for part, most in parts)

        self.samples(screen, pixel)
        self.disabled()

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
