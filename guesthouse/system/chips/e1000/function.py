"""The 82540EM on the PCI bus: registers as memory, and through an index and a data port."""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.e1000.registers import E1000, Memory
from guesthouse.system.chips.kit import Field, Line, Stateful
from guesthouse.system.chips.pci.function import Bar, Function


class E1000Function(Function):
    VENDOR, DEVICE, REVISION, CLASS, PIN = 0x8086, 0x100E, 3, 0x02_0000, 1
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x8086, 0x001E
    WINDOWS = {0: Bar(E1000.SIZE), 1: Bar(0x40, io=True)}
    index = Field()

    def __init__(self, memory: Memory, irq: Line, address: bytes, send: Callable[[bytes], object] | None = None, *,
                 refused: type[Exception]) -> None:
        self.registers = E1000(memory, address, self._set_level, send, refused=refused)
        super().__init__(irq)

    def parts(self) -> dict[str, Stateful]:
        return super().parts() | {"registers": self.registers}

    def receive(self, frame: bytes) -> bool:
        return self.registers.receive(frame)

    def _set_level(self, high: bool) -> None:
        self.interrupting = high
        self.settle()

    def bar_read(self, n: int, offset: int, size: int) -> int:
        if n == 0:
            return self.registers.read(offset, size)
        return int(self.index) if offset == 0 else self.registers.read(self.index, 4) if offset == 4 else 0

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        if n == 0:
            self.registers.write(offset, size, value)
        elif offset == 0:
            self.index = value & 0x1_FFFC
        elif offset == 4:
            self.registers.write(self.index, 4, value & 0xFFFF_FFFF)
