import pytest

from guesthouse.bits import u64
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.uart import Uart
from guesthouse.system.chips.uart_sending import KEPT, REFUSED

DATA, ENABLE, IDENTIFY, FIFO, FORMAT, MODEM, STATUS, MODEM_STATUS, SCRATCH = 0, 1, 2, 2, 3, 4, 5, 6, 7


@pytest.fixture
def sent():
    return []


@pytest.fixture
def uart(sent):
    return Uart(Line(), sent.append)


def put(uart, offset, value):
    uart.write(offset, 1, value)


def get(uart, offset):
    return uart.read(offset, 1)


def test_what_the_guest_writes_leaves_when_it_waits(uart, sent):
    for byte in b"hi":
        assert get(uart, STATUS) == 0x60
        put(uart, DATA, byte)
    assert get(uart, STATUS) == 0x60 and sent == []
    assert get(uart, STATUS) == 0x60 and sent == [b"hi"]


def test_what_a_guest_sends_without_a_pause_leaves_in_pieces(uart, sent):
    for n in range(KEPT + 1):
        put(uart, DATA, n & 0xFF)
    assert sent == [bytes(range(KEPT))]
    uart.flush()
    assert sent[1:] == [b"\0"]


def test_a_byte_whose_sending_has_other_effects_is_left_to_the_chip(uart, sent):
    uart.reset()
    processors = uart.sending
    assert processors.write(u64(DATA), u64(1), u64(ord("a"))) == 0
    for register, value in ((FORMAT, 0x80), (MODEM, 0x10), (ENABLE, 0x02)):
        put(uart, register, value)
        assert processors.write(u64(DATA), u64(1), u64(ord("b"))) == REFUSED
        put(uart, register, 0)
    uart.receive_break()
    assert processors.read(u64(STATUS), u64(1)) == REFUSED
    uart.flush()
    assert sent == [b"a"]


def test_no_byte_is_lost_by_a_reset_or_a_snapshot(uart, sent):
    for end in (uart.reset, uart.save):
        put(uart, DATA, ord("x"))
        end()
    assert sent == [b"x", b"x"]


def test_input_raises_the_line_only_while_enabled_and_unread(uart):
    uart.receive(b"a")
    assert not uart.irq.high
    put(uart, ENABLE, 1)
    assert uart.irq.high and get(uart, IDENTIFY) == 0x04
    assert get(uart, DATA) == ord("a")
    assert not uart.irq.high and get(uart, IDENTIFY) == 0x01


def test_without_a_fifo_one_byte_fits_and_with_it_sixteen(uart):
    assert uart.receive(b"xy") == 1
    put(uart, FIFO, 0x01)
    assert uart.receive(b"x" * 20) == 16 and uart.receive(b"y") == 0 and uart.room() == 0


@pytest.mark.parametrize("code, level", [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_below_the_trigger_level_the_interrupt_is_a_timeout(uart, code, level):
    put(uart, FIFO, code)
    put(uart, ENABLE, 1)
    if level > 1:
        uart.receive(b"x" * (level - 1))
        assert get(uart, IDENTIFY) == 0xCC and uart.irq.high
    uart.receive(b"x")
    assert get(uart, IDENTIFY) == (0xC4 if uart.received and len(uart.received) >= level else 0xCC)


def test_linux_sees_a_16550a(uart):
    put(uart, FIFO, 0x01)
    assert get(uart, IDENTIFY) >> 6 == 3
    put(uart, FIFO, 0x00)
    assert get(uart, IDENTIFY) >> 6 == 0


def test_linux_finds_the_modem_lines_in_loopback(uart):
    put(uart, MODEM, 0x1A)
    assert get(uart, MODEM_STATUS) & 0xF0 == 0x90


def test_enabling_the_transmit_interrupt_while_empty_raises_it_each_time(uart):
    for _ in range(2):
        put(uart, ENABLE, 2)
        assert uart.irq.high and get(uart, IDENTIFY) == 0x02
        assert not uart.irq.high and get(uart, IDENTIFY) == 0x01
        put(uart, ENABLE, 0)


def test_a_sent_byte_raises_the_transmit_interrupt_again(uart):
    put(uart, ENABLE, 2)
    get(uart, IDENTIFY)
    put(uart, DATA, 1)
    assert uart.irq.high and get(uart, IDENTIFY) == 0x02


def test_received_data_comes_before_the_transmitter_and_reading_it_does_not_clear_the_other(uart):
    put(uart, ENABLE, 3)
    uart.receive(b"a")
    assert get(uart, IDENTIFY) == 0x04
    get(uart, DATA)
    assert get(uart, IDENTIFY) == 0x02


def test_a_break_is_a_line_status_interrupt_and_a_zero_byte(uart):
    put(uart, ENABLE, 0x05)
    uart.receive_break()
    assert get(uart, IDENTIFY) == 0x06
    assert get(uart, STATUS) == 0x71
    assert get(uart, IDENTIFY) == 0x04 and get(uart, DATA) == 0


def test_a_modem_line_that_changed_interrupts_until_the_status_is_read(uart):
    put(uart, ENABLE, 0x08)
    put(uart, MODEM, 0x10)
    assert get(uart, IDENTIFY) == 0x00
    assert get(uart, MODEM_STATUS) == 0x0B and not uart.irq.high


def test_in_loopback_the_guest_hears_itself_and_the_host_hears_nothing(uart, sent):
    put(uart, MODEM, 0x10)
    put(uart, DATA, 0x55)
    assert get(uart, STATUS) & 1 and get(uart, DATA) == 0x55 and sent == []
    assert uart.receive(b"x") == 0


def test_loopback_into_a_full_receiver_overruns(uart):
    put(uart, MODEM, 0x10)
    put(uart, DATA, 1)
    put(uart, DATA, 2)
    assert get(uart, STATUS) == 0x63 and get(uart, STATUS) == 0x61 and get(uart, DATA) == 1


def test_the_divisor_latch_hides_the_data_and_enable_registers(uart, sent):
    put(uart, FORMAT, 0x83)
    put(uart, DATA, 12)
    put(uart, ENABLE, 1)
    assert (get(uart, DATA), get(uart, ENABLE)) == (12, 1)
    put(uart, FORMAT, 0x03)
    uart.flush()
    assert (get(uart, DATA), get(uart, ENABLE)) == (0, 0) and sent == []


def test_clearing_the_receive_fifo_forgets_what_came(uart):
    put(uart, FIFO, 1)
    uart.receive(b"abc")
    put(uart, FIFO, 3)
    assert get(uart, STATUS) & 1 == 0


def test_the_scratch_register_and_the_enable_mask_hold(uart):
    put(uart, SCRATCH, 0xA5)
    put(uart, ENABLE, 0xFF)
    assert get(uart, SCRATCH) == 0xA5 and get(uart, ENABLE) == 0x0F


def test_a_restored_uart_raises_its_line_again(uart):
    put(uart, ENABLE, 1)
    uart.receive(b"z")
    copy = Uart(Line(), print)
    copy.restore(uart.save())
    assert copy.irq.high and get(copy, DATA) == ord("z")


@pytest.mark.parametrize("at", range(Uart.SIZE))
def test_no_access_is_an_error(uart, at):
    put(uart, at, 0xFF)
    assert 0 <= get(uart, at) <= 0xFF


def test_a_wider_access_is_several_of_a_byte(uart):
    uart.write(6, 2, 0x5A00)
    assert uart.read(6, 2) == 0x5AB0
