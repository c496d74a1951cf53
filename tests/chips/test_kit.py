import time

import pytest

from guesthouse.errors import UserError
from guesthouse.system.chips.kit import Chip, Field, Line, Register, Stateful, on_read, on_write
from guesthouse.trace import Trace


class Sample(Chip):
    SIZE = 0x40
    plain = Register(0, reset=0x12, writable=0xF0)
    wide = Register(4, width=32, sizes=(1, 2, 4))
    row = Register(8, width=32, count=3)
    hidden = Field(b"")
    log = Field([])

    def __init__(self, irq: Line) -> None:
        super().__init__()
        self.irq = irq

    @on_read(0x20, width=32, sizes=(1, 4))
    def status(self) -> int:
        return 0x11223344

    @on_read(0x24, width=32, sizes=(2, 4))
    def level(self) -> int:
        return 0xAAAABBBB

    @on_write(0x24, width=32, sizes=(2, 4))
    def set_level(self, value: int) -> None:
        self.log.append(value)

    @on_read(0x30, count=2)
    def which(self, index: int) -> int:
        return 0x50 + index

    @on_write(0x30, count=2)
    def set_which(self, index: int, value: int) -> None:
        self.log.append((index, value))

    def settle(self) -> None:
        self.irq.set(self.plain & 0x80)


@pytest.fixture
def chip():
    return Sample(Line())


def test_a_declared_register_keeps_the_bits_that_are_not_writable(chip):
    chip.write(0, 1, 0xFF)
    assert chip.read(0, 1) == 0xF2


def test_a_register_is_reached_whole_and_in_parts(chip):
    chip.write(4, 4, 0x11223344)
    chip.write(5, 1, 0xAA)
    chip.write(6, 2, 0xBBCC)
    assert chip.read(4, 4) == 0xBBCCAA44 and chip.read(7, 1) == 0xBB and chip.read(4, 2) == 0xAA44


def test_registers_in_a_row_are_one_list(chip):
    chip.write(12, 4, 7)
    assert chip.row == [0, 7, 0] and chip.read(12, 4) == 7


def test_methods_answer_parts_of_a_register(chip):
    assert [chip.read(0x20 + i, 1) for i in range(4)] == [0x44, 0x33, 0x22, 0x11]


def test_a_write_to_a_part_is_completed_with_what_a_read_finds(chip):
    chip.write(0x26, 2, 0x1234)
    chip.write(0x24, 4, 5)
    assert chip.log == [0x1234BBBB, 5]


def test_methods_of_a_row_are_told_which_register(chip):
    chip.write(0x31, 1, 9)
    assert chip.read(0x31, 1) == 0x51 and chip.log == [(1, 9)]


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_an_unknown_offset_reads_as_ones_and_is_told(chip, size):
    lines = []
    chip.trace_to(Trace.parse("sample.odd*", write=lines.append), "sample")
    assert chip.read(0x3F, size) == (1 << 8 * size) - 1
    chip.write(0x3F, size, 3)
    assert lines == [f"0 sample.odd_read offset=0x3f size={size}",
                     f"0 sample.odd_write offset=0x3f size={size} value=3"]


def test_each_access_is_traced_when_asked_for(chip):
    lines = []
    chip.trace_to(Trace.parse("sample", write=lines.append), "sample")
    chip.write(0, 1, 0x80)
    chip.read(0, 1)
    assert lines == ["0 sample.write offset=0 size=1 value=0x80", "0 sample.read offset=0 size=1 value=0x82"]
    assert chip.irq.high


def test_reset_brings_back_the_declared_values_and_drops_the_line(chip):
    chip.write(0, 1, 0x80)
    chip.write(0x24, 4, 5)
    assert chip.irq.high
    chip.reset()
    assert chip.read(0, 1) == 0x12 and chip.log == [] and not chip.irq.high


def test_two_chips_share_no_state(chip):
    other = Sample(Line())
    chip.write(0x24, 4, 5)
    chip.write(8, 4, 5)
    assert other.log == [] and other.row == [0, 0, 0]


def test_a_restored_chip_drives_its_line_and_shares_nothing_with_what_was_saved(chip):
    chip.write(0, 1, 0x80)
    saved = chip.save()
    copy = Sample(Line())
    copy.restore(saved)
    copy.log.append(1)
    assert copy.irq.high and saved["log"] == [] == chip.log


def test_a_snapshot_with_other_names_is_refused_with_the_names(chip):
    saved = chip.save()
    saved["surplus"] = saved.pop("wide")
    with pytest.raises(UserError, match="Sample: surplus, wide"):
        chip.restore(saved)


def test_a_chip_made_of_parts_saves_and_resets_them():
    class Counter(Stateful):
        count = Field(0)

    class Two(Chip):
        def __init__(self):
            self.a, self.b = Counter(), Counter()
            super().__init__()

        def parts(self):
            return {"a": self.a, "b": self.b}

    two, copy = Two(), Two()
    two.a.count = 5
    assert two.save() == {"a": {"count": 5}, "b": {"count": 0}}
    copy.restore(two.save())
    assert copy.a.count == 5
    copy.reset()
    assert copy.a.count == 0


def test_a_line_tells_changes_only():
    told = []
    line = Line(told.append)
    for level in (0, 1, True, 0):
        line.set(level)
    line.pulse()
    assert told == [True, False, True, False]


def test_a_shared_line_is_high_while_any_source_is():
    told = []
    line = Line(told.append)
    a, b = line.source(), line.source()
    a.set(True)
    b.set(True)
    a.set(False)
    assert line.high
    b.set(False)
    assert told == [True, False]


def test_the_register_page_names_what_answers_once():
    rows = Sample.describe().splitlines()
    assert "| 0x4 | 1, 2, 4 | wide | wide |" in rows and "| 0x20 | 1, 4 | status | - |" in rows
    assert "| 0x30 | 1 | which[0] | set_which[0] |" in rows and len(rows) == 4 + 6


def test_an_access_is_cheap_enough_to_boot_with(chip):
    best = min(_time(lambda: chip.read(0x20, 4)) for _ in range(5))
    assert best < 20e-6, "far above the microsecond that it should take, even on a loaded host"


def _time(access, n=200):
    start = time.perf_counter()
    for _ in range(n):
        access()
    return (time.perf_counter() - start) / n
