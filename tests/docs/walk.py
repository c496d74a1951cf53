"""A page of docs/ that walks through a change, and a copy of the project in which the change is made."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")


class Walk:
    """Blocks of Python begin with a comment that names their file, blocks of changes with its name."""

    def __init__(self, page: str) -> None:
        self.text = (ROOT / "docs" / page).read_text()

    def blocks(self, kind: str) -> list[str]:
        return re.findall(rf"^```{kind}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def files(self) -> dict[str, str]:
        """What is to be written, by name."""
        parted = [block.removeprefix("# ").partition("\n") for block in self.blocks("python")]
        return {name: text for name, _, text in parted}

    def put_files(self, copy: Path, *names: str) -> None:
        """All of them, or those that are named."""
        for name, text in self.files().items():
            if not names or name in names:
                assert not (ROOT / name).exists(), f"{name} is there already: the page needs another example"
                (copy / name).write_text(text)

    def change_files(self, copy: Path) -> None:
        """What is to be replaced must stand there once."""
        for block in self.blocks("diff"):
            name, _, body = block.removeprefix("--- ").partition("\n")
            text = (copy / name).read_text()
            for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", body, re.MULTILINE):
                was, now = (re.sub(r"^.", "", lines, flags=re.MULTILINE) for lines in (old, new))
                assert text.count(was) == 1, f"{name} does not have this once:\n{was}"
                text = text.replace(was, now)
            (copy / name).write_text(text)


def copied(made: Path, *rooms: str) -> Path:
    """A copy of these folders of the project."""
    for room in rooms:
        shutil.copytree(ROOT / room, made / room, ignore=LEFT_OUT)
    shutil.copy(ROOT / "pyproject.toml", made)
    return made


def run(copy: Path, *words: str, good: bool = True) -> str:
    """The output of Python with these arguments, in the copy and with a cache of its own."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "GUESTHOUSE_CACHE": str(copy / "cache")}
    done = subprocess.run([sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done.stdout


def shown(copy: Path, block: str, good: bool = True) -> None:
    """The command of a block says the lines that follow it."""
    command, *expected = block.splitlines()
    words = shlex.split(command.removeprefix("$ "))
    output = run(copy, *(words[1:] if words[0] == "python" else ["-m", *words]), good=good)
    assert [line for line in expected if line not in output] == [], output
