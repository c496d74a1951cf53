"""The PCI host: configuration mechanism #1, the memory-mapped one, and the root bus.

After the PCI Local Bus Specification 3.0, section 3.2.2.3.2, and for the memory-mapped way the PCI Express Base
Specification, section 7.2.2. Not modelled: further buses, registers beyond the first 256 bytes.
"""

from __future__ import annotations

from typing import Any, Callable

from guesthouse.system.chips.kit import ONES, Chip, Register, Stateful
from guesthouse.system.chips.pci.function import Bar, Function

ENABLE = 1 << 31
Remap = Callable[[Function, int, Bar, "int | None"], object]


class PciHost(Chip):
    """`remap` is told whenever a window of a function moves, appears or goes (None)."""

    SIZE = 8
    address = Register(0, width=32, writable=0x80FF_FFFC)

    def __init__(self, remap: Remap) -> None:
        self.remap = remap
        self.functions: dict[tuple[int, int], Function] = {}
        self.placed: dict[tuple[int, int, int], int] = {}
        super().__init__()

    def plug(self, slot: int, function: Function, number: int = 0) -> None:
        self.functions[slot, number] = function
        together = [f for (at, _), f in self.functions.items() if at == slot]
        for one in together:
            one.multifunction = len(together) > 1

    def parts(self) -> dict[str, Stateful]:
        return {f"{slot:02x}.{number}": f for (slot, number), f in self.functions.items()}

    def read(self, offset: int, size: int = 1) -> int:
        if offset < 4:
            return super().read(offset, size)
        if not self.address & ENABLE:
            return self.odd_read(offset, size)
        bus, slot, number, register = self._target()
        return self.config_read(bus, slot, number, register + offset - 4, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset < 4:
            super().write(offset, size, value)
        elif self.address & ENABLE:
            bus, slot, number, register = self._target()
            self.config_write(bus, slot, number, register + offset - 4, size, value)

    def _target(self) -> tuple[int, int, int, int]:
        a = int(self.address)
        return a >> 16 & 0xFF, a >> 11 & 0x1F, a >> 8 & 7, a & 0xFC

    def mapped_read(self, offset: int, size: int) -> int:
        """A read of the memory-mapped configuration space: bus, device, function and register are the address."""
        if offset % 0x1000 >= 0x100:
            return 0  # no extended capabilities
        return self.config_read(offset >> 20, offset >> 15 & 0x1F, offset >> 12 & 7, offset & 0xFF, size)

    def mapped_write(self, offset: int, size: int, value: int) -> None:
        if offset % 0x1000 < 0x100:
            self.config_write(offset >> 20, offset >> 15 & 0x1F, offset >> 12 & 7, offset & 0xFF, size, value)

    def config_read(self, bus: int, slot: int, number: int, offset: int, size: int) -> int:
        function = self.functions.get((slot, number)) if bus == 0 else None
        return ONES[size] if function is None else function.read(offset, size)

    def config_write(self, bus: int, slot: int, number: int, offset: int, size: int, value: int) -> None:
        function = self.functions.get((slot, number)) if bus == 0 else None
        if function is not None:
            function.write(offset, size, value)
            self._place(slot, number, function)

    def _place(self, slot: int, number: int, function: Function) -> None:
        for n, bar in function.windows():
            key, at = (slot, number, n), function.window(n)
            if self.placed.get(key) != at:
                if at is None:
                    del self.placed[key]
                else:
                    self.placed[key] = at
                self.remap(function, n, bar, at)

    def place_all(self) -> None:
        for (slot, number), function in self.functions.items():
            self._place(slot, number, function)

    def reset(self) -> None:
        super().reset()
        self.place_all()

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        self.place_all()
