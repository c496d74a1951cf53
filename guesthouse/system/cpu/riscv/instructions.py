"""All RISC-V instructions put together, and the decoder derived from their encodings."""

from types import ModuleType

from guesthouse.engine.decoding import decoder
from guesthouse.engine.encoding import Instruction, instructions_in
from guesthouse.engine.op import Handler, Instructions, Op
from guesthouse.system.cpu.riscv import (
    atomics, bitmanip, compressed, csr, floating, floating_host, integer, multiply, privileged,
)
from guesthouse.system.cpu.riscv.formats import RiscvRecord
from guesthouse.system.cpu.riscv.state import State

MODULES: tuple[ModuleType, ...] = (
    integer, multiply, atomics, floating, bitmanip, csr, privileged, compressed,
)


def undefined(hart):
    """What every word means that is no instruction."""
    hart.illegal()


INSTRUCTIONS: tuple[Instruction, ...] = instructions_in(MODULES)
UNDEFINED = Handler("undefined", Op("undefined", undefined))
HANDLERS: tuple[Handler, ...] = (UNDEFINED, *dict.fromkeys(i.handler for i in INSTRUCTIONS))
DECODER = decoder(INSTRUCTIONS, RiscvRecord, HANDLERS.index, undefined=0, shortest=2)
DEFINED = Instructions(HANDLERS, rare=(floating_host.not_here, State.raise_fault), unit=floating_host.unit())


def disassemble(word: int, address: int | None = None) -> str:
    """Assembly text of the instruction in the low bits of a word."""
    unknown = word & (0xFFFF_FFFF if word & 3 == 3 else 0xFFFF)
    return DECODER.disassemble(word, address) or f".insn {unknown:#x}"
