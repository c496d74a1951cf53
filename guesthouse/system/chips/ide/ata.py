"""An ATA hard disk, after ATA/ATAPI-6 (T13 1410D), chapter 8: PIO, multiple sectors, DMA and 48-bit addresses.

Not modelled: SMART, security, power management beyond its answers, host protected areas.
"""

from __future__ import annotations

from guesthouse.system.chips.ide.drive import ABRT, IDNF, UNC, Disk, Drive
from guesthouse.system.chips.ide.registers import IN, OUT
from guesthouse.system.chips.kit import Field

SECTOR, CHUNK, MULTIPLE, QUEUE = 512, 128, 16, 32  # CHUNK: sectors that a DMA transfer reads at once
LBA = 0x40
READS = {0x20: "", 0x21: "", 0x24: "e", 0xC4: "m", 0x29: "me", 0xC8: "d", 0xC9: "d", 0x25: "de"}
WRITES = {0x30: "", 0x31: "", 0x34: "e", 0xC5: "m", 0x39: "me", 0xCA: "d", 0xCB: "d", 0x35: "de"}
NOTHING_TO_DO = {*range(0x10, 0x20), *range(0x70, 0x80), 0xE0, 0xE1, 0xE2, 0xE3, 0xE6, 0x94, 0x95, 0x96, 0x97}
FEATURES_TAKEN = {0x02, 0x05, 0x55, 0x66, 0x82, 0x85, 0xAA, 0xCC}
Geometry = tuple[int, int, int]


