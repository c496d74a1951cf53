"""Display memory in its two ways: compiled code, which processors call, and the same text as Python."""

import random

import pytest

from guesthouse.engine.chip_code import chip_code
from guesthouse.engine.cpu import REFUSED
from guesthouse.errors import UserError
from guesthouse.system.chips.vga.memory import FRAMEBUFFER, NOBODY, PLANES, DisplayMemory
from guesthouse.system.chips.vga.planes import Planes

EDGES = (0, 0x8000, 0x10000, 0x17FFC, 0x18000, 0xFFFC, 0x1FFF0)


@pytest.fixture(scope="module")
def code():
    return chip_code(DisplayMemory)


@pytest.fixture
def pair(code):
    """The same memory twice: as text, and compiled."""
    both = Planes(), Planes()
    both[1].compiled(code)
    return both


def choose_registers(rng, *memories):
    registers = {2: (15, rng.randrange(16)), 4: (2, rng.randrange(16) & 14)}
    for number, (plain, any) in registers.items():
        value = any if rng.random() < 0.7 else plain
        for memory in memories:
            memory.sequencer[number] = value
    for number in range(9):
        value = rng.randrange(256) if rng.random() < 0.6 else 0xFF if number == 8 else 0
        for memory in memories:
            memory.port_write(10, 2, number | value << 8)


def test_compiled_code_draws_what_its_text_says(pair):
    rng = random.Random(1)
    text, compiled = pair
    for _ in range(150):
        choose_registers(rng, *pair)
        who = rng.choice((PLANES, PLANES, PLANES, NOBODY))
        text.answer(who)
        compiled.answer(who)
        base = rng.choice(EDGES)
        for _ in range(16):
            offset, size, value = base + rng.randrange(12), rng.randrange(1, 9), rng.getrandbits(64)
            if rng.random() < 0.5:
                assert text.read(offset, size) == compiled.read(offset, size)
            else:
                text.write(offset, size, value)
                compiled.write(offset, size, value)
        assert text.save() == compiled.save()


def test_compiled_code_answers_ports_as_its_text_does_and_refuses_the_same(pair):
    rng = random.Random(3)
    for memory in pair:
        memory.colour_bits(6)
    for _ in range(3000):
        offset, size = rng.randrange(12), rng.choice((1, 1, 1, 2, 4))
        if rng.random() < 0.5:
            text, compiled = (memory.port_read(offset, size) for memory in pair)
            assert text == compiled
        else:
            value = rng.getrandbits(32)
            for memory in pair:
                memory.port_write(offset, size, value)
    assert pair[0].save() == pair[1].save()
    refused = ((8, 1), (5, 2), (9, 2))
    assert all(memory.port_read(offset, size) == REFUSED for memory in pair for offset, size in refused)


@pytest.mark.parametrize("way", (0, 1))
def test_a_bank_of_the_framebuffer_fills_the_first_half_of_the_window(pair, way):
    memory, room = pair[way], Planes()  # some memory of the host's
    memory.answer(FRAMEBUFFER, room.memory.where + DisplayMemory.offset("planes"))
    memory.write(0xFFFE, 4, 0xDDCCBBAA)
    assert room.save()["planes"][0xFFFE:0x10002] == b"\xAA\xBB\0\0"
    assert memory.read(0xFFFE, 4) == 0xFFFFBBAA and not any(memory.save()["planes"])


def test_what_was_saved_comes_back(pair):
    memory, other = pair
    choose_registers(random.Random(2), memory)
    memory.answer(PLANES)
    memory.write(0x18000, 8, 0x0706050403020100)
    other.restore(memory.save())
    assert other.save() == memory.save()
    with pytest.raises(UserError, match="snapshot"):
        other.restore({"planes": b""})


def test_code_comes_from_the_cache_unless_it_is_damaged(tmp_path, monkeypatch):
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    chip_code(DisplayMemory, tmp_path)
    kept, = pieces.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr("guesthouse.engine.chip_code.text", lambda chip: pytest.fail("compiled again"))
        chip_code(DisplayMemory, tmp_path)
    kept.write_bytes(kept.read_bytes()[:-1])
    memory = Planes()
    memory.compiled(chip_code(DisplayMemory, tmp_path))
    assert memory.read(0, 1) == 0xFF
