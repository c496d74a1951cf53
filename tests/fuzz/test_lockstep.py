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
from tests.fuzz.lockstep import Life, first_difference
from tests.fuzz.riscv_life import RiscvLife
from tests.fuzz.x86_life import X86Life

TIMES = int(os.environ.get("GUESTHOUSE_RANDOM", "1"))
FIRST = int(os.environ.get("GUESTHOUSE_SEED", "0"))
STEPS = 40
LIVES = {"riscv": (RiscvLife, 30), "x86": (X86Life, 30)}


@pytest.mark.parametrize("name", LIVES)
def test_both_ways_agree_about_random_worlds(name: str) -> None:
    kind, worlds = LIVES[name]
    life: Life = kind()
    code = engine(life.guest, code_folder())
    compared, start, wrong = 0, time.monotonic(), []
    for seed in range(FIRST, FIRST + worlds * TIMES):
        found, count = first_difference(life, seed, code, STEPS)
        compared += count
        if found:
            wrong.append(found)
            print(found, flush=True)
    print(f"{name}: {compared} instructions in {time.monotonic() - start:.0f} s")
    assert not wrong
