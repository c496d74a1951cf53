"""Boots: how long from the command's start until Debian's first line of user space.

Ours twice in each round: cold, with the engine compiled, as it is after the first run, and no region on the shelf;
and warm, with what a few boots have left there. Both are compared with the same boots of the others.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench import sides
from bench.rows import OURS, Part, Row
from bench.sides import Setup
from bench.suite import debian

APPEND = "nokaslr guesthouse.run=shell guesthouse.announce"  # at the same addresses each time, as ours is by itself
BEFORE = 3  # boots that warm the shelf
COLD, WARM = 1.0, 1 / 0.7  # what the boot of amd64 shall have of TCG's speed


def booted(arch: str, way: str, rounds: int, memory: int, others: list[str]) -> list[Part]:
    """Debian of one architecture; the files are in the host's cache on both sides."""
    from guesthouse.engine.build import engine
    from guesthouse.manager.building import code_folder, instruction_set

    engine(instruction_set(arch), code_folder())  # compiled, if it is not yet
    cold, warm = (Row(f"boot, {name}", f"Debian {arch} to user space") for name in ("cold", "warm"))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        commands = sides.commands(setup(arch, way, folder, memory), others)
        ours = commands.pop(OURS)
        print(f"boot of {arch}: {BEFORE} boots for the shelf", file=sys.stderr)
        for _ in range(BEFORE):
            sides.boot(ours, cache(folder / "warm"))
        for number in range(rounds):
            print(f"boot of {arch}, round {number + 1} of {rounds}", file=sys.stderr)
            cold.add(OURS, sides.boot(ours, cache(folder / f"cold{number}")))
            for side, command in commands.items():
                run = sides.boot(command)
                cold.add(side, run)
                warm.add(side, run)
            warm.add(OURS, sides.boot(ours, cache(folder / "warm")))
    targets = (COLD, WARM) if arch == "amd64" else (None, None)
    return [Part(row.name, [row], target) for row, target in zip((cold, warm), targets, strict=True)]


def cache(folder: Path) -> dict[str, str]:
    """The environment with this cache folder, which has the engines of the host's cache, and what it had before."""
    from guesthouse.manager.building import code_folder

    (folder / "code").mkdir(parents=True, exist_ok=True)
    for file in code_folder().glob("*.code"):
        if not (folder / "code" / file.name).exists():
            (folder / "code" / file.name).symlink_to(file)
    return {"GUESTHOUSE_CACHE": str(folder)}


def setup(arch: str, way: str, folder: Path, memory: int) -> Setup:
    from guesthouse.images.initramfs import build

    kernel, busybox = debian(arch)
    (folder / "kernel").write_bytes(kernel.read_bytes())
    (folder / "initrd").write_bytes(build(busybox.read_bytes()))
    return Setup(folder / "kernel", folder / "initrd", APPEND, memory, arch, way)
