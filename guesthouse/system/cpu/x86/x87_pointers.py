"""Where the last x87 instruction stood, and its operand in memory: FIP, FCS, FOP, FDP and FDS (SDM 1, 8.1.8).

All x87 instructions but those that control note it when they are done; what faults has not been executed and notes
nothing. FDP changes with each operand in memory, not only with exceptions (CPUID's FDP_EXCPTN_ONLY is 0).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import select, u64
from guesthouse.system.cpu.x86.definitions import Encoding
from guesthouse.system.cpu.x86.flags import VM
from guesthouse.system.cpu.x86.operands import effective_address
from guesthouse.system.cpu.x86.state import CS, FS
from guesthouse.system.cpu.x86.system_state import CR0_PE
from guesthouse.typed import Value

CONTROL = {
    "D9 /4", "D9 /5", "D9 /6", "D9 /7", "DD /4", "DD /6", "DD /7", "DB E0", "DB E1", "DB E2", "DB E3", "DB E4", "DF E0",
}


def noted(encoding: Encoding) -> bool:
    """Whether this is an x87 instruction that does not only control."""
    return encoding.map == 0 and encoding.opcode >> 3 == 0xD8 >> 3 and encoding.text not in CONTROL


@dataclass(frozen=True)
class Where(Value):
    """`at` and `operand` are linear addresses, `opcode` the eleven bits of FOP."""

    at: Any
    opcode: Any
    in_memory: bool
    operand: Any
    segment: Any


@dataclass(frozen=True)
class BindWhere:
    """The decoder leaves where the instruction stands in its block in `imm`, FOP in `r2`."""

    in_memory: bool

    def __call__(self, cpu, record):
        operand = effective_address(cpu, record) if self.in_memory else u64(0)
        return Where(cpu.start + record.imm, record.r2, self.in_memory, operand, record.segment)


@dataclass(frozen=True)
class Noting:
    """A body, and then the note."""

    body: Callable[..., None]

    @property
    def __wrapped__(self):
        return self.body

    def __call__(self, cpu, where, *operands):
        body = self.body
        body(cpu, *operands)
        cpu.fip, cpu.fcs, cpu.fop = where.at - cpu.code_base(), u64(cpu.segments[CS].selector), u64(where.opcode)
        if where.in_memory:
            segment = cpu.segments[where.segment]
            based = (cpu.code_bits != 64) & (cpu.flat == 0) | (where.segment >= FS) | (where.segment == CS)
            cpu.fdp, cpu.fds = where.operand - select(based, segment.base, u64(0)), u64(segment.selector)


# The last four words of an environment (SDM 1, 8.1.10). In real and virtual-8086 mode they are linear addresses and
# FOP, in protected mode offsets and selectors.


def linear_pointers(cpu):
    return (cpu.cr0 & CR0_PE == 0) | (cpu.flags & VM != 0)


def pointer_words(cpu, is_short):
    """Instruction pointer; selector or its upper half, and FOP; the same of the operand."""
    ip, dp, code, data = cpu.fip, cpu.fdp, cpu.fcs | cpu.fop << 16, cpu.fds
    if linear_pointers(cpu):
        upper = 0xF000 if is_short else 0xFFF_F000
        ip, dp = ip + (cpu.fcs << 4), dp + (cpu.fds << 4)
        code, data = ip >> 4 & upper | cpu.fop, dp >> 4 & upper
        ip, dp = ip & 0xFFFF, dp & 0xFFFF
    return ip, code, dp, data


def set_pointers(cpu, ip, code, dp, data, is_short) -> None:
    """The same, loaded."""
    cpu.fip, cpu.fcs, cpu.fop, cpu.fdp, cpu.fds = ip, code & 0xFFFF, code >> 16 & 0x7FF, dp, data & 0xFFFF
    if linear_pointers(cpu):
        upper = 0xF000 if is_short else 0xFFF_F000
        cpu.fip, cpu.fdp = ip & 0xFFFF | (code & upper) << 4, dp & 0xFFFF | (data & upper) << 4
        cpu.fcs, cpu.fds, cpu.fop = u64(0), u64(0), code & 0x7FF
