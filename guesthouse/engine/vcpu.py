"""The contract between an engine and a board: `run` returns an exit; the board answers it and runs again.

It has KVM's shape, so that /dev/kvm can take our engine's place. Exits that ask carry `reply`, to be called before the
next run; writes are done when the next run begins.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(slots=True)  # not frozen: one is made at each exit, and that would take four times as long
class Exit:
    """Why run() came back."""


@dataclass(slots=True)
class Asks(Exit):
    """An exit that wants a value. Unanswered, it reads as all ones."""

    answer: Callable[[int], None] = field(repr=False, compare=False)

    def reply(self, value: int) -> None:
        self.answer(value)


@dataclass(slots=True)
class MemoryRead(Asks):
    """A read of `size` bytes at a guest-physical address that is not RAM."""

    address: int
    size: int


@dataclass(slots=True)
class MemoryWrite(Exit):
    address: int
    size: int
    value: int


@dataclass(slots=True)
class PortRead(Asks):
    """An x86 IN of `size` bytes."""

    port: int
    size: int


@dataclass(slots=True)
class PortWrite(Exit):
    port: int
    size: int
    value: int


@dataclass(slots=True)
class RegisterRead(Asks):
    """A model-specific register that the processor itself does not have (x86: RDMSR)."""

    number: int
    refuse: Callable[[], None] = field(repr=False, compare=False)


@dataclass(slots=True)
class RegisterWrite(Exit):
    number: int
    value: int
    refuse: Callable[[], None] = field(repr=False, compare=False)


@dataclass(slots=True)
class Halted(Exit):
    """The processor waits for an interrupt (HLT, WFI)."""


@dataclass(slots=True)
class Window(Exit):
    """An interrupt that was asked for with request_window can be injected now."""


@dataclass(slots=True)
class Yields(Exit):
    """The processor only waits for something that another has to do."""


@dataclass(slots=True)
class Alone(Exit):
    """An atomic instruction that the host cannot do at once: run it while no other processor runs."""


@dataclass(slots=True)
class Budget(Exit):
    """The instructions that were allowed have been executed."""


@dataclass(slots=True)
class Stopped(Exit):
    """Another thread called stop()."""


@dataclass(slots=True)
class Breakpoint(Exit):
    address: int


@dataclass(slots=True)
class HostCall(Exit):
    """The guest called its firmware, which is the board (RISC-V: ECALL from supervisor mode under SBI)."""


@dataclass(slots=True)
class Died(Exit):
    """The processor cannot go on (x86: triple fault). The state tells the rest."""

    reason: str


class Vcpu(Protocol):
    """One virtual processor. `state` has named registers, readable and writable while run() is not under way."""

    state: Any

    def run(self, budget: int = 1 << 30) -> Exit: ...

    def stop(self) -> None:
        """From any thread: make the run under way, or the next, return Stopped soon."""

    def close(self) -> None:
        """It will not run again."""

    @property
    def count(self) -> int:
        """Instructions executed since the beginning."""
