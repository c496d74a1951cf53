"""Network cards: frames go out as the driver wrote them, and come in where it has room."""

from __future__ import annotations

import struct

from guesthouse.system.chips.e1000.eeprom import Eeprom
from guesthouse.system.chips.e1000.function import E1000Function
from guesthouse.system.chips.e1000.registers import E1000
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.ne2000 import Ne2000
from guesthouse.system.chips.pci.rtl8029 import Rtl8029
from tests.chips.virtio_driver import Refused
from tests.fuzz.chips.subject import Subject, Whole, door, must, traffic

ADDRESS = bytes.fromhex("525400123456")
RINGS, BUFFERS = 0x1000, 0x4000


class Ne2000s(Subject):
    COVERS = (Ne2000, Rtl8029)
    LIMIT = 20_000
    WIDTHS = (1, 1, 2, 4)

    def build(self):
        line = Line()
        self.card = Ne2000(line, ADDRESS, self.tell)
        self.function = Rtl8029(self.card, self.line())
        line.on_change = self.function.set_level
        return Whole(function=self.function, card=self.card)

    def open(self):
        return {"": door(self.card), "pci": door(self.function)}

    def poke(self):
        self.seen.append(self.card.receive(ADDRESS + self.rng.randbytes(self.rng.choice((0, 8, 60, 1508, 2000)))))

    def check(self):
        must(len(self.card.memory) == 0x4000 and len(self.card.physical) == 6, "its memory")

    def starts(self):
        self.write(4, 1, 2, "pci")
        for at, value in ((0, 0x21), (14, 0x48), (12, 0x04), (13, 0), (1, 0x46), (2, 0x80), (3, 0x46), (7, 0xFF),
                          (15, 0x3F)):
            self.write(at, value)
        self.write(0, 0x61)
        for n, byte in enumerate(ADDRESS):
            self.write(1 + n, byte)
        self.write(7, 0x47)
        self.write(0, 0x22)

    def remote(self, at, count, command):
        for register, value in ((8, at & 0xFF), (9, at >> 8), (10, count & 0xFF), (11, count >> 8), (0, command)):
            self.write(register, value)

    @traffic
    def sends(self):
        self.starts()
        frame = self.rng.randbytes(self.rng.randrange(60, 300))
        self.remote(0x4000, len(frame), 0x12)
        for byte in frame:
            self.write(0x10, byte)
        must(self.read(7) & 0x40, "the end of the remote DMA")
        for register, value in ((4, 0x40), (5, len(frame) & 0xFF), (6, len(frame) >> 8), (0, 0x26)):
            self.write(register, value)
        must(self.told == [frame] and self.read(7) & 2 and self.lines[0].high, "the frame", len(self.told))
        self.write(7, 0xFF)
        must(not self.lines[0].high, "the interrupt stays")
        self.told.clear()

    @traffic
    def receives_round_the_ring(self):
        self.starts()
        at = 0x47
        for _ in range(self.rng.randrange(1, 40)):
            frame = ADDRESS + self.rng.randbytes(self.rng.choice((54, 200, 1000)))
            must(self.card.receive(frame), "no room for a frame")
            self.remote(at << 8, 4, 0x0A)
            head = bytes(self.read(0x10) for _ in range(4))
            must(head[2] | head[3] << 8 == max(60, len(frame)) + 4 and head[0] == 1, "the header", head)
            self.remote((at << 8) + 4, 6, 0x0A)
            must(bytes(self.read(0x10) for _ in range(6)) == ADDRESS, "the frame")
            if head[1] < at:  # round the ring
                self.remote((at << 8) + 4, len(frame), 0x0A)
                must(bytes(self.read(0x10) for _ in frame) == frame, "the whole frame")
            at = head[1]
            self.write(3, at - 1 if at > 0x46 else 0x7F)

    @traffic
    def masks_interrupts(self):
        self.starts()
        self.write(15, 0)
        must(self.card.receive(ADDRESS + bytes(60)) and not self.lines[0].high, "a masked interrupt")
        self.write(15, 1)
        must(self.lines[0].high, "an interrupt when it is let")

    @traffic
    def keeps_a_page_of_the_ring_free(self):
        self.starts()
        taken = 0
        while self.card.receive(ADDRESS + bytes(200)):
            taken += 1
        must(taken == 0x80 - 0x46 - 2, "frames in the ring:", taken)

    @traffic
    def does_not_hear_others(self):
        self.starts()
        must(not self.card.receive(b"\x02" * 64), "a frame for somebody else")
        must(self.card.receive(b"\xFF" * 64), "a broadcast")


