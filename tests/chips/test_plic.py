import pytest

from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.plic import Plic

PENDING, ENABLE, THRESHOLD, CLAIM = 0x1000, 0x2000, 0x200000, 0x200004


@pytest.fixture
def plic():
    plic = Plic([Line(), Line()], sources=40)
    for n in (5, 6, 35):
        plic.write(4 * n, 4, 1)
    plic.write(ENABLE, 4, 0xFFFF_FFFF)
    plic.write(ENABLE + 4, 4, 0xFFFF_FFFF)
    return plic


def claim(plic, context=0):
    return plic.read(CLAIM + 0x1000 * context, 4)


def complete(plic, n, context=0):
    plic.write(CLAIM + 0x1000 * context, 4, n)


def test_a_source_is_claimed_once_and_again_after_completion_while_it_is_high(plic):
    plic.set_input(5, True)
    assert plic.outputs[0].high and not plic.outputs[1].high
    assert claim(plic) == 5 and claim(plic) == 0 and not plic.outputs[0].high
    complete(plic, 5)
    assert claim(plic) == 5
    plic.set_input(5, False)
    complete(plic, 5)
    assert claim(plic) == 0


def test_a_request_stays_pending_when_the_source_falls(plic):
    plic.set_input(35, True)
    plic.set_input(35, False)
    assert plic.read(PENDING + 4, 4) == 8 and claim(plic) == 35 and plic.read(PENDING + 4, 4) == 0


def test_the_highest_priority_comes_first_then_the_lowest_number(plic):
    plic.write(4 * 35, 4, 7)
    for n in (6, 35, 5):
        plic.set_input(n, True)
    assert [claim(plic) for _ in range(3)] == [35, 5, 6]


def test_the_threshold_holds_back_what_is_not_above_it(plic):
    plic.set_input(5, True)
    plic.write(THRESHOLD, 4, 1)
    assert not plic.outputs[0].high and claim(plic) == 0
    plic.write(THRESHOLD, 4, 0)
    assert plic.outputs[0].high


def test_priority_zero_never_interrupts(plic):
    plic.write(4 * 5, 4, 0)
    plic.set_input(5, True)
    assert not plic.outputs[0].high and claim(plic) == 0


def test_each_context_enables_for_itself(plic):
    plic.write(ENABLE, 4, 0)
    plic.write(ENABLE + 0x80, 4, 1 << 5)
    plic.set_input(5, True)
    assert not plic.outputs[0].high and plic.outputs[1].high and claim(plic, 1) == 5


def test_completing_what_is_not_enabled_for_the_context_is_ignored(plic):
    plic.set_input(5, True)
    claim(plic)
    complete(plic, 5, context=1)
    complete(plic, 0xFFFF_FFFF)
    assert claim(plic) == 0


def test_source_zero_does_not_exist(plic):
    plic.write(0, 4, 7)
    assert plic.read(0, 4) == 0 and plic.read(ENABLE, 4) == 0xFFFF_FFFE
    plic.set_input(0, True)
    assert plic.pending == 0


def test_what_is_beyond_the_sources_and_contexts_reads_as_zero(plic):
    for at in (4 * 41, ENABLE + 0x100, CLAIM + 0x2000, THRESHOLD + 8, ENABLE + 0x7C):
        plic.write(at, 4, 0xFFFF_FFFF)
        assert plic.read(at, 4) == 0, hex(at)


def test_a_restored_plic_interrupts_again(plic):
    plic.set_input(5, True)
    copy = Plic([Line(), Line()], sources=40)
    copy.restore(plic.save())
    assert copy.outputs[0].high and claim(copy) == 5
