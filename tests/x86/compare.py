"""Compares what two runners made of a case; knows what the SDM leaves undefined, and where Intel's processors and AMD's
do not agree.
"""

from __future__ import annotations

from guesthouse.system.cpu.x86.flags import AF, CF, DF, ID, OF, PF, SF, STATUS, ZF
from guesthouse.system.cpu.x86.state import RCX, RDI, RSI
from tests.x86.cases import Case
from tests.x86.host import START, Situation

ALL = STATUS | DF | ID

# Flags that an instruction leaves undefined, by the SDM's section "Flags Affected" of the instruction.
UNDEFINED = {
    "and": AF,
    "or": AF,
    "xor": AF,
    "test": AF,
    "mul": SF | ZF | AF | PF,
    "imul": SF | ZF | AF | PF,
    "div": STATUS,
    "idiv": STATUS,
    "bt": OF | SF | AF | PF,
    "bts": OF | SF | AF | PF,
    "btr": OF | SF | AF | PF,
    "btc": OF | SF | AF | PF,
    "bsf": CF | OF | SF | AF | PF,
    "bsr": CF | OF | SF | AF | PF,
    "tzcnt": OF | SF | AF | PF,
    "lzcnt": OF | SF | AF | PF,
    "andn": AF | PF,
    "bextr": AF | SF | PF,
    "blsi": AF | PF,
    "blsmsk": AF | PF,
    "blsr": AF | PF,
    "bzhi": AF | PF,
    "daa": OF,
    "das": OF,
    "aaa": OF | SF | ZF | PF,
    "aas": OF | SF | ZF | PF,
    "aam": OF | AF | CF,
    "aad": OF | AF | CF,
}


def undefined(case: Case) -> int:
    """The flags that mean nothing after this case."""
    name, count = case.definition.name, case.count
    if name in ("shl", "shr", "sar", "shld", "shrd", "rol", "ror", "rcl", "rcr"):
        if count == 0:
            return 0
        bits = 8 if "Eb" in {k.name for k in case.encoding.kinds} else case.operand_bits
        shift = name in ("shl", "shr", "sar", "shld", "shrd")
        return (AF if shift else 0) | (OF if count != 1 else 0) | (CF if shift and count >= bits else 0)
    return UNDEFINED.get(name, 0)


def asked(case: Case) -> bytes:
    """The bytes that an oracle is asked for a case. F3 before 90 with REX.B is PAUSE on Intel's processors and XCHG
    with R8 on AMD's, as on ours; with 3E, which means nothing, in the place of F3 all of them exchange."""
    before, opcode = case.code[:-1], case.code[-1]
    exchanges = case.definition.name == "pause" and opcode == 0x90 and before[-1] & 0xF1 == 0x41
    return case.code.replace(b"\xf3", b"\x3e", 1) if exchanges else case.code


def half_may_go(case: Case, n: int) -> bool:
    """Whether the upper half of a register means nothing: with ECX zero under a 32-bit address size, REP does nothing,
    and Intel's processors (a Xeon of family 6, model 207) then clear the upper halves of RCX, and of RSI and RDI too
    for MOVS and STOS; AMD's (EPYC) leave them, and so do we."""
    repeats_nothing = case.definition.name.startswith("rep") and case.before.registers[RCX] & 0xFFFF_FFFF == 0
    return repeats_nothing and case.bits == 64 and b"\x67" in case.code and n in (RCX, RSI, RDI)


def differences(case: Case, ours: Situation, theirs: Situation) -> list[str]:
    """What differs, in words; empty if nothing does."""
    found: list[str] = []
    if case.definition.name in ("shld", "shrd") and case.count > case.operand_bits:
        return found  # everything is undefined
    if (ours.trap, ours.rip) != (theirs.trap, theirs.rip):
        found.append(
            f"trap {ours.trap} not {theirs.trap}, rip {ours.rip - START:+#x} not {theirs.rip - START:+#x}"
        )
        return found
    for n, (a, b) in enumerate(zip(ours.registers, theirs.registers, strict=True)):
        if a != b and not (half_may_go(case, n) and b == a & 0xFFFF_FFFF):
            found.append(f"register {n}: {a:#x} not {b:#x}, before {case.before.registers[n]:#x}")
    different = (ours.flags ^ theirs.flags) & ALL & ~undefined(case)
    if different and ours.trap < 0:
        found.append(
            f"flags {different:#x}: {ours.flags:#x} not {theirs.flags:#x}, before {case.before.flags:#x}"
        )
    if ours.window != theirs.window:
        at = next(n for n in range(len(ours.window)) if ours.window[n] != theirs.window[n])
        a, b = (w.window[at:at + 16].hex(" ") for w in (ours, theirs))
        found.append(f"memory at {at:#x}: {a} not {b}")
    return found
