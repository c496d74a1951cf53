"""#AC: which accesses are checked, beside the host's processor; when, and what it looks like (SDM 3A, 2.3 and 6.15)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from guesthouse.bits import u64
from guesthouse.system.cpu.x86 import (
    atomics, bcd, bitops, bmi, branches, hints, integer, mmx, moves, multiply, shifts, sse_convert, sse_float,
    sse_integer, sse_moves, sse_shuffle, sse_state, stack, strings, x87_arithmetic, x87_control, x87_moves,
)
from guesthouse.system.cpu.x86.definitions import Definition, Encoding, definitions
from guesthouse.system.cpu.x86.flags import AC
from tests.x86.cases import Maker, modes
from tests.x86.compare import asked
from tests.x86.host import Host
from tests.x86.ours import Ours
from tests.x86.system_machine import CODE, STACK, Machine

MODULES = (
    atomics, bcd, bitops, bmi, branches, hints, integer, mmx, moves, multiply, shifts, sse_convert, sse_float,
    sse_integer, sse_moves, sse_shuffle, sse_state, stack, strings, x87_arithmetic, x87_control, x87_moves,
)
SKIPPED = {"int", "int3", "int1", "into", "popf"}  # the host's system takes these for itself; POPF may clear AC
MAY_DIFFER = {"fxsave", "fxrstor", "xsave", "xsaveopt", "xsavec", "xrstor"}  # #AC or #GP if both are due (SDM 2A)
AM = 1 << 18
MASKED = b"\x7f\x03" + bytes(22) + b"\x80\x1f" + bytes(486)  # FXSAVE's image: no exception of x87 or SSE is unmasked


def implied(encoding: Encoding) -> bool:
    return any(k.place in ("rm", "address", "parts", "moffs", "source", "destination") for k in encoding.kinds)


TOUCHING = [d for module in MODULES for d in definitions(module)
            if d.name not in SKIPPED | MAY_DIFFER and (module is stack or any(implied(e) for e in d.encodings))]


def is_amd() -> bool:
    return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()


@pytest.mark.skipif(not is_amd(), reason="Intel's processors may leave operands of 16 bytes unchecked")
@pytest.mark.parametrize("definition", TOUCHING, ids=lambda d: d.name)
def test_an_access_is_checked_where_the_host_checks_it(definition: Definition, threaded: Ours, host: Host) -> None:
    for n, encoding in enumerate(definition.encodings):
        maker = Maker((definition.name, "alignment", n))
        for bits in modes(encoding):
            for _ in range(12):
                case = maker.case(definition, encoding, bits)
                registers = list(case.before.registers)
                if definition.name in ("push", "pop", "call", "ret", "enter", "leave", "pusha", "popa", "pushf"):
                    registers[4] += maker.random.randrange(4) * 2
                before = dataclasses.replace(
                    case.before, flags=case.before.flags | AC, registers=registers, fx=MASKED)
                threaded.cpu.initialise_x87()
                theirs, ours = host.run(asked(case), before, bits), threaded.run(case.code, before, bits)
                told = [(s.trap, s.error, s.rip) for s in (ours, theirs)]
                assert told[0] == told[1], f"{encoding.text} in {bits}-bit code, {case.code.hex(' ')}: {told}"


LOAD = "8b0425{:08x}"  # mov eax, [address]
ODD = STACK + 0x801


@pytest.fixture
def m() -> Machine:
    return Machine()


def at(code: str, address: int) -> str:
    return code.format(int.from_bytes(address.to_bytes(4, "little"), "big"))


@pytest.mark.parametrize("user, am, ac, vector", [
    (True, True, True, 17), (False, True, True, None), (True, False, True, None), (True, True, False, None)])
def test_it_takes_all_three_of_cpl_3_am_and_ac(m: Machine, user: bool, am: bool, ac: bool, vector: int | None) -> None:
    m.cpu.cr0 = m.cpu.cr0 | (AM if am else 0)
    m.cpu.flags = u64(AC if ac else 0)
    if user:
        m.user(flags=0x202 | (AC if ac else 0))
    m.run(at(LOAD, ODD))
    assert m.vector == vector
    if vector:
        assert m.frame(code=True)[:2] == [0, CODE] and m.frame(code=True)[3] & AC


def careful(m: Machine) -> None:
    """A program that asks for checks."""
    m.cpu.cr0 = m.cpu.cr0 | AM
    m.user(flags=0x202 | AC)


def test_what_was_fast_before_is_checked_and_fast_again_after(m: Machine) -> None:
    m.cpu.cr0 = m.cpu.cr0 | AM
    m.user()
    m.run(at(LOAD, ODD))
    m.cpu.flags = m.cpu.flags | AC
    m.cpu.settle_privilege()
    m.run(at(LOAD, ODD))
    assert m.vector == 17
    m.user()
    fills = int(m.cpu.fills)
    m.run(at(LOAD, ODD))
    assert m.vector is None and int(m.cpu.fills) == fills


def test_popf_begins_to_check_with_the_next_instruction(m: Machine) -> None:
    m.cpu.cr0 = m.cpu.cr0 | AM
    m.user()
    m.put(int(m.cpu.r[4]), 0x202 | AC)
    m.run("9d" + at(LOAD, ODD), 2)
    assert m.vector == 17 and m.frame(code=True)[1] == CODE + 1


def test_an_operand_over_two_pages_is_checked_as_a_whole(m: Machine) -> None:
    careful(m)
    m.run(at(LOAD, STACK + 0xFFE))
    assert m.vector == 17


def test_it_comes_before_a_page_fault_but_after_an_address_that_is_none(m: Machine) -> None:
    careful(m)
    m.map(0x90000, 0)
    m.run(at(LOAD, 0x90001))
    assert m.vector == 17
    m.enter()
    careful(m)
    m.cpu.r[3] = u64(0x8000_0000_0000_0001)
    m.run("8b03")
    assert m.vector == 13


def test_nothing_is_written_by_what_faults(m: Machine) -> None:
    careful(m)
    m.put(ODD, 0x1234_5678, 4)
    m.run("c7042501080200 ffffffff".replace(" ", ""))
    assert m.vector == 17 and m.get(ODD, 4) == 0x1234_5678


def test_the_processors_own_accesses_are_not_checked(m: Machine) -> None:
    careful(m)
    m.cpu.gdtr.base = u64(int(m.cpu.gdtr.base) + 3)
    m.run("b820000000 0f02c8".replace(" ", ""), 2)  # mov eax, a selector; lar ecx, eax
    assert m.vector is None
