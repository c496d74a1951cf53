"""Screens as values and all that shows them: terminals, PNG files, VNC; and keys by name. Knows no chips."""
