"""Kernels of others, started by others' boot loaders: Debian's for i386, GNU Mach."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guesthouse.images import initramfs
from tests.boots import iso
from tests.boots.computer import Computer, drive
from tests.boots.test_loaders import grub_prompt, isolinux

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SwitchOn, Unpack = Callable[..., Computer], Callable[..., bytes]
FAST = 300_000_000


@pytest.mark.parametrize("package", ["linux-image-686", "linux-image-686-pae"])
def test_isolinux_starts_debian_for_i386_and_its_shell_works(switch_on: SwitchOn, unpack: Unpack,
                                                             package: str) -> None:
    root = initramfs.build(unpack("busybox-static", "*bin/busybox", "i386"))
    words = "DEFAULT a\nLABEL a\nKERNEL kernel\nINITRD root\nAPPEND console=ttyS0 quiet guesthouse.run=shell\n"
    cd = isolinux(unpack, words, kernel=unpack(package, "boot/vmlinuz-*", "i386"), root=root)
    computer = switch_on(drive("cdrom", cd), mib=128, speed=FAST)
    computer.wait_for("root@guesthouse:~# ", where=computer.serial)
    assert "\nLinux i686" in computer.say("uname -sm", "\nLinux i686")
    assert "\n4950" in computer.say("n=0; for i in $(seq 99); do n=$((n+i)); done; echo $n", "\n4950")


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
