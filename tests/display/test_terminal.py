"""Text screens in a terminal: a small terminal of our own plays back what is sent and must show the screen."""

from __future__ import annotations

import random
import re

import pytest

from guesthouse.display.cp437 import UNICODE
from guesthouse.display.screen import Cursor, Picture, Text
from guesthouse.display.terminal import ANSI, Painter, sgr

TOKEN = re.compile(r"\x1b\[([?\d;]*)( ?[A-Za-z])|(.)", re.S)


class Terminal:
    """Understands what the painter uses, and nothing else."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.cells = {}
        self.row = self.column = 0
        self.colours, self.cursor, self.other = "", True, False

    def feed(self, data: bytes) -> None:
        for numbers, final, character in TOKEN.findall(data.decode()):
            if character:
                assert self.row < self.rows and self.column < self.columns, "written outside"
                assert (self.row, self.column) != (self.rows - 1, self.columns - 1), "this would scroll"
                self.cells[self.row, self.column] = (character, self.colours)
                self.column += 1
            elif final == "H":
                self.row, self.column = (int(n) - 1 for n in numbers.split(";"))
            elif final == "m":
                self.colours = numbers
            elif final == "J":
                self.cells.clear()
            elif numbers == "?25":
                self.cursor = final == "h"
            elif numbers == "?1049":
                self.other = final == "h"
            else:
                assert (numbers, final) == ("0", " q")


def expected(screen: Text, rows: int, columns: int, top: int):
    for row in range(min(screen.rows, rows)):
        for column in range(min(screen.columns, columns)):
            if (row, column) != (rows - 1, columns - 1):
                character, attribute = screen.row(top + row)[2 * column : 2 * column + 2]
                yield (row, column), (UNICODE[character], sgr(attribute, screen.blink)[2:-1])


@pytest.mark.parametrize("rows, columns", [(6, 20), (4, 11), (5, 12), (50, 132)])
def test_random_changes_are_shown_exactly(rows, columns):
    chance, terminal, painter = random.Random(rows), Terminal(rows, columns), Painter(rows, columns)
    width, height, cells, top = 12, 5, bytearray(bytes((32, 7)) * 60), 0
    for step in range(400):
        if chance.random() < 0.02:
            width, height, top = height, width, 0
        for _ in range(chance.choice((0, 1, 3, 40))):
            cells[chance.randrange(120)] = chance.randrange(256)
        cursor = Cursor(chance.randrange(14), chance.randrange(7)) if chance.random() < 0.8 else None
        screen = Text(width, height, bytes(cells), cursor, bool(step & 64))
        top = 0 if step % 64 == 0 else top  # where `blink` has changed, it begins anew
        if cursor and cursor.row < height and not top <= cursor.row < top + rows:
            top = cursor.row if cursor.row < top else cursor.row - rows + 1
        terminal.feed(painter.draw(screen))
        for place, cell in expected(screen, rows, columns, top):
            assert terminal.cells[place] == cell
        if cursor and cursor.row < height and cursor.column < min(width, columns):
            assert terminal.cursor and (terminal.row, terminal.column) == (cursor.row - top, cursor.column)
        else:
            assert not terminal.cursor


def test_a_terminal_of_24_rows_shows_where_a_guest_of_25_types(text):
    terminal, painter = Terminal(24, 80), Painter(24, 80)
    rows = [f"row {n}" for n in range(25)]
    terminal.feed(painter.draw(text(*rows, cursor=Cursor(6, 24))))
    assert [terminal.cells[row, 4][0] + terminal.cells[row, 5][0] for row in (0, 22, 23)] == ["1 ", "23", "24"]
    assert terminal.cursor and (terminal.row, terminal.column) == (23, 6)


def test_nothing_new_sends_nothing(text):
    painter = Painter()
    painter.draw(text("hello", cursor=Cursor(1, 0)))
    assert painter.draw(text("hello", cursor=Cursor(1, 0))) == b""


def test_one_changed_character_sends_little(text):
    painter = Painter()
    painter.draw(text("hello", "world"))
    assert painter.draw(text("hello", "wOrld")) == b"\x1b[2;2HO"


def test_colours_are_the_terminals_sixteen():
    assert sgr(0x1E, True) == "\x1b[0;93;44m" and sgr(0x94, True) == "\x1b[0;5;31;44m"
    assert sgr(0x94, False) == "\x1b[0;31;104m" and sorted(ANSI) == list(range(8))


def test_a_picture_is_told_in_a_sentence_and_text_comes_back(text):
    painter, screen = Painter(), text("hello")
    painter.draw(screen)
    assert b"picture of 2 by 1" in painter.draw(Picture(2, 1, bytes(6)))
    assert painter.draw(Picture(2, 1, bytes(6))) == b""
    assert b"hello" in painter.draw(screen)


def test_the_terminal_is_given_back():
    terminal, painter = Terminal(5, 5), Painter()
    terminal.feed(painter.draw(Text(1, 1, b"A\x07")))
    assert terminal.other and not terminal.cursor
    terminal.feed(painter.leave())
    assert not terminal.other and terminal.cursor and painter.leave() == b""
