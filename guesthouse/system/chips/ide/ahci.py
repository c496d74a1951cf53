"""An AHCI host bus adapter, after Intel's Serial ATA AHCI 1.3.1, sections 3.1 and 10: 32 commands a port, native
queuing, 64-bit addresses.

Its ports are ahci_port.py's. Not modelled: enclosure management, coalescing, hand-over from firmware.
"""

from __future__ import annotations

from guesthouse.system.chips.ide.ahci_port import SLOTS, Port
from guesthouse.system.chips.ide.bus_master import Memory
from guesthouse.system.chips.ide.drive import Drive
from guesthouse.system.chips.kit import Chip, Field, Line, Stateful, on_read, on_write

PORTS, FIRST_PORT, STRIDE = 6, 0x100, 0x80
CAN_64, CAN_QUEUE, CAN_OVERRIDE, ONLY_AHCI, GENERATION_2 = 1 << 31, 1 << 30, 1 << 24, 1 << 18, 2 << 20
AHCI, INTERRUPTS, RESET = 1 << 31, 1 << 1, 1 << 0
VERSION = 0x0001_0300


class Hba(Chip):
    SIZE, BUS = 0x1000, 4
    enabled = Field(0)  # GHC.IE
    pending = Field()

    def __init__(self, memory: Memory, irq: Line, *, refused: type[Exception]) -> None:
        self.irq = irq
        self.ports = [Port(memory, refused) for _ in range(PORTS)]
        super().__init__()

    def attach(self, n: int, drive: Drive) -> None:
        self.ports[n].attach(drive)

    def parts(self) -> dict[str, Stateful]:
        return {f"port{n}": port for n, port in enumerate(self.ports)}

    def read(self, offset: int, size: int = 1) -> int:
        n = (offset - FIRST_PORT) // STRIDE
        if 0 <= n < PORTS:
            return self.ports[n].read(offset - FIRST_PORT - n * STRIDE, size)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        n = (offset - FIRST_PORT) // STRIDE
        if 0 <= n < PORTS:
            self.ports[n].write(offset - FIRST_PORT - n * STRIDE, size, value)
            self.settle()
        else:
            super().write(offset, size, value)

    def odd_read(self, offset: int, size: int) -> int:
        return super().odd_read(offset, size) if size > self.BUS else 0

    @on_read(0x00, width=32, pure=True)
    def capabilities(self) -> int:
        return (CAN_64 | CAN_QUEUE | CAN_OVERRIDE | GENERATION_2 | ONLY_AHCI | SLOTS - 1 << 8 | PORTS - 1)

    @on_read(0x04, width=32, pure=True)
    def read_global(self) -> int:
        return AHCI | (INTERRUPTS if self.enabled else 0)

    @on_write(0x04, width=32)
    def write_global(self, value: int) -> None:
        if value & RESET:
            self.reset()
        else:
            self.enabled = value & INTERRUPTS

    @on_read(0x08, width=32, pure=True)
    def read_pending(self) -> int:
        return int(self.pending)

    @on_write(0x08, width=32)
    def clear_pending(self, value: int) -> None:
        """If a port has more to tell, its bit comes back, and a message is sent again (10.6.2.1)."""
        self.pending &= ~value
        self.irq.set(False)

    @on_read(0x0C, width=32, pure=True)
    def implemented(self) -> int:
        return (1 << PORTS) - 1

    @on_read(0x10, width=32, pure=True)
    def version(self) -> int:
        return VERSION

    def settle(self) -> None:
        for n, port in enumerate(self.ports):
            if port.read_interrupts() & port.enable:
                self.pending |= 1 << n
        self.irq.set(self.enabled and self.pending)
