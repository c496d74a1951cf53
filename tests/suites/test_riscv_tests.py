"""The official riscv-tests, built elsewhere: GUESTHOUSE_RISCV_TESTS names the folder with the ELF files.

Each file is a test in every way, on the virt board. The plain way leaves out the -v files but a few unless
GUESTHOUSE_SUITES_WHOLE is set: they run a page-fault handler of some ten thousand instructions before the
test proper.
"""

import os
import re
from pathlib import Path

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.system.boards.board import PoweredOff
from guesthouse.system.boards.virt import VirtBoard

VARIABLE = "GUESTHOUSE_RISCV_TESTS"
NAMES = re.compile(r"rv64(u(i|m|a|f|d|c|zba|zbb|zbs)-[pv]|mi-p|si-p|mzicbo-p|ssvnapot-p)-\w[\w-]*")
PLAIN_V = {"rv64ui-v-add", "rv64ua-v-lrsc", "rv64ud-v-fadd", "rv64uc-v-rvc"}
MOST = 5_000_000  # instructions

pytestmark = pytest.mark.suite


def built():
    folder = os.environ.get(VARIABLE)
    if not folder:
        return [pytest.param(None, marks=pytest.mark.skip(
            f"{VARIABLE} is not set: name a folder with the built ELF files of riscv-tests"))]
    found = sorted(p for p in Path(folder).iterdir() if NAMES.fullmatch(p.name))
    return [pytest.param(p, id=p.name) for p in found] or [pytest.param(Path(folder), id="nothing")]


@pytest.fixture(scope="session")
def compiled():
    from guesthouse.engine.build import engine
    from guesthouse.manager.building import code_folder
    from guesthouse.system.cpu.riscv.guest import RISCV

    return engine(RISCV, code_folder())


def vcpu_in(way, request):
    from guesthouse.engine.soft import SoftVcpu
    from guesthouse.system.cpu.riscv.guest import RISCV

    engine = request.getfixturevalue("compiled") if way == "threaded" else None
    return lambda memory: SoftVcpu(RISCV, engine)


@pytest.mark.parametrize("way", ["plain", "threaded"])
@pytest.mark.parametrize("path", built())
def test_passes(path, way, request):
    assert path.is_file(), f"{VARIABLE} is {path}, which has no rv64ui-p-add nor any other file of riscv-tests"
    whole = os.environ.get("GUESTHOUSE_SUITES_WHOLE")
    if way == "plain" and "-v-" in path.name and path.name not in PLAIN_V and not whole:
        pytest.skip("the plain way runs the -v files only with GUESTHOUSE_SUITES_WHOLE set")
    board = VirtBoard(16 << 20, VirtualClock(), vcpu_in(way, request), random_bytes=bytes)
    try:
        board.load_elf(path)
        outcome = board.run(instructions=MOST)
        assert outcome == PoweredOff(0), verdict(outcome, board)
    finally:
        board.close()


def verdict(outcome, board):
    """tohost is 2 * (number of the failing test) + 1; the -v environment reports 1337 for a trap it does not
    expect.
    """
    if isinstance(outcome, PoweredOff):
        return f"test {outcome.status} of this file failed (a3, gp: {int(board.state.x[3])})"
    return f"did not finish: {outcome}\n{board.report('riscv-tests')}"
