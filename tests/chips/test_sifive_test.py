import pytest

from guesthouse.system.chips.sifive_test import SifiveTest


@pytest.mark.parametrize("value, told", [
    (0x5555, [("pass", 0)]), (0x3333 | 3 << 16, [("fail", 3)]), (0x7777, [("reset", 0)]), (0x1234, [])])
def test_the_verdict_and_the_code_are_told(value, told):
    heard = []
    chip = SifiveTest(lambda *verdict: heard.append(verdict))
    chip.write(0, 4, value)
    assert heard == told and chip.read(0, 4) == 0
