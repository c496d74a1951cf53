"""Instructions as text, in Intel's syntax, derived from the definitions: what the decoder makes of the
bytes, read back.

Also the list of all definitions, for the coverage page. The names of registers are those of SDM 1, 3.4.1.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from guesthouse.bits import u8, u16, u32, u64
from guesthouse.engine.op import Handler
from guesthouse.system.cpu.x86.decode import PREFIX_CLASS, UNDEFINED
from guesthouse.system.cpu.x86.decode import LOCK as LOCK_PREFIX
from guesthouse.system.cpu.x86.decode import OPCODE as NO_PREFIX
from guesthouse.system.cpu.x86.guest import X86
from guesthouse.system.cpu.x86.instructions import DEFINITIONS, HANDLERS
from guesthouse.system.cpu.x86.operands import (
    EA,
    NOTHING,
    START,
    VECTORS,
    BindAddress,
    BindParts,
    BindCell,
    BindConstant,
    BindFar,
    BindImmediate,
    BindMemory,
    BindNumber,
    BindRegister,
    BindString,
    BindTarget,
    Decoded,
)
from guesthouse.system.cpu.x86.state import CS
from guesthouse.typed import Pointer

CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
OLD = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
LOW = ("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil")
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs", "?", "?")
POINTERS = {8: "byte", 16: "word", 32: "dword", 64: "qword", 128: "xmmword"}
LETTERS = {u8: "b", u16: "w", u32: "d", u64: "q"}
SIZED = {  # mnemonics that say their size
    "cbw": {u16: "cbw", u32: "cwde", u64: "cdqe"},
    "cwd": {u16: "cwd", u32: "cdq", u64: "cqo"},
    "pushf": {u16: "pushfw", u32: "pushfd", u64: "pushfq"},
    "popf": {u16: "popfw", u32: "popfd", u64: "popfq"},
    "pusha": {u16: "pushaw", u32: "pushad"},
    "popa": {u16: "popaw", u32: "popad"},
    "jcxz": {u16: "jcxz", u32: "jecxz", u64: "jrcxz"},
    "iret": {u16: "iretw", u32: "iretd", u64: "iretq"},
}


@dataclass(frozen=True)
class Instruction:
    """What bytes mean: their number, the text, and the handlers that execute them."""

    length: int
    text: str
    handlers: tuple[Handler, ...]


@dataclass(frozen=True)
class Listed:
    """One line of the coverage page."""

    name: str
    encodings: tuple[str, ...]
    reference: str
    module: str


def listing() -> Iterator[Listed]:
    """All definitions: name, encodings, where the book has them, where we have them."""
    for definition in DEFINITIONS:
        reference = (definition.run.__doc__ or "").strip().split("\n")[0]
        texts = tuple(e.text for e in definition.encodings)
        yield Listed(definition.name, texts, reference, definition.run.__module__)


class Disassembler:
    """Turns bytes into text; `bits` says for which code: 16, 32 or 64."""

    def __init__(self, bits: int = 64) -> None:
        self.cpu = X86.new()
        self.cpu.code_bits, self.cpu.segments[CS].limit = u8(bits), u32(0xFFFF_FFFF)
        self.room = ctypes.create_string_buffer(2 * Decoded.size)
        self.records: Any = Pointer[Decoded](ctypes.addressof(self.room))  # type: ignore[call-arg]

    def instruction(self, code: bytes, address: int = 0) -> Instruction:
        """The instruction that begins the bytes; those past the end count as zero."""
        window = ctypes.create_string_buffer(code[:15].ljust(32, b"\0"))
        ctypes.memset(self.room, 0, len(self.room))
        count = int(self.cpu.decode(u64(0), u64(address), u64(ctypes.addressof(window)), self.records))
        records = [self.records[n] for n in range(count)]
        handlers = tuple(HANDLERS[int(r.handler)] for r in records)
        if int(records[-1].handler) == UNDEFINED:
            return Instruction(max(int(records[-1].length), 1), "(bad)", handlers)
        locked = any(PREFIX_CLASS[u8(b)] == LOCK_PREFIX for b in prefix_bytes(code))
        return Instruction(
            int(records[-1].length), ("lock " if locked else "") + described(handlers, records), handlers
        )

    def lines(self, code: bytes, address: int = 0) -> Iterator[tuple[int, bytes, str]]:
        """Address, bytes and text of one instruction after the other."""
        at = 0
        while at < len(code):
            found = self.instruction(code[at:], address + at)
            yield address + at, code[at:at + found.length], found.text
            at += found.length


def disassemble(code: bytes, address: int = 0, bits: int = 64) -> str:
    """The text of the instruction that begins the bytes."""
    return Disassembler(bits).instruction(code, address).text


def prefix_bytes(code: bytes) -> bytes:
    """The legacy prefixes that begin the bytes."""
    n = 0
    while n < len(code) and PREFIX_CLASS[u8(code[n])] != NO_PREFIX:
        n += 1
    return code[:n]


def described(handlers: tuple[Handler, ...], records: list[Any]) -> str:
    """The text of a handler with its record; the first of two records has the address."""
    handler, record = handlers[-1], records[-1]
    operands = [operand(bind, record, records[0]) for bind in handler.binds]
    shown = [text for text in operands if text]
    name = mnemonic(handler)
    if name in ("nop", "pause") and len(set(shown)) < 2 and len(shown) != 1:
        shown = []
    return f"{name} {', '.join(shown)}".strip()


def mnemonic(handler: Handler) -> str:
    """The name, with the condition, size or repetition that belongs to it."""
    name = handler.op.name
    for bind in handler.binds:
        if isinstance(bind, BindConstant) and isinstance(bind.value, int):
            name += CONDITIONS[bind.value]
        elif isinstance(bind, BindConstant) and name in SIZED:
            name = SIZED[name].get(bind.value, name)
    strings = [b for b in handler.binds if isinstance(b, BindString)]
    if strings and name != "xlat":
        name += LETTERS[strings[0].type]
    return spelled(name.split("_"))


def spelled(words: list[str]) -> str:
    """A definition's name as a mnemonic: what only tells it from another of the same mnemonic is left out."""
    if words[0].startswith("rep") or words[-1] in SEGMENTS:
        return " ".join(words)
    return words[0] + (" far" if "far" in words else "")


