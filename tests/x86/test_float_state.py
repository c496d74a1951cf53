"""FXSAVE, XSAVE and their kin: what they store, what they refuse, and that it comes back."""

from __future__ import annotations

import pytest

from guesthouse.bits import u64
from tests.x86.floats import Chance, FloatOurs
from tests.x86.host import DATA, Situation

AREA = DATA + 0x200


@pytest.fixture(scope="module")
def ours() -> FloatOurs:
    made = FloatOurs()
    made.cpu.cr4 = made.cpu.cr4 | u64(1 << 18)
    made.cpu.xcr0 = u64(3)
    return made


def run(
    ours: FloatOurs, code: str, fx: bytes, area: bytes = b"", components: int = 3, at: int = AREA
) -> tuple[Situation, bytes]:
    """The outcome and the area afterwards."""
    registers = [components, 0, 0, 0, 0, 0, at, 0] + [0] * 8
    before = Situation(registers, 0x202, bytes(256), fx)
    ours.prepare(bytes.fromhex(code), before, 64)
    ours.memory.write(AREA, area)
    ours.vcpu.run(1)
    return ours.outcome(before), ours.memory.read(AREA, 576)


IMAGE = Chance(1).image(True, True)


@pytest.mark.parametrize(
    "save, restore",
    [
        ("0F AE 06", "0F AE 0E"),
        ("48 0F AE 06", "48 0F AE 0E"),
        ("0F AE 26", "0F AE 2E"),
        ("0F AE 36", "0F AE 2E"),
        ("0F C7 26", "0F AE 2E"),
        ("48 0F C7 26", "48 0F AE 2E"),
    ],
)
def test_what_is_saved_comes_back(ours: FloatOurs, save: str, restore: str) -> None:
    _, area = run(ours, save, IMAGE)
    assert area[32:160] == IMAGE[32:160] and area[160:416] == IMAGE[160:416]
    after, _ = run(ours, restore, Chance(2).image(True, True), area)
    assert after.trap == -1
    assert after.fx[:5] == IMAGE[:5] and after.fx[24:28] == IMAGE[24:28] and after.fx[32:416] == IMAGE[32:416]


def test_components_that_are_not_there_become_initial(ours: FloatOurs) -> None:
    _, area = run(ours, "0F AE 26", IMAGE, bytes(576), components=2)
    assert area[512:520] == (2).to_bytes(8, "little")
    after, _ = run(ours, "0F AE 2E", IMAGE, area)
    assert after.fx[:5] == bytes.fromhex("7F 03 00 00 00") and after.fx[32:160] == bytes(128)
    assert after.fx[160:416] == IMAGE[160:416]


def test_a_header_that_names_unknown_components_is_refused(ours: FloatOurs) -> None:
    area = bytes(512) + (4).to_bytes(8, "little") + bytes(56)
    assert run(ours, "0F AE 2E", IMAGE, area)[0].trap == 13


def test_areas_must_be_aligned(ours: FloatOurs) -> None:
    assert run(ours, "0F AE 06", IMAGE, at=AREA + 8)[0].trap == 13
    assert run(ours, "0F AE 26", IMAGE, at=AREA + 16)[0].trap == 13


def test_xsave_is_undefined_until_the_system_enables_it(ours: FloatOurs) -> None:
    was = ours.cpu.cr4
    ours.cpu.cr4 = was & ~u64(1 << 18)
    assert run(ours, "0F AE 26", IMAGE)[0].trap == 6
    ours.cpu.cr4 = was
