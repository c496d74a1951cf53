"""The hot way of RISC-V against its threaded way: the same state after the same number of instructions."""

import pytest

from guesthouse.engine.hot import regions, workshop
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.system.cpu.riscv.guest import RISCV
from tests.riscv.machine import DATA, Machine, word

LOOPS = {
    "integers": [word("add", rd=5, rs1=5, rs2=6), word("xor", rd=6, rs1=6, rs2=5), word("mul", rd=7, rs1=5, rs2=6),
                 word("srli", rd=7, rs1=7, shamt=3), word("sltu", rd=8, rs1=7, rs2=5)],
    "memory": [word("ld", rd=5, rs1=10, imm=8), word("addi", rd=5, rs1=5, imm=3), word("sd", rs1=10, rs2=5, imm=8),
               word("lbu", rd=6, rs1=10, imm=9), word("add", rd=7, rs1=7, rs2=6)],
    "pages": [word("ld", rd=5, rs1=10), word("addi", rd=10, rs1=10, imm=1000), word("add", rd=6, rs1=6, rs2=5),
              word("sd", rs1=10, rs2=6, imm=-1200), word("lw", rd=7, rs1=10, imm=-1196), word("sb", rs1=10, rs2=7),
              word("slli", rd=11, rs1=10, shamt=46), word("srli", rd=11, rs1=11, shamt=46),
              word("add", rd=10, rs1=12, rs2=11)],
    "zero": [word("addi", rd=0, rs1=5, imm=1), word("add", rd=5, rs1=0, rs2=6), word("addi", rd=6, rs1=5, imm=1)],
}


@pytest.mark.parametrize("name", LOOPS)
def test_hot_code_is_as_exact_as_threaded_code(compiled, name, monkeypatch):
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    body = LOOPS[name]
    made = []
    for hot in (False, True):
        machine = Machine(compiled)
        machine.program(*body, word("addi", rd=9, rs1=9, imm=1), word("jal", rd=0, imm=-4 * (len(body) + 1)))
        machine.set(x5=3, x6=0x1234_5678_9ABC, x10=DATA, x12=DATA)
        way = Regions(compiled, machine.hart, Inside(RISCV)) if hot else None
        states = []
        for budget in (5000, 5000, 5000, 1, 7, 4096, 9991):
            machine.vcpu.run(budget)
            states.append(([machine.x(n) for n in range(32)], int(machine.hart.pc), machine.load(DATA + 8)))
            if way:
                way.look()
        assert way is None or way.installed
        made.append(states)
        machine.memory.close()
    assert made[0] == made[1]


def test_accesses_near_one_another_ask_for_their_page_once(compiled, monkeypatch):
    texts, real = [], workshop.machine_code
    monkeypatch.setattr(regions, "ENOUGH", 1)
    monkeypatch.setattr(regions, "STAYS", 0)
    monkeypatch.setattr(workshop, "machine_code", lambda text: (texts.append(text), real(text))[1])
    machine = Machine(compiled)
    body = [*(word("ld", rd=n, rs1=10, imm=8 * n) for n in (5, 6, 7)), word("addi", rd=10, rs1=10, imm=8),
            *(word("sd", rs1=10, rs2=n, imm=8 * n) for n in (5, 6, 7)), word("addi", rd=10, rs1=10, imm=-8)]
    machine.program(*body, word("jal", rd=0, imm=-4 * len(body)))
    machine.set(x10=DATA)
    way = Regions(compiled, machine.hart, Inside(RISCV))
    for _ in range(3):
        machine.vcpu.run(1000)
        way.look()
    text = max(texts, key=len)
    assert (text.count("[6 x i64]"), text.count("br i1 %near")) == (1, 4)  # two cells of three words: loads, and stores
    machine.memory.close()
