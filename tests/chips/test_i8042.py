import pytest

from guesthouse.system.chips.i8042 import I8042, Port92

DATA, COMMAND = 0, 4


@pytest.fixture
def heard():
    return []


@pytest.fixture
def keyboard(heard):
    return I8042(lambda: heard.append("reset"), heard.append)


def test_the_reset_pulse_resets(keyboard, heard):
    assert keyboard.read(COMMAND, 1) & 2 == 0
    keyboard.write(COMMAND, 1, 0xFE)
    assert heard == ["reset"]


def test_pulsing_no_line_does_nothing(keyboard, heard):
    keyboard.write(COMMAND, 1, 0xFF)
    assert heard == []


def test_the_output_port_opens_and_closes_a20(keyboard, heard):
    for value in (0xDF, 0xDD):
        keyboard.write(COMMAND, 1, 0xD1)
        keyboard.write(DATA, 1, value)
    assert heard == [True, False]
    keyboard.write(COMMAND, 1, 0xD0)
    assert keyboard.read(COMMAND, 1) & 1 and keyboard.read(DATA, 1) == 0xDD
    assert not keyboard.read(COMMAND, 1) & 1


def test_the_command_byte_is_kept_and_the_self_test_passes(keyboard):
    keyboard.write(COMMAND, 1, 0x60)
    keyboard.write(DATA, 1, 0x47)
    keyboard.write(COMMAND, 1, 0x20)
    assert keyboard.read(DATA, 1) == 0x47
    keyboard.write(COMMAND, 1, 0xAA)
    assert keyboard.read(DATA, 1) == 0x55


def test_port_92_resets_on_a_rising_bit_and_gates_a20(heard):
    port = Port92(lambda: heard.append("reset"), heard.append)
    for value in (0, 2, 3, 3):
        port.write(0, 1, value)
    assert heard == [False, True, True, "reset", True] and port.read(0, 1) == 3
