"""Two machines side by side, hot and threaded (manager/checking.py): alike, and told apart by one wrong region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guesthouse.bits import u64
from guesthouse.engine.hot import compiler, regions
from guesthouse.engine.hot.workshop import Inside, Workshop
from guesthouse.errors import UserError
from guesthouse.manager import building, checking
from guesthouse.manager.config import config
from guesthouse.system.boards.outcome import Died
from guesthouse.system.cpu.x86.guest import X86_GUEST

# xor ax, ax; mov ds, ax; mov ecx, 1000000; next: add ax, 3; mov [600h], ax; dec ecx; jnz next; cli; hlt
SECTOR = bytes.fromhex("31c0 8ed8 66b940420f00 83c003 a30006 6649 75f6 fa f4")


class Later(Inside):
    """Compiles when it is asked: before that nothing is on the shelf either, as with the process."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent: list[Any] = []

    def send(self, job: Any, inbox: Any) -> None:
        self.sent.append((job, inbox))

    def hear(self) -> None:
        while self.sent:
            super().send(*self.sent.pop())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    floppy = tmp_path / "loop.img"
    floppy.write_bytes(SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1_474_560 - 512))
    monkeypatch.setattr(checking, "SLICE", 1 << 20)
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    monkeypatch.setattr(compiler, "compiler_of", lambda engine: Later(X86_GUEST))
    return config("test", str(floppy), memory="16M")


def test_a_guest_runs_alike_in_both_ways_until_it_ends(small: Any) -> None:
    verdict = checking.check(small, "", 300, building.silent, lambda data: None)
    assert verdict.differences == [] and isinstance(verdict.outcome, Died) and verdict.instructions > 4_000_000


def test_a_wrong_region_is_told_by_the_first_instructions_after_which_it_shows(
    small: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, read, homes = Workshop.make, Workshop.read, []

    def noted(self: Workshop, job: Any) -> Any:
        homes.append(job.home)
        return make(self, job)

    def planted(self: Workshop, block: Any) -> Any:
        made = read(self, block)
        for instruction in made.instructions:
            if instruction.handler.op.name == "add" and 0x7C00 <= homes[-1] + made.at < 0x7E00:
                instruction.record.imm = u64(4)
        return made

    monkeypatch.setattr(Workshop, "make", noted)
    monkeypatch.setattr(Workshop, "read", planted)
    verdict = checking.check(small, "", 300, building.silent, lambda data: None)
    told = "\n".join(verdict.differences)
    assert "instructions they agree" in told and "RAM at 0x0+0x600" in told and "processor 0: r+0x0" in told
    assert "jne 0x7c0a" in told


def test_what_is_not_the_hot_way_cannot_be_checked() -> None:
    with pytest.raises(UserError, match="--check is for the hot way"):
        checking.check(config("test", way="plain"), "", None, building.silent, print)
