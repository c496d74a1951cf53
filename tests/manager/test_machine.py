from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from guesthouse.errors import ConfigError, HouseBug, NoSuchThing, TimedOut, UserError, WrongState
from guesthouse.manager.machine import Machine
from guesthouse.manager.outcome import CommandFailed, GuestDied, GuestGone, GuestHung
from tests.manager import fakes


@pytest.fixture
def machine() -> Iterator[Machine]:
    with fakes.machine() as made:
        yield made


def test_a_command_gives_its_output_its_errors_and_its_status(machine: Machine) -> None:
    done = machine.exec(["both"])
    assert (done.stdout, done.stderr, done.returncode) == ("to stdout\n", "to stderr\n", 3)


def test_a_checked_command_that_fails_raises_what_it_said(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="both ended with status 3") as caught:
        machine.exec(["both"], check=True)
    assert caught.value.completed.stderr == "to stderr\n"


def test_input_reaches_a_command(machine: Machine) -> None:
    assert machine.exec(["cat"], input="one line\n").stdout == "one line\n"


def test_commands_run_one_after_the_other(machine: Machine) -> None:
    assert [machine.exec(["both"]).returncode for _ in range(3)] == [3, 3, 3]


def test_a_command_that_takes_too_long_is_killed(machine: Machine) -> None:
    with pytest.raises(TimedOut, match="sleep did not end within 0.1 s"):
        machine.exec(["sleep"], timeout=0.1)
    assert fakes.soon(lambda: machine.exec(["both"]).returncode == 3)


def test_a_command_that_switches_the_guest_off_is_told_so(machine: Machine) -> None:
    with pytest.raises(GuestGone, match="switched itself off"):
        machine.exec(["poweroff"])
    assert machine.wait(5) == 0


def test_a_panic_during_a_command_is_reported_as_one(machine: Machine) -> None:
    with pytest.raises(GuestDied, match="kernel panic: not syncing: asked for") as caught:
        machine.exec(["panic"])
    assert caught.value.report == "rip 1234" and "Linux version" in caught.value.console


def test_the_console_is_expected_typed_at_and_kept(machine: Machine) -> None:
    machine.console.expect("# ", timeout=5)
    machine.console.write("echo hello\n")
    assert machine.console.expect(re.compile(rb"\nhello\r\n"), timeout=5).startswith("echo hello")
    assert "Linux version" in machine.console.transcript


def test_what_does_not_come_is_a_timeout_that_shows_the_last_lines(machine: Machine) -> None:
    machine.console.expect("# ", timeout=5)
    with pytest.raises(TimedOut, match="root@guesthouse"):
        machine.console.expect("login:", timeout=0.1)


def test_expecting_from_a_guest_that_died_raises_how(machine: Machine) -> None:
    machine.console.write("panic\n")
    with pytest.raises(GuestDied, match="kernel panic"):
        machine.console.expect("never", timeout=5)
    with pytest.raises(GuestDied):
        machine.wait(5)


def test_power_off_asks_the_agent(machine: Machine) -> None:
    machine.commands.wait_until_ready(5)
    machine.power_off(5)
    assert machine.state == "off"


def test_power_off_without_an_agent_presses_the_button() -> None:
    with fakes.machine(agent=False) as machine:
        machine.power_off(5)
        assert machine.state == "off"


def test_a_machine_that_stays_on_is_a_timeout(machine: Machine) -> None:
    with pytest.raises(TimedOut, match="still on after 0.1 s"):
        machine.wait(0.1)


def test_a_machine_is_switched_off_when_its_time_is_up() -> None:
    with fakes.machine(timeout=0.2) as machine:
        with pytest.raises(TimedOut, match="after 0.2 s"):
            machine.exec(["sleep"])
        with pytest.raises(TimedOut, match="after 0.2 s"):
            machine.wait(5)


def test_steps_are_exact_and_leave_it_paused(machine: Machine) -> None:
    machine.pause()
    before = machine.cpu[0].count()
    machine.step(3)
    machine.step()
    assert machine.cpu[0].count() == before + 4 and machine.state == "paused"
    machine.resume()
    assert machine.exec(["both"]).returncode == 3


def test_a_step_is_a_step_also_after_a_stop_that_found_nothing_to_stop(machine: Machine) -> None:
    machine.pause()
    before = machine.cpu[0].count()
    for _ in range(5):
        machine.pause()
        machine.step()
    assert machine.cpu[0].count() == before + 5


def test_a_machine_without_screen_keyboard_and_mouse_says_so(machine: Machine) -> None:
    for use in (machine.screen.text, lambda: machine.keyboard.type("a"), lambda: machine.mouse.move(1, 1)):
        with pytest.raises(WrongState, match="has no (screen|keyboard|mouse)"):
            use()


