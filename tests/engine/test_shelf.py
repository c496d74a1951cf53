"""The file of compiled regions: whatever has become of it, nobody fails, and nothing that is not whole is used."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from guesthouse.engine.hot import shelf
from guesthouse.engine.hot.shelf import MAGIC, Part, Shelf
from tests.conftest import Popen

PARTS = [Part(f"region.{n}", ["library"] if n else [], 0, [(0x100 * n, 1, f"digest {n}"), (0x1000, 2, f"far {n}")],
              bytes([n]) * (100 + n)) for n in range(6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = Shelf(tmp_path / "a.regions")
    for part in PARTS:
        made.add(part)
    return tmp_path / "a.regions"


def whole(found: Shelf) -> dict[str, bytes]:
    return {name: data for name in found.parts if (data := found.code(name)) is not None}


def test_what_was_kept_is_found_by_others(path: Path) -> None:
    found = Shelf(path)
    assert whole(found) == {part.name: part.code for part in PARTS}
    assert found.by_block[0, "digest 3"] == ["region.3"] and (0x300, 1) in found.places
    assert (0, "far 3") not in found.by_block and found.parts["region.2"].needs == ["library"]


def test_a_truncated_file_has_what_stands_before_its_end(path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert whole(Shelf(path)).items() <= {part.name: part.code for part in PARTS}.items()
    path.write_bytes(data[:-1])
    Shelf(path).add(Part("more", [], 0, [], b"more"))
    assert list(whole(Shelf(path))) == [part.name for part in PARTS[:-1]] + ["more"]


def test_damage_anywhere_is_noticed(path: Path) -> None:
    data, chance = path.read_bytes(), random.Random(1)
    kept = {part.code for part in PARTS}
    for _ in range(2000):
        octets = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 5, 50))):
            octets[chance.randrange(len(octets))] = chance.choice((0, 0xFF, 0x5B, 0x39, chance.randrange(256)))
        path.write_bytes(octets)
        assert set(whole(Shelf(path)).values()) <= kept
    Shelf(path).add(Part("more", [], 0, [], b"more"))
    assert whole(Shelf(path))["more"] == b"more"


@pytest.mark.parametrize("foreign", [b"", b"guesthouse regions 0\n" + bytes(99), bytes(5000), MAGIC + b"\xff" * 99,
                                     MAGIC[:5]])
def test_a_foreign_file_is_empty_and_begun_anew(path: Path, foreign: bytes) -> None:
    path.write_bytes(foreign)
    found = Shelf(path)
    assert whole(found) == {}
    found.add(PARTS[1])
    assert whole(Shelf(path)) == {PARTS[1].name: PARTS[1].code}


@pytest.mark.parametrize("head", ["[]", "{}", "[" * 5000, '{"name": [], "needs": 1, "blocks": []}',
                                  '{"name": [], "needs": [[]], "blocks": [[1e999, 0, 0]]}',
                                  '{"name": "x", "needs": [], "blocks": [[-5, 1, {}]]}'])
def test_a_head_that_tells_something_else_harms_nobody(path: Path, head: str) -> None:
    octets = head.encode()
    entry = len(octets).to_bytes(4, "little") + bytes(4) + shelf.digest(octets) + octets
    path.write_bytes(MAGIC + entry)
    assert all(0 <= pc < 1 << 64 for part in Shelf(path).parts.values() for pc, _, _ in part.blocks)


def test_where_nothing_can_be_written_parts_are_kept_for_this_process_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "a.regions", tmp_path):
        found = Shelf(place)
        found.add(PARTS[0])
        assert whole(found) == {PARTS[0].name: PARTS[0].code} and found.path is None


def test_a_file_that_is_too_large_keeps_its_younger_half(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "LIMIT", path.stat().st_size - 1)
    Shelf(path).add(Part("more", [], 0, [], b"more"))
    assert list(whole(Shelf(path))) == ["region.3", "region.4", "region.5", "more"]
    assert not list(path.parent.glob("*.tmp"))


def test_what_two_processes_made_under_one_name_is_taken_from_one_of_them(path: Path) -> None:
    others = Shelf(path.with_name("b.regions"))
    others.add(Part("region.2", ["another"], 0, [(0x2000, 1, "digest 2")], b"other object"))
    path.write_bytes(path.read_bytes() + others.path.read_bytes()[len(MAGIC):])
    found = Shelf(path)
    assert (found.parts["region.2"].needs, found.code("region.2")) == (["library"], PARTS[2].code)


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path, popen: Popen) -> None:
    code = ("import sys; from pathlib import Path; from guesthouse.engine.hot.shelf import Part, Shelf\n"
            "made = Shelf(Path(sys.argv[1]))\n"
            "for n in range(60): made.add(Part(f'{sys.argv[2]}{n}', [], 0, [], bytes(3000)))")
    path = tmp_path / "a.regions"
    both = [popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(whole(Shelf(path))) == 120
