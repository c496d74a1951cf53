"""The VGA's ports and windows: CRT controller and attribute controller, after the IBM VGA technical
reference (PS/2 Hardware Interface, "Video Subsystem").

Retrace is where the clock says that the beam is. What the registers mean for the picture is in screen.py. Not
modelled: the light pen, the feature connector, the sense of the monitor's switches.
"""

from __future__ import annotations

import ctypes

from guesthouse.clock import SECOND, Clock
from guesthouse.system.chips.kit import ONES, Chip, Field, Stateful, on_read, on_write
from guesthouse.system.chips.vga.dispi import BANK, BANK_SIZE, DAC8, ENABLE, Dispi
from guesthouse.system.chips.vga.memory import FRAMEBUFFER, GRAPHICS_INDEX, NOBODY, PLANES
from guesthouse.system.chips.vga.planes import Planes
from guesthouse.system.chips.vga.screen import Screen, see

FRAME = 16 << 20
DOT_CLOCKS = (25_175_000, 28_322_000, 25_175_000, 25_175_000)
COLOUR, RAM_ENABLE = 0x01, 0x02  # miscellaneous output
NOT_SHOWN, RETRACE = 0x01, 0x08  # input status 1
PORTS, PORT_COUNT = 0x14, 12  # 3C4h to 3CFh: sequencer, DAC, miscellaneous output, graphics controller
CRTC_COUNT, ATTRIBUTES = 0x19, 0x15
MONO, COLOURED = 0x04, 0x24  # where the CRT controller is


