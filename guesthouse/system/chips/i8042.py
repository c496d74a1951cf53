"""The keyboard and auxiliary device controller with its reset pulse and A20 gate, and port 92h, which does these
two faster; after the IBM PS/2 technical reference.

The keyboard and the mouse are collaborators that take bytes and have bytes. Not modelled: parity and timeout
errors, the password, the keyboard lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable, Protocol

from guesthouse.clock import Clock
from guesthouse.system.chips.kit import Chip, Field, Line, Stateful, on_read, on_write

OUTPUT_FULL, SYSTEM_FLAG, COMMAND, UNLOCKED, AUX_FULL = 0x01, 0x04, 0x08, 0x10, 0x20  # status
IRQ1, IRQ12, SYSTEM, NO_KEYBOARD, NO_AUX, TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40  # command byte
RESET_NOT, A20 = 0x01, 0x02  # output port
BETWEEN_BYTES = 200_000  # ns: software reads a byte twice and must find the same one
ANSWERS = 16  # of the controller's own, waiting
WITH_DATA = (*range(0x60, 0x80), 0xD1, 0xD2, 0xD3, 0xD4)
SET1 = bytes.fromhex(  # of each set 2 code below 80h
    "ff 43 41 3f 3d 3b 3c 58 64 44 42 40 3e 0f 29 59 65 38 2a 70 1d 10 02 5a 66 71 2c 1f 1e 11 03 5b"
    "67 2e 2d 20 12 05 04 5c 68 39 2f 21 14 13 06 5d 69 31 30 23 22 15 07 5e 6a 72 32 24 16 08 09 5f"
    "6b 33 25 17 18 0b 0a 60 6c 34 35 26 27 19 0c 61 6d 73 28 74 1a 0d 62 6e 3a 36 1c 1b 75 2b 63 76"
    "55 56 77 78 79 7a 0e 7b 7c 4f 7d 4b 47 7e 7f 6f 52 53 50 4c 4d 48 01 45 57 4e 51 4a 37 49 46 54")
SET1_ABOVE = {0x83: 0x41, 0x84: 0x54}


class Ps2Device(Protocol):
    on_data: Callable[[], object]

    def pending(self) -> bool: ...
    def take(self) -> int: ...
    def send(self, byte: int) -> None: ...
    def reset(self) -> None: ...


class I8042(Chip):
    SIZE = 5
    command_byte = Field(NO_KEYBOARD | NO_AUX)
    ram = Field([0] * 32)  # byte 0 is the command byte, kept apart
    output_port = Field(RESET_NOT | A20)
    output = Field(None)  # what port 60h holds
    data = Field(0)  # what it held last
    from_aux = Field(False)
    answers = Field([])  # (byte, from aux), of commands that came before the output was empty
    data_for = Field(0)  # the command that waits for its data byte
    last_was_command = Field(False)
    breaking = Field(False)  # F0h has come from the keyboard and was kept back
    ready_at = Field(0)

    def __init__(self, reset: Callable[[], object], a20: Callable[[bool], object] | None = None, *,
                 keyboard: Ps2Device | None = None, mouse: Ps2Device | None = None,
                 irq1: Line | None = None, irq12: Line | None = None, clock: Clock | None = None) -> None:
        self.reset_machine, self.a20 = reset, a20
        self.keyboard, self.mouse = keyboard, mouse
        self.irq1, self.irq12 = irq1 or Line(), irq12 or Line()
        self.clock = clock or Clock()
        self.timer = self.clock.timer(self.settle)
        self.pause = BETWEEN_BYTES if clock else 0
        for device in (keyboard, mouse):
            if device is not None:
                device.on_data = self.settle
        super().__init__()

    def parts(self) -> dict[str, Stateful]:
        attached: tuple[tuple[str, object], ...] = (("keyboard", self.keyboard), ("mouse", self.mouse))
        return {name: device for name, device in attached if isinstance(device, Stateful)}

    @on_read(4, pure=True)
    def read_status(self) -> int:
        full = self.output is not None
        return (SYSTEM_FLAG | UNLOCKED | (COMMAND if self.last_was_command else 0)
                | (OUTPUT_FULL if full else 0) | (AUX_FULL if full and self.from_aux else 0))

    @on_read(0)
    def read_data(self) -> int:
        if self.output is not None:
            self.data, self.output = self.output, None
            self.ready_at = self.clock.now() + self.pause
            self._interrupt()  # the line falls before the next byte raises it
        return int(self.data)

    @on_write(4)
    def write_command(self, command: int) -> None:
        self.last_was_command = True
        self.data_for = command if command in WITH_DATA else 0
        if 0x20 <= command < 0x40:
            self._answer(self.ram[command & 31] if command & 31 else self.command_byte)
        elif command in (0xA7, 0xA8, 0xAD, 0xAE):
            bit = NO_AUX if command < 0xA9 else NO_KEYBOARD
            self.command_byte = self.command_byte & ~bit | (bit if command in (0xA7, 0xAD) else 0)
        elif command in (0xDD, 0xDF):
            self._drive(self.output_port & ~A20 | (A20 if command == 0xDF else 0))
        elif command >= 0xF0:
            if not command & 1:
                self.reset_machine()  # pulses output bit 0, which is the processor's reset
        else:
            self._ask(command)

    def _ask(self, command: int) -> None:
        if command == 0xA9:
            self._answer(0 if self.mouse else 1)  # 1: the clock line is stuck low
        elif command == 0xAA:
            self.command_byte |= SYSTEM
            self._answer(0x55)
        elif command == 0xAB:
            self._answer(0 if self.keyboard else 1)
        elif command == 0xC0:
            self._answer(0xB0)  # the input port: not locked, colour display
        elif command == 0xD0:
            self._answer(self.output_port)
        elif command == 0xE0:
            self._answer(0)

    @on_write(0)
    def write_data(self, value: int) -> None:
        self.last_was_command = False
        command, self.data_for = self.data_for, 0
        if command == 0x60:
            self.command_byte = value
        elif 0x60 < command < 0x80:
            self.ram[command & 31] = value
        elif command == 0xD1:
            self._drive(value)
        elif command in (0xD2, 0xD3):
            self._answer(value, command == 0xD3)
        elif command == 0xD4:
            if self.mouse is not None:
                self.mouse.send(value)
        elif self.keyboard is not None:
            self.command_byte &= ~NO_KEYBOARD  # sending to the keyboard opens its line again
            self.keyboard.send(value)

    def _drive(self, value: int) -> None:
        self.output_port = value
        if not value & RESET_NOT:
            self.reset_machine()
        elif self.a20 is not None:
            self.a20(bool(value & A20))

    def _answer(self, byte: int, from_aux: bool = False) -> None:
        if len(self.answers) < ANSWERS:
            self.answers.append((byte, from_aux))

    def _sources(self) -> Iterator[tuple[Ps2Device, bool]]:
        """The devices whose lines are open and that have something, the keyboard first."""
        for device, closed, aux in ((self.keyboard, NO_KEYBOARD, False), (self.mouse, NO_AUX, True)):
            if device is not None and not self.command_byte & closed and device.pending():
                yield device, aux

    def _fill(self) -> None:
        """Put the next byte into the empty output buffer."""
        if self.answers:
            self.output, self.from_aux = self.answers.pop(0)
        elif self.clock.now() >= self.ready_at:
            for device, aux in self._sources():
                byte = device.take() if aux else self._translated(device)
                if byte is not None:
                    self.output, self.from_aux = byte, aux
                    return

    def _translated(self, keyboard: Ps2Device) -> int | None:
        """Scan set 2 as set 1, if the command byte says so: F0h becomes the high bit of what follows."""
        byte = keyboard.take()
        if not self.command_byte & TRANSLATE:
            self.breaking = False
            return byte
        if byte == 0xF0:
            self.breaking = True
            if not keyboard.pending():
                return None
            byte = keyboard.take()
        code = SET1[byte] if byte < 0x80 else SET1_ABOVE.get(byte, byte)
        broken, self.breaking = self.breaking, False
        return code | 0x80 if broken else code

    def settle(self) -> None:
        if self.output is None:
            self._fill()
        waits = self.output is None and next(self._sources(), None) is not None
        self.timer.set(max(self.ready_at, self.clock.now() + 1)) if waits else self.timer.cancel()
        self._interrupt()

    def _interrupt(self) -> None:
        full = self.output is not None
        self.irq1.set(full and not self.from_aux and self.command_byte & IRQ1)
        self.irq12.set(full and self.from_aux and self.command_byte & IRQ12)


class Port92(Chip):
    """System control port A: bit 0 resets, bit 1 opens A20."""

    SIZE = 1
    control = Field(A20)

    def __init__(self, reset: Callable[[], object], a20: Callable[[bool], object] | None = None) -> None:
        super().__init__()
        self.reset_machine, self.a20 = reset, a20

    @on_read(0)
    def read_control(self) -> int:
        return int(self.control)

    @on_write(0)
    def write_control(self, value: int) -> None:
        resets = value & 1 & ~self.control
        self.control = value & 3
        if self.a20 is not None:
            self.a20(bool(value & A20))
        if resets:
            self.reset_machine()
