"""The PC's ACPI tables, after ACPI 6.5, chapter 5: RSDP, XSDT, RSDT, FADT, FACS, MADT, HPET (Intel's IA-PC HPET
specification, 3.2.4), MCFG (PCI Firmware Specification, 4.1.2) and a DSDT of our own AML.

Not described: sleep states other than S5, thermal zones, batteries.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from guesthouse.system.firmware import aml

OEM, TABLE_ID = b"GUESTH", b"GUESTHSE"
SCI = 9
ACTIVE_HIGH, LEVEL = 0x1, 0xC  # MADT interrupt flags: polarity 01, trigger mode 11


@dataclass(frozen=True)
class Serial:
    port: int
    irq: int


@dataclass(frozen=True)
class Pc:
    """What the tables have to tell about a machine."""

    processors: int = 1
    serials: tuple[Serial, ...] = ()
    power_block: int = 0x600
    s5: int = 0
    reset_port: int = 0xCF9
    reset_value: int = 6
    lapic: int = 0xFEE0_0000
    ioapic: int = 0xFEC0_0000
    hpet: int = 0xFED0_0000
    express: int = 0  # where configuration space is in memory; 0: a PC without
    pci_window: tuple[int, int] = (0xC000_0000, 0xFEBF_FFFF)
    pirqs: tuple[int, ...] = (10, 10, 11, 11)  # the ISA interrupt of each PIRQ line
    pci_first_interrupt: int = 16  # the I/O APIC input of the first PIRQ line
    pvpanic: int = 0x505
    keyboard: bool = False  # and a mouse, behind an 8042
    floppy: bool = False
    screen: bool = False  # a VGA


I440FX = Pc()
Q35 = Pc(s5=7, express=0xE000_0000, pci_window=(0xC000_0000, 0xDFFF_FFFF), pirqs=(10, 10, 11, 11) * 2)
ROOT_SLOTS = 25  # of the Q35: slots from here on are parts of the chipset


def pirq_of(pc: Pc, slot: int, pin: int) -> int:
    """The PIRQ line of a slot's INTA to INTD (pin 0 to 3), turned by one from slot to slot, as firmware for these
    chipsets expects it."""
    if len(pc.pirqs) == 4:
        return (slot + pin - 1) % 4
    return 4 + (slot + pin) % 4 if slot < ROOT_SLOTS else pin


def interrupt_of(pc: Pc, slot: int, pin: int) -> int:
    """The I/O APIC input of a PCI slot's pin."""
    return pc.pci_first_interrupt + pirq_of(pc, slot, pin)


def build(pc: Pc, base: int) -> tuple[bytes, int]:
    """All tables, to be put at guest-physical `base`, and the address of the RSDP in them."""
    made = _Room(base)
    rsdp_at = made.add(bytes(36))
    facs = made.add(struct.pack("<4sII", b"FACS", 64, 0).ljust(32, b"\0") + struct.pack("<B", 2).ljust(32, b"\0"), 64)
    dsdt_at = made.add(table(b"DSDT", 2, dsdt(pc)))
    listed = [made.add(table(b"FACP", 6, fadt(pc, facs, dsdt_at))), made.add(table(b"APIC", 4, madt(pc))),
              made.add(table(b"HPET", 1, hpet(pc)))]
    if pc.express:
        listed.append(made.add(table(b"MCFG", 1, mcfg(pc))))
    xsdt = made.add(table(b"XSDT", 1, struct.pack(f"<{len(listed)}Q", *listed)))
    rsdt = made.add(table(b"RSDT", 1, struct.pack(f"<{len(listed)}I", *listed)))
    made.data[rsdp_at - base:rsdp_at - base + 36] = rsdp(rsdt, xsdt)
    return bytes(made.data), rsdp_at


class _Room:
    """Tables one after the other."""

    def __init__(self, base: int) -> None:
        self.base, self.data = base, bytearray()

    def add(self, content: bytes, align: int = 16) -> int:
        self.data += bytes(-len(self.data) % align)
        at = self.base + len(self.data)
        self.data += content
        return at


def checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of all zero."""
    return -sum(data) & 0xFF


def table(signature: bytes, revision: int, body: bytes) -> bytes:
    """The header of 5.2.6 and what follows it."""
    made = bytearray(struct.pack("<4sIBB6s8sI4sI", signature, 36 + len(body), revision, 0, OEM, TABLE_ID, 1,
                                 b"GSTH", 1) + body)
    made[9] = checksum(made)
    return bytes(made)


def rsdp(rsdt: int, xsdt: int) -> bytes:
    """The root pointer, version 2 (5.2.5.3)."""
    made = bytearray(struct.pack("<8sB6sBIIQB3s", b"RSD PTR ", 0, OEM, 2, rsdt, 36, xsdt, 0, b""))
    made[8] = checksum(made[:20])
    made[32] = checksum(made)
    return bytes(made)


def port(address: int, bits: int) -> bytes:
    """A generic address structure for an I/O port (5.2.3.2)."""
    return struct.pack("<BBBBQ", 1, bits, 0, {8: 1, 16: 2, 32: 3}[bits], address)


def fadt(pc: Pc, facs: int, dsdt_at: int) -> bytes:
    """5.2.9; SMI_CMD is 0: the machine is in ACPI mode from the start."""
    event, control, timer = pc.power_block, pc.power_block + 4, pc.power_block + 8
    legacy_devices, keyboard, no_vga = 1 << 0, 1 << 1, 1 << 2
    # WBINVD works, C1 everywhere, no sleep button, no RTC wake, a reset register
    flags = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 10
    made = struct.pack("<IIBBHIBBBB", facs, dsdt_at, 0, 0, SCI, 0, 0, 0, 0, 0)
    made += struct.pack("<8I", event, 0, control, 0, 0, timer, 0, 0)
    made += struct.pack("<BBBBBBBB", 4, 2, 0, 4, 0, 0, 0, 0)
    made += struct.pack("<HHHHBBBBB", 0xFFFF, 0xFFFF, 0, 0, 0, 0, 0, 0, 0x32)  # no C2, no C3; century in CMOS 32h
    boot = legacy_devices | (0 if pc.screen else no_vga) | (keyboard if pc.keyboard else 0)
    made += struct.pack("<HBI", boot, 0, flags)
    made += port(pc.reset_port, 8) + struct.pack("<BHB", pc.reset_value, 0, 5)
    made += struct.pack("<QQ", 0, dsdt_at)  # X_FIRMWARE_CTRL is 0 where FIRMWARE_CTRL is used
    made += port(event, 32) + bytes(12) + port(control, 16) + bytes(12)
    made += bytes(12) + port(timer, 32) + bytes(12) + bytes(12)
    return made + bytes(12) + bytes(12) + struct.pack("<8s", b"")


def madt(pc: Pc) -> bytes:
    """5.2.12: the processors, the I/O APIC, and the two ISA interrupts that are not one to one."""
    made = struct.pack("<II", pc.lapic, 1)  # PCAT_COMPAT: there is a pair of 8259s too
    for n in range(pc.processors):
        made += struct.pack("<BBBBI", 0, 8, n, n, 1)
    made += struct.pack("<BBBBII", 1, 12, 0, 0, pc.ioapic, 0)
    made += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)  # the timer's IRQ0 comes in at 2
    made += struct.pack("<BBBBIH", 2, 10, 0, SCI, SCI, ACTIVE_HIGH | LEVEL)
    return made + struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)  # NMI at LINT1 of each processor


def hpet(pc: Pc) -> bytes:
    """What the chip's capabilities say, and where it is."""
    return struct.pack("<IBBBBQBHB", 0x8086_A201, 0, 64, 0, 0, pc.hpet, 0, 128, 0)


def mcfg(pc: Pc) -> bytes:
    """One segment, all buses."""
    return struct.pack("<QQHBBI", 0, pc.express, 0, 0, 0xFF, 0)


