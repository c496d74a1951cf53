"""Code page 437 as Unicode, with the pictures that a PC shows for control codes.

After the Unicode consortium's mapping of the IBM graphics characters.
"""

from __future__ import annotations

UNICODE = (
    " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
    + bytes(range(0x20, 0x7F)).decode("ascii")
    + "⌂"
    + bytes(range(0x80, 0xFF)).decode("cp437")
    + " "
)
