"""Replays docs/add-a-chip.md in a copy of the project: the chip, its tests, its fuzzer, its place on the board."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.walk import Walk, copied, run, shown

WALK = Walk("add-a-chip.md")
CHIP = "guesthouse/system/chips/gameport.py"
ROOMS = ("guesthouse", "tests/chips", "tests/fuzz/chips", "tests/system")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after the walk; on the way, the completeness test has failed as the page says."""
    made = copied(tmp_path_factory.mktemp("walk"), *ROOMS)
    WALK.put_files(made, CHIP)
    shown(made, WALK.blocks("console")[1], good=False)
    WALK.put_files(made)
    WALK.change_files(made)
    return made


def test_its_registers_are_what_it_says(copy: Path) -> None:
    shown(copy, WALK.blocks("console")[0])


@pytest.mark.parametrize("file", [name for name, text in WALK.files().items() if "def test_" in text])
def test_its_tests_pass(copy: Path, file: str) -> None:
    output = run(copy, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", file)
    assert " passed" in output and "skipped" not in output, output


def test_the_fuzzer_finds_nothing_in_it(copy: Path) -> None:
    output = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/fuzz/chips/test_chips.py",
                 "-k", "gameport or every_class")
    assert "2 passed" in output, output
