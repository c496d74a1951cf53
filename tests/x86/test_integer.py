"""Every encoding of every general-purpose instruction does what the host's processor does, in both ways."""

import pytest

from guesthouse.system.cpu.x86 import (
    atomics, bcd, bitops, bmi, branches, hints, integer, moves, multiply, ports, shifts, stack, strings,
)
from guesthouse.system.cpu.x86.definitions import Definition, definitions
from tests.x86.cases import Maker, modes
from tests.x86.compare import asked, differences
from tests.x86.host import Host
from tests.x86.oracle_unicorn import DIFFERS, Unicorn
from tests.x86.ours import Ours, Runner

MODULES = (
    integer,
    moves,
    shifts,
    multiply,
    bitops,
    bmi,
    atomics,
    stack,
    branches,
    hints,
    bcd,
    strings,
    ports,
)
NOT_HERE = {"int", "int3", "int1", "into"}  # the host's system takes them for itself
DEFINITIONS = [d for module in MODULES for d in definitions(module) if d.name not in NOT_HERE]


def check(definition: Definition, ours: Ours, host: Runner, rounds: int) -> None:
    """Compare `rounds` cases of each encoding."""
    for n, encoding in enumerate(definition.encodings):
        maker = Maker((definition.name, definition.run.__module__, n))
        for bits in modes(encoding):
            for _ in range(rounds):
                case = maker.case(definition, encoding, bits)
                theirs = host.run(asked(case), case.before, bits)
                found = differences(case, ours.run(case.code, case.before, bits), theirs)
                assert not found, (
                    f"{encoding.text} in {bits}-bit code, {case.code.hex(' ')}: {'; '.join(found)}"
                )


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_plain_it_does_what_the_host_does(definition: Definition, plain: Ours, host: Host) -> None:
    check(definition, plain, host, rounds=1)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_compiled_it_does_what_the_host_does(definition: Definition, threaded: Ours, host: Host) -> None:
    check(definition, threaded, host, rounds=20)


@pytest.fixture(scope="module")
def unicorn() -> Unicorn:
    return Unicorn()


@pytest.mark.parametrize(
    "definition", [d for d in DEFINITIONS if d.name not in DIFFERS], ids=lambda d: d.name
)
def test_unicorn_does_what_we_do(definition: Definition, threaded: Ours, unicorn: Unicorn) -> None:
    check(definition, threaded, unicorn, rounds=3)
