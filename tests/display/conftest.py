"""A font and screens for this room's tests; the glyph of each character is made of its own number."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guesthouse.display.screen import Cursor, Font, Text


@pytest.fixture(scope="session")
def font() -> Font:
    return Font(8, 16, b"".join(bytes((n ^ y * 37) & 0xFF for y in range(16)) for n in range(256)))


@pytest.fixture(scope="session")
def text() -> Callable[..., Text]:
    """A text screen from rows of characters, all in one attribute."""

    def made(
        *rows: str, attribute: int = 7, cursor: Cursor | None = None, columns: int = 20, **more: object
    ) -> Text:
        cells = bytearray()
        for row in rows:
            for character in row.ljust(columns):
                cells += bytes((character.encode("cp437")[0], attribute))
        return Text(columns, len(rows), bytes(cells), cursor, **more)  # type: ignore[arg-type]

    return made
