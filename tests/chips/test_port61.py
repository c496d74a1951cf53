from guesthouse.clock import Clock
from guesthouse.system.chips.port61 import Port61


def test_the_gate_follows_bit_0_and_is_low_after_reset():
    gates = []
    port = Port61(Clock(), gates.append, lambda: False)
    port.write(0, 1, 0x01)
    port.reset()
    assert (gates[0], gates[1], gates[-1]) == (False, True, False)


def test_the_timer_output_and_the_written_bits_are_read():
    port = Port61(Clock(), lambda high: None, lambda: True)
    port.write(0, 1, 0xF3)
    assert port.read(0, 1) & ~0x10 == 0x23
