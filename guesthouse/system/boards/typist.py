"""Hands at the keyboard: keys go down and up no faster than a BIOS takes them.

A key is held and let go after guest time; what the keyboard does not take is tried again. Names of keys, and which of
them make a character, are display/keys.py's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from guesthouse.clock import SECOND, Clock
from guesthouse.display.keys import chord, code, strokes
from guesthouse.system.chips.ps2_keyboard import Ps2Keyboard

HELD = SECOND // 50  # ns between one event and the next: 25 keys a second, as fast as a BIOS polls
MOST = 1 << 16  # events that wait; a guest that takes none gets no more


class Typist:
    """What the outside may do with a keyboard; every method may be called from any thread."""

    def __init__(self, keyboard: Ps2Keyboard, clock: Clock, post: Callable[[Callable[[], object]], None]) -> None:
        self.keyboard, self.post = keyboard, post
        self._events: deque[tuple[int, bool]] = deque()
        self._clock, self._timer = clock, clock.timer(self._next)

    def press(self, key: str) -> None:
        """A key goes down."""
        self.play([(code(key), True)])

    def release(self, key: str) -> None:
        self.play([(code(key), False)])

    def tap(self, *keys: str) -> None:
        """Keys go down in this order, and up in the other: `tap("ctrl", "alt", "delete")`."""
        self.play([(code(name), down) for name, down in chord("+".join(keys))])

    def type(self, text: str) -> None:
        """Type text, as someone with a US keyboard does."""
        self.play([(code(name), down) for name, down in strokes(text)])

    @property
    def waiting(self) -> int:
        """How many events the guest has not got yet."""
        return len(self._events)

    def play(self, events: Iterable[tuple[int, bool]]) -> None:
        """Make codes of scan set 1, and whether each key goes down or up."""
        coming = list(events)

        def begin() -> None:
            idle = not self._events
            if len(self._events) < MOST:
                self._events.extend(coming)
            if idle:
                self._timer.set(self._clock.now())

        self.post(begin)

    def _next(self) -> None:
        if self._events:
            key, down = self._events[0]
            if (self.keyboard.press if down else self.keyboard.release)(key):
                self._events.popleft()
            self._timer.set(self._clock.now() + HELD)
