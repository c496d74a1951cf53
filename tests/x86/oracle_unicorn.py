"""Runs single x86 instructions in unicorn: an oracle for hosts that are no x86, and a second opinion for
those that are.

Unicorn tells exceptions by number only, and not their error codes.
"""

from __future__ import annotations

from typing import Any

import unicorn
from unicorn import x86_const as x86

from tests.x86.host import CODE, DATA, DATA_SIZE, START, WINDOW, WINDOW_SIZE, Situation

NAMES = ("RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", *(f"R{n}" for n in range(8, 16)))
REGISTERS = {
    64: [getattr(x86, f"UC_X86_REG_{n}") for n in NAMES],
    32: [getattr(x86, f"UC_X86_REG_E{n[1:]}") for n in NAMES[:8]],
}
DIFFERS = {  # where unicorn 2 (QEMU 5) is not like a processor, and why it is not asked
    "test": "refuses F6 /1",
    "neg": "flags under LOCK",
    "adcx": "missing",
    "adox": "missing",
    "sahf": "with REX",
    "lahf": "with REX",
    "div": "faults are lost",
    "idiv": "faults are lost",
    "bsf": "clears an upper half",
    "bsr": "clears an upper half",
    "blsi": "CF is the wrong way",
    "bzhi": "reads one bit too few",
    "rorx": "count of 64-bit operands",
    "bound": "faults are lost",
    "ud0": "faults are lost",
    "ud1": "faults are lost",
    "ud2": "faults are lost",
    "nop": "some of the hints",
    "clflush": "missing",
    "prefetchw": "missing",
    "in": "runs at CPL 0",
    "out": "runs at CPL 0",
    "ins": "runs at CPL 0",
    "outs": "runs at CPL 0",
    "rep_ins": "runs at CPL 0",
    "rep_outs": "runs at CPL 0",
    "mov": "refuses 66 with REX.W before C7",
    "bextr": "long fields",
    "pdep": "32-bit operands",
    "jmp": "canonical addresses",
    "cmpxchg": "clears an upper half",
    "cmpxchg16b": "faults are lost",
    "shld": "RIP-relative before an immediate",
    "shrd": "RIP-relative before an immediate",
    "popcnt": "66 with REX.W",
    "enter": "faults are lost",
    "aam": "faults are lost",
}
UNMAPPED, FETCHED = 14, (unicorn.UC_ERR_FETCH_UNMAPPED, unicorn.UC_ERR_FETCH_PROT)


class Unicorn:
    """One machine for each kind of code, at privilege level 0 as unicorn begins."""

    name = "unicorn"

    def __init__(self) -> None:
        self.machines = {bits: self.machine(bits) for bits in (64, 32)}
        self.trap = -1

    def machine(self, bits: int) -> Any:
        made = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64 if bits == 64 else unicorn.UC_MODE_32)
        made.mem_map(CODE, 0x1000)
        made.mem_map(DATA, DATA_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        made.hook_add(unicorn.UC_HOOK_INTR, self.interrupted)
        return made

    def interrupted(self, machine: Any, number: int, _: Any) -> None:
        self.trap = number
        machine.emu_stop()

    def run(self, code: bytes, before: Situation, bits: int = 64) -> Situation:
        machine = self.machines[bits]
        machine.mem_write(CODE, (b"\xcc" * 0x800 + code).ljust(0x1000, b"\xcc"))
        machine.ctl_remove_cache(CODE, CODE + 0x1000)
        machine.mem_write(DATA, bytes(DATA_SIZE))
        machine.mem_write(WINDOW, before.window)
        for register, value in zip(REGISTERS[bits], before.registers, strict=False):
            machine.reg_write(register, value)
        machine.reg_write(x86.UC_X86_REG_EFLAGS, before.flags)
        self.trap, rip = -1, x86.UC_X86_REG_RIP if bits == 64 else x86.UC_X86_REG_EIP
        try:
            machine.emu_start(START, 0, count=100_000)
        except unicorn.UcError as error:
            if error.errno == unicorn.UC_ERR_INSN_INVALID:
                self.trap = 6
            elif error.errno not in FETCHED:
                self.trap = UNMAPPED
        at = machine.reg_read(rip)
        if self.trap == 3:  # the INT3 after the instruction
            self.trap, at = -1, at - 1
        registers = [machine.reg_read(r) for r in REGISTERS[bits]] + [0] * (16 - len(REGISTERS[bits]))
        window = bytes(machine.mem_read(WINDOW, WINDOW_SIZE))
        flags = machine.reg_read(x86.UC_X86_REG_EFLAGS)
        return Situation(registers, flags, window, before.fx, START if self.trap >= 0 else at, self.trap)
