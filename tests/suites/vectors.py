"""Reads SingleStepTests: one instruction each, with registers and memory before and after, as real processors did it.

Two formats: JSON (8086, 8088, V20) and MOO, chunks of tag and length (80286, 80386). Bus cycles are not read.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REGISTERS = ("ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags")
WIDE = ("cr0", "cr3", "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "cs", "ds", "es", "fs", "gs", "ss",
        "eip", "eflags", "dr6", "dr7")
SHORT = {"e" + name: name for name in REGISTERS}  # the 386's names for what we call as the 8086 does

Ram = list[tuple[int, int]]


@dataclass(frozen=True)
class Vector:
    """`after` and `ram_after` hold only what changed. `trap`: the exception's number, and where FLAGS were pushed.
    `defined`: the bits of registers that count, where the file says so."""

    name: str
    code: bytes
    before: dict[str, int]
    ram_before: Ram
    after: dict[str, int]
    ram_after: Ram
    trap: tuple[int, int] | None
    hash: str
    defined: dict[str, int] = field(default_factory=dict)


def vectors(path: Path) -> Iterator[Vector]:
    """All vectors of a file, which may be compressed."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return from_moo(data) if data[:4] == b"MOO " else from_json(data)


def from_json(data: bytes) -> Iterator[Vector]:
    for test in json.loads(data):
        first, last = test["initial"], test["final"]
        trap = test.get("exception")
        yield Vector(test["name"], bytes(test["bytes"]), short(first["regs"]), first["ram"], short(last["regs"]),
                     last["ram"], trap and (trap["number"], trap["flag_address"]), test.get("hash", ""))


def short(registers: dict[str, int]) -> dict[str, int]:
    return {SHORT.get(name, name): value for name, value in registers.items()}


def chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        tag, length = bytes(data[at:at + 4]), int.from_bytes(data[at + 4:at + 8], "little")
        yield tag, data[at + 8:at + 8 + length]
        at += 8 + length


def from_moo(data: bytes) -> Iterator[Vector]:
    everywhere: dict[str, int] = {}
    for tag, body in chunks(memoryview(data)):
        if tag in MASKS:
            everywhere = registers(tag, body)
        elif tag == b"TEST":
            parts = dict(chunks(body[4:]))
            first, last = (dict(chunks(parts[n])) for n in (b"INIT", b"FINA"))
            before, _ = state(first)
            after, here = state(last)
            trap = struct.unpack_from("<BI", parts[b"EXCP"]) if b"EXCP" in parts else None
            yield Vector(bytes(parts[b"NAME"][4:]).decode(), bytes(parts[b"BYTS"][4:]), before, ram(first), after,
                         ram(last), trap, bytes(parts.get(b"HASH", b"")).hex(), everywhere | here)


VALUES, MASKS = (b"REGS", b"RG32"), (b"RMSK", b"RM32")


def state(parts: dict[bytes, memoryview]) -> tuple[dict[str, int], dict[str, int]]:
    """Registers, and which of their bits count."""
    values, masks = (next((registers(t, parts[t]) for t in tags if t in parts), {}) for tags in (VALUES, MASKS))
    return values, masks


def registers(tag: bytes, part: memoryview) -> dict[str, int]:
    return short(masked(part, WIDE, "I")) if tag.endswith(b"32") else masked(part, REGISTERS, "H")


def ram(parts: dict[bytes, memoryview]) -> Ram:
    return list(struct.iter_unpack("<IB", parts[b"RAM "][4:])) if b"RAM " in parts else []


def masked(part: memoryview, names: tuple[str, ...], kind: str) -> dict[str, int]:
    """A mask of which registers follow, then their values."""
    size = struct.calcsize(kind)
    mask = int.from_bytes(part[:size], "little")
    present = [name for n, name in enumerate(names) if mask >> n & 1]
    return dict(zip(present, struct.unpack_from(f"<{len(present)}{kind}", part, size), strict=True))
