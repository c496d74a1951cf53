"""Processors in threads of their own: memory is ordered as on x86, atomic instructions are atomic, code that another
changes is seen, and the board stops, goes on and reports as ever. Each program also runs by turns."""

import threading
import time
from collections import Counter

import pytest

from guesthouse.bits import u64
from guesthouse.clock import RealClock, VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.errors import UserError
from guesthouse.manager.building import code_folder
from guesthouse.system.boards import x86
from guesthouse.system.boards.outcome import Died, OutOfTime, Stopped
from guesthouse.system.boards.pc import PcBoard
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware.linux_x86 import X86Entry, write_gdt

MIB = 1 << 20
CODE, DATA, STACKS = 0x1_0000, 0x2_0000, 0x8_0000
STEP = 64  # between the places of two rounds of a litmus test: a cache line
ROUNDS = 3000
EBX, ESP, EDI = 3, 4, 7


@pytest.fixture(scope="module")
def compiled():
    return engine(X86_GUEST, code_folder())


@pytest.fixture(params=["parallel", "turns"])
def team(request, compiled):
    """Makes a board whose processors each run a program in flat 32-bit code, and halt for good."""
    made = []

    def make(*programs, count=0, **options):
        parallel = request.param == "parallel"
        b = PcBoard(16 * MIB, RealClock() if parallel else VirtualClock(), lambda memory: SoftVcpu(X86_GUEST, compiled),
                    cpus=len(programs), parallel=parallel, **options)
        made.append(b)
        write_gdt(b.memory)
        for core, program in zip(b.cores, programs, strict=True):
            at = CODE + 0x1000 * core.number if isinstance(program, bytes) else program
            if isinstance(program, bytes):
                b.memory.write(at, program)
            reset(core.state, apic_id=core.number, processors=len(programs))
            x86.enter(core.state, X86Entry(at, False))
            core.state.r[ESP], core.state.r[EDI] = u64(STACKS + 0x1000 * core.number), u64(count)
            core.parked = False
        return b

    yield make
    for each in made:
        each.close()


def finish(board):
    outcome = board.run(seconds=120)
    assert isinstance(outcome, Died) and "halted for good" in outcome.reason, outcome
    return board


def word(board, at, size=4):
    return int.from_bytes(board.memory.read(at, size), "little")


# Litmus tests: in each round the processors meet, then each does a few accesses to places of that round.

X, Y, RESULTS, MEET = 0x10_0000, 0x20_0000, 0x30_0000, 0x2_0000
at = lambda place: place.to_bytes(4, "little")  # noqa: E731
FENCE = bytes.fromhex("0f ae f0")


def store(place):
    return b"\xc7\x86" + at(place) + at(1)  # mov dword [esi+place], 1


def locked(place):
    return b"\xb8" + at(1) + b"\x87\x86" + at(place)  # mov eax, 1; xchg [esi+place], eax


def load(place, n, processor):
    """mov eax, [esi+place], kept for good as result n of a processor."""
    return b"\x8b\x86" + at(place) + b"\x89\x86" + at(RESULTS + 16 * processor + 4 * n)


def loads(*places, processor):
    """All loads in a row, into EAX and EDX, then the results."""
    regs = ((b"\x8b\x86", b"\x89\x86"), (b"\x8b\x96", b"\x89\x96"))
    taken = b"".join(get + at(place) for place, (get, _) in zip(places, regs, strict=False))
    return taken + b"".join(put + at(RESULTS + 16 * processor + 4 * n)
                            for n, (_, put) in zip(range(len(places)), regs, strict=False))


def litmus(body, members):
    """The loop around the accesses of one processor."""
    meet = (b"\xf0\xff\x05" + at(MEET) + b"\x83\xc1" + bytes([members])  # lock inc [MEET]; add ecx, members
            + b"\xf3\x90\x39\x0d" + at(MEET) + b"\x72\xf6")  # wait: pause; cmp [MEET], ecx; jb wait
    loop = meet + body + b"\x83\xc6" + bytes([STEP]) + b"\x81\xfe" + at(ROUNDS * STEP)
    start = b"\x31\xf6\x31\xc9"  # esi = ecx = 0
    return start + loop + b"\x0f\x82" + (-(len(loop) + 6)).to_bytes(4, "little", signed=True) + b"\xfa\xf4"


def outcomes(board, loaders):
    """How often the loads of a round, in the order of processors, gave what."""
    finish(board)
    found = Counter()
    for n in range(ROUNDS):
        found[tuple(word(board, RESULTS + n * STEP + 16 * p + 4 * k) for p, k in loaders)] += 1
    assert sum(found.values()) == ROUNDS
    return found


def test_stores_may_pass_loads_unless_a_fence_or_a_locked_instruction_stands_between(team):
    for between in (lambda place: store(place) + FENCE, locked):
        b = team(litmus(between(X) + load(Y, 0, 0), 2), litmus(between(Y) + load(X, 0, 1), 2))
        assert (0, 0) not in outcomes(b, [(0, 0), (1, 0)])


