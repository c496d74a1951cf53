"""What the PC speaker sounds like now, from port 61h and timer channel 2; after the IBM PC/AT technical reference.

Only the state: nothing is played. Not modelled: sound made by switching the data bit in a loop.
"""

from __future__ import annotations

from typing import Callable

HZ = 1_193_182  # what the timer counts
GATE, DATA = 0x01, 0x02  # port 61h


class Speaker:
    """`control` reads port 61h's latch, `divisor` the count of timer channel 2."""

    def __init__(self, control: Callable[[], int], divisor: Callable[[], int]) -> None:
        self.control, self.divisor = control, divisor

    @property
    def sounding(self) -> bool:
        return self.control() & (GATE | DATA) == GATE | DATA

    @property
    def frequency(self) -> float:
        """In Hz; 0: silent."""
        return HZ / (self.divisor() or 0x10000) if self.sounding else 0.0
