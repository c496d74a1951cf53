"""INT 1Ah and 70h: ticks, the real-time clock and its alarm, waiting (IBM PS/2 and PC BIOS interface
technical reference, interrupt 1Ah).
"""

from __future__ import annotations

from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.guest import CF, Guest
from guesthouse.system.firmware.bios.pci import PciBios

CMOS = 0x70
SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, CENTURY, A, B, C = 0, 2, 4, 7, 8, 9, 0x32, 0x0A, 0x0B, 0x0C
SET, PERIODIC, ALARM, DAYLIGHT = 0x80, 0x40, 0x20, 0x01
PERIOD_US = 977  # the interrupt comes 1,024 times a second
WAITING, DONE = 0x01, 0x80


class Time:
    def __init__(self, guest: Guest, pci: PciBios) -> None:
        self.guest, self.pci = guest, pci

    def call(self) -> None:
        guest, function = self.guest, self.guest.ah
        if function == 0xB1:
            self.pci.call()
            return
        if function == 0x00:
            ticks = guest.dword(bda.TICKS)
            guest.al, guest.cx, guest.dx = guest.byte(bda.MIDNIGHT), ticks >> 16, ticks & 0xFFFF
            guest.set_byte(bda.MIDNIGHT, 0)
        elif function == 0x01:
            guest.set_dword(bda.TICKS, guest.cx << 16 | guest.dx)
            guest.set_byte(bda.MIDNIGHT, 0)
        elif function <= 0x07:
            (self._time, self._set_time, self._date, self._set_date, self._alarm, self._no_alarm)[function - 2]()
        else:
            guest.set_flag(CF, True)
            return
        guest.set_flag(CF, function == 0x06 and guest.ah == 0xFF)

    def cmos(self, index: int) -> int:
        return self.guest.indexed_in(CMOS, index)

    def set_cmos(self, index: int, value: int) -> None:
        self.guest.indexed_out(CMOS, index, value)

    def _time(self) -> None:
        guest = self.guest
        guest.ch, guest.cl, guest.dh = self.cmos(HOURS), self.cmos(MINUTES), self.cmos(SECONDS)
        guest.dl = self.cmos(B) & DAYLIGHT

    def _set_time(self) -> None:
        guest, control = self.guest, self.cmos(B) & ~(SET | DAYLIGHT) | self.guest.dl & 1
        self._set((HOURS, guest.ch), (MINUTES, guest.cl), (SECONDS, guest.dh), control=control)

    def _date(self) -> None:
        guest = self.guest
        guest.ch, guest.cl = self.cmos(CENTURY), self.cmos(YEAR)
        guest.dh, guest.dl = self.cmos(MONTH), self.cmos(DAY)

    def _set_date(self) -> None:
        guest = self.guest
        self._set((CENTURY, guest.ch), (YEAR, guest.cl), (MONTH, guest.dh), (DAY, guest.dl),
                  control=self.cmos(B) & ~SET)

    def _set(self, *values: tuple[int, int], control: int) -> None:
        self.set_cmos(B, control | SET)
        for index, value in values:
            self.set_cmos(index, value)
        self.set_cmos(B, control)

    def _alarm(self) -> None:
        guest, control = self.guest, self.cmos(B)
        if control & ALARM:
            guest.ah = 0xFF
            return
        for index, value in ((1, guest.dh), (3, guest.cl), (5, guest.ch)):
            self.set_cmos(index, value)
        self._listen()
        self.set_cmos(B, control & ~SET | ALARM)

    def _no_alarm(self) -> None:
        self.set_cmos(B, self.cmos(B) & ~ALARM)

    def _listen(self) -> None:
        """IRQ8 comes through."""
        self.guest.port_out(0xA1, self.guest.port_in(0xA1) & ~0x01)

    # waiting, on the periodic interrupt

    def start_wait(self, microseconds: int, flag_at: int) -> bool:
        """False: somebody waits already."""
        guest = self.guest
        if guest.byte(bda.WAIT_FLAG) & WAITING:
            return False
        guest.set_dword(bda.WAIT_POINTER, flag_at)
        guest.set_dword(bda.WAIT_COUNT, microseconds)
        guest.set_byte(bda.WAIT_FLAG, WAITING)
        self._listen()
        self.cmos(C)
        self.set_cmos(B, self.cmos(B) | PERIODIC)
        return True

    def stop_wait(self) -> None:
        self.guest.set_byte(bda.WAIT_FLAG, 0)
        self.set_cmos(B, self.cmos(B) & ~PERIODIC)

    def interrupt(self) -> bool:
        """INT 70h. True: the alarm has come, INT 4Ah is to be called."""
        guest = self.guest
        enabled = self.cmos(B)
        why = self.cmos(C) & enabled
        if why & PERIODIC and guest.byte(bda.WAIT_FLAG) & WAITING:
            left = guest.dword(bda.WAIT_COUNT) - PERIOD_US
            guest.set_dword(bda.WAIT_COUNT, max(0, left))
            if left <= 0:
                at = guest.dword(bda.WAIT_POINTER)
                self.stop_wait()
                flag = (at >> 16 << 4) + (at & 0xFFFF)
                guest.set_byte(flag, guest.byte(flag) | DONE)
        return bool(why & ALARM)
