"""Our own ordinary code is strictly typed, and only modules with typed CPU code are excused from mypy."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parent.parent


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted((ROOT / "guesthouse").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = file
    return found


def excused(module: str) -> bool:
    """Whether pyproject.toml tells mypy to ignore this module: of two patterns, the longer one decides."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    told = [(len(pattern.rstrip("*.")), "*" not in pattern, rules["ignore_errors"])
            for rules in overrides if "ignore_errors" in rules
            for pattern in rules["module"] if fnmatchcase(module, pattern) or pattern == module + ".*"]
    return max(told)[2] if told else False




def test_mypy_has_nothing_to_say() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ordinary_rooms_are_never_excused() -> None:
    ordinary = tuple(f"guesthouse.{room}" for room in (
        "cli", "manager", "images", "errors", "bits", "clock", "trace", "typed", "engine.explain", "engine.vcpu",
        "system.chips", "system.boards", "system.firmware", "system.memory"))
    # What processors call themselves:
    typed_chips = {f"guesthouse.system.chips.{name}" for name in ("ide.registers", "lapic_service", "uart_sending",
                                                             "vga.memory")}
    assert {name for name in modules() if name.startswith(ordinary) and excused(name)} == typed_chips


def test_the_package_tells_others_that_it_is_typed() -> None:
    assert (ROOT / "guesthouse" / "py.typed").exists()
