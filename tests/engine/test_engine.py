"""What the engine promises, seen through a toy guest, in every way."""

import threading
import time

import pytest

from guesthouse.bits import u64
from guesthouse.engine.build import engine
from guesthouse.engine.vcpu import Budget, Halted, MemoryRead, MemoryWrite, Stopped
from guesthouse.engine.processor import jump_index
from guesthouse.engine.stitching import BLOCK_LIMIT
from tests.engine.toy import (
    ADD, ADD_IMMEDIATE, BRANCH_IF, HALT, LOAD, RAM, STORE, TIME, TOY, TWO_DEVICES, Machine, code,
)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    return engine(TOY, tmp_path_factory.mktemp("engine"), jobs=2)


@pytest.fixture(params=["plain", "threaded"])
def way(request, compiled):
    return compiled if request.param == "threaded" else None


LOOP = code((ADD_IMMEDIATE, 1, 0, 50), (ADD, 2, 1, 0), (STORE, 2, 3, 64), (LOAD, 4, 3, 64), (ADD_IMMEDIATE, 1, 1, -1),
            (BRANCH_IF, 1, 0, -20), (HALT, 0, 0, 0))


def test_a_loop_ends_with_the_right_sum(way):
    machine = Machine(way, LOOP)
    assert machine.vcpu.run(10_000) == Halted()
    assert machine.state.x[4] == 50 * 51 // 2 and machine.vcpu.count == 1 + 50 * 5 + 1


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 64])
def test_budgets_are_exact_wherever_they_end(way, budget):
    machine, whole = Machine(way, LOOP), Machine(None, LOOP)
    for n in range(1, 40):
        assert machine.vcpu.run(budget) == Budget()
        assert machine.vcpu.count == n * budget if n * budget < 252 else True
        whole.vcpu.run(budget)
        assert machine.registers() == whole.registers()
        if n * budget + budget >= 252:
            break


def test_a_fault_is_precise_and_counts_once(way):
    machine = Machine(way, code((ADD_IMMEDIATE, 1, 0, 1), (ADD, 1, 1, 0), (LOAD, 5, 9, 8), (ADD_IMMEDIATE, 1, 0, 9)))
    machine.state.x[9] = u64(RAM)
    assert machine.vcpu.run(100) == Halted()
    assert machine.state.x[31] == 0x1008 and machine.state.x[1] == 2 and machine.state.fault_address == RAM + 8
    assert machine.vcpu.count == 4 and machine.vcpu.counters()["faults"] == 1


def test_an_access_over_two_pages_changes_both_or_none(way):
    machine = Machine(way, code((STORE, 1, 9, 0), (HALT, 0, 0, 0)))
    machine.state.x[1], machine.state.x[9] = u64((1 << 64) - 1), u64(RAM - 3)
    machine.vcpu.run(100)
    assert machine.state.fault_address == RAM and machine.ram[RAM - 3:] == bytes(3)
    machine = Machine(way, code((STORE, 1, 9, 0), (LOAD, 2, 9, 0), (HALT, 0, 0, 0)))
    machine.state.x[1], machine.state.x[9] = u64(0x1122334455667788), u64(0x2FFD)
    machine.vcpu.run(100)
    assert machine.state.x[2] == 0x1122334455667788 and machine.ram[0x2FFD:0x3005] == bytes.fromhex("8877665544332211")


def test_an_instruction_that_changes_the_next_one_is_seen_at_once(way):
    following = int.from_bytes(code((ADD_IMMEDIATE, 5, 0, 77), (HALT, 0, 0, 0)), "little")
    machine = Machine(way, code((STORE, 1, 9, 0), (ADD_IMMEDIATE, 5, 0, 11), (HALT, 0, 0, 0)))
    machine.state.x[1], machine.state.x[9] = u64(following), u64(0x1004)
    machine.vcpu.run(100)
    assert machine.state.x[5] == 77


def test_a_loop_that_rewrites_itself_runs_what_it_wrote(way):
    machine = Machine(way, code((ADD_IMMEDIATE, 5, 5, 1), (STORE, 1, 9, 0), (BRANCH_IF, 8, 0, -12), (HALT, 0, 0, 0)))
    machine.state.x[1] = u64(int.from_bytes(code((ADD_IMMEDIATE, 5, 5, 2), (STORE, 1, 9, 0)), "little"))
    machine.state.x[8], machine.state.x[9] = u64(1), u64(0x1000)
    machine.vcpu.run(1 + 3 * 10)
    assert machine.state.x[5] == 1 + 2 * 10


def test_two_blocks_that_want_one_place_are_both_found_without_the_run_loop(compiled):
    """Branches from 1000h to 1804h and back, on stepping-stones."""
    there, back = [*range(0x1000, 0x1800, 0x74), 0x1804], [*range(0x1798, 0x1000, -0x6C), 0x1000]
    assert jump_index(u64(there[0])) == jump_index(u64(there[-1]))
    program = bytearray(0x1000)
    for at, to in zip(there + back, there[1:] + back):
        program[at & 0xFFF:(at & 0xFFF) + 4] = code((BRANCH_IF, 8, 0, to - at - 4))
    machine = Machine(compiled, bytes(program))
    machine.state.x[8] = u64(1)
    machine.vcpu.run(1000)
    before = machine.vcpu.counters()["lookups"]
    machine.vcpu.run(1000)
    assert machine.vcpu.counters()["lookups"] <= before + 1 + BLOCK_LIMIT  # at the end blocks are run one by one


