"""The cache of compiled engines: found again, and never trusted blindly."""

import dataclasses
import sys
from pathlib import Path

import pytest

from guesthouse.engine import build
from guesthouse.errors import HouseBug, UserError
from tests.engine.toy import TOY, Machine, code

HALT = code((5, 0, 0, 0))


@pytest.fixture
def kept(tmp_path):
    build.engine(TOY, tmp_path, jobs=2)
    return next(tmp_path.glob("toy-*.code"))


def rebuilt(kept):
    seen = []
    made = build.engine(TOY, kept.parent, lambda done, of: seen.append(done), jobs=2)
    assert type(Machine(made, HALT).vcpu.run(5)).__name__ == "Halted"
    return kept.stat().st_ino


def test_a_second_start_compiles_nothing(kept):
    before = kept.stat().st_ino
    assert rebuilt(kept) == before


def test_a_start_from_the_cache_makes_no_definitions(kept):
    def define():
        raise AssertionError

    made = build.engine(dataclasses.replace(TOY, define=define), kept.parent)
    assert type(Machine(made, HALT).vcpu.run(5)).__name__ == "Halted"


@pytest.mark.parametrize("damage", [
    lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:100] + b"\xFF" + data[101:],
    lambda data: b"another version 9\n" + data[18:], lambda data: data + b"x", lambda data: data[:-1] + b"\x77",
])
def test_a_damaged_file_is_noticed_and_built_anew(kept, damage):
    before = kept.read_bytes()
    kept.write_bytes(damage(before))
    rebuilt(kept)
    assert build.read(kept) is not None


def test_a_change_of_source_is_another_key(monkeypatch):
    before = build.key(TOY)
    monkeypatch.setattr(build, "identity", lambda: "another LLVM")
    assert build.key(TOY) != before


def test_two_processes_at_once_leave_one_whole_file(tmp_path, popen):
    text = ("import sys; from pathlib import Path; from guesthouse.engine import build;"
            "from tests.engine.toy import TOY; build.engine(TOY, Path(sys.argv[1]), jobs=1)")
    runs = [popen([sys.executable, "-c", text, str(tmp_path)], cwd=Path(__file__).parents[2])
            for _ in range(3)]
    assert [r.wait(60) for r in runs] == [0, 0, 0]
    assert len(list(tmp_path.glob("*.code"))) == 1 and not list(tmp_path.glob("*.tmp"))


def test_a_cache_that_cannot_be_written_does_not_stop_us(tmp_path):
    (tmp_path / "file").write_text("")
    made = build.engine(TOY, tmp_path / "file" / "sub", jobs=1)
    assert type(Machine(made, HALT).vcpu.run(5)).__name__ == "Halted"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write", full)
    with pytest.raises(UserError, match="No space left"):
        build.engine(TOY, tmp_path, jobs=1)
    assert not list(tmp_path.glob("*.code")) and not list(tmp_path.glob("*.tmp"))


def test_a_compiler_that_fails_is_a_bug_of_ours(tmp_path, capfd):
    broken = build.Guest("broken", TOY.state, TOY.record, TOY.define, (), "tests.engine.toy:NOTHING")
    with pytest.raises(HouseBug):
        build.engine(broken, tmp_path, jobs=1)
