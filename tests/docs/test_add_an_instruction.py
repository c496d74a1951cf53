"""Replays docs/add-an-instruction.md in a copy of the package: its files, its changes, its commands and its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.walk import Walk, copied, run, shown

WALK = Walk("add-an-instruction.md")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package after the walk. Its x86 guest keeps only the new instruction, so that it is compiled in seconds."""
    made = copied(tmp_path_factory.mktemp("walk"), "guesthouse", "tests/riscv", "tests/x86")
    WALK.put_files(made)
    WALK.change_files(made)
    guest = made / "guesthouse/system/cpu/x86/guest.py"
    guest.write_text(re.sub(r"^MODULES = \([^)]*\)", "MODULES = (direct,)", guest.read_text(), flags=re.MULTILINE))
    return made


def test_the_page_shows_both_instruction_sets() -> None:
    assert len(WALK.files()) == 4 and len(WALK.blocks("diff")) == 3 and len(WALK.blocks("console")) == 2


@pytest.mark.parametrize("block", WALK.blocks("console"))
def test_its_commands_say_what_it_says(copy: Path, block: str) -> None:
    shown(copy, block)


@pytest.mark.parametrize("file", [name for name, text in WALK.files().items() if "def test_" in text])
def test_its_tests_pass_in_both_ways(copy: Path, file: str) -> None:
    output = run(copy, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", file)
    assert " passed" in output and "skipped" not in output, output
    guest = "riscv" if "riscv" in file else "x86"
    assert list((copy / "cache" / "code").glob(f"{guest}-*.code")), "nothing was compiled"


def test_the_device_tree_names_the_extension(copy: Path) -> None:
    assert "zicond" in run(copy, "-c", "from guesthouse.system.boards.virt import EXTENSIONS; print(EXTENSIONS)")
