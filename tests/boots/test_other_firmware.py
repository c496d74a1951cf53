"""Firmware that others wrote boots on the PC as it boots on QEMU: SeaBIOS with its VGA BIOS, EDK II's OVMF with its
variables in flash. Both are Debian's packages, unmodified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guesthouse.clock import SECOND, Clock, RealClock, VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.errors import UserError
from guesthouse.images import initramfs
from guesthouse.images.catalogue import cache_folder
from guesthouse.images.packages import Packages
from guesthouse.manager.building import instruction_set
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import OutOfTime
from guesthouse.system.chips.vga import Picture, Text
from tests.boots.computer import drive
from tests.boots.fat import fat16
from tests.boots.conftest import GUESTS

pytestmark = [pytest.mark.boot, pytest.mark.slow]

EPOCH = 1_767_225_600
BIOS_SPEED = 10_000_000  # instructions a second: SeaBIOS waits for keys in a loop
SLICE, PATIENCE = 0.25, 240  # seconds of the host's time, where guests run in real time


def packaged(package: str, *paths: str) -> list[bytes]:
    try:
        files = Packages().files(package, {path: path for path in paths})
    except (UserError, OSError) as wrong:
        pytest.skip(f"no package {package}: {wrong}")
    return [files[path].read_bytes() for path in paths]


@pytest.fixture
def switched_on() -> Iterator[Callable[..., ClassicPc]]:
    made: list[ClassicPc] = []

    def switch_on(clock: Clock, **options: Any) -> ClassicPc:
        kind = instruction_set("amd64")
        code = engine(kind, cache_folder() / "code")
        made.append(ClassicPc(256 << 20, clock, lambda memory: SoftVcpu(kind, code), epoch=EPOCH,
                              random_bytes=bytes, **options))
        return made[-1]

    yield switch_on
    for board in made:
        board.close()


def shown(board: ClassicPc) -> str:
    screen = board.screen()
    return "\n".join(line.rstrip() for line in screen.lines()) if isinstance(screen, Text) else ""


def wait_for_text(board: ClassicPc, words: str) -> str:
    end = board.clock.now() + 60 * SECOND
    while words not in shown(board):
        outcome = board.run(until=board.clock.now() + SECOND // 10)
        assert outcome == OutOfTime() and board.clock.now() < end, board.report(shown(board))
    return shown(board)


@pytest.mark.parametrize("chipset", ["i440fx", "q35"])
def test_seabios_shows_its_banner_and_starts_freedos_from_a_floppy(
        switched_on: Callable[..., ClassicPc], chipset: str) -> None:
    image = GUESTS / "freedos722.img"
    if not image.exists():
        pytest.skip("no guest: freedos722.img is not among the images that GUESTHOUSE_GUESTS names")
    bios, vga = packaged("seabios", "usr/share/seabios/bios-256k.bin", "usr/share/seabios/vgabios-stdvga.bin")
    board = switched_on(VirtualClock(BIOS_SPEED), firmware=bios, vga_rom=vga, chipset=chipset,
                        drives=[Attached("floppy", Memory(image.read_bytes()))])
    assert "SeaBIOS (version" in wait_for_text(board, "Press ESC for boot menu")
    wait_for_text(board, "A:\\>")
    board.keyboard.type("ver\n")
    wait_for_text(board, "FreeCom version")
    said = board.debug.decode("latin-1")
    assert "VBE DISPI: bdf 00:03.0, bar 0" in said and "Copying SMBIOS" in said and "Copying MPTABLE" in said


class Shell:
    """The UEFI shell on the first serial port, in real time."""

    def __init__(self, board: ClassicPc) -> None:
        self.board, self.output, self.seen = board, bytearray(), 0
        board.serial[0].output = self.output.extend

    def wait_for(self, words: str) -> str:
        """What came since the last time, up to these words."""
        self.board.clock.resume()  # type: ignore[attr-defined]
        for _ in range(int(PATIENCE / SLICE)):
            at = self.output.find(words.encode(), self.seen)
            if at >= 0:
                break
            assert self.board.run(seconds=SLICE) == OutOfTime()
        self.board.clock.pause()  # type: ignore[attr-defined]
        assert at >= 0, self.board.report(bytes(self.output).decode("latin-1"))
        before, self.seen = self.seen, at + len(words)
        return bytes(self.output[before:self.seen]).decode("latin-1")

    def ask(self, command: str, words: str) -> str:
        self.board.serial[0].send(command.encode() + b"\r")
        return self.wait_for(words)


@pytest.mark.parametrize("chipset", ["i440fx", "q35"])
def test_ovmf_comes_to_its_shell_on_screen_and_serial_and_reads_a_disk(
        switched_on: Callable[..., ClassicPc], chipset: str) -> None:
    code, variables = packaged("ovmf", "usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd")
    kept = Memory(variables)
    board = switched_on(RealClock(), firmware=code, variables=kept, chipset=chipset,
                        drives=[Attached("disk", Memory(fat16({"HOUSE.TXT": b"Guests are fed here"})))])
    shell = Shell(board)
    shell.wait_for("Shell>")
    screen = board.screen()
    assert isinstance(screen, Picture) and screen.width >= 800 and len(set(screen.rgb)) > 1
    shell.ask("fs0:", "FS0:\\>")
    assert "HOUSE.TXT" in shell.ask("ls", "1 File(s)")
    shell.ask("type HOUSE.TXT", "Guests are fed here")
    assert kept.read(0, kept.sectors) != variables, "the variable store has been written"


def test_ovmf_that_demands_system_management_comes_to_its_shell(switched_on: Callable[..., ClassicPc]) -> None:
    """It moves into TSEG, and writes its variables from there."""
    code, variables = packaged("ovmf", "usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "usr/share/OVMF/OVMF_VARS_4M.fd")
    kept = Memory(variables)
    board = switched_on(RealClock(), firmware=code, variables=kept, chipset="q35")
    Shell(board).wait_for("Shell>")
    assert kept.read(0, kept.sectors) != variables and len(board.memory.management) == 2


def test_ovmf_without_a_variable_store_comes_to_its_shell(switched_on: Callable[..., ClassicPc]) -> None:
    (whole,) = packaged("ovmf", "usr/share/ovmf/OVMF.fd")
    board = switched_on(RealClock(), firmware=whole)
    Shell(board).wait_for("Shell>")


@pytest.mark.parametrize("chipset", ["i440fx", "q35"])
@pytest.mark.parametrize("kind", ["disk", "cdrom"])  # the same image, made for both
def test_seabios_starts_grub_from_a_hard_disk_and_from_a_cd(switched_on: Callable[..., ClassicPc], kind: str,
                                                           chipset: str) -> None:
    bios, vga = packaged("seabios", "usr/share/seabios/bios-256k.bin", "usr/share/seabios/vgabios-stdvga.bin")
    (image,) = packaged("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso")
    board = switched_on(VirtualClock(100_000_000), firmware=bios, vga_rom=vga, chipset=chipset,
                        drives=[drive(kind, image)])
    wait_for_text(board, "executed automatically")
    board.keyboard.type("c")
    wait_for_text(board, "grub>")
    board.keyboard.type("ls\n")
    wait_for_text(board, "(hd0)" if kind == "disk" else "(cd")


def test_ovmf_starts_linux_by_its_efi_stub(switched_on: Callable[..., ClassicPc]) -> None:
    code, variables = packaged("ovmf", "usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd")
    (kernel,) = packaged("linux-image-cloud-amd64", "boot/vmlinuz-*")
    root = initramfs.build(*packaged("busybox-static", "*bin/busybox"))
    board = switched_on(RealClock(), firmware=code, variables=Memory(variables), chipset="q35",
                        drives=[Attached("disk", Memory(fat16({"LINUX.EFI": kernel, "ROOT.IMG": root})))])
    shell = Shell(board)
    shell.wait_for("Shell>")
    shell.ask("fs0:", "FS0:\\>")
    shell.ask("LINUX.EFI initrd=\\ROOT.IMG console=ttyS0 quiet guesthouse.run=shell", "root@guesthouse:~# ")
    assert "\n64" in shell.ask("cat /sys/firmware/efi/fw_platform_size", "\n64")
    shell.ask("uname -sm", "\nLinux x86_64")
