"""What a person would read on a screen, as text to be searched. Waiting for it is the manager's."""

from __future__ import annotations

import re

from guesthouse.display.cp437 import UNICODE
from guesthouse.display.screen import Screen, Text


def text_of(screen: Screen) -> str:
    """The rows, each without the blanks at its end; a picture has none."""
    if not isinstance(screen, Text):
        return ""
    rows = (screen.row(n)[::2] for n in range(screen.rows))
    return "\n".join("".join(UNICODE[c] for c in row).rstrip() for row in rows)


def shows(screen: Screen, wanted: str | re.Pattern[str]) -> bool:
    """Whether the text, or a match of the pattern, is on the screen."""
    text = text_of(screen)
    return wanted in text if isinstance(wanted, str) else wanted.search(text) is not None
