"""A VNC server: shows a screen to any number of clients, and hands on their keys and pointers.

After RFC 6143 (RFB 3.8, 3.7 and 3.3), and the RFB community's registry for ExtendedDesktopSize and QEMU's
key events. Only the security type None, so it listens on the loopback interface unless told that the
network may come in. Not modelled: Tight, clipboards (a client's is read and dropped), sound, cursors drawn
by the client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from guesthouse.display.keys import Event, Keysyms, from_scancode
from guesthouse.display.pixels import COLOUR_MAP, Area, Format, Frame, Zrle, differences, raw, scrolled
from guesthouse.display.render import picture_of
from guesthouse.display.screen import Font, Picture, Screen, Text
from guesthouse.errors import UserError
from guesthouse.threads import begin

RAW, COPY_RECT, ZRLE, DESKTOP_SIZE, EXTENDED_SIZE, QEMU_KEYS = 0, 1, 16, -223, -308, -258
CLIENTS = 16
LONGEST_CUT = 1 << 20
RATE = 1 / 30  # seconds between two looks at the screen
BLINK = 0.27  # a VGA blinks every 16 frames
PATIENCE = 30.0  # seconds for a client to say what it must, or to take what it asked for
ShowKey = Callable[[str, bool], object]
ShowPointer = Callable[[int, int, int], object]


class Hostile(Exception):
    """The client says what no client says; it is sent away."""


class Server:
    """Shows `screen()` to whoever connects; `key` and `pointer` are called on the server's own thread."""

    def __init__(
        self,
        screen: Callable[[], Screen],
        key: ShowKey = lambda name, down: None,
        pointer: ShowPointer = lambda x, y, buttons: None,
        *,
        host: str = "127.0.0.1",
        port: int = 5900,
        open_to_network: bool = False,
        font: Font | None = None,
        name: str = "guesthouse",
    ) -> None:
        if not open_to_network and not is_loopback(host):
            raise UserError(
                f"VNC on {host} would show this machine, and give its keyboard, to everyone in the network.",
                "Listen on 127.0.0.1 and use ssh -L, or say that this is wanted.",
                exit_status=2,
            )
        self.screen, self.key, self.pointer = screen, key, pointer
        self.host, self.port, self.font, self.name = host, port, font, name
        self._clients: set[asyncio.Task[None]] = set()
        self._drawn: tuple[Screen, bool, Picture] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parted: SimpleQueue[None] = SimpleQueue()

    def start(self) -> int:
        """Listens, on a thread of its own, and returns the port."""
        loop = self._loop = asyncio.new_event_loop()
        try:
            listening = loop.run_until_complete(
                asyncio.start_server(self._serve, self.host, self.port, limit=1 << 16)
            )
        except (OSError, OverflowError) as trouble:
            loop.close()
            self._loop = None
            number = getattr(trouble, "errno", None) or 0
            why = os.strerror(number) if number > 0 else trouble  # asyncio's own words tell the address once more
            raise UserError(f"VNC cannot listen on {self.host}:{self.port}: {why}.", "Choose another port.") from None
        self.port = listening.sockets[0].getsockname()[1]

        def run() -> None:
            loop.run_forever()
            listening.close()
            loop.run_until_complete(self._part())
            loop.close()
            self._parted.put(None)

        begin(run)
        return int(self.port)

    def stop(self) -> None:
        """Sends all clients away; returns when nobody is called any more."""
        loop, self._loop = self._loop, None
        if loop:
            loop.call_soon_threadsafe(loop.stop)
            self._parted.get()

    async def _part(self) -> None:
        """Ends all that still runs on the loop, the clients' own tasks too."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def picture(self) -> Picture:
        """What is on the screen now; drawn once for all clients."""
        screen, phase = self.screen(), int(asyncio.get_running_loop().time() / BLINK) % 2 == 0
        phase = phase or not isinstance(screen, Text)
        drawn = self._drawn
        if drawn is None or drawn[1] != phase or drawn[0] is not screen and drawn[0] != screen:
            drawn = self._drawn = (screen, phase, picture_of(screen, self.font, phase))
        return drawn[2]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        try:
            await Client(self, reader, writer).talk()
        except (Hostile, OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # gone, or sent away: either way no matter to the machine
        finally:
            self._clients.discard(task)
            writer.transport.abort()


class Client:
    """One connection: what it asked for, what it shows, which keys it holds."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.format, self.encodings = Format(), frozenset[int]()
        self.size = (0, 0)
        self.shown: Frame | None = None
        self.seen: Picture | None = None  # the picture of which the client has all
        self.asked: Area | None = None  # what an update may change, once there is something to tell
        self.whole = False  # that area is to be sent even where nothing changed
        self.first: list[bytes] = []  # rectangles that the next update begins with
        self.zrle, self.keysyms = Zrle(), Keysyms()
        self.held: set[str] = set()
        self.wanted = asyncio.Event()

    async def talk(self) -> None:
        await asyncio.wait_for(self.greet(), PATIENCE)
        teller = asyncio.create_task(self.tell())
        hearer = asyncio.create_task(self.hear())
        try:
            done, _ = await asyncio.wait((teller, hearer), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (teller, hearer):
                task.cancel()
            await asyncio.gather(teller, hearer, return_exceptions=True)
            for name in sorted(self.held):
                self.server.key(name, False)

    async def need(self, count: int) -> bytes:
        return await self.reader.readexactly(count)

    # the handshake, 7.1 to 7.3

    async def greet(self) -> None:
        self.writer.write(b"RFB 003.008\n")
        version = await self.need(12)
        if version[:8] != b"RFB 003." or not version[8:11].isdigit():
            raise Hostile
        minor = int(version[8:11])
        if minor < 7:
            self.writer.write(struct.pack(">I", 1))
        else:
            self.writer.write(b"\x01\x01")
            if await self.need(1) != b"\x01":
                raise Hostile
            self.writer.write(struct.pack(">I", 0) if minor >= 8 else b"")
        await self.need(1)  # shared or not: others stay
        picture = self.server.picture()
        self.size = (picture.width, picture.height)
        name = self.server.name.encode()
        self.writer.write(
            struct.pack(">HH", *self.size) + self.format.pack() + struct.pack(">I", len(name)) + name
        )
        await self.writer.drain()

    # what the client says, 7.5

    async def hear(self) -> None:
        heard = {
            0: self.set_format,
            2: self.set_encodings,
            3: self.ask,
            4: self.key_event,
            5: self.pointer_event,
            6: self.cut_text,
            251: self.set_desktop_size,
            255: self.qemu,
        }
        while True:
            kind = (await self.need(1))[0]
            if kind not in heard:
                raise Hostile
            await heard[kind]()
            await asyncio.sleep(0)  # a client that floods us must not stop the others

    async def set_format(self) -> None:
        wanted = Format.unpack((await self.need(19))[3:])
        if wanted is None:
            raise Hostile
        self.format, self.shown, self.seen = wanted, None, None
        if not wanted.true_colour:
            self.writer.write(COLOUR_MAP)

    async def set_encodings(self) -> None:
        count = struct.unpack(">xH", await self.need(3))[0]
        self.encodings = frozenset(struct.unpack(f">{count}i", await self.need(4 * count)))
        self.first = []
        if QEMU_KEYS in self.encodings:
            self.first.append(rectangle(Area(0, 0, 0, 0), QEMU_KEYS))
        if EXTENDED_SIZE in self.encodings:
            self.first.append(self.size_told(0, 0))

    async def ask(self) -> None:
        incremental, *area = struct.unpack(">BHHHH", await self.need(9))
        self.asked = Area(*area)
        self.whole = self.whole or not incremental
        self.wanted.set()

    async def key_event(self) -> None:
        down, keysym = struct.unpack(">BxxI", await self.need(7))
        self.press(self.keysyms.events(keysym, bool(down)))

    async def qemu(self) -> None:
        kind, down, _, code = struct.unpack(">BHII", await self.need(11))
        if kind != 0:
            raise Hostile
        name = from_scancode(0xE000 | code & 0x7F if code & 0x80 else code) if code < 0x100 else None
        if name is None and code == 0xC6:
            name = "pause"
        self.press([(name, bool(down))] if name else [])

    def press(self, events: list[Event]) -> None:
        for name, down in events:
            (self.held.add if down else self.held.discard)(name)
            self.server.key(name, down)

    async def pointer_event(self) -> None:
        buttons, x, y = struct.unpack(">BHH", await self.need(5))
        self.server.pointer(min(x, self.size[0] - 1), min(y, self.size[1] - 1), buttons)

    async def cut_text(self) -> None:
        length = abs(struct.unpack(">xxxi", await self.need(7))[0])
        if length > LONGEST_CUT:
            raise Hostile
        while length:
            length -= len(await self.need(min(length, 4096)))

    async def set_desktop_size(self) -> None:
        count = struct.unpack(">xHHBx", await self.need(7))[2]
        await self.need(16 * count)
        if EXTENDED_SIZE in self.encodings and len(self.first) < 8:
            self.first.append(self.size_told(1, 1))  # asked by this client; refused, the guest decides
            self.wanted.set()

    # what we say, 7.6

    async def tell(self) -> None:
        while True:
            await self.wanted.wait()
            update = self.update()
            if not update:
                await asyncio.sleep(RATE)
                continue
            self.writer.write(update)
            await asyncio.wait_for(self.writer.drain(), PATIENCE)
            await asyncio.sleep(RATE)

    def update(self) -> bytes:
        """The next FramebufferUpdate, or nothing while nothing has changed."""
        if self.asked is None:
            self.wanted.clear()
            return b""
        parts, self.first = self.first, []
        picture = self.server.picture()
        if (picture.width, picture.height) != self.size:
            parts += self.resize(picture)
            picture = fitted(picture, *self.size)
        elif picture is self.seen and not self.whole and not parts:
            return b""
        frame = Frame.of(picture, self.format)
        area = self.asked.within(frame.area)
        if self.shown is None:  # what the client has not seen must not be taken for shown: send it all
            self.shown, self.whole, area = frame, True, frame.area
        self.seen = picture if area == frame.area else None
        if self.whole:
            areas = [area] if area.width and area.height else []
        else:
            parts += self.scroll(frame, area)
            areas = [part for a in differences(self.shown, frame) if all((part := a.within(area))[2:])]
        for part in areas:
            parts.append(self.encoded(frame, part))
            self.shown.put(part, frame)
        if not parts:
            return b""
        self.asked, self.whole = None, False
        self.wanted.clear()
        return struct.pack(">BxH", 0, len(parts)) + b"".join(parts)

    def resize(self, picture: Picture) -> list[bytes]:
        """Tells the new size to a client that can take it; another one goes on with the first."""
        if not self.encodings & {DESKTOP_SIZE, EXTENDED_SIZE}:
            return []
        self.size, self.shown = (picture.width, picture.height), None
        self.asked = Area(0, 0, *self.size)
        if EXTENDED_SIZE in self.encodings:
            return [self.size_told(0, 0)]
        return [rectangle(Area(0, 0, *self.size), DESKTOP_SIZE)]

    def size_told(self, reason: int, status: int) -> bytes:
        """An ExtendedDesktopSize rectangle with one screen."""
        return rectangle(Area(reason, status, *self.size), EXTENDED_SIZE) + struct.pack(
            ">BxxxIHHHHI", 1, 0, 0, 0, *self.size, 0
        )

    def scroll(self, frame: Frame, area: Area) -> list[bytes]:
        """A CopyRect, if that is what happened and the client has asked for all of the screen."""
        if COPY_RECT not in self.encodings or area != frame.area or self.shown is None:
            return []
        found = scrolled(self.shown, frame)
        if found is None:
            return []
        self.shown.scroll(*found)
        return [rectangle(found[0], COPY_RECT) + struct.pack(">HH", 0, found[0].y + found[1])]

    def encoded(self, frame: Frame, area: Area) -> bytes:
        if ZRLE in self.encodings:
            return rectangle(area, ZRLE) + self.zrle.encode(frame, area, self.format)
        return rectangle(area, RAW) + raw(frame, area)


def rectangle(area: Area, encoding: int) -> bytes:
    return struct.pack(">HHHHi", *area, encoding)


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """The picture cut, or with black added, to a size."""
    if (picture.width, picture.height) == (width, height):
        return picture
    step, kept = picture.width * 3, min(width, picture.width) * 3
    rows = [
        picture.rgb[y * step : y * step + kept].ljust(width * 3, b"\0")
        for y in range(min(height, picture.height))
    ]
    return Picture(width, height, b"".join(rows).ljust(width * height * 3, b"\0"))


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
