"""Ports of a byte or three: debugging, the printer, the speaker."""

import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.coprocessor_error import CoprocessorError
from guesthouse.system.chips.debug_console import DebugConsole
from guesthouse.system.chips.debug_exit import DebugExit
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.parallel import Parallel
from guesthouse.system.chips.pc_speaker import HIGH, LOW, RATE, SILENT, Speaker
from guesthouse.system.chips.pc_testdev import PcTestDevice


def test_a_guest_ends_the_machine_with_an_odd_code():
    heard = []
    chip = DebugExit(heard.append)
    chip.write(0, 1, 0x10)
    chip.write(0, 4, 0)
    assert heard == [0x21, 1]


def test_the_debug_console_says_that_it_is_there():
    heard = []
    chip = DebugConsole(heard.append)
    chip.write(0, 1, 0x41)
    assert heard == [b"A"] and chip.read(0, 1) == 0xE9


def test_a_byte_goes_to_the_printer_with_the_strobe():
    heard, edges = [], []
    chip = Parallel(Line(edges.append), heard.append)
    chip.write(0, 1, 0x41)
    chip.write(2, 1, 0x1D)
    assert heard == [] and chip.read(1, 1) & 0xC0 == 0xC0
    chip.write(2, 1, 0x1C)
    assert heard == [b"A"] and edges == [True] and chip.read(0, 1) == 0x41
    chip.write(2, 1, 0x1D)
    chip.write(2, 1, 0x1C)
    assert heard == [b"A", b"A"] and edges == [True, False, True]


class Spoken:
    """A speaker, and what is heard of it."""

    def __init__(self):
        self.clock, self.control, self.divisor, self.heard = Clock(), 0, 1193, bytearray()
        self.chip = Speaker(self.clock, lambda: self.control, lambda: self.divisor, self.heard.extend)

    def play(self, control, divisor, milliseconds):
        self.control, self.divisor = control, divisor
        self.chip.changed()
        self.clock.advance_to(self.clock.now() + milliseconds * 1_000_000)
        self.chip.flush()
        sound, self.heard[:] = bytes(self.heard), b""
        return sound


def test_the_speaker_sounds_while_gate_and_data_are_open():
    speaker = Spoken()
    speaker.control = 3
    assert round(speaker.chip.frequency) == 1000
    speaker.control = 1
    assert not speaker.chip.sounding and speaker.chip.frequency == 0


@pytest.mark.parametrize("divisor, hertz", [(1193, 1000), (2712, 440), (0x10000, 18)])
def test_a_tone_has_as_many_waves_as_the_timer_makes(divisor, hertz):
    sound = Spoken().play(3, divisor, 1000)
    assert len(sound) == RATE and set(sound) == {LOW, HIGH}
    assert abs(sound.count(bytes((LOW, HIGH))) - hertz) <= 1


def test_the_data_bit_alone_moves_the_cone_and_the_gate_alone_does_not():
    speaker = Spoken()
    assert set(speaker.play(2, 1193, 10)) == {HIGH} and set(speaker.play(1, 1193, 10)) == {SILENT}


@pytest.mark.parametrize("divisor", [0, 1, 20])
def test_what_nobody_can_hear_is_silence(divisor):
    assert set(Spoken().play(3, divisor, 10)) == {SILENT}


def test_hours_of_silence_are_two_seconds_and_hours_of_a_tone_come_in_pieces():
    speaker = Spoken()
    assert len(speaker.play(0, 1193, 3_600_000)) == 2 * RATE
    pieces = []
    speaker.chip.output = pieces.append
    speaker.play(3, 1193, 60_000)
    assert sum(map(len, pieces)) == 60 * RATE and max(map(len, pieces)) <= RATE


def test_an_error_of_the_coprocessor_stays_until_software_clears_it():
    edges, ignored = [], []
    chip = CoprocessorError(Line(edges.append), lambda: ignored.append(True))
    chip.error()
    chip.write(1, 1, 0)
    assert edges == [True] and not ignored
    chip.write(0, 1, 0)
    assert edges == [True, False] and ignored


def test_the_test_device_remembers_and_drives_lines():
    edges = []
    device = PcTestDevice([Line(edges.append)])
    device.port_write(0, 4, 0x11223344)
    device.port_write(1, 2, 0xAABB)
    device.memory_write(0xFFFE, 4, 0x55667788)
    assert device.port_read(0, 4) == 0x11AABB44 and device.memory_read(0xFFFE, 4) == 0x7788
    device.line_write(0, 4, 1)
    device.line_write(0, 1, 0)
    device.line_write(9, 1, 1)
    assert edges == [True, False]