class Vga(Chip):
    SIZE, BUS = 0x30, 1
    misc = Field()
    feature = Field()
    crtc_index = Field()
    crtc = Field([0] * CRTC_COUNT)
    attribute_index = Field()
    attribute_data_next = Field(False)
    attributes = Field([0] * ATTRIBUTES)

    def __init__(self, clock: Clock, *, frame: bytearray | memoryview | None = None) -> None:
        """`frame` is the linear framebuffer; who gives it saves it."""
        self.clock = clock
        self.planes = Planes()
        self._hold(bytearray(FRAME) if frame is None else frame)
        self.dispi = Dispi(len(self.frame), self._clear_frame, self.settle)
        super().__init__()
        self.settle()

    def _hold(self, frame: bytearray | memoryview) -> None:
        self.frame = frame
        self._frame_at = ctypes.addressof(ctypes.c_char.from_buffer(frame))

    def keep_picture(self) -> None:
        """The framebuffer's memory goes away; the last picture can still be seen."""
        self._hold(bytearray(self.frame))
        self.settle()

    def parts(self) -> dict[str, Stateful]:
        return {"planes": self.planes, "dispi": self.dispi}

    def screen(self) -> Screen:
        """What is to be seen now."""
        return see(self)

    # windows

    def window_read(self, offset: int, size: int) -> int:
        return self.planes.read(offset, size)

    def window_write(self, offset: int, size: int, value: int) -> None:
        self.planes.write(offset, size, value)

    @property
    def pel_mask(self) -> int:
        return self.planes.pel_mask

    @property
    def palette(self) -> memoryview:
        return self.planes.palette

    def settle(self) -> None:
        """The window at A0000h is the framebuffer's while the VBE extension is on, else that of the planes."""
        self.planes.colour_bits(8 if self.dispi.registers[ENABLE] & DAC8 else 6)
        if self.dispi.enabled:
            self.planes.answer(FRAMEBUFFER, self._frame_at + self.dispi.registers[BANK] * BANK_SIZE)
        else:
            self.planes.answer(PLANES if self.misc & RAM_ENABLE else NOBODY)

    def frame_read(self, offset: int, size: int) -> int:
        if offset + size > len(self.frame):
            return ONES[size]
        return int.from_bytes(self.frame[offset:offset + size], "little")

    def frame_write(self, offset: int, size: int, value: int) -> None:
        if offset + size <= len(self.frame):
            self.frame[offset:offset + size] = (value & ONES[size]).to_bytes(size, "little")

    def _clear_frame(self, count: int) -> None:
        self.frame[:count] = bytes(count)

    # attribute controller

    @on_write(0x10)
    def write_attribute(self, value: int) -> None:
        """One port for index and data, by turns."""
        if not self.attribute_data_next:
            self.attribute_index = value & 0x3F
        elif (index := self.attribute_index & 0x1F) < ATTRIBUTES and (index > 15 or not self.attribute_index & 0x20):
            self.attributes[index] = value & (0x3F if index < 16 or index == 0x12 else 0xFF)
        self.attribute_data_next = not self.attribute_data_next

    @on_read(0x10, pure=True)
    def read_attribute_index(self) -> int:
        return int(self.attribute_index)

    @on_read(0x11, pure=True)
    def read_attribute(self) -> int:
        index = self.attribute_index & 0x1F
        return int(self.attributes[index]) if index < ATTRIBUTES else 0

    # miscellaneous output, input status

    @on_write(0x12)
    def write_misc(self, value: int) -> None:
        self.misc = value

    @on_read(0x1C, pure=True)
    def read_misc(self) -> int:
        return int(self.misc)

    @on_read(0x12, pure=True)
    def read_status0(self) -> int:
        return 0x10  # the monitor's sense: one is there

    @on_write(0x0A)
    @on_write(0x2A)
    def write_feature(self, value: int) -> None:
        self.feature = value & 0x0B

    @on_read(0x1A, pure=True)
    def read_feature(self) -> int:
        return int(self.feature)

    @on_read(0x0A)
    @on_read(0x2A)
    def read_status1(self) -> int:
        self.attribute_data_next = False
        return self.beam()

    def beam(self) -> int:
        """Input status 1: whether the beam is outside the picture, or on its way back up."""
        crtc, sequencer = self.crtc, self.planes.sequencer
        dots = 8 if sequencer[1] & 1 else 9
        rate = DOT_CLOCKS[self.misc >> 2 & 3] >> (sequencer[1] >> 3 & 1)
        line = (crtc[0] + 5) * dots * SECOND // rate
        total = (crtc[6] | (crtc[7] & 1) << 8 | (crtc[7] & 0x20) << 4) + 2
        at = self.clock.now() % (line * total)
        row, column = at // line, at % line
        if row >= self.lines():
            start = crtc[0x10] | (crtc[7] & 4) << 6 | (crtc[7] & 0x80) << 2
            height = (crtc[0x11] - start & 15) or 16
            return NOT_SHOWN | (RETRACE if start <= row < start + height else 0)
        return NOT_SHOWN if column >= (crtc[1] + 1) * dots * SECOND // rate else 0

    def lines(self) -> int:
        """Scan lines that are shown."""
        return int(self.crtc[0x12] | (self.crtc[7] & 2) << 7 | (self.crtc[7] & 0x40) << 3) + 1

    # sequencer, DAC, graphics controller: in memory.py

    @on_write(PORTS, count=6)
    def write_sequencer_or_dac(self, port: int, value: int) -> None:
        self.planes.port_write(port, 1, value)

    @on_read(PORTS, count=6, pure=True)
    def read_sequencer_or_dac(self, port: int) -> int:
        return self.planes.port_read(port, 1)

    @on_write(PORTS + GRAPHICS_INDEX, count=2)
    def write_graphics(self, port: int, value: int) -> None:
        self.planes.port_write(GRAPHICS_INDEX + port, 1, value)

    @on_read(PORTS + GRAPHICS_INDEX, count=2, pure=True)
    def read_graphics(self, port: int) -> int:
        return self.planes.port_read(GRAPHICS_INDEX + port, 1)

    # CRT controller: at 3B4h or 3D4h, as the miscellaneous output register says

    def _here(self, half: int) -> bool:
        return half == (1 if self.misc & COLOUR else 0)

    @on_write(MONO, count=2, stride=COLOURED - MONO)
    def select_crtc(self, half: int, value: int) -> None:
        if self._here(half):
            self.crtc_index = value & 0x3F

    @on_read(MONO, count=2, stride=COLOURED - MONO, pure=True)
    def crtc_selected(self, half: int) -> int:
        return int(self.crtc_index) if self._here(half) else 0xFF

    @on_write(MONO + 1, count=2, stride=COLOURED - MONO)
    def write_crtc(self, half: int, value: int) -> None:
        """Bit 7 of register 11h protects the first eight, but for the line compare bit."""
        index = self.crtc_index
        if not self._here(half) or index >= CRTC_COUNT:
            return
        if index > 7 or not self.crtc[0x11] & 0x80:
            self.crtc[index] = value
        elif index == 7:
            self.crtc[7] = self.crtc[7] & ~0x10 | value & 0x10

    @on_read(MONO + 1, count=2, stride=COLOURED - MONO, pure=True)
    def read_crtc(self, half: int) -> int:
        if not self._here(half):
            return 0xFF
        return int(self.crtc[self.crtc_index]) if self.crtc_index < CRTC_COUNT else 0
