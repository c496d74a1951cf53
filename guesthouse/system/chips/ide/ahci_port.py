"""One port of an AHCI adapter with the drive behind it, after Intel's AHCI 1.3.1, sections 3.3 and 5, and Serial ATA
2.6 for the frames (FIS) that go over its wire.

A command is done at once, in the order of the slots. Not modelled: port multipliers, power states, staggered
spin-up, command completion coalescing.
"""

from __future__ import annotations

import struct

from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.bus_master import Memory
from guesthouse.system.chips.ide.drive import ERR, Drive
from guesthouse.system.chips.ide.registers import IN, OUT
from guesthouse.system.chips.kit import Chip, Field, Register, Stateful, on_read, on_write

SLOTS = 32
START, SPUN_UP, POWERED, OVERRIDE, RECEIVE, RECEIVING, RUNNING, ATAPI = (
    1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 14, 1 << 15, 1 << 24)  # command
REGISTER_FIS, PIO_FIS, BITS_FIS, CHANGED, OVERFLOW, BUS_ERROR, FILE_ERROR = (
    1 << 0, 1 << 1, 1 << 3, 1 << 6, 1 << 24, 1 << 29, 1 << 30)  # interrupt status
EXCHANGED, PRESENT, NOBODY = 1 << 26, 0x123, 0x7F  # SERR.DIAG.X; SSTS: there, second generation, active; TFD
WRITE, CLEAR_BUSY = 1 << 6, 1 << 10  # command header
HOST_TO_DEVICE, DEVICE_TO_HOST, PIO_SETUP, DEVICE_BITS = 0x27, 0x34, 0x5F, 0xA1
SOFT_RESET = 0x04
PACKET, READ_LOG, READ_QUEUED, WRITE_QUEUED, READ_EXTENDED, WRITE_EXTENDED = 0xA0, 0x2F, 0x60, 0x61, 0x25, 0x35
BY_PIO = {0x20, 0x24, 0x29, 0xC4, 0xEC, 0xA1, READ_LOG}
QUEUE_ERROR_LOG, MOST = 0x10, 1 << 16  # log page; bytes that are moved at once
Piece = tuple[int, int]


class Stopped(Exception):
    """The command failed; the rest of the list waits until software starts the port again."""


