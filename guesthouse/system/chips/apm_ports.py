"""The advanced power management control and status ports B2h and B3h, by which software asks for an SMI (82371AB data
sheet, 4.2.7; ICH9 data sheet, 13.7.3).

Whether a write makes an SMI is for registers elsewhere to say. Not modelled: STPCLK# by reads.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, Register, on_read, on_write


class ApmPorts(Chip):
    SIZE, BUS = 2, 1
    control = Field()
    status = Register(1)

    def __init__(self, smi: Callable[[], object], enabled: Callable[[], object]) -> None:
        super().__init__()
        self.smi, self.enabled = smi, enabled

    @on_read(0, pure=True)
    def read_control(self) -> int:
        return int(self.control)

    @on_write(0)
    def write_control(self, value: int) -> None:
        self.control = value
        if self.enabled():
            self.smi()
