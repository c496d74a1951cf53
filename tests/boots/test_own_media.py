"""Machines that boot from their own media, as users have them: from Python, on a terminal, over VNC."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import guesthouse as gh
from guesthouse.cli import watching
from guesthouse.display.screen import Text
from tests.boots.seat import Seat
from tests.conftest import Popen

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
GUESTS = Path(os.environ.get("GUESTHOUSE_GUESTS") or ROOT.parent / "shared" / "guests")
PROMPT, PATIENCE = "A:\\>", 60.0


@pytest.fixture
def floppy(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a guest's floppy, under a name."""

    def copy(name: str) -> Path:
        image = GUESTS / "freedos722.img"
        if not image.exists():
            pytest.skip("no guest: freedos722.img is not among the images that GUESTHOUSE_GUESTS names")
        return Path(shutil.copy(image, tmp_path / name))

    return copy


def ask(machine: gh.Machine, command: str, answer: str | re.Pattern[str]) -> str:
    """Type a command at DOS's prompt; the screen when it has answered."""
    machine.screen.wait_for(PROMPT, PATIENCE)
    machine.keyboard.type(command + "\n")
    return machine.screen.wait_for(answer, PATIENCE)


def test_a_floppy_boots_is_used_and_stays_as_it_was(floppy: Callable[[str], Path], tmp_path: Path) -> None:
    image = floppy("dos.img")
    before = hashlib.sha256(image.read_bytes()).digest()
    with gh.Machine.run(str(image), memory="32M", time="virtual") as machine:
        assert "COMMAND" in ask(machine, "dir /w", "bytes free")
        ask(machine, "echo gone at the end > gone.txt", "gone.txt")
        machine.screenshot(tmp_path / "dos.png")
        assert machine.screen.image().width == 720 and (tmp_path / "dos.png").read_bytes()[:4] == b"\x89PNG"
    assert hashlib.sha256(image.read_bytes()).digest() == before


def test_what_a_guest_writes_to_a_second_disk_is_there_after_a_restart(floppy: Callable[[str], Path]) -> None:
    first, second = floppy("a.img"), floppy("b.img")
    options = {"floppy": [first, second], "memory": "32M", "time": "virtual", "persist": True}
    with gh.Machine.run("", **options) as machine:
        ask(machine, "echo still here > b:kept.txt", "kept.txt")
        ask(machine, "type b:kept.txt", "\nstill here")
    assert b"still here" in second.read_bytes()
    with gh.Machine.create("again", **options) as machine:
        machine.start()
        ask(machine, "type b:kept.txt", "\nstill here")


def test_machines_do_not_share_a_disk_that_one_writes(floppy: Callable[[str], Path]) -> None:
    image = str(floppy("dos.img"))
    with gh.Machine.create("one", image, persist=True), pytest.raises(gh.UserError, match="in use"):
        gh.Machine.create("other", image)


def test_two_machines_run_side_by_side(floppy: Callable[[str], Path]) -> None:
    image = str(floppy("dos.img"))
    with gh.Machine.run(image, memory="32M", time="virtual") as one, \
            gh.Machine.run(image, memory="16M", time="virtual") as other:
        ask(one, "echo I am the first", "\nI am the first")
        ask(other, "echo I am another", "\nI am another")
        assert "another" not in one.screen.text() and "first" not in other.screen.text()


def test_a_floppy_is_changed_while_the_machine_runs(floppy: Callable[[str], Path]) -> None:
    first, second, third = floppy("a.img"), floppy("b.img"), floppy("c.img")
    with gh.Machine.run(str(first), floppy=str(second), memory="32M", time="virtual") as machine:
        ask(machine, "echo one > b:one.txt", "one.txt")
        ask(machine, "dir b:one.txt", re.compile(r"bytes free\s+A:\\>"))  # a disk that is being read is not changed
        machine.eject("floppy", 1)
        machine.insert("floppy", third, 1)
        ask(machine, "dir b:one.txt", "File not found")


def test_the_mouse_moves_a_pointer_in_dos_and_opens_a_menu() -> None:
    image = GUESTS / "freedos-8086tiny.img"
    if not image.exists():
        pytest.skip(f"no guest: {image.name} is not among the images that GUESTHOUSE_GUESTS names")
    with gh.Machine.run(str(image), memory="32M", time="virtual") as machine:
        ask(machine, "ctmouse", "Installed at PS/2 port")
        ask(machine, "edit", "F1=Help")
        away = standing(machine)
        for _ in range(100):  # to the corner, then to the menu: fast movements count more, how much is the driver's
            machine.mouse.move(-100, -100)
        deadline = time.monotonic() + PATIENCE
        while (now := standing(machine))[2] == away[2] or now[0] != away[0]:  # on its way it may pass the menu
            assert time.monotonic() < deadline
            machine.mouse.move(2, 0)
        machine.mouse.click("left")
        machine.screen.wait_for("Close    Alt+F4", PATIENCE)


def standing(machine: gh.Machine) -> bytes:
    """The colours once they have stayed the same for a second of the guest's time, however slow the host: all is
    drawn and the mouse has told all its movements."""
    since, now = time_of(machine), colours(machine)
    while time_of(machine) - since < 1_000_000_000:
        time.sleep(0.05)
        if (then := colours(machine)) != now:
            since, now = time_of(machine), then
    return now


def time_of(machine: gh.Machine) -> int:
    """In nanoseconds."""
    return int(machine.call(lambda board: board.clock.now()))


def colours(machine: gh.Machine) -> bytes:
    """A pointer in a text mode shows by its cell's colours."""
    screen = machine.screen.now()
    assert isinstance(screen, Text)
    return screen.cells[1::2]


