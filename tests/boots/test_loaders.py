"""Boot loaders of others, from floppy, CD and disk: GRUB, isolinux, iPXE."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guesthouse.clock import SECOND
from guesthouse.system.chips.vga import Picture
from tests.boots import iso
from tests.boots.computer import Computer, drive

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SwitchOn, Unpack = Callable[..., Computer], Callable[..., bytes]
GRUB, MODULES = "usr/lib/grub-rescue/grub-rescue-", "usr/lib/syslinux/modules/bios/"


def grub_prompt(computer: Computer) -> Computer:
    computer.wait_for("executed automatically")
    computer.board.keyboard.type("c")
    computer.wait_for("grub>")
    return computer


@pytest.mark.parametrize("kind, name", [("floppy", "floppy.img"), ("cdrom", "cdrom.iso")])
def test_grub_has_a_menu_a_prompt_and_knows_the_drives(switch_on: SwitchOn, unpack: Unpack, kind: str,
                                                       name: str) -> None:
    disk = drive("disk", iso.image({"note.txt": b"Guests are fed here"}))
    computer = grub_prompt(switch_on(drive(kind, unpack("grub-rescue-pc", GRUB + name)), disk, boot="ad"))
    assert "(hd0)" in computer.ask("ls", "(hd0)", prompt="grub>")
    assert "note.txt" in computer.ask("ls (hd0)/", "note.txt", prompt="grub>")
    assert "Guests are fed" in computer.ask("cat (hd0)/note.txt", "\nGuests are fed here", prompt="grub>")


def isolinux(unpack: Unpack, configuration: str, **files: bytes) -> bytes:
    modules = {name: unpack("syslinux-common", MODULES + name)
               for name in ("ldlinux.c32", "menu.c32", "libutil.c32", "libcom32.c32", "ls.c32", "meminfo.c32")}
    boot = {"isolinux.bin": unpack("isolinux", "usr/lib/ISOLINUX/isolinux.bin")}
    return iso.image(boot | modules | files | {"isolinux.cfg": configuration.encode()}, boot="isolinux.bin")


def test_isolinux_lists_its_cd_and_starts_what_its_menu_offers(switch_on: SwitchOn, unpack: Unpack) -> None:
    words = "UI menu.c32\nMENU TITLE The house\nLABEL a\nMENU LABEL Memory\nCOM32 meminfo.c32\nLABEL b\n" \
            "MENU LABEL Network\nKERNEL ipxe\n"
    cd = isolinux(unpack, words, ipxe=unpack("ipxe", "boot/ipxe.lkrn"))
    computer = switch_on(drive("cdrom", cd), mib=32)
    computer.wait_for("The house")
    computer.board.keyboard.tap("esc")
    assert "isolinux.cfg" in computer.ask("ls.c32", "isolinux.cfg", prompt="boot:")
    assert "INT 15 E801: 0x3c00 (15360K)" in computer.ask("meminfo.c32", "usable", prompt="boot:")
    computer.board.keyboard.type("b\n")
    computer.wait_for("iPXE initialising devices")


def test_memdisk_hands_a_floppy_from_the_cd_to_dos(switch_on: SwitchOn, unpack: Unpack,
                                                   image: Callable[[str], bytes]) -> None:
    words = "DEFAULT a\nLABEL a\nKERNEL memdisk\nINITRD dos\n"
    cd = isolinux(unpack, words, memdisk=unpack("syslinux-common", "usr/lib/syslinux/memdisk"),
                  dos=image("freedos722.img"))
    computer = switch_on(drive("cdrom", cd), mib=32, speed=20_000_000)
    assert "COMMAND" in computer.ask("dir /w", "bytes free")


def test_hdt_shows_the_machine_from_a_graphical_menu(switch_on: SwitchOn, unpack: Unpack) -> None:
    words = "UI vesamenu.c32\nLABEL a\nCOM32 hdt.c32\n"
    more = {name: unpack("syslinux-common", MODULES + name)
            for name in ("vesamenu.c32", "hdt.c32", "libmenu.c32", "libgpl.c32")}
    computer = switch_on(drive("cdrom", isolinux(unpack, words, **more)), mib=32)
    end = computer.board.clock.now() + 60 * SECOND
    while not (isinstance(screen := computer.board.screen(), Picture) and len(set(screen.rgb)) > 8):
        assert computer.board.clock.now() < end
        computer.board.run(until=computer.board.clock.now() + SECOND)
    computer.board.keyboard.type("\n")
    assert "PCI Devices( 6)" in computer.wait_for("Main Menu")
    computer.board.keyboard.tap("down")
    computer.board.keyboard.tap("down")
    computer.board.keyboard.type("\n")
    computer.wait_for("Vendor: Intel")


def test_ipxe_comes_to_its_prompt_and_does_sums(switch_on: SwitchOn, unpack: Unpack) -> None:
    computer = switch_on(drive("cdrom", unpack("ipxe", "usr/lib/ipxe/ipxe.iso")), mib=32)
    computer.wait_for("Ctrl-B")
    computer.board.keyboard.tap("ctrl", "b")
    computer.wait_for("iPXE>")
    computer.ask("set house guest", "set house guest", prompt="iPXE>")
    assert "\nguest" in computer.ask("echo ${house}", "\nguest", prompt="iPXE>")
