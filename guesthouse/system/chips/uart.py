"""A 16550A UART, after the PC16550D data sheet (National Semiconductor, June 1995).

Not modelled: baud timing (bytes leave at once, and received bytes below the trigger level count as timed
out at once), line errors other than break and overrun, the OUT2 gate that PC cards put before the interrupt
line.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

from guesthouse.bits import u8, u64
from guesthouse.system.chips.kit import Chip, Field, Line, Register, on_read, on_write
from guesthouse.system.chips.uart_sending import KEPT, Sending

RX_ENABLE, THRE_ENABLE, LINE_ENABLE, MODEM_ENABLE = 0x01, 0x02, 0x04, 0x08  # IER
NOTHING, MODEM, THRE, RX_DATA, LINE, RX_TIMEOUT = 0x01, 0x00, 0x02, 0x04, 0x06, 0x0C  # IIR
FIFO_ENABLE, CLEAR_RX, CLEAR_TX = 0x01, 0x02, 0x04  # FCR
DLAB = 0x80  # LCR
DTR, RTS, OUT1, OUT2, LOOP = 0x01, 0x02, 0x04, 0x08, 0x10  # MCR
READY, OVERRUN, BREAK, EMPTY = 0x01, 0x02, 0x10, 0x60  # LSR; EMPTY is THRE and TEMT
CTS, DSR, RI, DCD = 0x10, 0x20, 0x40, 0x80  # MSR
TRIGGER_LEVELS = (1, 4, 8, 14)


class Uart(Chip):
    SIZE, BUS, FIFO = 8, 1, 16
    interrupt_enable = Field()
    fifo_control = Field()
    line_control = Register(3)
    modem_control = Field()
    scratch = Register(7)
    divisor = Field(1)
    line_errors = Field()
    modem_lines = Field(CTS | DSR | DCD)  # the far end is there and ready
    modem_deltas = Field()
    thre_pending = Field(False)
    received = Field(b"")

    def __init__(self, irq: Line, output: Callable[[bytes], object]) -> None:
        self.irq, self.output = irq, output
        self.sending = Sending.new()
        self._waiting = ctypes.c_uint64.from_address(self.sending.where + Sending.offset("count"))
        self._told = 0, 0  # of `sending`: alone, status
        super().__init__()

    # the host's side

    def room(self) -> int:
        return (self.FIFO if self.fifo_control & FIFO_ENABLE else 1) - len(self.received)

    def receive(self, data: bytes) -> int:
        """Take what fits and say how much: a host that floods us must wait."""
        if self.modem_control & LOOP:
            return 0
        taken = data[: max(0, self.room())]
        self.received += taken
        self.settle()
        return len(taken)

    def receive_break(self) -> None:
        """The line goes low for longer than a character: a zero byte comes with the break bit."""
        if self.room() > 0:
            self.received += b"\0"
        self.line_errors |= BREAK
        self.settle()

    def flush(self) -> None:
        """Hand on what the guest has sent."""
        if self._waiting.value:
            sent = ctypes.string_at(self.sending.where + Sending.offset("kept"), self._waiting.value)
            self._waiting.value = 0
            self.output(sent)

    # the guest's side

    @on_read(0)
    def read_data(self) -> int:
        if self.line_control & DLAB:
            return int(self.divisor & 0xFF)
        first, self.received = self.received[:1] or b"\0", self.received[1:]
        return int(first[0])

    @on_write(0)
    def write_data(self, byte: int) -> None:
        if self.line_control & DLAB:
            self.divisor = self.divisor & 0xFF00 | byte
            return
        self.thre_pending = True  # the holding register is empty again at once
        if self.modem_control & LOOP:
            self._loop_back(byte)
            return
        if self._waiting.value == KEPT:
            self.flush()
        self.sending.put(u8(byte))

    def _loop_back(self, byte: int) -> None:
        if self.room() > 0:
            self.received += bytes((byte,))
        else:
            self.line_errors |= OVERRUN

    @on_read(1)
    def read_enable(self) -> int:
        self.flush()
        return int(self.divisor >> 8 if self.line_control & DLAB else self.interrupt_enable)

    @on_write(1)
    def write_enable(self, value: int) -> None:
        if self.line_control & DLAB:
            self.divisor = self.divisor & 0xFF | value << 8
            return
        if value & ~self.interrupt_enable & THRE_ENABLE:
            self.thre_pending = True  # table 4: enabling it while the holding register is empty interrupts
        self.interrupt_enable = value & 0x0F

    def identification(self) -> int:
        """The source of the highest priority (table 4)."""
        enabled = self.interrupt_enable
        if enabled & LINE_ENABLE and self.line_errors:
            return LINE
        if enabled & RX_ENABLE and self.received:
            trigger = TRIGGER_LEVELS[self.fifo_control >> 6] if self.fifo_control & FIFO_ENABLE else 1
            return RX_DATA if len(self.received) >= trigger else RX_TIMEOUT
        if enabled & THRE_ENABLE and self.thre_pending:
            return THRE
        if enabled & MODEM_ENABLE and self.modem_deltas:
            return MODEM
        return NOTHING

    @on_read(2)
    def read_identification(self) -> int:
        self.flush()
        source = self.identification()
        if source == THRE:
            self.thre_pending = False  # reading IIR clears this source only
        return source | (0xC0 if self.fifo_control & FIFO_ENABLE else 0)

    @on_write(2)
    def write_fifo_control(self, value: int) -> None:
        if (value ^ self.fifo_control) & FIFO_ENABLE or value & CLEAR_RX:
            self.received = b""
        # What was sent has left already, as far as the guest can tell: nothing is lost by clearing.
        if (value ^ self.fifo_control) & FIFO_ENABLE or value & CLEAR_TX:
            self.thre_pending = True
        self.fifo_control = value & 0xC9 if value & FIFO_ENABLE else 0

    @on_read(4)
    def read_modem_control(self) -> int:
        return int(self.modem_control)

    @on_write(4)
    def write_modem_control(self, value: int) -> None:
        self.flush()
        before = self._modem_inputs()
        self.modem_control = value & 0x1F
        self._note_deltas(before, self._modem_inputs())

    @on_read(5)
    def read_line_status(self) -> int:
        """As Sending.read has it, and errors are told once."""
        if not self.sending.just_sent:
            self.flush()
        self.sending.just_sent = u64(0)
        errors, self.line_errors = self.line_errors, 0
        return self._line_status() | int(errors)

    def _line_status(self) -> int:
        return EMPTY | (READY if self.received else 0)

    @on_read(6)
    def read_modem_status(self) -> int:
        self.flush()
        status = self._modem_inputs() | self.modem_deltas
        self.modem_deltas = 0
        return int(status)

    @on_write(5)
    @on_write(6)
    def write_status(self, value: int) -> None:
        """LSR and MSR writes are for factory tests."""

    def _modem_inputs(self) -> int:
        if not self.modem_control & LOOP:
            return int(self.modem_lines)
        looped = ((DTR, DSR), (RTS, CTS), (OUT1, RI), (OUT2, DCD))
        return sum(to for source, to in looped if self.modem_control & source)

    def _note_deltas(self, before: int, after: int) -> None:
        """MSR bits 3:0; the ring indicator counts its trailing edge only."""
        changed = (before ^ after) & (CTS | DSR | DCD) | before & ~after & RI
        self.modem_deltas |= changed >> 4

    def settle(self) -> None:
        self.irq.set(self.identification() != NOTHING)
        alone = not (self.line_control & DLAB or self.modem_control & LOOP or self.interrupt_enable & THRE_ENABLE)
        told = int(alone), 0 if self.line_errors else self._line_status()
        if told != self._told:
            self._told = told
            self.sending.alone, self.sending.status = map(u64, told)

    def reset(self) -> None:
        self.flush()
        super().reset()

    def save(self) -> dict[str, Any]:
        self.flush()
        return super().save()
