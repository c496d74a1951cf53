"""Media of machines with drives: changed while the machine runs, and given back by what fails."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from guesthouse.errors import NoSuchThing, UserError
from guesthouse.manager.building import Announce, parts
from guesthouse.manager.config import config
from guesthouse.manager.machine import Machine

FLOPPY = 1_474_560


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{name}.img" for name in "abc"]
    for n, file in enumerate(made):
        file.write_bytes(bytes((n + 1,)) * FLOPPY)
    return made


@pytest.fixture
def machine(images: list[Path]) -> Iterator[Machine]:
    with Machine.run("", floppy=images[:2], memory="16M", way="plain", persist=True) as made:
        yield made


def first_bytes(machine: Machine) -> list[int]:
    return [machine.call(lambda board, n=n: board.drives[n].read(0, 1)[0]) for n in (0, 1)]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_file_that_a_drive_writes_may_be_put_into_it_again(machine: Machine, images: list[Path]) -> None:
    machine.insert("floppy", images[0])
    machine.insert("floppy", images[2])
    machine.insert("floppy", images[0])
    assert first_bytes(machine) == [1, 2]


def test_a_file_that_another_drive_writes_is_refused_with_what_to_do(machine: Machine, images: list[Path]) -> None:
    with pytest.raises(UserError, match="in another drive of this machine") as refused:
        machine.insert("floppy", images[1], 0)
    assert "Eject it there first" in refused.value.do and first_bytes(machine) == [1, 2]
    machine.eject("floppy", 1)
    machine.insert("floppy", images[1], 0)
    assert machine.call(lambda board: board.drives[0].read(0, 1)[0]) == 2


def test_a_drive_that_is_not_there_opens_nothing(machine: Machine, images: list[Path]) -> None:
    before = open_files()
    with pytest.raises(NoSuchThing, match="no floppy drive number 7"):
        machine.insert("floppy", images[2], 7)
    assert open_files() == before
    with Machine.run("", floppy=str(images[2]), memory="16M", way="plain", persist=True):
        pass  # nobody holds its lock


def test_a_medium_that_cannot_be_had_leaves_the_drive_as_it_was(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(UserError):
        machine.insert("floppy", tmp_path / "empty")
    assert first_bytes(machine) == [1, 2]


@pytest.mark.parametrize("options", [
    {"chipset": "q35", "disk_bus": "ide"},  # a bus that is not there
    {"firmware": "rom", "variables": "variables"},  # firmware that does not fit
])
def test_a_machine_that_cannot_be_built_gives_all_files_back(tmp_path: Path, images: list[Path],
                                                            options: dict[str, str]) -> None:
    (tmp_path / "rom").write_bytes(bytes(17 << 20))
    (tmp_path / "variables").write_bytes(bytes(1 << 16))
    before = open_files()
    files = {"firmware", "variables"}
    given = {key: str(tmp_path / value) if key in files else value for key, value in options.items()}
    with pytest.raises(UserError):
        Machine.create("one", "", disk=str(images[0]), memory="16M", way="plain", persist=True, **given)
    assert open_files() == before


def test_what_is_odd_about_the_medium_of_any_drive_is_told(tmp_path: Path) -> None:
    short, heard = tmp_path / "short.iso", list[str]()
    volume = bytearray(2048)
    volume[:6], volume[80:84] = b"\1CD001", (1000).to_bytes(4, "little")
    short.write_bytes(bytes(16 * 2048) + volume + (b"\xffCD001".ljust(2048, b"\0")))
    parts(config("here", "", cdroms=short), "", Announce(warn=heard.append))
    assert len(heard) == 1 and "says it has 2048000 bytes" in heard[0]


@pytest.mark.parametrize("idle", [{"append": "quiet"}, {"initrd": "a.img"}])
def test_what_only_a_kernel_hears_of_is_refused_to_a_medium(images: list[Path], idle: dict[str, str]) -> None:
    given = {key: str(images[0]) if key == "initrd" else text for key, text in idle.items()}
    with pytest.raises(UserError, match=f"has no use for {next(iter(idle))}"):
        Machine.run("", floppy=images[0], **given)


def test_a_multiboot_kernel_is_known_however_it_is_given(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    flags, load = 1 << 16, 1 << 20
    header = (0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFF_FFFF, load, load, 0, 0, load + 32)
    kernel.write_bytes(struct.pack("<8I", *header) + bytes(64))
    for described in (config("here", str(kernel)), config("here", "", kernel=kernel, append="one")):
        found = parts(described, "", Announce())
        assert found.config.multiboot and found.kernel == kernel and found.cmdline == described.append


def test_a_machine_without_a_guest_starts_from_its_medium_or_is_debian(images: list[Path]) -> None:
    assert config("here").guest == "debian"
    assert [config("here", **{where: images[0]}).guest for where in ("floppies", "disks", "cdroms")] == [""] * 3
