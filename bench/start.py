"""What it costs to start: imports, help, loading the engines from the cache, compiling them from nothing."""

from __future__ import annotations

import sys
import tempfile

from bench import sides

LOAD = """import sys, time
a = time.perf_counter()
from guesthouse.engine.build import engine
from guesthouse.manager.building import code_folder, instruction_set
kind = instruction_set(sys.argv[1])
b = time.perf_counter()
engine(kind, code_folder())
print(b - a, time.perf_counter() - b)"""
COMMANDS = {"python -c pass": ["-c", "pass"], "import guesthouse": ["-c", "import guesthouse"],
            "guesthouse --help": ["-m", "guesthouse", "--help"]}
ARCHITECTURES = ("amd64", "riscv64")


def starting(rounds: int) -> dict[str, list[float]]:
    """Seconds until guesthouse is there."""
    costs = {f"{name}, s": [sides.spent([sys.executable, *words])[0].wall for _ in range(3 * rounds)]
             for name, words in COMMANDS.items()}
    for arch in ARCHITECTURES:
        load = [sys.executable, "-c", LOAD, arch]
        sides.spent(load)  # the first may have to compile it
        both = [tuple(map(float, sides.spent(load)[1].split())) for _ in range(rounds)]
        costs[f"{arch}: importing the definitions, s"] = [one[0] for one in both]
        costs[f"{arch}: loading the engine from the cache, s"] = [one[1] for one in both]
    return costs


def compiling() -> dict[str, list[float]]:
    """Seconds until the engines are there, where no cache is."""
    costs = {}
    for arch in ARCHITECTURES:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            took = sides.spent([sys.executable, "-c", LOAD, arch], {"GUESTHOUSE_CACHE": folder})[0]
        costs[f"{arch}: compiling the engine, s"] = [took.wall]
        costs[f"{arch}: compiling the engine, CPU s"] = [took.cpu]
    return costs
