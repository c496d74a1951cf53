"""Ports of a byte or three: debugging, the printer, the speaker."""

from guesthouse.system.chips.coprocessor_error import CoprocessorError
from guesthouse.system.chips.debug_console import DebugConsole
from guesthouse.system.chips.debug_exit import DebugExit
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.parallel import Parallel
from guesthouse.system.chips.pc_speaker import Speaker
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
    assert heard == [b"A"] and edges == [True, False] and chip.read(0, 1) == 0x41


def test_the_speaker_sounds_while_gate_and_data_are_open():
    control = [3]
    speaker = Speaker(lambda: control[0], lambda: 1193)
    assert round(speaker.frequency) == 1000
    control[0] = 1
    assert not speaker.sounding and speaker.frequency == 0


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
