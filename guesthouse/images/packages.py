"""Single files out of Debian's packages, of any architecture that the mirror has: kernels, boot loaders, firmware.

What was unpacked once stays in the cache with a record of its sum, and is then had without a network. A cached file
is not looked up again: who wants a newer one deletes the folder.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from guesthouse.errors import NoSuchThing
from guesthouse.images import deb, sources
from guesthouse.images.archive import KEYRING, Archive, Package, Release
from guesthouse.images.catalogue import cache_folder
from guesthouse.images.debian import fetch_package
from guesthouse.images.files import Expected, Progress, put, silent, sum_of, unheard

RECORD = "files.json"
KERNEL = re.compile(r"(linux-image-[0-9]+\.[a-z0-9.+-]+)")


class Packages:
    """One suite's packages: the host's own, if it is a Debian, else stable."""

    def __init__(self, cache_dir: Path | None = None, mirror: str | None = None, suite: str | None = None,
                 progress: Progress = silent, warn: Callable[[str], None] = unheard) -> None:
        self.folder = (cache_dir or cache_folder()) / "packages"
        self.mirror, self.progress, self.warn = mirror, progress, warn
        self.suite = suite or os.environ.get(sources.SUITE) or None
        self._opened: tuple[Archive, Release] | None = None

    def file(self, package: str, path: str, arch: str = "amd64") -> Path:
        """The one file whose path in the package fits the pattern `path` (as `usr/lib/grub/*/boot.img`)."""
        return self.files(package, {path: path}, arch)[path]

    def files(self, package: str, patterns: Mapping[str, str], arch: str = "amd64") -> dict[str, Path]:
        """Several at once, by names of the caller's. A name like `linux-image-686` stands for the kernel's package that
        it depends on."""
        folder = self.folder / (self.suite or "host") / arch / package
        record = _record(folder)
        lacking = [pattern for pattern in patterns.values() if pattern not in record]
        if lacking:
            record |= self._unpack(package, arch, folder, lacking)
            put(folder / RECORD, json.dumps(record, indent=1).encode())
        return {name: folder / str(record[pattern]["name"]) for name, pattern in patterns.items()}

    def tree(self, package: str, pattern: str, arch: str = "amd64") -> dict[str, bytes]:
        """All files whose paths fit, by their paths. The mirror's index is asked each time; the package stays in the
        cache."""
        archive, found = self._find(package, arch)
        path = fetch_package(archive, found, self.folder / "whole")
        return deb.extract(path, lambda name: fnmatch.fnmatch(name, pattern),
                           lambda done, total: self.progress(f"unpacking {found.name}", done, total))

    def _unpack(self, name: str, arch: str, folder: Path, patterns: list[str]) -> dict[str, dict[str, object]]:
        archive, package = self._find(name, arch)
        path = fetch_package(archive, package, folder)
        fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
        found = deb.extract(path, lambda name: fits.match(name) is not None,
                            lambda done, total: self.progress(f"unpacking {package.name}", done, total))
        path.unlink()
        record: dict[str, dict[str, object]] = {}
        for pattern in patterns:
            names = fnmatch.filter(found, pattern)
            if len(names) != 1:
                raise NoSuchThing(
                    f"{package.name} {package.version} ({arch}) has {len(names)} files {pattern}, not one.",
                    "Name one of them more exactly." if names else "")
            data = found[names[0]]
            kept = f"{sum_of(names[0].encode())[:8]}-{names[0].rsplit('/', 1)[-1]}"
            put(folder / kept, data)
            record[pattern] = {"name": kept} | asdict(Expected(len(data), sum_of(data)))
        return record

    def _find(self, name: str, arch: str) -> tuple[Archive, Package]:
        archive, release = self._archive()
        for package in archive.packages(release, arch, [name]):
            pointed = KERNEL.match(package.depends)
            return archive, archive.packages(release, arch, [pointed[1]])[0] if pointed else package
        raise NoSuchThing(f"The suite {archive.source.suite} has no {name} for {arch}.")

    def _archive(self) -> tuple[Archive, Release]:
        if self._opened is None:
            source, own = sources.mirror(self.mirror)
            source = replace(source, suite=self.suite or own or "stable")
            archive = Archive(source, os.environ.get(KEYRING), self.progress, self.warn)
            self._opened = archive, archive.release()
        return self._opened


def _record(folder: Path) -> dict[str, dict[str, object]]:
    """What the folder has, whole and unchanged, by pattern."""
    try:
        known = json.loads((folder / RECORD).read_text())
        return {pattern: entry for pattern, entry in known.items()
                if Expected(entry["size"], entry["sha256"]).holds_for(folder / entry["name"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # nothing, or not a record of ours: it is made again
