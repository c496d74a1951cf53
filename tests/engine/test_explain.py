"""Explaining bytes: a toy guest for what the engine does, then both real ones as `guesthouse explain` shows them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from guesthouse.cli.explain import explain as command
from guesthouse.engine.explain import explain, function_in_assembly
from guesthouse.errors import UserError
from guesthouse.manager import explaining
from tests.engine.toy import ADD, ADD_IMMEDIATE, TOY, code


def test_bytes_become_instructions_with_their_operands_and_handlers() -> None:
    first, second = explain(TOY, code((ADD_IMMEDIATE, 1, 2, -3), (ADD, 4, 5, 0)), 0x1000).instructions
    assert (first.at, first.bytes, second.at) == (0x1000, bytes([0, 1, 2, 0xFD]), 0x1004)
    assert first.operands == {"a": 1, "b": 2, "immediate": -3}
    assert [(m.name, m.number) for m in second.meanings] == [("add", ADD)]


def test_without_a_disassembler_the_text_is_the_handlers_name_else_what_it_says() -> None:
    assert explain(TOY, code((ADD, 0, 0, 0))).instructions[0].text == "add"
    said = explain(TOY, code((ADD, 0, 0, 0)), 8, disassemble=lambda text, at: f"{text.hex()} at {at}")
    assert said.instructions[0].text == "01000000 at 8"


def test_a_definition_is_found_at_its_line() -> None:
    meaning = explain(TOY, code((ADD, 0, 0, 0))).instructions[0].meanings[0]
    assert meaning.source.startswith("def add(")
    assert meaning.file.endswith("tests/engine/toy.py")
    with open(meaning.file) as file:
        assert file.readlines()[meaning.line - 1].startswith("def add(")


def test_an_instruction_that_is_cut_off_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="not a whole instruction: it has 4 bytes"):
        explain(TOY, code((ADD, 0, 0, 0))[:3])


def test_the_compilers_work_is_shown_before_and_after() -> None:
    made = explain(TOY, code((ADD, 0, 0, 0))).instructions[0].meanings[0].compiled
    assert made.ir.startswith("define") and made.optimised.startswith("define")
    assert "add i64" in made.ir and made.ir.count("\n") >= made.optimised.count("\n")
    assert f"h{ADD}:" in made.machine_code and "cfi" not in made.machine_code


def test_labels_stay_and_directives_go() -> None:
    text = "\t.p2align 4\nh1:\n\t.cfi_startproc\n\tjne .LBB0_1 # why\n.LBB0_1:\n\tretq\n.Lfunc_end0:\n\tother\n"
    assert function_in_assembly(text, "h1") == "h1:\n\tjne .LBB0_1\n.LBB0_1:\n\tretq"


@pytest.mark.parametrize("arch, given, text, file", [
    ("amd64", "4801d8", "add rax, rbx", "system/cpu/x86/integer.py"),
    ("amd64", "0f8400010000", "je 0x1106", "system/cpu/x86/branches.py"),
    ("riscv64", "3385a500", "add a0, a1, a0", "system/cpu/riscv/integer.py"),
    ("riscv64", "0145", "c.li a0, 0", "system/cpu/riscv/integer.py"),
])
def test_both_instruction_sets_are_explained(arch: str, given: str, text: str, file: str) -> None:
    one, = explaining.explain(bytes.fromhex(given), arch, 0x1000).instructions
    assert (one.text, one.meanings[-1].file) == (text, f"guesthouse/{file}")
    assert f"h{one.meanings[-1].number}:" in one.meanings[-1].compiled.machine_code


def test_two_records_are_two_meanings() -> None:
    one, = explaining.explain(bytes.fromhex("67 48 03 04 cb"), "amd64").instructions
    assert [m.name for m in one.meanings][-1] == "add r64, m64" and len(one.meanings) == 2


def test_the_command_shows_all_of_it_or_what_is_wanted() -> None:
    shown = CliRunner().invoke(command, ["4801d8", "c3", "--no-ir", "--no-asm"])
    assert shown.exit_code == 0, shown.output
    assert "add rax, rbx" in shown.output and "SDM 2B, RET" in shown.output and "machine code" not in shown.output
    found, = json.loads(CliRunner().invoke(command, ["--arch", "riscv64", "0x00a58533", "--json"]).stdout)
    assert found["text"] == "add a0, a1, a0" and "riscv/integer.py:" in found["handlers"][0]["defined"]
    assert {"ir", "optimised_ir", "machine_code"} <= found.keys()
