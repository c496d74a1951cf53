"""The Realtek RTL8029AS: an NE2000 on the PCI bus, after its data sheet. The card is a collaborator."""

from __future__ import annotations

from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.function import Bar, Function
from guesthouse.system.chips.pci.i440fx import Block


class Rtl8029(Function):
    VENDOR, DEVICE, CLASS, PIN = 0x10EC, 0x8029, 0x02_0000, 1
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x10EC, 0x8029
    WINDOWS = {0: Bar(0x20, io=True)}

    def __init__(self, card: Block, irq: Line) -> None:
        self.card = card
        super().__init__(irq)

    def set_level(self, high: bool) -> None:
        """The card's interrupt."""
        self.interrupting = high
        self.settle()

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.card.read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.card.write(offset, size, value)
