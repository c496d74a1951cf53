"""MP tables, after Intel's MultiProcessor specification 1.4: for systems from before ACPI that use the local and the
I/O APIC.

The wiring is that which the ACPI tables tell (acpi.py): ISA interrupts at the input of their number, the timer at 2,
PCI pins at the inputs from 16 on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from guesthouse.system.firmware import acpi

PCI_BUS, ISA_BUS = 0, 1
INT, NMI, EXTINT = 0, 1, 3
CONFORMS, HIGH_EDGE, HIGH_LEVEL, LOW_LEVEL = 0x0, 0x5, 0xD, 0xF
SIGNATURE, FEATURES, VERSION = 0x0001_06CA, 0x0781_ABFF, 0x14
TIMER_PIN, CASCADE = 2, 2


def floating_pointer(table: int) -> bytes:
    """4.1: to lie at a multiple of 16 between F0000h and FFFFFh."""
    made = bytearray(struct.pack("<4sIBBBBBBBB", b"_MP_", table, 1, 4, 0, 0, 0, 0, 0, 0))
    made[10] = -sum(made) & 0xFF
    return bytes(made)


def configuration(pc: acpi.Pc, slots: dict[int, int]) -> bytes:
    """4.2 and 4.3; `slots` are those with an interrupt pin, and which (0: INTA)."""
    entries = list(_entries(pc, slots))
    body = b"".join(entries)
    made = bytearray(struct.pack("<4sHBB8s12sIHHIHBB", b"PCMP", 44 + len(body), 4, 0, b"GUESTHSE", b"PC          ",
                                 0, 0, len(entries), pc.lapic, 0, 0, 0) + body)
    made[7] = -sum(made) & 0xFF
    return bytes(made)


def _entries(pc: acpi.Pc, slots: dict[int, int]) -> Iterator[bytes]:
    for n in range(pc.processors):
        yield struct.pack("<BBBBIIII", 0, n, VERSION, 3 if n == 0 else 1, SIGNATURE, FEATURES, 0, 0)
    yield struct.pack("<BB6s", 1, PCI_BUS, b"PCI   ")
    yield struct.pack("<BB6s", 1, ISA_BUS, b"ISA   ")
    io = pc.processors
    yield struct.pack("<BBBBI", 2, io, 0x20, 1, pc.ioapic)
    for slot, pin in sorted(slots.items()):
        yield _line(INT, LOW_LEVEL, PCI_BUS, slot << 2 | pin, io, acpi.interrupt_of(pc, slot, pin))
    for irq in range(16):
        if irq != CASCADE:
            flags = HIGH_LEVEL if irq == acpi.SCI else CONFORMS
            yield _line(INT, flags, ISA_BUS, irq, io, TIMER_PIN if irq == 0 else irq)
    yield struct.pack("<BBHBBBB", 4, EXTINT, CONFORMS, ISA_BUS, 0, 0xFF, 0)
    yield struct.pack("<BBHBBBB", 4, NMI, CONFORMS, ISA_BUS, 0, 0xFF, 1)


def _line(kind: int, flags: int, bus: int, source: int, io: int, pin: int) -> bytes:
    return struct.pack("<BBHBBBB", 3, kind, flags, bus, source, io, pin)
