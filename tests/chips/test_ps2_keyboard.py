import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.i8042 import I8042
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.ps2_keyboard import KEYS, Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse

DATA, COMMAND = 0, 4


class Bench:
    def __init__(self, command_byte=0x47):
        self.keyboard, self.mouse, self.irq1, self.irq12 = Ps2Keyboard(), Ps2Mouse(), Line(), Line()
        self.clock = Clock()
        self.chip = I8042(lambda: None, keyboard=self.keyboard, mouse=self.mouse, irq1=self.irq1,
                          irq12=self.irq12, clock=self.clock)
        self.chip.write(COMMAND, 1, 0x60)
        self.chip.write(DATA, 1, command_byte)

    def bytes(self):
        found = []
        for _ in range(100):
            self.clock.advance_to(self.clock.now() + 1_000_000)
            self.clock.fire_due()
            if not self.chip.read(COMMAND, 1) & 1:
                break
            found.append(self.chip.read(DATA, 1))
        return bytes(found).hex(" ")

    def to_mouse(self, *values):
        answers = []
        for value in values:
            self.chip.write(COMMAND, 1, 0xD4)
            self.chip.write(DATA, 1, value)
            answers.append(self.bytes())
        return answers


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"pause", "print"}))
def test_each_key_comes_out_of_the_controller_as_its_set_1_code(key):
    bench, code = Bench(), KEYS[key]
    assert bench.keyboard.press(key) and bench.keyboard.release(key)
    prefix = "e0 " if code >> 8 else ""
    assert bench.bytes() == f"{prefix}{code & 0x7F:02x} {prefix}{code & 0x7F | 0x80:02x}"


def test_without_translation_a_key_is_in_set_2():
    bench = Bench(0x07)
    bench.keyboard.press("a")
    bench.keyboard.release("a")
    bench.keyboard.press("up")
    assert bench.bytes() == "1c f0 1c e0 75"


def test_pause_and_print_send_what_no_other_key_does():
    bench = Bench()
    bench.keyboard.press("pause")
    bench.keyboard.press("print")
    bench.keyboard.release("print")
    assert bench.bytes() == "e1 1d 45 e1 9d c5 e0 2a e0 37 e0 b7 e0 aa"


def test_each_byte_interrupts_once_and_stays_readable():
    bench = Bench()
    bench.keyboard.press("a")
    bench.keyboard.press("b")
    assert bench.irq1.high and bench.chip.read(DATA, 1) == 0x1E and not bench.irq1.high
    assert bench.chip.read(DATA, 1) == 0x1E
    assert bench.bytes() == "30"


def test_commands_are_acknowledged_and_kept():
    bench = Bench()
    for sent, answer in ((0xED, "fa"), (0x05, "fa"), (0xF2, "fa ab 41"), (0xEE, "ee"), (0xF0, "fa"), (0, "fa 41"),
                         (0xFF, "fa aa"), (0x01, "fe")):
        bench.chip.write(DATA, 1, sent)
        assert bench.bytes() == answer, hex(sent)


def test_the_leds_are_what_the_guest_has_set():
    bench = Bench()
    bench.chip.write(DATA, 1, 0xED)
    bench.chip.write(DATA, 1, 2)
    assert bench.keyboard.leds == 2


def test_a_closed_line_keeps_keys_back_until_it_is_opened():
    bench = Bench()
    bench.chip.write(COMMAND, 1, 0xAD)
    bench.keyboard.press("a")
    assert bench.bytes() == ""
    bench.chip.write(COMMAND, 1, 0xAE)
    assert bench.bytes() == "1e"


def test_keys_that_nobody_reads_are_refused_in_the_end():
    bench = Bench()
    assert not all(bench.keyboard.press("a") for _ in range(1000))


def test_both_interfaces_are_there():
    bench = Bench()
    for command in (0xA9, 0xAB):
        bench.chip.write(COMMAND, 1, command)
        assert bench.bytes() == "00"


def test_a_mouse_reports_movement_with_its_own_interrupt():
    bench = Bench()
    assert bench.to_mouse(0xF4) == ["fa"]
    bench.mouse.move(3, 2, 1)
    assert bench.irq12.high and not bench.irq1.high and bench.chip.read(COMMAND, 1) & 0x20
    assert bench.bytes() == "29 03 fe"


def test_a_mouse_grows_a_wheel_when_knocked_at():
    bench = Bench()
    bench.to_mouse(0xF3, 200, 0xF3, 100, 0xF3, 80)
    assert bench.to_mouse(0xF2, 0xF4) == ["fa 03", "fa"]
    bench.mouse.move(0, 0, 0, wheel=-1)
    assert bench.bytes() == "08 00 00 ff"


def test_a_mouse_tells_its_state_and_long_ways_in_packets_that_fit_signed_bytes():
    bench = Bench()
    assert bench.to_mouse(0xFF, 0xE9, 0xE8, 3, 0xF4) == ["fa aa 00", "fa 00 02 64", "fa", "fa", "fa"]
    bench.mouse.move(300, 130, 0)
    assert bench.bytes() == "28 7f 80 28 7f fe 08 2e 00"
