"""The files that a machine starts from: what they are, and the drives they lie in.

A file's kind is found in it (storage/image.py), not in its name. Files are never written unless `persist` is said: the
guest writes into an overlay that is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from guesthouse.errors import UserError
from guesthouse.manager.config import Config
from guesthouse.storage.disk import open_disk
from guesthouse.storage.image import Medium, identify, is_multiboot
from guesthouse.system.boards.attached import Attached

KINDS = {"floppy": "floppies", "disk": "disks", "cdrom": "cdroms"}
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Slot:
    """A drive with a medium in it: the kind of drive, the file, and what the file is."""

    kind: str
    file: Path
    medium: Medium

    @classmethod
    def of(cls, kind: str, file: Path) -> Slot:
        return cls(kind, file, identify(file, kind))

    def open(self, persist: bool, bus: str = "") -> Attached:
        wanted = persist and self.kind != "cdrom"
        disk = open_disk(self.file, self.medium.sector_size, wanted)
        return Attached(self.kind, disk, name=self.file.name, geometry=self.medium.geometry,
                        bus=bus if self.kind == "disk" else "", source=self.file)


def recognised(described: Config) -> Config:
    """The description with the guest's file put where it belongs: into a drive, or as the kernel."""
    if described.image is None:
        return replace(described, multiboot=described.kernel is not None and is_multiboot(described.kernel))
    medium = identify(described.image)
    if medium.kind in KINDS:
        place = KINDS[medium.kind]
        changes: dict[str, Any] = {place: (described.image, *getattr(described, place))}
        return replace(described, **changes)
    if medium.kind == "linux":
        arch = {"riscv": "riscv64", "x86": "amd64"}.get(str(medium.details.get("arch")))
        if arch is None:
            raise UserError(f"{described.image} is a kernel for {medium.details.get('arch')}.",
                            "There are machines for amd64 and riscv64.", exit_status=6)
        return replace(described, kernel=described.image, arch=arch)
    return replace(described, kernel=described.image, multiboot=medium.kind == "multiboot")


def slots(described: Config, warn: Warn) -> tuple[Slot, ...]:
    """All drives of the description, in order; what is odd about their media is told."""
    found = tuple(Slot.of(kind, file) for kind, place in KINDS.items() for file in getattr(described, place))
    for slot in found:
        for sentence in slot.medium.warnings:
            warn(sentence)
    return found


def put(slot: Slot, drive: Attached, drives: Sequence[Attached], persist: bool) -> None:
    """Put a medium into one of a machine's drives. What lies there already is given back before: a file that a drive
    writes is its own. The drive keeps what it has if the medium cannot be had."""
    for other in drives:
        if persist and other is not drive and lies_in(slot.file, other):
            raise UserError(f"{slot.file} is in another drive of this machine, which writes it.",
                            "Eject it there first.", exit_status=4)
    if persist and lies_in(slot.file, drive):
        drive.change(None)
    new = slot.open(persist)
    try:
        drive.change(new)
    except BaseException:
        new.close()
        raise


def lies_in(file: Path, drive: Attached) -> bool:
    return isinstance(drive.source, Path) and drive.present and file.samefile(drive.source)
