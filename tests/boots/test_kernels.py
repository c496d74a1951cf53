"""Kernels of others, started by others' boot loaders: GNU Mach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.boots import iso
from tests.boots.computer import Computer, drive
from tests.boots.test_loaders import grub_prompt

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SwitchOn, Unpack = Callable[..., Computer], Callable[..., bytes]
FAST = 300_000_000


def by_grub(switch_on: SwitchOn, unpack: Unpack, files: dict[str, bytes], lines: list[str],
            **options: int) -> Computer:
    """GRUB from its CD reads these files from a disk."""
    cd = drive("cdrom", unpack("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"))
    computer = grub_prompt(switch_on(drive("disk", iso.image(files)), cd, boot="d", speed=FAST, **options))
    for line in lines:
        computer.ask(line, line[-20:], prompt="grub>")
    computer.board.keyboard.type("boot\n")
    return computer


def test_grub_starts_gnu_mach_which_finds_the_drives(switch_on: SwitchOn, unpack: Unpack) -> None:
    kernel = {"mach": unpack("gnumach-image-1.8-486", "boot/gnumach-*", "i386")}
    computer = by_grub(switch_on, unpack, kernel, ["multiboot (hd0)/mach root=device:hd0"], mib=64)
    computer.wait_for("biosmem: physical memory map")
    assert "hd0: guesthouse disk" in computer.wait_for("ATAPI CDROM drive")