def geometry_of(sectors: int) -> Geometry:
    """What a disk of this size says of itself in IDENTIFY (6.2)."""
    return min(16383, max(1, sectors // (16 * 63))), 16, 63


def words(text: str, count: int) -> bytes:
    """Text as ATA has it: the bytes of each word swapped, filled with blanks."""
    raw = text.encode("ascii", "replace")[:2 * count].ljust(2 * count)
    return b"".join(raw[n:n + 2][::-1] for n in range(0, len(raw), 2))


class AtaDisk(Drive):
    multiple = Field(MULTIPLE)
    transfer_mode = Field(0x45)  # UDMA 5
    lba = Field()
    left = Field()  # sectors
    block = Field(1)  # sectors between interrupts
    heads = Field(0)
    per_track = Field(0)

    def __init__(self, disk: Disk, *, serial: str = "GH00001", model: str = "guesthouse disk",
                 geometry: Geometry | None = None, serial_ata: bool = False) -> None:
        self.serial_ata = serial_ata
        self.disk, self.serial, self.model = disk, serial, model
        self.geometry = geometry or geometry_of(disk.sectors)
        super().__init__()

    def clear(self) -> None:
        super().clear()
        self.heads, self.per_track = self.geometry[1:]

    def execute(self, command: int) -> None:
        self.stop()
        if command in READS or command in WRITES:
            self._begin(command)
        elif command in (0x40, 0x41, 0x42):
            place = self._place(command == 0x42)
            self.fail(IDNF) if place is None else self.finish()
        elif command == 0xEC:
            self.left = 0
            self.give(self.identify())
        elif command in (0xE7, 0xEA):
            self.disk.flush()
            self.finish()
        elif command in NOTHING_TO_DO:
            self.finish()
        else:
            self._settings(command)

    def _settings(self, command: int) -> None:
        count = self.count & 0xFF
        if command == 0xC6 and count <= MULTIPLE and count & (count - 1) == 0:
            self.multiple = count
        elif command == 0xEF and self.features & 0xFF == 3:
            self.transfer_mode = count
        elif command == 0x91:
            self.heads, self.per_track = (self.device & 15) + 1, count or 1
        elif command in (0xE5, 0x98):
            self.count = 0xFF  # active
        elif command in (0xF8, 0x27):
            self._show(self.disk.sectors - 1, command == 0x27)
        elif command != 0xEF or self.features & 0xFF not in FEATURES_TAKEN:
            self.fail(ABRT)
            return
        self.finish()

    def _place(self, extended: bool) -> tuple[int, int] | None:
        """Where and how many sectors the task file asks for; None: not on this disk."""
        low, mid, high = self.low & 0xFF, self.mid & 0xFF, self.high & 0xFF
        count = self.count if extended else self.count & 0xFF
        count = count or (0x10000 if extended else 0x100)
        if extended:
            lba = low | mid << 8 | high << 16 | self.low >> 8 << 24 | self.mid >> 8 << 32 | self.high >> 8 << 40
        elif self.device & LBA:
            lba = low | mid << 8 | high << 16 | (self.device & 15) << 24
        else:
            head = self.device & 15
            if not 1 <= low <= self.per_track or head >= self.heads:
                return None
            lba = ((mid | high << 8) * self.heads + head) * self.per_track + low - 1
        return (lba, count) if lba + count <= self.disk.sectors else None

    def _show(self, lba: int, extended: bool) -> None:
        lba = lba if extended else min(lba, (1 << 28) - 1)
        pairs = [(lba >> shift & 0xFF) | (lba >> shift + 24 & 0xFF) << 8 for shift in (0, 8, 16)]
        self.low, self.mid, self.high = pairs
        if not extended:
            self.device = self.device & 0xF0 | lba >> 24 & 15

    def _begin(self, command: int) -> None:
        how = READS.get(command, WRITES.get(command, ""))
        place = self._place("e" in how)
        if "m" in how and not self.multiple or command in WRITES and not self.disk.writable:
            self.fail(ABRT)
        elif place is None:
            self.fail(IDNF)
        else:
            self.lba, self.left = place
            self.dma = "d" in how
            self.block = CHUNK if self.dma else self.multiple if "m" in how else 1
            self._next(IN if command in READS else OUT, first=True)

    def _next(self, direction: int, first: bool) -> None:
        """The next block, or the end. Of a write the first block needs no interrupt, of a read the end does not."""
        count = min(self.left, self.block)
        if count == 0:
            quiet = direction == IN and not self.dma
            self.finish()
            self.interrupting = not quiet
            return
        self.left -= count
        if direction == OUT:
            self.want(count * SECTOR, interrupt=not first)
            return
        try:
            data = self.disk.read(self.lba, count)
        except OSError:
            self.fail(UNC)
            return
        self.lba += count
        self.give(data)

    def block_done(self, data: bytes) -> None:
        direction = self.direction
        if direction == OUT:
            try:
                self.disk.write(self.lba, data)
            except OSError:
                self.fail(UNC)
                return
            self.lba += len(data) // SECTOR
        self._next(direction, first=False)

    def identify(self) -> bytes:
        """8.15. The disk is an ATA-6 one with UDMA 5."""
        found = bytearray(SECTOR)
        sectors, (cylinders, heads, per_track) = self.disk.sectors, self.geometry
        now = min(0xFFFF, max(1, sectors // (self.heads * self.per_track)))
        current = now * self.heads * self.per_track
        lba28 = min(sectors, (1 << 28) - 1)
        mode = self.transfer_mode
        chosen = {0x20: (0x100 << (mode & 7), 0), 0x40: (0, 0x100 << (mode & 7))}.get(mode & 0xF8, (0, 0))
        values = {0: 0x0040, 1: cylinders, 3: heads, 6: per_track, 47: 0x8000 | MULTIPLE, 49: 0x0F00, 50: 0x4000,
                  51: 0x0200, 52: 0x0200, 53: 7, 54: now, 55: self.heads, 56: self.per_track,
                  57: current & 0xFFFF, 58: current >> 16, 59: 0x100 | self.multiple, 60: lba28 & 0xFFFF,
                  61: lba28 >> 16, 63: 7 | chosen[0], 64: 3, 65: 120, 66: 120, 67: 120, 68: 120, 80: 0x70,
                  82: 0x4020, 83: 0x7400, 84: 0x4000, 85: 0x4020, 86: 0x3400, 87: 0x4000, 88: 0x3F | chosen[1],
                  93: 0x600B, **{100 + n: sectors >> 16 * n & 0xFFFF for n in range(4)}}
        if self.serial_ata:
            values |= {75: QUEUE - 1, 76: 0x0106, 93: 0}  # native queuing, two generations; no cable to tell of
        for word, value in values.items():
            found[2 * word:2 * word + 2] = (value & 0xFFFF).to_bytes(2, "little")
        found[20:40], found[46:54], found[54:94] = words(self.serial, 10), words("1.0", 4), words(self.model, 20)
        return bytes(found)
