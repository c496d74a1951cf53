"""Viewers of others' making, over VNC, at live guests: keys, a pointer, and a screen that changes its size."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import guesthouse as gh
from guesthouse.cli import watching
from tests.boots.conftest import GUESTS

pytestmark = [pytest.mark.boot, pytest.mark.slow]

PROMPT, PATIENCE = "A:\\>", 60.0
VNCDO = "from vncdotool.command import vncdo; vncdo()"
Seen = tuple[gh.Machine, Callable[..., None]]
VESA = bytes.fromhex(  # a boot sector that draws into a linear framebuffer
    "FA 31C0 8ED0 BC0070 8ED8 8EC0"  # stack at 0:7000, DS = ES = 0
    "B8014F B94241 BF0080 CD10 B8024F BB4241 CD10"  # INT 10h, 4F01h: about mode 142h, at 0:8000; 4F02h: set it
    "0F0116727C 0F20C0 0C01 0F22C0 BB0800 8EC3 24FE 0F22C0"  # ES keeps a limit of 4 GiB from protected mode
    "668B3E2880 6631D2"  # EDI: PhysBasePtr; EDX: Y
    "6631C9"  # ECX: X
    "6689C8 66C1E008 88D0 66C1E008 B040 6625FFFFFF00 6667AB"  # red is X, green Y, both modulo 256, blue 40h
    "6641 6681F920030000 72DD 6642 6681FA58020000 72CF F4 EBFD"  # 800 pixels in each of 600 rows; then wait
    "0F00 787C0000 0000000000000000 FFFF00000092CF00").ljust(510, b"\0") + b"\x55\xAA"


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


def test_a_picture_in_a_linear_framebuffer_is_what_a_viewer_sees(tmp_path: Path) -> None:
    asyncvnc = pytest.importorskip("asyncvnc")
    (tmp_path / "vesa.img").write_bytes(VESA.ljust(1_474_560, b"\0"))

    async def look(host: str, port: int) -> Any:
        async with asyncvnc.connect(host, port) as client:
            return await client.screenshot()

    with gh.Machine.run(str(tmp_path / "vesa.img"), memory="16M") as machine:
        deadline = time.monotonic() + PATIENCE
        while machine.screen.image().width != 800 or machine.cpu[0].rip < 0x7C70:  # it waits, behind its loops
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server = watching.serve(machine, "")
        picture = asyncio.run(asyncio.wait_for(look(server.host, server.port), PATIENCE))
        server.stop()
    assert picture.shape[:2] == (600, 800)
    for x, y in ((0, 0), (255, 0), (256, 1), (5, 300), (799, 599)):
        assert tuple(picture[y, x, :3]) == (x & 255, y & 255, 0x40)
