"""What one processor chooses for all, while the others run: which memory lies where (PAM, BARs, A20, SMRAM), INIT and
SIPI. It holds for every other as soon as the one goes on. Each program also runs by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from guesthouse.bits import u64
from guesthouse.clock import RealClock, VirtualClock
from guesthouse.engine.build import Engine, engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.manager.building import code_folder
from guesthouse.system.boards import x86
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import Died
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware.linux_x86 import X86Entry, write_gdt

MIB = 1 << 20
CODE, FLAG, WRONG, STACKS = 0x1_0000, 0x2_0000, 0x2_0080, 0x8_0000
HOW = 0x2_0100  # bytes: the value for "on", for "off"; words: PCI register or 0, port, what is seen when on, when off
ROUNDS = 400
ESP, ESI, EDI = 4, 6, 7
SPACE = 0x8000_0000  # a register of function 0:0.0

# EDI times: chooses on or off by a write to a port, raises its number at FLAG, waits until the other has acknowledged.
CHOOSER = bytes.fromhex(
    "31c9 41 a000010200 e831000000 890d00000200 f390 390d40000200 75f6 41 a001010200 e816000000 890d00000200 f390"
    "390d40000200 75f6 39f9 72c6 fa f4 88c4 89c6 a104010200 85c0 7405 66baf80c ef 89f0 8b1508010200 ee c3")
# Reads [ESI] all the time; whenever FLAG has changed, counts at WRONG if it is not what it should be, and acknowledges.
LOOKER = bytes.fromhex(
    "31c9 8b06 f390 8b1d00000200 39cb 74f2 8b06 89d9 f6c101 7408 3b050c010200 eb06 3b0510010200 7406 ff0580000200"
    "890d40000200 39f9 72c9 fa f4")
READER = bytes.fromhex("8b06 f390 8b1d00000200 39fb 72f2 fa f4")  # reads [ESI] until that is over


@pytest.fixture(scope="module")
def compiled() -> Engine:
    return engine(X86_GUEST, code_folder())


Team = Callable[..., ClassicPc]


@pytest.fixture(params=["parallel", "turns"])
def team(request: pytest.FixtureRequest, compiled: Engine) -> Iterator[Team]:
    """A PC whose processors each run a program in flat 32-bit code with ESI and EDI as given, and halt for good."""
    made: list[ClassicPc] = []

    def make(*programs: bytes, count: int = ROUNDS, look: int = 0) -> ClassicPc:
        parallel = request.param == "parallel"
        b = ClassicPc(16 * MIB, RealClock() if parallel else VirtualClock(),
                      lambda memory: SoftVcpu(X86_GUEST, compiled), cpus=len(programs), parallel=parallel,
                      firmware=bytes(0x1_0000), random_bytes=bytes)
        made.append(b)
        write_gdt(b.memory)
        for core, program in zip(b.cores, programs, strict=True):
            at = CODE + 0x1000 * core.number
            b.memory.write(at, program)
            reset(core.state, apic_id=core.number, processors=len(programs))
            x86.enter(core.state, X86Entry(at, False))
            core.state.a20_mask = ~u64(0)
            for n, value in ((ESP, STACKS + 0x1000 * core.number), (ESI, look), (EDI, count)):
                core.state.r[n] = u64(value)
            core.parked = False
        return b

    yield make
    for each in made:
        each.close()


def finish(board: ClassicPc) -> ClassicPc:
    outcome = board.run(seconds=120)
    assert isinstance(outcome, Died) and "halted for good" in outcome.reason, outcome
    return board


def word(board: ClassicPc, at: int) -> int:
    return int.from_bytes(board.memory.read(at, 4), "little")


def choose(board: ClassicPc, values: tuple[int, int], port: int, seen: tuple[int, int], register: int = 0) -> None:
    words = (register, port, *seen)
    board.memory.write(HOW, bytes(values) + bytes(2) + b"".join(v.to_bytes(4, "little") for v in words))


@pytest.mark.parametrize("readers", [0, 2])
def test_which_memory_lies_below_one_megabyte(team: Team, readers: int) -> None:
    b = team(CHOOSER, LOOKER, *[READER] * readers, look=0xD_0000)
    b.memory.write_behind(0xD_0000, bytes.fromhex("78563412"))
    choose(b, (0x33, 0x00), 0xCFC, (0x1234_5678, 0xFFFF_FFFF), SPACE | 0x5C)  # PAM3: RAM, or nothing
    assert word(finish(b), WRONG) == 0


def test_where_the_framebuffer_lies(team: Team) -> None:
    b = team(CHOOSER, LOOKER, look=0xD000_0000)
    slot = 3 << 11
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0xC000_0000)
    b.pci.host.config_write(0, 3, 0, 0x04, 2, 2)
    b.memory.write(0xC000_0000, bytes.fromhex("78563412"))
    choose(b, (0xD0, 0xC0), 0xCFF, (0x1234_5678, 0xFFFF_FFFF), SPACE | slot | 0x10)  # BAR0's last byte
    assert word(finish(b), WRONG) == 0


def test_whether_address_bit_20_counts(team: Team) -> None:
    b = team(CHOOSER, LOOKER, look=0x13_0000)
    for at, value in ((0x3_0000, "11111111"), (0x13_0000, "22222222")):
        b.memory.write(at, bytes.fromhex(value))
    choose(b, (0, 2), 0x92, (0x1111_1111, 0x2222_2222))  # port 92h, bit 1
    assert word(finish(b), WRONG) == 0


# EDI times INIT, SIPI, SIPI to the processor with the APIC ID 1, whose program at 13000h counts its starts at 20000h.
STARTER = bytes.fromhex(
    "bb0003e0fe 31c9 41 c7431000000001 c70300450000 c7431000000001 c70313460000 c7431000000001 c70313460000"
    "f390 390d00000200 72f6 39f9 72ca fa f4")
STARTED = bytes.fromhex("b80020 8ed8 f066ff060000 b96400 e2fe ebfe")  # ... and goes on for ever
STARTED_AND_HALTS = bytes.fromhex("b80020 8ed8 f066ff060000 fa f4")


@pytest.mark.parametrize("program", [STARTED, STARTED_AND_HALTS], ids=["busy", "halted"])
def test_a_processor_can_be_reset_and_started_again_and_again(team: Team, program: bytes) -> None:
    b = team(STARTER, bytes.fromhex("fa f4"))
    b.memory.write(0x1_3000, program)
    for _ in range(200):
        if word(b, FLAG) < ROUNDS:
            b.run(seconds=0.3)
    assert word(b, FLAG) == ROUNDS


# EDI times: out B2h, al; then the handler has counted at 20040h.
ASKER = bytes.fromhex("31c9 41 e6b2 39f9 72f9 890d00000200 fa f4")  # ... and says so at FLAG
WATCHER = bytes.fromhex("8b06 3d33c08ed8 7506 ff0580000200 833d0000020000 74e8 fa f4")
HANDLER = bytes.fromhex("33c0 8ed8 66ff064000 0faa")


def test_memory_of_system_management_is_seen_by_none_but_who_is_in_it(team: Team) -> None:
    """The handler's first bytes are what the others look for at A8000h."""
    b = team(ASKER, WATCHER, WATCHER, look=0xA_8000)
    b.memory.write_behind(0xA_8000, HANDLER)
    b.cores[0].state.smbase = u64(0xA_0000)
    b.pci.host.config_write(0, 0, 0, 0x72, 1, 0x0A)
    b.pci.host.config_write(0, 1, 3, 0x58, 4, 1 << 25)
    b.memory.write(FLAG, bytes(4))
    finish(b)
    assert word(b, FLAG) == ROUNDS and word(b, 0x40) >= ROUNDS - 1 and word(b, WRONG) == 0
