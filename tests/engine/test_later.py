"""The file of what runs wanted compiled: it is bounded, and what is not whole is not made."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from guesthouse.engine.hot import later
from guesthouse.engine.hot.job import Job
from guesthouse.engine.hot.later import Later


def jobs(*numbers: int) -> list[Job]:
    return [Job(f"region.{n}", (1 << 64) - n, [(n, 2, [bytes(range(n, n + 64)), b""], True, 0x1234),
                                              ((1 << 64) - 0x1000, 1, [b"\n \r"], False, 7)], [0, 1],
                [[(n, 3), (5, 1)], []]) for n in numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.later"


def test_what_was_kept_is_found_in_its_order(path: Path) -> None:
    Later(path).keep(jobs(3, 1, 2), ())
    assert Later(path).jobs() == jobs(3, 1, 2)


def test_jobs_of_this_run_come_before_those_of_earlier_ones_that_are_not_made(path: Path) -> None:
    Later(path).keep(jobs(1, 2, 3, 4), ())
    Later(path).keep(jobs(5, 3, 6), {"region.2", "region.6"})
    assert Later(path).jobs() == jobs(5, 3, 1, 4)
    Later(path).keep([], {f"region.{n}" for n in range(9)})
    assert Later(path).jobs() == [] and not path.exists()


def test_there_are_never_more_than_so_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "MOST", 4)
    Later(path).keep(jobs(*range(3)), ())
    Later(path).keep(jobs(*range(10, 13)), ())
    assert Later(path).jobs() == jobs(10, 11, 12, 0)


def test_damage_anywhere_is_noticed(path: Path) -> None:
    Later(path).keep(jobs(*range(5)), ())
    data, chance, kept = path.read_bytes(), random.Random(1), jobs(*range(5))
    for turn in range(2000):
        octets = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 5, 50))):
            octets[chance.randrange(len(octets))] = chance.choice((0, 10, 32, 0x5B, 0x39, chance.randrange(256)))
        path.write_bytes(octets[:turn * len(octets) // 1000])
        assert all(job in kept for job in Later(path).jobs())


@pytest.mark.parametrize("foreign", [b"", b"\n\n", b"\xff" * 100, b"0 region.1 []\n"])
def test_a_foreign_file_is_none(path: Path, foreign: bytes) -> None:
    path.write_bytes(foreign)
    assert Later(path).jobs() == []
    Later(path).keep(jobs(1), ())
    assert Later(path).jobs() == jobs(1)


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    for nowhere in (tmp_path / "no" / "a.later", None):
        Later(nowhere).keep(jobs(1), ())
        assert Later(nowhere).jobs() == []
