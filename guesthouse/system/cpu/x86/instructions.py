"""All x86 instructions: the definitions, the handlers and opcode tables that follow from them, and how hot code does
what the host has instructions for."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from guesthouse.engine.op import Handler, Instructions, Op
from guesthouse.system.cpu.x86 import (
    aes,
    atomics,
    bcd,
    bitops,
    bmi,
    branches,
    cpuid,
    far,
    hints,
    integer,
    mmx,
    moves,
    msr,
    multiply,
    pclmul,
    ports,
    random,
    segments,
    sha,
    shifts,
    smm,
    sse_convert,
    sse_float,
    sse_host,
    sse_integer,
    sse_moves,
    sse_shuffle,
    sse_state,
    sse_strings,
    stack,
    strings,
    syscall,
    system,
    x87_arithmetic,
    x87_compare,
    x87_control,
    x87_moves,
    x87_remainder,
    x87_transcendental,
    x87_trigonometry,
)
from guesthouse.system.cpu.x86.decode import decoded
from guesthouse.system.cpu.x86.definitions import Definition, definitions
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.forms import Forms
from guesthouse.system.cpu.x86.operands import BindAddress, BindConstant, BindNumber
from guesthouse.system.cpu.x86.state import VECTOR_GP, VECTOR_UD
from guesthouse.system.cpu.x86.tables import OpcodeTables, Tables, register_files
from guesthouse.system.cpu.x86.x87_host import host_stack

MODULES = (
    integer,
    moves,
    shifts,
    multiply,
    bitops,
    bmi,
    atomics,
    stack,
    branches,
    hints,
    bcd,
    strings,
    ports,
    system,
    segments,
    far,
    syscall,
    smm,
    msr,
    cpuid,
    random,
    x87_control,
    x87_moves,
    x87_arithmetic,
    x87_compare,
    x87_remainder,
    x87_transcendental,
    x87_trigonometry,
    mmx,
    sse_state,
    sse_moves,
    sse_float,
    sse_convert,
    sse_integer,
    sse_shuffle,
    sse_strings,
    aes,
    pclmul,
    sha,
)


def undefined(cpu) -> None:
    """#UD: bytes that are no instruction."""
    cpu.raise_fault(VECTOR_UD)


def too_long(cpu) -> None:
    """#GP(0): more than fifteen bytes (SDM 3, 6.15, interrupt 13)."""
    cpu.raise_fault(VECTOR_GP)


def beyond(cpu) -> None:
    """#GP(0): code beyond the limit of its segment (SDM 3A, 5.3)."""
    cpu.raise_fault(VECTOR_GP)


def offset_step(cpu, mask, offset) -> None:
    """LEA under an address size that is not the native one."""
    cpu.ea = offset & mask


def linear_step(cpu, mask, segment, how, offset) -> None:
    """The linear address of an operand behind a segment base or under an address size that is not 64."""
    cpu.ea = cpu.linear(segment, offset & mask, how)


def first_handlers() -> list[Handler]:
    """The handlers that no opcode has; decode.py knows their numbers."""
    masks = [BindConstant((1 << bits) - 1) for bits in (16, 32, 64)]
    address, segment, how = BindAddress(), BindNumber("segment"), BindNumber("imm")
    return [
        Handler("undefined", Op("undefined", undefined)),
        Handler("too long", Op("too_long", too_long)),
        Handler("beyond", Op("beyond", beyond)),
        *(Handler(f"offset {m.value:x}", Op("offset_step", offset_step), (m, address)) for m in masks[:2]),
        *(
            Handler(f"linear {m.value:x}", Op("linear_step", linear_step), (m, segment, how, address))
            for m in masks
        ),
    ]


def assembled(
    modules: Iterable[ModuleType], state: type[Any]
) -> tuple[list[Definition], list[Handler], Tables]:
    """All that follows from the definitions in these modules."""
    found = [d for module in modules for d in definitions(module)]
    forms = Forms(first_handlers())
    opcodes = OpcodeTables(found, forms)
    return found, forms.handlers, opcodes.tables(register_files(state))


DEFINITIONS, HANDLERS, TABLES = assembled(MODULES, FloatState)
DEFINED = Instructions(
    tuple(HANDLERS),
    rare=(FloatState.no_sse, FloatState.note_sse, FloatState.report_sse, FloatState.no_mmx, sse_float.all_lanes,
          sse_float.one_lane, sse_float.tell_order, FloatState.raise_fault),
    unit=sse_host.unit(DEFINITIONS),
    stack=host_stack(tuple(module.__name__ for module in MODULES if "x87" in module.__name__)),
)


def decode(cpu, start, at, code, record):
    """The body of X86.decode."""
    return decoded(TABLES, cpu, start, at, code, record)
