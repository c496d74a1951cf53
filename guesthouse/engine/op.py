"""What the definition of an instruction is, for every guest.

An `Op` is one operation with its one body. A `Handler` is an op whose operands are settled: which kind each is, and how
it is found in a decoded record. The plain way calls handlers; the threaded way compiles each into machine code.
"""

import gc
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from guesthouse.bits import u8, u16, u64
from guesthouse.engine.host import HostUnit
from guesthouse.typed import Struct

FALLS, BRANCHES, LEAVES = range(3)


class Record(Struct):
    """A decoded instruction. A guest's own record is a subclass whose fields hold the operands.

    The guest's decoder sets `handler` (a number) and `length`; the engine fills in the rest.
    """

    handler: u64  # number of the handler; in a block its machine-code address
    after: u16  # from the pc of the block's first instruction to the end of this one
    left: u8  # instructions from here to the end of the block, this one included
    length: u8  # bytes


@dataclass(frozen=True)
class Op:
    """One operation.

    `ends` says what comes after: FALLS, the next instruction; BRANCHES, whatever the body has put into cpu.pc, which is
    the next instruction's address when the body begins; LEAVES, the same, but first the engine looks for exits and
    interrupts (anything that may enable interrupts or change how code is fetched). `counts`: the body needs the exact
    cpu.left, that is cpu.now().
    """

    name: str
    run: Callable[..., None]
    ends: int = FALLS
    counts: bool = False
    encodings: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Handler:
    """An op with settled operands. `binds` are functions of (cpu, record), one for each parameter after cpu."""

    name: str
    op: Op
    binds: tuple[Callable[[Any, Any], Any], ...] = ()


@dataclass(frozen=True)
class HostStack:
    """How hot code keeps a register stack in the host's x87, on hosts that have one (engine/stack.py).

    `modules` are those whose instructions need it; where there is none, their blocks stay threaded. `instead`: as
    HostUnit has it. The rest says where it lies in the state: eight registers of 16 bytes with extended numbers, which
    of them is the top, a bit for each that is filled, the control word, exceptions so far (with the x87's numbers), and
    whether the last result was rounded up. `usable(cpu)`: whether the host may do it now.
    """

    modules: tuple[str, ...]
    instead: dict[Any, Any]
    registers: str
    top: str
    tags: str
    control: str
    flags: tuple[str, str]
    up: tuple[str, str]
    usable: Any


@dataclass(frozen=True)
class Stacked:
    """How stencils know what is on the guest's stack: addresses that these functions tell, and those that `operand`
    tells of records with these fields, besides those that most have (Guest.usual)."""

    addresses: tuple[Any, ...] = ()
    operand: Any = None
    fields: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Instructions:
    """What follows from a guest's definitions: its handlers, whose index is Record.handler, and what hot code does with
    them otherwise. `rare` are functions that it leaves to the threaded way; nothing has changed before a call."""

    handlers: tuple[Handler, ...]
    rare: tuple[Any, ...] = ()
    unit: HostUnit | None = None
    stack: HostStack | None = None


@dataclass(frozen=True, eq=False)
class Guest:
    """An instruction set as the engine takes it: state, record, instructions. These are made when someone asks for them
    first: a compiler, the plain way, a report. Whoever only runs what has been compiled does without.

    `state` is a subclass of Processor and has six methods in typed Python besides its own, and a field `start`:
      no_code(va) -> None       raise the fault for a fetch from where there is no RAM
      walk(va, access) -> u64   guest-physical address for READ, WRITE or EXECUTE, or a fault
      poll() -> None            before any instruction: deliver an enabled interrupt, or set exit to WINDOW
      deliver() -> None         make cpu.fault the guest's exception; may set exit to DIED
      home(pc) -> u64           the page of pc if what is decoded there, in the mode in force, may depend on it; else
                                ANYWHERE
      decode(start, at, code, record) -> u64
                                decode what lies at host address `code` (16 bytes can be read) into record[0], and
                                record[1] if one instruction needs two; returns how many records were written. Never
                                faults: bytes that mean nothing become the handler that raises the guest's exception.
                                The instruction stands `at` bytes behind `start`, the pc of its block; addresses in
                                records count from there (Cpu.start).
    """

    name: str
    state: type[Any]
    record: type[Record]
    define: Callable[[], Instructions]  # called once, by `instructions`
    sources: tuple[str, ...]  # packages whose text decides what is compiled, for the cache's key
    origin: str = ""  # "package.module:NAME", where another process finds this guest in order to compile it
    calls: tuple[str, ...] = ()  # methods (self, u64) for the board, between runs; one that faults is delivered
    dialects: tuple[tuple[int, int], ...] = ()  # (mask, value) of the modes of use() that blocks are put together for
    usual: tuple[tuple[str, int], ...] = ()  # fields of records, and the values that most have
    stacked: Stacked = Stacked()  # without it no stencil asks where the stack is
    registers: tuple[str, ...] = ()  # fields of the state that hot code keeps in variables, pc among them
    settled: Callable[[int], dict[str, int]] = lambda mode: {}  # fields of the state that follow from the mode of use()
    hosted: dict[Any, Any] = field(default_factory=dict)  # functions that handlers have as others on x86-64 hosts
    standing: dict[Any, Any] = field(default_factory=dict)  # others for branches of stencils, where flags still stand
    deferred: tuple[Callable[..., None], ...] = ()  # methods of the state that only write such fields, from numbers
    bases: frozenset[int] = frozenset()  # where the registers are of which addresses are made (hot/pages.py), ...
    pages: frozenset[int] = frozenset()  # ... and those of them by which hot code remembers pages
    shortcuts: dict[tuple[Any, Any], Any] = field(default_factory=dict)
    #   (what asks, what was deferred): the answer, from the arguments of both, without the fields

    @cached_property
    def instructions(self) -> Instructions:
        return self.define()

    @property
    def handlers(self) -> tuple[Handler, ...]:
        return self.instructions.handlers


def find_guest(origin: str, whole: bool = False) -> Any:
    """The guest that lies there ("package.module:NAME"); `whole`: with its instructions. What it is made of, a hundred
    thousand objects then, lives as long as the process: Python's collector is not to go through it again and again, now
    or ever."""
    module, _, name = origin.partition(":")
    fresh = module not in sys.modules and gc.isenabled()
    if fresh:
        gc.disable()
    try:
        guest: Guest = getattr(importlib.import_module(module), name)
        if whole:
            _ = guest.instructions
        if fresh:
            gc.freeze()
    finally:
        if fresh:
            gc.enable()
    return guest
