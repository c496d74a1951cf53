"""The coverage page is what its generator makes of the definitions as they are."""

from __future__ import annotations

from guesthouse.system.cpu.riscv.instructions import INSTRUCTIONS
from guesthouse.system.cpu.x86.disassemble import listing
from tools import coverage

SMALL = 100_000  # bytes that somebody may want to read through


def test_the_committed_page_is_what_the_generator_makes() -> None:
    assert coverage.PAGE.read_text() == coverage.page(), "run: python tools/coverage.py"


def test_every_instruction_has_its_line_and_the_page_stays_small() -> None:
    text = coverage.PAGE.read_text()
    lines = text.splitlines()
    assert len(text) < SMALL
    assert all(any(line.startswith(f"{i.name:<10} ") and i.pattern.text in line for line in lines)
               for i in INSTRUCTIONS)
    assert all(any(line.startswith(f"{one.name:<10} ") for line in lines) for one in listing())


def test_what_a_definition_cites_is_its_docstrings_beginning() -> None:
    def cited() -> None:
        """SDM 2A, BSF. Of zero the register is left alone."""

    assert (coverage.reference(cited), coverage.reference(lambda: None)) == ("SDM 2A, BSF", "")


def test_a_first_sentence_ends_where_the_next_begins() -> None:
    assert coverage.first_sentence("One of J. Doe's,\n1.5 wide (SDM 1, 2.3).\n\nTwo.") == (
        "One of J. Doe's, 1.5 wide (SDM 1, 2.3).")
    assert coverage.first_sentence(None) == ""