def test_registers_are_read_and_set_by_name(machine: Machine) -> None:
    cpu = machine.cpu[0]
    cpu.rax = 0x1234
    assert cpu.rax == 0x1234 and cpu.rip == 0x1000 and cpu.rdx == 2
    with pytest.raises(NoSuchThing, match="no register called a0"):
        print(cpu.a0)
    with pytest.raises(ConfigError, match="can only be read"):
        cpu.cr3 = 0
    with pytest.raises(ConfigError, match="64 bits"):
        cpu.rax = -1


def test_memory_is_read_and_written_while_it_runs(machine: Machine) -> None:
    machine.memory.write(0x100, b"guest")
    assert machine.memory.read(0x100, 5) == b"guest"
    with pytest.raises(UserError, match="not all RAM"):
        machine.memory.read(0xFFFF, 2)


def test_a_stopped_machine_can_be_looked_at_but_not_asked(machine: Machine) -> None:
    machine.memory.write(0, b"kept")
    machine.stop()
    assert machine.memory.read(0, 4) == b"kept" and machine.cpu[0].rcx == 1
    with pytest.raises(GuestGone, match="is off"):
        machine.exec(["both"])
    with pytest.raises(GuestGone):
        machine.console.write("x")
    with pytest.raises(GuestGone):
        machine.resume()
    with pytest.raises(GuestGone):
        machine.keyboard.type("x")
    with pytest.raises(GuestGone):
        machine.mouse.move(1, 1)


def test_a_machine_that_was_not_started_can_be_looked_at_but_nothing_comes_of_waiting_for_it() -> None:
    with fakes.created() as made:
        assert made.memory.read(0, 1) == bytes(1)
        for wait in (made.wait, made.resume, made.step, made.power_off, lambda: made.exec(["both"])):
            with pytest.raises(WrongState, match="has not been started"):
                wait()
        made.start()
        assert made.exec(["both"]).returncode == 3


def test_a_reset_gives_a_new_board_and_the_counters_go_on(machine: Machine) -> None:
    machine.console.expect("# ", timeout=5)
    machine.console.write("reboot\n")
    machine.console.expect("Linux version", timeout=5)
    assert len(machine.boards) == 2 and machine.boards[0].closed  # type: ignore[attr-defined]
    assert machine.exec(["both"]).returncode == 3
    assert machine.statistics()["exits.HostCall"] == 2


def test_a_bug_in_the_machines_thread_reaches_who_waits(machine: Machine) -> None:
    machine.console.write("crash\n")
    with pytest.raises(HouseBug, match="the house burns"):
        machine.wait(5)


def test_jobs_from_many_threads_all_get_their_answers(machine: Machine) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(machine.call(lambda board: n))) for n in range(50)]
    for thread in threads:
        thread.start()
    machine.pause()
    machine.resume()
    for thread in threads:
        thread.join(5)
    assert sorted(answers) == list(range(50))


def test_two_machines_live_side_by_side() -> None:
    with fakes.machine() as one, fakes.machine() as other:
        one.memory.write(0, b"one")
        other.memory.write(0, b"two")
        one.stop()
        assert one.memory.read(0, 3) == b"one" and other.memory.read(0, 3) == b"two"
        assert other.exec(["both"]).returncode == 3


def test_leaving_the_block_switches_it_off_and_gives_its_memory_back() -> None:
    with fakes.machine() as machine:
        pass
    assert machine.state == "off" and machine.boards[-1].closed  # type: ignore[attr-defined]
    assert not any(t.name.startswith("guesthouse debian") for t in threading.enumerate())
    with pytest.raises(GuestGone, match="was closed"):
        machine.memory.read(0, 1)


def test_mistakes_in_a_description_name_key_value_and_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="memory is '3x'"):
        Machine.run("debian", memory="3x")
    with pytest.raises(ConfigError, match="arch is 'sparc', but must be amd64 or riscv64"):
        Machine.run("debian", arch="sparc")
    with pytest.raises(ConfigError, match="way is 'warp'"):
        Machine.run("debian", way="warp")
    with pytest.raises(NoSuchThing, match="no guest called plan9"):
        Machine.run("plan9")
    with pytest.raises(NoSuchThing, match="there is no file /nonexistent"):
        Machine.run("debian", kernel="/nonexistent")


def test_a_guest_that_hangs_before_its_userland_is_reported_on() -> None:
    with fakes.machine(agent=False, timeout=0.2) as machine:
        with pytest.raises(TimedOut, match="never came so far") as caught:
            machine.wait(5)
    assert "Linux version" in caught.value.what and isinstance(caught.value, GuestHung)
    assert "report: its time was up" in caught.value.report


def test_who_waits_for_a_guest_that_does_not_come_up_is_told_where_it_is() -> None:
    with fakes.machine(agent=False) as machine:
        with pytest.raises(GuestHung, match="did not come up within 0.1 s") as caught:
            machine.exec(["both"], timeout=0.1)
    assert "report: it did not come up" in caught.value.report
