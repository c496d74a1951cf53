"""A PS/2 mouse with the wheel, after the IBM PS/2 technical reference, "Mouse", and Microsoft's description of
the IntelliMouse (identity 3 after the sample rates 200, 100, 80).

Movements add up until the guest has taken the packet before. Not modelled: the fourth and fifth button.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Field, Stateful

ACK, RESEND, PASSED = 0xFA, 0xFE, 0xAA
KNOCK = [200, 100, 80]
FARTHEST = 1 << 15  # movement that is remembered
FAR = 128  # in one packet, which has nine bits for it: KolibriOS takes eight


def within(value: int, limit: int) -> int:
    return max(-limit, min(limit - 1, value))


class Ps2Mouse(Stateful):
    replies = Field(b"")
    packet = Field(b"")
    reporting = Field(False)
    remote = Field(False)
    wrap = Field(False)
    doubled = Field(False)  # scaling 2:1
    resolution = Field(2)
    rate = Field(100)
    rates = Field([])  # the last three, for the knock
    identity = Field(0)
    argument_of = Field()
    x = Field()
    y = Field()
    wheel = Field()
    buttons = Field()
    reported = Field()  # the buttons that the guest knows of
    last = Field(PASSED)

    def __init__(self) -> None:
        super().__init__()
        self.on_data: Callable[[], object] = lambda: None

    # the host's side

    def move(self, dx: int, dy: int, buttons: int, wheel: int = 0) -> None:
        """To the right, down, the buttons (1 left, 2 right, 4 middle) and clicks of the wheel towards the user."""
        self.x, self.y = within(self.x + dx, FARTHEST), within(self.y - dy, FARTHEST)
        self.wheel, self.buttons = within(self.wheel + wheel, 8), buttons & 7
        self.on_data()

    # the controller's side

    def pending(self) -> bool:
        moved = self.x or self.y or self.wheel or self.buttons != self.reported
        return bool(self.replies or self.packet or moved and self.reporting and not self.remote)

    def take(self) -> int:
        if not self.replies and not self.packet and self.pending():
            self.packet = self._packet()
        if self.replies:
            self.last, self.replies = self.replies[0], self.replies[1:]
        elif self.packet:
            self.last, self.packet = self.packet[0], self.packet[1:]
        return int(self.last)

    def _packet(self) -> bytes:
        dx, dy, dz = within(self.x, FAR), within(self.y, FAR), within(self.wheel, 8)
        self.x, self.y, self.wheel = self.x - dx, self.y - dy, self.wheel - dz
        self.reported = self.buttons
        first = self.buttons | 8 | (dx < 0) << 4 | (dy < 0) << 5
        wheel = bytes((dz & 0xFF,)) if self.identity == 3 else b""
        return bytes((first, dx & 0xFF, dy & 0xFF)) + wheel

    def send(self, byte: int) -> None:
        """A command or an argument. Any of them breaks off the packet under way."""
        command, self.argument_of = self.argument_of, 0
        self.packet = b""
        if self.wrap and byte not in (0xEC, 0xFF):
            self.replies = bytes((byte,))
        elif command:
            self.replies = bytes((ACK,))
            self._argument(command, byte)
        else:
            self.replies = self._command(byte)

    def _argument(self, command: int, byte: int) -> None:
        if command == 0xE8:
            self.resolution = byte & 3
            return
        self.rate, self.rates = byte, [*self.rates, byte][-3:]
        if self.rates == KNOCK:
            self.identity = 3

    def _command(self, byte: int) -> bytes:
        if byte in (0xE8, 0xF3):
            self.argument_of = byte
        elif byte in (0xF6, 0xFF):
            self.clear()
            if byte == 0xFF:
                return bytes((ACK, PASSED, 0))
        elif byte in (0xE6, 0xE7):
            self.doubled = byte == 0xE7
        elif byte in (0xEC, 0xEE):
            self.wrap = byte == 0xEE
        elif byte in (0xEA, 0xF0):
            self.remote = byte == 0xF0
        elif byte in (0xF4, 0xF5):
            self.reporting = byte == 0xF4
            self.x = self.y = self.wheel = 0
        else:
            return self._question(byte)
        return bytes((ACK,))

    def _question(self, byte: int) -> bytes:
        if byte == 0xE9:
            left, right, middle = self.buttons & 1, self.buttons >> 1 & 1, self.buttons >> 2 & 1
            state = self.remote << 6 | self.reporting << 5 | self.doubled << 4
            return bytes((ACK, state | left << 2 | middle << 1 | right, self.resolution, self.rate))
        if byte == 0xEB:
            return bytes((ACK,)) + self._packet()
        if byte == 0xF2:
            return bytes((ACK, self.identity))
        return bytes((self.last,)) if byte == 0xFE else bytes((RESEND,))
