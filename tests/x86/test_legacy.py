"""Outside IA-32e mode: every general-purpose instruction in flat 32-bit code, in segments that are checked, and in
16-bit code with prefixes that make it the same."""

from __future__ import annotations

import pytest

from guesthouse.engine.build import Engine
from guesthouse.system.cpu.x86.definitions import Definition
from tests.x86.cases import JUMPS, Maker, modes
from tests.x86.compare import differences
from tests.x86.host import Host
from tests.x86.legacy import Legacy
from tests.x86.test_integer import DEFINITIONS

STRAIGHT = [d for d in DEFINITIONS if d.name not in (*JUMPS, "enter", "leave")]


@pytest.fixture(scope="module", params=["flat", "checked", "down"])
def legacy(request: pytest.FixtureRequest, machine_code: Engine) -> Legacy:
    return Legacy(machine_code, request.param)


def rounds(definition: Definition, legacy: Legacy, host: Host, bits: int, prefixes: bytes = b"") -> None:
    for n, encoding in enumerate(definition.encodings):
        maker = Maker((definition.name, definition.run.__module__, n, bits))
        if prefixes and encoding.prefix is not None:  # 66 would be another instruction
            continue
        for _ in range(6 if 32 in modes(encoding) else 0):
            case = maker.case(definition, encoding, 32)
            if prefixes and (case.code[0] == 0xC5 or 0x66 in case.code[:3] or 0x67 in case.code[:3]):
                continue
            theirs = host.run(case.code, case.before, 32)
            mine = legacy.run(prefixes + case.code, case.before, bits)
            if prefixes:
                mine.rip = theirs.rip
            found = differences(case, mine, theirs)
            assert not found, f"{encoding.text} in {bits}-bit code, {case.code.hex(' ')}: {'; '.join(found)}"


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_32_bit_code_does_what_the_host_does(definition: Definition, legacy: Legacy, host: Host) -> None:
    rounds(definition, legacy, host, 32)


@pytest.mark.parametrize("definition", STRAIGHT, ids=lambda d: d.name)
def test_16_bit_code_does_it_with_the_other_sizes(definition: Definition, legacy: Legacy, host: Host) -> None:
    rounds(definition, legacy, host, 16, b"\x66\x67")
