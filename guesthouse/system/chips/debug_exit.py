"""The port by which a test in the guest ends the machine, as QEMU's isa-debug-exit: value v gives 2v + 1."""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, on_read, on_write


class DebugExit(Chip):
    SIZE = 4

    def __init__(self, finish: Callable[[int], object]) -> None:
        super().__init__()
        self.finish = finish

    @on_read(0, pure=True)
    def read_nothing(self) -> int:
        return 0

    @on_write(0, width=32, sizes=(1, 2, 4))
    def write_code(self, value: int) -> None:
        self.finish((value << 1 | 1) & 0xFF)
