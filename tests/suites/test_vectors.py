"""The harness for SingleStepTests, on vectors written here: both formats, registers of both widths, undefined bits."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.suites.real_mode import RealMode
from tests.suites.test_single_steps import base
from tests.suites.undefined import cause_386, undefined
from tests.suites.vectors import WIDE, Vector, vectors

CODE, DATA = 0x10000, 0x30000
BEFORE = dict.fromkeys(WIDE, 0) | {
    "cr0": 0x7FFE_FFF0, "eax": 0x1234_00FF, "cs": 0x1000, "ds": 0x3000, "ss": 0x2000, "esp": 0x100,
    "eflags": 0xFFFC_0002,
}


def chunk(tag: str, body: bytes) -> bytes:
    return tag.ljust(4).encode() + struct.pack("<I", len(body)) + body


def registers(tag: str, values: dict[str, int]) -> bytes:
    present = [n for n in WIDE if n in values]
    mask = sum(1 << WIDE.index(n) for n in present)
    return chunk(tag, struct.pack(f"<I{len(present)}I", mask, *(values[n] for n in present)))


def ram(cells: dict[int, int]) -> bytes:
    return chunk("RAM", struct.pack("<I", len(cells)) + b"".join(struct.pack("<IB", *c) for c in cells.items()))


def vector(folder: Path, code: str, after: dict[str, int], defined: dict[str, int], written: dict[int, int]) -> Vector:
    text = bytes.fromhex(code) + b"\xf4"
    first = registers("RG32", BEFORE) + ram({CODE + n: b for n, b in enumerate(text)})
    last = registers("RG32", {"eip": len(text)} | after) + registers("RM32", defined) + ram(written)
    named, bytes_ = (chunk(t, struct.pack("<I", len(b)) + b) for t, b in (("NAME", b"a test"), ("BYTS", text)))
    test = struct.pack("<I", 0) + named + bytes_ + chunk("INIT", first) + chunk("FINA", last)
    path = folder / "vector.MOO"
    path.write_bytes(chunk("MOO", bytes(12)) + registers("RM32", {"ecx": 0}) + chunk("TEST", test))
    (found,) = vectors(path)
    return found


@pytest.mark.parametrize("name, code, after, defined, written, wrong", [
    ("6605", "66 05 01 00 00 00", {"eax": 0x1234_0100, "eflags": 0xFFFC_0016}, {}, {}, set()),
    ("6605", "66 05 01 00 00 00", {"eax": 0x0034_0100, "eflags": 0xFFFC_0016}, {}, {}, {"ax"}),
    ("6605", "66 05 01 00 00 00", {"eax": 0x0034_0101}, {"eax": 0, "eflags": 0}, {}, set()),
    ("A2", "A2 08 00", {}, {}, {DATA + 8: 0xFF}, set()), ("A2", "A2 08 00", {}, {}, {DATA + 8: 0xFE}, {"memory"}),
    ("0FBC", "0F BC C8", {"ecx": 0, "eflags": 0xFFFC_0893}, {}, {}, set()),  # ECX and all but ZF are undefined
])
def test_a_vector_of_the_386_is_compared_where_it_is_defined(
    tmp_path: Path, name: str, code: str, after: dict[str, int], defined: dict[str, int], written: dict[int, int],
    wrong: set[str],
) -> None:
    machine, read = RealMode(None), vector(tmp_path, code, after, defined, written)
    assert set(machine.differences(read, undefined(base(name), read, 31), 1)) == wrong
    machine.close()


def test_a_port_of_the_recorder_explains_what_was_read(tmp_path: Path) -> None:
    machine, read = RealMode(None), vector(tmp_path, "E5 22", {"eax": 0x1234_427F}, {}, {})
    assert machine.differences(read, 0, 1) and cause_386("E5", read, machine, {"ax"})
    machine.close()


def test_size_prefixes_are_no_part_of_an_opcode() -> None:
    assert [base(n) for n in ("66", "67660FBA.4", "6601", "67", "660F01.4")] == ["66", "0FBA.4", "01", "67", "0F01.4"]
