"""Whole boots of Debian's own kernel, unmodified, to its shell, on both instruction sets.

They need the guest in the cache or a Debian mirror, and are skipped where there is neither.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from guesthouse.errors import GuesthouseError
from guesthouse.manager.machine import Machine
from guesthouse.manager.outcome import GuestDied

pytestmark = [pytest.mark.boot, pytest.mark.slow]
ARCHITECTURES = ("amd64", "riscv64")
NAMES = {"amd64": "x86_64", "riscv64": "riscv64"}
BOOT = 90.0  # seconds that a boot may take on a slow host that does other things too
COMMAND = [sys.executable, "-m", "guesthouse", "run", "debian"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def arch(request: pytest.FixtureRequest) -> str:
    from guesthouse.images.catalogue import Catalogue

    try:
        Catalogue().get("debian", str(request.param))
    except GuesthouseError as wrong:
        pytest.skip(f"no guest: {wrong}")
    return str(request.param)


@pytest.fixture(scope="module")
def machine(arch: str) -> Iterator[Machine]:
    """One machine for all that leaves it as it was."""
    with Machine.run("debian", arch=arch, memory="256M") as made:
        made.wait_until_up(BOOT)
        yield made


def test_a_command_runs_on_the_guests_own_kernel(machine: Machine, arch: str) -> None:
    words = machine.exec(["uname", "-sm"], check=True, timeout=60).stdout.split()
    assert words == ["Linux", NAMES[arch]]


def test_exit_status_output_and_errors_are_the_commands(machine: Machine) -> None:
    done = machine.exec(["sh", "-c", "echo out; echo err >&2; exit 42"], timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 42)


def test_what_is_not_there_is_127(machine: Machine) -> None:
    assert machine.exec(["no-such-program"], timeout=60).returncode == 127


def test_input_environment_and_folder_reach_the_command(machine: Machine) -> None:
    text = "".join(f"line {n}\n" for n in range(3000))
    done = machine.exec(["sh", "-c", 'cat; echo "$WORD $PWD"'], input=text, env={"WORD": "it's"}, cwd="/tmp",
                        timeout=120)
    assert done.stdout == text + "it's /tmp\n"


def test_the_guest_has_the_memory_it_was_given(machine: Machine) -> None:
    total = machine.exec(["sh", "-c", "grep MemTotal /proc/meminfo"], check=True, timeout=60).stdout.split()[1]
    assert 180_000 < int(total) < 262_144


def test_the_guests_clock_goes_as_ours(machine: Machine) -> None:
    began = time.monotonic()
    machine.exec(["sleep", "2"], check=True, timeout=60)
    assert time.monotonic() - began >= 1.9


def test_the_console_is_a_shell_with_job_control(machine: Machine) -> None:
    machine.console.write("\n")
    machine.console.expect("# ", timeout=60)
    machine.console.write("echo $((6 * 7)) | tr 2 x\n")
    machine.console.expect("\n4x\r\n", timeout=60)
    machine.console.write("sleep 1000\n")
    time.sleep(0.5)
    machine.console.write("\x03")
    machine.console.expect("# ", timeout=60)


def test_registers_and_memory_can_be_looked_at(machine: Machine, arch: str) -> None:
    machine.pause()
    before = machine.cpu[0].count()
    machine.step(10)
    assert machine.cpu[0].count() - before in range(0, 11)  # a guest that idles executes nothing
    assert len(machine.memory.read(0x8020_0000 if arch == "riscv64" else 0x10_0000, 64)) == 64
    machine.resume()
    assert machine.exec(["true"], timeout=60).returncode == 0


def test_a_guest_powers_itself_off(arch: str) -> None:
    with Machine.run("debian", arch=arch, memory="256M") as machine:
        machine.wait_until_up(BOOT)
        machine.console.expect("# ", timeout=60)
        machine.console.write("poweroff\n")
        assert machine.wait(60) == 0


def test_a_panic_is_reported_as_one(arch: str) -> None:
    with Machine.run("debian", arch=arch, memory="256M") as machine:
        machine.wait_until_up(BOOT)
        machine.console.write("echo c > /proc/sysrq-trigger\n")
        with pytest.raises(GuestDied, match="kernel panic: .*sysrq triggered crash"):
            machine.wait(120)


def test_the_command_line_passes_status_and_streams(arch: str) -> None:
    done = subprocess.run([*COMMAND, "--arch", arch, "--timeout", "180s", "--", "sh", "-c",
                           "cat; echo error >&2; exit 7"], input=b"piped\n", capture_output=True, timeout=300)
    said = [line for line in done.stderr.splitlines() if not line.startswith(b"guesthouse: compiling")]
    assert (done.stdout, said, done.returncode) == (b"piped\n", [b"error"], 7)


def test_a_script_at_the_console_ends_with_the_guest_off(arch: str) -> None:
    done = subprocess.run([*COMMAND, "--arch", arch, "--timeout", "180s"], input=b"uname -m\npoweroff\n",
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"\n{NAMES[arch]}\r\n".encode() in done.stdout


def test_too_little_memory_is_refused_with_what_to_do(arch: str) -> None:
    done = subprocess.run([*COMMAND, "--arch", arch, "--memory", "16M", "--", "true"], capture_output=True,
                          timeout=300)
    assert done.returncode == 125 and b"memory" in done.stderr.lower() and b"Traceback" not in done.stderr
