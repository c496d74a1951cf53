"""A very small x86-64 assembler for programs in tests: Intel's syntax, the encodings as SDM 2 prints them.

Knows the instructions in FORMS. Jumps are always near, with 32 bits. Not modelled: segments, 16-bit operands,
byte registers beyond the first four, addresses relative to RIP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LEGACY = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
REGISTERS = {  # name: (kind, number)
    **{f"r{name}": ("q", n) for n, name in enumerate(LEGACY)}, **{f"r{n}": ("q", n) for n in range(8, 16)},
    **{f"e{name}": ("d", n) for n, name in enumerate(LEGACY)}, **{f"r{n}d": ("d", n) for n in range(8, 16)},
    **{f"{letter}l": ("b", n) for n, letter in enumerate("acdb")}, **{f"xmm{n}": ("x", n) for n in range(16)},
}
CONDITIONS = {"b": 2, "ae": 3, "z": 4, "e": 4, "nz": 5, "ne": 5, "be": 6, "a": 7, "l": 12, "ge": 13, "g": 15}
ARITHMETIC = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")
SHIFTS = {"rol": 0, "ror": 1, "shl": 4, "shr": 5, "sar": 7}

# Operands, then the encoding. In ModRM.reg: r (32 or 64 bits), b (8), x (SSE); in ModRM.rm, perhaps memory:
# m, n, y of the same sizes; o: in the opcode; i, j: a number of 32 or 64 bits; l: a label.
FORMS: dict[str, tuple[str, ...]] = {
    "mov": ("mi: C7 /0 id", "oj: B8 +r iq", "ni: C6 /0 ib", "mr: 89 /r", "rm: 8B /r", "nb: 88 /r"),
    "movzx": ("rn: 0F B6 /r",), "lea": ("rm: 8D /r",), "imul": ("rm: 0F AF /r",), "test": ("mr: 85 /r",),
    "inc": ("m: FF /0",), "dec": ("m: FF /1",), "push": ("o: 50 +r",), "pop": ("o: 58 +r",),
    "call": ("l: E8 cd",), "jmp": ("l: E9 cd",), "ret": (": C3",), "syscall": (": 0F 05",),
    "rep_movsb": (": F3 A4",), "rep_stosb": (": F3 AA",), "rdtsc": (": 0F 31",),
    "movsd": ("xy: F2 0F 10 /r", "yx: F2 0F 11 /r"), "movapd": ("xy: 66 0F 28 /r",),
    "movups": ("xy: 0F 10 /r", "yx: 0F 11 /r"),
    "movq": ("mx: 66 0F 7E /r",),
    "addsd": ("xy: F2 0F 58 /r",), "mulsd": ("xy: F2 0F 59 /r",), "subsd": ("xy: F2 0F 5C /r",),
    "divsd": ("xy: F2 0F 5E /r",), "sqrtsd": ("xy: F2 0F 51 /r",), "ucomisd": ("xy: 66 0F 2E /r",),
    "cvtsi2sd": ("xm: F2 0F 2A /r",), "minsd": ("xy: F2 0F 5D /r",), "maxsd": ("xy: F2 0F 5F /r",),
    "addpd": ("xy: 66 0F 58 /r",), "mulps": ("xy: 0F 59 /r",), "divps": ("xy: 0F 5E /r",), "sqrtps": ("xy: 0F 51 /r",),
    **{name: (f"mi: 81 /{n} id", f"ni: 80 /{n} ib", f"mr: {8 * n + 1:02X} /r", f"rm: {8 * n + 3:02X} /r")
       for n, name in enumerate(ARITHMETIC)},
    **{name: (f"mi: C1 /{n} ib",) for name, n in SHIFTS.items()},
    **{f"j{name}": (f"l: 0F 8{n:X} cd",) for name, n in CONDITIONS.items()},
}
FITS = {"r": "dq", "b": "b", "x": "x", "m": "dqM", "n": "bB", "y": "xM", "o": "q", **dict(zip("ijl", "ijl"))}
IMMEDIATES = {"ib": 1, "id": 4, "iq": 8}


@dataclass(frozen=True)
class Operand:
    """kind: q d b x, a register; B M, memory, of a byte or more; i j, a number; l, a label."""

    kind: str
    number: int = 0  # of the register; the displacement; the number itself
    base: int | None = None
    index: int | None = None
    scale: int = 1
    label: str = ""
    wide: bool = False


NONE = Operand("")


def assemble(text: str, symbols: Mapping[str, int]) -> bytes:
    """The machine code of the text: instructions with `;` or line ends between, `label:`, `# comment`."""
    code = bytearray()
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for part in re.split(r";|\n|(?<=:) ", re.sub("#.*", "", text)):
        if (part := part.strip()).endswith(":"):
            labels[part[:-1]] = len(code)
        elif part:
            mnemonic, _, rest = part.partition(" ")
            operands = [operand(word.strip(), symbols) for word in rest.split(",") if word]
            code += encode(form(mnemonic, operands), operands)
            jumps += [(len(code), o.label) for o in operands if o.kind == "l"]
    for end, label in jumps:
        code[end - 4:end] = (labels[label] - end).to_bytes(4, "little", signed=True)
    return bytes(code)


def form(mnemonic: str, operands: list[Operand]) -> str:
    """The first form that takes these operands."""
    for one in FORMS.get(mnemonic, ()):
        kinds = one.partition(":")[0]
        if len(kinds) == len(operands) and all(o.kind in FITS[kind] for o, kind in zip(operands, kinds)):
            return one
    raise ValueError(f"no form of {mnemonic} is known that takes {operands}")


def operand(text: str, symbols: Mapping[str, int]) -> Operand:
    if text in REGISTERS:
        kind, number = REGISTERS[text]
        return Operand(kind, number, wide=kind == "q")
    size, bracket, inside = text.rstrip("]").rpartition("[")
    if bracket:
        return memory(inside, size.strip(), symbols)
    if text in symbols or re.fullmatch(r"-?\d\w*", text):
        value = number_of(text, symbols)
        return Operand("i" if -(1 << 31) <= value < 1 << 31 else "j", value)
    return Operand("l", label=text)


def number_of(text: str, symbols: Mapping[str, int]) -> int:
    return symbols[text] if text in symbols else int(text, 0)


def memory(text: str, size: str, symbols: Mapping[str, int]) -> Operand:
    """`base + index*scale + displacement`, in any order; a register alone is the base."""
    base, index, scale, displacement = None, None, 1, 0
    for term in text.replace("-", "+-").replace(" ", "").split("+"):
        name, _, factor = term.partition("*")
        if factor:
            index, scale = REGISTERS[name][1], int(factor)
        elif term in REGISTERS:
            base = REGISTERS[term][1]
        else:
            displacement += number_of(term, symbols)
    return Operand("B" if size == "byte" else "M", displacement, base, index, scale, wide=size == "qword")


def encode(form: str, operands: list[Operand]) -> bytes:
    """Mandatory prefix, REX, opcode, ModRM with all that follows it, immediate (SDM 2, 2.1)."""
    kinds, _, encoding = form.partition(":")
    reg, rm, low, number = (next((o for o, kind in zip(operands, kinds) if kind in of), NONE)
                            for of in ("rbx", "mny", "o", "ij"))
    fields = encoding.split()
    opcode = bytes.fromhex("".join(field for field in fields if re.fullmatch("[0-9A-F]{2}", field)))
    prefix = opcode[:1] if opcode[0] in (0x66, 0xF2, 0xF3) else b""
    opcode = opcode[len(prefix):-1] + bytes([opcode[-1] | low.number & 7])
    wide = any(o.wide for o in operands) and fields[0] not in ("50", "58")
    tail = b""
    for field in fields:
        if field[0] == "/":
            tail += modrm(reg.number if field == "/r" else int(field[1:]), rm)
        elif field == "cd":
            tail += bytes(4)
        elif field in IMMEDIATES:
            tail += (number.number & (1 << 8 * IMMEDIATES[field]) - 1).to_bytes(IMMEDIATES[field], "little")
    return prefix + rex(wide, reg, rm, low) + opcode + tail


def rex(wide: bool, reg: Operand, rm: Operand, low: Operand) -> bytes:
    """The prefix that widens and extends, if it is needed (2.2.1.2)."""
    base = (rm.base or 0) if rm.kind in "BM" else rm.number
    bits = wide << 3 | (reg.number > 7) << 2 | ((rm.index or 0) > 7) << 1 | (base > 7 or low.number > 7)
    return bytes([0x40 | bits]) if bits else b""


def modrm(reg: int, rm: Operand) -> bytes:
    """ModRM, SIB and displacement (2.1.5). Displacements have 32 bits or are left out."""
    middle = (reg & 7) << 3
    if rm.kind not in "BM":
        return bytes([0xC0 | middle | rm.number & 7])
    short = rm.base is not None and rm.base & 7 != 5 and rm.number == 0
    mode = 0 if short or rm.base is None else 0x80
    displacement = b"" if short else rm.number.to_bytes(4, "little", signed=True)
    if rm.index is None and rm.base is not None and rm.base & 7 != 4:
        return bytes([mode | middle | rm.base & 7]) + displacement
    scale = (rm.scale.bit_length() - 1) << 6
    index, base = 4 if rm.index is None else rm.index & 7, 5 if rm.base is None else rm.base & 7
    return bytes([mode | middle | 4, scale | index << 3 | base]) + displacement
