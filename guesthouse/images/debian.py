"""The guest `debian`: Debian's own kernel for virtual machines, busybox-static, and the modules that reach
virtio.

The kernel is handed over as its package has it. Its modules, of which few are wanted, come out of the same
package.
"""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guesthouse.errors import ImageError, NoSuchThing, NotSupportedHere
from guesthouse.images import deb, fetch, initramfs, sources
from guesthouse.images.archive import KEYRING, Archive, Package, Release
from guesthouse.images.files import Progress, put, silent, sum_of, unheard

KERNELS = {"amd64": "linux-image-cloud-amd64", "riscv64": "linux-image-riscv64"}
BUSYBOX = "busybox-static"
OLDEST_BUSYBOX = 1, 34  # the first whose shell has <( )
MODULES = (
    "virtio_mmio",
    "virtio_pci",
    "virtio_rng",
    "virtio_console",
    "virtio_blk",
)  # those that are built in are not found
MODULE = re.compile(r"(?:usr/)?lib/modules/[^/]+/kernel/(?:.*/)?([^/]+)\.ko(\.xz|\.gz)?")
KERNEL = re.compile(r"boot/(vmlinu[xz]-[A-Za-z0-9.+~_-]+)")


@dataclass(frozen=True)
class Offer:
    """What a mirror has: the kernel's package and busybox's, and the Release that vouches for them."""

    arch: str
    archive: Archive
    release: Release
    packages: tuple[Package, Package]

    def packages_as_json(self) -> list[dict[str, Any]]:
        """The packages as the record names them."""
        return [
            {"name": p.name, "version": p.version, "filename": p.filename, **asdict(p.expected)} for p in self.packages
        ]


@dataclass(frozen=True)
class Parts:
    """What the packages gave: the files to keep, the names of the modules, the kernel's version."""

    version: str
    kernel: str
    files: dict[str, bytes]
    modules: tuple[str, ...]


def newest(
    arch: str,
    mirror: str | None = None,
    suite: str | None = None,
    progress: Progress = silent,
    warn: Callable[[str], None] = unheard,
) -> Offer:
    """Asks the mirror: the user's suite, else the host's own for amd64, else stable."""
    source, own = sources.mirror(mirror)
    suite = suite or os.environ.get(sources.SUITE) or (own if arch == "amd64" else None) or "stable"
    archive = Archive(replace(source, suite=suite), os.environ.get(KEYRING), progress, warn)
    release = archive.release()
    return Offer(arch, archive, release, choose(archive, release, arch))


def build(offer: Offer, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Fetches and unpacks into a folder of its own in `folder`, and returns the record of it."""
    paths = [fetch_package(offer.archive, package, folder / "downloads") for package in offer.packages]
    parts = unpack(paths[0], paths[1], progress)
    packages = offer.packages_as_json()
    at = sum_of(json.dumps(packages).encode())[:12]
    for file, data in parts.files.items():
        put(folder / at / file, data)
    return {
        "name": "debian",
        "arch": offer.arch,
        "version": parts.version,
        "kernel": parts.kernel,
        "at": at,
        "suite": offer.archive.source.suite,
        "codename": offer.release.fields.get("codename", ""),
        "mirror": offer.archive.source.uri,
        "signature": offer.release.signature,
        "pulled": datetime.now(UTC).isoformat(timespec="seconds"),
        "modules": list(parts.modules),
        "packages": packages,
        "files": {f: {"size": len(data), "sha256": sum_of(data)} for f, data in parts.files.items()},
    }


def choose(archive: Archive, release: Release, arch: str) -> tuple[Package, Package]:
    """The packages to have: the kernel that the meta package points to, and busybox."""
    names = [KERNELS[arch], BUSYBOX]
    found = {p.name: p for p in archive.packages(release, arch, names, r"linux-image-[0-9][a-z0-9.+~-]*")}
    if missing := [name for name in names if name not in found]:
        raise NoSuchThing(
            f"The suite {archive.source.suite} has no {' and no '.join(missing)} for {arch}.",
            "Use a suite that has (for riscv64: trixie or later), with GUESTHOUSE_DEBIAN_SUITE.",
        )
    version = re.match(r"(?:\d+:)?(\d+)\.(\d+)", found[BUSYBOX].version)
    if version and (int(version[1]), int(version[2])) < OLDEST_BUSYBOX:
        raise NotSupportedHere(
            f"The suite {archive.source.suite} has busybox {found[BUSYBOX].version}, which is too old"
            " for the guest's scripts.",
            "Set GUESTHOUSE_DEBIAN_SUITE=stable.",
        )
    pointed = re.match(r"(linux-image-[^\s(,|]+)", found[KERNELS[arch]].depends)
    if not pointed or pointed[1] not in found:
        raise NoSuchThing(
            f"The suite {archive.source.suite} lacks the package that {KERNELS[arch]} asks for.",
            "The mirror is being updated or is broken: try again, or use another one.",
        )
    return found[pointed[1]], found[BUSYBOX]


def unpack(kernel_package: Path, busybox_package: Path, progress: Progress = silent) -> Parts:
    """Takes from the two packages what is kept of them."""
    found = deb.extract(
        kernel_package,
        lambda name: bool(KERNEL.fullmatch(name) or _module(name)),
        lambda done, total: progress("unpacking the kernel", done, total),
    )
    kernels = [name for name in found if KERNEL.fullmatch(name)]
    if len(kernels) != 1:
        raise ImageError(kernel_package.name, "kernel package", 0, "one file boot/vmlinuz-* or boot/vmlinux-*")
    kernel = kernels[0].removeprefix("boot/")
    available = {_module(name): (name, data) for name, data in found.items() if _module(name)}
    modules = _in_order({name: _plain(*at) for name, at in available.items()})
    programs = deb.extract(busybox_package, lambda name: name in ("bin/busybox", "usr/bin/busybox"))
    if len(programs) != 1:
        raise ImageError(busybox_package.name, "busybox package", 0, "one file bin/busybox")
    files = {kernel: found[kernels[0]], "busybox": next(iter(programs.values()))}
    files |= {f"{name}.ko": data for name, data in modules.items()}
    return Parts(kernel.partition("-")[2], kernel, files, tuple(modules))


def _module(name: str) -> str:
    """The module's name if this path is one of those that MODULES may need: all of virtio's."""
    found = MODULE.fullmatch(name)
    module = found[1].replace("-", "_") if found else ""
    return module if module in MODULES or "/drivers/virtio/" in name else ""


def _plain(name: str, data: bytes) -> bytes:
    try:
        return lzma.decompress(data) if name.endswith(".xz") else data
    except lzma.LZMAError as trouble:
        raise ImageError(name, "kernel module", 0, f"sound xz data ({trouble})") from trouble


def _in_order(available: dict[str, bytes]) -> dict[str, bytes]:
    """MODULES and what they need, the needed first; what is not there is built into the kernel."""
    chosen: dict[str, bytes] = {}
    seen: set[str] = set()

    def choose_one(name: str) -> None:
        if name in available and name not in seen:
            seen.add(name)
            for other in initramfs.depends(available[name]):
                choose_one(other)
            chosen[name] = available[name]

    for name in MODULES:
        choose_one(name)
    return chosen


def fetch_package(archive: Archive, package: Package, folder: Path) -> Path:
    """The package's file in the folder, fetched unless it is there and whole."""
    target = folder / package.filename.rsplit("/", 1)[-1]
    if not package.expected.holds_for(target):
        fetch.to_file(archive.url(package.filename), target, package.expected, archive.progress)
    return target
