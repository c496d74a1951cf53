import pytest

from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.pci.function import Bar, Function
from guesthouse.system.chips.pci.host import PciHost
from guesthouse.system.chips.pci.i440fx import HostBridge

BAR0, BAR2 = 0x10, 0x18


class Card(Function):
    VENDOR, DEVICE, CLASS, PIN = 0x1234, 0x5678, 0x02_0000, 1
    WINDOWS = {0: Bar(0x4000), 1: Bar(0x40, io=True), 2: Bar(1 << 33, wide=True, prefetch=True)}
    CAPABILITIES = (bytes((9, 5, 0xAA)), bytes((5, 1, 2, 3, 4, 5, 6)))


@pytest.fixture
def moves():
    return []


@pytest.fixture
def host(moves):
    host = PciHost(lambda function, n, bar, at: moves.append((n, at)))
    host.plug(0, HostBridge())
    host.plug(3, Card(Line()))
    return host


def point(host, slot, register, bus=0, number=0):
    host.write(0, 4, 1 << 31 | bus << 16 | slot << 11 | number << 8 | register & 0xFC)


def get(host, register, size=4, slot=3):
    point(host, slot, register)
    return host.read(4 + (register & 3), size)


def put(host, register, value, size=4, slot=3):
    point(host, slot, register)
    host.write(4 + (register & 3), size, value)


def test_the_address_register_holds_what_linux_probes_with(host):
    host.write(0, 4, 0x8000_0000)
    assert host.read(0, 4) == 0x8000_0000


def test_the_bridge_is_in_slot_0_and_cards_where_they_are_plugged(host):
    assert get(host, 0, slot=0) == 0x1237_8086
    assert get(host, 0) == 0x5678_1234 and get(host, 0x0A, 2) == 0x0200 and get(host, 2, 2) == 0x5678
    assert get(host, 0x0B, 1) == 2


def test_an_empty_slot_another_bus_and_a_disabled_mechanism_read_as_ones(host):
    assert get(host, 0, slot=4) == 0xFFFF_FFFF
    point(host, 3, 0, bus=1)
    assert host.read(4, 4) == 0xFFFF_FFFF
    host.write(0, 4, 3 << 11)
    assert host.read(4, 2) == 0xFFFF


@pytest.mark.parametrize("register, found", [(BAR0, 0xFFFF_C000), (0x14, 0xFFFF_FFC1), (BAR2, 0x0000_000C),
                                             (0x1C, 0xFFFF_FFFE), (0x20, 0), (0x30, 0)])
def test_a_window_tells_its_size_when_ones_are_written(host, register, found):
    put(host, register, 0xFFFF_FFFF)
    assert get(host, register) == found


def test_a_window_answers_once_it_is_placed_and_decoding_is_on(host, moves):
    put(host, BAR0, 0xE000_0000)
    assert moves == []
    put(host, 4, 2, 2)
    assert moves == [(0, 0xE000_0000)]
    put(host, BAR0, 0xE100_0000)
    put(host, 4, 0, 2)
    assert moves[1:] == [(0, 0xE100_0000), (0, None)]


def test_ports_and_wide_windows_are_placed_too(host, moves):
    put(host, 0x14, 0xC000)
    put(host, BAR2, 0)
    put(host, 0x1C, 0x10)
    put(host, 4, 3, 2)
    assert moves == [(1, 0xC000), (2, 0x10_0000_0000)]


def test_the_capabilities_are_a_list(host):
    assert get(host, 6, 2) & 0x10
    first = get(host, 0x34, 1)
    assert get(host, first, 2) == 9 | (first + 4) << 8 and get(host, first + 2, 1) == 5
    assert get(host, first + 4, 2) == 5 and get(host, first + 6, 1) == 1


def test_a_wide_write_reaches_each_register_in_it_and_no_constant(host):
    put(host, 0, 0)
    put(host, 4, 0xFFFF_0007)
    put(host, 0x3C, 0xFFFF_FF0B)
    assert get(host, 0) == 0x5678_1234 and get(host, 4) == 0x0010_0007 and get(host, 0x3C) == 0x0000_010B


def test_the_interrupt_pin_is_silenced_by_the_command_register(host):
    card = host.functions[3, 0]
    card.interrupting = True
    card.settle()
    assert card.irq.high and get(host, 6, 1) == 0x18
    put(host, 4, 0x400, 2)
    assert not card.irq.high and get(host, 6, 1) == 0x18


def test_firmware_may_preset_the_interrupt_line(host):
    host.functions[3, 0].route(11)
    host.reset()
    assert get(host, 0x3C, 1) == 11


def test_reset_takes_the_windows_away_and_restoring_brings_them_back(host, moves):
    put(host, BAR0, 0xE000_0000)
    put(host, 4, 2, 2)
    saved = host.save()
    host.reset()
    assert moves[-1] == (0, None)
    host.restore(saved)
    assert moves[-1] == (0, 0xE000_0000)


def test_no_configuration_access_is_an_error(host):
    for register in range(0x100):
        for size in (1, 2, 4):
            value = host.config_read(0, 3, 0, register, size)
            assert 0 <= value < 1 << 8 * size
            host.config_write(0, 3, 0, register, size, 0xA5A5_A5A5 & (1 << 8 * size) - 1)
