"""A machine's memory and registers, as its user reads and writes them, running or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar


from guesthouse.manager import registers

T = TypeVar("T")


class Asked(Protocol):
    """Whoever calls a job with the board when the guest is between two instructions."""

    def call(self, job: Callable[[Any], T]) -> T: ...


class Memory:
    """Guest-physical memory: RAM alone, and what is out of range is refused."""

    def __init__(self, machine: Asked) -> None:
        self._machine = machine

    def read(self, address: int, count: int) -> bytes:
        return self._machine.call(lambda board: bytes(board.memory.read(address, count)))

    def write(self, address: int, data: bytes) -> None:
        self._machine.call(lambda board: board.memory.write(address, data))


class Cpu:
    """A processor's registers by name: `cpu.rip`, `cpu.rax`; `cpu.pc`, `cpu.a0`. `registers()` has them all."""

    __slots__ = ("_arch", "_machine", "_number")
    _arch: str
    _number: int
    _machine: Asked

    def __init__(self, machine: Asked, arch: str, number: int = 0) -> None:
        object.__setattr__(self, "_machine", machine)
        object.__setattr__(self, "_arch", arch)
        object.__setattr__(self, "_number", number)

    def registers(self) -> dict[str, int]:
        known = registers.BY_ARCHITECTURE[self._arch]
        return self._call(lambda vcpu: {name: one.get(vcpu.state) for name, one in known.items()})

    def count(self) -> int:
        """Instructions executed since power-on."""
        return self._call(lambda vcpu: int(vcpu.count))

    def _call(self, job: Callable[[Any], T]) -> T:
        return self._machine.call(lambda board: job(board.cores[self._number].vcpu))

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        register = registers.find(self._arch, name)
        return self._call(lambda vcpu: register.get(vcpu.state))

    def __setattr__(self, name: str, value: int) -> None:
        self._call(lambda vcpu: registers.store(self._arch, name, vcpu.state, value))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *registers.BY_ARCHITECTURE[self._arch]]
