"""The PCI bus of a PC: functions in slots, their windows in the maps of ports and addresses, their pins on the PIRQ
lines, their messages to the APICs, and the chipset's own functions.

Which chipset: i440fx (82441FX, PIIX3, PIIX4) or q35 (MCH, ICH9). `preset` does what firmware does with all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from guesthouse.errors import UserError
from guesthouse.system.chips.acpi_pm import AcpiPm, ResetPort
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.function import BARS, Bar, Function
from guesthouse.system.chips.pci.host import PciHost
from guesthouse.system.chips.pci.i440fx import HostBridge, Piix3Isa, Piix4Power
from guesthouse.system.chips.pci.pirq import REACHABLE, PirqLines
from guesthouse.system.chips.pci.q35 import Ich9Lpc, Ich9Smbus, Mch
from guesthouse.system.chips.smbus import SmbusHost
from guesthouse.system.firmware import acpi
from guesthouse.system.memory import AddressMap
from guesthouse.system.memory import Window as Place
from guesthouse.trace import Trace

TABLES = {"i440fx": acpi.I440FX, "q35": acpi.Q35}
MASTER_AND_WINDOWS, COMMAND, FIRST_BAR = 0x7, 0x04, 0x10
PORTS = 0xC000  # and on: windows of ports
SMBUS_PORTS, ROOT_COMPLEX = 0x700, 0xFED1_C000
PIIX_SLOT, ICH_SLOT = 1, 31
OnWindow = Callable[[Function, int, "int | None"], object]


class PciBus:
    """`pin(n, high)` drives an input of the I/O APIC, `irq(n)` gives a source of an ISA interrupt."""

    def __init__(self, tables: acpi.Pc, ports: AddressMap, addresses: AddressMap, trace: Trace, *,
                 pin: Callable[[int, bool], object], irq: Callable[[int], Line],
                 message: Callable[[int, int], object], reset: Callable[[], object]) -> None:
        self.tables, self.ports, self.addresses, self.trace = tables, ports, addresses, trace
        self.message = message
        self.lines = PirqLines(len(tables.pirqs), {n: irq(n) for n in REACHABLE},
                               lambda n, high: pin(tables.pci_first_interrupt + n, high))
        self._placed: dict[tuple[Function, int], Place] = {}
        self.on_window: OnWindow = lambda function, n, address: None
        self.host, self.reset_port = PciHost(self._remap), ResetPort(reset)
        self.chips = [self.host, self.reset_port]
        self._plug_ports()

    def _plug_ports(self) -> None:
        """A byte at CF9h, inside the host's range, is the reset port's, as on the PIIX3."""
        reset = self.reset_port
        reset.trace_to(self.trace, "reset")
        self.host.trace_to(self.trace, "pci")
        at = self.tables.reset_port - 0xCF8

        def read(offset: int, size: int) -> int:
            return reset.read(0, 1) if (offset, size) == (at, 1) else self.host.read(offset, size)

        def write(offset: int, size: int, value: int) -> None:
            if (offset, size) == (at, 1):
                reset.write(0, 1, value)
            else:
                self.host.write(offset, size, value)

        self.ports.add(0xCF8, PciHost.SIZE, read, write, "pci")

    # functions

    def plug(self, slot: int, function: Function, number: int = 0, *, name: str = "") -> None:
        function.on_message = self.message
        function.trace_to(self.trace, name or type(function).__name__.lower())
        self.host.plug(slot, function, number)

    def line(self, slot: int, pin: int = 0) -> Line:
        """INTA (pin 0) to INTD of a slot, shared with others by being or-ed."""
        return self.lines.inputs[acpi.pirq_of(self.tables, slot, pin)].source()

    def plug_chipset(self, power: AcpiPm) -> None:
        if self.tables.express:
            self.plug(0, Mch(self.host.mapped_read, self.host.mapped_write))
            self.plug(ICH_SLOT, Ich9Lpc(self.lines, power), 0)
            self.plug(ICH_SLOT, Ich9Smbus(SmbusHost()), 3)
        else:
            self.plug(0, HostBridge())
            self.plug(PIIX_SLOT, Piix3Isa(self.lines), 0)
            self.plug(PIIX_SLOT, Piix4Power(power, SmbusHost()), 3)

    def _remap(self, function: Function, n: int, bar: Bar, address: int | None) -> None:
        """A window moved. Where something else answers, or RAM is, the guest's mistake has no effect."""
        old = self._placed.pop((function, n), None)
        space = self.ports if bar.io else self.addresses
        if old is not None:
            space.remove(old)
        if address is not None and address + bar.size <= space.limit and space.free(address, bar.size):
            self._placed[function, n] = space.add(
                address, bar.size, partial(function.window_read, n), partial(function.window_write, n),
                type(function).__name__)
        self.on_window(function, n, address if (function, n) in self._placed else None)

    # what firmware does

    def preset(self) -> None:
        """Every register that places or routes something, and each window's address."""
        pirqs = list(enumerate(self.tables.pirqs))
        if self.tables.express:
            self._set(0, 0, 0x60, 8, self.tables.express | 1)
            self._set(ICH_SLOT, 0, 0x40, 4, self.tables.power_block)
            self._set(ICH_SLOT, 0, 0x44, 1, 0x80)
            self._set(ICH_SLOT, 0, 0xF0, 4, ROOT_COMPLEX | 1)
            self._set(ICH_SLOT, 3, 0x40, 1, 1)
            registers = [(ICH_SLOT, 0, (0x60 if n < 4 else 0x64) + n, 1, irq) for n, irq in pirqs]
        else:
            self._set(PIIX_SLOT, 3, 0x40, 4, self.tables.power_block)
            self._set(PIIX_SLOT, 3, 0x80, 1, 1)
            self._set(PIIX_SLOT, 3, 0x90, 4, SMBUS_PORTS)
            self._set(PIIX_SLOT, 3, 0xD2, 1, 1)
            registers = [(PIIX_SLOT, 0, 0x60 + n, 1, irq) for n, irq in pirqs]
        for register in registers:
            self._set(*register)
        for (slot, number), function in self.host.functions.items():
            self._place(slot, number, function)

    def choose_space(self, pam: Sequence[int]) -> None:
        """What lies below 1 MiB, by the bridge's registers."""
        for n, value in enumerate(pam):
            self._set(0, 0, (0x90 if self.tables.express else 0x59) + n, 1, value)

    def _set(self, slot: int, number: int, register: int, size: int, value: int) -> None:
        self.host.config_write(0, slot, number, register, size, value)

    def _place(self, slot: int, number: int, function: Function) -> None:
        """Switch the windows on and give each an address."""
        self._set(slot, number, COMMAND, 2, MASTER_AND_WINDOWS)
        for n, bar in function.WINDOWS.items():
            if n < BARS:
                at = self._free_ports(bar.size) if bar.io else self._free_memory(bar.size)
                self._set(slot, number, FIRST_BAR + 4 * n, 4, at)
        if function.PIN:
            function.route(self.tables.pirqs[acpi.pirq_of(self.tables, slot, function.PIN - 1)])

    def _free_memory(self, size: int) -> int:
        first, last = self.tables.pci_window
        at = -(-first // size) * size
        while not self.addresses.free(at, size):
            at += size
        if at + size - 1 > last:
            raise UserError("The PCI window is full.", "Give the machine fewer devices.")
        return at

    def _free_ports(self, size: int) -> int:
        at = PORTS
        while not self.ports.free(at, size):
            at += size
        return at
