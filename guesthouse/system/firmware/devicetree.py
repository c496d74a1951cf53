"""Flattened device trees, after the Devicetree Specification 0.4, chapter 5. Written only, never read."""

from __future__ import annotations

import struct

BEGIN_NODE, END_NODE, PROPERTY, END = 1, 2, 3, 9
MAGIC, VERSION, COMPATIBLE = 0xD00D_FEED, 17, 16
Value = int | str | bytes | list[int] | list[str] | None


class Node:
    """A node with its properties and children, in the order in which they were given."""

    def __init__(self, name: str, **properties: Value) -> None:
        """Keyword underscores become dashes, as property names have them, but for `device_type` (2.3.11)."""
        self.name = name
        self.properties: dict[str, bytes] = {}
        self.children: list[Node] = []
        for key, value in properties.items():
            self.put(key if key == "device_type" else key.replace("_", "-"), value)

    def put(self, name: str, value: Value) -> Node:
        self.properties[name] = encode(value)
        return self

    def add(self, node: Node) -> Node:
        self.children.append(node)
        return node


def encode(value: Value) -> bytes:
    """Integers are cells of 32 bits, texts end in zero, None is a property that is only there (2.2.4)."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return struct.pack(">I", value)
    if isinstance(value, str):
        return value.encode() + b"\0"
    return b"".join(encode(part) for part in value)


def pair(value: int) -> list[int]:
    """A 64-bit number as two cells."""
    return [value >> 32, value & 0xFFFF_FFFF]


def region(start: int, size: int) -> list[int]:
    """`reg` with two cells each for address and size."""
    return pair(start) + pair(size)


def flatten(root: Node, boot_hart: int = 0) -> bytes:
    """The blob: header, no memory reservations, structure, strings."""
    strings: dict[str, int] = {}
    structure = _node(root, strings) + struct.pack(">I", END)
    names = b"".join(name.encode() + b"\0" for name in strings)
    reservations, at = bytes(16), 40
    structure_at = at + len(reservations)
    names_at = structure_at + len(structure)
    header = struct.pack(">10I", MAGIC, names_at + len(names), structure_at, names_at, at, VERSION, COMPATIBLE,
                         boot_hart, len(names), len(structure))
    return header + reservations + structure + names


def _node(node: Node, strings: dict[str, int]) -> bytes:
    made = struct.pack(">I", BEGIN_NODE) + _padded(node.name.encode() + b"\0")
    for name, value in node.properties.items():
        at = strings.setdefault(name, sum(len(known) + 1 for known in strings))
        made += struct.pack(">III", PROPERTY, len(value), at) + _padded(value)
    return made + b"".join(_node(child, strings) for child in node.children) + struct.pack(">I", END_NODE)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
