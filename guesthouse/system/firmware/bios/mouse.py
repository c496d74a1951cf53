"""INT 74h and INT 15h, C2h: the pointing device (IBM PS/2 and PC BIOS interface technical reference,
C2xxh).

Packets of three bytes. The device is told through the controller's port; its acknowledgements are taken
here.
"""

from __future__ import annotations

from guesthouse.system.firmware.bios.guest import CF, ES, Guest
from guesthouse.system.firmware.bios.settings import EBDA

HANDLER, INDEX, STATE, PACKET = EBDA + 0x22, EBDA + 0x26, EBDA + 0x27, EBDA + 0x28
INSTALLED = 0x80  # in STATE: a handler is set
CONTROLLER, DATA, TO_MOUSE = 0x64, 0x60, 0xD4
RATES = (10, 20, 40, 60, 80, 100, 200)
OK, BAD_FUNCTION, BAD_INPUT, NO_HANDLER = 0, 1, 2, 5
PACKET_BYTES, FIRST_BYTE = 3, 0x08


class Mouse:
    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def interrupt(self) -> bool:
        """A byte in AL. True: the packet is whole, AX BX CX DX are what the handler gets."""
        guest = self.guest
        byte, index = guest.al, guest.byte(INDEX)
        if index == 0 and not byte & FIRST_BYTE:
            return False  # out of step, or an acknowledgement
        guest.set_byte(PACKET + index, byte)
        guest.set_byte(INDEX, (index + 1) % PACKET_BYTES)
        if index + 1 < PACKET_BYTES or not guest.byte(STATE) & INSTALLED or not guest.dword(HANDLER):
            return False
        guest.ax, guest.bx, guest.cx = guest.read(PACKET, 3)
        guest.dx = 0
        return True

    def call(self) -> None:
        guest = self.guest
        guest.ah = status = self._do(guest.al)
        guest.set_flag(CF, status != OK)

    def _do(self, function: int) -> int:
        guest = self.guest
        if function == 0:
            if guest.bh > 1:
                return BAD_INPUT
            if guest.bh and not guest.dword(HANDLER):
                return NO_HANDLER
            self._enable(guest.bh == 1)
        elif function == 1:
            self._send(0xFF)
            guest.bx = 0x00AA
        elif function == 2:
            if guest.bh >= len(RATES):
                return BAD_INPUT
            self._send(0xF3, RATES[guest.bh])
        elif function == 3:
            if guest.bh > 3:
                return BAD_INPUT
            self._send(0xE8, guest.bh)
        elif function == 4:
            guest.bh = 0
        elif function == 5:
            guest.set_byte(INDEX, 0)
            self._send(0xF6)
        elif function == 6:
            return self._extended()
        elif function == 7:
            guest.set_dword(HANDLER, guest.selector(ES) << 16 | guest.bx)
            guest.set_byte(STATE, INSTALLED if guest.dword(HANDLER) else 0)
        else:
            return BAD_FUNCTION
        return OK

    def _extended(self) -> int:
        guest = self.guest
        if guest.bh == 0:
            guest.bl, guest.cl, guest.dl = 0x20, 2, 100
        elif guest.bh <= 2:
            self._send(0xE6 if guest.bh == 1 else 0xE7)
        else:
            return BAD_INPUT
        return OK

    def _enable(self, on: bool) -> None:
        """The mouse reports, and the controller lets its interrupt through."""
        guest = self.guest
        guest.set_byte(INDEX, 0)
        guest.port_out(CONTROLLER, 0x20)
        command = guest.port_in(DATA)
        self._send(0xF4 if on else 0xF5)
        guest.port_out(CONTROLLER, 0x60)
        guest.port_out(DATA, (command | 0x02 if on else command) & ~0x20)

    def _send(self, *bytes_: int) -> None:
        """To the mouse; what it answers is thrown away."""
        guest = self.guest
        for byte in bytes_:
            guest.port_out(CONTROLLER, TO_MOUSE)
            guest.port_out(DATA, byte)
            for _ in range(8):
                if guest.port_in(CONTROLLER) & 0x21 != 0x21:
                    break
                guest.port_in(DATA)
