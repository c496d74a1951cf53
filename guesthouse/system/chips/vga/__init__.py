"""The VGA card: memory behind its controllers, registers, the VBE extension, and what is to be seen."""

from guesthouse.system.chips.vga.card import FRAME, Vga
from guesthouse.system.chips.vga.screen import Picture, Screen, Text

__all__ = ["FRAME", "Picture", "Screen", "Text", "Vga"]
