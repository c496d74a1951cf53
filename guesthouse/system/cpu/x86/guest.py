"""The x86 guest: all definitions, the handlers and opcode tables that follow from them, and the whole
state."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from guesthouse.bits import select, u64
from guesthouse.engine.cpu import PAGE
from guesthouse.engine.op import Guest, Handler, Op
from guesthouse.engine.processor import ANYWHERE
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
from guesthouse.system.cpu.x86.decode import NOTHING, decoded
from guesthouse.system.cpu.x86.definitions import Definition, definitions
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.flags import (
    Flags, after_added, after_compared, after_decremented, after_incremented, after_logical, after_subtracted, found,
    order_told,
)
from guesthouse.system.cpu.x86.forms import Forms
from guesthouse.system.cpu.x86.msr import ModelSpecific
from guesthouse.system.cpu.x86.operands import BindAddress, BindConstant, BindNumber, Decoded
from guesthouse.system.cpu.x86.state import VECTOR_GP, VECTOR_UD
from guesthouse.system.cpu.x86.x87_host import host_stack
from guesthouse.system.cpu.x86.tables import OpcodeTables, Tables, register_files
from guesthouse.typed import Pointer, function

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


LAST_PAGE = 0xFFFF_F000

DEFINITIONS, HANDLERS, TABLES = assembled(MODULES, FloatState)


class X86(FloatState, ModelSpecific):
    """An x86 processor, whole. ModelSpecific and what it derives from add methods to SystemState, but no
    fields."""

    def home(self, pc: u64) -> u64:
        """Decoding looks at the limit of the code segment; one of 4 GiB ends where memory does. See engine.op.Guest."""
        anywhere = self.bounds == 0 and (self.code_bits == 64 or pc & LAST_PAGE != LAST_PAGE)
        return select(anywhere, u64(ANYWHERE), pc & ~u64(PAGE - 1))

    @function
    def decode(self, start: u64, at: u64, code: u64, record: Pointer[Decoded]) -> u64:
        """Decode the instruction whose bytes lie at host address `code`; see engine.op.Guest."""
        return decoded(TABLES, self, start, at, code, record)


def settled(mode: int) -> dict[str, int]:
    """The fields of which General.mode() is made, and the one that never changes."""
    flat = mode >> 2 & 1
    return {"nothing": 0, "cpl": mode & 3, "flat": flat, "reach": (1 << (32 if flat else 64)) - 1,
            "code_bits": mode >> 2 & 0x70, "stack_bits": mode >> 8 & 0x70, "bounds": mode >> 9 & 7}


X86_GUEST = Guest(
    "x86", X86, Decoded, tuple(HANDLERS), ("guesthouse.system.cpu.x86", "guesthouse.system.cpu.softfloat"),
    "guesthouse.system.cpu.x86.guest:X86_GUEST", ("inject", "outdate"),
    registers=("pc", "zero", "sign", "carry", "overflow", "adjust", "r", "ea", "xmm", "codes",
               "fop", "fip", "fdp", "fcs", "fds"),
    settled=settled,
    usual=(("index", NOTHING), ("scale", 0)),
    dialects=((0xFFFC, 0x4100), (0xFFFC, 0x2084)),  # see General.mode(): 64-bit code, and 32-bit code in flat segments
    stack=host_stack(tuple(module.__name__ for module in MODULES if "x87" in module.__name__)),
    rare=(X86.no_sse, X86.note_sse, X86.report_sse, X86.no_mmx, sse_float.all_lanes, sse_float.one_lane,
          sse_float.tell_order),
    unit=sse_host.unit(DEFINITIONS),
    deferred=(Flags.logical, Flags.added, Flags.added_with, Flags.compared, Flags.subtracted, Flags.subtracted_with,
              Flags.incremented, Flags.decremented, Flags.numbers_compared, Flags.order_found),
    shortcuts={(Flags.condition, deferred): condition for deferred, condition in (
        (Flags.logical, after_logical), (Flags.added, after_added), (Flags.compared, after_compared),
        (Flags.subtracted, after_subtracted), (Flags.incremented, after_incremented),
        (Flags.decremented, after_decremented), (Flags.numbers_compared, order_told),
        (Flags.order_found, found))},
)
