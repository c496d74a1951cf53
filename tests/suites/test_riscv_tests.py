"""The official riscv-tests, built elsewhere: GUESTHOUSE_RISCV_TESTS names the folder with the ELF files.

Each file is a test in every way, on the virt board. The plain way leaves out the -v files but a few unless
GUESTHOUSE_SUITES_WHOLE is set: they run a page-fault handler of some ten thousand instructions before the
test proper. The hot way runs a file twice, for most of its code comes by once: the first time all blocks are looked at
and compiled.
"""

import os
import re
from pathlib import Path

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.hot import regions
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.engine.soft import SoftVcpu
from guesthouse.system.boards.board import PoweredOff
from guesthouse.system.boards.virt import RAM, VirtBoard
from guesthouse.system.cpu.riscv.guest import RISCV

VARIABLE = "GUESTHOUSE_RISCV_TESTS"
NAMES = re.compile(r"rv64(u(i|m|a|f|d|c|zba|zbb|zbs)-[pv]|mi-p|si-p|mzicbo-p|ssvnapot-p)-\w[\w-]*")
PLAIN_V = {"rv64ui-v-add", "rv64ua-v-lrsc", "rv64ud-v-fadd", "rv64uc-v-rvc"}
MOST = 5_000_000  # instructions
STEP = 300  # of those that are looked at for blocks to compile
SIZE, PAGE = 16 << 20, 4096

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

    return engine(RISCV, code_folder())


@pytest.fixture
def board():
    """A board with a processor that runs this machine code; the plain way without."""
    made = []

    def make(code=None):
        made.append(VirtBoard(SIZE, VirtualClock(), lambda memory: SoftVcpu(RISCV, code), random_bytes=bytes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("way", ["plain", "threaded"])
@pytest.mark.parametrize("path", built())
def test_passes(path, way, board, request):
    assert path.is_file(), f"{VARIABLE} is {path}, which has no rv64ui-p-add nor any other file of riscv-tests"
    whole = os.environ.get("GUESTHOUSE_SUITES_WHOLE")
    if way == "plain" and "-v-" in path.name and path.name not in PLAIN_V and not whole:
        pytest.skip("the plain way runs the -v files only with GUESTHOUSE_SUITES_WHOLE set")
    made = board(request.getfixturevalue("compiled") if way == "threaded" else None)
    made.load_elf(path)
    outcome = made.run(instructions=MOST)
    assert outcome == PoweredOff(0), verdict(outcome, made)


@pytest.mark.parametrize("path", built())
def test_passes_hot(path, board, compiled, monkeypatch):
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    made = board(compiled)
    made.load_elf(path)
    tohost, made.tohost, entry = made.tohost, None, int(made.state.pc)
    image = made.memory.read(RAM, SIZE)
    way = Regions(compiled, made.state, Inside(RISCV))
    for attempt in range(2):
        for _ in range(MOST // STEP):
            made.run(instructions=STEP)
            way.look()
            if status := int.from_bytes(made.memory.read(tohost, 8), "little"):
                break
        assert status == 1, verdict(PoweredOff(status >> 1) if status else "it ran on", made)
        while way.ready or way.wanted:
            way.look()
        put_back(made.memory, image)
        made.state.reset(entry, 0)
    assert way.installed


def put_back(memory, image):
    """Only what has changed: code that has not keeps its regions."""
    for at in range(0, SIZE, PAGE):
        if memory.read(RAM + at, PAGE) != image[at:at + PAGE]:
            memory.write(RAM + at, image[at:at + PAGE])


def verdict(outcome, board):
    """tohost is 2 * (number of the failing test) + 1; the -v environment reports 1337 for a trap it does not
    expect.
    """
    if isinstance(outcome, PoweredOff):
        return f"test {outcome.status} of this file failed (a3, gp: {int(board.state.x[3])})"
    return f"did not finish: {outcome}\n{board.report('riscv-tests')}"
