"""The PC's pair of 8259A interrupt controllers with their edge/level registers.

After the 8259A data sheet (Intel 231468-003) and, for ELCR, the 82371SB (PIIX3) data sheet, section 2.5.
Not modelled: the MCS-80 call sequence, buffered mode's pins.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Chip, Field, Line, Register, Stateful, on_read, on_write
from guesthouse.trace import Trace

ICW1, ICW1_NEEDS_4, ICW1_SINGLE, ICW1_LEVEL = 0x10, 0x01, 0x02, 0x08
ICW4_AUTO_EOI, ICW4_FULLY_NESTED = 0x02, 0x10
OCW3, OCW3_POLL, OCW3_READ, OCW3_READ_ISR = 0x08, 0x04, 0x02, 0x01
OCW3_SET_SPECIAL, OCW3_SPECIAL = 0x40, 0x20
SPURIOUS, CASCADE = 7, 2


class I8259(Chip):
    SIZE, BUS = 2, 1
    request = Field()
    service = Field()
    mask = Field()
    levels = Field()  # what the inputs are at now
    level_triggered = Field()  # from ELCR
    vector_base = Field()
    lowest = Field(7)  # the input of lowest priority: rotation
    expected = Field(0)  # the next initialisation word: 2, 3, 4; 0: none
    needs_icw4 = Field(False)
    single = Field(False)
    all_level = Field(False)
    auto_eoi = Field(False)
    rotate_on_auto_eoi = Field(False)
    fully_nested = Field(False)
    special_mask = Field(False)
    reads_service = Field(False)
    polled = Field(False)

    def __init__(self, output: Line, cascade: int = 0) -> None:
        super().__init__()
        self.output, self.cascade = output, cascade

    def reset(self) -> None:
        levels = self.levels  # belong to those who drive the inputs
        self.clear()
        self.levels = levels
        self.settle()

    # the wires' side

    def set_input(self, n: int, high: bool) -> None:
        bit = 1 << n
        if high:
            if not self.levels & bit or self._is_level(n):
                self.request |= bit
            self.levels |= bit
        else:  # the line is behind the edge sense: who takes a request back before it is served has made none
            self.levels &= ~bit
            self.request &= ~bit
        self.settle()

    def best(self) -> int:
        """The input to serve now, or -1: the highest requested one above everything in service."""
        wanted = self.request & ~self.mask
        if not wanted:
            return -1
        # In special mask mode what is masked holds up nobody.
        busy = self.service & ~self.mask if self.special_mask else self.service
        if self.fully_nested:
            busy &= ~self.cascade  # a slave's second, higher request passes
        for i in range(1, 9):
            bit = 1 << (self.lowest + i & 7)
            if busy & bit:
                return -1
            if wanted & bit:
                return int(self.lowest + i & 7)
        return -1

    def take(self) -> int:
        """The acknowledge cycle: the best input goes into service; if there is none any more, 7 does not."""
        n = self.best()
        if n < 0:
            return SPURIOUS
        bit = 1 << n
        if self.auto_eoi:
            if self.rotate_on_auto_eoi:
                self.lowest = n
        else:
            self.service |= bit
        if not self._is_level(n):
            self.request &= ~bit
        self.output.set(False)  # INT falls with the acknowledge: a master sees the next request as an edge
        self.settle()
        return n

    def _is_level(self, n: int) -> bool:
        return bool(self.all_level or self.level_triggered >> n & 1)

    # the processor's side

    @on_read(0)
    def read_status(self) -> int:
        if self.polled:
            return self._poll()
        return int(self.service if self.reads_service else self.request)

    @on_read(1)
    def read_mask(self) -> int:
        return self._poll() if self.polled else int(self.mask)

    def _poll(self) -> int:
        """OCW3's P bit: this read is the acknowledge cycle."""
        self.polled = False
        waiting = self.best() >= 0
        return 0x80 | self.take() if waiting else 0

    @on_write(0)
    def write_command(self, value: int) -> None:
        if value & ICW1:
            self._initialise(value)
        elif value & OCW3:
            self._operate(value)
        else:
            self._end(value >> 5, value & 7)

    @on_write(1)
    def write_data(self, value: int) -> None:
        if self.expected == 0:
            self.mask = value
        elif self.expected == 2:
            self.vector_base = value & 0xF8
            self.expected = 3 if not self.single else 4 if self.needs_icw4 else 0
        elif self.expected == 3:
            self.expected = 4 if self.needs_icw4 else 0  # the cascade is wired, not programmed
        else:
            self.auto_eoi = bool(value & ICW4_AUTO_EOI)
            self.fully_nested = bool(value & ICW4_FULLY_NESTED)
            self.expected = 0

    def _initialise(self, icw1: int) -> None:
        """ICW1 clears the edge sense, the mask and the modes; a level that is high requests again."""
        kept = self.levels, self.level_triggered, self.vector_base
        self.clear()
        self.levels, self.level_triggered, self.vector_base = kept
        self.expected = 2
        self.needs_icw4 = bool(icw1 & ICW1_NEEDS_4)
        self.single = bool(icw1 & ICW1_SINGLE)
        self.all_level = bool(icw1 & ICW1_LEVEL)
        self.request = self.levels if self.all_level else self.levels & self.level_triggered

    def _operate(self, ocw3: int) -> None:
        if ocw3 & OCW3_SET_SPECIAL:
            self.special_mask = bool(ocw3 & OCW3_SPECIAL)
        if ocw3 & OCW3_POLL:
            self.polled = True
        elif ocw3 & OCW3_READ:
            self.reads_service = bool(ocw3 & OCW3_READ_ISR)

    def _end(self, command: int, n: int) -> None:
        """OCW2: rotate, specific, end of interrupt (R, SL, EOI)."""
        rotate, specific, end = command & 4, command & 2, command & 1
        if not end:
            if rotate and specific:
                self.lowest = n  # set priority
            elif not specific:
                self.rotate_on_auto_eoi = bool(rotate)
            return
        if not specific:
            n = self._highest_in_service()
        if n >= 0:
            self.service &= ~(1 << n)
            if rotate:
                self.lowest = n

    def _highest_in_service(self) -> int:
        for i in range(1, 9):
            n = int(self.lowest) + i & 7
            if self.service >> n & 1 and not (self.special_mask and self.mask >> n & 1):
                return n
        return -1

    def settle(self) -> None:
        self.output.set(self.best() >= 0)


