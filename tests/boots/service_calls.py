"""A boot sector that calls services of a BIOS and sends what comes back through port E9h, so that two BIOSes can be
asked the same. Each call is a record; after the last it ends the machine through port F4h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RECORDS, MOST = 0x8000, 16 * 512 // 16
SENT = ("ax", "bx", "cx", "dx", "si", "di", "es", "flags")
CODE = bytes.fromhex(
    "FA 31C0 8ED0 BC0070 8ED8 8EC0 FB"  # stack at 0:7000, DS = ES = 0
    "B81002 BB0080 B90200 30F6 CD13 BE0080"  # sixteen sectors of records to 0:8000
    "8A04 3C00 7454 89367D7C 3CFF 743A A2447C"  # next: 0 is the end, FFh sends memory, else the INT's number
    "8B4402 8B5C04 8B4C06 8B5408 8B7C0C 8E440E 8B740A CD00"  # registers from the record; INT
    "9C 06 57 56 52 51 53 50 31C0 8ED8 89E6 B91000 E81700 83C410"  # what came back, from the stack
    "8B367D7C 83C610 EBB8"  # the following record
    "8B4C06 8B7404 E80200 EBEC"  # memory: CX bytes at BX
    "FC AC E6E9 E2FA C3"  # send
    "B000 E6F4 FA F4 0000")


@dataclass(frozen=True)
class Call:
    """`number` is the interrupt; FFh: send `cx` bytes of memory at `bx`. `compare` are the registers and flags that
    have to be equal."""

    number: int
    ax: int = 0
    bx: int = 0
    cx: int = 0
    dx: int = 0
    si: int = 0
    di: int = 0
    es: int = 0
    compare: tuple[str, ...] = ("ax", "carry")

    def record(self) -> bytes:
        return struct.pack("<8H", self.number, self.ax, self.bx, self.cx, self.dx, self.si, self.di, self.es)


def disk(calls: list[Call], size: int) -> bytes:
    """An image that makes these calls when it is booted."""
    if len(calls) >= MOST:
        raise ValueError("too many calls")
    records = b"".join(call.record() for call in calls)
    made = CODE.ljust(446, b"\0") + bytes(64) + b"\x55\xAA" + records.ljust(16 * 512, b"\0")
    return made + b"".join(n.to_bytes(4, "little") * 128 for n in range(17, size // 512))


def answers(calls: list[Call], sent: bytes) -> list[dict[str, int] | bytes]:
    """What came back for each call: registers, with `carry` and `zero`, or memory."""
    made: list[dict[str, int] | bytes] = []
    at = 0
    for call in calls:
        count = call.cx if call.number == 0xFF else 16
        piece, at = sent[at:at + count], at + count
        if call.number == 0xFF or len(piece) < 16:
            made.append(piece)
            continue
        registers = dict(zip(SENT, struct.unpack("<8H", piece), strict=True))
        registers |= {"carry": registers["flags"] & 1, "zero": registers["flags"] >> 6 & 1,
                      "al": registers["ax"] & 0xFF, "ah": registers["ax"] >> 8}
        made.append(registers)
    return made
