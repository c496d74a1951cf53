"""SingleStepTests, got elsewhere: GUESTHOUSE_SINGLE_STEP_TESTS names a folder in which there are the repositories 8086,
8088, 80286 or 80386 (real mode), as they come.

Each file is a test, of all its vectors in the threaded way, of a few in the plain way and, where a HLT stands behind
the instruction, in the hot way. A vector may differ only for a
cause that undefined.py names; the causes and how often they were met are printed with the test's result.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from guesthouse.engine.build import Engine
from guesthouse.manager.building import code_folder
from tests.suites.real_mode import RealMode
from tests.suites.undefined import cause_286, cause_386, cause_8086, undefined
from tests.suites.vectors import vectors
from tests.x86.ours import compiled

VARIABLE = "GUESTHOUSE_SINGLE_STEP_TESTS"
PROCESSORS = ("8086", "8088", "80286", "80386")
ENDINGS = (".json.gz", ".json", ".MOO.gz", ".MOO")
FOLDERS = {"8086": "v1", "8088": "v2", "80286": "v1_real_mode", "80386": "v1_ex_real_mode"}
FEW = 20  # vectors of each file

pytestmark = pytest.mark.suite


def files() -> list[object]:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return [pytest.param("", Path(), marks=pytest.mark.skip(
            f"{VARIABLE} is not set: name a folder with SingleStepTests' repositories {', '.join(PROCESSORS)}"))]
    found = [(p, path) for p in PROCESSORS for path in sorted((Path(folder) / p / FOLDERS[p]).glob("*"))
             if path.name.endswith(ENDINGS) and not path.name.startswith("metadata")]
    assert found, f"{VARIABLE} is {folder}, which has none of {', '.join(map('/'.join, FOLDERS.items()))} in it"
    return [pytest.param(p, path, id=f"{p}-{opcode(path)}") for p, path in found]


def opcode(path: Path) -> str:
    return path.name[:-len(next(e for e in ENDINGS if path.name.endswith(e)))]


def base(name: str) -> str:
    """The opcode and extension without the size prefixes that stand in the names of the 386's files."""
    while name[:2] in ("66", "67") and len(name.partition(".")[0]) > 2:
        name = name[2:]
    return name


def revoked(path: Path) -> set[str]:
    """The hashes of vectors that their author has taken back."""
    listed = path.parent.parent / "revocation_list.txt"
    return set(listed.read_text().split("\n")) if listed.exists() else set()


@pytest.fixture(scope="module")
def machines() -> Iterator[dict[tuple[str, bool], RealMode]]:
    made: dict[tuple[str, bool], RealMode] = {}
    yield made
    for machine in made.values():
        machine.close()


def machine(machines: dict[tuple[str, bool], RealMode], way: str, wraps: bool) -> RealMode:
    if (way, wraps) not in machines:
        code: Engine | None = None if way == "plain" else compiled(code_folder())
        machines[way, wraps] = RealMode(code, wraps, way == "hot")
    return machines[way, wraps]


@pytest.mark.parametrize("way", ["plain", "threaded", "hot"])
@pytest.mark.parametrize("processor, path", files())
def test_does_what_the_processor_did(
    processor: str, path: Path, way: str, machines: dict[tuple[str, bool], RealMode],
) -> None:
    old, name = processor.startswith("808"), base(opcode(path))
    if way == "hot" and old:
        pytest.skip("no HLT stands behind the instruction")
    ours, taken_back = machine(machines, way, old), revoked(path)
    why = {"80286": cause_286, "80386": cause_386}.get(processor, cause_8086)
    causes: collections.Counter[str] = collections.Counter()
    for vector in islice(vectors(path), None if way == "threaded" else FEW):
        found = ours.differences(vector, undefined(name, vector, 0xFF if old else 31), halted=not old)
        if not found or vector.hash in taken_back:
            continue
        cause = why(name, vector, ours, set(found))
        assert cause, f"{vector.name} ({vector.code.hex(' ')}), trap {ours.trapped}, {vector.trap} wanted: {found}"
        causes[cause] += 1
    for cause, times in causes.items():
        print(f"{processor} {name}: {times} times, {cause}")