class EdgeLevel(Chip):
    """ELCR1 and ELCR2; timer, keyboard, cascade, clock and coprocessor are always edges."""

    SIZE, BUS = 2, 1
    elcr1 = Register(0, writable=0xF8)
    elcr2 = Register(1, writable=0xDE)

    def __init__(self, master: I8259, slave: I8259) -> None:
        super().__init__()
        self.master, self.slave = master, slave

    def settle(self) -> None:
        for pic, levels in ((self.master, self.elcr1), (self.slave, self.elcr2)):
            if pic.level_triggered != levels:
                pic.level_triggered = levels
                pic.request |= pic.levels & levels
                pic.settle()


class PicPair(Stateful):
    """Master and slave, the slave on the master's input 2; `output` is the processor's INTR pin."""

    def __init__(self, output: Line) -> None:
        self.output = output
        self.master = I8259(output, cascade=1 << CASCADE)
        self.slave = I8259(Line(lambda high: self.master.set_input(CASCADE, high)))
        self.elcr = EdgeLevel(self.master, self.slave)
        super().__init__()

    def parts(self) -> dict[str, Stateful]:
        return {"master": self.master, "slave": self.slave, "elcr": self.elcr}

    def set_input(self, n: int, high: bool) -> None:
        if n == CASCADE:
            return  # there is no such wire: the slave is on it
        if n < 8:
            self.master.set_input(n, high)
        else:
            self.slave.set_input(n - 8, high)

    def pending(self) -> bool:
        return self.output.high

    def acknowledge(self) -> int:
        """Both acknowledge cycles: the vector. If the request has gone it is the spurious one, 7 or 15."""
        n = self.master.take()
        if n == CASCADE:
            vector = self.slave.vector_base | self.slave.take()
        else:
            vector = self.master.vector_base | n
        return int(vector)

    def trace_to(self, trace: Trace, name: str) -> None:
        for part, chip in (("master", self.master), ("slave", self.slave), ("elcr", self.elcr)):
            chip.trace_to(trace, f"{name}.{part}")
