"""The command line on real guests: serial ports that lead to a socket, a pseudo-terminal and a file, another chipset,
disks on another bus, a multiboot kernel."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guesthouse.errors import GuesthouseError
from guesthouse.images.packages import Packages
from tests.boots.computer import Computer, drive
from tests.boots.conftest import GUESTS
from tests.conftest import Popen

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROOT, PATIENCE = Path(__file__).parents[2], 60.0
GUESTHOUSE = [sys.executable, "-m", "guesthouse", "run"]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def by_serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A floppy whose DOS takes COM1 for its console."""
    image = GUESTS / "freedos722.img"
    if not image.exists():
        pytest.skip("no guest: freedos722.img is not among the images that GUESTHOUSE_GUESTS names")
    floppy = drive("floppy", image.read_bytes())
    computer = Computer([floppy], speed=2_000_000)
    computer.ask("echo ctty com1 > autoexec.bat", "autoexec.bat")
    computer.board.close()
    made = tmp_path_factory.mktemp("serial") / "dos.img"
    made.write_bytes(floppy.read(0, floppy.sectors))
    return made


@pytest.fixture
def start(popen: Popen) -> Iterator[Start]:
    """`guesthouse run` with these arguments, ended by Ctrl-C's signal; its output is kept."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        started.append(popen([*GUESTHOUSE, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130


def expect(file: int, words: bytes) -> None:
    """Read until the words have come."""
    seen, deadline = b"", time.monotonic() + PATIENCE
    while words not in seen:
        assert select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {words!r} in {seen!r}"
        seen += os.read(file, 4096)


def test_a_serial_port_leads_to_a_tcp_connection_both_ways(by_serial: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        start(str(by_serial), "--memory", "16M", "--display", "none", "--serial",
              f"tcp:127.0.0.1:{server.getsockname()[1]}")
        server.settimeout(PATIENCE)
        peer, _ = server.accept()
        with peer:
            expect(peer.fileno(), b"A:\\>")
            peer.sendall(b"ver\r")
            expect(peer.fileno(), b"FreeCom version")


def test_one_serial_port_is_a_pseudo_terminal_another_a_file(by_serial: Path, start: Start, tmp_path: Path) -> None:
    process = start(str(by_serial), "--memory", "16M", "--display", "none", "--serial", "pty", "--serial",
                    f"file:{tmp_path / 'com2'}")
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    found = re.search(r"/dev/\S+", said)
    assert found, said
    terminal = os.open(found[0], os.O_RDWR | os.O_NOCTTY)
    expect(terminal, b"A:\\>")
    os.write(terminal, b"echo by the second > com2\r")
    expect(terminal, b"A:\\>")
    deadline = time.monotonic() + PATIENCE
    while b"by the second" not in (tmp_path / "com2").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.close(terminal)


def asked(*arguments: str) -> str:
    done = subprocess.run([*GUESTHOUSE, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("options, found", [
    ([], {"0x1237", "0x7010"}), (["--chipset", "q35"], {"0x29c0", "0x2922"}),
    (["--disk-bus", "virtio"], {"0x1237", "0x1001"}),
    (["--chipset", "q35", "--disk-bus", "virtio"], {"0x29c0", "0x1001"}),
    (["--disk-bus", "ahci"], {"0x1237", "0x2922"}),
])
def test_the_chipset_and_the_bus_of_disks_are_those_that_are_asked_for(options: list[str], found: set[str],
                                                                      tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    said = asked("debian", "--disk", str(tmp_path / "disk"), *options, "--", "sh", "-c",
                 "cat /sys/bus/pci/devices/*/device")
    assert found <= set(said.split())


@pytest.mark.parametrize("words", ["", "acpi=off"])
def test_com3_and_com4_share_the_interrupts_of_com1_and_com2_as_drivers_expect(words: str) -> None:
    script = "cat /proc/tty/driver/serial; echo over COM3 >&2"  # commands are told over COM4
    said = asked("debian", "--append", words, "--", "sh", "-c", script)
    assert re.findall(r"irq:(\d+)", said) == ["4", "3", "4", "3"]


def test_a_multiboot_kernel_is_started_with_its_words_and_its_module(start: Start, tmp_path: Path) -> None:
    try:
        kernel = Packages().file("gnumach-image-1.8-486", "boot/gnumach-*", "i386")
    except GuesthouseError as wrong:
        pytest.skip(f"no guest: {wrong}")
    (tmp_path / "note").write_bytes(b"Guests are fed here")
    said = tmp_path / "com1"
    start(str(kernel), "--memory", "64M", "--initrd", str(tmp_path / "note"), "--append", "console=com0", "--display",
          "none", "--serial", f"file:{said}")
    deadline = time.monotonic() + PATIENCE
    while not said.exists() or b"multiboot module in compat mode: note" not in said.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_named_guest_has_its_disks_before_its_command_begins(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\0" * (4 << 20))
    command = "echo kept | dd of=/dev/vda conv=sync status=none && sync && head -c 4 /dev/vda"
    done = subprocess.run([*GUESTHOUSE, "debian", "--disk", str(disk), "--persist", "--", "sh", "-c", command],
                          cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=5 * PATIENCE)
    assert (done.returncode, done.stdout) == (0, b"kept"), done.stderr
    assert disk.read_bytes()[:5] == b"kept\n"
