"""Keys by all their names, and what terminals send for them."""

from __future__ import annotations

import random

import pytest

from guesthouse.display.keys import (
    CODES, KEYSYMS, Keysyms, chord, code, from_keysym, from_scancode, make, release, scan_codes, strokes, tap,
)  # fmt: skip
from guesthouse.display.typing import Typing
from guesthouse.errors import ConfigError


def test_the_keyboard_chip_knows_the_same_keys():
    from guesthouse.system.chips.ps2_keyboard import KEYS

    assert CODES == KEYS


def test_every_key_sends_what_scan_set_1_says():
    assert (make("a"), release("a")) == (b"\x1e", b"\x9e")
    assert (make("up"), release("up")) == (b"\xe0\x48", b"\xe0\xc8")
    assert (make("print"), release("print")) == (b"\xe0\x2a\xe0\x37", b"\xe0\xb7\xe0\xaa")
    assert (make("pause"), release("pause")) == (b"\xe1\x1d\x45\xe1\x9d\xc5", b"")
    assert all(from_scancode(code(name)) == name for name in CODES)


def test_keys_have_their_usual_other_names():
    assert code("Return") == code("enter") == 0x1C and code("A") == code("a") and code("left_shift") == 0x2A
    with pytest.raises(ConfigError, match="no such|'hyper'"):
        code("hyper")


def test_text_is_typed_as_on_a_us_keyboard():
    assert strokes("a\n") == [("a", True), ("a", False), ("enter", True), ("enter", False)]
    assert strokes("A") == [("shift", True), ("a", True), ("a", False), ("shift", False)]
    assert scan_codes(strokes(":")) == b"\x2a\x27\xa7\xaa"
    with pytest.raises(ConfigError, match="characters of a US keyboard"):
        strokes("ü")


@pytest.mark.parametrize(
    "keys, names",
    [
        ("ctrl+alt+delete", ["ctrl", "alt", "delete"]),
        ("Alt+F4", ["alt", "f4"]),
        ("ctrl++", ["ctrl", "="]),
        ("a", ["a"]),
        ("+", ["="]),
        ("kp_+", ["kp_+"]),
        ("ctrl+C", ["ctrl", "c"]),
    ],
)
def test_chords_go_down_in_order_and_come_up_in_the_other(keys, names):
    assert chord(keys) == [(n, True) for n in names] + [(n, False) for n in reversed(names)]


def test_keysyms_are_keys():
    assert [from_keysym(k) for k in (0x41, 0x20, 0xFF0D, 0xFFC9, 0xFF51, 0xE4)] == [
        "a",
        "space",
        "enter",
        "f12",
        "left",
        None,
    ]
    assert set(KEYSYMS.values()) <= set(CODES)


def test_shift_is_pressed_or_lifted_where_the_client_has_it_differently():
    keyboard = Keysyms()
    assert keyboard.events(0x41, True) == [("shift", True), ("a", True), ("shift", False)]
    assert keyboard.events(0x41, False) == [("a", False)]
    assert keyboard.events(0xFFE1, True) == [("shift", True)]
    assert keyboard.events(0x41, True) == [("a", True)]
    assert keyboard.events(0x2F, True) == [("shift", False), ("/", True), ("shift", True)]
    assert keyboard.events(0x1234, True) == keyboard.events(0x1234, False) == []


CASES = [
    (b"a", tap("a")), (b"A", tap("a", "shift")), (b"\r", tap("enter")), (b"\x7f", tap("backspace")),
    (b"\t", tap("tab")), (b"\x1b[Z", tap("tab", "shift")), (b"\x03", tap("c", "ctrl")), (b"\x1ba", tap("a", "alt")),
    (b"\x1bX", tap("x", "shift", "alt")), (b"\x1b[A", tap("up")), (b"\x1bOA", tap("up")), (b"\x1bOP", tap("f1")),
    (b"\x1b[[A", tap("f1")), (b"\x1b[11~", tap("f1")), (b"\x1b[15~", tap("f5")), (b"\x1b[24~", tap("f12")),
    (b"\x1b[1;5C", tap("right", "ctrl")), (b"\x1b[1;3P", tap("f1", "alt")), (b"\x1b[3;2~", tap("delete", "shift")),
    (b"\x1b[5^", tap("page_up", "ctrl")), (b"\x1b[1;6H", tap("home", "shift", "ctrl")), (b"\x00", tap("2", "ctrl")),
    (b"\xc3\xbc", []), (b"\x1b[99~", []), (b"\x1b[200~", []), (b"~", tap("`", "shift")),
]  # fmt: skip


@pytest.mark.parametrize("sent, keys", CASES)
def test_terminal_sequences_are_keys(sent, keys):
    typing = Typing()
    assert typing.feed(sent) == keys and not typing.pending


@pytest.mark.parametrize("sent, keys", CASES)
def test_sequences_that_come_in_pieces_are_the_same_keys(sent, keys):
    typing = Typing()
    assert [event for n in range(len(sent)) for event in typing.feed(sent[n : n + 1])] == keys


def test_a_lone_escape_waits_for_what_may_follow():
    typing = Typing()
    assert typing.feed(b"\x1b") == [] and typing.pending
    assert typing.flush() == tap("esc") and not typing.pending
    assert typing.feed(b"\x1b[") == [] and typing.flush() == tap("[", "alt")
    assert typing.feed(b"\x1b\x1b") == tap("esc") and typing.flush() == tap("esc")


def test_any_bytes_are_keys_that_exist_and_are_let_go():
    """Fuzz: whatever comes from a terminal, all keys exist, none stays down, nothing piles up."""
    chance, typing = random.Random(3), Typing()
    alphabet = b"\x1b\x1b\x1b[[O;;0159~^$AZPm\xc3\xe2\xf0\x80\xff\x00az"
    for _ in range(4000):
        down: set[str] = set()
        data = bytes(chance.choice(alphabet) for _ in range(chance.randint(1, 30)))
        for name, pressed in typing.feed(data) + (typing.flush() if chance.random() < 0.3 else []):
            assert name in CODES
            (down.add if pressed else down.remove)(name)
        assert not down and len(typing._waiting) < 64
