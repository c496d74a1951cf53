"""Boots: how long from the command's start until Debian's first line of user space."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench import sides
from bench.rows import Part, Row
from bench.sides import Setup
from bench.suite import debian

APPEND = "nokaslr guesthouse.run=shell guesthouse.announce"  # at the same addresses each time, as ours is by itself


def booted(arch: str, way: str, rounds: int, memory: int, others: list[str]) -> Part:
    """Debian of one architecture; the files are in the host's cache on both sides, and our engine is compiled."""
    row = Row("boot", f"Debian {arch} to user space")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = setup(arch, way, Path(name), memory)
        for number in range(rounds):
            print(f"boot of {arch}, round {number + 1} of {rounds}", file=sys.stderr)
            for side, command in sides.commands(made, others).items():
                row.add(side, sides.boot(command))
    return Part("boot", [row])


def setup(arch: str, way: str, folder: Path, memory: int) -> Setup:
    from guesthouse.images.initramfs import build

    kernel, busybox = debian(arch)
    (folder / "kernel").write_bytes(kernel.read_bytes())
    (folder / "initrd").write_bytes(build(busybox.read_bytes()))
    return Setup(folder / "kernel", folder / "initrd", APPEND, memory, arch, way)
