from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, ROOT, environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_doctor_names_what_is_looked_at(run: Run) -> None:
    done = run("doctor")
    assert done.returncode == 0 and not done.stderr
    for word in ("guesthouse", "Python", "processor", "LLVM", "cache", "compiled code", "guests", "/dev/kvm"):
        assert word in done.stdout


def test_doctor_as_json_is_a_list_of_findings(run: Run) -> None:
    findings = json.loads(run("doctor", "--json").stdout)
    assert {"what", "found", "state", "do"} == set(findings[0])
    assert all(finding["do"] for finding in findings if finding["state"] == "missing")


def test_a_cache_that_cannot_be_written_is_missing_and_6(run: Run) -> None:
    done = run("doctor", GUESTHOUSE_CACHE="/proc/nowhere")
    assert done.returncode == 6 and "set GUESTHOUSE_CACHE" in done.stdout


def test_an_empty_cache_lists_nothing_and_says_what_to_do(run: Run) -> None:
    done = run("image", "list")
    assert done.returncode == 0 and not done.stdout and "image pull debian" in done.stderr
    assert json.loads(run("image", "list", "--json").stdout) == []


def test_no_network_is_told_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    done = run("image", "pull", "debian", GUESTHOUSE_MIRROR="http://127.0.0.1:9/debian")
    assert done.returncode == 1 and "cannot be reached" in done.stderr and "Check the network" in done.stderr
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.suffix != ".lock"] == []


def test_explain_shows_decoding_definition_and_code(run: Run) -> None:
    said = run("explain", "48", "01", "d8").stdout
    for word in ("add rax, rbx", "x86/integer.py:", "def add(", "define", "preserve_nonecc", "machine code"):
        assert word in said


def test_explain_takes_words_of_riscv(run: Run) -> None:
    assert "add a0, a1, a0" in run("explain", "--arch", "riscv64", "0x00a58533", "--no-ir", "--no-asm").stdout


def test_explain_as_json_has_an_object_for_each_instruction(run: Run) -> None:
    found = json.loads(run("explain", "90c3", "--no-ir", "--no-asm", "--json").stdout)
    assert [one["bytes"] for one in found] == ["90", "c3"]


def test_half_an_instruction_is_a_mistake(run: Run) -> None:
    done = run("explain", "48")
    assert done.returncode == 2 and "not a whole instruction" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: Run, shell: str) -> None:
    assert "_GUESTHOUSE_COMPLETE" in run("completion", shell).stdout


@pytest.mark.parametrize(("words", "offered"), [
    ("guesthouse ", {"run", "image", "doctor", "explain", "completion"}),
    ("guesthouse run deb", {"debian"}),
    ("guesthouse run debian --way ", {"plain", "threaded"}),
])
def test_completion_offers_commands_guests_and_values(tmp_path: Path, words: str, offered: set[str]) -> None:
    asked = {"_GUESTHOUSE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([*COMMAND], cwd=ROOT, env=os.environ | environment(tmp_path) | asked, capture_output=True,
                          text=True, timeout=60)
    assert offered <= {line.partition(",")[2] for line in done.stdout.splitlines()}
