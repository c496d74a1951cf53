"""A machine with a screen on this terminal: text modes are drawn as text, the terminal's keys become the PC's.

Ctrl-A x leaves, Ctrl-A s writes a screenshot, Ctrl-A Ctrl-A types a Ctrl-A; Ctrl-C and everything else goes to the
guest. Without a terminal, or when the screen is shown elsewhere, we wait for the guest's end; where text was shown,
its last screen is printed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from guesthouse.cli import values
from guesthouse.cli.terminal import Escape, Raw
from guesthouse.cli.trouble import heeding
from guesthouse.display.keys import Event
from guesthouse.display.terminal import Painter
from guesthouse.display.typing import Typing
from guesthouse.display.watch import text_of
from guesthouse.errors import GuesthouseError, UserError

if TYPE_CHECKING:
    from guesthouse.display.vnc import Server
    from guesthouse.manager.machine import Machine

LOOK = 1 / 30  # seconds between two looks at the screen
VNC_PORT, VNC_PORTS = 5900, 100


def attend(machine: Machine, display: str) -> int:
    """Show the machine's screen until it is off (its status) or the user leaves (0)."""
    kind, _, where = display.partition(":")
    if kind == "vnc":
        server = serve(machine, where)
        try:
            return wait(machine)
        finally:
            server.stop()
    if kind == "text" and os.isatty(0) and os.isatty(1):
        return Watcher(machine).watch()
    try:
        return wait(machine)
    finally:
        if kind == "text":
            with suppress(GuesthouseError, BrokenPipeError):
                print(text_of(machine.screen.now()).rstrip("\n"), flush=True)


def wait(machine: Machine) -> int:
    """Until the machine is off; Ctrl-C switches it off."""
    try:
        return machine.wait()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def serve(machine: Machine, where: str) -> Server:
    """A VNC server for the machine, on a port that is told or free."""
    from guesthouse.display.vnc import Server

    at = [0, 0]

    def pointer(x: int, y: int, buttons: int) -> None:
        with suppress(GuesthouseError):  # the guest is gone, and we soon
            machine.mouse.hold(buttons & 1 | buttons >> 1 & 2 | buttons << 1 & 4, x - at[0], y - at[1])
        at[:] = x, y

    def key(name: str, down: bool) -> None:
        with suppress(GuesthouseError):
            machine.keyboard.send([(name, down)])

    ports = [values.port(where, f"--display vnc:{where}")] if where else range(VNC_PORT, VNC_PORT + VNC_PORTS)
    for port in ports:
        server = Server(machine.screen.now, key, pointer, port=port, name=machine.name)
        try:
            server.start()
        except UserError:
            if port == ports[-1]:
                raise
            continue
        print(f"guesthouse: the screen is at vnc://{server.host}:{server.port}", file=sys.stderr, flush=True)
        return server
    raise AssertionError("there is a last port")


class Watcher:
    """This terminal as the machine's screen and keyboard."""

    def __init__(self, machine: Machine, input: int = 0, output: int = 1) -> None:
        self._machine, self._input, self._output = machine, input, output
        self._escape, self._typing, self._painter = Escape("xs"), Typing(), Painter()
        self._raw = Raw(input, output, self._painter.leave)
        self._left = self._resized = False
        self._heard = 0.0
        self._said: list[str] = []  # about screenshots; told when the terminal is a terminal again

    def watch(self) -> int:
        """Until the guest is off or the user leaves; the exit status."""
        print("guesthouse: Ctrl-A x leaves and switches the machine off, Ctrl-A s takes a screenshot.", file=sys.stderr)
        with self._terminal(), self._signals():
            while not self._left and self._machine.gone() is None:
                self._draw()
                self._hear()
            last = text_of(self._machine.screen.now())
        for sentence in self._said:
            print(f"guesthouse: {sentence}", file=sys.stderr)
        if self._left:
            return 0
        print(last.rstrip("\n"))
        return self._machine.wait()

    def _draw(self) -> None:
        if self._resized:
            self._resized = False
            self._measure()
        self._show(self._painter.draw(self._machine.screen.now()))

    def _show(self, out: bytes) -> None:
        while out:
            try:
                out = out[os.write(self._output, out):]
            except InterruptedError:
                continue
            except OSError:
                self._left = True  # the terminal was hung up
                return

    def _hear(self) -> None:
        """What was typed, or what time it is."""
        if not select.select([self._input], [], [], LOOK)[0]:
            if self._typing.pending and time.monotonic() - self._heard > LOOK:
                self._send(self._typing.flush())
            return
        try:
            data = os.read(self._input, 4096)
        except OSError:
            data = b""
        if not data:
            self._left = True
            return
        self._heard = time.monotonic()
        for keys, order in self._escape.sort(data):
            if not self._left:
                self._send(self._typing.feed(keys))
            self._left = self._left or order == "x"
            if order == "s":
                self._take_screenshot()

    def _send(self, events: list[Event]) -> None:
        if events:
            with suppress(GuesthouseError):  # the guest is gone: we see it at our next look
                self._machine.keyboard.send(events)

    def _take_screenshot(self) -> None:
        """Into the folder that we were started in, under a name that is free."""
        stem = f"{self._machine.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        names = (f"{stem}.png", *(f"{stem}-{n}.png" for n in range(2, 100)))
        name = next((name for name in names if not os.path.exists(name)), names[-1])
        try:
            self._machine.screenshot(name)
            self._said.append(f"a screenshot is in {name}.")
        except GuesthouseError as wrong:
            self._said.append(str(wrong))

    def _measure(self) -> None:
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._output)
            self._painter.resized(rows, columns)

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        self._measure()
        try:
            self._raw.enter()
            yield
        finally:
            self._raw.leave()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The window's size follows; after a stop from outside all is drawn again."""

        def resized(number: int, frame: FrameType | None) -> None:
            self._resized = True

        def stopped(number: int, frame: FrameType | None) -> None:
            self._raw.stop()
            self._resized = True

        with heeding({signal.SIGWINCH: resized, signal.SIGTSTP: stopped}):
            yield
