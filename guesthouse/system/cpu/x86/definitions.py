"""What the definition of an x86 instruction is: encodings, operand kinds, a body; and which handlers
follow from it.

The encoding is written as the SDM's volume 2 prints it (3.1.1.1). `@op` may stand several times above one
body; it only attaches what it says to the function, `definitions()` gathers them from a module.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, TypeVar

from guesthouse.engine.op import FALLS
from guesthouse.errors import DefinitionError
from guesthouse.system.cpu.x86.operands import Kind

IN_16, IN_32, IN_64 = 1, 2, 4
LEGACY, LONG, ANY = IN_16 | IN_32, IN_64, IN_16 | IN_32 | IN_64
LOCKS = 2  # what `lock` says of an instruction that locks by itself
MAPS = ("", "0F", "0F38", "0F3A", "VEX.0F", "VEX.0F38", "VEX.0F3A")
PREFIXES = ("NP", "66", "F3", "F2", "NFx")  # the last: none, or 66
IMMEDIATES = ("ib", "iw", "id", "iz", "iv", "cb", "cz", "cp", "mo")

F = TypeVar("F", bound=Callable[..., None])


@dataclass(frozen=True)
class Encoding:
    """One `@op` line, parsed. None means: any. `text` is the line as written."""

    text: str
    kinds: tuple[Kind, ...]
    lock: int
    modes: int
    default64: bool
    force64: bool
    ends: int
    counts: bool
    prefix: int | None = None  # index in PREFIXES; None: any
    w: int | None = None  # REX.W or VEX.W
    vector: int | None = None  # VEX.L
    map: int = 0  # index in MAPS
    opcode: int = 0
    opcodes: int = 1  # how many opcodes from this one on: 8 for +r, 16 for +cc
    modrm: bool = False
    reg: int | None = None
    rm: int | None = None
    forms: str = "rm"  # what ModRM.mod may say: register, memory
    registers: bool = (
        False  # ModRM.mod means nothing: MOV to and from control and debug registers (SDM 2B, MOV)
    )
    immediates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Definition:
    """A body with all its encodings."""

    run: Callable[..., None]
    encodings: tuple[Encoding, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.run.__name__.rstrip("_")


def op(
    encoding: str, *kinds: Kind, lock: int = False, modes: int = ANY, default64: bool = False,
    force64: bool = False, ends: int = FALLS, counts: bool = False,
) -> Callable[[F], F]:
    """This encoding with these operands means the body below.

    `lock`: LOCK is allowed before the memory form; LOCKS: and goes without saying. `modes`: where it is valid.
    `default64`, `force64`: the operand size in 64-bit mode is 64 unless 66 says 16, or in any case (d64 and f64
    of appendix A).
    `ends`, `counts`: see engine.op.Op.
    """
    base = Encoding(encoding, kinds, lock, modes, default64, force64, ends, counts)
    parsed = parse(base)

    def attach(run: F) -> F:
        run.encodings = (parsed, *getattr(run, "encodings", ()))  # type: ignore[attr-defined]
        return run

    return attach


def parse(encoding: Encoding) -> Encoding:
    """Fill in what the text says."""
    words = encoding.text.split()
    if words and words[0].startswith("VEX."):
        found, words = parse_vex(words[0]), words[1:]
    else:
        found, words = parse_prefixes(words)
    if not words:
        raise DefinitionError(f"encoding {encoding.text!r} has no opcode")
    found |= parse_opcode(words[0]) | parse_rest(words[1:])
    made = replace(encoding, **found)
    if made.w == 1 and made.map < MAPS.index("VEX.0F"):
        made = replace(made, modes=made.modes & LONG)  # only 64-bit mode has REX
    forms = {k.forms for k in made.kinds if k.place in ("rm", "address", "parts", "offset")}
    if {"Cr", "Dr"} & {k.name for k in made.kinds}:
        made = replace(made, registers=True)
    elif made.modrm and made.rm is None and len(forms) == 1:
        made = replace(made, forms=forms.pop())
    return checked(made)


def parse_vex(word: str) -> dict[str, Any]:
    """VEX.L0.66.0F38.W1: vector length, prefix, map and W, any of them left out where it is ignored."""
    found: dict[str, Any] = {"prefix": 0}
    for part in word.split(".")[1:]:
        if part in PREFIXES:
            found["prefix"] = PREFIXES.index(part)
        elif "VEX." + part in MAPS:
            found["map"] = MAPS.index("VEX." + part)
        elif part in ("L0", "LZ", "L1"):
            found["vector"] = int(part == "L1")
        elif part in ("W0", "W1"):
            found["w"] = int(part[1])
        elif part not in ("LIG", "WIG"):
            raise DefinitionError(f"{part!r} in {word!r} is no part of a VEX prefix")
    return found


def parse_prefixes(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {}
    while words and (words[0] in PREFIXES or words[0] in ("REX.W", "REX.W0")):
        word, words = words[0], words[1:]
        if word in PREFIXES:
            found["prefix"] = PREFIXES.index(word)
        else:
            found["w"] = int(word == "REX.W")
    if words and words[0] == "0F":
        words = words[1:]
        found["map"] = {"38": 2, "3A": 3}.get(words[0], 1) if len(words) > 1 else 1
        words = words[1:] if found["map"] > 1 else words
    return found, words


def parse_opcode(word: str) -> dict[str, Any]:
    """An opcode byte, perhaps with +r (a register in its low bits) or +cc (a condition)."""
    match = re.fullmatch(r"([0-9A-F]{2})(\+r|\+cc)?", word)
    if match is None:
        raise DefinitionError(f"{word!r} is no opcode")
    return {"opcode": int(match[1], 16), "opcodes": {None: 1, "+r": 8, "+cc": 16}[match[2]]}


def parse_rest(words: list[str]) -> dict[str, Any]:
    """What follows the opcode: /r or /digit, or a whole ModRM byte (x87: `E8`, `C0+i`), then immediates."""
    found: dict[str, Any] = {"immediates": tuple(w for w in words if w in IMMEDIATES)}
    for word in words:
        if match := re.fullmatch(r"/([r0-7])", word):
            found |= {"modrm": True, "reg": None if match[1] == "r" else int(match[1])}
        elif match := re.fullmatch(r"([C-F][0-9A-F])(\+i)?", word):
            byte = int(match[1], 16)
            found |= {"modrm": True, "forms": "r", "reg": byte >> 3 & 7, "rm": None if match[2] else byte & 7}
        elif word not in IMMEDIATES:
            raise DefinitionError(f"{word!r} means nothing after an opcode")
    return found


def checked(encoding: Encoding) -> Encoding:
    """Refuse an encoding that does not encode its operands, or encodes what nobody takes."""
    places = [k.place for k in encoding.kinds]
    takes = sum(p in ("immediate", "target", "far", "moffs") for p in places)
    if takes != len(encoding.immediates):
        raise DefinitionError(
            f"{encoding.text!r} has {len(encoding.immediates)} immediates, its operands take {takes}"
        )
    if {"rm", "reg", "address", "parts", "offset"} & set(places) and not encoding.modrm:
        raise DefinitionError(f"{encoding.text!r} has no ModRM byte for its operands")
    if ("opcode" in places) < (encoding.opcodes == 8) or ("condition" in places) != (encoding.opcodes == 16):
        raise DefinitionError(f"{encoding.text!r} and its operands differ about +r or +cc")
    if len(encoding.kinds) > 4:
        raise DefinitionError(f"{encoding.text!r} has more operands than a record has room for")
    return encoding


def definitions(module: ModuleType) -> Iterator[Definition]:
    """The definitions that stand in a module, in their order."""
    for thing in vars(module).values():
        if getattr(thing, "encodings", None) and getattr(thing, "__module__", "") == module.__name__:
            yield Definition(thing, thing.encodings)
