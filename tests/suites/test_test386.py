"""test386 (barotto/test386.asm), built elsewhere: GUESTHOUSE_TEST386 names its folder, with test386.bin in it.

It is made with `make` after src/configuration.asm has got OUT_PORT equ 0xE9; ROM128 may be 0 or 1. The image is the
PC's firmware: it shows at port 190h how far it is, and what it computes at port E9h, which must be the reference that
comes with it.
"""

import os
from pathlib import Path

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.system.boards.classic import ClassicPc
from tests.suites.ways import WAYS, processor_in

VARIABLE, POST, DONE = "GUESTHOUSE_TEST386", 0x190, 0xFF
MOST = 400_000_000  # instructions
FOLDER = os.environ.get(VARIABLE)
CODES = [*range(7), 8, 9, 0x20, 0x21, 0x22, *range(0x0B, 0x1D), 0xE0, 0xEE, DONE]

pytestmark = [pytest.mark.suite, pytest.mark.skipif(
    not FOLDER, reason=f"{VARIABLE} is not set: name a folder with test386.bin, built with OUT_PORT 0xE9")]


@pytest.mark.parametrize("way", WAYS)
def test_every_test_passes_and_computes_what_the_reference_says(way):
    folder = Path(str(FOLDER))
    board = ClassicPc(16 << 20, VirtualClock(), processor_in(way), firmware=(folder / "test386.bin").read_bytes())
    codes, told = [], bytearray()
    place = board.ports.find(0xE9)
    place.write = lambda offset, size, value: told.append(value & 0xFF)

    def post(offset, size, value):
        codes.append(value)
        if value == DONE:
            board.stop()

    board.ports.add(POST, 1, lambda offset, size: 0xFF, post, "post codes")
    try:
        board.run(instructions=MOST)
        assert codes == CODES, board.report(f"it stopped in test {codes[-1]:02X}h")
        assert bytes(told) == (folder / "test386-EE-reference.txt").read_bytes()
    finally:
        board.close()
