"""INT 74h and INT 15h, C2h: the pointing device (IBM PS/2 and PC BIOS interface technical reference,
C2xxh).

Packets of three bytes. The device is told through the controller's port; its acknowledgements are taken
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from guesthouse.system.firmware.bios.guest import CF, ES, Guest
from guesthouse.system.firmware.bios.settings import EBDA

HANDLER, INDEX, STATE, PACKET = EBDA + 0x22, EBDA + 0x26, EBDA + 0x27, EBDA + 0x28
INSTALLED = 0x80  # in STATE: a handler is set
CONTROLLER, DATA = 0x64, 0x60
READ_COMMAND, WRITE_COMMAND, CLOSE_KEYBOARD, PUT_BACK, TO_MOUSE = 0x20, 0x60, 0xAD, 0xD2, 0xD4
INTERRUPT, INTERRUPTS, CLOSED = 0x02, 0x03, 0x30  # command byte: of the mouse, of both; their lines
FULL, FROM_MOUSE = 0x01, 0x20  # the controller's status
RESET_ANSWER, MOMENT, PATIENCE = 3, 100_000, 20  # bytes; ns between two looks; looks
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
        self.guest.set_byte(INDEX, 0)
        with self._alone(INTERRUPT if on else 0):
            self._tell(0xF4 if on else 0xF5)

    def _send(self, *commands: int) -> None:
        with self._alone():
            for command in commands:
                self._tell(command)

    @contextmanager
    def _alone(self, more: int = 0) -> Iterator[None]:
        """The keyboard's line is closed, the mouse's open, and neither interrupts; `more` is for the controller's
        command byte afterwards. A byte of the keyboard's that has come already is put back at the end."""
        guest, held = self.guest, []
        guest.port_out(CONTROLLER, CLOSE_KEYBOARD)
        if (status := guest.port_in(CONTROLLER)) & FULL:
            held = [byte for byte in (guest.port_in(DATA),) if not status & FROM_MOUSE]
        guest.port_out(CONTROLLER, READ_COMMAND)
        command = guest.port_in(DATA) & ~CLOSED
        self._set_command(command & ~INTERRUPTS)
        guest.port_out(CONTROLLER, CLOSE_KEYBOARD)
        yield
        for byte in held:
            guest.port_out(CONTROLLER, PUT_BACK)
            guest.port_out(DATA, byte)
        self._set_command(command | more)

    def _set_command(self, value: int) -> None:
        self.guest.port_out(CONTROLLER, WRITE_COMMAND)
        self.guest.port_out(DATA, value)

    def _tell(self, command: int) -> None:
        """Its answer is waited for and thrown away: left there, it would be taken for the beginning of a packet."""
        guest = self.guest
        guest.port_out(CONTROLLER, TO_MOUSE)
        guest.port_out(DATA, command)
        left = RESET_ANSWER if command == 0xFF else 1
        for _ in range(PATIENCE):
            if guest.port_in(CONTROLLER) & FULL:
                guest.port_in(DATA)
                left -= 1
            if not left:
                return
            guest.bus.wait(MOMENT)
