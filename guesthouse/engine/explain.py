"""What bytes mean to a guest: their decoding, the definition behind it, and what the compiler makes of that.

The bytes go through the guest's own decoder. Code is compiled only when it is asked for, one handler at a time and
without what all handlers share.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine.op import Guest, Handler, Record
from guesthouse.errors import UserError
from guesthouse.typed.struct import PointerType

Disassemble = Callable[[bytes, int], str]  # the instruction that begins the bytes, which lie at this address
LOOKED_AT = 16  # bytes that a decoder may read


@dataclass(frozen=True)
class Compiled:
    """A handler as LLVM IR, as the front end wrote it and optimised, and as the host's assembly text."""

    ir: str
    optimised: str
    machine_code: str


@dataclass(frozen=True)
class Meaning:
    """A handler that the decoder has chosen. `file` begins with the package's folder."""

    guest: Guest
    number: int

    @property
    def handler(self) -> Handler:
        return self.guest.handlers[self.number]

    @property
    def name(self) -> str:
        return self.handler.name

    @property
    def file(self) -> str:
        parts = Path(body(self.handler).__code__.co_filename).parts
        top = body(self.handler).__module__.partition(".")[0]
        return "/".join(parts[max((n for n, part in enumerate(parts) if part == top), default=0):])

    @property
    def line(self) -> int:
        """Where the definition begins: at its encodings."""
        return int(body(self.handler).__code__.co_firstlineno)

    @property
    def source(self) -> str:
        return inspect.getsource(body(self.handler)).rstrip()

    @cached_property
    def compiled(self) -> Compiled:
        return compile_handler(self.guest, self.number)


@dataclass(frozen=True)
class Explained:
    """One instruction. `operands` are the fields of the record of the last of its handlers, which is its body's."""

    at: int
    bytes: bytes
    text: str
    operands: dict[str, int]
    meanings: tuple[Meaning, ...]

    @property
    def name(self) -> str:
        """What the definition is called."""
        return self.meanings[-1].handler.op.name


@dataclass(frozen=True)
class Explanation:
    """The instructions of some bytes, one after the other."""

    guest: str
    instructions: tuple[Explained, ...]


def explain(guest: Guest, code: bytes, pc: int = 0, cpu: Any = None,
            disassemble: Disassemble | None = None) -> Explanation:
    """The instructions in `code`, which lies at the virtual address `pc`.

    `cpu` is a state of the guest, whose mode may decide what bytes mean; without one it is a new state. Without
    `disassemble` an instruction's text is the name of its handler.
    """
    cpu, made, offset = guest.state.new() if cpu is None else cpu, [], 0
    while offset < len(code):
        one = explain_one(guest, code[offset:], pc + offset, cpu, disassemble)
        made.append(one)
        offset += len(one.bytes)
    return Explanation(guest.name, tuple(made))


def explain_one(guest: Guest, code: bytes, pc: int, cpu: Any, disassemble: Disassemble | None) -> Explained:
    """The instruction that the first bytes of `code` make."""
    window = ctypes.create_string_buffer(code[:LOOKED_AT], 2 * LOOKED_AT)
    room = ctypes.create_string_buffer(2 * guest.record.size)
    records = PointerType(guest.record)(u64(ctypes.addressof(room)))
    count = int(cpu.decode(u64(0), u64(pc), u64(ctypes.addressof(window)), records))
    length = int(records[0].length)
    if length > len(code):
        raise UserError(f"{code.hex(' ')} is not a whole instruction: it has {length} bytes.", "Give all of them.",
                        exit_status=2)
    meanings = tuple(Meaning(guest, int(records[n].handler)) for n in range(count))
    text = disassemble(code[:length], pc) if disassemble else meanings[-1].name
    return Explained(pc, code[:length], text, operands(guest.record, records[count - 1]), meanings)


def operands(record: type[Record], filled: Any) -> dict[str, int]:
    """What the decoder has written into the guest's own fields of a record."""
    return {name: int(getattr(filled, name)) for name in record.fields if name not in Record.fields}


def body(handler: Handler) -> Any:
    """The function of a definition, without what decorators have put around it."""
    return inspect.unwrap(handler.op.run)


def compile_handler(guest: Guest, number: int) -> Compiled:
    """One handler's way from the front end to machine code."""
    from guesthouse.engine.build import unit_text
    from guesthouse.typed.machine import optimise

    name, text = f"h{number}", unit_text(guest, [number], core=False)
    module, machine = optimise(text)
    return Compiled(function_in_ir(text, name), function_in_ir(str(module), name),
                    function_in_assembly(str(machine.emit_assembly(module)), name))


def function_in_ir(text: str, name: str) -> str:
    """The definition of one function in a module's text."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("define") and f"@{name}(" in line)
    return "\n".join(lines[start:lines.index("}", start) + 1])


def function_in_assembly(text: str, name: str) -> str:
    """One function's instructions and labels; what only the assembler needs is left out."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith((f"{name}:", f"_{name}:")))
    end = next((n for n, line in enumerate(lines[start:], start) if "func_end" in line), len(lines))
    kept = (line.partition("#")[0].rstrip() for line in lines[start:end])
    return "\n".join(line for line in kept if line and (line.endswith(":") or not line.lstrip().startswith(".")))
