"""Where the interrupt pins of PCI slots go: each PIRQ line to one of the ISA interrupts, as registers of the ISA bridge
say; after the 82371SB (PIIX3) data sheet, section 2.2.11, and the ICH9 data sheet, section 13.1.17.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guesthouse.system.chips.kit import Line

OFF, REACHABLE = 0x80, (3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15)


class PirqLines:
    """`inputs` are for the slots; `outputs` are ISA interrupts by number. Levels are the slots' to keep."""

    def __init__(self, count: int, outputs: dict[int, Line], on_change: Callable[[int, bool], object]) -> None:
        self.inputs = [Line(lambda high, n=n: self._changed(n, high)) for n in range(count)]  # type: ignore[misc]
        self.outputs, self.on_change = outputs, on_change
        self.routes: Sequence[int] = [OFF] * count

    def _changed(self, n: int, high: bool) -> None:
        self.on_change(n, high)
        self.drive(self.routes)

    def drive(self, routes: Sequence[int]) -> None:
        """Registers have been written, or a level has changed."""
        self.routes = routes
        high = {route for route, line in zip(routes, self.inputs, strict=True) if line.high}
        for irq, output in self.outputs.items():
            output.set(irq in high)
