"""Display memory and palette as their card, and what looks at them, see them: views of bytes. What processors do to
them is in memory.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from guesthouse.bits import u8, u64
from guesthouse.errors import UserError
from guesthouse.system.chips.kit import Stateful
from guesthouse.system.chips.vga.memory import DisplayMemory

SAVED = tuple(name for name in DisplayMemory.fields if name not in ("answers", "bank", "dac_mask"))  # the card tells

class Planes(Stateful):
    def __init__(self) -> None:
        self.memory = DisplayMemory.new()
        self._views = {name: self._view(name) for name in SAVED}
        self.sequencer, self.graphics, self.palette = (self._views[n] for n in ("sequencer", "graphics", "palette"))
        self.planes = [self._views["planes"][n::4] for n in range(4)]
        self.read: Callable[[int, int], int] = self._read
        self.write: Callable[[int, int, int], object] = self._write
        self.port_read: Callable[[int, int], int] = self._port_read
        self.port_write: Callable[[int, int, int], object] = self._port_write
        super().__init__()

    def _view(self, name: str) -> memoryview:
        field = DisplayMemory.fields[name]
        return memoryview((ctypes.c_uint8 * field.kind.size).from_address(self.memory.where + field.offset)).cast("B")

    def compiled(self, code: Any) -> None:
        """From now on compiled code of DisplayMemory (engine/chip_code.py), if there is any, does what its Python text
        says."""
        if code is None:
            return
        where = self.memory.where
        self.read = lambda offset, size: int(code.read(where, offset, size))
        self.write = lambda offset, size, value: code.write(where, offset, size, value)
        self.port_read = lambda offset, size: int(code.port_read(where, offset, size))
        self.port_write = lambda offset, size, value: code.port_write(where, offset, size, value)

    def _read(self, offset: int, size: int) -> int:
        return int(self.memory.read(u64(offset), u64(size)))

    def _write(self, offset: int, size: int, value: int) -> None:
        self.memory.write(u64(offset), u64(size), u64(value))

    def _port_read(self, offset: int, size: int) -> int:
        return int(self.memory.port_read(u64(offset), u64(size)))

    def _port_write(self, offset: int, size: int, value: int) -> None:
        self.memory.port_write(u64(offset), u64(size), u64(value))

    def answer(self, who: int, bank: int = 0) -> None:
        """Who is in the window: nobody, the planes, or the framebuffer from a host address on."""
        self.memory.bank, self.memory.answers = u64(bank), u64(who)

    def colour_bits(self, bits: int) -> None:
        """How many bits the DAC takes of each part of a colour."""
        self.memory.dac_mask = u8((1 << bits) - 1)

    @property
    def pel_mask(self) -> int:
        return int(self.memory.pel_mask)

    @property
    def latches(self) -> list[int]:
        return list(self._views["latches"])

    # state

    def clear(self) -> None:
        ctypes.memset(self.memory.where, 0, DisplayMemory.size)
        self.memory.pel_mask = u8(0xFF)

    def save(self) -> dict[str, Any]:
        return {name: bytes(view) for name, view in self._views.items()}

    def restore(self, saved: dict[str, Any]) -> None:
        if {name: len(data) for name, data in saved.items()} != {name: len(v) for name, v in self._views.items()}:
            raise UserError("The snapshot does not fit the display memory.",
                            "It was made by another version of guesthouse; start the machine anew.")
        for name, data in saved.items():
            self._views[name][:] = data
