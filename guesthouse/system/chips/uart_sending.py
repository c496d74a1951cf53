"""What a 16550A UART (uart.py) does for a kernel that prints: it asks for the line status, sends a byte, and so on. Two
thirds of all exits of a boot were these, so that processors call this part themselves (engine/chip_code.py).
"""

from guesthouse.bits import u8, u64
from guesthouse.system.chips.kit import REFUSED
from guesthouse.typed import Array, Struct

KEPT = 256  # bytes that wait for the guest to pause, at most
DATA, STATUS = 0, 5  # offsets of the registers


class Sending(Struct):
    """What the guest has sent since it last paused. Where more comes of an access than that it is refused: then the
    chip does it."""

    count: u64
    just_sent: u64  # nothing but a byte to send since the line status was read
    alone: u64  # a byte to send has no other effect
    status: u64  # the line status, as long as reading it has no other effect; else 0
    kept: Array[u8, KEPT]

    def put(self, byte: u8) -> None:
        self.kept[u8(self.count)] = byte  # u8 cuts nothing, and is never outside: this cannot be abandoned
        self.count += 1
        self.just_sent = u64(1)

    def read(self, offset: u64, size: u64) -> u64:
        """A kernel's console looks here before each byte: only who looks twice has paused."""
        if offset != STATUS or size != 1 or self.status == 0 or self.count != 0 and self.just_sent == 0:
            return u64(REFUSED)
        self.just_sent = u64(0)
        return self.status

    def write(self, offset: u64, size: u64, value: u64) -> u64:
        if offset != DATA or size != 1 or self.alone == 0 or self.count == KEPT:
            return u64(REFUSED)
        self.put(u8(value))
        return u64(0)
