"""The VGA card: memory behind its controllers, registers, the VBE extension, and what is to be seen."""

from guesthouse.system.chips.vga.card import Vga
from guesthouse.system.chips.vga.screen import Picture, Screen, Text

__all__ = ["Picture", "Screen", "Text", "Vga"]
