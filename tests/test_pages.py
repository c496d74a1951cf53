"""The documentation keeps what it promises: its links lead somewhere, its table of switches is the real one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guesthouse.trace import switch_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_the_table_of_switches_is_the_real_one() -> None:
    assert switch_page() in (ROOT / "docs" / "debugging.md").read_text()


def test_readme_has_the_two_commands_and_ci_runs_the_second() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/guesthouse run debian\n" in readme
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest\n" in readme
    assert "install --quiet --disable-pip-version-check -e '.[test]'" in ci


def test_examples_of_the_help_are_commands_that_exist() -> None:
    from guesthouse.cli.main import cli

    for page in PAGES:
        for command in re.findall(r"^\s*(?:\$ )?guesthouse (\w+)", page.read_text(), re.MULTILINE):
            assert command in cli.commands, f"{page.name}: guesthouse {command}"