def test_com1_of_a_machine_with_a_screen_is_used_both_ways(floppy: Callable[[str], Path]) -> None:
    with gh.Machine.run(str(floppy("dos.img")), memory="32M", time="virtual") as machine:
        ask(machine, "echo by wire > com1", "com1")
        machine.serial[0].expect("by wire", PATIENCE)
        ask(machine, "ctty com2", "com2")
        machine.serial[1].write("ver\r")
        machine.serial[1].expect("FreeCom version", PATIENCE)


def test_ctrl_alt_delete_starts_dos_again(floppy: Callable[[str], Path]) -> None:
    with gh.Machine.run(str(floppy("dos.img")), memory="32M", time="virtual") as machine:
        ask(machine, "echo before", "\nbefore")
        machine.keyboard.press("ctrl+alt+delete")
        deadline = time.monotonic() + PATIENCE
        while "before" in machine.screen.text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ask(machine, "ver", "version")


def test_on_a_terminal_the_screen_is_drawn_and_the_terminal_put_back(
        floppy: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seat = Seat(monkeypatch, str(floppy("dos.img")), "--memory", "32M", "--time", "virtual", folder=tmp_path,
                cwd=tmp_path)
    seat.wait_for(r"A:\\>$")
    seat.press(b"ver\r")
    seat.wait_for("FreeCom version")
    seat.press(b"\x01s")
    seat.press(b"\x01s")
    seat.press(b"\x01x")
    seat.expect("a screenshot is in pc-")
    seat.expect("a screenshot is in pc-")
    assert seat.end() == 0 and seat.restored
    taken = list(tmp_path.glob("pc-*.png"))
    assert len(taken) == 2 and all(file.read_bytes().startswith(b"\x89PNG") for file in taken)
    seat.close()


def test_vnc_shows_the_screen_and_takes_keys_and_pointer(floppy: Callable[[str], Path]) -> None:
    asyncvnc = pytest.importorskip("asyncvnc")
    with gh.Machine.run(str(floppy("dos.img")), memory="32M", time="virtual") as machine:
        machine.screen.wait_for(PROMPT, PATIENCE)
        server, other = watching.serve(machine, ""), watching.serve(machine, "")
        assert server.port != other.port

        async def use() -> tuple[int, ...]:
            async with asyncvnc.connect(server.host, server.port) as client:
                client.keyboard.write("ver")
                client.keyboard.press("Return")
                client.mouse.move(100, 50)
                client.mouse.click()
                await client.drain()
                await asyncio.get_running_loop().run_in_executor(
                    None, lambda: machine.screen.wait_for("FreeCom version 0.82 pl 3 XMS_Swap", PATIENCE))
                return tuple((await client.screenshot()).shape)

        try:
            assert asyncio.run(use())[:2] == (400, 720)
        finally:
            server.stop()
            other.stop()


def test_without_a_terminal_the_last_screen_is_printed(floppy: Callable[[str], Path], tmp_path: Path,
                                                       popen: Popen) -> None:
    command = [sys.executable, "-m", "guesthouse", "run", str(floppy("dos.img")), "--memory", "32M", "--time",
               "virtual", "--screenshot", str(tmp_path / "end.png"), "--serial", f"file:{tmp_path / 'com1'}"]
    process = popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and (tmp_path / "end.png").exists()
    lines = said.splitlines()
    assert lines[-1] == PROMPT and "FreeCom version" in said and lines[0].startswith("FreeDOS kernel")


def guesthouse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "guesthouse", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=120)


def test_another_process_cannot_use_a_disk_that_one_writes(floppy: Callable[[str], Path]) -> None:
    image = str(floppy("dos.img"))
    with gh.Machine.create("one", image, persist=True):
        refused = guesthouse("run", image, "--timeout", "20s")
    assert refused.returncode == 1 and "in use" in refused.stderr and "Traceback" not in refused.stderr


def test_a_machine_with_a_screen_whose_time_is_up_says_so_in_a_sentence(floppy: Callable[[str], Path]) -> None:
    done = guesthouse("run", str(floppy("dos.img")), "--memory", "32M", "--timeout", "2s", "--display", "none")
    assert done.returncode == 5 and not done.stdout and len(done.stderr.splitlines()) == 2


def test_the_debug_port_is_a_file_and_the_debug_exit_a_status(tmp_path: Path) -> None:
    code = bytes.fromhex("BAE900 B048EE B069EE BAF400 B010EE EBFE")  # "Hi" to E9h, 10h to F4h
    sector = tmp_path / "boot.img"
    sector.write_bytes(code.ljust(510, b"\0") + b"\x55\xAA")
    done = guesthouse("run", str(sector), "--memory", "16M", "--display", "none", "--timeout", "30s",
                      "--debug-port", str(tmp_path / "said"), "--test-devices")
    assert done.returncode == 0x21 and not done.stderr and (tmp_path / "said").read_bytes() == b"Hi"


def test_mikeos_is_used_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = GUESTS / "mikeos.flp"
    if not image.exists():
        pytest.skip("no guest: mikeos.flp is not among the images that GUESTHOUSE_GUESTS names")
    seat = Seat(monkeypatch, str(image), "--memory", "32M", "--time", "virtual", folder=tmp_path)
    seat.wait_for("Please select an interface")
    seat.press(b"\x1b[C\r")  # to the right: its command line
    seat.wait_for(r"MikeOS 4\.5\nCommands: .*\n>")
    seat.press(b"ver\r")
    seat.wait_for(r"> ver\nMikeOS 4\.5\n>")
    seat.leave()
    assert seat.restored
    seat.close()
