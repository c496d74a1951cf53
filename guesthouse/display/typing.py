"""What a terminal sends when its user types, as the keys that a PC's user would have pressed.

After xterm's control sequences (CSI and SS3 keys with modifiers), the Linux console's function keys, and
rxvt's. Not modelled: keys that terminals do not send (a Shift alone, releases); each key is struck and let
go at once.
"""

from __future__ import annotations

import re

from guesthouse.display.keys import CHARACTERS, Event, tap

LETTERS = {
    "A": "up", "B": "down", "C": "right", "D": "left", "F": "end", "H": "home", "E": "kp_5", "Z": "tab",
    "P": "f1", "Q": "f2", "R": "f3", "S": "f4", "M": "kp_enter",
}  # fmt: skip
NUMBERS = {
    1: "home", 2: "insert", 3: "delete", 4: "end", 5: "page_up", 6: "page_down", 7: "home", 8: "end",
    11: "f1", 12: "f2", 13: "f3", 14: "f4", 15: "f5", 17: "f6", 18: "f7", 19: "f8", 20: "f9", 21: "f10",
    23: "f11", 24: "f12",
}  # fmt: skip
CONSOLE = {"A": "f1", "B": "f2", "C": "f3", "D": "f4", "E": "f5"}  # the Linux console's ESC [ [ letter
SEQUENCE = re.compile(rb"\x1b(?:\[\[([A-E])|\[([\d;]*)([@-Z^-~$])|O(\d?)([A-Za-z]))")
PART = re.compile(rb"\x1b(?:\[(?:\[|[\d;]{0,16})|O\d?)?\Z")
SHIFT, ALT, CTRL = 1, 2, 4
CONTROLS = {0x00: "2", 0x1C: "\\", 0x1D: "]", 0x1E: "6", 0x1F: "-"}
FROM_UNICODE = {"\u00a0": " ", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-"}
HELD = 1 << 16


class Typing:
    """Feed it what the terminal sends; keys come out. An unfinished sequence waits for its rest, or for flush()."""

    def __init__(self) -> None:
        self._waiting = b""

    @property
    def pending(self) -> bool:
        """Whether something waits that may be a lone Esc."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> list[Event]:
        """The keys in what was typed."""
        events: list[Event] = []
        rest = (self._waiting + data)[:HELD]
        while rest and not unfinished(rest):
            more, used = first_key(rest)
            events += more
            rest = rest[used:]
        self._waiting = rest
        return events

    def flush(self) -> list[Event]:
        """Nothing followed for a while: what waits is all there is."""
        rest, self._waiting = self._waiting, b""
        if rest[:1] != b"\x1b":
            return []  # the beginning of a character that never came
        if len(rest) == 1:
            return tap("esc")
        return [*alt_with(rest[1:2]), *self.feed(rest[2:])]


def unfinished(data: bytes) -> bool:
    """Whether these bytes begin something and end before it does."""
    if data[:1] == b"\x1b":
        return (
            PART.match(data) is not None
            or len(data) > 1
            and data[1] >= 0xC2
            and len(data) - 1 < length(data[1])
        )
    return data[0] >= 0xC2 and len(data) < length(data[0])


def length(lead: int) -> int:
    """How many bytes a UTF-8 character has."""
    return 1 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4


def first_key(data: bytes) -> tuple[list[Event], int]:
    """The first key, and how many bytes it took."""
    if data[:1] != b"\x1b":
        size = length(data[0])
        return struck(data[:size], 0), size
    found = SEQUENCE.match(data)
    if found:
        return special(found), found.end()
    if data[1:2] == b"\x1b":  # Alt with a key that is a sequence itself, or two Esc
        return tap("esc"), 1
    size = 1 + length(data[1])
    return struck(data[1:size], ALT), size


def alt_with(character: bytes) -> list[Event]:
    return struck(character, ALT)


def special(found: re.Match[bytes]) -> list[Event]:
    """The key of a control sequence; one that is no key at all is nothing."""
    console, numbers, final, modifier, letter = ((part or b"").decode() for part in found.groups())
    if console:
        return tap(CONSOLE[console])
    if letter:
        return pressed(LETTERS.get(letter), int(modifier or 1) - 1)
    values = [int(n[:6] or 0) for n in numbers.split(";")]
    held = max(values[1] - 1, 0) if len(values) > 1 else 0
    if final in "~^$@":
        held |= {"~": 0, "^": CTRL, "$": SHIFT, "@": CTRL | SHIFT}[final]  # rxvt's way
        return pressed(NUMBERS.get(values[0]), held)
    return pressed(LETTERS.get(final), held | SHIFT * (final == "Z"))


def pressed(name: str | None, held: int) -> list[Event]:
    """A named key with modifiers as xterm counts them."""
    modifiers = [m for bit, m in ((SHIFT, "shift"), (ALT, "alt"), (CTRL, "ctrl")) if held & bit]
    return tap(name, *modifiers) if name else []


def struck(character: bytes, held: int) -> list[Event]:
    """A character, with the modifiers it needs itself; one that a US keyboard lacks is nothing."""
    text = character.decode("utf-8", "ignore")
    text = FROM_UNICODE.get(text, text)
    if len(text) != 1:
        return []
    number = ord(text)
    if text in "\r\n":
        return pressed("enter", held)
    if text in CHARACTERS:
        if text == "\b":
            held |= CTRL  # terminals send 7Fh for Backspace, and 08h with Ctrl
        name, shifted = CHARACTERS[text]
        return pressed(name, held | SHIFT * shifted)
    if number < 0x20:
        return pressed(CONTROLS.get(number) or chr(number + 0x60), held | CTRL)
    return []
