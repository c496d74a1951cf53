"""Functions, files and lines stay readable: tools/sizes.py holds the ceilings."""

from __future__ import annotations

import ast
from pathlib import Path

from tools import sizes


def test_the_house_stays_below_its_ceilings() -> None:
    assert sizes.complaints(sizes.ROOT) == []


def test_a_long_function_a_wide_line_and_a_long_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "guesthouse" / "big.py"
    file.parent.mkdir()
    file.write_text("def long():\n" + "    pass\n" * 60 + "#" * 121 + "\n" + "\n" * 800)
    function, length, line = sizes.complaints(tmp_path)
    assert function == "guesthouse/big.py:long: a function of 61 lines, at most 60"
    assert length.startswith("guesthouse/big.py: a file of 862 lines")
    assert line == "guesthouse/big.py:62: 121 columns, at most 120"


def test_every_file_opens_with_what_it_is() -> None:
    silent = [str(file) for file in sizes.sources(sizes.ROOT) if not file.is_relative_to(sizes.ROOT / "tests")
              if (text := file.read_text()).strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []
