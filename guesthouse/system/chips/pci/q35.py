"""The Q35 chipset: the MCH (82Q35, Intel 316966) as host bridge, and of the ICH9 (Intel 316972) the LPC bridge, the
SMBus function and the SATA function in AHCI mode.

Collaborators answer in the windows that these registers place: power management, SMBus, AHCI, memory-mapped
configuration space. TSEG's size may also be QEMU's extended one, which a guest asks for at 50h. Not modelled: DRAM
registers, SMRAM at its high place, PCI Express ports, GPIO, traps, USB, sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable, Protocol

from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write
from guesthouse.system.chips.pci.function import Bar, Capability, Function
from guesthouse.system.chips.pci.i440fx import IS_IO, SMRAM_LOCKED, Block, MemoryBridge
from guesthouse.system.chips.pci.msi import Msi
from guesthouse.system.chips.pci.pirq import OFF, PirqLines

PM, RCRB, CONFIGURATION, AHCI, SMBUS = 8, 9, 8, 5, 4  # windows
ACPI_ENABLE, RCBA_ENABLE, PCIEX_ENABLE = 0x80, 1, 1
CONFIGURATION_SIZES = (256 << 20, 128 << 20, 64 << 20, 256 << 20)
TSEG_ENABLE, CACHE_BITS = 0x01, 0x38  # ESMRAMC: T_EN; SM_CACHE, SM_L1 and SM_L2, which are always set
TSEG_SIZES, EXTENDED, ASKED = (1, 2, 8), 16, 0xFFFF  # MiB
SMI_LOCK = 0x10  # of GEN_PMCON_1


class PowerBlock(Block, Protocol):
    def lock_smi(self) -> None: ...


class Mch(MemoryBridge):
    """The host bridge; PCIEXBAR says where configuration space lies in memory."""

    DEVICE = 0x29C0
    esmramc, extended = Field(CACHE_BITS), Field()
    graphics_control = Register(0x52, width=16, sizes=(1, 2))  # GGC: it, and where memory ends, is for firmware to note
    memory_bases = Register(0xA4, width=32, count=3, sizes=(1, 2, 4))  # GBSM, BGSM, TSEGMB
    top_of_low_memory = Register(0xB0, width=16, sizes=(1, 2))  # TOLUD
    pam = Register(0x90, count=7, writable=0x33)
    pciexbar = Register(0x60, width=64, writable=0xF_FC00_0007, sizes=(1, 2, 4, 8))

    def __init__(self, read: Callable[[int, int], int], write: Callable[[int, int, int], object]) -> None:
        self.config_read, self.config_write = read, write
        super().__init__()

    @on_read(0x9D, pure=True)
    def read_smram(self) -> int:
        return int(self.smram)

    @on_write(0x9D)
    def write_smram(self, value: int) -> None:
        self.set_smram(value)

    @on_read(0x9E, pure=True)
    def read_esmramc(self) -> int:
        return int(self.esmramc)

    @on_write(0x9E)
    def write_esmramc(self, value: int) -> None:
        """TSEG_SZ and T_EN, until D_LCK is set."""
        if not self.smram & SMRAM_LOCKED:
            self.esmramc = value & 0x07 | CACHE_BITS

    @on_read(0x50, width=16, sizes=(1, 2), pure=True)
    def read_extended(self) -> int:
        return int(self.extended)

    @on_write(0x50, width=16, sizes=(1, 2))
    def write_extended(self, value: int) -> None:
        self.extended = EXTENDED if value == ASKED else value

    @property
    def tseg(self) -> int:
        return (*TSEG_SIZES, EXTENDED)[self.esmramc >> 1 & 3] << 20 if self.esmramc & TSEG_ENABLE else 0

    def settle(self) -> None:
        super().settle()
        self.tell(self.pam)

    def windows(self) -> Iterable[tuple[int, Bar]]:
        return ((CONFIGURATION, Bar(CONFIGURATION_SIZES[self.pciexbar >> 1 & 3], wide=True)),)

    def window(self, n: int) -> int | None:
        size = CONFIGURATION_SIZES[self.pciexbar >> 1 & 3]
        base = self.pciexbar & 0xF_FC00_0000 & ~(size - 1)
        return int(base) if self.pciexbar & PCIEX_ENABLE and base else None

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.config_read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.config_write(offset, size, value)


class RootComplex(Chip):
    """The chipset configuration registers that RCBA places: interrupt pins and routes, HPET, reset straps."""

    SIZE, BUS = 0x4000, 4
    held = Field({})

    def clear(self) -> None:
        super().clear()
        self.held = {0x3140: 0x3210_3210, 0x3144: 0x3210_3210, 0x3148: 0x3210, 0x3404: 0x80}

    def odd_read(self, offset: int, size: int) -> int:
        if size > 4 or offset % size:
            return super().odd_read(offset, size)
        return int(self.held.get(offset & ~3, 0)) >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def odd_write(self, offset: int, size: int, value: int) -> None:
        if size > 4 or offset % size:
            super().odd_write(offset, size, value)
        elif 0 <= offset < self.SIZE:
            shift, mask = 8 * (offset & 3), (1 << 8 * size) - 1
            self.held[offset & ~3] = self.held.get(offset & ~3, 0) & ~(mask << shift) | (value & mask) << shift


class Ich9Lpc(Function):
    """The LPC bridge: eight PIRQ lines, and where power management and the root complex's registers answer."""

    VENDOR, DEVICE, REVISION, CLASS = 0x8086, 0x2918, 2, 0x06_0100
    pm_base = Field()
    acpi_control = Register(0x44, writable=0x87)
    gpio_base = Register(0x48, width=32, reset=IS_IO, writable=0xFFC0, sizes=(1, 2, 4))
    gpio_control = Register(0x4C, writable=0x10)
    pirq_low = Register(0x60, count=4, reset=OFF, writable=0x8F)
    serial_irq = Register(0x64, reset=0x10)
    pirq_high = Register(0x68, count=4, reset=OFF, writable=0x8F)
    decoding = Register(0x80, width=32, count=5, sizes=(1, 2, 4))
    power_configuration = Field()  # GEN_PMCON_1 and 2
    more_configuration = Register(0xA4, width=32, count=3, sizes=(1, 2, 4))
    bios_control = Register(0xDC)
    rcba = Register(0xF0, width=32, writable=0xFFFF_C001, sizes=(1, 2, 4))

    def __init__(self, lines: PirqLines, power: PowerBlock) -> None:
        self.lines, self.power, self.root_complex = lines, power, RootComplex()
        super().__init__()

    def parts(self) -> dict[str, Any]:
        return super().parts() | {"root_complex": self.root_complex}

    @on_read(0x40, width=32, sizes=(1, 2, 4), pure=True)
    def read_pm_base(self) -> int:
        return int(self.pm_base | IS_IO)

    @on_write(0x40, width=32, sizes=(1, 2, 4))
    def write_pm_base(self, value: int) -> None:
        self.pm_base = value & 0xFF80

    @on_read(0xA0, width=32, sizes=(1, 2, 4), pure=True)
    def read_power_configuration(self) -> int:
        return int(self.power_configuration)

    @on_write(0xA0, width=32, sizes=(1, 2, 4))
    def write_power_configuration(self, value: int) -> None:
        """SMI_LOCK stays, and with it GBL_SMI_EN, until a reset."""
        self.power_configuration = value | self.power_configuration & SMI_LOCK
        if value & SMI_LOCK:
            self.power.lock_smi()

    def windows(self) -> Iterable[tuple[int, Bar]]:
        return (PM, Bar(0x80, io=True)), (RCRB, Bar(RootComplex.SIZE))

    def window(self, n: int) -> int | None:
        if n == PM:
            return int(self.pm_base) if self.pm_base and self.acpi_control & ACPI_ENABLE else None
        base = self.rcba & ~RCBA_ENABLE
        return int(base) if base and self.rcba & RCBA_ENABLE else None

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return (self.power if n == PM else self.root_complex).read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        (self.power if n == PM else self.root_complex).write(offset, size, value)

    def settle(self) -> None:
        super().settle()
        self.lines.drive([*self.pirq_low, *self.pirq_high])