def test_an_instruction_in_two_pages_runs_and_sees_changes_in_both(way):
    program = code((ADD_IMMEDIATE, 5, 5, 1), (BRANCH_IF, 8, 0, -8), (HALT, 0, 0, 0))
    machine = Machine(way, program, at=0x1FFE)
    machine.state.x[8] = u64(1)
    machine.vcpu.run(20)
    assert machine.state.x[5] == 10
    machine.vcpu.call("outdate", int(machine.state.ram_start) + 0x2001)
    machine.ram[0x2001] = 2  # the immediate, in the second page
    machine.vcpu.run(2)
    assert machine.state.x[5] == 12


def test_the_time_is_exact_in_the_middle_of_a_block(way):
    machine = Machine(way, code((ADD, 1, 1, 0), (TIME, 2, 0, 0), (ADD, 1, 1, 0), (TIME, 3, 0, 0), (HALT, 0, 0, 0)))
    machine.state.ticks = u64(1000)
    machine.vcpu.run(100)
    assert (int(machine.state.x[2]), int(machine.state.x[3])) == (1001, 1003)


def test_a_device_is_asked_once_and_its_answer_used(way):
    machine = Machine(way, code((LOAD, 1, 9, 16), (STORE, 1, 9, 24), (HALT, 0, 0, 0)))
    machine.state.x[9] = u64(1 << 32)
    asked = machine.vcpu.run(100)
    assert isinstance(asked, MemoryRead) and (asked.address, asked.size) == ((1 << 32) + 16, 8)
    assert machine.vcpu.count == 0 and machine.vcpu.unfinished
    asked.reply(0x55)
    assert machine.vcpu.run(100) == MemoryWrite((1 << 32) + 24, 8, 0x55)
    assert machine.vcpu.run(100) == Halted() and machine.vcpu.count == 3


def test_an_instruction_may_ask_twice(way):
    machine = Machine(way, code((TWO_DEVICES, 1, 0, 0), (HALT, 0, 0, 0)))
    machine.vcpu.run(100).reply(5)
    second = machine.vcpu.run(100)
    assert second.address == 0x2000
    second.reply(6)
    assert machine.vcpu.run(100) == Halted() and machine.state.x[1] == 11


def test_nothing_comes_between_a_question_and_its_instruction(way):
    machine = Machine(way, code((LOAD, 1, 9, 16), (HALT, 0, 0, 0)))
    machine.state.x[9] = u64(1 << 32)
    machine.vcpu.run(100).reply(7)
    machine.vcpu.call("ask", 1)
    assert machine.vcpu.run(100) == Halted()
    assert machine.state.x[1] == 7 and machine.state.got == 1 and machine.state.pc == 0x84


def test_another_thread_can_stop_a_run(way):
    machine = Machine(way, code((ADD, 1, 1, 0), (BRANCH_IF, 8, 0, -8)))
    machine.state.x[8] = u64(1)
    if way is None:
        machine.vcpu.stop()
    else:
        threading.Timer(0.05, machine.vcpu.stop).start()
    began = time.monotonic()
    assert machine.vcpu.run(1 << 50) == Stopped() and time.monotonic() - began < 5


def test_two_machines_in_one_process_do_not_meet(way):
    one, other = Machine(way, LOOP), Machine(way, LOOP.replace(bytes([0, 1, 0, 50]), bytes([0, 1, 0, 20])))
    for machine in (one, other) * 10:
        machine.vcpu.run(7)
    assert one.vcpu.run(1000) == other.vcpu.run(1000) == Halted()
    assert one.state.x[4] == 1275 and other.state.x[4] == 210


def test_a_full_room_for_blocks_starts_again(compiled):
    machine = Machine(compiled, LOOP)
    machine.vcpu.run(10)
    machine.state.room, machine.state.x[2] = machine.state.room_end - 8, u64(0)
    machine.ram[0x2000:0x2000 + len(LOOP)] = LOOP
    machine.state.pc = u64(0x2000)
    assert machine.vcpu.run(10_000) == Halted() and machine.state.x[4] == 1275


@pytest.mark.parametrize("place", [0x1800, 0x1010])
def test_data_beside_code_does_not_cost_the_code(compiled, place):
    program = code((ADD_IMMEDIATE, 1, 1, 1), (STORE, 1, 9, 0), (BRANCH_IF, 1, 0, -12))
    machine = Machine(compiled, program)
    machine.state.x[9] = u64(place)
    machine.vcpu.run(3000)
    assert machine.ram[place:place + 2] == (1000).to_bytes(2, "little")
    assert machine.vcpu.counters()["invalidations"] == 0 and machine.vcpu.counters()["builds"] < 5


def test_the_last_branches_are_remembered(way):
    machine = Machine(way, LOOP)
    machine.vcpu.run(10_000)
    assert machine.state.branches().count(0x1004) == 49 and 0x1018 in machine.state.branches()
