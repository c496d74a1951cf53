"""Port E9h: each byte that is written there is a character for the host, as in Bochs; a read says E9h, by which
software knows that somebody listens.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, on_read, on_write


class DebugConsole(Chip):
    SIZE, BUS = 1, 1

    def __init__(self, output: Callable[[bytes], object]) -> None:
        super().__init__()
        self.output = output

    @on_read(0, pure=True)
    def read_presence(self) -> int:
        return 0xE9

    @on_write(0)
    def write_character(self, byte: int) -> None:
        self.output(bytes((byte,)))
