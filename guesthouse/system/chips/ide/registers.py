"""The registers of IDE drives, of the cable that they are on and of its bus master, in typed Python: what an access
does besides starting something, after ATA/ATAPI-6 (T13 1410D), chapter 7, and Intel's Programming Interface for Bus
Master IDE Controller, revision 1.0.

A driver makes 25 accesses for each request, and moves the data itself where it does not use DMA. Processors do that by
this code (engine/chip_code.py), and leave for the few that a drive or a wire has to hear of: those are refused.
"""

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.system.chips.kit import REFUSED
from guesthouse.typed import Array, Pointer, Struct, load, store

IN, OUT = 1, 2  # direction
EMPTY = 0x7F  # status where nobody is on the cable: it floats, but for BSY, which the host's resistor pulls low
NO_INTERRUPT, SOFT_RESET, PREVIOUS = 0x02, 0x04, 0x80  # device control
START, TO_MEMORY = 0x01, 0x08  # command of the bus master
ACTIVE, ERROR, INTERRUPT, CAPABLE = 0x01, 0x02, 0x04, 0x60  # its status


class TaskFile(Struct):
    """One drive's registers, and the block that is on its way through the data port."""

    features: u16  # each remembers the value before in its upper byte, for 48-bit commands
    count: u16
    low: u16
    mid: u16
    high: u16
    device: u8
    status: u8
    error: u8
    interrupting: u8
    direction: u8
    dma: u8
    block: u64  # its host address
    length: u64
    moved: u64  # of it

    def put(self, n: u64, value: u64) -> None:
        row = Pointer[u16](self.address)
        row[n - 1] = row[n - 1] << 8 | u16(value)

    def get(self, n: u64, previous: u64) -> u64:
        if n == 1:
            return u64(self.error)
        value = Pointer[u16](self.address)[n - 1]
        if previous != 0:
            value = value >> 8
        return u64(u8(value))

    def moves(self, direction: int, size: u64) -> bool:
        """Whether this much goes through the data port and is not the end of the block, with which something begins."""
        return self.direction == direction and self.dma == 0 and self.moved + size < self.length and (
            size == 2 or size == 4)

    def pull(self, size: u64) -> u64:
        place = self.block + self.moved
        self.moved += size
        if size == 2:
            return u64(load(u16, place))
        return u64(load(u32, place))

    def push(self, size: u64, value: u64) -> None:
        place = self.block + self.moved
        self.moved += size
        if size == 2:
            store(u16, place, u16(value))
        else:
            store(u32, place, u32(value))


class Cable(Struct):
    """Registers are written in both drives; the one that is selected answers."""

    drives: Array[u64, 2]  # the addresses of their TaskFiles; 0: there is none
    selected: u8
    control_value: u8

    def drive(self, n: u64):
        return Pointer[TaskFile](self.address_of(n))[0]

    def address_of(self, n: u64):
        return Pointer[u64](self.drives.address)[n & 1]

    def empty(self) -> bool:
        return self.address_of(u64(self.selected)) == 0

    def deserted(self) -> bool:
        return self.address_of(u64(0)) | self.address_of(u64(1)) == 0

    def interrupting(self, n: u64) -> bool:
        return self.address_of(n) != 0 and self.drive(n).interrupting != 0

    def put(self, n: u64, value: u64) -> None:
        self.control_value &= ~u8(PREVIOUS)
        for which in range(2):
            if self.address_of(u64(which)) != 0:
                self.drive(u64(which)).put(n, value)

    def get(self, n: u64) -> u64:
        if not self.empty():
            return self.drive(u64(self.selected)).get(n, u64(self.control_value & PREVIOUS))
        return u64(0xFF) if self.deserted() else u64(0)

    def select(self, value: u64) -> None:
        self.selected = u8(value >> 4 & 1)
        for which in range(2):
            if self.address_of(u64(which)) != 0:
                self.drive(u64(which)).device = u8(value & 0x5F)

    def device(self) -> u64:
        own = u8(0) if self.empty() else self.drive(u64(self.selected)).device & 0x5F
        return u64(0xA0 | own | self.selected << 4)

    def status(self) -> u64:
        if not self.empty():
            return u64(self.drive(u64(self.selected)).status)
        return u64(EMPTY) if self.deserted() else u64(0)

    # what processors call

    def read(self, offset: u64, size: u64) -> u64:
        """Reading the status ends an interrupt: a wire changes."""
        if offset == 0 and not self.empty() and self.drive(u64(self.selected)).moves(IN, size):
            return self.drive(u64(self.selected)).pull(size)
        if offset == 0 or size != 1 or offset == 7 and self.interrupting(u64(self.selected)):
            return u64(REFUSED)
        if offset == 7:
            return self.status()
        return self.device() if offset == 6 else self.get(offset)

    def write(self, offset: u64, size: u64, value: u64) -> u64:
        """A command begins something, and to select the drive that interrupts, or another, changes a wire."""
        if offset == 0 and not self.empty() and self.drive(u64(self.selected)).moves(OUT, size):
            self.drive(u64(self.selected)).push(size, value)
            return u64(0)
        if offset == 0 or offset == 7 or size != 1:
            return u64(REFUSED)
        if offset == 6:
            if self.interrupting(u64(0)) or self.interrupting(u64(1)):
                return u64(REFUSED)
            self.select(value)
        else:
            self.put(offset, value)
        return u64(0)

    def control_read(self, offset: u64, size: u64) -> u64:
        """The alternate status leaves the interrupt alone."""
        return self.status() if size == 1 else u64(REFUSED)

    def control_write(self, offset: u64, size: u64, value: u64) -> u64:
        return u64(REFUSED)


class Master(Struct):
    """The bus master of one channel."""

    command: u8
    state: u8
    table: u32

    def starts(self, value: u64) -> bool:
        return value & START != 0 and self.command & START == 0

    def put_command(self, value: u64) -> None:
        """One that does not start it."""
        if value & START == 0:
            self.state &= ~u8(ACTIVE)
        self.command = u8(value & (START | TO_MEMORY))

    def put_state(self, value: u64) -> None:
        """ERROR and INTERRUPT are cleared by ones."""
        kept = self.state & (ACTIVE | ERROR | INTERRUPT) & ~u8(value & (ERROR | INTERRUPT))
        self.state = kept | u8(value & CAPABLE)

    def put_table(self, value: u64) -> None:
        self.table = u32(value) & ~u32(3)

    # what processors call

    def read(self, offset: u64, size: u64) -> u64:
        if offset == 0 and size == 1:
            return u64(self.command)
        if offset == 2 and size == 1:
            return u64(self.state)
        return u64(self.table) if offset == 4 and size == 4 else u64(REFUSED)

    def write(self, offset: u64, size: u64, value: u64) -> u64:
        if offset == 0 and size == 1 and not self.starts(value):
            self.put_command(value)
        elif offset == 2 and size == 1:
            self.put_state(value)
        elif offset == 4 and size == 4:
            self.put_table(value)
        else:
            return u64(REFUSED)
        return u64(0)
