"""Sizes of functions, files and lines: prints the largest, and fails above the ceilings.

Run as `python tools/sizes.py`; the suite runs it too. A function that must be longer has a line in ALLOWED, which
says why.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FUNCTION, FILE, COLUMNS = 60, 800, 120
ROOMS = {"guesthouse/typed": 3000, "guesthouse/engine": 8150, "guesthouse/engine/hot": 3370}
ALLOWED: dict[str, str] = {}  # "path:function": why it is longer than FUNCTION


def sources(root: Path) -> list[Path]:
    return [file for room in ("guesthouse", "tests", "tools", "bench")
            for file in sorted((root / room).rglob("*.py"))]


def functions(file: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file with its lines; a function inside another counts in both."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def measure(root: Path) -> tuple[list[tuple[int, str]], list[tuple[int, str]], list[tuple[int, str]]]:
    """Functions, files and rooms with their sizes, largest first, and the lines that are too wide."""
    spans, lengths = [], []
    for file in sources(root):
        name = str(file.relative_to(root))
        lengths.append((len(file.read_text().splitlines()), name))
        spans += [(lines, f"{name}:{function}") for function, lines in functions(file)]
    rooms = [(sum(n for n, name in lengths if name.startswith(room + "/")), room) for room in ROOMS]
    return sorted(spans, reverse=True), sorted(lengths, reverse=True), rooms


def too_wide(root: Path) -> list[str]:
    return [f"{file.relative_to(root)}:{number}: {len(line)} columns, at most {COLUMNS}"
            for file in sources(root)
            for number, line in enumerate(file.read_text().splitlines(), 1) if len(line) > COLUMNS]


def complaints(root: Path) -> list[str]:
    spans, lengths, rooms = measure(root)
    found = [f"{where}: a function of {n} lines, at most {FUNCTION}" for n, where in spans
             if n > FUNCTION and where not in ALLOWED]
    found += [f"{where}: a file of {n} lines, at most {FILE}" for n, where in lengths if n > FILE]
    found += [f"{room}: {n} lines, at most {ROOMS[room]}" for n, room in rooms if n > ROOMS[room]]
    known = {where for _, where in spans}
    found += [f"{where}: allowed to be long, but there is no such function"
              for where in ALLOWED if where not in known]
    return found + too_wide(root)


def main() -> int:
    spans, lengths, rooms = measure(ROOT)
    for title, rows in (("functions", spans), ("files", lengths), ("rooms", rooms)):
        print(f"largest {title}:")
        for n, where in rows[:10]:
            print(f"  {n:5} {where}")
    wrong = complaints(ROOT)
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
