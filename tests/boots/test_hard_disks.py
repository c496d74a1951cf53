"""FreeDOS with a hard disk that it partitions, formats and makes bootable by its own programs; and what else of its
floppies' programs asks much of a PC: an assembler, a game's graphics."""

from __future__ import annotations

import re
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

import guesthouse as gh
from guesthouse.system.chips.vga import Text
from tests.boots import iso
from tests.boots.computer import Computer, drive
from tests.boots.conftest import GUESTS
from tests.boots.seat import Seat

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SPEED = 2_000_000  # instructions a second: a system that asks for keys without end is as slow as it used to be
SIZE, PATIENCE = 32 << 20, 100.0
SwitchOn, Image = Callable[..., Computer], Callable[[str], bytes]


def test_an_assembler_in_dos_makes_a_program_that_runs(switch_on: SwitchOn, image: Image) -> None:
    computer = switch_on(drive("floppy", image("freedos722.img")), speed=SPEED)
    assert "Hello, World!" in computer.ask("hello", "Hello, World!")
    computer.ask("nasm hello.asm -o made.com", "made.com")
    computer.ask("del hello.com", "hello.com")
    computer.ask("cls", "A:\\>")
    assert "Hello, World!" in computer.ask("made", "Hello, World!")


def test_a_program_of_dos_draws_in_256_colours(switch_on: SwitchOn, image: Image) -> None:
    computer = switch_on(drive("floppy", image("freedos722.img")), speed=SPEED)
    computer.ask("cd demos", "\\DEMOS", prompt=">")
    computer.board.keyboard.type("mandel~1\n")
    computer.wait_for(lambda text: colours(computer) > 16, seconds=120)
    assert (computer.board.screen().width, computer.board.screen().height) == (320, 200)


def colours(computer: Computer) -> int:
    screen = computer.board.screen()
    if isinstance(screen, Text):
        return 0
    return len({screen.rgb[at:at + 3] for at in range(0, len(screen.rgb), 3)})


@pytest.fixture(scope="module")
def disk() -> bytes:
    """A hard disk that DOS's own FDISK, FORMAT and SYS have made bootable; a restart between them, as they ask for."""
    floppy = GUESTS / "freedos-8086tiny.img"
    if not floppy.exists():
        pytest.skip(f"no guest: {floppy.name} is not among the images that GUESTHOUSE_GUESTS names")
    hard = drive("disk", bytes(SIZE))
    computer = Computer([drive("floppy", floppy.read_bytes()), hard], speed=SPEED)
    computer.ask("fdisk /auto 1", "/auto 1")
    assert "FAT16             100%" in computer.ask("fdisk /info 1", "100%")
    computer.ask("fdisk /mbr 1", "/mbr 1")
    computer.board.close()
    computer = Computer([drive("floppy", floppy.read_bytes()), hard], speed=SPEED)
    computer.ask("cls", "A:\\>")
    computer.board.keyboard.type("format c: /v:house\n")
    computer.wait_for("(YES/NO)?")
    computer.board.keyboard.type("YES\n")
    computer.wait_for("Volume Serial Number", 120)
    computer.ask("sys c:", "System transferred.")
    computer.ask("echo echo Come in > c:autoexec.bat", "autoexec.bat")
    computer.ask("echo Guests are fed here > c:house.txt", "house.txt")
    assert "HOUSE" in computer.ask("dir c:", "bytes free")
    computer.board.close()
    return hard.read(0, hard.sectors)


def test_a_disk_that_dos_has_partitioned_has_one_volume_of_fat16(disk: bytes) -> None:
    entry = disk[0x1BE:0x1CE]
    start, count = struct.unpack("<II", entry[8:])
    assert entry[0] == 0x80 and entry[4] == 0x04 and disk[0x1CE:0x1FE] == bytes(48)
    assert start == 63 and start + count <= SIZE // 512
    assert disk[start * 512 + 54:start * 512 + 62] == b"FAT16   "


def test_dos_starts_from_its_hard_disk_and_reads_what_was_written(switch_on: SwitchOn, disk: bytes) -> None:
    computer = switch_on(drive("disk", disk), speed=SPEED)
    computer.wait_for("Come in")
    assert "\nGuests are fed here" in computer.ask("type house.txt", "fed here", prompt="C:\\>")


def test_dos_starts_from_a_hard_disk_that_lies_on_a_cd(switch_on: SwitchOn, disk: bytes) -> None:
    computer = switch_on(drive("cdrom", iso.image({"disk.img": disk}, "disk.img", 4)), speed=SPEED)
    computer.wait_for("Come in")
    assert "\nGuests are fed here" in computer.ask("type house.txt", "fed here", prompt="C:\\>")


def test_with_persist_the_command_keeps_what_dos_writes_to_its_disk(
        disk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(disk)
    use(image, "echo dropped > gone.txt", "gone.txt", monkeypatch)
    assert image.read_bytes() == disk
    use(image, "echo kept > kept.txt", "kept.txt", monkeypatch, "--persist")
    assert image.read_bytes() != disk
    use(image, "dir kept.txt", "1 file", monkeypatch)


def use(image: Path, command: str, answer: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """One life of the machine on a terminal: a command at DOS's prompt, its answer and the next prompt."""
    seat = Seat(monkeypatch, "--disk", str(image), "--memory", "16M", *options, folder=image.parent)
    seat.wait_for(r"C:\\>$")
    seat.press(command.encode() + b"\r")
    said = seat.wait_for(rf"C:\\>{re.escape(command)}\n(.*\n)*C:\\>$")
    assert answer in said
    seat.leave()
    seat.close()


def test_dos_prints_to_the_parallel_port_and_beeps_into_a_sound_file(image: Image, tmp_path: Path) -> None:
    floppy = tmp_path / "dos.img"
    floppy.write_bytes(image("freedos722.img"))
    with gh.Machine.run(str(floppy), memory="16M", time="virtual", parallel_port=str(tmp_path / "printed"),
                        sound=str(tmp_path / "sound.wav")) as machine:
        machine.screen.wait_for(re.compile(r"A:\\>\s*$"), PATIENCE)
        machine.keyboard.type("echo Guests are fed here > lpt1\necho ")
        machine.keyboard.press("ctrl+g", "enter")
        machine.keyboard.type("echo the end\n")
        machine.screen.wait_for("\nthe end", PATIENCE)
    assert (tmp_path / "printed").read_bytes() == b"Guests are fed here \r\n"
    with wave.open(str(tmp_path / "sound.wav")) as found:
        assert len(set(found.readframes(found.getnframes()))) == 3  # silence, and both halves of a wave
