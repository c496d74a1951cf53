"""The agent's two ends together, over four UARTs of a real kernel: on another emulator, so that a failure
is ours here.

Needs QEMU's system emulators and the guest `debian` in the cache (or a mirror to fetch it from).
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guesthouse.errors import UserError
from guesthouse.images.agent import Agent, Exited, Output, Ready, Started, Trouble
from guesthouse.images.catalogue import Catalogue

# QEMU 7.2's cmpxchg16b loses the flags now and then, and Linux 6.12 panics on it: hence -cx16.
EMULATORS = {
    "amd64": "qemu-system-x86_64 -cpu qemu64,-cx16",
    "riscv64": "qemu-system-riscv64 -machine virt",
}
OPTIONS = "-accel tcg -m 256 -display none -monitor none -no-reboot"
pytestmark = pytest.mark.boot


class Machine:
    """A guest whose ports 0..3 are sockets."""

    def __init__(self, folder: Path, arch: str, mode: str = "agent") -> None:
        guest = Catalogue().get("debian", arch)
        paths = [folder / f"port{n}" for n in range(4)]
        command = [*EMULATORS[arch].split(), *OPTIONS.split(), "-kernel", str(guest.kernel)]
        command += ["-initrd", str(guest.initrd), "-append"]
        command += [f"console=ttyS0 quiet panic=-1 guesthouse.announce guesthouse.run={mode}"]
        for number, path in enumerate(paths):
            command += ["-chardev", f"socket,id=c{number},path={path},server=on,wait=off"]
            pci = number and arch == "riscv64"  # that board has one UART of its own
            command += ["-device", f"pci-serial,chardev=c{number}"] if pci else ["-serial", f"chardev:c{number}"]
        self.process = subprocess.Popen(command)
        self.agent, self.console = Agent(), b""
        self.ports = [self._connected(path) for path in paths]
        self.selector = selectors.DefaultSelector()
        for number, port in enumerate(self.ports):
            self.selector.register(port, selectors.EVENT_READ, number)

    def _connected(self, path: Path) -> socket.socket:
        until = time.monotonic() + 10
        while True:
            port = socket.socket(socket.AF_UNIX)
            try:
                port.connect(str(path))
                return port
            except OSError:
                port.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def step(self) -> list[object]:
        """One turn: what is to go goes, what has come is fed."""
        for number in (1, 3):
            self.ports[number].sendall(self.agent.outgoing(number))
        events: list[object] = []
        for key, _ in self.selector.select(0.1):
            data = self.ports[key.data].recv(65536)
            if not data:
                self.selector.unregister(self.ports[key.data])
            elif key.data == 0:
                self.console += data
            else:
                events += self.agent.feed(key.data, data)
        return events

    def until(self, kind: type, seconds: float = 60) -> list[object]:
        """Events up to and with the first of a kind."""
        events: list[object] = []
        end = time.monotonic() + seconds
        while not any(isinstance(event, kind) for event in events):
            assert time.monotonic() < end, (events, self.console[-2000:])
            events += self.step()
        assert not any(isinstance(event, Trouble) for event in events), events
        return events

    def until_output(self, expected: bytes) -> None:
        """Waits for exactly this much, which may come in pieces."""
        came = b""
        while len(came) < len(expected):
            came += b"".join(e.data for e in self.until(Output) if isinstance(e, Output))
        assert came == expected

    def run(
        self, *argv: str | bytes, stdin: bytes | None = None, close: bool = True, **more: object
    ) -> tuple[int, bytes, bytes]:
        """Status, output, errors."""
        self.agent.run(argv, stdin=stdin is not None, **more)  # type: ignore[arg-type]
        if stdin is not None:
            self.agent.write_stdin(stdin)
            if close:
                self.agent.close_stdin()
        return told(self.until(Exited))

    def ends(self, seconds: float = 20) -> None:
        """Waits for the machine's own end."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.console[-2000:]
            with contextlib.suppress(OSError):  # its sockets end before it does
                self.step()
        assert self.process.returncode == 0

    def stop(self) -> None:
        """Ends it the hard way."""
        self.process.kill()
        self.process.wait()
        for port in self.ports:
            port.close()


def told(events: list[object]) -> tuple[int, bytes, bytes]:
    """What the events of one command say."""
    [status] = [e.status for e in events if isinstance(e, Exited)]
    both = [b"".join(e.data for e in events if isinstance(e, Output) and e.stream == n) for n in (1, 2)]
    return status, both[0], both[1]