def operand(bind: Any, record: Any, first: Any) -> str:
    """One operand; empty for those that the mnemonic implies."""
    match bind:
        case BindRegister():
            return register(bind.type.bits, int(getattr(record, bind.slot)))
        case BindCell():
            return vector_register(int(getattr(record, bind.slot)))
        case BindMemory():
            return f"{POINTERS[bind.type.bits]} ptr {address(first)}"
        case BindAddress() | BindParts():
            return address(first)
        case BindImmediate():
            value = bind.type(int(getattr(record, bind.field)))
            return f"{int(value):#x}"
        case BindTarget():
            return f"{int(getattr(record, bind.field)) & (1 << bind.type.bits) - 1:#x}"
        case BindNumber():
            return numbered(bind.names, int(getattr(record, bind.slot)))
        case BindFar():
            return f"{int(record.disp) & 0xFFFF:#x}:{int(record.imm) & bind.mask:#x}"
    return ""


def numbered(names: str, n: int) -> str:
    """A segment, control or debug register, or a place on the x87 stack."""
    if names == "Sw":
        return SEGMENTS[n & 7]
    return {"Cr": f"cr{n}", "Dr": f"dr{n}", "STi": f"st({n})"}.get(names, str(n))


def register(bits: int, offset: int) -> str:
    """A general register by its offset from the first."""
    n = offset >> 3
    if offset & 7 == 1:
        return OLD[n][0] + "h"
    if n >= 8:
        return f"r{n}{ {8: 'b', 16: 'w', 32: 'd', 64: ''}[bits] }".replace(" ", "")
    return LOW[n] if bits == 8 else {16: "", 32: "e", 64: "r"}[bits] + OLD[n]


def vector_register(offset: int) -> str:
    """An XMM or MMX register by its offset from VECTORS."""
    n = (offset + VECTORS - X86.offset("xmm")) // 16
    return f"xmm{n}" if 0 <= n < 16 else f"mm{(offset + VECTORS - X86.offset('fpr')) // 16}"


def address(record: Any) -> str:
    """A memory operand: segment, base, index and displacement."""
    base, index, scale, disp = int(record.base), int(record.index), int(record.scale), int(record.disp)
    parts = [register(64, base)] if base not in (NOTHING, EA, START) else []
    if index != NOTHING:
        parts.append(register(64, index) + (f"*{1 << scale}" if scale else ""))
    signed = disp - (1 << 64) if disp >> 63 else disp
    if not parts:
        parts.append(f"{disp:#x}")
    elif signed:
        parts.append(("-" if signed < 0 else "+") + f"{abs(signed):#x}")
    text = "+".join(parts).replace("+-", "-").replace("++", "+")
    segment = f"{SEGMENTS[int(record.segment)]}:" if int(record.segment) in (4, 5) else ""
    return f"{segment}[{text}]"
