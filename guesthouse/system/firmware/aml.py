"""Writes ACPI Machine Language: the part of ACPI 6.5, chapter 20, that our tables need, and resource templates (6.4).

Every function returns the bytes of one term. Not here: control flow beyond If and Return, and anything that computes.
"""

from __future__ import annotations

import struct

ONES_OP, EXT = b"\xff", b"\x5b"
PRODUCER_FIXED = 0x0C  # general flags: minimum and maximum are fixed, the device produces the range


def length(body: bytes) -> bytes:
    """PkgLength, which counts its own bytes (20.2.4)."""
    if len(body) + 1 <= 0x3F:
        return bytes((len(body) + 1,))
    for more in (1, 2, 3):
        total = len(body) + 1 + more
        if total < 1 << 4 + 8 * more:
            return bytes((more << 6 | total & 0xF,)) + (total >> 4).to_bytes(more, "little")
    raise ValueError("an AML package of more than 256 MiB")


def name_string(name: str) -> bytes:
    """`\\_SB.PCI0`: segments are filled up with underscores (20.2.2)."""
    root = b"\\" if name.startswith("\\") else b""
    segments = [part.ljust(4, "_").encode("ascii") for part in name.lstrip("\\").split(".") if part]
    if len(segments) == 1:
        return root + segments[0]
    if len(segments) == 2:
        return root + b"\x2e" + b"".join(segments)
    return root + (b"\x2f" + bytes((len(segments),)) + b"".join(segments) if segments else b"\0")


def integer(value: int) -> bytes:
    if value in (0, 1):
        return bytes((value,))
    for prefix, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4), (0x0E, 8)):
        if value < 1 << 8 * size:
            return bytes((prefix,)) + value.to_bytes(size, "little")
    raise ValueError(f"{value:#x} is not an AML integer")


def text(value: str) -> bytes:
    return b"\x0d" + value.encode("ascii") + b"\0"


def buffer(content: bytes) -> bytes:
    body = integer(len(content)) + content
    return b"\x11" + length(body) + body


def package(*elements: bytes) -> bytes:
    body = bytes((len(elements),)) + b"".join(elements)
    return b"\x12" + length(body) + body


def name(called: str, value: bytes) -> bytes:
    return b"\x08" + name_string(called) + value


def scope(called: str, *terms: bytes) -> bytes:
    body = name_string(called) + b"".join(terms)
    return b"\x10" + length(body) + body


def device(called: str, *terms: bytes) -> bytes:
    body = name_string(called) + b"".join(terms)
    return EXT + b"\x82" + length(body) + body


def method(called: str, arguments: int, *terms: bytes) -> bytes:
    body = name_string(called) + bytes((arguments,)) + b"".join(terms)
    return b"\x14" + length(body) + body


def if_(predicate: bytes, *terms: bytes) -> bytes:
    body = predicate + b"".join(terms)
    return b"\xa0" + length(body) + body


def argument(n: int) -> bytes:
    """A method's own, from 0 on."""
    return bytes((0x68 + n,))


def store(value: bytes, target: str) -> bytes:
    return b"\x70" + value + name_string(target)


def returns(value: bytes) -> bytes:
    return b"\xa4" + value


def eisa_id(called: str) -> bytes:
    """`PNP0501` as the compressed number that _HID takes (19.3.4)."""
    a, b, c = (ord(letter) - 0x40 for letter in called[:3])
    return integer(int.from_bytes((a << 10 | b << 5 | c).to_bytes(2, "big") + bytes.fromhex(called[3:]), "little"))


def resources(*descriptors: bytes) -> bytes:
    """ResourceTemplate; the end tag's checksum 0 means "do not check"."""
    return buffer(b"".join(descriptors) + b"\x79\0")


def io(start: int, count: int) -> bytes:
    """Fixed ports, 16 bits decoded (6.4.2.5)."""
    return struct.pack("<BBHHBB", 0x47, 1, start, start, 1, count)


def irq(number: int) -> bytes:
    """An edge-triggered, active-high interrupt that is not shared (6.4.2.1)."""
    return struct.pack("<BH", 0x22, 1 << number)


def dma(channel: int) -> bytes:
    """An 8-bit channel of the 8237 that is no bus master (6.4.2.2)."""
    return struct.pack("<BBB", 0x2A, 1 << channel, 0)


def memory(start: int, count: int) -> bytes:
    """A fixed range of addresses (6.4.3.4)."""
    return struct.pack("<BHBII", 0x86, 9, 1, start, count)


def bus_range(first: int, last: int) -> bytes:
    """The bus numbers that a host bridge passes on (6.4.3.5.3)."""
    return struct.pack("<BHBBBHHHHH", 0x88, 13, 2, PRODUCER_FIXED, 0, 0, first, last, 0, last - first + 1)


def io_range(first: int, last: int) -> bytes:
    """The ports that a host bridge passes on."""
    return struct.pack("<BHBBBHHHHH", 0x88, 13, 1, PRODUCER_FIXED, 3, 0, first, last, 0, last - first + 1)


def memory_range(first: int, last: int) -> bytes:
    """The addresses that a host bridge passes on, uncached and writable (6.4.3.5.2)."""
    return struct.pack("<BHBBBIIIII", 0x87, 23, 0, PRODUCER_FIXED, 1, 0, first, last, 0, last - first + 1)