@pytest.fixture(scope="module", params=EMULATORS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    program = EMULATORS[request.param].split()[0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="gh") as folder:
        try:
            machine = Machine(Path(folder), request.param)
        except UserError as lack:
            pytest.skip(str(lack))
        machine.until(Ready)
        yield machine
        machine.stop()


def test_output_errors_and_status_come_apart(machine: Machine) -> None:
    assert machine.run("sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")


def test_words_reach_the_command_as_they_were(machine: Machine) -> None:
    words = [
        b"a b",
        b"",
        b"it's",
        b'"$HOME" `x` \\ *',
        b"two\nlines\n",
        b"\n",
        bytes(range(1, 256)),
        b"-n",
        b"\xc3\xa9",
    ]
    status, out, err = machine.run("printf", "%s\\0", *words)
    assert (status, out.split(b"\0")[:-1], err) == (0, words, b"")


def test_what_cannot_be_found_gives_127_and_what_cannot_run_126(machine: Machine) -> None:
    assert machine.run("no-such-program")[0] == 127
    assert machine.run("/etc/passwd")[0] == 126
    assert machine.run("true", cwd="/nowhere")[0] == 126


def test_a_signal_gives_128_and_its_number(machine: Machine) -> None:
    assert machine.run("sh", "-c", "kill -SEGV $$") == (128 + 11, b"", b"")
    assert machine.run("sh", "-c", "kill -TERM $$", stdin=b"") == (128 + 15, b"", b"")


def test_environment_and_folder_are_set(machine: Machine) -> None:
    status, out, _ = machine.run("sh", "-c", 'echo "$A|$B|$(pwd)"', env={"A": "x'y", "B": "1\n2"}, cwd="/tmp")
    assert (status, out) == (0, b"x'y|1\n2|/tmp\n")


def test_a_command_inherits_three_descriptors_and_none_is_a_terminal(machine: Machine) -> None:
    status, out, _ = machine.run("sh", "-c", "ls /proc/$$/fd; test -t 0 || test -t 1 || test -t 2 || echo none")
    assert (status, out) == (0, b"0\n1\n10\n2\nnone\n") or out == b"0\n1\n2\nnone\n"


def test_standard_input_is_eight_bit_clean(machine: Machine) -> None:
    data = bytes(range(256)) * 500
    assert machine.run("cat", stdin=data) == (0, data, b"")
    assert machine.run("wc", "-c", stdin=b"") == (0, b"0\n", b"")


def test_standard_input_streams(machine: Machine) -> None:
    machine.agent.run(["cat"], stdin=True)
    machine.until(Started)
    for line in (b"first\n", b"second\n"):
        machine.agent.write_stdin(line)
        machine.until_output(line)
    machine.agent.close_stdin()
    assert told(machine.until(Exited)) == (0, b"", b"")


def test_input_that_nobody_reads_does_not_reach_the_next_command(machine: Machine) -> None:
    assert machine.run("head", "-c", "3", stdin=b"0\nstdin 9\n" * 10000) == (0, b"0\ns", b"")
    assert machine.run("true", stdin=b"x" * 200000, close=False)[0] == 0
    assert machine.run("cat", stdin=b"mine") == (0, b"mine", b"")


def test_a_large_output_arrives_whole_before_the_status(machine: Machine) -> None:
    status, out, err = machine.run("sh", "-c", "seq 1 20000; seq 1 3000 >&2")
    assert status == 0
    assert out == b"".join(b"%d\n" % n for n in range(1, 20001))
    assert err == b"".join(b"%d\n" % n for n in range(1, 3001))


def test_signals_reach_the_whole_group(machine: Machine) -> None:
    machine.agent.run(["sh", "-c", "sleep 100 | sleep 200"])
    machine.agent.signal("SIGINT")
    assert told(machine.until(Exited))[0] == 130
    machine.agent.run(["sh", "-c", "trap 'echo caught; exit 3' INT; echo set; while :; do sleep 1; done"])
    machine.until_output(b"set\n")
    machine.agent.signal("INT")
    assert told(machine.until(Exited))[:2] == (3, b"caught\n")


def test_what_a_command_leaves_running_does_not_hold_it_up_for_ever(machine: Machine) -> None:
    late = "(sleep 6; echo late) & echo hi; exit 4"
    assert machine.run("sh", "-c", late) == (4, b"hi\n", b"")
    assert machine.run("sh", "-c", "sleep 2; echo mine") == (0, b"mine\n", b"")


def test_orphans_are_buried(machine: Machine) -> None:
    assert machine.run("sh", "-c", "(sleep 0.2 &) >/dev/null 2>&1; exit 0")[0] == 0
    assert machine.run("sh", "-c", "sleep 1; ps -o stat,comm | grep -c '^Z *sleep'")[1] == b"0\n"


def test_a_command_at_the_terminal_has_job_control_and_the_size(machine: Machine) -> None:
    machine.agent.resize(33, 101)
    machine.console = b""
    machine.agent.run(["sh", "-c", "tty; stty size; read x; echo got $x; sleep 100"], tty=True)
    machine.until(Started)
    while b"/dev/ttyS0\r\n33 101\r\n" not in machine.console:
        machine.step()
    machine.ports[0].sendall(b"hello\r")
    while b"got hello" not in machine.console:
        machine.step()
    machine.ports[0].sendall(b"\x03")
    assert told(machine.until(Exited))[0] == 130


def test_poweroff_ends_the_machine(machine: Machine) -> None:
    machine.agent.poweroff()
    machine.ends()


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is not installed")
def test_a_shell_has_job_control_beside_the_agent_and_its_end_is_the_machines(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "amd64", "shell")
    try:
        machine.until(Ready)
        talk = [(b"sleep 99\r", b""), (b"\x03", b"# "), (b"echo st=$?\r", b"st=130"), (b"tty\r", b"/dev/tty")]
        for typed, answer in talk:
            machine.ports[0].sendall(typed)
            machine.console = b""
            end = time.monotonic() + 20
            while answer not in machine.console:
                assert time.monotonic() < end, machine.console
                machine.step()
            time.sleep(0.5)
        assert machine.run("echo", "beside") == (0, b"beside\n", b"")
        machine.ports[0].sendall(b"exit\r")
        machine.ends()
        assert machine.console.count(b"BusyBox") == 0
    finally:
        machine.stop()
