"""One IDE channel: two ranges of ports and a cable with two drives, after ATA/ATAPI-6 (T13 1410D), chapter 7.

Registers are written in both drives; the one that is selected answers (registers.py).
"""

from __future__ import annotations

from typing import Callable

from guesthouse.bits import u64
from guesthouse.system.chips.ide.drive import Drive
from guesthouse.system.chips.ide.registers import NO_INTERRUPT, PREVIOUS, SOFT_RESET, Cable
from guesthouse.system.chips.kit import Cell, Chip, Line, Stateful, on_read, on_write

DIAGNOSTIC = 0x90


class Channel(Stateful):
    TYPED = Cable
    selected = Cell()
    control_value = Cell()

    def __init__(self, irq: Line) -> None:
        self.irq = irq
        self.drives: list[Drive | None] = [None, None]
        self.on_interrupt: Callable[[], object] = lambda: None
        self.on_dma: Callable[[], object] = lambda: None
        self.command, self.control = CommandBlock(self), ControlBlock(self)
        super().__init__()

    def attach(self, n: int, drive: Drive) -> None:
        self.drives[n] = drive
        self.typed.drives[n] = drive.typed.address

    def parts(self) -> dict[str, Stateful]:
        return {f"drive{n}": drive for n, drive in enumerate(self.drives) if drive is not None}

    def drive(self) -> Drive | None:
        return self.drives[int(self.selected)]

    def others(self) -> list[Drive]:
        return [drive for drive in self.drives if drive is not None]

    def status(self) -> int:
        drive = self.drive()
        return int(self.typed.status() if drive is None else drive.status)

    def set_control(self, value: int) -> None:
        if value & ~self.control_value & SOFT_RESET:
            self.selected = 0
            for drive in self.others():
                drive.soft_reset()
                drive.device = 0
        self.control_value = value & (NO_INTERRUPT | SOFT_RESET | PREVIOUS)

    def execute(self, command: int) -> None:
        if self.control_value & SOFT_RESET:
            return
        if command == DIAGNOSTIC:
            self.selected = 0
            for drive in self.others():
                drive.soft_reset()
                drive.interrupting = True
        elif (chosen := self.drive()) is not None:
            chosen.execute(command)
            self.settle()
            self.on_dma()

    def settle(self) -> None:
        drive = self.drive()
        high = drive is not None and drive.interrupting and not self.control_value & NO_INTERRUPT
        rises = high and not self.irq.high
        self.irq.set(high)
        if rises:
            self.on_interrupt()


class CommandBlock(Chip):
    SIZE = 8

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel

    def settle(self) -> None:
        self.channel.settle()

    @on_read(0, width=8)
    def read_byte(self) -> int:
        return self._pull(1)

    @on_read(0, width=16)
    def read_word(self) -> int:
        return self._pull(2)

    @on_read(0, width=32)
    def read_double(self) -> int:
        return self._pull(4)

    @on_write(0, width=8)
    def write_byte(self, value: int) -> None:
        self._push(value, 1)

    @on_write(0, width=16)
    def write_word(self, value: int) -> None:
        self._push(value, 2)

    @on_write(0, width=32)
    def write_double(self, value: int) -> None:
        self._push(value, 4)

    def _pull(self, size: int) -> int:
        drive = self.channel.drive()
        if drive is None or drive.dma:
            return 0
        return int.from_bytes(drive.pull(size), "little")

    def _push(self, value: int, size: int) -> None:
        drive = self.channel.drive()
        if drive is not None and not drive.dma:
            drive.push(value.to_bytes(size, "little"))
            self.settle()
            self.channel.on_dma()  # a packet may have begun a transfer

    @on_read(1, count=5, pure=True)
    def read_register(self, n: int) -> int:
        return int(self.channel.typed.get(u64(n + 1)))

    @on_write(1, count=5)
    def write_register(self, n: int, value: int) -> None:
        self.channel.typed.put(u64(n + 1), u64(value))

    @on_read(6, pure=True)
    def read_device(self) -> int:
        return int(self.channel.typed.device())

    @on_write(6)
    def write_device(self, value: int) -> None:
        self.channel.typed.select(u64(value))

    @on_read(7)
    def read_status(self) -> int:
        drive = self.channel.drive()
        if drive is not None:
            drive.interrupting = False
        return self.channel.status()

    @on_write(7)
    def write_command(self, value: int) -> None:
        self.channel.control_value &= ~PREVIOUS
        self.channel.execute(value)


class ControlBlock(Chip):
    """Alternate status, which leaves the interrupt alone, and device control."""

    SIZE = 1

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel

    def settle(self) -> None:
        self.channel.settle()

    @on_read(0, pure=True)
    def read_status(self) -> int:
        return self.channel.status()

    @on_write(0)
    def write_control(self, value: int) -> None:
        self.channel.set_control(value)
