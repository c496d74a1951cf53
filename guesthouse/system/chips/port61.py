"""Port 61h, the PC's system control port B, after the 82371SB (PIIX3) data sheet, section 2.5 (NMISC).

The gate of timer channel 2, its output, and the refresh toggle. Not modelled: speaker sound, NMI sources.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.clock import Clock
from guesthouse.system.chips.kit import Chip, Field, on_read, on_write

GATE, SPEAKER, REFRESH, OUTPUT = 0x01, 0x02, 0x10, 0x20
REFRESH_NS = 15_085  # channel 1 counts 18 ticks of 1.193182 MHz


class Port61(Chip):
    SIZE = 1
    control = Field()

    def __init__(self, clock: Clock, set_gate: Callable[[bool], object], output: Callable[[], bool]) -> None:
        super().__init__()
        self.clock, self.set_gate, self.output = clock, set_gate, output
        set_gate(False)

    @on_read(0, pure=True)
    def read_status(self) -> int:
        toggle = REFRESH if self.clock.now() // REFRESH_NS & 1 else 0
        return int(self.control | toggle | (OUTPUT if self.output() else 0))

    @on_write(0)
    def write_control(self, value: int) -> None:
        self.control = value & 0x0F

    def settle(self) -> None:
        self.set_gate(bool(self.control & GATE))
