"""Disks as a guest sees them: Debian's kernel reads one through IDE and one through virtio-blk, in order and
here and there, and writes them, into overlays. Programs and timing are those of the suite (guest/, sides.py); a disk is
their standard input.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import sides
from bench.guest import system
from bench.guest.build import Item, executable
from bench.guest.linux import MARK
from bench.guest.system import DISK_MIB
from bench.guest.targets import AMD64
from bench.rows import OURS, THEIRS, Part, Row
from bench.sides import DEVICES, Setup
from bench.suite import FOLDER, QUIET

ITEMS = tuple(item for bus in ("ide", "virtio") for item in (
    Item(f"{bus}_seq", system.sequential, DISK_MIB << 4), Item(f"{bus}_4k", system.scattered, 4000),
    Item(f"{bus}_write", system.written, DISK_MIB << 4)))

MODULES = (
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
    "scsi/scsi_common",
    "scsi/scsi_mod",
    "ata/libata",
    "ata/ata_piix",
    "scsi/sd_mod",
)  # in the order of loading


def read(names: Sequence[str], way: str, rounds: int, memory: int, others: Sequence[str]) -> Part:
    """Disks through IDE and virtio-blk, all in one boot of each side and round."""
    rows = {name: Row(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = setup(names, way, Path(folder), memory)
        for number in range(rounds):
            for side in (OURS, THEIRS) if THEIRS in others else (OURS,):
                print(f"disks, round {number + 1} of {rounds}: {side}", file=sys.stderr)
                for name, run in sides.programs(sides.guesthouse(made) if side == OURS else sides.qemu(made)).items():
                    rows[name].add(side, run)
    return Part("disks", list(rows.values()))


def setup(names: Sequence[str], way: str, folder: Path, memory: int) -> Setup:
    """Kernel, initramfs and a disk, as files in a folder."""
    from guesthouse.images.packages import Packages

    patterns = {f"{n:02}": f"lib/modules/*/kernel/drivers/{module}.ko" for n, module in enumerate(MODULES)}
    packages = Packages()
    found = packages.files("linux-image-cloud-amd64", {"kernel": "boot/vmlinuz-*", **patterns})
    busybox = packages.file("busybox-static", "bin/busybox").read_bytes()
    (folder / "kernel").write_bytes(found.pop("kernel").read_bytes())
    (folder / "initrd").write_bytes(
        userland(names, busybox, {n: file.read_bytes() for n, file in found.items()})
    )
    (folder / "disk").write_bytes(random.Random(1).randbytes(DISK_MIB << 20))
    return Setup(folder / "kernel", folder / "initrd", QUIET, memory, way=way, disk=folder / "disk")


def userland(names: Sequence[str], busybox: bytes, modules: dict[str, bytes]) -> bytes:
    """An initramfs whose first process loads the modules and runs the programs, each on its disk."""
    from guesthouse.images.initramfs import CHARACTER, DIRECTORY, FILE, Entry, archive

    chosen = [item for item in ITEMS if item.name in names]
    devices = {item.name: DEVICES[item.name.partition("_")[0]] for item in chosen}
    script = [
        "#!/bin/busybox sh",
        "b=/bin/busybox",
        "$b mount -t devtmpfs dev /dev",
        "$b mount -t proc proc /proc",
        *(f"$b insmod /lib/{name}.ko" for name in sorted(modules)),
        *(f"until [ -b {device} ]; do $b usleep 10000; done" for device in sorted(set(devices.values()))),
        *(
            f"echo 3 > /proc/sys/vm/drop_caches; /{FOLDER}/{name} <> {device}"
            for name, device in devices.items()
        ),
        f"echo {MARK} all ends 0 0",
        "$b poweroff -f",
        "",
    ]
    entries = [Entry(name, DIRECTORY | 0o755) for name in ("bin", "dev", "lib", "proc", FOLDER)]
    entries += [
        Entry("dev/console", CHARACTER | 0o600, device=(5, 1)),
        Entry("bin/busybox", FILE | 0o755, busybox),
        Entry("init", FILE | 0o755, "\n".join(script).encode()),
    ]
    entries += [Entry(f"lib/{name}.ko", FILE | 0o644, data) for name, data in modules.items()]
    entries += [Entry(f"{FOLDER}/{item.name}", FILE | 0o755, executable(item, AMD64)) for item in chosen]
    return archive(entries)
