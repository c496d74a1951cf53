"""The compiler's process and its children: what is left of them when others have ended."""

import os
import signal
import time

import pytest

from guesthouse.engine.hot import workshop
from guesthouse.engine.hot.shelf import Part
from guesthouse.engine.hot.workshop import hear, in_a_child


@pytest.mark.parametrize("size", [10, 1 << 20])  # less and more than a pipe holds
def test_a_child_ends_although_nobody_hears_it(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "finished", lambda parts, text: [Part("region", [], 0, [], bytes(size))])
    child, told = in_a_child([], "")
    os.close(told)
    until = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.01)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
    assert ended[0], "it waits for somebody who reads"


def test_what_a_child_has_made_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    part, sent = Part("region", [], 0, [], bytes(1 << 20)), []
    monkeypatch.setattr(workshop, "finished", lambda parts, text: [part])
    job = workshop.Job("region", 0, [])
    hear(*in_a_child([], ""), job, lambda *what: sent.append(what))
    assert sent == [(job, [part])]
