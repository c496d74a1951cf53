"""Memory that is touched ahead of use: how far, how often, and that nothing there changes."""

import threading
from queue import SimpleQueue

import pytest

from guesthouse.engine import room
from guesthouse.engine.room import AHEAD, LARGE_PAGE, SMALL, Room


class AtOnce:
    """Wishes that have come true when they have been put."""

    @staticmethod
    def put(wish: room.Wish) -> None:
        room.touch_all(*wish)


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> tuple[Room, list[int]]:
    monkeypatch.setattr(room, "wishes", AtOnce)
    places: list[int] = []
    return Room(places.append), places


def test_each_large_page_is_touched_once_and_in_time(touched: tuple[Room, list[int]]) -> None:
    it, places = touched
    for filled in range(it.start, it.end + 1, LARGE_PAGE // 4):
        it.reach(filled)
        assert filled - it.start <= SMALL or places[-1] >= min(filled + AHEAD // 2, it.end) - LARGE_PAGE
        assert not places or places[-1] <= filled + AHEAD
    assert len(places) == len(set(places)) and it.start <= min(places) and max(places) < it.end
    assert {at & -LARGE_PAGE for at in places} == {at & -LARGE_PAGE for at in range(it.start, it.end, LARGE_PAGE)}


def test_what_is_used_little_is_left_alone(touched: tuple[Room, list[int]]) -> None:
    it, places = touched
    it.reach(it.start + SMALL)
    assert not places


def test_a_host_without_threads_left_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    room.wishes.cache_clear()
    it = Room(print)
    it.reach(it.start + 2 * SMALL)


def test_one_thread_serves_all_rooms() -> None:
    before = threading.active_count()
    for _ in range(3):
        places: SimpleQueue[int] = SimpleQueue()
        it = Room(places.put)
        it.reach(it.start + 2 * SMALL)
        assert it.start <= places.get(timeout=60) < it.end
    assert threading.active_count() <= before + 1
