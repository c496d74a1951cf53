"""The VNC server: with a client of others' making where one is installed, with raw bytes, and with hostile
ones.

The independent clients are the packages `asyncvnc` (Raw) and `vncdotool` (Raw, ZRLE).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import subprocess
import sys
import time

import pytest

from guesthouse.display.keys import CODES
from guesthouse.display.render import draw
from guesthouse.display.screen import Picture
from guesthouse.display.vnc import CLIENTS, Server, fitted
from guesthouse.errors import UserError


class Shown:
    """A machine as the server sees it."""

    def __init__(self, screen) -> None:
        self.screen, self.heard = screen, []
        self.server = Server(
            lambda: self.screen,
            lambda *key: self.heard.append(key),
            lambda *at: self.heard.append(at),
            port=0,
        )
        self.port = self.server.start()

    def wait(self, count: int) -> list:
        end = time.monotonic() + 10
        while len(self.heard) < count and time.monotonic() < end:
            time.sleep(0.01)
        return self.heard


def noise(width: int, height: int, seed: int = 1) -> Picture:
    return Picture(width, height, random.Random(seed).randbytes(width * height * 3))


@pytest.fixture
def shown():
    made = Shown(noise(100, 40))
    yield made
    made.server.stop()


class Viewer:
    """As little of a client as these tests need."""

    def __init__(self, port: int, version: bytes = b"RFB 003.008\n", encodings: tuple[int, ...] = ()) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        assert self.need(12) == b"RFB 003.008\n"
        self.send(version)
        if version == b"RFB 003.003\n":
            assert self.need(4) == b"\0\0\0\1"
        else:
            assert self.need(2) == b"\1\1"
            self.send(b"\1")
            assert version == b"RFB 003.007\n" or self.need(4) == bytes(4)
        self.send(b"\1")
        self.size = struct.unpack(">HH", self.need(4))
        self.format = self.need(16)
        self.name = self.need(int.from_bytes(self.need(4), "big"))
        if encodings:
            self.send(struct.pack(f">BxH{len(encodings)}i", 2, len(encodings), *encodings))

    def need(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, incremental: bool = False, area: tuple[int, ...] | None = None) -> list[tuple]:
        """The rectangles of the next update: x, y, width, height, encoding, payload."""
        self.send(struct.pack(">BBHHHH", 3, incremental, *(area or (0, 0, *self.size))))
        kind, count = struct.unpack(">BxH", self.need(4))
        assert kind == 0
        return [self.rectangle() for _ in range(count)]

    def rectangle(self) -> tuple:
        x, y, width, height, encoding = head = struct.unpack(">HHHHi", self.need(12))
        lengths = {
            0: lambda: width * height * 4,
            1: lambda: 4,
            -308: lambda: 20,
            -223: lambda: 0,
            -258: lambda: 0,
        }
        if encoding in (-308, -223):
            self.size = (width, height)
        return *head, self.need(lengths[encoding]())


@pytest.mark.parametrize("version", [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n", b"RFB 003.889\n"])
def test_every_version_of_the_protocol_is_greeted(shown, version):
    viewer = Viewer(shown.port, version)
    assert viewer.size == (100, 40) and viewer.name == b"guesthouse"


def test_raw_pixels_are_the_picture(shown):
    (only,) = Viewer(shown.port).ask()
    rgb = shown.screen.rgb
    assert only[:5] == (0, 0, 100, 40, 0)
    assert only[5][0::4] == rgb[2::3] and only[5][1::4] == rgb[1::3] and only[5][2::4] == rgb[0::3]


def test_only_what_changed_is_sent_again(shown):
    viewer = Viewer(shown.port)
    viewer.ask()
    rgb = bytearray(shown.screen.rgb)
    rgb[(20 * 100 + 70) * 3] ^= 0xFF
    shown.screen = Picture(100, 40, bytes(rgb))
    assert [r[:4] for r in viewer.ask(True)] == [(64, 16, 36, 16)]


def test_an_update_waits_until_something_changes(shown):
    viewer = Viewer(shown.port)
    viewer.ask()
    viewer.send(struct.pack(">BBHHHH", 3, 1, 0, 0, 100, 40))
    viewer.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        viewer.need(1)


def test_what_scrolled_is_copied(shown):
    tall = noise(100, 140)
    shown.screen = Picture(100, 128, tall.rgb[: 128 * 300])
    viewer = Viewer(shown.port, encodings=(1, 0))
    viewer.ask()
    shown.screen = Picture(100, 128, tall.rgb[8 * 300 : 136 * 300])
    copy, *rest = viewer.ask(True)
    assert copy == (0, 0, 100, 120, 1, struct.pack(">HH", 0, 8))
    assert all(y >= 112 for _, y, *_ in rest)


@pytest.mark.parametrize("encoding", [-223, -308])
def test_a_new_size_is_told_and_all_is_sent(shown, encoding):
    viewer = Viewer(shown.port, encodings=(encoding, 0))
    viewer.ask()
    shown.screen = noise(64, 48, 2)
    first, *rest = viewer.ask(True)
    assert first[2:5] == (64, 48, encoding) and [r[:4] for r in rest] == [(0, 0, 64, 48)]


def test_a_client_that_cannot_change_its_size_sees_the_picture_cut(shown):
    viewer = Viewer(shown.port)
    viewer.ask()
    shown.screen = Picture(200, 10, bytes(6000))
    viewer.ask(True)
    assert fitted(Picture(2, 2, bytes(range(12))), 1, 3).rgb == bytes((0, 1, 2, 6, 7, 8, 0, 0, 0))


def test_a_client_may_ask_for_another_size_and_is_told_no(shown):
    viewer = Viewer(shown.port, encodings=(-308, 0))
    viewer.ask()
    viewer.send(struct.pack(">BxHHBx", 251, 640, 480, 1) + bytes(16))
    assert viewer.ask(True)[0][:5] == (1, 1, 100, 40, -308)


def test_keys_and_pointers_reach_the_machine_and_come_up_when_the_client_goes(shown):
    viewer = Viewer(shown.port, encodings=(-258, 0))
    assert viewer.ask()[0][4] == -258
    viewer.send(struct.pack(">BBxxI", 4, 1, 0xFF0D) + struct.pack(">BBxxI", 4, 0, 0xFF0D))
    viewer.send(struct.pack(">BBHII", 255, 0, 1, 0xFF52, 0xC8))
    viewer.send(struct.pack(">BBHH", 5, 1, 7, 60000))
    assert shown.wait(4) == [("enter", True), ("enter", False), ("up", True), (7, 39, 1)]
    viewer.socket.close()
    assert shown.wait(5)[4] == ("up", False)


@pytest.mark.parametrize("bits, size", [(8, 1), (16, 2)])
def test_a_client_has_its_own_pixel_format(shown, bits, size):
    viewer = Viewer(shown.port)
    maxima, shifts = ((7, 7, 3), (5, 2, 0)) if bits == 8 else ((31, 63, 31), (11, 5, 0))
    viewer.send(struct.pack(">B3xBBBBHHHBBB3x", 0, bits, bits, 0, 1, *maxima, *shifts))
    viewer.send(struct.pack(">BBHHHH", 3, 0, 0, 0, 100, 40))
    assert (
        viewer.need(16)[4:12] == struct.pack(">4H", 0, 0, 100, 40)
        and len(viewer.need(4000 * size)) == 4000 * size
    )


def test_a_client_with_a_colour_map_is_given_one(shown):
    viewer = Viewer(shown.port)
    viewer.send(struct.pack(">B3xBBBBHHHBBB3x", 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0))
    assert viewer.need(6) == struct.pack(">BxHH", 1, 0, 256) and viewer.need(1536)[-6:] == b"\xff" * 6


def test_a_text_screen_is_drawn(shown, text, font):
    shown.screen = text("hello", font=font)
    viewer = Viewer(shown.port)
    (only,) = viewer.ask()
    assert viewer.size == (160, 16) and only[5][2::4] == draw(shown.screen).rgb[0::3]


def test_the_network_is_kept_out_unless_asked_in():
    with pytest.raises(UserError, match="everyone in the network"):
        Server(lambda: noise(1, 1), host="0.0.0.0")
    Server(lambda: noise(1, 1), host="0.0.0.0", open_to_network=True)
    Server(lambda: noise(1, 1), host="::1")


def test_a_port_in_use_is_the_users_error(shown):
    with pytest.raises(UserError, match="cannot listen"):
        Server(lambda: noise(1, 1), port=shown.port).start()


def test_stopping_sends_clients_away_and_frees_the_port(shown):
    viewer = Viewer(shown.port)
    shown.server.stop()
    with pytest.raises((EOFError, OSError)):
        viewer.need(1)
    again = Server(lambda: noise(1, 1), port=shown.port)
    again.start()
    again.stop()
    again.stop()


def test_there_are_never_more_clients_than_we_bear(shown):
    viewers = [Viewer(shown.port) for _ in range(CLIENTS)]
    with pytest.raises((EOFError, OSError)):
        Viewer(shown.port)
    viewers[0].ask()


@pytest.mark.parametrize(
    "message",
    [
        b"\x01",
        b"\xff\x07" + bytes(10),
        b"\x06\0\0\0\x7f\xff\xff\xff",
        b"\0" + bytes(19),
        b"\x06\0\0\0\x80\0\0\0",
    ],
)
def test_a_client_that_talks_nonsense_is_sent_away(shown, message):
    viewer = Viewer(shown.port)
    viewer.send(message)
    with pytest.raises((EOFError, OSError)):
        viewer.need(1)
    assert Viewer(shown.port).ask()


def test_no_bytes_of_a_client_harm_the_machine_or_other_clients(shown, recwarn):
    """Fuzz: messages with random contents, cut anywhere, with and without reading what is answered."""
    chance, lengths = random.Random(5), {0: 19, 2: 3, 3: 9, 4: 7, 5: 5, 6: 7, 251: 7, 255: 11}
    wrong = []
    shown.server._loop.call_soon_threadsafe(
        shown.server._loop.set_exception_handler, lambda loop, what: wrong.append(what)
    )
    other = Viewer(shown.port)
    for _ in range(60):
        viewer = Viewer(shown.port, encodings=tuple(chance.sample((0, 1, 16, -223, -308, -258, 7, -1), 4)))
        try:
            for _ in range(30):
                kind = chance.choice(tuple(lengths))
                body = bytearray(
                    chance.choice((0, 0, 1, 2, 8, 16, 32, 255, chance.randrange(256)))
                    for _ in range(lengths[kind])
                )
                viewer.send(bytes((kind,)) + body[: chance.choice((99, 99, 99, 99, 99, 5))])
        except OSError:
            pass
        viewer.socket.close()
    assert other.ask()[0][:4] == (0, 0, 100, 40) and wrong == []
    assert {name for name, _, *rest in shown.heard if not rest} <= set(CODES)


def test_asyncvnc_sees_the_picture_and_types(shown):
    asyncvnc = pytest.importorskip("asyncvnc")

    async def use() -> bytes:
        async with asyncvnc.connect("127.0.0.1", shown.port) as client:
            pixels = await client.screenshot()
            client.keyboard.write("Hi")
            client.mouse.move(10, 20)
            await client.drain()
            return pixels[:, :, :3].tobytes()

    assert asyncio.run(use()) == shown.screen.rgb
    assert shown.wait(7)[:3] == [("shift", True), ("h", True), ("shift", False)]
    assert (10, 20, 0) in shown.heard


VNCDO = """
import sys
from vncdotool import client, command, rfb
client.VNCDoToolClient.encoding = rfb.Encoding[sys.argv.pop(1)]
command.vncdo(sys.argv[1:])
"""


@pytest.mark.parametrize("encoding", ["RAW", "ZRLE"])
@pytest.mark.parametrize("colours", [2, 5, 200])
def test_vncdotool_sees_the_picture_and_types(shown, tmp_path, encoding, colours):
    pytest.importorskip("vncdotool")
    image = pytest.importorskip("PIL.Image")
    chance, file = random.Random(colours), tmp_path / "seen.png"
    palette = [chance.randbytes(3) for _ in range(colours)]
    # Whole tiles across: vncdotool 1.4 overlooks that each row of packed indexes begins with a new byte (7.7.6).
    shown.screen = Picture(128, 70, b"".join(chance.choice(palette) for _ in range(128 * 70)))
    order = ["key", "enter", "type", "dir", "move", "5", "6", "capture", os.fspath(file)]
    subprocess.run(
        [sys.executable, "-c", VNCDO, encoding, "-s", f"127.0.0.1::{shown.port}", *order],
        check=True,
        timeout=60,
        capture_output=True,
    )
    assert image.open(file).convert("RGB").tobytes() == shown.screen.rgb
    assert [name for name, down, *rest in shown.wait(9) if not rest and down] == ["enter", "d", "i", "r"]
    assert (5, 6, 0) in shown.heard
