"""RISC-V SBI 2.0 answered in Python, for a kernel that runs in supervisor mode without firmware below it.

Base, TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy calls (chapter 5). One hart. Not there: PMU, NACL, CPPC, STA,
and suspending the system (SUSP); probing says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

SUCCESS, FAILED, NOT_SUPPORTED, INVALID_PARAM, DENIED, INVALID_ADDRESS = 0, -1, -2, -3, -4, -5
ALREADY_AVAILABLE = -6
VERSION = 2 << 24
IMPLEMENTATION = 0x6768  # "gh"; no number was assigned
BASE, TIME, IPI, RFENCE = 0x10, 0x54494D45, 0x735049, 0x52464E43
HSM, SRST, DBCN = 0x48534D, 0x53525354, 0x4442434E
ALL = (1 << 64) - 1
SHUTDOWN, COLD_REBOOT, WARM_REBOOT = 0, 1, 2
STARTED = 0
CHUNK = 4096  # bytes that one console call may move


class Machine(Protocol):
    """What the calls need of the board."""

    def set_timer(self, ticks: int) -> None: ...
    def software_interrupt(self, pending: bool) -> None: ...
    def flush_translations(self) -> None: ...
    def console_write(self, data: bytes) -> None: ...
    def console_read(self, most: int) -> bytes: ...
    def read_memory(self, address: int, count: int) -> bytes | None: ...
    def write_memory(self, address: int, data: bytes) -> bool: ...
    def finish(self, verdict: str, code: int) -> None: ...


Arguments = list[int]
Answer = tuple[int, int]
Call = Callable[[Arguments], Answer]


class Sbi:
    """`call` takes a7, a6 and a0..a5 and gives a0 and a1 (None: leave a1 alone, as the legacy calls do)."""

    def __init__(self, machine: Machine, *, vendor: int = 0, architecture: int = 0, implementation: int = 0) -> None:
        self.machine = machine
        self.identity = (vendor, architecture, implementation)
        self.extensions: dict[int, dict[int, Call]] = {
            BASE: {0: lambda a: (SUCCESS, VERSION), 1: lambda a: (SUCCESS, IMPLEMENTATION),
                   2: lambda a: (SUCCESS, 1), 3: self.probe, 4: lambda a: (SUCCESS, vendor),
                   5: lambda a: (SUCCESS, architecture), 6: lambda a: (SUCCESS, implementation)},
            TIME: {0: self.set_timer},
            IPI: {0: self.send_ipi},
            RFENCE: {0: self.remote_fence, 1: self.remote_fence, 2: self.remote_fence},
            HSM: {0: self.hart_start, 1: lambda a: (FAILED, 0), 2: self.hart_status, 3: self.hart_suspend},
            SRST: {0: self.system_reset},
            DBCN: {0: self.console_write, 1: self.console_read, 2: self.console_write_byte},
        }
        self.legacy: dict[int, Callable[[Arguments], int]] = {
            0: self.legacy_timer, 1: self.legacy_putchar, 2: self.legacy_getchar, 3: self.legacy_clear_ipi,
            4: self.legacy_send_ipi, 5: self.legacy_fence, 6: self.legacy_fence, 7: self.legacy_fence,
            8: self.legacy_shutdown,
        }

    def call(self, extension: int, function: int, arguments: Arguments) -> tuple[int, int | None]:
        if extension in self.legacy:
            return self.legacy[extension](arguments) & ALL, None
        act = self.extensions.get(extension, {}).get(function)
        error, value = (NOT_SUPPORTED, 0) if act is None else act(arguments)
        return error & ALL, value & ALL

    def probe(self, a: Arguments) -> Answer:
        return SUCCESS, int(a[0] in self.extensions or a[0] in self.legacy)

    def set_timer(self, a: Arguments) -> Answer:
        self.machine.set_timer(a[0])
        return SUCCESS, 0

    @staticmethod
    def is_us(mask: int, first: int) -> bool | None:
        """Whether a hart mask (3.1) names hart 0; None if it names a hart that does not exist."""
        if first == ALL:
            return True
        harts = mask << first
        return bool(harts & 1) if harts <= 1 else None

    def send_ipi(self, a: Arguments) -> Answer:
        us = self.is_us(a[0], a[1])
        if us:
            self.machine.software_interrupt(True)
        return (INVALID_PARAM if us is None else SUCCESS), 0

    def remote_fence(self, a: Arguments) -> Answer:
        us = self.is_us(a[0], a[1])
        if us:
            self.machine.flush_translations()
        return (INVALID_PARAM if us is None else SUCCESS), 0

    def hart_start(self, a: Arguments) -> Answer:
        return (ALREADY_AVAILABLE if a[0] == 0 else INVALID_PARAM), 0

    def hart_status(self, a: Arguments) -> Answer:
        return (SUCCESS, STARTED) if a[0] == 0 else (INVALID_PARAM, 0)

    def hart_suspend(self, a: Arguments) -> Answer:
        """The default retentive suspend may return at once: the caller waits again."""
        return (SUCCESS if a[0] == 0 else NOT_SUPPORTED), 0

    def system_reset(self, a: Arguments) -> Answer:
        kind, reason = a[0] & 0xFFFF_FFFF, a[1] & 0xFFFF_FFFF
        if kind > WARM_REBOOT or 1 < reason < 0xE000_0000:
            return INVALID_PARAM, 0
        self.machine.finish("pass" if kind == SHUTDOWN and reason == 0 else "fail" if kind == SHUTDOWN else "reset",
                            reason)
        return SUCCESS, 0

    def console_write(self, a: Arguments) -> Answer:
        data = self.machine.read_memory(a[1] | a[2] << 64, min(a[0], CHUNK))
        if data is None:
            return INVALID_PARAM, 0
        self.machine.console_write(data)
        return SUCCESS, len(data)

    def console_read(self, a: Arguments) -> Answer:
        address, count = a[1] | a[2] << 64, min(a[0], CHUNK)
        if self.machine.read_memory(address, count) is None:
            return INVALID_PARAM, 0
        data = self.machine.console_read(count)
        self.machine.write_memory(address, data)
        return SUCCESS, len(data)

    def console_write_byte(self, a: Arguments) -> Answer:
        self.machine.console_write(bytes((a[0] & 0xFF,)))
        return SUCCESS, 0

    # Chapter 5: the answer is in a0 alone, and a hart mask is a pointer in the caller's own address space. With one
    # hart the mask can only name this one.

    def legacy_timer(self, a: Arguments) -> int:
        self.machine.set_timer(a[0])
        return 0

    def legacy_putchar(self, a: Arguments) -> int:
        self.machine.console_write(bytes((a[0] & 0xFF,)))
        return 0

    def legacy_getchar(self, a: Arguments) -> int:
        data = self.machine.console_read(1)
        return data[0] if data else -1

    def legacy_clear_ipi(self, a: Arguments) -> int:
        self.machine.software_interrupt(False)
        return 0

    def legacy_send_ipi(self, a: Arguments) -> int:
        self.machine.software_interrupt(True)
        return 0

    def legacy_fence(self, a: Arguments) -> int:
        self.machine.flush_translations()
        return 0

    def legacy_shutdown(self, a: Arguments) -> int:
        self.machine.finish("pass", 0)
        return 0
