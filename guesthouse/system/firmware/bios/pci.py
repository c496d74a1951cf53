"""INT 1Ah, B1h: the PCI BIOS, after the PCI BIOS specification 2.1, by configuration mechanism 1; from 32-bit
protected mode by the entry that the BIOS32 service directory (Phoenix, 1993) names.

Not modelled: special cycles, setting an interrupt's route, asking for all routes from protected mode.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from guesthouse.system.firmware.bios.guest import CF, ES, Guest

ADDRESS, DATA, ENABLE = 0xCF8, 0xCFC, 1 << 31
NO_SERVICE, NO_FUNCTION = 0x80, 0x81  # of the directory
OK, NOT_SUPPORTED, BAD_VENDOR, NOT_FOUND, BAD_REGISTER = 0x00, 0x81, 0x83, 0x86, 0x87
TOO_SMALL, TABLE_HEADER, EXCLUSIVE = 0x89, 32, 10
SIZES = (1, 2, 4)


class PciBios:
    def __init__(self, guest: Guest, buses: int = 1, routing: bytes = b"") -> None:
        """`routing` is the table of pir.py."""
        self.guest, self.buses, self.routing = guest, buses, routing

    def call(self) -> None:
        """By INT 1Ah: carry in the flags that IRET loads."""
        status = self._routes() if self.guest.al & 0x7F == 0x0E and self.routing else self._do()
        self.guest.ah = status
        self.guest.set_flag(CF, status != OK)

    def call_32(self) -> bool:
        """By a far call: carry at once."""
        return self._do() != OK

    def directory(self, where: tuple[int, int, int]) -> None:
        """EAX: a service's name, BL: 0. EBX, ECX, EDX become its base, length and entry (`where`: those of $PCI)."""
        guest = self.guest
        if guest.bl:
            guest.al = NO_FUNCTION
        elif guest.eax != int.from_bytes(b"$PCI", "little"):
            guest.al = NO_SERVICE
        else:
            guest.al, (guest.ebx, guest.ecx, guest.edx) = 0, where

    def _do(self) -> int:
        guest, function = self.guest, self.guest.al & 0x7F
        if function == 0x01:
            guest.edx, guest.al, guest.bx, guest.cl = 0x2049_4350, 0x01, 0x0210, self.buses - 1
            status = OK
        elif function == 0x02:
            wanted = guest.cx << 16 | guest.dx
            status = BAD_VENDOR if guest.dx == 0xFFFF else self._find(
                guest.si, (where for where in self.functions() if self.read(where, 0, 4) == wanted))
        elif function == 0x03:
            kind = guest.ecx & 0xFF_FFFF
            status = self._find(guest.si, (at for at in self.functions() if self.read(at, 8, 4) >> 8 == kind))
        elif 0x08 <= function <= 0x0D:
            status = self._configuration((function - 8) % 3, write=function >= 0x0B)
        else:
            status = NOT_SUPPORTED
        guest.ah = status
        return status

    def _routes(self) -> int:
        """0Eh: the entries of the routing table, into the buffer that ES:DI describes (size, far address); BX: the
        interrupts that only PCI devices use."""
        guest, entries = self.guest, self.routing[TABLE_HEADER:]
        at = guest.linear(ES, guest.di)
        size, offset, segment = struct.unpack("<HHH", guest.read(at, 6))
        guest.set_word(at, len(entries))
        if size < len(entries):
            return TOO_SMALL
        guest.write((segment << 4) + offset, entries)
        guest.bx = int.from_bytes(self.routing[EXCLUSIVE:EXCLUSIVE + 2], "little")
        return OK

    def read(self, where: int, register: int, size: int) -> int:
        self.guest.bus.port_write(ADDRESS, 4, ENABLE | where << 8 | register & 0xFC)
        return self.guest.bus.port_read(DATA + (register & 3), size)

    def write(self, where: int, register: int, size: int, value: int) -> None:
        self.guest.bus.port_write(ADDRESS, 4, ENABLE | where << 8 | register & 0xFC)
        self.guest.bus.port_write(DATA + (register & 3), size, value)

    def functions(self) -> Iterator[int]:
        """Everything that answers, as bus, device and function in one number."""
        for device in range(self.buses * 32):
            if self.read(device << 3, 0, 2) == 0xFFFF:
                continue
            many = self.read(device << 3, 0x0E, 1) & 0x80
            for function in range(8 if many else 1):
                if self.read(device << 3 | function, 0, 2) != 0xFFFF:
                    yield device << 3 | function

    def _find(self, index: int, found: Iterator[int]) -> int:
        for n, where in enumerate(found):
            if n == index:
                self.guest.bx = where
                return OK
        return NOT_FOUND

    def _configuration(self, size: int, *, write: bool) -> int:
        guest, count = self.guest, SIZES[size]
        if guest.di > 0xFF or guest.di % count:
            return BAD_REGISTER
        name = ("cl", "cx", "ecx")[size]
        if write:
            self.write(guest.bx, guest.di, count, getattr(guest, name))
        else:
            setattr(guest, name, self.read(guest.bx, guest.di, count))
        return OK
