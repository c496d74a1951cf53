"""The PCI host: configuration mechanism #1, the root bus and its host bridge.

After the PCI Local Bus Specification 3.0, section 3.2.2.3.2; the bridge's identity is the 82441FX's. Not
modelled: further buses, the bridge's DRAM registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from guesthouse.system.chips.kit import ONES, Chip, Field, Register, Stateful, on_read, on_write
from guesthouse.system.chips.pci.function import Bar, Function

ENABLE = 1 << 31
SMRAM_LOCKED = 0x10
Space = Callable[[Sequence[int], int], object]
Remap = Callable[[Function, int, Bar, "int | None"], object]


class HostBridge(Function):
    """`space` is told the registers that choose between RAM, ROM and chips below 1 MiB (3.2.18 and 3.2.20)."""

    VENDOR, DEVICE, REVISION, CLASS = 0x8086, 0x1237, 2, 0x06_0000
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x1AF4, 0x1100  # by which firmware knows that it runs in a virtual machine
    pam = Register(0x59, count=7, writable=0x33)
    smram = Field(0x02)

    def __init__(self) -> None:
        self.space: Space = lambda pam, smram: None
        self._told: tuple[int, ...] = ()
        super().__init__()

    @on_read(0x72, pure=True)
    def read_smram(self) -> int:
        return int(self.smram)

    @on_write(0x72)
    def write_smram(self, value: int) -> None:
        """D_LCK closes the register, and SMRAM, until a reset."""
        if not self.smram & SMRAM_LOCKED:
            self.smram = value & (0x38 if value & SMRAM_LOCKED else 0x78) | 0x02

    def settle(self) -> None:
        super().settle()
        now = (*self.pam, self.smram)
        if now != self._told:
            self._told = now
            self.space(self.pam, int(self.smram))


class PciHost(Chip):
    """`remap` is told whenever a window of a function moves, appears or goes (None)."""

    SIZE = 8
    address = Register(0, width=32, writable=0x80FF_FFFC)

    def __init__(self, remap: Remap) -> None:
        self.remap = remap
        self.functions: dict[tuple[int, int], Function] = {}
        self.placed: dict[tuple[int, int, int], int] = {}
        super().__init__()
        self.plug(0, HostBridge())

    def plug(self, slot: int, function: Function, number: int = 0) -> None:
        self.functions[slot, number] = function

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
