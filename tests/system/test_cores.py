"""Several processors that take turns: whose turn it is, how they are started, and that code of one is another's too."""

import pytest
from tests.system.fake import HALT, Scripted, x86_state

from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Died as CpuDied, PortWrite, Yields
from guesthouse.errors import UserError
from guesthouse.system.boards import x86
from guesthouse.system.boards.board import Board
from guesthouse.system.boards.cores import PATIENCE, TURN
from guesthouse.system.boards.outcome import Died, OutOfTime
from guesthouse.system.boards.pc import PcBoard
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware.linux_x86 import X86Entry, write_gdt
from guesthouse.system.memory import PAGE, Memory

MIB = 1 << 20


class Several(Board):
    """Processors that each play a script; which of them wake is a set of numbers."""

    def __init__(self, *scripts, **settings):
        left = list(scripts)
        super().__init__(Memory([(0, PAGE)]), VirtualClock(), lambda memory: Scripted(left.pop(0), x86_state()),
                         cpus=len(scripts), **settings)
        self.awake, self.log = set(), []
        self.ports.add(0x80, 1, lambda at, size: 0, lambda at, size, value: self.log.append(value), "log")

    def wakes(self):
        return self.core.number in self.awake

    def dead_halt(self):
        return "dead"


def say(n):
    return PortWrite(0x80, 1, n)


@pytest.fixture
def several(request):
    made = []

    def make(*scripts, **settings):
        made.append(Several(*scripts, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_processors_take_turns_of_a_fixed_number_of_instructions(several):
    b = several([TURN - 1, say(1), TURN, say(3), CpuDied("end")], [1, say(2), TURN])
    b.run()
    assert b.log == [1, 2, 3] and [core.vcpu.count for core in b.cores] == [2 * TURN - 1, TURN]


def test_one_that_halts_or_only_waits_gives_up_its_turn(several):
    b = several([say(1), HALT], [say(2), Yields(), say(3), Yields(), CpuDied("end")])
    b.run()
    assert b.log == [1, 2, 3]


def test_patience_is_asked_for_only_while_another_could_run(several):
    seen = []
    look = lambda vcpu: seen.append(int(vcpu.state.yield_at))  # noqa: E731
    b = several([look, HALT], [look, CpuDied("end")])
    b.run()
    assert seen == [PATIENCE, 0]


def test_virtual_time_goes_by_the_instructions_of_all(several):
    b = several([1000, HALT], [500, CpuDied("end")])
    b.run()
    assert b.clock.now() == b.count() == 1500


def test_a_run_is_limited_by_the_instructions_of_all(several):
    b = several([], [])
    assert b.run(instructions=3 * TURN + 5) == OutOfTime()
    assert [core.vcpu.count for core in b.cores] == [2 * TURN, TURN + 5]


def test_a_machine_whose_processors_all_halt_for_good_has_died(several):
    b = several([HALT], [HALT])
    outcome = b.run()
    assert isinstance(outcome, Died) and "processor 1" in outcome.report


def test_so_many_processors_there_are_not(several):
    for count in (0, 65):
        with pytest.raises(UserError, match=f"{count} processors"):
            Board(Memory([(0, PAGE)]), VirtualClock(), lambda memory: Scripted([], x86_state()), cpus=count)


# 32-bit code: sends INIT and SIPI 8 to APIC 1, waits with PAUSE until 9000h is not 0, halts with it in EAX.
STARTS_ANOTHER = bytes.fromhex(
    "bf0000e0fec7871003000000000001c7870003000000450000c7870003000008460000f390833d00"
    "9000000074f5a100900000faf4")
# The same through x2APIC's registers.
STARTS_ANOTHER_BY_X2APIC = bytes.fromhex(
    "b91b0000000f320d000c00000f30b930080000ba01000000b8004500000f30b8084600000f30f390"
    "833d009000000074f5a100900000faf4")
# 16-bit code at a page's start: the APIC ID that CPUID tells to 9004h, CS to 9000h, then a halt for good.
STARTED = bytes.fromhex("66b8010000000fa266c1eb18b800098ed866891e04008c0e0000faf4")


@pytest.fixture
def pc():
    made = []

    def make(code, cpus=2):
        made.append(PcBoard(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST), cpus=cpus,
                            random_bytes=lambda n: b"r" * n))
        reset(made[-1].state, processors=cpus)
        write_gdt(made[-1].memory)
        made[-1].memory.write(0x1_0000, code)
        x86.enter(made[-1].state, X86Entry(0x1_0000, False))
        return made[-1]

    yield make
    for board in made:
        board.close()


@pytest.mark.parametrize("code", [STARTS_ANOTHER, STARTS_ANOTHER_BY_X2APIC], ids=["xAPIC", "x2APIC"])
def test_init_and_sipi_start_a_processor_in_real_mode_at_the_page_that_was_told(pc, code):
    b = pc(code)
    b.memory.write(0x8000, STARTED)
    assert isinstance(b.run(instructions=100_000), Died)
    assert int(b.cores[0].state.r[0]) == 0x800 and b.memory.read(0x9004, 4) == b"\1\0\0\0"


def test_processors_that_nobody_starts_wait(pc):
    b = pc(bytes.fromhex("f4"))  # hlt
    outcome = b.run(instructions=1000)
    assert isinstance(outcome, Died) and b.cores[1].vcpu.count == 0
    assert "waits to be started" in outcome.report
