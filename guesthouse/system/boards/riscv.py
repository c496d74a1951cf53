"""A hart as a board sees it when it has died (Privileged Architecture, 10.3 to 10.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from guesthouse.system.boards.report import guarded, rows
from guesthouse.system.memory import Memory

NAMES = ("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", *(f"a{n}" for n in range(8)),
         *(f"s{n}" for n in range(2, 12)), *(f"t{n}" for n in range(3, 7)))
CSRS = ("mstatus", "mie", "mip", "mtvec", "mepc", "mcause", "mtval", "stvec", "sepc", "scause", "stval", "satp",
        "stimecmp")
LEVELS = {8: 3, 9: 4}


def describe(state: Any, memory: Memory) -> list[str]:
    """Everything that helps to see why it died."""
    lines = guarded(lambda: rows([(name, int(state.x[n])) for n, name in enumerate(NAMES)]))
    lines += guarded(lambda: rows([("pc", int(state.pc)), ("mode", int(state.mode)),
                                   *((name, int(getattr(state, name))) for name in CSRS)]))
    for name, address in (("pc", int(state.pc)), ("stval", int(state.stval))):
        lines += ["", f"page walk of {name}:"] + guarded(lambda a=address: walk(state, memory, a))
    return lines + ["", "code at pc:"] + guarded(lambda: code(state, memory))


def steps(state: Any, memory: Memory, address: int) -> Iterator[tuple[int, int, int]]:
    """(level, where, entry) of each page-table entry that translates the address."""
    levels = LEVELS.get(int(state.satp) >> 60, 0)
    table = (int(state.satp) & (1 << 44) - 1) << 12
    for level in reversed(range(levels)):
        at = table + (address >> 12 + 9 * level & 511) * 8
        entry = int.from_bytes(memory.read(at, 8), "little")
        yield level, at, entry
        if not entry & 1 or entry & 0xE:
            return
        table = (entry >> 10 & (1 << 44) - 1) << 12


def walk(state: Any, memory: Memory, address: int) -> Iterator[str]:
    if not int(state.satp) >> 60 or int(state.mode) == 3:
        yield f"  {address:016x}: not translated"
    for level, at, entry in steps(state, memory, address):
        flags = "".join(name if entry >> n & 1 else "-" for n, name in enumerate("VRWXUGAD"))
        yield f"  {address:016x} level {level} at {at:012x}: {entry:016x} {flags}"


def translate(state: Any, memory: Memory, address: int) -> int | None:
    """The guest-physical address, without any change to the guest."""
    if not int(state.satp) >> 60 or int(state.mode) == 3:
        return address
    for level, _, entry in steps(state, memory, address):
        if entry & 1 and entry & 0xE:
            inside = (1 << 12 + 9 * level) - 1
            return (entry >> 10 & (1 << 44) - 1) << 12 & ~inside | address & inside
    return None


def code(state: Any, memory: Memory) -> Iterator[str]:
    from guesthouse.system.cpu.riscv.instructions import disassemble  # a processor that never dies needs none

    pc = int(state.pc)
    for _ in range(8):
        at = translate(state, memory, pc)
        if at is None or not memory.contains(at, 4):
            yield f"  {pc:016x}  not mapped"
            return
        word = int.from_bytes(memory.read(at, 4), "little")
        length = 4 if word & 3 == 3 else 2
        shown = f"{word:08x}" if length == 4 else f"{word & 0xFFFF:04x}    "
        yield f"  {pc:016x}  {shown}  {disassemble(word, pc)}"
        pc += length
