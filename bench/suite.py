"""The suite inside the guest: items in groups, run in one boot on each side, and natively where the host can.

Each item is a program that times itself by the guest's monotonic clock (guest/); from outside the same piece is
timed by the host's clock and by the CPU clock of the emulator's process, so that a guest whose clock is wrong is
noticed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import sides
from bench.guest import floating, integer, system
from bench.guest.build import Item, executable
from bench.guest.linux import MARK
from bench.guest.targets import TARGETS, Target
from bench.rows import HOST, Moment, Part, Row, Run
from bench.sides import Setup

# Both sides shall run the same code: which mitigations there are depends on what the processor says of itself, and what
# a random offset of the kernel's stack costs each system call, on when random numbers are ready.
QUIET = "quiet loglevel=0 panic=-1 nokaslr mitigations=off randomize_kstack_offset=off"
FOLDER = "bench"  # in the guest's root


@dataclass(frozen=True)
class Group:
    """Items of one kind, and how much faster than QEMU they shall be on the whole (geometric mean)."""

    name: str
    items: tuple[Item, ...]
    target: float | None = None
    computes: bool = True


def _x87(item: Item, rounds: int) -> Item:
    return replace(item, name=f"x87_{item.name}", rounds=rounds, unit="x87")


# The rounds are such that each takes QEMU about a second.
MANDELBROT = Item("mandelbrot", floating.mandelbrot, 200)
BODIES = Item("bodies", floating.bodies, 400_000)
SPECTRAL = Item("spectral", floating.spectral, 5000)
GROUPS = (
    Group("integer", (
        Item("sieve", integer.sieve, 300), Item("crc", integer.crc, 1500), Item("sort", integer.sort, 200),
        Item("matrix", integer.matrix, 2000), Item("sha256", integer.sha256, 8000),
        Item("compress", integer.compress, 2000), Item("interpreter", integer.interpreter, 30_000)), 1.4),
    Group("float", (MANDELBROT, BODIES, SPECTRAL, Item("filtered", floating.filtered, 3000)), 6),
    Group("x87", (_x87(MANDELBROT, 100), _x87(BODIES, 100_000), _x87(SPECTRAL, 1000)), 6),
    Group("simd", (
        Item("saxpy", floating.saxpy, 15_000, "simd"), Item("product", floating.product, 1500, "simd"),
        Item("blend", floating.blend, 30_000, "simd"), Item("correlation", floating.correlation, 50_000, "simd")), 8),
    Group("memory", (
        Item("copy", system.copy, 300), Item("movs", system.movs, 30), Item("chase", system.chase, 60_000))),
    Group("system", (
        Item("calls", system.calls, 1_000_000), Item("switches", system.switches, 15_000),
        Item("forks", system.forks, 1000), Item("execs", system.execs, 500), Item("faults", system.faults, 300),
        Item("code", system.code, 100_000)), 1.0, computes=False),
)
NAMES = tuple(name for group in GROUPS for name in (group.name, *(item.name for item in group.items)))


def chosen(names: Sequence[str]) -> list[Group]:
    """The groups with what is named of them: an item, or the group itself for all of it."""
    picked = (replace(group, items=tuple(item for item in group.items if {group.name, item.name} & set(names)))
              for group in GROUPS)
    return [group for group in picked if group.items]


def compared(groups: Sequence[Group], arch: str, way: str, rounds: int, memory: int,
             others: Sequence[str]) -> list[Part]:
    """All groups of one architecture; by turns, so that a host that gets slower does so for all sides."""
    target = TARGETS[arch]
    parts = [Part(group.name, [Row(item.name) for item in group.items if item.fits(target)], group.target,
                  group.computes) for group in groups]
    items = [item for group in groups for item in group.items if item.fits(target)]
    rows = {row.name: row for part in parts for row in part.rows}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = setup(items, target, Path(name), memory, way)
        for number in range(rounds):
            for side, command in sides.commands(made, others).items():
                print(f"{arch}, round {number + 1} of {rounds}: {side}", file=sys.stderr)
                for item, run in sides.programs(command).items():
                    rows[item].add(side, run)
            for one in items if HOST in others and on_this_host(target) else ():
                rows[one.name].add(HOST, natively(one, target, Path(name)))
    return [part for part in parts if part.rows]


def setup(items: Sequence[Item], target: Target, folder: Path, memory: int, way: str) -> Setup:
    """Kernel and initramfs in files of their own, for the cache may change meanwhile."""
    kernel, busybox = debian(target.name)
    (folder / "kernel").write_bytes(kernel.read_bytes())
    (folder / "initrd").write_bytes(initramfs(items, target, busybox.read_bytes()))
    return Setup(folder / "kernel", folder / "initrd", QUIET, memory, target.name, way)


def initramfs(items: Sequence[Item], target: Target, busybox: bytes) -> bytes:
    """A first process that runs the items one after the other and ends the machine."""
    from guesthouse.images.initramfs import CHARACTER, DIRECTORY, FILE, Entry, archive

    script = ["#!/bin/busybox sh", "/bin/busybox mount -t proc proc /proc",
              *(f"/{FOLDER}/{item.name} {item.rounds}" for item in items),
              f"echo {MARK} all ends 0 0", "/bin/busybox sleep 1", "/bin/busybox poweroff -f", ""]  # UARTs may be slow
    entries = [Entry(name, DIRECTORY | 0o755) for name in ("bin", "dev", "proc", "tmp", FOLDER)]
    entries += [Entry("dev/console", CHARACTER | 0o600, device=(5, 1)), Entry("bin/busybox", FILE | 0o755, busybox),
                Entry("init", FILE | 0o755, "\n".join(script).encode())]
    return archive([*entries, *(Entry(f"{FOLDER}/{item.name}", FILE | 0o755, executable(item, target))
                                for item in items)])


def debian(arch: str) -> tuple[Path, Path]:
    """Debian's kernel and its static busybox."""
    if arch == "i386":
        from guesthouse.images.packages import Packages

        packages = Packages()
        return (packages.file("linux-image-686-pae", "boot/vmlinuz-*", arch),
                packages.file("busybox-static", "bin/busybox", arch))
    from guesthouse.images.catalogue import Catalogue

    guest = Catalogue().get("debian", arch)
    return guest.kernel, guest.files["busybox"]


def on_this_host(target: Target) -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64" and target.name in ("amd64", "i386")


def natively(item: Item, target: Target, folder: Path, rounds: int = 0) -> Run:
    """The same program as a child of ours."""
    file = folder / item.name
    if not file.exists():
        file.write_bytes(executable(item, target))
        file.chmod(0o755)
    return told_by([str(file), str(rounds or item.rounds)], folder)


def told_by(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Run:
    """What a program of ours says when it is run here."""
    before = os.times()
    said = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, cwd=folder,
                          env=os.environ | (environment or {})).stderr
    after, ends = os.times(), sides.SAID.search(said.partition("\n")[2])
    if not ends:
        raise RuntimeError(f"{command} said {said!r} on the host")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(Moment(int(ends[3], 16) / 1e9, spent), int(ends[3], 16) / 1e9, ends[2])
