"""The "test finisher" of SiFive's simulation boards, which Linux drives as syscon-poweroff and syscon-
reboot.

After the device tree binding `sifive,test1`: one word, the verdict in its low and an exit code in its high
half.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, on_read, on_write

VERDICTS = {0x3333: "fail", 0x5555: "pass", 0x7777: "reset"}


class SifiveTest(Chip):
    """`finish` is told "pass" (power off), "fail" or "reset", and the code."""

    SIZE = 0x1000

    def __init__(self, finish: Callable[[str, int], object]) -> None:
        super().__init__()
        self.finish = finish

    @on_read(0, width=32)
    def read_nothing(self) -> int:
        return 0

    @on_write(0, width=32, sizes=(2, 4))
    def end(self, value: int) -> None:
        verdict = VERDICTS.get(value & 0xFFFF)
        if verdict is not None:
            self.finish(verdict, value >> 16)
