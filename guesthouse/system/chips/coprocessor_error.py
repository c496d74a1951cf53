"""Ports F0h and F1h: what stands between the coprocessor's ERROR# and IRQ 13, after IBM's technical reference for the
PC AT ("Coprocessor") and, for processors with the coprocessor inside, SDM 1, appendix D.

A latch holds the error until software writes to F0h, which also has the processor go on (IGNNE#).
Not modelled: F1h reset the 287; processors since the 486 ignore that.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, Line, on_write


class CoprocessorError(Chip):
    SIZE = 2
    latched = Field()

    def __init__(self, irq: Line, ignore: Callable[[], object]) -> None:
        super().__init__()
        self.irq, self.ignore = irq, ignore

    def error(self) -> None:
        """ERROR#, or FERR#, is asserted."""
        self.latched = 1
        self.settle()

    @on_write(0)
    def write_clear(self, value: int) -> None:
        self.latched = 0
        self.ignore()

    @on_write(1)
    def write_reset(self, value: int) -> None:
        pass

    def settle(self) -> None:
        self.irq.set(self.latched)
