"""Systems that lie on a hard disk, with the loaders of others in its first sectors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.images import initramfs
from tests.boots.computer import Computer, drive
from tests.boots.fat import SECTOR, TRACK, fat16, partitioned
from tests.boots.test_kernels import FAST
from tests.boots.test_loaders import GRUB

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SwitchOn, Unpack = Callable[..., Computer], Callable[..., bytes]
SHELL = "root@guesthouse:~# "
APPEND = "console=ttyS0 quiet guesthouse.run=shell"


def linux(unpack: Unpack) -> dict[str, bytes]:
    return {"LINUX": unpack("linux-image-686", "boot/vmlinuz-*", "i386"),
            "ROOT.IMG": initramfs.build(unpack("busybox-static", "*bin/busybox", "i386"))}


def uses_the_disk(computer: Computer) -> None:
    """A shell reads the volume that it was started from."""
    computer.wait_for(SHELL, 120, where=computer.serial)
    assert "\nLinux i686" in computer.say("uname -sm", "\nLinux i686")


@pytest.fixture
def syslinux(packages, unpack: Unpack, tmp_path: Path) -> Callable[[dict[str, bytes]], bytes]:
    """A disk with these files that starts by syslinux, which its own installer has put there."""
    if shutil.which("mcopy") is None:
        pytest.skip("no guest: syslinux's installer runs mtools, which this host does not have")
    installer, image = tmp_path / "syslinux", tmp_path / "disk.img"
    installer.write_bytes(unpack("syslinux", "usr/bin/syslinux"))
    installer.chmod(0o755)

    def make(files: dict[str, bytes]) -> bytes:
        image.write_bytes(partitioned(unpack("syslinux-common", "usr/lib/syslinux/mbr/mbr.bin"), fat16(files, TRACK)))
        subprocess.run([installer, "--offset", str(TRACK * SECTOR), "--install", image], check=True)
        return image.read_bytes()

    return make


def test_syslinux_starts_debian_from_the_partition_of_a_disk(switch_on: SwitchOn, unpack: Unpack,
                                                             syslinux: Callable[[dict[str, bytes]], bytes]) -> None:
    menu = f"SAY The house is open\nPROMPT 1\nDEFAULT a\nLABEL a\nKERNEL LINUX\nINITRD ROOT.IMG\nAPPEND {APPEND}\n"
    computer = switch_on(drive("disk", syslinux(linux(unpack) | {"SYSLINUX.CFG": menu.encode()})), mib=128, speed=FAST)
    computer.wait_for("The house is open")
    computer.wait_for("boot:")
    computer.board.keyboard.type("a\n")
    uses_the_disk(computer)


@pytest.mark.parametrize("kind, name", [("disk", "floppy.img"), ("cdrom", "cdrom.iso")])
def test_grub_starts_debian_from_the_partition_of_a_disk(switch_on: SwitchOn, unpack: Unpack, kind: str,
                                                         name: str) -> None:
    """GRUB itself comes from a disk (its rescue floppy is one as well), or from a CD."""
    grub, system = drive(kind, unpack("grub-rescue-pc", GRUB + name)), drive(
        "disk", partitioned(b"", fat16(linux(unpack), TRACK)))
    where = "(hd1,msdos1)" if kind == "disk" else "(hd0,msdos1)"
    computer = switch_on(grub, system, boot="cd" if kind == "disk" else "d", mib=128, speed=FAST)
    computer.wait_for("executed automatically")
    computer.board.keyboard.type("c")
    computer.ask(f"ls {where}/", "root.img", prompt="grub>")
    computer.ask(f"linux {where}/linux {APPEND}", "shell", prompt="grub>")
    computer.ask(f"initrd {where}/root.img", "root.img", prompt="grub>")
    computer.board.keyboard.type("boot\n")
    uses_the_disk(computer)
