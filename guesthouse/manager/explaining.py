"""What an instruction's bytes mean: its decoding, the definition behind it, and what the compiler makes of that."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guesthouse.bits import u8, u64
from guesthouse.engine.op import Guest
from guesthouse.errors import UserError
from guesthouse.manager.building import instruction_set
from guesthouse.typed import Struct
from guesthouse.typed.struct import ArrayType, PointerType

def room(**fields: Any) -> Any:
    """A struct made for the occasion."""
    made: Any = type("Room", (Struct,), {"__annotations__": fields})
    return made.new()


@dataclass(frozen=True)
class Explained:
    """One instruction. `operands` are the fields of its decoded record."""

    at: int
    bytes: bytes
    name: str
    operands: dict[str, int]
    handlers: tuple[str, ...]
    sources: tuple[str, ...]
    text: str
    numbers: tuple[int, ...]


def explain(code: bytes, arch: str, at: int = 0) -> list[Explained]:
    """The instructions in `code`, which lies at the virtual address `at`."""
    if not code or len(code) > 4096:
        raise UserError(f"{len(code)} bytes are to be explained.", "Give 1 to 4096.", exit_status=2)
    guest = instruction_set(arch)
    cpu = guest.state.new()
    prepare(cpu, arch)
    window = room(bytes=ArrayType(u8, len(code) + 32))  # a decoder may look at 16 from any instruction on
    for n, byte in enumerate(code):
        window.bytes[n] = u8(byte)
    found, offset = [], 0
    while offset < len(code):
        one = explain_one(guest, cpu, window.address + offset, code[offset:], at + offset)
        found.append(one)
        offset += len(one.bytes)
    return found


def prepare(cpu: Any, arch: str) -> None:
    """x86 bytes are taken as 64-bit code; RISC-V has one reading."""
    if arch == "amd64":
        cpu.code_bits, cpu.stack_bits = u8(64), u8(64)


def explain_one(guest: Guest, cpu: Any, host: u64, code: bytes, at: int) -> Explained:
    """The instruction that the first bytes of `code`, which lie at `host`, make."""
    pair = room(pair=ArrayType(guest.record, 2))
    records = PointerType(guest.record)(pair.address)
    count = int(cpu.decode(u64(at), host, records))
    length = int(records[0].length)
    if length > len(code):
        raise UserError(f"{code.hex(' ')} is not a whole instruction: it has {length} bytes.", "Give all of them.",
                        exit_status=2)
    numbers = tuple(int(records[n].handler) for n in range(count))
    handlers = [guest.handlers[number] for number in numbers]
    last = handlers[-1]
    return Explained(
        at, code[:length], last.op.name, operands(guest.record, records[count - 1]),
        tuple(handler.name for handler in handlers), tuple(where(handler.op.run) for handler in handlers),
        inspect.getsource(inspect.unwrap(plain(last.op.run))).rstrip(), numbers,
    )


def operands(record: type[Any], filled: Any) -> dict[str, int]:
    own = [name for name in record.__annotations__ if name not in ("handler", "at", "left", "length")]
    return {name: int(getattr(filled, name)) for name in own}


def plain(run: Any) -> Any:
    """The Python function under what decorators have made of it."""
    return getattr(run, "body", getattr(run, "__wrapped__", run))


def where(run: Any) -> str:
    """file:line of a definition, the file from the package on."""
    code = inspect.unwrap(plain(run)).__code__
    parts = Path(code.co_filename).parts
    start = max((n for n, part in enumerate(parts) if part == "guesthouse"), default=0)
    return f"{'/'.join(parts[start:])}:{code.co_firstlineno}"


def compiled(arch: str, number: int) -> tuple[str, str]:
    """LLVM IR, optimised, and machine code of one handler, without what all handlers share."""
    from guesthouse.engine.build import unit_text
    from guesthouse.typed.machine import optimise

    module, machine = optimise(unit_text(instruction_set(arch), [number], False))
    name = f"h{number}"
    return function_of(str(module), name), function_in_assembly(str(machine.emit_assembly(module)), name)


def function_of(text: str, name: str) -> str:
    """The definition of one function in a module's text."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("define") and f"@{name}(" in line), None)
    return text if start is None else "\n".join(lines[start : lines.index("}", start) + 1])


def function_in_assembly(text: str, name: str) -> str:
    """One function's instructions, the assembler's directives left out."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith(name + ":")), None)
    if start is None:
        return text
    end = next((n for n, line in enumerate(lines[start:], start) if "func_end" in line), len(lines))
    return "\n".join(line for line in lines[start:end] if not line.lstrip().startswith("."))
