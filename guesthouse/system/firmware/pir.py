"""The PCI interrupt routing table, after Microsoft's "PCI IRQ Routing Table Specification", version 1.0: which line of
the chipset's router each slot's pins reach, for systems from before ACPI.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from guesthouse.system.firmware import acpi

HEADER = 32
POSSIBLE = 0xDEF8  # the interrupts that a PIRQ line can be routed to (82371SB, 2.2.15)
ROUTERS = {False: (1 << 3, 0x7000_8086), True: (31 << 3, 0x2918_8086)}  # device and function; device and vendor ID


def table(pc: acpi.Pc, slots: Iterable[int]) -> bytes:
    """To lie at a multiple of 16 between F0000h and FFFFFh. A line is named by the router's register for it."""
    entries = b"".join(
        struct.pack("<BB", 0, slot << 3)
        + b"".join(struct.pack("<BH", register(acpi.pirq_of(pc, slot, pin)), POSSIBLE) for pin in range(4))
        + struct.pack("<BB", 0, 0) for slot in slots)
    router, identity = ROUTERS[bool(pc.express)]
    made = bytearray(struct.pack("<4sHHBBHII11xB", b"$PIR", 0x0100, HEADER + len(entries), 0, router, exclusive(pc),
                                 identity, 0, 0) + entries)
    made[HEADER - 1] = -sum(made) & 0xFF
    return bytes(made)


def register(line: int) -> int:
    return (0x60 if line < 4 else 0x64) + line


def exclusive(pc: acpi.Pc) -> int:
    """The ISA interrupts that only PCI devices use."""
    return sum(1 << irq for irq in set(pc.pirqs))
