"""What runs and times other programs, and README's table."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from bench import readme, suite, work
from bench.guest import timed
from bench.guest.build import compiled
from bench.guest.targets import AMD64, I386, Target
from bench.rows import OURS, THEIRS, Moment, Part, Row, Run


@pytest.mark.parametrize("target", [AMD64, I386], ids=lambda target: str(target.name))
def test_a_program_is_run_and_what_it_wrote_is_told_with_its_status(target: Target, tmp_path: Path) -> None:
    if not suite.on_this_host(target):
        pytest.skip("the host cannot run the guest's programs")
    (tmp_path / "timed").write_bytes(compiled(timed.program, target))
    (tmp_path / "timed").chmod(0o755)
    run = suite.told_by(["./timed", "echo", "output", "/bin/sh", "-c", "echo $WORD; exit 3"], tmp_path,
                        {"WORD": "here"})
    assert int(run.result, 16) == 3 << 40 | zlib.crc32(b"here\n")
    assert suite.told_by(["./timed", "none", "output", "/no/such/program"], tmp_path).result[:8] == f"{127 << 8:08x}"


def test_the_guests_first_process_runs_each_job_with_its_words_as_they_are(monkeypatch: pytest.MonkeyPatch,
                                                                          tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.setattr(work, "debian", lambda arch: (tmp_path / "file", tmp_path / "file"))
    made = work.setup(["python", "gzip"], {"usr/bin/xz": b"xz"}, AMD64, tmp_path, 1 << 20, "hot")
    script = made.initrd.read_bytes()
    assert b"export PYTHONHASHSEED=0\n./timed python output lib/ld.so --library-path lib usr/bin/python3.11" in script
    assert b"-c 'print('\"'\"'up'\"'\"')'\n./timed gzip" in script and b"usr/bin\0" in script and made.way == "hot"


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    row = Row("crc")
    row.add(OURS, Run(Moment(1, 1)))
    row.add(THEIRS, Run(Moment(3, 3)))
    file = tmp_path / "README.md"
    file.write_text(f"before\n{readme.BEGINS}old\n{readme.ENDS}after\n")
    machine = dict.fromkeys(("cpu", "cores", "kernel", "load", "python", "llvmlite"), 1) | {"qemu": "version 7.2"}
    readme.write({"amd64": [Part("integer", [row], 1.4, True)]}, machine, "hot", file)
    text = file.read_text()
    assert "| integer | 3.00 | 1.4 |" in text and "`crc` 3.00 on amd64" in text and "QEMU 7.2" in text
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text


def test_readme_has_the_marks() -> None:
    text = (readme.ROOT / "README.md").read_text()
    assert readme.BEGINS in text and readme.ENDS in text