def dsdt(pc: Pc) -> bytes:
    """The devices that cannot be found by looking."""
    processors = [aml.device(f"C{n:03X}", aml.name("_HID", aml.text("ACPI0007")), aml.name("_UID", aml.integer(n)))
                  for n in range(pc.processors)]
    legacy = [_device("RTC", "PNP0B00", aml.io(0x70, 2), aml.irq(8)),
              _device("TIMR", "PNP0100", aml.io(0x40, 4), aml.irq(0)),
              _device("SPKR", "PNP0800", aml.io(0x61, 1)),
              _device("HPET", "PNP0103", aml.memory(pc.hpet, 0x400)),
              _reserved(pc)]
    serials = [_device(f"COM{n + 1}", "PNP0501", aml.io(s.port, 8), aml.irq(s.irq), unique=n)
               for n, s in enumerate(pc.serials)]
    if pc.keyboard:
        legacy += [_device("KBD", "PNP0303", aml.io(0x60, 1), aml.io(0x64, 1), aml.irq(1)),
                   _device("MOU", "PNP0F13", aml.irq(12))]
    if pc.floppy:
        legacy.append(_device("FDC0", "PNP0700", aml.io(0x3F0, 6), aml.io(0x3F7, 1), aml.irq(6), aml.dma(2)))
    panic = aml.device("PVPC", aml.name("_HID", aml.text("QEMU0001")), aml.name("_STA", aml.integer(0xF)),
                       aml.name("_CRS", aml.resources(aml.io(pc.pvpanic, 1))))
    mode = aml.name("PICF", aml.integer(0)) + aml.method("_PIC", 1, aml.store(aml.argument(0), "PICF"))
    return (mode + aml.scope("\\_SB", *processors, _pci(pc, *legacy, *serials, panic))
            + aml.name("\\_S5", aml.package(aml.integer(pc.s5), aml.integer(pc.s5), aml.integer(0), aml.integer(0))))


def _device(called: str, identity: str, *descriptors: bytes, unique: int = 0) -> bytes:
    return aml.device(called, aml.name("_HID", aml.eisa_id(identity)), aml.name("_UID", aml.integer(unique)),
                      aml.name("_STA", aml.integer(0xF)), aml.name("_CRS", aml.resources(*descriptors)))


def _reserved(pc: Pc) -> bytes:
    """Motherboard resources that no driver may give away."""
    express = [aml.memory(pc.express, 256 << 20)] if pc.express else []
    return _device("MISC", "PNP0C02", aml.io(pc.power_block, 0x40), aml.io(pc.reset_port, 1),
                   aml.memory(pc.ioapic, 0x1000), aml.memory(pc.lapic, 0x1000), *express)


def _pci(pc: Pc, *children: bytes) -> bytes:
    """The host bridge, its windows, and where each slot's interrupts go: with the APICs, and without."""
    windows = aml.resources(aml.bus_range(0, 0xFF if pc.express else 0), aml.io(0xCF8, 8), aml.io_range(0, 0xCF7),
                            aml.io_range(0xD00, 0xFFFF), aml.memory_range(*pc.pci_window))
    identity = [aml.name("_HID", aml.eisa_id("PNP0A03"))]
    if pc.express:
        identity = [aml.name("_HID", aml.eisa_id("PNP0A08")), aml.name("_CID", aml.eisa_id("PNP0A03"))]
    routes = aml.method("_PRT", 0, aml.if_(aml.name_string("PICF"), aml.returns(aml.name_string("PRTA"))),
                        aml.returns(aml.name_string("PRTP")))
    return aml.device("PCI0", *identity, aml.name("_UID", aml.integer(0)), aml.name("_CRS", windows),
                      aml.name("PRTA", _routes(lambda slot, pin: interrupt_of(pc, slot, pin))),
                      aml.name("PRTP", _routes(lambda slot, pin: pc.pirqs[pirq_of(pc, slot, pin)])), routes, *children)


def _routes(interrupt: Callable[[int, int], int]) -> bytes:
    return aml.package(*(aml.package(aml.integer(slot << 16 | 0xFFFF), aml.integer(pin), aml.integer(0),
                                     aml.integer(interrupt(slot, pin))) for slot in range(32) for pin in range(4)))
