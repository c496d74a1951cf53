"""The fuzzers against bugs on purpose: at least 95 of 100 are found."""

from tests.fuzz.chips.mutants import hunt_all
from tests.fuzz.chips.planted import PLANTED, planted

OPERATIONS = 50_000


def test_the_fuzzers_find_what_was_planted():
    verdicts = hunt_all(planted(OPERATIONS))
    missed = [f"{one.name}: {one.how}" for one in verdicts if not one.found]
    assert len(missed) <= len(verdicts) // 20, "\n".join(missed)


def test_bugs_are_planted_in_most_rooms_of_the_chips():
    modules = {module for module, *_ in PLANTED}
    assert len(PLANTED) >= 30 and len(modules) >= 25
    assert {module.partition(".")[0] for module in modules if "." in module} == {
        "e1000",
        "ide",
        "pci",
        "vga",
        "virtio",
    }
