"""A machine's memory and registers, as its user reads and writes them, running or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar


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

    __slots__ = ("_machine",)
    _machine: Asked

    def __init__(self, machine: Asked) -> None:
        object.__setattr__(self, "_machine", machine)

    def registers(self) -> dict[str, int]:
        return self._machine.call(lambda board: {name: get(board.vcpu.state, name)
                                                 for name in board.vcpu.state.register_names()})

    @property
    def count(self) -> int:
        """Instructions executed since power-on."""
        return self._machine.call(lambda board: int(board.vcpu.count))

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._machine.call(lambda board: get(board.vcpu.state, name))

    def __setattr__(self, name: str, value: int) -> None:
        self._machine.call(lambda board: put(board.vcpu.state, name, value))


def get(state: Any, name: str) -> int:
    """One register. A state may know more names than it has fields (`rax`, `a0`): see its `register`."""
    return int(state.register(name))


def put(state: Any, name: str, value: int) -> None:
    state.set_register(name, value)
