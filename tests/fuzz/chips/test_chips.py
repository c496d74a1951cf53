"""Every chip under 100,000 operations, random ones and a driver's: what subject.py says of all holds."""

import pytest

from tests.fuzz.chips.catalogue import SUBJECTS, chip_classes, reached
from tests.fuzz.chips.run import deadline, fuzz
from tests.fuzz.chips.subject import Broken, must

OPERATIONS, SECONDS, LEFT_BEHIND = (
    100_000,
    100,
    5_000,
)  # blocks of memory: a leak would leave tens of thousands


@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_breaks_it_and_no_memory_is_left_behind(name):
    with deadline(SECONDS):
        assert fuzz(SUBJECTS[name], OPERATIONS, name) < LEFT_BEHIND


def test_every_class_of_chip_is_reached():
    missing = chip_classes() - {one for kind in SUBJECTS.values() for one in reached(kind)}
    assert not missing, "without a subject in tests/fuzz/chips/subjects: " + ", ".join(
        sorted(f"{one.__module__}.{one.__name__}" for one in missing))


def test_what_hangs_is_broken_off():
    with pytest.raises(Broken, match="hangs"), deadline(0.05):
        while True:
            must(True)
