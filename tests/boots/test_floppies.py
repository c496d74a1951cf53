"""Whole boots of FreeDOS and MikeOS from their own floppies, through our firmware, used by keyboard and read from the
screen."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.boots import iso
from tests.boots.computer import Computer, drive

pytestmark = [pytest.mark.boot, pytest.mark.slow]

FREEDOS = ["freedos722.img", "freedos-8086tiny.img"]
SPEED = 2_000_000  # instructions a second: a system that asks for keys without end is as slow as it used to be
SwitchOn, Image = Callable[..., Computer], Callable[[str], bytes]


@pytest.mark.parametrize("name", FREEDOS)
def test_freedos_comes_to_its_prompt_and_says_its_version(switch_on: SwitchOn, image: Image, name: str) -> None:
    computer = switch_on(drive("floppy", image(name)), speed=SPEED)
    assert "version" in computer.ask("ver", "version").lower()


def test_freedos_lists_the_floppy_that_it_came_from(switch_on: SwitchOn, image: Image) -> None:
    computer = switch_on(drive("floppy", image("freedos722.img")), speed=SPEED)
    assert "COMMAND" in computer.ask("dir /w", "bytes free")


@pytest.mark.parametrize("name", FREEDOS)
def test_a_file_on_a_second_floppy_is_there_after_a_restart(switch_on: SwitchOn, image: Image, name: str) -> None:
    second = drive("floppy", image("freedos722.img"))
    first = switch_on(drive("floppy", image(name)), second, speed=SPEED)
    first.ask("echo Guests are fed here > b:house.txt", "house.txt")
    again = switch_on(drive("floppy", image(name)), second, speed=SPEED)
    assert "\nGuests are fed here" in again.ask("type b:house.txt", "\nGuests are fed here")
    assert "HOUSE" in again.ask("dir b:house.txt", "bytes free")


@pytest.mark.parametrize("name", ["freedos-8086tiny.img", "mikeos.flp"])
def test_a_floppy_that_lies_on_a_cd_boots_as_a_floppy(switch_on: SwitchOn, image: Image, name: str) -> None:
    cd = iso.image({"floppy.img": image(name)}, "floppy.img", emulation=2)
    computer = switch_on(drive("cdrom", cd), speed=SPEED)
    if name == "mikeos.flp":
        computer.wait_for("Please select an interface")
    else:
        assert "FREEDOS" in computer.ask("dir a:", "bytes free")


@pytest.mark.parametrize("emulation, track, sectors", [(1, 15, 2400), (3, 36, 5760)])
def test_the_other_sizes_of_floppies_on_a_cd_have_their_own_tracks(
        switch_on: SwitchOn, image: Image, emulation: int, track: int, sectors: int) -> None:
    content = bytearray(image("freedos722.img").ljust(512 * sectors, b"\0"))
    struct.pack_into("<H", content, 24, track)  # sectors a track, in the parameter block that its boot sector goes by
    cd = iso.image({"floppy.img": bytes(content)}, "floppy.img", emulation)
    computer = switch_on(drive("cdrom", cd), speed=SPEED)
    assert "COMMAND" in computer.ask("dir /w", "bytes free")


def test_mikeos_shows_its_programs_and_answers_at_its_command_line(switch_on: SwitchOn, image: Image) -> None:
    computer = switch_on(drive("floppy", image("mikeos.flp")), speed=SPEED)
    computer.wait_for("Please select an interface")
    computer.board.keyboard.type("\n")
    computer.wait_for("Please select a file")
    computer.board.keyboard.tap("esc")
    computer.wait_for("Please select an interface")
    computer.board.keyboard.tap("right")
    computer.board.keyboard.type("\n")
    assert "MikeOS 4.5" in computer.ask("ver", "MikeOS 4.5", prompt=">")
