"""From definitions to handlers: each encoding under each operand size, register or memory, gives a form.

A form is what the decoder looks up: the handler, where each operand slot comes from, what immediates
follow. Forms that differ only in encoding (01 /r and 03 /r between registers) share a handler.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from guesthouse.bits import u8
from guesthouse.engine.op import Handler, Op
from guesthouse.system.cpu.x86.accesses import of_address, of_parts, of_value
from guesthouse.system.cpu.x86.definitions import LOCKS, Definition, Encoding
from guesthouse.system.cpu.x86.operands import (
    BY_BITS,
    BindAddress,
    BindCell,
    BindConstant,
    BindFar,
    BindImmediate,
    BindLocked,
    BindMemory,
    BindNumber,
    BindParts,
    BindRegister,
    BindString,
    BindTarget,
    BindThis,
    Kind,
)
from guesthouse.system.cpu.x86.state import RDI, RSI
from guesthouse.system.cpu.x86.x87_pointers import BindWhere, Noting, noted

# Where the number of a register operand comes from, and which file of registers it counts in.
NO_SLOT, FROM_REG, FROM_RM, FROM_OPCODE, FROM_VVVV, FIXED = range(6)
BYTES, GENERAL, XMM, MMX, NUMBER, SHORT_NUMBER = range(6)

LOCKABLE, RELATIVE, OFFSET_ONLY, STRING, MOFFS, VVVV, POPS, THIS, REGISTERS, LOCKING, WHERE = (
    1 << n for n in range(11)
)


@dataclass(frozen=True)
class Form:
    """An encoding whose sizes are settled. `slots` are packed: source | file << 4 | fixed offset << 8."""

    handler: int = 0
    slots: tuple[int, int, int] = (0, 0, 0)
    immediate: int = 0  # bytes; sign-extended into Decoded.imm
    second: int = 0  # bytes; into Decoded.disp
    constant: int = 0  # what Decoded.imm is without an immediate
    flags: int = 0
    access: int = 0  # what it does to memory, see accesses.py
    locked: int = 0  # the handler under LOCK, where processors run at the same time


@dataclass
class Forms:
    """Collects forms and their handlers while encodings are settled."""

    handlers: list[Handler]
    numbers: dict[Any, int] = field(default_factory=dict)

    def settle(
        self,
        definition: Definition,
        encoding: Encoding,
        condition: int,
        memory: bool,
        bits: int,
        address: int,
    ) -> Form:
        """The form of an encoding for these sizes, in bits; `condition`: how far the opcode is above the
        first."""
        binds, slots, flags, constant, access = [], [0, 0, 0], 0, 0, 0
        fields = iter(("imm", "disp"))
        for n, kind in enumerate(encoding.kinds):
            if kind.place in ("rm", "reg", "opcode", "vvvv", "fixed") and not (kind.place == "rm" and memory):
                slots[n] = slot(kind, bits)
            binds.append(bind(kind, n, condition, memory, bits, address, fields))
            access |= accessed(definition, kind, n, memory, bits, address)
            flags |= FLAGS.get(kind.place, 0)
            constant |= kind.place == "one"
            if kind.pops and memory:
                flags, constant = flags | POPS, bits // 8
        if encoding.registers:
            flags |= REGISTERS
        if noted(encoding):
            binds.insert(0, BindWhere(memory))
            flags |= WHERE
        locked = 0
        if encoding.lock and memory:
            flags |= LOCKABLE | (LOCKING if encoding.lock == LOCKS else 0)
            locked = self.number(definition, encoding, tuple(under_lock(b) for b in binds))
        first, second = immediates(encoding, bits, address)
        number = self.number(definition, encoding, tuple(binds))
        places = (slots[0], slots[1], slots[2])
        return Form(number, places, first, second, constant, flags, access, locked)

    def number(self, definition: Definition, encoding: Encoding, binds: tuple[Any, ...]) -> int:
        """The number of the handler for this body and these binds, made if it is new."""
        key = (definition.run, encoding.ends, encoding.counts, binds)
        if key not in self.numbers:
            self.numbers[key] = len(self.handlers)
            texts = tuple(e.text for e in definition.encodings)
            run = Noting(definition.run) if noted(encoding) else definition.run
            op = Op(definition.name, run, encoding.ends, encoding.counts, texts)
            name = " ".join((definition.name, ", ".join(described(b) for b in binds))).strip()
            self.handlers.append(Handler(name, op, binds))
        return self.numbers[key]


FLAGS = {
    "offset": OFFSET_ONLY, "source": STRING, "destination": STRING, "moffs": MOFFS, "target": RELATIVE,
    "vvvv": VVVV, "this": THIS,
}


def bind(
    kind: Kind, n: int, condition: int, memory: bool, bits: int, address: int, fields: Iterator[str]
) -> Any:
    """How operand number n is found in a record."""
    match kind.place:
        case "address" | "offset":
            return BindAddress()
        case "parts":
            return BindParts(address == 16)
        case "moffs":
            return BindMemory(kind.type(bits))
        case "immediate":
            return BindImmediate(kind.type(bits), next(fields))
        case "one":
            return BindImmediate(u8, "imm")
        case "target":
            return BindTarget(next(fields), BY_BITS[bits])
        case "this":
            return BindThis()
        case "segment":
            return BindNumber("segment")
        case "far":
            return BindFar(z_mask(bits))
        case "condition":
            return BindConstant(condition)
        case "size":
            return BindConstant(kind.type(bits))
        case "address size":
            return BindConstant(BY_BITS[address])
        case "source":
            return BindString(kind.type(bits), BY_BITS[address], "base", RSI)
        case "destination":
            return BindString(kind.type(bits), BY_BITS[address], "index", RDI)
    if kind.place == "rm" and memory:
        return BindMemory(kind.type(bits, kind.memory), kind.aligned)
    if kind.file == "n":
        return BindNumber(f"r{n}", kind.name)
    return (BindRegister if kind.file == "r" else BindCell)(kind.type(bits), f"r{n}")


def under_lock(bind: Any) -> Any:
    """The bind of an operand, with the memory locked."""
    return BindLocked(bind.type, bind.aligned) if isinstance(bind, BindMemory) else bind


def accessed(definition: Definition, kind: Kind, n: int, memory: bool, bits: int, address: int) -> int:
    """What an instruction does to memory through its operand number n, if that is its memory operand."""
    if kind.place == "address" and memory:
        return of_address(definition.run, bits)
    if kind.place == "parts" and memory:
        return of_parts(definition.run, bits, address == 16)
    if kind.place == "moffs" or kind.place == "rm" and memory and kind.width:
        return of_value(definition.run, int(kind.type(bits, kind.memory).size), n == 0)
    return 0


def z_mask(bits: int) -> int:
    """What an offset of 16 or 32 bits, as operand size 64 does not exist for far pointers, is cut with."""
    return 0xFFFF if bits == 16 else 0xFFFF_FFFF


def slot(kind: Kind, bits: int) -> int:
    """The packed slot of a register operand."""
    if kind.place == "fixed":
        return FIXED | GENERAL << 4 | 8 * kind.fixed << 8
    source = {"reg": FROM_REG, "rm": FROM_RM, "opcode": FROM_OPCODE, "vvvv": FROM_VVVV}[kind.place]
    if kind.file == "r":
        return source | (BYTES if kind.type(bits) is u8 else GENERAL) << 4
    if kind.file == "n":
        return source | (SHORT_NUMBER if kind.short else NUMBER) << 4
    return source | (XMM if kind.file == "x" else MMX) << 4


def immediates(encoding: Encoding, bits: int, address: int) -> tuple[int, int]:
    """The lengths in bytes of what goes into Decoded.imm and Decoded.disp."""
    z = 2 if bits == 16 else 4
    lengths = {"ib": 1, "iw": 2, "id": 4, "iz": z, "iv": bits // 8, "cb": 1, "cz": z, "mo": address // 8}
    words = encoding.immediates
    if words == ("cp",):
        return z, 2
    if words == ("mo",):
        return 0, lengths["mo"]
    first, second = (*(lengths[w] for w in words), 0, 0)[:2]
    return first, second


def described(bind: Any) -> str:
    """A short name of an operand for a handler's name."""
    kind = getattr(bind, "type", None)
    letters = {BindRegister: "r", BindCell: "x", BindMemory: "m", BindLocked: "l", BindImmediate: "i", BindString: "s"}
    letter = letters.get(type(bind), "")
    if isinstance(bind, BindConstant):
        return bind.value.__name__ if isinstance(bind.value, type) else str(bind.value)
    if kind is None:
        return type(bind).__name__.removeprefix("Bind").lower()
    size = f"/{bind.size.bits}" if isinstance(bind, BindString) else ""
    return f"{letter}{kind.bits}{'a' if getattr(bind, 'aligned', False) else ''}{size}"