class Ich9Smbus(Function):
    VENDOR, DEVICE, REVISION, CLASS, PIN = 0x8086, 0x2930, 2, 0x0C_0500, 1
    WINDOWS = {SMBUS: Bar(0x20, io=True)}
    host_configuration = Register(0x40, writable=0x07)

    def __init__(self, smbus: Block) -> None:
        self.smbus = smbus
        super().__init__()

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.smbus.read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.smbus.write(offset, size, value)


class Ahci(Function):
    """The SATA function. Its registers are the host bus adapter's, which tells of its interrupt by a line."""

    VENDOR, DEVICE, REVISION, CLASS, PIN = 0x8086, 0x2922, 2, 0x01_0601, 1
    WINDOWS = {4: Bar(0x20, io=True), AHCI: Bar(0x1000)}
    CAPABILITIES = (bytes((0x12, 0x10, 0x00, 0x48, 0x00, 0x00, 0x00)),)  # SATA: index and data in window 4
    index = Field()
    map_register = Register(0x90, width=16, reset=0x40, sizes=(1, 2))  # MAP: AHCI mode
    port_control = Register(0x92, width=16, reset=0x3F, sizes=(1, 2))

    def __init__(self, adapter: Block, irq: Line) -> None:
        self.adapter = adapter
        capabilities: Sequence[Capability] = (Msi(),)
        super().__init__(irq, capabilities)

    def set_level(self, high: bool) -> None:
        """The adapter's interrupt."""
        self.interrupting = high
        self.settle()

    def bar_read(self, n: int, offset: int, size: int) -> int:
        if n == AHCI:
            return self.adapter.read(offset, size)
        if offset & ~3 == 0x10:
            return int(self.index)
        return self.adapter.read(self.index, size) if offset & ~3 == 0x14 else 0

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        if n == AHCI:
            self.adapter.write(offset, size, value)
        elif offset & ~3 == 0x10:
            self.index = value & 0xFFC
        elif offset & ~3 == 0x14:
            self.adapter.write(self.index, size, value)