class Port(Chip):
    SIZE, BUS = 0x80, 4
    list_base = Register(0x00, width=64, writable=0xFFFF_FFFF_FFFF_FC00, sizes=(4, 8))
    frames_base = Register(0x08, width=64, writable=0xFFFF_FFFF_FFFF_FF00, sizes=(4, 8))
    interrupts = Field()
    enable = Register(0x14, width=32, writable=0xFDC0_00FF)
    command = Field()
    task_file = Field(NOBODY)
    signature = Field(0xFFFF_FFFF)
    control = Field()
    errors = Field()
    active = Field()
    issued = Field()
    slot = Field()
    stopped = Field(False)
    resetting = Field(False)  # software reset has been asserted by a control frame
    failed = Field(b"")  # log page 10h: which queued command failed

    def __init__(self, memory: Memory, refused: type[Exception]) -> None:
        self.memory, self.refused = memory, refused
        self.drive: Drive | None = None
        super().__init__()

    def attach(self, drive: Drive) -> None:
        self.drive = drive
        self.connect()

    def parts(self) -> dict[str, Stateful]:
        return {} if self.drive is None else {"drive": self.drive}

    def reset(self) -> None:
        super().reset()
        self.connect()

    def connect(self) -> None:
        """The wire comes up: the drive says what it is (COMRESET, 10.4.2)."""
        if self.drive is None:
            return
        self.drive.soft_reset()
        self.stopped = self.resetting = False
        self.signature = self._sign()
        self.errors |= EXCHANGED
        self.interrupts |= CHANGED
        self._show()
        self._register_frame()

    def _sign(self) -> int:
        assert self.drive is not None
        mid, high = self.drive.SIGNATURE
        return high << 24 | mid << 16 | 0x0101

    # registers

    @on_read(0x10, width=32, pure=True)
    def read_interrupts(self) -> int:
        """CHANGED mirrors the error bit that causes it."""
        return int(self.interrupts & ~CHANGED | (CHANGED if self.errors & EXCHANGED else 0))

    @on_write(0x10, width=32)
    def clear_interrupts(self, value: int) -> None:
        self.interrupts &= ~value

    @on_read(0x18, width=32, pure=True)
    def read_command(self) -> int:
        return int(self.command | (RUNNING if self.command & START else 0)
                   | (RECEIVING if self.command & RECEIVE else 0) | self.slot << 8)

    @on_write(0x18, width=32)
    def write_command(self, value: int) -> None:
        before, self.command = self.command, value & (START | SPUN_UP | POWERED | RECEIVE | ATAPI)
        if value & OVERRIDE:
            self.task_file &= ~0x88
        if before & ~value & START:
            self.active = self.issued = self.slot = 0
            self.stopped = False
        if value & RECEIVE and not before & RECEIVE:
            self._register_frame()
        self.run()

    @on_read(0x20, width=32, pure=True)
    def read_task_file(self) -> int:
        return int(self.task_file)

    @on_read(0x24, width=32, pure=True)
    def read_signature(self) -> int:
        return int(self.signature)

    @on_read(0x28, width=32, pure=True)
    def read_status(self) -> int:
        return PRESENT if self.drive is not None and self.control & 0xF != 4 else 0

    @on_read(0x2C, width=32, pure=True)
    def read_control(self) -> int:
        return int(self.control)

    @on_write(0x2C, width=32)
    def write_control(self, value: int) -> None:
        """DET: 1 holds the wire in reset, back to 0 lets it come up."""
        before, self.control = self.control, value & 0xFFF
        if before & 0xF == 1 and value & 0xF == 0:
            self.connect()

    @on_read(0x30, width=32, pure=True)
    def read_errors(self) -> int:
        return int(self.errors)

    @on_write(0x30, width=32)
    def clear_errors(self, value: int) -> None:
        self.errors &= ~value

    @on_read(0x34, width=32, pure=True)
    def read_active(self) -> int:
        return int(self.active)

    @on_write(0x34, width=32)
    def set_active(self, value: int) -> None:
        if self.command & START:
            self.active |= value

    @on_read(0x38, width=32, pure=True)
    def read_issued(self) -> int:
        return int(self.issued)

    @on_write(0x38, width=32)
    def issue(self, value: int) -> None:
        if self.command & START:
            self.issued |= value
            self.run()

    @on_read(0x3C, width=32, count=2, pure=True)
    def not_there(self, n: int) -> int:
        """Notifications and switching between devices, which need a port multiplier."""
        return 0

    def odd_read(self, offset: int, size: int) -> int:
        return super().odd_read(offset, size) if size > self.BUS else 0

    # commands

    def run(self) -> None:
        """Every slot that has been issued, each once."""
        for slot in range(SLOTS):
            if self.stopped or not self.command & START or self.drive is None:
                return
            if self.issued >> slot & 1:
                self.slot = slot
                self._slot(self.drive, slot)

    def _slot(self, drive: Drive, slot: int) -> None:
        try:
            self._execute(drive, slot)
        except Stopped:
            self.stopped = True
        except self.refused:
            drive.stop()
            self.interrupts |= BUS_ERROR
            self.stopped = True

    def _execute(self, drive: Drive, slot: int) -> None:
        at = self.list_base + 32 * slot
        flags, _, table = struct.unpack("<IIQ", self.memory.read(at, 16))
        frame = self.memory.read(table & ~0x7F, 0x50)
        if frame[0] != HOST_TO_DEVICE:
            self.issued &= ~(1 << slot)
        elif not frame[1] & 0x80:
            self._control_frame(drive, frame, flags)
            self.issued &= ~(1 << slot)
        else:
            pieces = self._pieces((table & ~0x7F) + 0x80, flags >> 16)
            if frame[2] in (READ_QUEUED, WRITE_QUEUED):
                self._queued(drive, frame, slot, pieces)
            else:
                self._plain(drive, frame, slot, pieces, at)

    def _control_frame(self, drive: Drive, frame: bytes, flags: int) -> None:
        """Software reset: asserted by one frame, ended by the next."""
        asserted = bool(frame[15] & SOFT_RESET)
        if self.resetting and not asserted:
            drive.soft_reset()
            self._show()
            self.signature = self._sign()
            self._register_frame()
            self.interrupts |= REGISTER_FIS
        self.resetting = asserted

    def _pieces(self, at: int, count: int) -> list[Piece]:
        raw = self.memory.read(at, 16 * count)
        return [(address, (last & 0x3F_FFFF) + 1) for address, _, last in struct.iter_unpack("<QII", raw)]

    def _load(self, drive: Drive, frame: bytes, command: int, *, count: tuple[int, int]) -> None:
        """The task file, the second bytes of 48-bit commands first."""
        for n, old, new in ((1, frame[11], frame[3]), (2, *count), (3, frame[8], frame[4]), (4, frame[9], frame[5]),
                            (5, frame[10], frame[6])):
            drive.put_register(n, old)
            drive.put_register(n, new)
        drive.device = frame[7] & 0x5F
        drive.execute(command)

    def _plain(self, drive: Drive, frame: bytes, slot: int, pieces: list[Piece], header: int) -> None:
        command = frame[2]
        if command == READ_LOG and frame[4] == QUEUE_ERROR_LOG and self.failed:
            drive.stop()
            drive.give(self.failed)
            self.failed = b""
        else:
            self._load(drive, frame, command, count=(frame[13], frame[12]))
        if command == PACKET and drive.room():
            drive.push(frame[0x40:0x40 + drive.room()])
        moved = self._move(drive, pieces)
        self.memory.write(header + 4, moved.to_bytes(4, "little"))
        self._show()
        drive.interrupting = False
        if drive.status & ERR:
            self._register_frame()
            self.interrupts |= REGISTER_FIS | FILE_ERROR  # the frame asks for an interrupt of its own
            raise Stopped
        self.issued &= ~(1 << slot)
        if command in BY_PIO:
            self._frame(0x20, struct.pack("<BBBB8xB2xBHxx", PIO_SETUP, 0x60, drive.status, 0, 0, drive.status,
                                          moved & 0xFFFF))
            self.interrupts |= PIO_FIS
        else:
            self._register_frame()
            self.interrupts |= REGISTER_FIS

    def _queued(self, drive: Drive, frame: bytes, slot: int, pieces: list[Piece]) -> None:
        """The count is in the features, the tag in the count (Serial ATA, 13.6.4)."""
        tag = frame[12] >> 3
        self.issued &= ~(1 << slot)
        if not isinstance(drive, AtaDisk):
            drive.fail(0x04)
        else:
            command = READ_EXTENDED if frame[2] == READ_QUEUED else WRITE_EXTENDED
            self._load(drive, frame, command, count=(frame[11], frame[3]))
            self._move(drive, pieces)
        drive.interrupting = False
        self._show()
        if drive.status & ERR:
            self.failed = self._log(drive, tag, frame)
            self._frame(0x58, struct.pack("<BBBBI", DEVICE_BITS, 0x40, drive.status & 0x77, drive.error, 0))
            self.interrupts |= BITS_FIS | FILE_ERROR
            raise Stopped
        self.active &= ~(1 << tag)
        self._frame(0x58, struct.pack("<BBBBI", DEVICE_BITS, 0x40, drive.status & 0x77, 0, 1 << tag))
        self.interrupts |= BITS_FIS

    @staticmethod
    def _log(drive: Drive, tag: int, frame: bytes) -> bytes:
        """Log page 10h (Serial ATA, 13.7.4)."""
        page = bytearray(512)
        page[:4] = bytes((tag, 0, drive.status & 0xFF, drive.error & 0xFF))
        page[4:8], page[8:11] = frame[4:8], frame[8:11]
        page[511] = -sum(page) & 0xFF
        return bytes(page)

    def _move(self, drive: Drive, pieces: list[Piece]) -> int:
        """The drive's data, along the list; says how much. What does not fit is lost and reported."""
        moved = 0
        for address, left in pieces:
            while left and drive.direction:
                if drive.direction == IN:
                    data = drive.pull(min(left, MOST))
                    self.memory.write(address, data)
                    done = len(data)
                else:
                    done = drive.push(self.memory.read(address, min(left, MOST, drive.room())))
                address, left, moved = address + done, left - done, moved + done
                if not done:
                    break
        if drive.direction:
            self.interrupts |= OVERFLOW
            if drive.direction == OUT:
                drive.fail(0x04)
            else:
                drive.finish()
        return moved & 0xFFFF_FFFF

    # frames to the host

    def _show(self) -> None:
        assert self.drive is not None
        self.task_file = self.drive.status & 0xFF | (self.drive.error & 0xFF) << 8

    def _register_frame(self) -> None:
        drive = self.drive
        if drive is not None:
            low, mid, high = drive.low, drive.mid, drive.high
            now = (low & 0xFF, mid & 0xFF, high & 0xFF, drive.device & 0xFF, low >> 8, mid >> 8, high >> 8, 0)
            head = (DEVICE_TO_HOST, 0x40, drive.status & 0xFF, drive.error & 0xFF)
            self._frame(0x40, bytes((*head, *now, drive.count & 0xFF, drive.count >> 8)).ljust(20, b"\0"))

    def _frame(self, offset: int, frame: bytes) -> None:
        if self.command & RECEIVE:
            try:
                self.memory.write(self.frames_base + offset, frame)
            except self.refused:
                self.interrupts |= BUS_ERROR
