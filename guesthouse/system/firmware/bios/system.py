"""INT 11h, 12h, 14h, 15h, 17h: equipment, memory, serial and parallel ports, system services (IBM PS/2 and
PC BIOS interface technical reference; ACPI 6.5, 15.1 for E820h).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.apm import TOLD, Apm
from guesthouse.system.firmware.bios.guest import CF, ES, Guest
from guesthouse.system.firmware.bios.mouse import Mouse
from guesthouse.system.firmware.bios.rom import CONFIGURATION, SEGMENT
from guesthouse.system.firmware.bios.settings import EBDA, EBDA_SEGMENT, Settings
from guesthouse.system.firmware.bios.time import Time
from guesthouse.system.firmware.linux_x86 import RAM, RESERVED

SMAP, ENTRY = 0x534D_4150, 20
UNSUPPORTED, OK = 0x86, 0
PORT_A, A20_OPEN = 0x92, 0x02
DIVISORS = (1047, 768, 384, 192, 96, 48, 24, 12)  # 110 to 9600 baud
TIMED_OUT, READY_TO_SEND, RECEIVED = 0x80, 0x20, 0x01
WAIT_FLAG = 0x0040 << 16 | 0xA0


class System:
    def __init__(self, guest: Guest, settings: Settings, mouse: Mouse, time: Time, note: Callable[[str], None],
                 apm: Apm) -> None:
        self.guest, self.settings, self.mouse, self.time = guest, settings, mouse, time
        self.note, self.apm = note, apm
        self.functions: dict[int, Callable[[], int | bool | None]] = {
            **{number: lambda: OK for number in (0x80, 0x81, 0x82, 0x85, 0x90, 0x91)},
            0x24: self._a20, 0x41: lambda: UNSUPPORTED, 0x4F: lambda: None, 0x53: self._apm, 0x83: self._event,
            0x86: self._wait, 0x87: self._move, 0x88: self._extended, 0xC0: self._configuration, 0xC1: self._ebda,
            0xC2: self._mouse, 0xE8: self._memory}

    def equipment(self) -> None:
        self.guest.ax = self.guest.word(bda.EQUIPMENT)

    def memory_size(self) -> None:
        self.guest.ax = self.guest.word(bda.MEMORY_KIB)

    # INT 14h and 17h

    def serial(self) -> None:
        """The 16550 without interrupts; a character that does not come is a timeout at once."""
        guest, function = self.guest, self.guest.ah
        port = guest.word(bda.COM + 2 * guest.dx) if guest.dx < 4 else 0
        if not port:
            return
        if function == 0:
            guest.port_out(port + 3, 0x80)
            divisor = DIVISORS[guest.al >> 5]
            guest.port_out(port, divisor & 0xFF)
            guest.port_out(port + 1, divisor >> 8)
            guest.port_out(port + 3, guest.al & 0x1F)
            guest.port_out(port + 1, 0)
        elif function == 1:
            guest.port_out(port + 4, 0x03)
            guest.port_out(port, guest.al)
            guest.ah = guest.port_in(port + 5)
            return
        elif function == 2:
            status = guest.port_in(port + 5)
            if status & RECEIVED:
                guest.al, guest.ah = guest.port_in(port), status & 0x1E
            else:
                guest.ah = TIMED_OUT | status
            return
        guest.ah, guest.al = guest.port_in(port + 5), guest.port_in(port + 6)

    def printer(self) -> None:
        guest = self.guest
        port = guest.word(bda.LPT + 2 * guest.dx) if guest.dx < 3 else 0
        if not port:
            guest.ah = 0x01 | 0x30
            return
        if guest.ah == 0:
            guest.port_out(port, guest.al)
            guest.port_out(port + 2, 0x0D)
            guest.port_out(port + 2, 0x0C)
        elif guest.ah == 1:
            guest.port_out(port + 2, 0x08)
            guest.port_out(port + 2, 0x0C)
        guest.ah = guest.port_in(port + 1) & 0xF8 ^ 0x48

    # INT 15h

    def call(self) -> bool:
        """AH chooses. None: the answer did AH and carry itself; True: it waits."""
        guest = self.guest
        function = guest.ah
        answer = self.functions.get(function)
        if answer is None:
            self.note(f"INT 15h, AX={guest.ax:04X}h")
        status = UNSUPPORTED if answer is None else answer()
        if status is True:
            return True
        if status is not None:
            guest.ah = int(status)
            guest.set_flag(CF, status != OK)
        elif function == 0x4F:
            guest.set_flag(CF, True)  # the scan code goes on as it is
        return False

    def _apm(self) -> int | bool | None:
        status = self.apm.call()
        if status == TOLD and status is not True:
            self.guest.set_flag(CF, False)
            return None
        return status

    def _mouse(self) -> None:
        self.mouse.call()

    def _a20(self) -> int | None:
        """2400h to 2403h, by port 92h."""
        guest = self.guest
        if guest.al in (0, 1):
            value = guest.port_in(PORT_A)
            guest.port_out(PORT_A, (value | A20_OPEN if guest.al else value & ~A20_OPEN) & ~1)
        elif guest.al == 2:
            guest.al = guest.port_in(PORT_A) >> 1 & 1
        elif guest.al == 3:
            guest.bx = 0x0003  # by the keyboard controller and by port 92h
        else:
            return UNSUPPORTED
        return OK

    def _event(self) -> int:
        """83h: a flag at ES:BX is set after CX:DX microseconds; AL=1 cancels."""
        guest = self.guest
        if guest.al == 1:
            self.time.stop_wait()
            return OK
        started = self.time.start_wait(guest.cx << 16 | guest.dx, guest.es << 16 | guest.bx)
        return OK if started else 0x83

    def _wait(self) -> int | bool:
        """86h: the first call starts the clock, the others look whether the time is over."""
        guest = self.guest
        if guest.byte(bda.WAIT_FLAG) & 0x80:
            guest.set_byte(bda.WAIT_FLAG, 0)
            return OK
        if guest.byte(bda.WAIT_FLAG) & 0x01:
            return True if guest.dword(bda.WAIT_POINTER) == WAIT_FLAG else 0x83
        self.time.start_wait(guest.cx << 16 | guest.dx, WAIT_FLAG)
        return True

    def _move(self) -> int:
        """87h: CX words from the segment of the third descriptor at ES:SI to that of the fourth."""
        guest = self.guest
        at = guest.linear(ES, guest.si)
        source, target = (self._base(at + 8 * n) for n in (2, 3))
        if guest.cx > 0x8000:
            return 0x02
        guest.bus.write(target, guest.bus.read(source, 2 * guest.cx))
        return OK

    def _base(self, descriptor: int) -> int:
        raw = self.guest.read(descriptor, 8)
        return int.from_bytes(raw[2:5], "little") | raw[7] << 24

    def _extended(self) -> None:
        """88h: KiB above 1 MiB, not beyond 64 MiB."""
        self.guest.ax = min(self.settings.extended_kib, 0xFC00)
        self.guest.set_flag(CF, False)

    def _configuration(self) -> int:
        self.guest.load_es(SEGMENT)
        self.guest.bx = CONFIGURATION
        return OK

    def _ebda(self) -> None:
        self.guest.load_es(EBDA_SEGMENT)
        self.guest.set_flag(CF, False)

    def _memory(self) -> int | None:
        guest, extended = self.guest, self.settings.extended_kib
        if guest.al == 0x20:
            return self._e820()
        if guest.al not in (0x01, 0x81):
            return UNSUPPORTED
        low, blocks = min(extended, 15 * 1024), max(0, extended - 15 * 1024) // 64
        guest.eax = guest.ecx = low
        guest.ebx = guest.edx = blocks if guest.al == 0x81 else min(blocks, 0xFFFF)
        guest.set_flag(CF, False)
        return None

    def _e820(self) -> int | None:
        guest, lines = self.guest, self._map()
        if guest.edx != SMAP or guest.ecx < ENTRY or guest.ebx >= len(lines):
            return UNSUPPORTED
        line = lines[guest.ebx]
        guest.write(guest.linear(ES, guest.di), struct.pack("<QQI", *line))
        guest.eax, guest.ecx = SMAP, ENTRY
        guest.ebx = guest.ebx + 1 if guest.ebx + 1 < len(lines) else 0
        guest.set_flag(CF, False)
        return None

    def _map(self) -> list[tuple[int, int, int]]:
        """The board's map, with the EBDA taken out of the memory below 640 KiB."""
        lines: list[tuple[int, int, int]] = []
        for line in self.settings.memory_map():
            end = line.start + line.size
            if line.kind == RAM and line.start < EBDA < end:
                lines += [(line.start, EBDA - line.start, RAM), (EBDA, end - EBDA, RESERVED)]
            else:
                lines.append((line.start, line.size, line.kind))
        return lines
