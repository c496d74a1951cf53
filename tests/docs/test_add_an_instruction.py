"""Replays docs/add-an-instruction.md in a copy of the package: its files, its changes, its commands and its tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "add-an-instruction.md"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def put_files(copy: Path) -> None:
    """A block of Python begins with a comment that names its file."""
    for block in blocks("python"):
        name, _, text = block.removeprefix("# ").partition("\n")
        assert not (ROOT / name).exists(), f"{name} is there already: the page needs another example"
        (copy / name).write_text(text)


def change_files(copy: Path) -> None:
    """A block of changes names its file; what is to be replaced must stand there once."""
    for block in blocks("diff"):
        name, _, body = block.removeprefix("--- ").partition("\n")
        text = (copy / name).read_text()
        for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", body, re.MULTILINE):
            was, now = (re.sub(r"^.", "", lines, flags=re.MULTILINE) for lines in (old, new))
            assert text.count(was) == 1, f"{name} does not have this once:\n{was}"
            text = text.replace(was, now)
        (copy / name).write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package after the walk. Its x86 guest keeps only the new instruction, so that it is compiled in seconds."""
    made = tmp_path_factory.mktemp("walk")
    for room in ("guesthouse", "tests/riscv", "tests/x86"):
        shutil.copytree(ROOT / room, made / room, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", made)
    put_files(made)
    change_files(made)
    guest = made / "guesthouse/system/cpu/x86/guest.py"
    guest.write_text(re.sub(r"^MODULES = \([^)]*\)", "MODULES = (direct,)", guest.read_text(), flags=re.MULTILINE))
    return made


def run(copy: Path, *words: str) -> str:
    """The output of Python with these arguments, in the copy and with a cache of its own."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "GUESTHOUSE_CACHE": str(copy / "cache")}
    done = subprocess.run([sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_shows_both_instruction_sets() -> None:
    assert len(blocks("python")) == 4 and len(blocks("diff")) == 3 and len(blocks("console")) == 2


@pytest.mark.parametrize("block", blocks("console"))
def test_its_commands_say_what_it_says(copy: Path, block: str) -> None:
    command, *expected = block.splitlines()
    shown = run(copy, "-m", *command.removeprefix("$ ").split())
    assert [line for line in expected if line not in shown] == [], shown


@pytest.mark.parametrize("file", [block.partition("\n")[0][2:] for block in blocks("python") if "def test_" in block])
def test_its_tests_pass_in_both_ways(copy: Path, file: str) -> None:
    shown = run(copy, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", file)
    assert " passed" in shown and "skipped" not in shown, shown
    guest = "riscv" if "riscv" in file else "x86"
    assert list((copy / "cache" / "code").glob(f"{guest}-*.code")), "nothing was compiled"


def test_the_device_tree_names_the_extension(copy: Path) -> None:
    assert "zicond" in run(copy, "-c", "from guesthouse.system.boards.virt import EXTENSIONS; print(EXTENSIONS)")
