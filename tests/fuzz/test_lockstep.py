"""Whatever a guest does, the plain way and the threaded way do the same: state, memory and exits, at every
instruction.

GUESTHOUSE_RANDOM=n: n times as many worlds, from seed GUESTHOUSE_SEED on.
"""

from __future__ import annotations

import os
import time

import pytest

from guesthouse.engine.build import engine
from guesthouse.manager.building import code_folder
from guesthouse.engine.hot import regions
from tests.fuzz.lockstep import Life, Regional, Way, first_difference
from tests.fuzz.riscv_life import RiscvLife
from tests.fuzz.riscv_loops import RiscvLoops
from tests.fuzz.x86_life import X86Life
from tests.fuzz.x86_loops import SseLoops, X86Loops, X87Loops

TIMES = int(os.environ.get("GUESTHOUSE_RANDOM", "1"))
FIRST = int(os.environ.get("GUESTHOUSE_SEED", "0"))
STEPS = 40
LIVES = {"riscv": (RiscvLife, 30), "x86": (X86Life, 30)}


@pytest.mark.parametrize("name", LIVES)
def test_both_ways_agree_about_random_worlds(name: str) -> None:
    kind, worlds = LIVES[name]
    life: Life = kind()
    code = engine(life.guest, code_folder())
    compare(name, life, (Way(), Way(code)), worlds * TIMES, STEPS)


@pytest.mark.parametrize(("life", "worlds"), [(X86Loops, 6), (SseLoops, 4), (X87Loops, 4), (RiscvLoops, 4)])
def test_regions_agree_with_threaded_code_about_random_loops(
        life: type[Life], worlds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    code = engine(life.guest, code_folder())
    assert compare("loops", life(), (Way(code), Way(code, Regional(life.guest))), worlds * TIMES, 150) > 20


def compare(name: str, life: Life, ways: tuple[Way, Way], worlds: int, steps: int) -> int:
    """Run so many worlds in two ways; how many regions were put in."""
    compared, installed, start, wrong = 0, 0, time.monotonic(), []
    for seed in range(FIRST, FIRST + worlds):
        found, count, more = first_difference(life, seed, ways, steps)
        compared, installed = compared + count, installed + more
        if found:
            wrong.append(found)
            print(found, flush=True)
    print(f"{name}: {compared} instructions, {installed} regions in {time.monotonic() - start:.0f} s")
    assert not wrong
    return installed
