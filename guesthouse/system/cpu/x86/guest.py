"""The x86 guest: the whole state, and where its instructions are."""

from importlib import import_module
from typing import Any

from guesthouse.bits import select, u64
from guesthouse.engine.cpu import PAGE
from guesthouse.engine.op import Guest, Stacked
from guesthouse.engine.processor import ANYWHERE
from guesthouse.system.cpu.x86.flags import (
    HOSTED, Flags, after_added, after_compared, after_decremented, after_incremented, after_logical, after_produced,
    after_subtracted, found, order_told, standing_condition,
)
from guesthouse.system.cpu.x86.float_state import FloatState
from guesthouse.system.cpu.x86.msr import ModelSpecific
from guesthouse.system.cpu.x86.operands import NOTHING, Decoded, effective_address
from guesthouse.system.cpu.x86.state import RBP, RSP
from guesthouse.typed import Pointer, function

LAST_PAGE = 0xFFFF_F000


def instructions() -> Any:
    """The module of that name, which takes its time."""
    return import_module("guesthouse.system.cpu.x86.instructions")


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
        return instructions().decode(self, start, at, code, record)


def settled(mode: int) -> dict[str, int]:
    """The fields of which General.mode() is made, and the one that never changes."""
    flat = mode >> 2 & 1
    return {"nothing": 0, "cpl": mode & 3, "flat": flat, "reach": (1 << (32 if flat else 64)) - 1,
            "code_bits": mode >> 2 & 0x70, "stack_bits": mode >> 8 & 0x70, "bounds": mode >> 9 & 7}


X86_GUEST = Guest(
    "x86", X86, Decoded, lambda: instructions().DEFINED,
    ("guesthouse.system.cpu.x86", "guesthouse.system.cpu.softfloat"),
    "guesthouse.system.cpu.x86.guest:X86_GUEST", ("inject", "outdate"),
    registers=("pc", "overflow", "outcome", "carry", "r", "ea", "xmm", "codes",
               "fop", "fip", "fdp", "fcs", "fds"),
    settled=settled,
    bases=frozenset(X86.offset("r") + 8 * n for n in range(16)),
    pages=frozenset(X86.offset("r") + 8 * n for n in (RSP, RBP)),  # others hold addresses too seldom
    usual=(("index", NOTHING), ("scale", 0)),
    stacked=Stacked((X86.stack_linear,), effective_address, (("base", 8 * RSP),)),
    dialects=((0xFFFC, 0x4100), (0xFFFC, 0x2084)),  # see General.mode(): 64-bit code, and 32-bit code in flat segments
    deferred=(Flags.logical, Flags.added, Flags.added_with, Flags.compared, Flags.subtracted, Flags.subtracted_with,
              Flags.incremented, Flags.decremented, Flags.produced, Flags.rotated, Flags.numbers_compared,
              Flags.order_found),
    hosted=HOSTED,
    standing={Flags.condition: standing_condition},
    shortcuts={(Flags.condition, deferred): condition for deferred, condition in (
        (Flags.logical, after_logical), (Flags.added, after_added), (Flags.compared, after_compared),
        (Flags.subtracted, after_subtracted), (Flags.incremented, after_incremented),
        (Flags.decremented, after_decremented), (Flags.produced, after_produced), (Flags.numbers_compared, order_told),
        (Flags.order_found, found))},
)
