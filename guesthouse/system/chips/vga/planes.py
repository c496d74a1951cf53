"""Display memory as its card, and what looks at it, see it: views of bytes, plane by plane. What processors do to it is
in memory.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from guesthouse.bits import u64
from guesthouse.errors import UserError
from guesthouse.system.chips.kit import Stateful
from guesthouse.system.chips.vga.memory import PLANE, DisplayMemory


class Planes(Stateful):
    def __init__(self) -> None:
        self.memory = DisplayMemory.new()
        where = self.memory.where
        self.sequencer, self.graphics, self._latches, self._all = (
            self._view(where + DisplayMemory.offset(name), size)
            for name, size in (("sequencer", 8), ("graphics", 16), ("latches", 4), ("planes", 4 * PLANE)))
        self.planes = [self._all[n::4] for n in range(4)]
        self.read: Callable[[int, int], int] = self._read
        self.write: Callable[[int, int, int], object] = self._write
        super().__init__()

    def _view(self, address: int, size: int) -> memoryview:
        return memoryview((ctypes.c_uint8 * size).from_address(address)).cast("B")

    def compiled(self, code: Any) -> None:
        """From now on compiled code of DisplayMemory (engine/chip_code.py) does what its Python text says."""
        where = self.memory.where
        self.read = lambda offset, size: int(code.read(where, offset, size))
        self.write = lambda offset, size, value: code.write(where, offset, size, value)

    def _read(self, offset: int, size: int) -> int:
        return int(self.memory.read(u64(offset), u64(size)))

    def _write(self, offset: int, size: int, value: int) -> None:
        self.memory.write(u64(offset), u64(size), u64(value))

    def answer(self, who: int, bank: int = 0) -> None:
        """Who is in the window: nobody, the planes, or the framebuffer from a host address on."""
        self.memory.bank, self.memory.answers = u64(bank), u64(who)

    @property
    def latches(self) -> list[int]:
        return list(self._latches)

    # state

    def _parts(self) -> dict[str, memoryview]:
        return {"sequencer": self.sequencer, "graphics": self.graphics, "latches": self._latches, "planes": self._all}

    def clear(self) -> None:
        ctypes.memset(self.memory.where, 0, DisplayMemory.size)

    def save(self) -> dict[str, Any]:
        return {name: bytes(view) for name, view in self._parts().items()}

    def restore(self, saved: dict[str, Any]) -> None:
        parts = self._parts()
        if {name: len(data) for name, data in saved.items()} != {name: len(view) for name, view in parts.items()}:
            raise UserError("The snapshot does not fit the display memory.",
                            "It was made by another version of guesthouse; start the machine anew.")
        for name, data in saved.items():
            parts[name][:] = data
