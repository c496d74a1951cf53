"""Viewers of others' making, over VNC, at live guests: keys, a pointer, and a screen that changes its size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import guesthouse as gh
from guesthouse.cli import watching
from tests.boots.conftest import GUESTS

pytestmark = [pytest.mark.boot, pytest.mark.slow]

PROMPT, PATIENCE = "A:\\>", 60.0
VNCDO = "from vncdotool.command import vncdo; vncdo()"
Seen = tuple[gh.Machine, Callable[..., None]]


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    """A machine with the floppy of this name at its prompt, and a viewer that does what it is told."""
    pytest.importorskip("vncdotool")
    image = GUESTS / request.param
    if not image.exists():
        pytest.skip(f"no guest: {image.name} is not among the images that GUESTHOUSE_GUESTS names")
    with gh.Machine.run(str(image), memory="16M", time="virtual") as machine:
        machine.screen.wait_for(PROMPT, PATIENCE)
        server = watching.serve(machine, "")

        def do(*orders: str) -> None:
            subprocess.run([sys.executable, "-c", VNCDO, "-s", f"{server.host}::{server.port}", *orders], check=True,
                           timeout=PATIENCE, capture_output=True)

        yield machine, do
        server.stop()


@pytest.mark.parametrize("seen", ["freedos722.img"], indirect=True)
def test_the_picture_follows_a_program_into_a_graphics_mode_and_back(seen: Seen, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    files = [str(tmp_path / f"{n}.png") for n in range(3)]
    _, do = seen
    # The demo looks at the keyboard's port once for each of its pictures: Esc has to be held, as people do.
    do("type", "demos\\dawn", "capture", files[0], "key", "enter", "pause", "3", "capture", files[1], "keydown", "esc",
       "pause", "1", "keyup", "esc", "pause", "2", "capture", files[2])
    pictures = [image.open(file).convert("RGB") for file in files]
    assert [picture.size for picture in pictures] == [(720, 400), (320, 200), (720, 400)]
    assert len(pictures[1].getcolors(1 << 16)) > 16


@pytest.mark.parametrize("seen", ["freedos-8086tiny.img"], indirect=True)
def test_the_viewers_pointer_moves_the_guests_and_opens_a_menu(seen: Seen) -> None:
    machine, do = seen
    machine.keyboard.type("ctmouse\nedit\n")
    machine.screen.wait_for("FreeDOS Edit", PATIENCE)
    do("move", "719", "399", "pause", "1", "move", "0", "0", "pause", "1", "move", "10", "0", "pause", "1", "click",
       "1")
    machine.screen.wait_for("Close    Alt+F4", PATIENCE)
