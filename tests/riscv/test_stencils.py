"""Blocks put together from stencils: calls and returns."""

from __future__ import annotations

import pytest

from guesthouse.bits import u8, u64
from guesthouse.engine.build import Engine
from guesthouse.engine.processor import JUMPS, Jump
from guesthouse.typed import fill
from tests.riscv.machine import DATA, Machine, word


@pytest.mark.parametrize("back", [word("ret"), word("c.jr", rs1=1)])
def test_a_return_to_where_a_call_has_promised_asks_no_cache(compiled: Engine, back: int) -> None:
    if not compiled.stencils:
        pytest.skip("stencils are for hosts that are x86-64 and have ELF objects")
    machine = Machine(compiled)
    machine.program(word("jal", rd=1, imm=16), word("addi", rd=5, rs1=5, imm=1), word("jal", rd=1, imm=8),
                    word("j", imm=-12), word("addi", rd=6, rs1=6, imm=1), back)
    machine.set(x2=DATA).run(1000)
    fill(machine.hart.jumps.address, u8(0xFF), u64(JUMPS * Jump.size))
    lookups = int(machine.hart.lookups)
    machine.run(9000)
    assert int(machine.hart.lookups) - lookups < 10
    assert machine.x(5) > 1000 and 0 <= machine.x(6) - 2 * machine.x(5) <= 1
