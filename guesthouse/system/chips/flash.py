"""A parallel NOR flash chip with Intel's command set: CFI (JEDEC JESD68.01), command set 0001h (Intel AP-646), eight
bits wide, in blocks of 4 KiB, as firmware for virtual machines keeps its variables in.

While it shows its array nobody asks this file: the board lets the guest read the bytes as memory. As on QEMU, and as
EDK II tests it, "ready" reads as 0 after the status has been cleared. Not modelled: suspending, protection registers,
the time that operations take.
"""

from __future__ import annotations

from typing import Callable, Protocol

from guesthouse.system.chips.kit import Chip, Field

BLOCK = 4096
MANUFACTURER, DEVICE = 0x89, 0x18
READY, ERASE_FAILED, PROGRAM_FAILED = 0x80, 0x20, 0x10
READ_ARRAY, READ_ARRAY_AMD, READ_ID, QUERY, READ_STATUS, CLEAR_STATUS = 0xFF, 0xF0, 0x90, 0x98, 0x70, 0x50
PROGRAM, PROGRAM_OLD, ERASE, CONFIRM, BUFFERED, LOCK = 0x40, 0x10, 0x20, 0xD0, 0xE8, 0x60
BUFFER = 32  # bytes


class Cells(Protocol):
    def read(self, at: int, count: int) -> bytes: ...
    def write(self, at: int, data: bytes) -> object: ...


class Flash(Chip):
    """`size` bytes in `cells`. `show(True)`: the guest reads the array; False: it reads from here."""

    command = Field(READ_ARRAY)
    status = Field()
    left = Field()  # bytes that BUFFERED still takes; -1: their number comes next
    buffer = Field([])

    def __init__(self, size: int, cells: Cells, show: Callable[[bool], object]) -> None:
        self.size, self.cells, self.show = size, cells, show
        self.query = _query(size)
        self.shown: bool | None = None
        super().__init__()

    def settle(self) -> None:
        array = self.command == READ_ARRAY
        if array != self.shown:
            self.shown = array
            self.show(array)

    def read(self, offset: int, size: int = 1) -> int:
        return sum(self._read_byte(offset + n) << 8 * n for n in range(size))

    def _read_byte(self, at: int) -> int:
        if self.command == READ_ARRAY:
            return self.cells.read(at, 1)[0] if at < self.size else 0xFF
        if self.command == READ_ID:
            return (MANUFACTURER, DEVICE, 0, 0)[at & 3]
        if self.command == QUERY:
            return self.query[at] if at < len(self.query) else 0
        return int(self.status)

    def write(self, offset: int, size: int, value: int) -> None:
        for n in range(size if self.command in (PROGRAM, BUFFERED) else 1):
            self._write_byte(offset + n, value >> 8 * n & 0xFF)
        self.settle()

    def _write_byte(self, at: int, value: int) -> None:
        """The second byte of a command, or the first of one."""
        if self.command == PROGRAM:
            self._program(at, bytes([value]))
        elif self.command == BUFFERED:
            self._fill(at, value)
        elif self.command == ERASE:
            self._erase(at) if value == CONFIRM else self._refuse(ERASE_FAILED | PROGRAM_FAILED)
        elif self.command == LOCK:
            self.status, self.command = self.status | READY, READ_STATUS
        else:
            self._begin(value)

    def _begin(self, value: int) -> None:
        if value in (READ_ARRAY, READ_ARRAY_AMD, CLEAR_STATUS):
            self.status = 0 if value == CLEAR_STATUS else self.status
            self.command = READ_ARRAY
        elif value in (READ_ID, QUERY, READ_STATUS, ERASE, LOCK):
            self.command = value
        elif value in (PROGRAM, PROGRAM_OLD):
            self.command = PROGRAM
        elif value == BUFFERED:
            self.command, self.left, self.status = BUFFERED, -1, self.status | READY
            self.buffer = []

    def _program(self, at: int, data: bytes) -> None:
        """Bits can only become 0."""
        if at + len(data) <= self.size:
            before = self.cells.read(at, len(data))
            self._put(at, bytes(old & new for old, new in zip(before, data, strict=True)), PROGRAM_FAILED)

    def _erase(self, at: int) -> None:
        if at < self.size:
            self._put(at // BLOCK * BLOCK, b"\xFF" * BLOCK, ERASE_FAILED)

    def _put(self, at: int, data: bytes, failure: int) -> None:
        self.status, self.command = self.status | READY, READ_STATUS
        try:
            self.cells.write(at, data)
        except OSError:  # who keeps the cells cannot
            self.status |= failure

    def _refuse(self, why: int) -> None:
        self.status, self.command = self.status | READY | why, READ_STATUS

    def _fill(self, at: int, value: int) -> None:
        """Their number less one, the bytes, and the confirmation that has them programmed."""
        if self.left < 0:
            self.left = value % BUFFER + 1
        elif self.left > 0:
            self.buffer.append((at, value))
            self.left -= 1
        elif value == CONFIRM:
            for where, byte in self.buffer:
                self._program(where, bytes([byte]))
        else:
            self._refuse(PROGRAM_FAILED)


def _query(size: int) -> bytes:
    """The CFI structure (JESD68.01, tables 1 to 3), at 10h."""
    made = bytearray(0x40)
    blocks = size // BLOCK
    made[0x10:0x1B] = b"QRY\x01\x00\x31\x00\x00\x00\x00\x00"
    made[0x1B:0x27] = bytes([0x45, 0x55, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0])
    made[0x27] = (size - 1).bit_length()
    made[0x28:0x2D] = bytes([0, 0, (BUFFER - 1).bit_length(), 0, 1])  # eight bits wide; one kind of block
    made[0x2D:0x31] = (blocks - 1 & 0xFFFF).to_bytes(2, "little") + (BLOCK // 256).to_bytes(2, "little")
    made[0x31:0x34] = b"PRI"
    return bytes(made)
