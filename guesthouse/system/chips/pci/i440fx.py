"""The i440FX chipset: the 82441FX host bridge, and of the 82371SB and AB (PIIX3, PIIX4) the ISA bridge and the power
management function; after Intel's data sheets 290549, 290550 and 290562.

Power management and SMBus are collaborators, which answer in windows that these registers place. Not modelled: DRAM
timing and size registers (they hold what is written), ISA decoding, USB, device monitors, traps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Callable, Protocol

from guesthouse.system.chips.kit import Field, Register, on_read, on_write
from guesthouse.system.chips.pci.function import Bar, Function
from guesthouse.system.chips.pci.pirq import OFF, PirqLines

PM, SMBUS = 8, 9  # windows beyond those of base address registers
FIXED_WINDOWS = {PM: Bar(0x40, io=True), SMBUS: Bar(0x10, io=True)}
IS_IO, SMRAM_LOCKED = 1, 0x10
Space = Callable[[Sequence[int], int, int], object]


class Block(Protocol):
    def read(self, offset: int, size: int = 1) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...


class MemoryBridge(Function):
    """`space` is told the registers that choose between RAM, ROM and chips below 1 MiB, and the size of TSEG, whenever
    they change."""

    VENDOR, REVISION, CLASS = 0x8086, 2, 0x06_0000
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x1AF4, 0x1100  # by which firmware knows that it runs in a virtual machine
    smram = Field(0x02)

    def __init__(self) -> None:
        self.space: Space = lambda pam, smram, tseg: None
        self._told: tuple[int, ...] = ()
        super().__init__()

    def set_smram(self, value: int) -> None:
        """D_LCK closes the register, and SMRAM, until a reset."""
        if not self.smram & SMRAM_LOCKED:
            self.smram = value & (0x38 if value & SMRAM_LOCKED else 0x78) | 0x02

    @property
    def tseg(self) -> int:
        """The size in bytes of TSEG, the end of RAM below 4 GiB for system management; 0: there is none."""
        return 0

    def tell(self, pam: Sequence[int]) -> None:
        now = (*pam, self.smram, self.tseg)
        if now != self._told:
            self._told = now
            self.space(pam, int(self.smram), self.tseg)


class HostBridge(MemoryBridge):
    DEVICE = 0x1237
    pam = Register(0x59, count=7, writable=0x33)

    @on_read(0x72, pure=True)
    def read_smram(self) -> int:
        return int(self.smram)

    @on_write(0x72)
    def write_smram(self, value: int) -> None:
        self.set_smram(value)

    def settle(self) -> None:
        super().settle()
        self.tell(self.pam)


class Piix3Isa(Function):
    """The ISA bridge; it routes the PIRQ lines."""

    VENDOR, DEVICE, CLASS = 0x8086, 0x7000, 0x06_0100
    bus_select = Register(0x4E, width=16, reset=0x0003, sizes=(1, 2))
    pirq = Register(0x60, count=4, reset=OFF, writable=0x8F)
    top_of_memory = Register(0x69, reset=0x02)

    def __init__(self, lines: PirqLines) -> None:
        self.lines = lines
        super().__init__()

    def settle(self) -> None:
        super().settle()
        self.lines.drive(self.pirq)


class Piix4Power(Function):
    """Function 3: where the power management block and the SMBus controller answer."""

    VENDOR, DEVICE, REVISION, CLASS, PIN = 0x8086, 0x7113, 3, 0x06_8000, 1
    pm_base = Field()
    smbus_base = Field()
    count_registers = Register(0x44, width=32, count=7, sizes=(1, 2, 4))  # CNTA, CNTB, GPICTL, DEVRESD to DEVRESC
    pm_enable = Register(0x80, writable=0x01)
    smbus_enable = Register(0xD2, writable=0x0F)

    def __init__(self, power: Block, smbus: Block) -> None:
        self.blocks = {PM: power, SMBUS: smbus}
        super().__init__()

    @property
    def apm_smi(self) -> bool:
        """Whether a write to port B2h makes an SMI: DEVACTB's APMC_EN."""
        return bool(self.count_registers[5] >> 25 & 1)

    @on_read(0x40, width=32, sizes=(1, 2, 4), pure=True)
    def read_pm_base(self) -> int:
        return int(self.pm_base | IS_IO)

    @on_write(0x40, width=32, sizes=(1, 2, 4))
    def write_pm_base(self, value: int) -> None:
        self.pm_base = value & 0xFFC0

    @on_read(0x90, width=32, sizes=(1, 2, 4), pure=True)
    def read_smbus_base(self) -> int:
        return int(self.smbus_base | IS_IO)

    @on_write(0x90, width=32, sizes=(1, 2, 4))
    def write_smbus_base(self, value: int) -> None:
        self.smbus_base = value & 0xFFF0

    def windows(self) -> Iterable[tuple[int, Bar]]:
        return FIXED_WINDOWS.items()

    def window(self, n: int) -> int | None:
        base, enabled = (self.pm_base, self.pm_enable) if n == PM else (self.smbus_base, self.smbus_enable & 1)
        return int(base) if base and enabled else None

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.blocks[n].read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.blocks[n].write(offset, size, value)