def test_store_buffering_is_allowed_and_nothing_else_odd_happens(team):
    b = team(litmus(store(X) + load(Y, 0, 0), 2), litmus(store(Y) + load(X, 0, 1), 2))
    assert set(outcomes(b, [(0, 0), (1, 0)])) <= {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_message_is_there_when_its_flag_is(team):
    b = team(litmus(store(X) + store(Y), 2), litmus(loads(Y, X, processor=1), 2))
    assert (1, 0) not in outcomes(b, [(1, 0), (1, 1)])


def test_loads_are_not_done_after_later_stores(team):
    b = team(litmus(loads(X, processor=0) + store(Y), 2), litmus(loads(Y, processor=1) + store(X), 2))
    assert (1, 1) not in outcomes(b, [(0, 0), (1, 0)])


def test_two_readers_agree_on_the_order_of_two_writers(team):
    b = team(litmus(store(X), 4), litmus(store(Y), 4), litmus(loads(X, Y, processor=2), 4),
             litmus(loads(Y, X, processor=3), 4))
    assert (1, 0, 1, 0) not in outcomes(b, [(2, 0), (2, 1), (3, 0), (3, 1)])


# EDI rounds of: lock inc, lock xadd, a loop of lock cmpxchg, of lock cmpxchg8b (adding 40000000h), a counter behind
# an xchg spin lock, one behind lock bts; every 64th round lock inc over two cache lines and lock add over two pages.
ATOMICS = bytes.fromhex(
    "f0ff0500000200b801000000f00fc10540000200a1800002008d4801f00fb10d8000020075eea1c00002008b15c400020089c389d181c3"
    "0000004083d100f00fc70dc000020075deb80100000087050001020085c07404f390ebedff0540010200c7050001020000000000f00fba2d"
    "80010200057304f390ebf1ff05c0010200f00fba358001020005f7c73f000000750ff0ff053e020200f08305fe0f0200014f0f8559ffffff"
    "faf4")


@pytest.mark.parametrize("members", [2, 3])
def test_nothing_is_lost_by_atomic_instructions(team, members):
    rounds = 6400
    b = finish(team(*[ATOMICS] * members, count=rounds))
    total = members * rounds
    assert [word(b, DATA + n) for n in (0x00, 0x40, 0x80, 0x140, 0x1C0)] == [total] * 5
    assert word(b, DATA + 0xC0, 8) == total * 0x4000_0000
    assert word(b, DATA + 0x23E) == word(b, DATA + 0xFFE) == total // 64


# The first rewrites the number that a function returns and tells the second, which executes CPUID, calls it, counts
# wrong answers at 20080h, and lets the first go on; EDI times.
WRITER = bytes.fromhex("b90000000041890d01200100890d00000200f390390d4000020075f639f972e5faf4")
CALLER = bytes.fromhex("31dbb90000000041f390390d0000020075f65331c051b8000000000fa2595be8%s39c8740143890d40000200"
                       "39f972d4891d80000200faf4"
                       % (0x1_2000 - (CODE + 0x1000 + 36)).to_bytes(4, "little", signed=True).hex())


def test_code_that_another_processor_has_changed_is_seen(team):
    b = team(WRITER, CALLER, count=2000)
    b.memory.write(0x1_2000, bytes.fromhex("b800000000c3"))  # mov eax, 0; ret
    finish(b)
    assert word(b, DATA + 0x40) == 2000 and word(b, DATA + 0x80) == 0


# The first waits until the second, which has loaded an IDT from 10180h, is about to halt with interrupts off; sends it
# an NMI, and waits until its handler has been there.
SENDS_NMI = bytes.fromhex(
    "bf0000e0fef390833d000002000175f5c7871003000000000001c7870003"
    "000000440000f390833d000002000275f5faf4")
HALTS = bytes.fromhex("0f011d80010100c7050000020001000000faf4faf4")
TAKES_NMI = bytes.fromhex("c7050000020002000000cf")  # mov dword [20000h], 2; iret


def test_an_nmi_reaches_a_processor_that_halts_with_interrupts_off(team):
    b = team(SENDS_NMI, HALTS)
    b.memory.write(0x1_0140, TAKES_NMI)
    b.memory.write(0x1_0180, bytes.fromhex("ff0000100200"))
    b.memory.write(0x2_1000 + 8 * 2, bytes.fromhex("40012000008e0100"))  # a 32-bit interrupt gate to 20h:10140h
    finish(b)
    assert word(b, DATA) == 2


FOREVER = bytes.fromhex("f0ff0500000200ebf7")  # lock inc [20000h], for ever


def test_a_run_can_be_stopped_looked_at_and_gone_on_with(team):
    b = team(FOREVER, FOREVER)
    assert b.run(seconds=0.2) == OutOfTime()
    before = [core.vcpu.count for core in b.cores]
    assert all(before) and "processor 1" in b.report("asked for")
    threading.Timer(0.2, b.stop).start()
    assert b.run(seconds=60) == Stopped()
    assert all(core.vcpu.count > n for core, n in zip(b.cores, before, strict=True))
    total = b.count()
    assert b.run(instructions=10) == OutOfTime() and b.count() == total + 10


def test_posted_jobs_find_all_processors_standing_still(team):
    b, seen = team(FOREVER, FOREVER), []

    def look():
        counts = word(b, DATA)
        time.sleep(0.01)
        seen.append(word(b, DATA) == counts)

    threading.Timer(0.1, b.post, [look]).start()
    b.run(seconds=0.3)
    assert seen == [True]


def test_timers_are_seen_while_all_processors_are_busy(team):
    b, fired = team(FOREVER, FOREVER), []
    b.clock.timer(lambda: fired.append(b.clock.now())).set(50_000_000)
    b.run(until=200_000_000)
    assert fired and 50_000_000 <= fired[0] < 150_000_000


def test_an_error_of_ours_ends_the_run(team):
    b = team(bytes.fromhex("e680ebfe"), FOREVER)  # out 80h, al

    def fails(*_):
        raise ZeroDivisionError

    b.ports.find(0x80).write = fails
    with pytest.raises(ZeroDivisionError):
        b.run(seconds=60)


def test_what_cannot_run_in_parallel_is_refused(compiled):
    for clock, code, complaint in ((VirtualClock(), compiled, "real time"), (RealClock(), None, "threaded way")):
        with pytest.raises(UserError, match=complaint):
            PcBoard(16 * MIB, clock, lambda memory, code=code: SoftVcpu(X86_GUEST, code), cpus=2, parallel=True)
