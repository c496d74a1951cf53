"""The keyboard controller's system side: reset pulse and A20 gate, and port 92h, which does the same
faster.

After the IBM PS/2 technical reference, keyboard and auxiliary device controller. Not modelled yet: keyboard
and mouse; nothing is attached, and the controller says so.
"""

from __future__ import annotations

from typing import Callable

from guesthouse.system.chips.kit import Chip, Field, on_read, on_write

OUTPUT_FULL, SYSTEM_FLAG, COMMAND = 0x01, 0x04, 0x08  # status
RESET_NOT, A20 = 0x01, 0x02  # output port
ANSWERS = {0xAA: 0x55, 0xAB: 0x01, 0xA9: 0x01}  # self-test passed; clock lines stuck: no keyboard, no mouse


class I8042(Chip):
    SIZE = 5
    command_byte = Field(0x30)
    output_port = Field(RESET_NOT | A20)
    answer = Field(None)
    data_for = Field(0)  # the command that waits for its data byte
    last_was_command = Field(False)

    def __init__(self, reset: Callable[[], object], a20: Callable[[bool], object] | None = None) -> None:
        super().__init__()
        self.reset_machine, self.a20 = reset, a20

    @on_read(4, pure=True)
    def read_status(self) -> int:
        return SYSTEM_FLAG | (COMMAND if self.last_was_command else 0) | (self.answer is not None)

    @on_read(0)
    def read_data(self) -> int:
        answer, self.answer = self.answer, None
        return int(answer or 0)

    @on_write(4)
    def write_command(self, command: int) -> None:
        self.last_was_command = True
        self.data_for = command if command in (0x60, 0xD1, 0xD2, 0xD3, 0xD4) else 0
        if command in ANSWERS:
            self.answer = ANSWERS[command]
        elif command == 0x20:
            self.answer = self.command_byte
        elif command == 0xD0:
            self.answer = self.output_port
        elif command >= 0xF0 and not command & 1:
            self.reset_machine()  # pulses output bit 0, which is the processor's reset

    @on_write(0)
    def write_data(self, value: int) -> None:
        self.last_was_command = False
        command, self.data_for = self.data_for, 0
        if command == 0x60:
            self.command_byte = value
        elif command == 0xD1:
            self.output_port = value
            if not value & RESET_NOT:
                self.reset_machine()
            elif self.a20 is not None:
                self.a20(bool(value & A20))
        elif command in (0xD2, 0xD3):
            self.answer = value


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
