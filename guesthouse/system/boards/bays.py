"""Where a PC's disks and CDs are plugged: each drive on the bus that it names, each bus with its controller.

Buses: ide (both channels of the PIIX3, in compatibility mode), ahci (the ICH9's, or the same function as a card),
virtio (a block device of its own). A drive that names none is on ide, on a q35 on ahci.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from guesthouse.errors import UserError
from guesthouse.storage.geometry import own
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.pci import ICH_SLOT, PIIX_SLOT
from guesthouse.system.chips.ide.ahci import PORTS, Hba
from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.ide.bus_master import BusMaster
from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.ide.drive import Drive
from guesthouse.system.chips.kit import Chip, Line
from guesthouse.system.chips.pci.function import Function
from guesthouse.system.chips.pci.piix_ide import PiixIde
from guesthouse.system.chips.pci.q35 import Ahci
from guesthouse.system.chips.virtio.blk import Blk
from guesthouse.system.chips.virtio.pci import VirtioPci
from guesthouse.system.memory import OutsideRam

if TYPE_CHECKING:
    from guesthouse.system.boards.pc import PcBoard

CHANNELS = ((0x1F0, 0x3F6, 14), (0x170, 0x376, 15))  # command ports, control port, IRQ
BLOCK_SLOTS, AHCI_CARD_SLOT = range(8, 16), 7
PLACES = {"ide": 2 * len(CHANNELS), "ahci": PORTS, "virtio": len(BLOCK_SLOTS)}


class Bays:
    """`board` gives ports, PCI bus, interrupts and memory; `drives` may have floppies among them."""

    def __init__(self, board: PcBoard, drives: Sequence[Attached]) -> None:
        self.board, self.q35 = board, bool(board.tables.express)
        self.drives = {bus: [d for d in drives if d.kind != "floppy" and bus_of(d, self.q35) == bus] for bus in PLACES}
        for n, drive in enumerate(one for here in self.drives.values() for one in here):
            drive.serial = drive.serial or f"GH{n + 1:05}"
        if not self.q35:
            self._wire_ide(self.drives["ide"])
        if self.q35 or self.drives["ahci"]:
            self._wire_ahci(self.drives["ahci"])
        for slot, drive in zip(BLOCK_SLOTS, self.drives["virtio"], strict=False):
            block = VirtioPci(Blk(drive, serial=drive.serial), board.memory, board.pci.line(slot), refused=OutsideRam)
            board.pci.plug(slot, block, name="virtio_blk")

    def _wire_ide(self, drives: Sequence[Attached]) -> None:
        """In the order that they come in: two on the first cable, two on the second."""
        board = self.board
        first, second = self.channels = tuple(Channel(board.irq(irq)) for *_, irq in CHANNELS)
        for n, drive in enumerate(drives):
            self.channels[n // 2].attach(n % 2, made(drive, serial_ata=False))
            drive.place = PIIX_SLOT, 1, n // 2, n % 2
        board.chips += self.channels
        for n, (channel, (command, control, _)) in enumerate(zip(self.channels, CHANNELS, strict=True)):
            board.plug(board.ports, command, channel.command, f"ide{n}")
            board.plug(board.ports, control, channel.control, f"ide{n}.control")
            self._call_directly(channel.command, command, channel.command.SIZE, channel.typed)
            self._call_directly(channel.control, control, channel.control.SIZE, channel.typed, "control_")
        self.master = BusMaster(first, second, board.memory, refused=OutsideRam)
        board.chips.append(self.master)
        self.ide = PiixIde(self.master)
        board.pci.plug(PIIX_SLOT, self.ide, 1)

    def window_moved(self, function: Function, n: int, address: int | None) -> None:
        """Of a PCI function, one of ours or not."""
        if self.q35 or function is not self.ide:
            return
        size = BusMaster.SIZE // 2
        for at, half in zip((0, size), self.master.halves, strict=True):
            self._call_directly(self.ide, None if address is None else address + at, size, half.typed)

    def _call_directly(self, chip: Chip, start: int | None, size: int, typed: Any, door: str = "") -> None:
        """Compiled processors use registers themselves, which takes no time, unless somebody wants to hear of each
        access, or several of them could do it at once."""
        board = self.board
        if start is not None and (window := board.ports.find(start)) is not None:
            window.wait = 0
        if chip.event is None and board.threads is None:
            board.call_directly(typed, board.ports, start, size, f"{door}read", f"{door}write")

    def _wire_ahci(self, drives: Sequence[Attached]) -> None:
        slot, number = self._ahci_place()
        board = self.board
        line = Line()
        adapter = Hba(board.memory, line, refused=OutsideRam)
        function = Ahci(adapter, board.pci.line(slot))
        line.on_change = function.set_level
        adapter.trace_to(board.trace, "ahci")
        for n, drive in enumerate(drives):
            adapter.attach(n, made(drive, serial_ata=True))
        board.chips.append(adapter)
        board.pci.plug(slot, function, number, name="ahci.pci")

    def _ahci_place(self) -> tuple[int, int]:
        return (ICH_SLOT, 2) if self.q35 else (AHCI_CARD_SLOT, 0)

    def path(self, drive: Attached) -> str:
        """The Open Firmware path by which firmware is told what to boot."""
        bus = bus_of(drive, self.q35)
        n = self.drives[bus].index(drive)
        if bus == "ide":
            return f"/pci@i0cf8/ide@{PIIX_SLOT},1/drive@{n // 2}/disk@{n % 2}"
        if bus == "virtio":
            return f"/pci@i0cf8/scsi@{BLOCK_SLOTS[n]:x}/disk@0,0"
        slot, number = self._ahci_place()
        return f"/pci@i0cf8/pci8086,2922@{slot:x}{f',{number}' if number else ''}/drive@{n}/disk@0"


def bus_of(drive: Attached, q35: bool) -> str:
    return drive.bus or ("ahci" if q35 else "ide")


def made(drive: Attached, *, serial_ata: bool) -> Drive:
    """The drive as its controller sees it."""
    if drive.kind == "disk":
        return AtaDisk(drive, serial=drive.serial, geometry=own(drive.geometry, drive.sectors), serial_ata=serial_ata)
    cd = AtapiCdrom()
    watch(drive, partial(cd.insert, drive), cd.eject)
    return cd


def watch(drive: Attached, insert: Callable[[], object], eject: Callable[[], object]) -> None:
    """Tell a controller what is in a drive, now and at each change."""
    def tell() -> None:
        insert() if drive.present else eject()

    drive.watchers.append(tell)
    tell()


def check_places(drives: Sequence[Attached], q35: bool) -> None:
    """Refuse what no bus has room for, before anything is built."""
    for bus, most in PLACES.items():
        here = [d for d in drives if d.kind != "floppy" and bus_of(d, q35) == bus]
        if here and bus == "ide" and q35:
            raise UserError("A q35 has no IDE bus.", "Put the drive on ahci or virtio.")
        if any(d.kind == "cdrom" for d in here) and bus == "virtio":
            raise UserError("A CD cannot be on the virtio bus.", "Put it on ide or ahci.")
        if len(here) > most:
            raise UserError(f"{len(here)} disks and CDs are more than the {bus} bus has places for.",
                            f"It has {most}.")
