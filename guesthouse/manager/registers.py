"""A processor's registers by the names of its manual: where each is in the state, and which may be set from outside.

Control registers can be read only: to set one means more than storing a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u64, u128
from guesthouse.errors import ConfigError, NoSuchThing

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
INTEGER = ("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", *(f"a{n}" for n in range(8)),
           *(f"s{n}" for n in range(2, 12)), "t3", "t4", "t5", "t6")
HART = ("mode", "mhartid", "mstatus", "mtvec", "medeleg", "mideleg", "mie", "mip", "mepc", "mcause", "mtval",
        "mscratch", "stvec", "sepc", "scause", "stval", "sscratch", "satp", "stimecmp")


@dataclass(frozen=True)
class Register:
    """One register of a state."""

    get: Callable[[Any], int]
    put: Callable[[Any, int], None] | None = None
    bits: int = 64


def x86() -> dict[str, Register]:
    made = {"rip": field("pc"), "rflags": Register(lambda s: int(s.rflags()), lambda s, v: s.set_rflags(u64(v)))}
    made |= {name: element("r", n) for n, name in enumerate(GENERAL)}
    made |= {name: Register(field(name).get) for name in ("cr0", "cr2", "cr3", "cr4", "efer", "xcr0", "cpl")}
    for n, name in enumerate(SEGMENTS):
        made[name], made[f"{name}_base"] = segment(n, "selector"), segment(n, "base")
    return made | {f"xmm{n}": element("xmm", n, 128) for n in range(16)}


def riscv() -> dict[str, Register]:
    made = {"pc": field("pc")}
    for n, name in enumerate(INTEGER):
        made[name] = made[f"x{n}"] = element("x", n) if n else Register(lambda s: 0)
    made["fp"] = made["s0"]
    return made | {f"f{n}": element("f", n) for n in range(32)} | {name: Register(field(name).get) for name in HART}


def field(name: str) -> Register:
    return Register(lambda s: int(getattr(s, name)), lambda s, v: setattr(s, name, u64(v)))


def segment(n: int, part: str) -> Register:
    return Register(lambda s: int(getattr(s.segments[n], part)))


def element(array: str, n: int, bits: int = 64) -> Register:
    kind = u128 if bits == 128 else u64

    def put(state: Any, value: int) -> None:
        getattr(state, array)[n] = kind(value)

    return Register(lambda s: int(getattr(s, array)[n]), put, bits)


BY_ARCHITECTURE: Mapping[str, Mapping[str, Register]] = {"amd64": x86(), "riscv64": riscv()}


def find(arch: str, name: str) -> Register:
    known = BY_ARCHITECTURE[arch]
    if name not in known:
        raise NoSuchThing(f"A processor of {arch} has no register called {name}.", f"It has {', '.join(known)}.")
    return known[name]


def store(arch: str, name: str, state: Any, value: int) -> None:
    """Set a register, if that is possible from outside."""
    register = find(arch, name)
    if register.put is None:
        raise ConfigError("the processor", name, value, "left as it is: this register can only be read")
    if not 0 <= value < 1 << register.bits:
        raise ConfigError("the processor", name, value, f"a number of {register.bits} bits, not negative")
    register.put(state, value)
