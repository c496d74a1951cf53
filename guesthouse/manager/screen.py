"""A machine's screen, keyboard and mouse, as its user sees and uses them, from any thread."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from guesthouse.display import png
from guesthouse.display.keys import Event, chord, code, strokes
from guesthouse.display.render import picture_of
from guesthouse.display.screen import Cursor, Font, Picture, Text
from guesthouse.display.screen import Screen as Shown
from guesthouse.display.watch import shows, text_of
from guesthouse.errors import ConfigError, GuesthouseError, TimedOut, UserError, WrongState

T = TypeVar("T")
GLYPH = 32  # bytes that a VGA keeps for each
LOOK = 0.05  # seconds between two looks at the screen
HELD = 60_000_000  # ns that a button is down in a click: a mouse tells its state forty times a second
BUTTONS = {"left": 1, "right": 2, "middle": 4}


class Asked(Protocol):
    """A machine: calls a job with the board between two instructions, and says whether the guest is gone."""

    def call(self, job: Callable[[Any], T]) -> T: ...

    def gone(self) -> GuesthouseError | None: ...


class Screen:
    """What the guest shows: text in cells, or a picture."""

    def __init__(self, machine: Asked) -> None:
        self._machine = machine

    def now(self) -> Shown:
        """The screen at this moment, as a value."""
        return self._machine.call(lambda board: shown(part(board, "screen")()))

    def text(self) -> str:
        """The rows, without the blanks at their ends; empty in a graphics mode."""
        return text_of(self.now())

    def image(self) -> Picture:
        """The screen as pixels: `width`, `height` and `rgb`; text is drawn with the guest's own font."""
        return picture_of(self.now())

    def png(self) -> bytes:
        """The image as a PNG file."""
        return png.encode(self.image())

    def wait_for(self, wanted: str | re.Pattern[str], timeout: float = 60.0) -> str:
        """Wait until the text, or a match of the pattern, is on the screen; returns the screen's text.

        Raises TimedOut, which shows the screen, or what ended the guest meanwhile."""
        deadline = time.monotonic() + timeout
        while True:
            gone = self._machine.gone()
            screen = self.now()
            if shows(screen, wanted):
                return text_of(screen)
            if gone is not None:
                raise gone
            if time.monotonic() >= deadline:
                what = wanted if isinstance(wanted, str) else wanted.pattern
                raise TimedOut(f"{what!r} did not come on the screen within {timeout:g} s; it shows:\n"
                               + (text_of(screen) or "(a picture, or nothing)"), "Allow more time.")
            time.sleep(LOOK)


class Keyboard:
    """Keys by the names of display/keys.py."""

    def __init__(self, machine: Asked) -> None:
        self._machine = machine

    def type(self, text: str) -> None:
        """Type text as on a US keyboard, as fast as a guest can take it."""
        self.send(strokes(text))

    def press(self, *keys: str) -> None:
        """Strike keys, one after the other: "f10", "ctrl+alt+delete"."""
        for key in keys:
            self.send(chord(key))

    def send(self, events: Iterable[Event]) -> None:
        """Names of keys, and whether each goes down or up."""
        codes = [(code(name), down) for name, down in events]
        need_guest(self._machine)
        self._machine.call(lambda board: part(board, "keyboard").play(codes))


class Mouse:
    """A mouse moves by so many steps, it does not know where the pointer is."""

    def __init__(self, machine: Asked) -> None:
        self._machine, self._held = machine, 0

    def move(self, dx: int, dy: int) -> None:
        """To the right, and down."""
        self._do(dx, dy)

    def press(self, button: str = "left") -> None:
        self._held |= bit(button)
        self._do()

    def release(self, button: str = "left") -> None:
        self._held &= ~bit(button)
        self._do()

    def click(self, button: str = "left") -> None:
        """Down, and up a moment of the guest's time later, in which a mouse tells its state twice; ten seconds of
        ours must do."""
        self.press(button)
        begun, patience = self._now(), time.monotonic() + 10
        while self._now() - begun < HELD and time.monotonic() < patience:
            time.sleep(LOOK / 5)
        self.release(button)

    def turn(self, clicks: int) -> None:
        """The wheel, towards the user."""
        self._do(wheel=clicks)

    def hold(self, buttons: int, dx: int = 0, dy: int = 0) -> None:
        """A movement with just these buttons down: 1 left, 2 right, 4 middle."""
        self._held = buttons & 7
        self._do(dx, dy)

    def _now(self) -> int:
        return int(self._machine.call(lambda board: board.clock.now()))

    def _do(self, dx: int = 0, dy: int = 0, wheel: int = 0) -> None:
        need_guest(self._machine)
        self._machine.call(lambda board: part(board, "mouse").move(dx, dy, self._held, wheel))


def part(board: Any, name: str) -> Any:
    """The board's screen, keyboard or mouse."""
    if not hasattr(board, name):
        raise WrongState(f"This machine has no {name}: its kernel was loaded without a PC's firmware.",
                         "Use its console, or start it from a medium.")
    return getattr(board, name)


def need_guest(machine: Asked) -> None:
    """A machine that is off can be looked at, but nobody hears keys there."""
    if gone := machine.gone():
        raise gone


def bit(button: str) -> int:
    if button not in BUTTONS:
        raise ConfigError("mouse", "the button", button, " or ".join(BUTTONS))
    return BUTTONS[button]


def shown(screen: Any) -> Shown:
    """A card's screen as a display's."""
    if not hasattr(screen, "cells"):
        return Picture(screen.width, screen.height, bytes(screen.rgb))
    cut = [b"".join(font[at:at + screen.height] for at in range(0, 256 * GLYPH, GLYPH)) for font in screen.fonts]
    cursor = screen.cursor and Cursor(screen.cursor.column, screen.cursor.row, screen.cursor.first, screen.cursor.last)
    return Text(screen.columns, screen.rows, bytes(screen.cells), cursor, screen.blink, tuple(screen.palette),
                Font(screen.width, screen.height, cut[0], cut[1]))


def need_place(path: str | Path, taken: Iterable[Path] = ()) -> None:
    """Refuse a file that could not be saved, or that takes the place of one of these."""
    target = Path(path)
    if target.exists() and any(target.samefile(file) for file in taken):
        raise UserError(f"{target} cannot be written: the machine is made of it.", "Name another file.")
    if target.is_dir():
        raise UserError(f"{target} cannot be written: it is a folder.", "Name a file.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        why = "one may not write there" if target.parent.is_dir() else f"there is no folder {target.parent}"
        raise UserError(f"{target} cannot be written: {why}.", "Name another file.")


def save(path: str | Path, data: bytes) -> None:
    """A whole file, or none."""
    target = Path(path)
    beside = target.with_name(target.name + ".part")
    try:
        beside.write_bytes(data)
        beside.replace(target)
    except OSError as wrong:
        beside.unlink(missing_ok=True)
        raise UserError(f"{target} cannot be written: {wrong.strerror}.", "Name another file.") from wrong
