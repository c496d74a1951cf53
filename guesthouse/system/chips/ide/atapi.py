"""An ATAPI CD-ROM drive, after ATA/ATAPI-6 (T13 1410D), 9.8 (packet protocols), and MMC-3 (T10 1363-D).

Discs have one data track. Not modelled: audio, raw sectors, writing, more than one session.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.ide.ata import words
from guesthouse.system.chips.ide.drive import ABRT, DRDY, DRQ, DSC, ERR, Disk, Drive
from guesthouse.system.chips.ide.registers import OUT
from guesthouse.system.chips.kit import Field

SECTOR, CHUNK, PACKET = 2048, 32, 12
NO_SENSE, NOT_READY, MEDIUM_ERROR, ILLEGAL, ATTENTION = 0, 2, 3, 5, 6
NO_MEDIUM, CHANGED, BAD_COMMAND, OUT_OF_RANGE, BAD_FIELD, LOCKED = 0x3A, 0x28, 0x20, 0x21, 0x24, 0x53
LEAD_OUT = 0xAA
Sense = tuple[int, int]
Answer = bytes | Sense


def big(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def number(packet: bytes, at: int, size: int) -> int:
    return int.from_bytes(packet[at:at + size], "big")


def minutes(lba: int) -> bytes:
    """An address as minute, second and frame."""
    frames = lba + 150
    return bytes((0, min(255, frames // 4500), frames // 75 % 60, frames % 75))


class AtapiCdrom(Drive):
    SIGNATURE = (0x14, 0xEB)
    sense = Field((NO_SENSE, 0))
    changed = Field(False)
    locked = Field(False)
    pending = Field(b"")  # of an answer, what has not been given
    lba = Field()
    left = Field()  # sectors that have not been read
    limit = Field()  # bytes per block
    packet_next = Field(False)

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk
        super().__init__()
        self.sign()

    def clear(self) -> None:
        super().clear()
        self.mid, self.high = self.SIGNATURE

    # the host's side

    def insert(self, disk: Disk) -> None:
        self.disk, self.changed = disk, True

    def eject(self) -> None:
        self.disk = None

    # ATA commands

    def execute(self, command: int) -> None:
        self.stop()
        self.pending, self.left, self.packet_next = b"", 0, False
        if command == 0xA0:
            self.packet_next = True
            self.dma = False
            self.want(PACKET, interrupt=False)
            self.count = 1  # command, to the drive
        elif command == 0xA1:
            self.give(self.identify())
        elif command == 0x08:
            self.soft_reset()
            self.status = 0
        elif command in (0xEF, 0xE0, 0xE1, 0xE2, 0xE3, 0xE5, 0xE6, 0xE7):
            self.finish()
        else:
            if command in (0xEC, 0x20):
                self.sign()
            self.fail(ABRT)

    def soft_reset(self) -> None:
        super().soft_reset()
        self.pending, self.left, self.packet_next = b"", 0, False
        self.status = 0  # a packet device is not ready before its first packet (9.12)

    def block_done(self, data: bytes) -> None:
        if self.packet_next:
            self.packet_next = False
            self._packet(data)
        elif self.direction == OUT:
            self._complete()
        elif self.limit:
            self._more()
        else:
            self.stop()  # the answer to IDENTIFY

    def _packet(self, packet: bytes) -> None:
        limit = self.mid & 0xFF | (self.high & 0xFF) << 8
        self.limit = (limit & 0xFFFE) or 0xFFFE
        wants_dma = bool(self.features & 1)
        self.stop()
        command = packet[0]
        if self.changed and command not in (0x03, 0x12, 0x46, 0x4A):
            self.changed = False
            self._refuse((ATTENTION, CHANGED))
            return
        act = COMMANDS.get(command)
        answer: Answer = (ILLEGAL, BAD_COMMAND) if act is None else act(self, packet)
        if isinstance(answer, tuple):
            self._refuse(answer)
            return
        if command != 0x03:
            self.sense = (NO_SENSE, 0)
        self.pending, self.dma = answer, wants_dma
        self._more()

    def _refuse(self, sense: Sense) -> None:
        self.sense, self.left, self.limit = sense, 0, 0
        self.fail(sense[0] << 4 | ABRT)
        self.count = 3

    def _more(self) -> None:
        """The next block of the answer, or the end of the command."""
        if not self.pending and self.left:
            count = min(self.left, CHUNK)
            assert self.disk is not None
            try:
                self.pending = self.disk.read(self.lba, count)
            except OSError:
                self._refuse((MEDIUM_ERROR, 0x11))
                return
            self.lba, self.left = self.lba + count, self.left - count
        if not self.pending:
            self._complete()
            return
        size = len(self.pending) if self.dma else min(self.limit, len(self.pending))
        block, self.pending = self.pending[:size], self.pending[size:]
        self.mid, self.high, self.count = size & 0xFF, size >> 8 & 0xFF, 2
        self.give(block)

    def _complete(self) -> None:
        self.limit = 0
        self.finish()
        self.count = 3

    # packets

    def ready(self) -> Sense | None:
        return None if self.disk is not None else (NOT_READY, NO_MEDIUM)

    def test_ready(self, packet: bytes) -> Answer:
        return self.ready() or b""

    def request_sense(self, packet: bytes) -> Answer:
        key, code = self.sense
        if self.changed and key == NO_SENSE:
            key, code, self.changed = ATTENTION, CHANGED, False
        self.sense = (NO_SENSE, 0)
        return (bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code)) + bytes(5))[:packet[4]]

    def inquiry(self, packet: bytes) -> Answer:
        return (b"\x05\x80\x00\x21\x1F\0\0\0" + b"GUESTHSE" + b"CD-ROM".ljust(16) + b"1.0 ")[:packet[4]]

    def read(self, packet: bytes) -> Answer:
        wide = packet[0] == 0xA8
        return self._read(number(packet, 2, 4), number(packet, 6, 4) if wide else number(packet, 7, 2))

    def read_cd(self, packet: bytes) -> Answer:
        if packet[9] & 0xF8 == 0:
            return b""
        if packet[9] & 0xF8 != 0x10:  # anything but user data
            return ILLEGAL, BAD_FIELD
        return self._read(number(packet, 2, 4), number(packet, 6, 3))

    def _read(self, lba: int, count: int) -> Answer:
        if self.disk is None:
            return NOT_READY, NO_MEDIUM
        if lba + count > self.disk.sectors:
            return ILLEGAL, OUT_OF_RANGE
        self.lba, self.left = lba, count
        return b""

    def capacity(self, packet: bytes) -> Answer:
        return self.ready() or big(self._sectors() - 1, 4) + big(SECTOR, 4)

    def _sectors(self) -> int:
        return max(1, min(self.disk.sectors, 1 << 31)) if self.disk is not None else 1

    def seek(self, packet: bytes) -> Answer:
        if self.disk is not None and number(packet, 2, 4) >= self.disk.sectors:
            return ILLEGAL, OUT_OF_RANGE
        return self.ready() or b""

    def contents(self, packet: bytes) -> Answer:
        """READ TOC: the track, and the lead-out behind it."""
        if self.disk is None:
            return NOT_READY, NO_MEDIUM
        place: Callable[[int], bytes] = minutes if packet[1] & 2 else lambda lba: big(lba, 4)
        kind, length = packet[2] & 15 or packet[9] >> 6, number(packet, 7, 2)
        track = b"\0\x14\1\0" + place(0)
        if kind == 1:
            return (b"\0\x0A\1\1" + track)[:length]
        if kind != 0 or 1 < packet[6] < LEAD_OUT:
            return ILLEGAL, BAD_FIELD
        entries = (track if packet[6] <= 1 else b"") + bytes((0, 0x14, LEAD_OUT, 0)) + place(self._sectors())
        return (big(len(entries) + 2, 2) + b"\1\1" + entries)[:length]

    def start_stop(self, packet: bytes) -> Answer:
        """LoEj without Start opens the tray; the disc is gone then, and only the user brings another."""
        if packet[4] & 3 == 2:
            if self.locked:
                return ILLEGAL, LOCKED
            self.eject()
        return b""

    def prevent(self, packet: bytes) -> Answer:
        self.locked = bool(packet[4] & 1)
        return b""

    def mode_sense(self, packet: bytes) -> Answer:
        pages = {0x01: b"\x01\x06\0\x05\0\0\0\0", 0x0E: b"\x0E\x0E\x04" + bytes(13),
                 0x2A: b"\x2A\x12\0\0\0\0\x29\0\x02\xC2\0\x02\0\0\x02\xC2\0\0\0\0"}
        page = packet[2] & 0x3F
        if page != 0x3F and page not in pages:
            return ILLEGAL, BAD_FIELD
        body = b"".join(pages.values()) if page == 0x3F else pages[page]
        short = packet[0] == 0x1A
        head = (bytes((len(body) + 3, 1, 0, 0)) if short
                else big(len(body) + 6, 2) + bytes((1 if self.disk else 0x70, 0, 0, 0, 0, 0)))
        return (head + body)[:packet[4] if short else number(packet, 7, 2)]

    def events(self, packet: bytes) -> Answer:
        if not packet[1] & 1:
            return ILLEGAL, BAD_FIELD  # only polling
        if not packet[4] & 0x10:
            return (b"\0\2\x80\x10")[:number(packet, 7, 2)]
        return (b"\0\6\4\x10" + bytes((2 if self.changed else 0, 2 if self.disk else 0, 0, 0)))[:number(packet, 7, 2)]

    def configuration(self, packet: bytes) -> Answer:
        profile = 8 if self.disk is not None else 0
        body = big(profile, 4) + b"\0\0\3\4" + big(8, 2) + bytes((profile >> 3, 0))
        return (big(len(body), 4) + body)[:number(packet, 7, 2)]

    def disc_information(self, packet: bytes) -> Answer:
        found = b"\0\x20\x0E\1\1\1\1\x20" + bytes(26)
        return self.ready() or found[:number(packet, 7, 2)]

    def nothing(self, packet: bytes) -> Answer:
        return b""

    def identify(self) -> bytes:
        """8.16: a CD-ROM with packets of 12 bytes, DMA and UDMA 2."""
        self.limit = 0
        found = bytearray(512)
        values = {0: 0x85C0, 49: 0x0F00, 50: 0x4000, 53: 7, 63: 0x0407, 64: 3, 65: 120, 66: 120, 67: 120, 68: 120,
                  80: 0x70, 82: 0x4010, 83: 0x4000, 84: 0x4000, 85: 0x4010, 87: 0x4000, 88: 0x0007, 93: 0x600B}
        for word, value in values.items():
            found[2 * word:2 * word + 2] = value.to_bytes(2, "little")
        found[20:40], found[46:54] = words("GHCD001", 10), words("1.0", 4)
        found[54:94] = words("guesthouse CD-ROM", 20)
        return bytes(found)

    def fail(self, error: int) -> None:
        super().fail(error)
        self.status = self.status & ~DRQ | DRDY | DSC | ERR


COMMANDS: dict[int, Callable[[AtapiCdrom, bytes], Answer]] = {
    0x00: AtapiCdrom.test_ready, 0x03: AtapiCdrom.request_sense, 0x12: AtapiCdrom.inquiry,
    0x1A: AtapiCdrom.mode_sense, 0x1B: AtapiCdrom.start_stop, 0x1E: AtapiCdrom.prevent,
    0x25: AtapiCdrom.capacity, 0x28: AtapiCdrom.read, 0x2B: AtapiCdrom.seek, 0x43: AtapiCdrom.contents,
    0x46: AtapiCdrom.configuration, 0x4A: AtapiCdrom.events, 0x51: AtapiCdrom.disc_information,
    0x5A: AtapiCdrom.mode_sense, 0xA8: AtapiCdrom.read, 0xBB: AtapiCdrom.nothing, 0xBE: AtapiCdrom.read_cd,
}
