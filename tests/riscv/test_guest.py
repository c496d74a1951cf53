"""The guest as a whole: what it lists, how it is shown, what reserved words are."""

import random

import pytest

from guesthouse.bits import u64
from guesthouse.system.cpu.riscv.guest import RISCV
from guesthouse.system.cpu.riscv.instructions import DECODER, INSTRUCTIONS, disassemble
from tests.riscv.machine import CODE, DATA, MASK, word


def test_every_instruction_has_a_name_an_encoding_and_a_section():
    assert all(i.name and i.pattern.text and i.section for i in INSTRUCTIONS) and len(INSTRUCTIONS) > 240


def test_encoding_and_decoding_agree():
    rng = random.Random(0)
    for number, instruction in enumerate(INSTRUCTIONS, 1):
        pattern = instruction.pattern
        most = {name: (1 << sum(p.width for p in pieces)) - 1 for name, pieces in pattern.fields.items()}
        values = {name: rng.randrange(1, most[name] + 1) << pattern.reach(name)[0] for name in most}
        encoded = instruction.encode(**values)
        found = int(DECODER.find(u64(encoded)))
        assert pattern.fits(encoded)
        special = INSTRUCTIONS[found - 1].pattern.mask & pattern.mask == pattern.mask
        assert found == number or special


@pytest.mark.parametrize("bits, text", [
    (0x00A50513, "addi a0, a0, 10"), (0xFF010113, "addi sp, sp, -16"), (0x8082, "c.jr ra"),
    (0x30200073, "mret"), (0xFE0718E3, "bne a4, zero, 0xff0"), (0x00C6FD53, "fadd.s fs10, fa3, fa2, dyn"),
    (0x0105B503, "ld a0, 16(a1)"), (0x6522, "c.ldsp a0, 8(sp)"), (0x000017B7, "lui a5, 0x1"),
    (0x1005A52F, "lr.w a0, (a1)"), (0, ".insn 0x0"), (0x10029073, "csrrw zero, 0x100, t0")])
def test_disassembly(bits, text):
    assert disassemble(bits, 0x1000) == text


@pytest.mark.parametrize("bits", [
    0x0000,  # defined to be illegal
    0x0004,  # c.addi4spn with 0
    0x2001, 0x6081, 0x6101,  # c.addiw to x0; c.lui and c.addi16sp with 0
    0x8002,  # c.jr to x0
    0x4002, 0x6002,  # c.lwsp and c.ldsp to x0
    0x8000, 0x9C41, 0x9C61])  # nothing
def test_reserved_compressed_words_are_illegal(bits):
    assert int(DECODER.find(u64(bits))) == 0


@pytest.mark.parametrize("bits", [0x0001, 0x0005, 0x6005, 0x4001, 0x0002, 0x8006, 0x9006])
def test_compressed_hints_do_nothing(machine, bits):
    before = [machine.x(n) for n in range(32)]
    machine.step(bits)
    assert machine.hart.pc == CODE + 2 and [machine.x(n) for n in range(32)] == before


def test_x0_stays_zero(machine):
    machine.set(x5=DATA)
    machine.store(DATA, MASK)
    machine.step(word("addi", rd=0, rs1=0, imm=5), word("ld", rd=0, rs1=5, imm=0),
                 word("add", rd=6, rs1=0, rs2=0))
    assert machine.x(0) == machine.x(6) == 0


def test_a_compressed_instruction_has_the_handler_of_its_expansion():
    handlers = {i.name: i.handler for i in INSTRUCTIONS}
    assert handlers["c.addi"] is handlers["addi"] and handlers["c.lwsp"] is handlers["lw"]


def test_self_modified_code_is_seen(machine):
    store = word("sw", rs2=6, rs1=5, imm=8)
    machine.program(store, word("addi", rd=7, rs1=0, imm=1), word("addi", rd=7, rs1=0, imm=1))
    machine.set(x5=CODE, x6=word("addi", rd=7, rs1=0, imm=2))
    machine.run(3)
    assert machine.x(7) == 2


def test_handlers_are_few_enough_for_their_table():
    assert len(RISCV.handlers) < 1 << 16 and len(set(RISCV.handlers)) == len(RISCV.handlers)


def test_what_the_host_writes_over_code_is_decoded_anew(machine):
    for value in (1, 2):
        machine.memory.write(CODE, word("addi", rd=5, rs1=0, imm=value).to_bytes(4, "little"))
        machine.hart.pc = u64(CODE)
        machine.run(1)
        assert machine.x(5) == value
