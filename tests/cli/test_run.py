from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, ROOT, environment
from tests.conftest import Popen

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_commands_output_errors_and_status_are_ours(run: Run) -> None:
    done = run("run", "debian", "--", "both")
    assert (done.stdout, done.stderr, done.returncode) == ("to stdout\n", "to stderr\n", 3)


def test_standard_input_is_piped_to_the_command(run: Run) -> None:
    assert run("run", "debian", "--", "cat", input="one line\n").stdout == "one line\n"


def test_a_command_that_is_not_found_is_127(run: Run) -> None:
    assert run("run", "debian", "--", "missing").returncode == 127


def test_a_command_that_takes_too_long_is_124(run: Run) -> None:
    done = run("run", "debian", "--timeout", "300ms", "--", "sleep")
    assert done.returncode == 124 and "still on after 0.3 s" in done.stderr


def test_a_console_that_takes_too_long_is_5(started: Popen) -> None:
    assert started("run", "debian", "--timeout", "300ms", stdin=subprocess.PIPE).wait(30) == 5


def test_a_command_that_powers_off_ends_well(run: Run) -> None:
    assert run("run", "debian", "--", "poweroff").returncode == 0


def test_a_panic_is_reported_as_one(run: Run) -> None:
    done = run("run", "debian", "--", "panic")
    assert done.returncode == 125
    assert "The guest died: kernel panic: not syncing" in done.stderr and "rip 1234" in done.stderr
    assert "Linux version 0.0" in done.stderr  # the last lines of its console


def test_a_panic_at_the_console_is_1(run: Run) -> None:
    done = run("run", "debian", input="panic\n")
    assert done.returncode == 1 and "kernel panic" in done.stderr


def test_a_bug_of_ours_is_a_report_and_no_traceback(run: Run, tmp_path: Path) -> None:
    done = run("run", "debian", input="crash\n")
    assert done.returncode == 1
    assert "this is a bug in guesthouse" in done.stderr and "the house burns" in done.stderr
    assert "Traceback" not in done.stderr
    (report,) = (tmp_path / "state" / "guesthouse" / "reports").iterdir()
    assert "RuntimeError: the house burns" in report.read_text()


def test_a_traceback_can_be_asked_for(run: Run) -> None:
    assert "Traceback" in run("run", "debian", input="crash\n", GUESTHOUSE_DEBUG="1").stderr


def test_a_script_is_typed_at_the_prompt_and_its_end_ends_the_guest(run: Run) -> None:
    done = run("run", "debian", input="echo first\necho second\n")
    assert done.returncode == 0
    assert "\nfirst\n" in done.stdout and "\nsecond\n" in done.stdout


def test_a_script_may_power_off_itself(run: Run) -> None:
    assert run("run", "debian", input="poweroff\n").returncode == 0


def test_no_input_at_all_ends_the_guests_shell(run: Run) -> None:
    assert run("run", "debian", input="").returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_as_empty_ones(tmp_path: Path, closed: str) -> None:
    line = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", line, "sh", *COMMAND, "run", "debian", "--", "both"], cwd=ROOT, timeout=60,
                          capture_output=True, env=environment(tmp_path))
    assert done.returncode == 3
    assert done.stdout == (b"" if ">" in closed else b"to stdout\n")
    assert done.stderr == (b"" if "2>" in closed else b"to stderr\n")


def test_json_is_one_object(run: Run) -> None:
    done = run("run", "debian", "--json", "--", "both")
    result = json.loads(done.stdout)
    assert (result["status"], result["stdout"], result["stderr"]) == (3, "to stdout\n", "to stderr\n")
    assert result["statistics"]["exits.HostCall"] == 1 and done.returncode == 3


def test_json_without_a_command_is_a_mistake(run: Run) -> None:
    assert run("run", "debian", "--json").returncode == 2


def test_statistics_go_to_stderr(run: Run) -> None:
    done = run("run", "debian", "--stats", "--", "both")
    assert done.stdout == "to stdout\n" and "exits.HostCall" in done.stderr and done.returncode == 3


