"""Kernels of others, started by others' boot loaders: Debian's for i386, Xen, GNU Mach, and Debian's installer."""

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
INSTALLER = "*/text/debian-installer/*/"


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


@pytest.mark.parametrize("parallel", [False, True], ids=["by turns", "in parallel"])
def test_debian_for_i386_uses_four_processors(switch_on: SwitchOn, unpack: Unpack, parallel: bool) -> None:
    root = initramfs.build(unpack("busybox-static", "*bin/busybox", "i386"))
    words = "DEFAULT a\nLABEL a\nKERNEL kernel\nINITRD root\nAPPEND console=ttyS0 quiet guesthouse.run=shell\n"
    cd = isolinux(unpack, words, kernel=unpack("linux-image-686-pae", "boot/vmlinuz-*", "i386"), root=root)
    computer = switch_on(drive("cdrom", cd), mib=256, speed=FAST, cpus=4, parallel=parallel)
    computer.wait_for("root@guesthouse:~# ", 120, where=computer.serial)
    assert "\n4\n" in computer.say("nproc; echo e$((1+1))", "\ne2")
    said = computer.say("for n in 0 1 2 3; do taskset -c $n sh -c 'cut -d\" \" -f39 /proc/self/stat' & done; wait; "
                        "echo e$((1+2))", "\ne3")
    assert {"0", "1", "2", "3"} <= set(said.split("\n"))


def by_grub(switch_on: SwitchOn, unpack: Unpack, files: dict[str, bytes], lines: list[str],
            **options: int) -> Computer:
    """GRUB from its CD reads these files from a disk."""
    cd = drive("cdrom", unpack("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"))
    computer = grub_prompt(switch_on(drive("disk", iso.image(files)), cd, boot="d", speed=FAST, **options))
    for line in lines:
        computer.ask(line, line[-20:], prompt="grub>")
    computer.board.keyboard.type("boot\n")
    return computer


def test_grub_starts_xen_which_starts_debian_as_its_first_domain(switch_on: SwitchOn, unpack: Unpack) -> None:
    files = {"xen": unpack("xen-hypervisor-4.17-amd64", "boot/xen-4.17-amd64.gz"),
             "linux": unpack("linux-image-cloud-amd64", "boot/vmlinuz-*")}
    computer = by_grub(switch_on, unpack, files, [
        "multiboot (hd0)/xen com1=115200 console=com1", "module (hd0)/linux earlyprintk=xen"], mib=384)
    computer.wait_for("Xen version 4.17", where=computer.serial)
    computer.wait_for("Serial input to DOM0", 120, where=computer.serial)
    computer.wait_for("Hypervisor detected: Xen PV", 120, where=computer.serial)
    computer.wait_for("Brought up 1 node, 1 CPU", 120, where=computer.serial)


def test_grub_starts_gnu_mach_which_finds_the_drives(switch_on: SwitchOn, unpack: Unpack) -> None:
    kernel = {"mach": unpack("gnumach-image-1.8-486", "boot/gnumach-*", "i386")}
    computer = by_grub(switch_on, unpack, kernel, ["multiboot (hd0)/mach root=device:hd0"], mib=64)
    computer.wait_for("biosmem: physical memory map")
    assert "hd0: guesthouse disk" in computer.wait_for("ATAPI CDROM drive")


@pytest.mark.parametrize("arch", ["i386", "amd64"])
def test_debians_installer_asks_for_a_language_and_then_a_country(switch_on: SwitchOn, unpack: Unpack,
                                                                 arch: str) -> None:
    package = f"debian-installer-12-netboot-{arch}"
    cd = isolinux(unpack, "DEFAULT a\nLABEL a\nKERNEL linux\nINITRD root\nAPPEND vga=normal nomodeset\n",
                  linux=unpack(package, INSTALLER + "linux"), root=unpack(package, INSTALLER + "initrd.gz"))
    computer = switch_on(drive("cdrom", cd), mib=1024, speed=FAST)
    computer.wait_for("Select a language", 120)
    computer.wait_for("English")
    computer.board.keyboard.tap("down")
    computer.board.keyboard.tap("up")
    computer.board.keyboard.type("\n")
    computer.wait_for("Select your location", 60)
    computer.wait_for("United States", 60)


def test_debian_for_i386_given_as_a_kernel_starts_on_a_text_screen(switch_on: SwitchOn, unpack: Unpack) -> None:
    computer = switch_on(mib=128, speed=FAST)
    root = initramfs.build(unpack("busybox-static", "*bin/busybox", "i386"))
    computer.board.load_linux(unpack("linux-image-686-pae", "boot/vmlinuz-*", "i386"), root,
                              "console=ttyS0 console=tty0 guesthouse.run=shell")
    computer.wait_for("root@guesthouse:~#")
    assert "Console: colour VGA+ 80x25" in computer.serial()
