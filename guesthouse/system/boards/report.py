"""What is told about a guest that died or hangs: registers, page walk, disassembly, and the last exits."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

from guesthouse.engine.vcpu import Exit

KEPT = 64


class Reporter:
    """Remembers the last exits of a board and writes its obituary."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.exits: deque[tuple[int, Exit]] = deque(maxlen=KEPT)

    def text(self, reason: str) -> str:
        lines = [f"The guest died: {reason}" if reason else "The guest, as it stands",
                 f"after {self.board.count()} instructions, {self.board.clock.now() / 1e9:.6f} s of its time", ""]
        lines += self.processors()
        lines += [f"last {len(self.exits)} exits, the newest last (instruction count, exit):"]
        lines += [f"  {count:>14} {shown(exit)}" for count, exit in self.exits]
        return "\n".join(lines) + "\n"

    def processors(self) -> list[str]:
        """Each of them as it stands."""
        board, lines = self.board, []
        for core in board.each_core():
            if len(board.cores) > 1:
                lines += [f"processor {core.number}, after {core.vcpu.count} instructions:"]
            lines += guarded(board.describe_state)
            lines += ["", "last branches, the newest last:", *guarded(self.branches), ""]
        return lines

    def branches(self) -> list[str]:
        """Where the processor's last blocks began."""
        found = [f"{pc:016x}" for pc in self.board.state.branches()]
        return ["  " + " ".join(found[i:i + 6]) for i in range(0, len(found), 6)]


def shown(exit: Exit) -> str:
    """An exit without its callables, numbers in hexadecimal."""
    parts = [(f.name, getattr(exit, f.name)) for f in dataclasses.fields(exit) if f.repr]
    return " ".join([type(exit).__name__,
                     *(f"{name}={value:#x}" if isinstance(value, int) else f"{name}={value}"
                       for name, value in parts)])


def guarded(lines: Any) -> list[str]:
    """The lines, or why they cannot be had: a report about trouble must not be the next trouble."""
    try:
        return list(lines())
    except Exception as why:
        return [f"  (cannot be shown: {type(why).__name__}: {why})"]


def rows(values: list[tuple[str, int]], width: int = 4) -> list[str]:
    """Registers in columns."""
    cells = [f"{name:>8} {value:016x}" for name, value in values]
    return ["  " + " ".join(cells[i:i + width]) for i in range(0, len(cells), width)]
