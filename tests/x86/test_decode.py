"""What bytes are an instruction, how long it is, and which prefixes it may have: as on the host's
processor."""

import pytest

from tests.x86.host import START, WINDOW, Host, Situation
from tests.x86.ours import Ours

UNDEFINED, PROTECTION = 6, 13

FINE = {
    "a REX that is not last means nothing": "48 66 01 d8",
    "the last of F2 and F3 counts": "f2 f3 0f b8 c3",
    "66 and F2 together are CRC32 of 16 bits": "66 f2 0f 38 f1 c3",
    "ES to DS mean nothing": "36 8b 06",
    "fifteen bytes are an instruction": "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90",
    "90 with REX.B exchanges": "41 90",
    "EAX with itself clears the upper half as 87 C0": "87 c0",
    "AH needs an instruction without REX": "88 e0",
    "with REX it is SPL": "40 88 e0",
    "an address of 32 bits wraps": "67 8b 04 0e",
    "the immediate comes after the displacement of RIP": "81 05 00 08 10 00 01 00 00 00",
    "a move of a 64-bit constant": "48 b8 ef cd ab 89 67 45 23 01",
    "LOCK before memory": "f0 01 06",
    "VEX of three bytes": "c4 e2 e8 f2 c1",
    "hint with any register": "0f 1f c0",
    "TEST has a second name": "f6 c8 01",
    "SHL has a second name": "c0 f0 01",
}
REFUSED = {
    "LOCK before a register": ("f0 01 d8", UNDEFINED),
    "LOCK before what only reads": ("f0 39 06", UNDEFINED),
    "LOCK before a move": ("f0 89 06", UNDEFINED),
    "LOCK before a load": ("f0 03 06", UNDEFINED),
    "sixteen bytes": ("66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", PROTECTION),
    "sixteen bytes with a displacement": (
        "66 66 66 66 66 66 66 66 66 81 84 0e 00 00 00 00 11 22",
        PROTECTION,
    ),
    "VEX after 66": ("66 c4 e2 e8 f2 c1", UNDEFINED),
    "VEX after REX": ("48 c4 e2 e8 f2 c1", UNDEFINED),
    "VEX after LOCK": ("f0 c4 e2 e8 f2 c1", UNDEFINED),
    "VEX of a map that is not there": ("c4 e0 e8 f2 c1", UNDEFINED),
    "VEX with a third operand where there is none": ("c4 e3 63 f0 c1 05", UNDEFINED),
    "a 256-bit form of what has none": ("c4 e2 ec f2 c1", UNDEFINED),
    "LEA of a register": ("8d c0", UNDEFINED),
    "CMPXCHG8B of a register": ("0f c7 c8", UNDEFINED),
    "the decimal group in 64-bit mode": ("27", UNDEFINED),
    "PUSH ES in 64-bit mode": ("06", UNDEFINED),
    "UD2": ("0f 0b", UNDEFINED),
    "UD1": ("0f b9 c0", UNDEFINED),
    "UD0": ("0f ff c0", UNDEFINED),
    "MOVBE after F3": ("f3 0f 38 f0 06", UNDEFINED),
    "8F with another digit than 0": ("8f c8", UNDEFINED),
    "FE with digit 2": ("fe d0", UNDEFINED),
    "FF with digit 7": ("ff f8", UNDEFINED),
    "C6 with digit 1": ("c6 c8 00", UNDEFINED),
}


@pytest.fixture(params=["plain", "threaded"])
def ours(request: pytest.FixtureRequest) -> Ours:
    runner: Ours = request.getfixturevalue(request.param)
    return runner


def situation() -> Situation:
    registers = [0x0123_4567_89AB_CDEF * (n + 1) & 0xFFFF_FFFF_FFFF_FFFF for n in range(16)]
    registers[1], registers[6] = 4, WINDOW + 32
    return Situation(registers, 0x246, bytes(range(256)))


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_it_means_the_same_as_on_the_host(text: str, ours: Ours, host: Host) -> None:
    code = bytes.fromhex(text)
    got, want = ours.run(code, situation()), host.run(code, situation())
    assert (got.trap, got.rip - START, got.registers) == (want.trap, want.rip - START, want.registers)


def test_f3_with_rex_b_before_90_exchanges(ours: Ours, host: Host) -> None:
    """As on AMD's processors; on Intel's it is PAUSE. 90 with REX.B alone exchanges on both."""
    exchanged, paused = host.run(bytes.fromhex("3e 41 90"), situation()), situation()
    assert ours.run(bytes.fromhex("f3 41 90"), situation()).registers == exchanged.registers
    theirs = host.run(bytes.fromhex("f3 41 90"), situation())
    assert theirs.rip - START == 3 and theirs.registers in (exchanged.registers, paused.registers)


@pytest.mark.parametrize(("text", "trap"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused(text: str, trap: int, ours: Ours, host: Host) -> None:
    code = bytes.fromhex(text)
    got, want = ours.run(code, situation()), host.run(code, situation())
    assert (got.trap, got.rip) == (trap, START) and want.trap == trap


@pytest.mark.parametrize("length", range(1, 12))
def test_an_instruction_may_lie_in_two_pages(length: int, plain: Ours) -> None:
    """Its bytes in the second page are looked at only if they belong to it: the page after the code is not
    there."""
    code = bytes.fromhex("48 81 84 0e 00 01 00 00 01 00 00 00")
    plain.memory.write(0x10_1000 - length, code[:length])
    before = situation()
    plain.prepare(b"", before, 64)
    plain.memory.write(0x10_1000 - length, code[:length])
    plain.cpu.pc = type(plain.cpu.pc)(0x10_1000 - length)
    plain.vcpu.run(1)
    got = plain.outcome(before)
    assert (got.trap, got.error, got.rip, int(plain.cpu.cr2)) == (14, 0x14, 0x10_1000 - length, 0x10_1000)
