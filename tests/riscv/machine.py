"""A bare hart with some RAM, for tests: registers by number, memory by address, instructions by name."""

from __future__ import annotations

from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Exit
from guesthouse.system.cpu.riscv.causes import FS
from guesthouse.system.cpu.riscv.guest import RISCV
from guesthouse.system.cpu.riscv.instructions import INSTRUCTIONS
from guesthouse.system.memory import Memory

RAM, SIZE = 0x8000_0000, 4 << 20
CODE, DATA = RAM + (1 << 20), RAM + (3 << 20)
MASK = (1 << 64) - 1


def word(name: str, **fields: int) -> int:
    """The encoding of an instruction; fields by the names in its encoding."""
    named = (i for i in INSTRUCTIONS if i.name == name and fields.keys() <= i.pattern.fields.keys())
    return next(named).encode(**fields)


class Machine:
    """In machine mode, nothing protected, floats on."""

    def __init__(self, engine: Any) -> None:
        self.memory = Memory([(RAM, SIZE)])
        self.vcpu = SoftVcpu(RISCV, engine)
        self.hart = self.vcpu.state
        self.memory.install(self.hart, self.vcpu.outdate)
        self.hart.reset(CODE)
        self.hart.mstatus = u64(FS & 1 << 13)

    def program(self, *words: int, at: int = CODE) -> Machine:
        """Put instructions, each of its own length, at an address."""
        data = b"".join(w.to_bytes(4 if w & 3 == 3 else 2, "little") for w in words)
        self.memory.write(at, data)
        return self

    def run(self, count: int = 1) -> Exit:
        return self.vcpu.run(count)

    def step(self, *words: int) -> Machine:
        """Execute these instructions at CODE."""
        self.program(*words)
        self.hart.pc = u64(CODE)
        self.run(len(words))
        return self

    def x(self, n: int) -> int:
        return int(self.hart.x[n])

    def f(self, n: int) -> int:
        return int(self.hart.f[n])

    def set(self, **registers: int) -> Machine:
        """`x5=1, f2=3`, or a register of the state by its name."""
        for name, value in registers.items():
            if name[1:].isdigit():
                getattr(self.hart, name[0])[int(name[1:])] = u64(value & MASK)
            else:
                setattr(self.hart, name, u64(value & MASK))
        return self

    def store(self, address: int, value: int, size: int = 8) -> None:
        self.memory.write(address, value.to_bytes(size, "little"))

    def load(self, address: int, size: int = 8) -> int:
        return int.from_bytes(self.memory.read(address, size), "little")
