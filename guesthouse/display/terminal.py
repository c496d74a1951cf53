"""Text screens drawn into a terminal: only what has changed since the last time is sent.

After ECMA-48 (cursor, SGR) and xterm's control sequences (bright colours 90-97 and 100-107, cursor shape
DECSCUSR). Not modelled: the guest's own palette and fonts: the terminal's sixteen colours and code page 437
stand for them.
"""

from __future__ import annotations

from guesthouse.display.cp437 import UNICODE
from guesthouse.display.screen import Screen, Text

ANSI = (0, 4, 2, 6, 1, 5, 3, 7)  # a PC's colour has blue in bit 0, a terminal's has red
ENTER = "\x1b[?1049h\x1b[2J\x1b[?25l"
LEAVE = "\x1b[0m\x1b[0 q\x1b[?25h\x1b[?1049l"
GRAPHICS = "The guest shows a picture of {} by {}: see it with --display vnc or --screenshot."
CLOSE = 4  # unchanged cells that are cheaper to send than to jump over


class Painter:
    """Knows what the terminal shows, and says what to send so that it shows the screen.

    With `rows` and `columns` (the terminal's size) what does not fit is left out: columns on the right, and rows above
    or below those that follow the cursor, for a PC has 25 rows and a terminal often 24. The last cell of the
    terminal's last row is never written, for that would scroll it.
    """

    def __init__(self, rows: int | None = None, columns: int | None = None) -> None:
        self.rows, self.columns = rows, columns
        self._entered = False
        self.again()

    def again(self) -> None:
        """Forgets what the terminal shows: it was resized, or someone else wrote to it."""
        self._shown: list[bytes] = []
        self._kind = (0, 0, False)
        self._top = 0  # the first row of the screen that is shown
        self._attribute = -1
        self._cursor: tuple[int, int] | None | str = "unknown"
        self._at = (-1, -1)
        self._said = ""

    def resized(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.again()

    def draw(self, screen: Screen) -> bytes:
        """What to send to the terminal now."""
        out = [] if self._entered else [ENTER]
        self._entered = True
        if isinstance(screen, Text):
            out += self._text(screen)
        else:
            out += self._sentence(GRAPHICS.format(screen.width, screen.height))
        return "".join(out).encode()

    def leave(self) -> bytes:
        """Gives the terminal back as it was."""
        entered, self._entered = self._entered, False
        self.again()
        return LEAVE.encode() if entered else b""

    def _text(self, screen: Text) -> list[str]:
        out: list[str] = []
        kind = (screen.columns, screen.rows, screen.blink)
        if kind != self._kind or self._said:
            self.again()
            self._kind = kind
            out.append("\x1b[0m\x1b[2J")
        rows = min(screen.rows, self.rows or screen.rows)
        if screen.cursor and 0 <= screen.cursor.row < screen.rows:
            self._top = min(max(self._top, screen.cursor.row - rows + 1), screen.cursor.row)
        for number in range(rows):
            cells = self._visible(screen, number)
            if number >= len(self._shown):
                self._shown.append(b"")
            if cells != self._shown[number]:
                out += self._row(number, cells, self._shown[number], screen.blink)
                self._shown[number] = cells
        return out + self._place_cursor(screen)

    def _visible(self, screen: Text, number: int) -> bytes:
        """The cells of a row of the terminal, as far as it has room for them."""
        columns = min(screen.columns, self.columns or screen.columns)
        if self.rows and self.columns and number == self.rows - 1 and columns == self.columns:
            columns -= 1
        return screen.row(self._top + number)[: 2 * columns]

    def _row(self, number: int, cells: bytes, shown: bytes, blink: bool) -> list[str]:
        out, column, width = [], 0, len(cells) // 2
        while column < width:
            if cells[2 * column : 2 * column + 2] == shown[2 * column : 2 * column + 2]:
                column += 1
                continue
            if self._at[0] == number and 0 < column - self._at[1] <= CLOSE:
                column = self._at[1]
            elif self._at != (number, column):
                out.append(f"\x1b[{number + 1};{column + 1}H")
            out += self._cell(cells[2 * column], cells[2 * column + 1], blink)
            column += 1
            # After the last column terminals differ about where they are.
            self._at = (number, column) if column < (self.columns or width) else (-1, -1)
        return out

    def _cell(self, character: int, attribute: int, blink: bool) -> list[str]:
        out = [] if attribute == self._attribute else [sgr(attribute, blink)]
        self._attribute = attribute
        return [*out, UNICODE[character]]

    def _place_cursor(self, screen: Text) -> list[str]:
        cursor, wanted, out = screen.cursor, None, []
        columns = min(screen.columns, self.columns or screen.columns)
        if cursor and 0 <= cursor.row - self._top < len(self._shown) and 0 <= cursor.column < columns:
            wanted = (cursor.row - self._top, cursor.column)
        if wanted is None:
            out = [] if self._cursor is None else ["\x1b[?25l"]
        else:
            if self._at != wanted:
                out.append(f"\x1b[{wanted[0] + 1};{wanted[1] + 1}H")
                self._at = wanted
            if self._cursor is None or self._cursor == "unknown":
                out.append("\x1b[?25h")
        self._cursor = wanted
        return out

    def _sentence(self, sentence: str) -> list[str]:
        """Said once in place of a screen that cells cannot show."""
        if self._said == sentence:
            return []
        self.again()
        self._said = sentence
        return ["\x1b[0m\x1b[2J\x1b[?25l\x1b[1;1H", sentence]


def sgr(attribute: int, blink: bool) -> str:
    """The colours of a VGA attribute, all of them, so that none depends on those before."""
    fore, back = attribute & 15, attribute >> 4 & (7 if blink else 15)
    codes = [ANSI[fore & 7] + (90 if fore & 8 else 30), ANSI[back & 7] + (100 if back & 8 else 40)]
    blinks = ";5" if blink and attribute & 0x80 else ""
    return f"\x1b[0{blinks};{codes[0]};{codes[1]}m"