@pytest.mark.parametrize(("arguments", "status", "said"), [
    (["run", "debian", "--memory", "3x"], 2, "is not a size"),
    (["run", "debian", "--memory", "1K"], 2, "must be 16.0 MiB to 64.0 GiB"),
    (["run", "debian", "--timeout", "0"], 2, "is not a duration"),
    (["run", "debian", "--timeout", "soon", "--", "ls"], 125, "is not a duration"),
    (["run", "debian", "--way", "warp"], 2, "warp"),
    (["run", "debian", "--trace", "@x"], 2, "NAMES@START"),
    (["run", "debian", "--kernel", "/nonexistent"], 3, "no file /nonexistent"),
    (["run", "debian", "--kernel", "/nonexistent", "--", "ls"], 125, "no file /nonexistent"),
    (["run", "debian", "--kernel", "/"], 2, "not a file"),
    (["run"], 2, "nothing to run"),
    (["run", "/nonexistent/dos.img"], 3, "no file /nonexistent/dos.img"),
    (["run", "debian", "--display", "wall"], 2, "text, vnc"),
    (["run", "debian", "--display", "text:1"], 2, "text, vnc"),
    (["run", "debian", "--serial", "stdio", "--display", "text"], 2, "choose one"),
    (["run", "debian", "--serial", "stdio", "--serial", "stdio"], 2, "choose one"),
    (["run", "debian", "--screenshot", "a.png"], 2, "its own medium"),
    (["run", "debian", "--boot", "x"], 2, "a (floppies)"),
    (["run", "debian", "--cpus", "0"], 2, "cpus is 0, but must be 1 to 64"),
    (["run", "debian", "--cpus", "2", "--arch", "riscv64"], 2, "must be 1"),
    (["run", "debian", "--memory", "15M"], 2, "memory is '15.0 MiB'"),
    (["run", "debian", "--display", ""], 2, "text, vnc"),
    (["run", "debian", "--display", "vnc:99999"], 2, "--display vnc:99999 names no port"),
    (["run", "debian", "--serial", "tcp:localhost"], 2, "--serial tcp:localhost names no port"),
    (["run", "debian", "--serial", "wall"], 2, "There are stdio, file:PATH"),
    (["run", "debian", "--screenshot", "/nonexistent/a.png"], 1, "there is no folder /nonexistent"),
    (["run", "debian", "--screenshot", "/"], 1, "it is a folder"),
    (["run", "debian", "--disk", "LICENSE", "--screenshot", "./LICENSE"], 1, "the machine is made of it"),
    (["run", "debian", "--variables", "x"], 2, "must be left away, or firmware"),
    (["run", "debian", "--firmware", "pyproject.toml"], 2, "not by --firmware"),
    (["nosuch"], 2, "No such command"),
    (["image", "delete", "debian"], 3, "not in the cache"),
    (["image", "pull", "plan9"], 3, "plan9"),
    (["completion", "tcsh"], 2, "tcsh"),
    (["explain", "zz"], 2, "hexadecimal"),
])
def test_mistakes_have_words_and_a_status(run: Run, arguments: list[str], status: int, said: str) -> None:
    done = run(*arguments)
    assert done.returncode == status and said in done.stderr and not done.stdout
    assert "Traceback" not in done.stderr


def test_an_output_that_nobody_reads_any_more_ends_the_command(started: Popen) -> None:
    process = started("run", "debian", "--", "flood")
    assert process.stdout and process.stderr
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(("command", "status"), [(["--", "both"], 125), ([], 1)])
def test_a_full_disk_behind_standard_output_is_told(tmp_path: Path, command: list[str], status: int) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "run", "debian", *command], cwd=ROOT, stdout=full, timeout=60,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(tmp_path))
    assert done.returncode == status and b"cannot be written: No space left" in done.stderr


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_a_command(started: Popen, number: int, status: int) -> None:
    process = started("run", "debian", "--", "both_and_wait")
    assert process.stdout and process.stdout.readline() == b"to stdout\n"
    process.send_signal(number)
    assert process.wait(30) == status


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_ends_a_command_whose_output_nobody_takes(started: Popen, number: int, status: int) -> None:
    process = started("run", "debian", "--", "flood_and_wait")
    assert process.stdout and process.stdout.read(1) == b"y"
    process.send_signal(number)
    assert process.wait(30) == status


def test_time_is_up_for_a_command_whose_output_nobody_takes(started: Popen) -> None:
    process = started("run", "debian", "--timeout", "1s", "--", "flood_and_wait")
    assert process.wait(30) == 124
    assert process.stderr and b"still on after 1 s" in (said := process.stderr.read()) and b"Traceback" not in said


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_second_signal_does_not_wait_for_the_machine(started: Popen, number: int, status: int) -> None:
    process = started("run", "debian", "--", "stubborn")
    assert process.stdout and process.stdout.readline() == b"to stdout\n"
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(number)
    assert process.wait(30) == 143


@pytest.mark.slow
@pytest.mark.parametrize(("number", "statuses", "terminal", "command"), [
    (signal.SIGTERM, "143", "pipes", ["--", "both_and_wait"]), (signal.SIGINT, "3,130", "pipes", ["--", "both"]),
    (signal.SIGTERM, "143", "terminal", [])])
def test_a_signal_may_come_anywhere(number: int, statuses: str, terminal: str, command: list[str]) -> None:
    words = [str(int(number)), statuses, terminal, "run", "debian", *command]
    done = subprocess.run([sys.executable, "-m", "tests.cli.interrupted", *words], cwd=ROOT, text=True, timeout=900,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    *wrong, places = done.stdout.splitlines()
    assert not wrong and int(places.split()[0]) > 1000
