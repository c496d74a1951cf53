"""INT 15h, 53h: advanced power management, after the APM BIOS interface specification 1.2 (Intel and Microsoft,
1996), from real mode and by the entries of 16- and 32-bit protected mode.

Not modelled: events, timers, batteries; a machine only idles or is switched off.
"""

from __future__ import annotations

from collections.abc import Callable

from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.rom import SEGMENT

OK, ALREADY, NOT_CONNECTED, ALREADY_16, ALREADY_32, BAD_DEVICE, BAD_VALUE, NO_EVENT, UNSUPPORTED = (
    0, 0x02, 0x03, 0x05, 0x07, 0x09, 0x0A, 0x80, 0x86)
TOLD = -1  # AH is an answer, not a status
VERSION, SIGNATURE = 0x0102, 0x504D
CAN = 0x0003  # both protected modes are served
ALL, OFF = 0x0001, 0x0003
WHOLE = 0xFFFF  # length of a segment


class Apm:
    def __init__(self, guest: Guest, labels: dict[str, int], power_off: Callable[[], object]) -> None:
        self.guest, self.labels, self.power_off = guest, labels, power_off
        self.connected = 0  # 16 or 32: by what; 1: real mode
        self.idled = False

    def call(self) -> int | bool:
        """AL chooses: the status for AH, or True: to be asked again after an interrupt."""
        guest = self.guest
        actions: dict[int, Callable[[], int | bool]] = {
                   0x00: self._check, 0x01: lambda: self._connect(1), 0x02: lambda: self._connect(16),
                   0x03: lambda: self._connect(32), 0x04: self._disconnect, 0x05: self._idle, 0x06: lambda: OK,
                   0x07: self._set_power, 0x08: lambda: OK, 0x0A: self._power, 0x0B: lambda: NO_EVENT,
                   0x0C: lambda: OK, 0x0D: lambda: OK, 0x0E: self._version, 0x0F: lambda: OK}
        action = actions.get(guest.al)
        return UNSUPPORTED if action is None else action()

    def call_far(self) -> bool:
        """From protected mode, where nothing can be waited for."""
        status = self.call()
        self.idled = False
        if status != TOLD:
            self.guest.ah = OK if status is True else int(status)
        return status is not True and status not in (OK, TOLD)

    def _check(self) -> int:
        self.guest.ax, self.guest.bx, self.guest.cx = VERSION, SIGNATURE, CAN
        return TOLD

    def _connect(self, how: int) -> int:
        guest = self.guest
        if self.connected:
            return {1: ALREADY, 16: ALREADY_16}.get(self.connected, ALREADY_32)
        self.connected = how
        if how == 16:
            guest.ax = guest.cx = SEGMENT
            guest.bx = self.labels["apm16"]
            guest.si = guest.di = WHOLE
        elif how == 32:
            guest.ax = guest.cx = guest.dx = SEGMENT
            guest.ebx = self.labels["apm32"]
            guest.esi, guest.di = WHOLE << 16 | WHOLE, WHOLE
        return OK

    def _disconnect(self) -> int:
        was, self.connected = self.connected, 0
        return OK if was else NOT_CONNECTED

    def _idle(self) -> int | bool:
        self.idled = not self.idled
        return True if self.idled else OK

    def _set_power(self) -> int:
        if self.guest.bx != ALL:
            return BAD_DEVICE
        if self.guest.cx == OFF:
            self.power_off()
        return OK if self.guest.cx <= OFF else BAD_VALUE

    def _power(self) -> int:
        """On the mains, without a battery."""
        self.guest.bx, self.guest.cx, self.guest.dx = 0x01FF, 0x80FF, 0xFFFF
        return OK

    def _version(self) -> int:
        self.guest.ax = VERSION
        return TOLD
