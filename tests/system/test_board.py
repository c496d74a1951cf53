import threading
import time

import pytest
from tests.system.fake import HALT, Scripted, x86_state

from guesthouse.clock import RealClock, VirtualClock
from guesthouse.engine.vcpu import (
    Breakpoint, Died as CpuDied, Exit, MemoryRead, MemoryWrite, PortRead, PortWrite,
)
from guesthouse.system.boards.board import PORT_NS, Board
from guesthouse.system.boards.outcome import AtBreakpoint, Died, OutOfTime, PoweredOff, Reset, Stopped
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.uart import Uart
from guesthouse.system.memory import PAGE, Memory


class Small(Board):
    """A board with a UART at 3F8h and a processor that any posted job wakes."""

    awake = False

    def __init__(self, script, clock=None, **settings):
        super().__init__(Memory([(0, PAGE)]), clock or VirtualClock(), lambda memory: Scripted(script, x86_state()),
                         **settings)
        self.port = self.serial[0]
        self.port.uart = Uart(Line(), self.port.emit)
        self.plug(self.ports, 0x3F8, self.port.uart, "uart0")

    def wakes(self):
        return self.awake

    def in_kernel(self):
        return self.state.cpl == 0


@pytest.fixture
def board(request):
    made = []

    def make(*script, **settings):
        made.append(Small(script, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()



def test_reads_are_answered_by_the_chip_at_that_port(board):
    b = board((PortRead, 0x3FD, 1), (PortRead, 0x2FD, 1), (PortRead, 0x2FD, 4), CpuDied("end"))
    b.run()
    assert b.vcpu.answers == [0x60, 0xFF, 0xFFFF_FFFF]
    assert b.statistics()["exits.unanswered"] == 2 and b.statistics()["ports.uart0"] == 1


def test_memory_that_nobody_answers_reads_as_ones_and_ignores_writes(board):
    b = board((MemoryRead, 1 << 40, 8), (MemoryRead, 1 << 40, 3), MemoryWrite(1 << 63, 4, 5), CpuDied("end"))
    b.run()
    assert b.vcpu.answers == [(1 << 64) - 1, 0xFF_FFFF]


def test_a_part_of_an_access_that_lies_in_two_pages_reaches_the_chip_in_aligned_pieces(board):
    b = board(MemoryWrite(0xD_0FFD, 3, 0xCCBBAA), (MemoryRead, 0xD_0FFD, 3), CpuDied("end"))
    seen = []
    b.addresses.add(0xD_0000, 0x1000, lambda offset, size: offset & 0xFF, lambda *access: seen.append(access), "piece")
    b.run()
    assert seen == [(0xFFD, 1, 0xAA), (0xFFE, 2, 0xCCBB)] and b.vcpu.answers == [0xFEFD]


def test_output_reaches_the_callback_before_the_guest_idles_and_when_it_ends(board):
    b = board(PortWrite(0x3F8, 1, ord("h")), PortWrite(0x3F8, 1, ord("i")), CpuDied("end"))
    said = []
    b.port.output = said.append
    b.run()
    assert b"".join(said) == b"hi"


def test_virtual_time_is_the_instruction_count_and_idle_skips_to_the_next_deadline(board):
    b = board(1000, HALT, 10, CpuDied("end"))
    fired = []

    def wake():
        fired.append(b.clock.now())
        b.awake = True

    b.clock.timer(wake).set(1_000_000)
    b.run()
    assert fired == [1_000_000] and b.clock.now() == 1_000_010


def test_a_slice_ends_where_a_timer_is_due(board):
    b = board(slice=1 << 20)
    b.clock.timer(b.power_off).set(5000)
    assert b.run() == PoweredOff()
    assert b.vcpu.count == 5000 and b.vcpu.budgets == [5000]


def test_the_processor_is_told_the_time_before_each_slice(board):
    ticks = []
    b = board(lambda vcpu: ticks.append(int(vcpu.state.ticks)), 70, PortWrite(0x80, 1, 0),
              lambda vcpu: ticks.append(int(vcpu.state.ticks)), CpuDied("end"))
    b.run()
    assert ticks == [0, 70 + PORT_NS]  # an access to a port takes its time at once


@pytest.mark.parametrize("limit", [{"until": 12_345}, {"instructions": 12_345}])
def test_limits_are_exact_and_the_run_can_go_on(board, limit):
    b = board()
    assert b.run(**limit) == OutOfTime() and b.vcpu.count == 12_345
    assert b.run(instructions=1) == OutOfTime() and b.vcpu.count == 12_346


def test_seconds_of_host_time_end_a_run_that_idles(board):
    b = board(HALT)
    start = time.monotonic()
    assert b.run(seconds=0.05) == OutOfTime()
    assert 0.04 < time.monotonic() - start < 2


def test_stop_ends_a_run_that_sleeps_and_one_that_computes(board):
    for script in ([HALT], []):
        b = board(*script)
        threading.Timer(0.05, b.stop).start()
        assert b.run() == Stopped()
        assert b.run(instructions=10, seconds=0.1) == OutOfTime()


def test_stop_before_run_is_not_lost(board):
    b = board()
    b.stop()
    assert b.run() == Stopped()


def test_a_posted_job_runs_between_slices_and_wakes_a_sleeper(board):
    b = board(HALT, CpuDied("end"))
    runs_in = []

    def job():
        runs_in.append(threading.get_ident())
        b.awake = True

    threading.Timer(0.05, lambda: b.post(job)).start()
    assert isinstance(b.run(seconds=10), Died) and runs_in == [threading.get_ident()]


def test_input_of_any_length_waits_until_the_guest_takes_it(board):
    b = board(100, PortRead(lambda value: None, 0x3F8, 1), 100, CpuDied("end"))
    b.port.uart.write(2, 1, 1)  # the FIFO on
    b.port.send(b"x" * 1000)
    assert b.port.pending == 1000
    b.run()
    assert b.port.pending == 1000 - 16 - 1 and len(b.port.uart.received) == 16


def test_the_end_that_a_chip_asks_for_is_the_outcome_and_stays(board):
    for end, outcome in (("power_off", PoweredOff()), ("reset", Reset())):
        b = board(10, lambda vcpu, end=end: getattr(vcpu.board, end)())
        b.vcpu.board = b
        assert b.run() == outcome and b.run() == outcome


def test_a_breakpoint_is_an_outcome_that_can_be_left(board):
    b = board(Breakpoint(0x1234), 5, CpuDied("end"))
    assert b.run() == AtBreakpoint(0x1234) and isinstance(b.run(), Died)


def test_a_death_tells_the_last_exits(board):
    b = board(*[PortWrite(0x80, 1, n) for n in range(100)], CpuDied("triple fault"))
    outcome = b.run()
    assert outcome.reason == "triple fault"
    lines = outcome.report.splitlines()
    assert sum("PortWrite" in line for line in lines) == 63 and "value=0x63" in lines[-2] and "CpuDied" not in lines[-1]


def test_real_time_never_goes_back_for_the_guest_and_does_not_run_away(board):
    host, seen = [0], []
    b = board(1_000_000, lambda vcpu: seen.append(int(vcpu.state.ticks)), PortWrite(0x80, 1, 0),
              lambda vcpu: seen.append(int(vcpu.state.ticks)), 10_000_000, CpuDied("end"),
              clock=RealClock(lambda: host[0]))
    b.run()
    assert 0 < seen[0] <= seen[1] <= b.clock.now()  # the host's clock stands, but the guest has seen its own go on
    assert b.clock.now() < 2_000_000  # ... ever more slowly: its instructions came faster than one in a nanosecond


def test_slices_in_real_time_adapt_and_in_virtual_time_do_not(board):
    real, virtual = board(clock=RealClock()), board()
    for b in (real, virtual):
        first = b.slice
        b.run(seconds=0.1)
        assert (b.slice != first) == (b is real)


PANIC = b"[    1.0] Kernel panic - not syncing: Attempted to kill init!\r\n" \
        b"[  1.1] ---[ end Kernel panic - not syncing: x ]---\r\n"


def say(data):
    return [PortWrite(0x3F8, 1, byte) for byte in data]


def test_a_kernel_that_hangs_after_its_panic_text_has_died_of_it(board):
    b = board(*say(PANIC))
    outcome = b.run(until=10**9)
    assert outcome.reason == "kernel panic: not syncing: Attempted to kill init!"
    assert b.clock.now() < 400_000_000


def test_a_program_that_prints_a_panic_text_does_no_harm(board):
    b = board(*say(PANIC), lambda vcpu: setattr(vcpu.state, "cpl", 3))
    assert b.run(until=10**9) == OutOfTime()
    b = board(*say(PANIC), *[HALT, 1000] * 3000)
    b.awake = True
    assert b.run(instructions=2_000_000) == OutOfTime() and b.panic is not None


def test_close_twice_is_once(board):
    b = board()
    b.close()
    b.close()


def test_two_boards_share_nothing(board):
    one, two = board(*say(b"one"), CpuDied("end")), board(*say(b"two"), CpuDied("end"))
    said = {one: b"", two: b""}
    for b in (one, two):
        b.port.output = lambda data, b=b: said.__setitem__(b, said[b] + data)
    one.run()
    two.run()
    assert said == {one: b"one", two: b"two"}


def test_every_exit_has_an_answer():
    def below(kind):
        return {kind} | {k for sub in kind.__subclasses__() for k in below(sub)}

    b = Small([])
    from guesthouse.engine.vcpu import Asks

    assert below(Exit) - {Exit, Asks} == set(b._answers)
    b.close()


def test_exits_can_be_traced():
    from guesthouse.trace import Trace

    lines = []
    b = Small([7, PortWrite(0x80, 1, 5), CpuDied("end")], trace=Trace(("exit.PortWrite",), write=lines.append))
    b.run()
    assert lines == ["7 exit.PortWrite port=0x80 size=1 value=5"]
    b.close()


def test_a_run_uses_the_engine_s_own_code_check_when_a_chip_writes_to_code():
    """DMA into a page with decoded code: the next instruction is the new one."""
    import struct

    from guesthouse.engine.soft import SoftVcpu
    from guesthouse.system.boards.virt import RAM, VirtBoard
    from guesthouse.system.cpu.riscv.guest import RISCV

    b = VirtBoard(16 << 20, VirtualClock(), lambda memory: SoftVcpu(RISCV))
    b.memory.write(RAM, struct.pack("<2I", 0x0015_0513, 0xFFDF_F06F))  # addi a0, a0, 1; j back
    b.state.reset(RAM)
    b.run(instructions=10)
    b.memory.write(RAM, struct.pack("<I", 0x0205_0513))  # addi a0, a0, 32
    b.run(instructions=10)
    assert int(b.state.x[10]) == 5 + 5 * 32
    b.close()
