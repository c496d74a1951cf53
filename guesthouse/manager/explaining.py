"""What bytes mean on an architecture: engine/explain.py with the architecture's own state and disassembler."""

from __future__ import annotations

from typing import Any

from guesthouse.bits import u8
from guesthouse.engine.explain import Disassemble, Explanation
from guesthouse.engine.explain import explain as explain_to
from guesthouse.engine.op import Guest
from guesthouse.errors import UserError
from guesthouse.manager.building import instruction_set

MOST = 4096  # bytes


def explain(code: bytes, arch: str, at: int = 0) -> Explanation:
    """The instructions in `code`, which lies at the virtual address `at`."""
    if not 0 < len(code) <= MOST:
        raise UserError(f"{len(code)} bytes are to be explained.", f"Give 1 to {MOST}.", exit_status=2)
    guest = instruction_set(arch)
    return explain_to(guest, code, at, reading(guest, arch), disassembler(arch))


def reading(guest: Guest, arch: str) -> Any:
    """A state whose mode says how bytes are read: x86 as 64-bit code; RISC-V has one reading."""
    cpu = guest.state.new()
    if arch == "amd64":
        cpu.code_bits, cpu.stack_bits = u8(64), u8(64)
    return cpu


def disassembler(arch: str) -> Disassemble:
    if arch == "riscv64":
        from guesthouse.system.cpu.riscv.instructions import disassemble

        return lambda code, at: disassemble(int.from_bytes(code, "little"), at)
    from guesthouse.system.cpu.x86.disassemble import Disassembler

    made = Disassembler(64)
    return lambda code, at: made.instruction(code, at).text
