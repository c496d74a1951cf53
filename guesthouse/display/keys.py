"""Keys by name, and their other names: scan set 1 codes, X11 keysyms, the characters of a US keyboard.

After the IBM PS/2 technical reference (scan set 1, 102 keys) and X11's keysymdef.h. Not modelled: other
layouts (a guest's own layout decides what a key means to it).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from guesthouse.errors import ConfigError

Event = tuple[str, bool]  # a key's name, and whether it goes down

PAUSE, PRINT = 0xE11D, 0xE037
IN_ORDER = (
    (0x01, "esc 1 2 3 4 5 6 7 8 9 0 - = backspace tab q w e r t y u i o p [ ] enter ctrl a s d f g h j k l"
           " ; ' ` shift \\ z x c v b n m , . / right_shift kp_* alt space caps_lock"
           " f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock"
           " kp_7 kp_8 kp_9 kp_- kp_4 kp_5 kp_6 kp_+ kp_1 kp_2 kp_3 kp_0 kp_. sysrq"),
    (0x56, "< f11 f12"),
    (0xE01C, "kp_enter right_ctrl"), (0xE035, "kp_/"), (0xE037, "print right_alt"),
    (0xE047, "home up page_up"), (0xE04B, "left"), (0xE04D, "right"), (0xE04F, "end down page_down insert delete"),
    (0xE05B, "super right_super menu"), (PAUSE, "pause"),
)  # fmt: skip
CODES = {name: first + n for first, names in IN_ORDER for n, name in enumerate(names.split())}
NAMES = {code: name for name, code in CODES.items()}
ALIASES = {
    "escape": "esc", "return": "enter", "control": "ctrl", "left_ctrl": "ctrl", "left_control": "ctrl",
    "left_shift": "shift", "left_alt": "alt", "alt_gr": "right_alt", "right_control": "right_ctrl",
    "meta": "super", "win": "super", "left_super": "super", "del": "delete", "ins": "insert", "pgup": "page_up",
    "pgdn": "page_down", "pageup": "page_up", "pagedown": "page_down", "print_screen": "print", "break": "pause",
    "minus": "-", "equal": "=", "comma": ",", "dot": ".", "period": ".", "slash": "/", "backslash": "\\",
    "semicolon": ";", "apostrophe": "'", "grave": "`", "less": "<", " ": "space", "plus": "kp_+",
}  # fmt: skip

UNSHIFTED = "1234567890-=qwertyuiop[]asdfghjkl;'`\\zxcvbnm,./"
SHIFTED = '!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:"~|ZXCVBNM<>?'
CHARACTERS: dict[str, tuple[str, bool]] = {c: (c, False) for c in UNSHIFTED}
CHARACTERS |= {c: (plain, True) for c, plain in zip(SHIFTED, UNSHIFTED)}
CHARACTERS |= {" ": ("space", False), "\n": ("enter", False), "\r": ("enter", False), "\t": ("tab", False)}
CHARACTERS |= {"\b": ("backspace", False), "\x7f": ("backspace", False), "\x1b": ("esc", False)}

KEYSYMS = {
    0xFF08: "backspace", 0xFF09: "tab", 0xFF0D: "enter", 0xFF1B: "esc", 0xFFFF: "delete", 0xFF13: "pause",
    0xFF14: "scroll_lock", 0xFF15: "sysrq", 0xFF61: "print", 0xFF6B: "pause", 0xFF7F: "num_lock", 0xFF67: "menu",
    0xFF50: "home", 0xFF51: "left", 0xFF52: "up", 0xFF53: "right", 0xFF54: "down", 0xFF55: "page_up",
    0xFF56: "page_down", 0xFF57: "end", 0xFF63: "insert", 0xFE20: "tab", 0xFE03: "right_alt", 0xFFE1: "shift",
    0xFFE2: "right_shift", 0xFFE3: "ctrl", 0xFFE4: "right_ctrl", 0xFFE5: "caps_lock", 0xFFE7: "super",
    0xFFE8: "right_super", 0xFFE9: "alt", 0xFFEA: "right_alt", 0xFFEB: "super", 0xFFEC: "right_super",
    0xFF8D: "kp_enter", 0xFFAA: "kp_*", 0xFFAB: "kp_+", 0xFFAD: "kp_-", 0xFFAE: "kp_.", 0xFFAF: "kp_/",
    0xFF95: "kp_7", 0xFF96: "kp_4", 0xFF97: "kp_8", 0xFF98: "kp_6", 0xFF99: "kp_2", 0xFF9A: "kp_9",
    0xFF9B: "kp_3", 0xFF9C: "kp_1", 0xFF9D: "kp_5", 0xFF9E: "kp_0", 0xFF9F: "kp_.",
}  # fmt: skip
KEYSYMS |= {0xFFB0 + n: f"kp_{n}" for n in range(10)} | {0xFFBE + n: f"f{n + 1}" for n in range(12)}


def code(name: str) -> int:
    """The scan set 1 make code, E0h (or E1h) as a high byte."""
    lower = name if name in CODES else name.lower()
    known = CODES.get(ALIASES.get(lower, lower))
    if known is None:
        raise ConfigError("keyboard", "the key", name, "one of " + " ".join(CODES))
    return known


def make(name: str) -> bytes:
    """What the key sends when it goes down, in scan set 1."""
    number = code(name)
    if number == PAUSE:
        return b"\xe1\x1d\x45\xe1\x9d\xc5"  # it has no break code: it sends one by itself
    if number == PRINT:
        return b"\xe0\x2a\xe0\x37"
    return number.to_bytes(2 if number > 0xFF else 1, "big")


def release(name: str) -> bytes:
    """What the key sends when it comes up."""
    number = code(name)
    if number == PAUSE:
        return b""
    if number == PRINT:
        return b"\xe0\xb7\xe0\xaa"
    return (number | 0x80).to_bytes(2 if number > 0xFF else 1, "big")


def from_scancode(number: int) -> str | None:
    """The key with that make code."""
    return NAMES.get(number)


def tap(name: str, *modifiers: str) -> list[Event]:
    """A key struck while others are held."""
    held = [(m, True) for m in modifiers]
    return [*held, (name, True), (name, False), *((m, False) for m, _ in reversed(held))]


def strokes(text: str) -> list[Event]:
    """How a person would type this on a US keyboard."""
    events: list[Event] = []
    for character in text.replace("\r\n", "\n"):
        if character not in CHARACTERS:
            raise ConfigError("keyboard", "the text", character, "characters of a US keyboard")
        name, shifted = CHARACTERS[character]
        events += tap(name, *("shift",) * shifted)
    return events


def chord(keys: str) -> list[Event]:
    """Keys struck together, as "ctrl+alt+delete": all go down in this order, then come up in the opposite one."""
    parts = re.split(r"(?<!kp_)\+(?=.)", keys, flags=re.IGNORECASE)  # "ctrl++" and "kp_+" are keys, too
    names = [CHARACTERS[part][0] if part in CHARACTERS else NAMES[code(part)] for part in parts]
    return [(name, True) for name in names] + [(name, False) for name in reversed(names)]


def from_keysym(keysym: int) -> str | None:
    """The key on a US keyboard that makes this keysym."""
    return KEYSYMS.get(keysym) or character_of(keysym)[0]


def character_of(keysym: int) -> tuple[str | None, bool]:
    """The key of a printable keysym, and whether Shift belongs to it."""
    return CHARACTERS.get(chr(keysym), (None, False)) if 0x20 <= keysym < 0x7F else (None, False)


class Keysyms:
    """Turns a client's keysyms into keys: it says which character is meant, the keys must make just that.

    Shift is pressed, or lifted, around a key where the client's own layout has it differently.
    """

    def __init__(self) -> None:
        self._shifts: set[str] = set()
        self._down: dict[int, str] = {}  # keysym: the key pressed for it

    def events(self, keysym: int, down: bool) -> list[Event]:
        """What to do when the client's key goes down or comes up; nothing if there is no such key."""
        if not down:
            name = self._down.pop(keysym, None)
            self._shifts.discard(name or "")
            return [(name, False)] if name else []
        name, shifted = character_of(keysym)
        if name is None or name == "space":
            return self._press(keysym, from_keysym(keysym))
        if shifted and not self._shifts:
            return [("shift", True), *self._press(keysym, name), ("shift", False)]
        if not shifted and self._shifts:
            lifted = sorted(self._shifts)
            return [*((s, False) for s in lifted), *self._press(keysym, name), *((s, True) for s in lifted)]
        return self._press(keysym, name)

    def all_up(self) -> list[Event]:
        """For a client that has gone: nothing stays pressed."""
        held, self._down, self._shifts = list(self._down.values()), {}, set()
        return [(name, False) for name in held]

    def _press(self, keysym: int, name: str | None) -> list[Event]:
        if name is None:
            return []
        self._down[keysym] = name
        if name in ("shift", "right_shift"):
            self._shifts.add(name)
        return [(name, True)]


def scan_codes(events: Iterable[Event]) -> bytes:
    """What a keyboard sends for these events, in scan set 1."""
    return b"".join(make(name) if down else release(name) for name, down in events)
