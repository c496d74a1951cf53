"""What the SDM leaves undefined, by opcode, and why vectors of an 8086, 80286 or 80386 may differ on later
processors.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.cpu.x86.flags import AF, CF, OF, PF, SF, STATUS, ZF
from tests.suites.vectors import Vector

PREFIXES = (0x26, 0x2E, 0x36, 0x3E, 0xF0, 0xF2, 0xF3)
SIZES = (0x66, 0x67)
MULTIPLIES = ("F6.4", "F6.5", "F7.4", "F7.5", "69", "6B", "0FAF")
DIVIDES = ("F6.6", "F6.7", "F7.6", "F7.7")
TESTS = ("0FA3", "0FAB", "0FB3", "0FBB", "0FBA.4", "0FBA.5", "0FBA.6", "0FBA.7")
SCANS, DOUBLE_SHIFTS = ("0FBC", "0FBD"), ("0FA4", "0FA5", "0FAC", "0FAD")
ADJUSTS = {
    "27": OF, "2F": OF, "37": OF | SF | ZF | PF, "3F": OF | SF | ZF | PF, "D4": OF | AF | CF, "D5": OF | AF | CF,
}
LOGIC = {"84", "85", "A8", "A9", "F6.0", "F6.1", "F7.0", "F7.1"} | {
    f"8{n}.{g}" for n in range(4) for g in (1, 4, 6)} | {
    f"{n + row:02X}" for row in (0x08, 0x20, 0x30) for n in range(6)}
STRINGS = (0x6C, 0x6D, 0x6E, 0x6F, 0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF)
LOCKABLE = {f"{n + row:02X}" for row in range(0, 0x38, 8) for n in (0, 1)} | {
    f"8{n}.{g}" for n in range(4) for g in range(7)} | {
    "86", "87", "F6.2", "F6.3", "F7.2", "F7.3", "FE.0", "FE.1", "FF.0", "FF.1"}


class Ours(Protocol):
    """What our processor did: the exception that it took, or -1, and the last port that it asked, or -1."""

    trapped: int
    port: int


def undefined(name: str, vector: Vector, count_mask: int) -> int:
    """The flags that an instruction leaves undefined; `name` is the file's, opcode and extension. `count_mask`: how
    much of a shift's count the processor looks at."""
    if name in LOGIC:
        return AF
    if name in ADJUSTS:
        return ADJUSTS[name]
    if name in MULTIPLIES:
        return SF | ZF | AF | PF
    if name in DIVIDES or name in DOUBLE_SHIFTS:
        return STATUS
    if name in TESTS:
        return STATUS & ~(CF | ZF)
    if name in SCANS:
        return STATUS & ~ZF
    if name[:2] in ("C0", "C1", "D0", "D1", "D2", "D3") and "." in name:
        return undefined_by_shift(name, count(name, vector) & count_mask)
    return 0


def count(name: str, vector: Vector) -> int:
    """By how much it shifts."""
    if name[:2] in ("D0", "D1"):
        return 1
    return vector.before["cx"] & 0xFF if name[:2] in ("D2", "D3") else vector.code[-2] & 31  # HLT follows


def undefined_by_shift(name: str, by: int) -> int:
    found, bits = 0 if by == 1 else OF, 16 if name[1] in "13" else 8
    if name[3:] in ("4", "5", "6", "7"):
        found |= AF | (CF if by >= bits and name[3:] != "7" else 0)
    return found if by else 0


def opcode(code: bytes, known: tuple[int, ...] = PREFIXES) -> tuple[int, int, int]:
    """(how many prefixes, the opcode, the ModRM byte if there is one)."""
    n = next(n for n, byte in enumerate(code) if byte not in known)
    return n, code[n], code[n + 1] if n + 1 < len(code) else 0


ABSENT = {  # what these opcodes are on the 8086 only
    **{f"6{n:X}": "60h to 6Fh are conditional jumps on the 8086" for n in range(16)},
    **{n: "C0h, C1h, C8h and C9h are returns on the 8086" for n in ("C0", "C1", "C8", "C9")},
    **{n: "SETMO is no instruction of later processors" for n in ("D0.6", "D1.6", "D2.6", "D3.6")},
    **{f"D{n:X}": "ESC does nothing but read where there is no coprocessor; ours has one" for n in range(8, 16)},
    "54": "PUSH SP pushes the new SP on the 8086",
    "FF.7": "FFh /7 is another PUSH on the 8086",
    "9C": "bits 12 to 15 of FLAGS are ones on the 8086",
}


def cause_8086(name: str, vector: Vector, ours: Ours, where: set[str]) -> str:
    """The same for the 8086 and 8088."""
    trapped = ours.trapped
    prefixes, first, modrm = opcode(vector.code)
    reg = modrm >> 3 & 7
    if name in ABSENT:
        return ABSENT[name]
    if name == "FF.6" and modrm == 0xF4:
        return ABSENT["54"]
    if trapped in (12, 13):
        return "a word at offset FFFFh wraps on the 8086, is #GP or #SS since the 386"
    if trapped == 6 and (first == 0x8C or first == 0x8E and reg != 1 or first in (0x8F, 0xC6, 0xC7) and reg):
        return "ModRM.reg says nothing there on the 8086"
    if first in (0x8C, 0x8E) and (reg > 3 or reg == 1 and trapped == 6):
        return "ModRM.reg has two bits for a segment on the 8086, and CS can be moved to"
    if name[:2] in ("D2", "D3") and vector.before["cx"] & 0xFF > 31:
        return "the 8086 does not cut the count of a shift to five bits"
    if name in DIVIDES or name == "D4":
        if trapped == 0 and where <= {"memory", "flags", "cs", "ip"}:
            return "#DE pushes the next instruction's address on the 8086"
        if set(vector.code[:prefixes]) & {0xF2, 0xF3}:
            return "REP changes the sign of a quotient on the 8086"
        if "sp" in where and trapped == -1:
            return "the 8086 has no quotient of 80h or 8000h"
    if name in ("27", "2F", "37", "3F"):
        return "the 8086 adjusts by AL and AF otherwise where the digits were not decimal"
    if first in (0xCC, 0xCD, 0xCE) and where == {"memory"}:
        return ABSENT["9C"]
    return ""


