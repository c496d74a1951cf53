"""The gallery's page is its script's, and its pictures are few and small."""

from __future__ import annotations

from tools import gallery


def test_the_page_is_what_the_script_writes_and_has_all_its_pictures() -> None:
    assert gallery.PAGE.read_text() == gallery.page(), "run: python tools/gallery.py"
    assert {file.stem for file in gallery.PICTURES.iterdir()} == set(gallery.SHOTS)


def test_the_pictures_are_small() -> None:
    sizes = [file.stat().st_size for file in gallery.PICTURES.glob("*.png")]
    assert sum(sizes) < 300_000 and all(file.read_bytes()[:4] == b"\x89PNG" for file in gallery.PICTURES.glob("*.png"))
