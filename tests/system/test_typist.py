import pytest

from guesthouse.clock import VirtualClock
from guesthouse.errors import UserError
from guesthouse.system.boards.typist import HELD, Typist
from guesthouse.system.chips.ps2_keyboard import Ps2Keyboard


class Hands:
    def __init__(self):
        self.clock, self.keyboard = VirtualClock(), Ps2Keyboard()
        self.keyboard.scan_set = 1
        self.typist = Typist(self.keyboard, self.clock, lambda job: job())

    def sent(self, until):
        """The bytes on the wire by a guest time."""
        taken = bytearray()
        while self.clock.next_deadline() is not None and self.clock.next_deadline() <= until:
            self.clock.advance_to(self.clock.next_deadline())
            self.clock.fire_due()
            while self.keyboard.pending():
                taken.append(self.keyboard.take())
        return bytes(taken)


@pytest.fixture
def hands():
    return Hands()


def test_text_becomes_keys_that_go_down_and_up(hands):
    hands.typist.type("ver\n")
    assert hands.sent(10**9) == bytes.fromhex("2faf 1292 1393 1c9c") and hands.typist.waiting == 0


def test_capitals_and_signs_are_typed_with_shift(hands):
    hands.typist.type("A:")
    assert hands.sent(10**9) == bytes.fromhex("2a1e9eaa 2a27a7aa")


def test_keys_held_together_are_let_go_in_the_other_order(hands):
    hands.typist.tap("ctrl", "alt", "delete")
    assert hands.sent(10**9) == bytes.fromhex("1d 38 e053 e0d3 b8 9d")


def test_nobody_types_faster_than_a_bios_reads(hands):
    hands.typist.type("abc")
    assert hands.sent(3 * HELD) == bytes.fromhex("1e9e 30b0")


def test_what_a_deaf_keyboard_does_not_take_is_typed_when_it_listens(hands):
    hands.keyboard.scanning = False
    hands.typist.press("a")
    assert hands.sent(10 * HELD) == b""
    hands.keyboard.scanning = True
    assert hands.sent(20 * HELD) == b"\x1e"


@pytest.mark.parametrize("wrong", [lambda t: t.type("€"), lambda t: t.press("any"), lambda t: t.tap("ctrl", "x1")])
def test_keys_that_nobody_has_are_refused_at_once(hands, wrong):
    with pytest.raises(UserError):
        wrong(hands.typist)
    assert hands.typist.waiting == 0