def cause_286(name: str, vector: Vector, ours: Ours, where: set[str]) -> str:
    """Why a processor since the 386 differs from what a vector of an older one says; empty if it should not.
    `where`: what differs, registers by name and `memory`."""
    prefixes, first, modrm = opcode(vector.code)
    theirs, trapped = vector.trap[0] if vector.trap else -1, ours.trapped
    locked = 0xF0 in vector.code[:prefixes]
    if locked and trapped == 6 and not (name in LOCKABLE and modrm < 0xC0):
        return "LOCK before what cannot be locked is #UD since the 386"
    if (theirs, trapped) == (13, 12):
        return "an operand beyond the stack segment is #SS since the 386, #GP before"
    if theirs in (6, 13) and trapped == -1 and len(vector.code) - 1 > 10:
        return "the 286 takes ten bytes at most, the 386 fifteen"
    if (theirs, trapped) == (6, -1) and first in (0x8C, 0x8E) and modrm >> 3 & 7 in (4, 5):
        return "FS and GS exist since the 386"
    if theirs == trapped == 13 and first in STRINGS and where <= {"si", "di", "cx", "memory"}:
        return "a string instruction that faults has moved its registers on the 286"
    if (theirs, trapped) == (13, 6) and first == 0xC7 and prefixes + 6 > 10:
        return "the 286 counts an instruction's bytes before it looks at ModRM.reg"
    if trapped in (12, 13) and theirs == -1 and 0xD8 <= first <= 0xDF:
        return "the 286 has its coprocessor look at all of an operand but the first word"
    return before_the_fault(name, vector, trapped, where)


def before_the_fault(name: str, vector: Vector, trapped: int, where: set[str]) -> str:
    """What processors up to the 386 had changed when they took an exception, and slips of the recording."""
    theirs = vector.trap[0] if vector.trap else -1
    if name == "8F" and theirs == trapped and trapped in (12, 13) and where <= {"sp", "memory"}:
        return "a POP to where it cannot be written has moved SP"
    if name == "F6.7" and (theirs, trapped) == (-1, 0) and vector.after.get("ax", 0) & 0xFF == 0x80:
        return "a byte's IDIV makes 80h of some quotients that are too large"
    if name == "D4" and theirs == trapped == 0 and where <= {"flags", "memory"}:
        return "AAM by zero has changed the flags"
    if where == {"memory"} and vector.trap and pushed(vector, 2) == vector.before["ss"]:
        return "SS was recorded where CS was pushed"
    return ""


def pushed(vector: Vector, above: int) -> int:
    """The word that was pushed after FLAGS, `above` bytes of the last, as recorded."""
    last = vector.before | vector.after
    at = (last["ss"] << 4) + (last["sp"] + above & 0xFFFF)
    ram = dict(vector.ram_before) | dict(vector.ram_after)
    return ram.get(at, 0) | ram.get(at + 1, 0) << 8


SEGMENT_PUSHES = ("06", "0E", "16", "1E", "0FA0", "0FA8", "9A", "FF.3")
REMAPPED = range(0x1F, 0x24)  # IN of up to four bytes meets the 386EX's REMAPCFG at 22h


def cause_386(name: str, vector: Vector, ours: Ours, where: set[str]) -> str:
    """The same for the 80386. Written after its makers' manuals and what others found in the vectors."""
    prefixes, first, modrm = opcode(vector.code, PREFIXES + SIZES)
    theirs, trapped = vector.trap[0] if vector.trap else -1, ours.trapped
    locked, wide = 0xF0 in vector.code[:prefixes], 0x66 in vector.code[:prefixes]
    if locked and (theirs, trapped) == (-1, 6) and name in ("0FA3", "0FBA.4"):
        return "LOCK is allowed before BT on the 386"
    if name[:3] == "0F2" or name[:5] in ("0F01.", "0F01"):
        return "control, debug and test registers have other bits on the 386"
    if first in (0xE4, 0xE5, 0xEC, 0xED) and where == {"ax"} and ours.port in REMAPPED:
        return "port 22h is a register of the 386EX"
    if wide and name in SEGMENT_PUSHES and where == {"memory"}:
        return "a selector is pushed with a zero upper half by the 386, alone by recent processors"
    if first in STRINGS and theirs == trapped == -1 and changed_itself(vector):
        return "the 386 has fetched the next instruction before a string was stored there"
    if theirs == trapped in (12, 13) and first in STRINGS and where <= {"si", "di", "cx", "memory"}:
        return "a string instruction that faults has moved its registers"
    return before_the_fault(name, vector, trapped, where)


def changed_itself(vector: Vector) -> bool:
    start = (vector.before["cs"] << 4) + vector.before["ip"]
    return any(start <= address < start + len(vector.code) for address, _ in vector.ram_after)