class E1000s(Subject):
    COVERS = (E1000, E1000Function, Eeprom)
    LIMIT = 60_000
    WIDTHS = (4,)

    def build(self):
        return E1000Function(self.memory, self.line(), ADDRESS, self.tell, refused=Refused)

    def open(self):
        return {"": door(self.chip.registers), "pci": door(self.chip)}

    def poke(self):
        self.seen.append(self.chip.receive(ADDRESS + self.rng.randbytes(self.rng.choice((0, 8, 60, 1508, 20_000)))))

    def starts(self):
        self.write(4, 6, 2, "pci")
        self.write(0, 1 << 26, 4)
        self.write(0xD0, 0xFFFF_FFFF, 4)
        for ring, on, control in ((0x2800, 0x0400_8002, 0x100), (0x3800, 2, 0x400)):
            self.write(ring, RINGS + (ring & 0x1000), 4)
            self.write(ring + 4, 0, 4)
            self.write(ring + 8, 128, 4)
            self.write(ring + 0x10, 0, 4)
            self.write(ring + 0x18, 0, 4)
            self.write(control, on, 4)
        self.read(0xC0, 4)

    @traffic
    def sends(self):
        self.starts()
        frame = self.rng.randbytes(self.rng.randrange(60, 1500))
        cut = self.rng.randrange(1, len(frame))
        self.memory.write(BUFFERS, frame)
        ring = RINGS + 0x1000
        self.memory.write(ring, struct.pack("<QHBBI", BUFFERS, cut, 0, 8, 0))
        self.memory.write(ring + 16, struct.pack("<QHBBI", BUFFERS + cut, len(frame) - cut, 0, 9, 0))
        self.told.clear()
        self.write(0x3818, 2, 4)
        must(self.told == [frame] and self.read(0x3810, 4) == 2, "the frame", self.told)
        must(self.memory.read(ring + 12, 1)[0] & 1 and self.memory.read(ring + 28, 1)[0] & 1, "not done")
        must(self.lines[0].high and self.read(0xC0, 4) & 1 and not self.lines[0].high, "the interrupt")
        self.told.clear()

    @traffic
    def receives(self):
        self.starts()
        self.memory.write(RINGS, struct.pack("<QQ", BUFFERS, 0) + struct.pack("<QQ", BUFFERS + 0x800, 0))
        self.write(0x2818, 1, 4)
        frame = ADDRESS + self.rng.randbytes(self.rng.randrange(54, 1500))
        must(self.chip.receive(frame) and not self.chip.receive(frame), "one buffer is there")
        must(self.memory.read(BUFFERS, len(frame)) == frame, "the frame")
        must(self.memory.read(RINGS + 8, 2) == len(frame).to_bytes(2, "little"), "the length")
        must(self.memory.read(RINGS + 12, 1) == b"\3" and self.read(0x2810, 4) == 1, "the descriptor")
        must(self.read(0xC0, 4) & 0xC0 == 0xC0, "received, and overrun")
        must(not self.chip.receive(b"\x02" * 64), "a frame for somebody else")

    @traffic
    def masks_interrupts(self):
        self.starts()
        self.write(0xD8, 0xFFFF_FFFF, 4)
        self.write(0xC8, 4, 4)
        must(not self.lines[0].high, "a masked interrupt")
        self.write(0xD0, 4, 4)
        must(self.lines[0].high, "an interrupt when it is let")

    @traffic
    def tells_its_address(self):
        """By Microwire, bit by bit, and by EERD."""
        self.write(0x10, 0x40, 4)
        self.write(0x10, 0x42, 4)
        for bit in f"110{1:06b}":
            data = 0x42 | 4 * int(bit)
            self.write(0x10, data, 4)
            self.write(0x10, data | 1, 4)
        value = 0
        for _ in range(16):
            self.write(0x10, 0x42, 4)
            self.write(0x10, 0x43, 4)
            value = value << 1 | self.read(0x10, 4) >> 3 & 1
        must(value.to_bytes(2, "little") == ADDRESS[2:4], "word 1 is", hex(value))
        self.write(0x14, 0x001, 4)
        must(self.read(0x14, 4) >> 16 == 0x5452, "EERD")
        self.write(0x20, 2 << 26 | 1 << 21 | 2 << 16, 4)
        must(self.read(0x20, 4) & 0x1000_FFFF == 0x1000_0141, "the PHY")

    @traffic
    def lies(self):
        self.starts()
        self.memory.write(RINGS + 0x1000, self.rng.randbytes(128))
        self.memory.write(RINGS, self.rng.randbytes(64))
        self.write(0x2818, self.rng.randrange(8), 4)
        self.write(0x3800, self.rng.choice((RINGS + 0x1000, 0xFFF0, 0xFFFF_FFF0)), 4)
        self.write(0x3818, self.rng.choice((1, 7, 8, 0xFFFF)), 4)
        self.chip.receive(ADDRESS + bytes(1000))
        self.told.clear()


SUBJECTS = {"ne2000": Ne2000s, "e1000": E1000s}
