"""Hands at the keyboard: text as the keys of a US layout, no faster than a BIOS takes them.

A key is held and let go after guest time; what the keyboard does not take is tried again. Not modelled: layouts
other than US; characters that no key has are refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from guesthouse.clock import SECOND, Clock
from guesthouse.errors import UserError
from guesthouse.system.chips.ps2_keyboard import KEYS, Ps2Keyboard

HELD = SECOND // 50  # ns between one event and the next: 25 keys a second, as fast as a BIOS polls
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./", strict=True))
NAMED = {" ": "space", "\n": "enter", "\r": "enter", "\t": "tab", "\b": "backspace", "\x1b": "esc"}


class Typist:
    """What the outside may do with a keyboard; every method may be called from any thread."""

    def __init__(self, keyboard: Ps2Keyboard, clock: Clock, post: Callable[[Callable[[], object]], None]) -> None:
        self.keyboard, self.post = keyboard, post
        self._events: deque[tuple[str | int, bool]] = deque()
        self._clock, self._timer = clock, clock.timer(self._next)

    def press(self, key: str | int) -> None:
        """A key goes down: a name from `ps2_keyboard.KEYS`, or a make code of scan set 1."""
        self._then([(checked(key), True)])

    def release(self, key: str | int) -> None:
        self._then([(checked(key), False)])

    def tap(self, *keys: str | int) -> None:
        """Keys go down in this order, and up in the other: `tap("ctrl", "alt", "delete")`."""
        self._then([*((checked(key), True) for key in keys), *((key, False) for key in reversed(keys))])

    def type(self, text: str) -> None:
        """Type text, as someone with a US keyboard does."""
        self._then([event for character in text for event in strokes(character)])

    @property
    def waiting(self) -> int:
        """How many events the guest has not got yet."""
        return len(self._events)

    def _then(self, events: list[tuple[str | int, bool]]) -> None:
        def begin() -> None:
            idle = not self._events
            self._events.extend(events)
            if idle:
                self._timer.set(self._clock.now())

        self.post(begin)

    def _next(self) -> None:
        if self._events:
            key, down = self._events[0]
            if (self.keyboard.press if down else self.keyboard.release)(key):
                self._events.popleft()
            self._timer.set(self._clock.now() + HELD)


def checked(key: str | int) -> str | int:
    if isinstance(key, str) and key not in KEYS:
        raise UserError(f"There is no key {key!r}.", "Keys are named as in “a”, “enter”, “f1”, “left”, “right_ctrl”.")
    return key


def strokes(character: str) -> Iterator[tuple[str, bool]]:
    """The keys that make a character go down and up."""
    key = NAMED.get(character) or SHIFTED.get(character) or character.lower()
    if key not in KEYS:
        raise UserError(f"A US keyboard cannot type {character!r}.")
    keys = ["shift", key] if character in SHIFTED or character.isupper() else [key]
    yield from ((each, True) for each in keys)
    yield from ((each, False) for each in reversed(keys))
