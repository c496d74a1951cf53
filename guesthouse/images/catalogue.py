"""The guests that can be had by name, and the cache that holds those we have.

A cached guest is a folder with a record, `entry.json`, written last: what it does not name is not there,
and what it names is checked by size and SHA-256 each time. Once recorded, a guest needs no network.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guesthouse.errors import NoSuchThing, UserError
from guesthouse.images import debian, fetch, sources
from guesthouse.images.archive import KEYRING, Archive, Package, Release
from guesthouse.images.fetch import Expected, Progress

FORMAT = 1
NAMES = ("debian",)
ARCHITECTURES = tuple(debian.KERNELS)
RECORD = "entry.json"


@dataclass(frozen=True)
class Guest:
    """What a board needs to boot it. `form`: how the kernel is packed; `append`: for the userland alone."""

    name: str
    arch: str
    version: str
    kernel: Path
    initrd: Path
    append: str
    form: str
    suite: str
    signature: str
    pulled: str
    size: int
    sha256: dict[str, str]
    files: dict[str, Path] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same in JSON's types."""
        plain = asdict(self)
        return plain | {
            "kernel": str(self.kernel),
            "initrd": str(self.initrd),
            "files": {name: str(path) for name, path in self.files.items()},
        }


def cache_folder() -> Path:
    """GUESTHOUSE_CACHE, else the XDG base directory specification's cache, ours in it."""
    own, xdg = os.environ.get("GUESTHOUSE_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return Path(own).expanduser().absolute()
    return (Path(xdg) if xdg.startswith("/") else Path("~/.cache").expanduser()) / "guesthouse"


class Catalogue:
    """Guests by name and architecture, in one cache folder."""

    def __init__(
        self,
        cache_dir: Path | None = None,
        mirror: str | None = None,
        suite: str | None = None,
        progress: Progress = fetch.silent,
        warn: Callable[[str], None] = fetch.unheard,
    ) -> None:
        self.folder = (cache_dir or cache_folder()) / "images"
        self.mirror, self.suite, self.progress, self.warn = mirror, suite, progress, warn

    def list(self) -> list[Guest]:
        """What is in the cache, whole."""
        guests = (self._cached(path.parent) for path in sorted(self.folder.glob(f"*/*/{RECORD}")))
        return [guest for guest in guests if guest]

    def get(self, name: str, arch: str = "amd64") -> Guest:
        """The guest, from the cache if it is there."""
        folder = self._place(name, arch)
        return self._cached(folder) or self._pulled(folder, name, arch, again=False)

    def pull(self, name: str, arch: str = "amd64") -> Guest:
        """The newest that the mirror has; what the cache has of it is not fetched again."""
        return self._pulled(self._place(name, arch), name, arch, again=True)

    def delete(self, name: str, arch: str | None = None) -> tuple[str, ...]:
        """Takes it out of the cache and says what went: `debian/amd64`."""
        gone = [a for a in ([arch] if arch else ARCHITECTURES) if self._place(name, a).is_dir()]
        if not gone:
            raise NoSuchThing(
                f"The image {name}{f' for {arch}' if arch else ''} is not in the cache.",
                "`guesthouse image list` shows what is.",
            )
        for one in gone:
            folder = self._place(name, one)
            with self._alone(folder), fetch.host_trouble(folder):
                (folder / RECORD).unlink(missing_ok=True)
                shutil.rmtree(folder)
        return tuple(f"{name}/{one}" for one in gone)

    def _place(self, name: str, arch: str) -> Path:
        if name not in NAMES:
            raise NoSuchThing(f"There is no image called {name}.", f"There are: {', '.join(NAMES)}.")
        if arch not in ARCHITECTURES:
            raise UserError(
                f"There is no {name} for {arch}.", f"There is for: {', '.join(ARCHITECTURES)}.", exit_status=2
            )
        return self.folder / name / arch

    def _cached(self, folder: Path) -> Guest | None:
        """The guest that the record names, if all of it is there and unchanged."""
        try:
            entry = self._record(folder)
            files = {name: folder / name for name in entry["files"]}
            if all(Expected(**entry["files"][name]).holds_for(path) for name, path in files.items()):
                return self._guest(folder, entry, files)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # not a record of ours
        self.warn(f"What the cache holds in {folder} is damaged or from another version: it is not used.")
        return None

    def _guest(self, folder: Path, entry: dict[str, Any], files: dict[str, Path]) -> Guest:
        kernel = files[entry["kernel"]]
        initrd = folder / "initrd.cpio"
        built = debian.userland(folder, entry["version"], entry["modules"])
        sums = {name: what["sha256"] for name, what in entry["files"].items()}
        if not Expected(len(built), debian.sum_of(built)).holds_for(initrd):
            fetch.put(initrd, built)  # ours changed since, or it was tampered with: no network needed
        sizes = sum(what["size"] for what in entry["files"].values()) + len(built)
        return Guest(
            entry["name"],
            entry["arch"],
            entry["version"],
            kernel,
            initrd,
            "guesthouse.run=shell",
            debian.kernel_form(kernel),
            entry["suite"],
            entry["signature"],
            entry["pulled"],
            sizes,
            sums | {"initrd.cpio": debian.sum_of(built)},
            files | {"initrd.cpio": initrd},
        )

    def _pulled(self, folder: Path, name: str, arch: str, again: bool) -> Guest:
        with self._alone(folder):
            if not again and (guest := self._cached(folder)):
                return guest  # another process was faster
            archive = self._archive(arch)
            release, packages = debian.choose(archive, arch)
            names = [_named(package) for package in packages]
            have = self._cached(folder)
            if have is None or self._record(folder).get("packages") != names:
                self._build(folder, name, arch, archive, release, packages)
                have = self._cached(folder)
            if have is None:
                raise UserError(
                    f"The image {name} for {arch} was fetched, but cannot be read back from {folder}.",
                    "Check that disk, or set GUESTHOUSE_CACHE to a folder on another one.",
                )
            return have

    def _archive(self, arch: str) -> Archive:
        source, own = sources.mirror(self.mirror)
        suite = self.suite or os.environ.get(sources.SUITE) or (own if arch == "amd64" and own else "stable")
        return Archive(replace(source, suite=suite), os.environ.get(KEYRING), self.progress, self.warn)

    def _build(
        self,
        folder: Path,
        name: str,
        arch: str,
        archive: Archive,
        release: Release,
        packages: Sequence[Package],
    ) -> None:
        downloads = folder / "downloads"
        paths = [debian.fetch_package(archive, package, downloads) for package in packages]
        parts = debian.unpack(paths[0], paths[1], self.progress)
        for file, data in parts.files.items():
            fetch.put(folder / file, data)
        sums = {
            file: {"size": len(data), "sha256": debian.sum_of(data)} for file, data in parts.files.items()
        }
        entry = {
            "format": FORMAT,
            "name": name,
            "arch": arch,
            "version": parts.version,
            "kernel": parts.kernel,
            "suite": archive.source.suite,
            "codename": release.fields.get("codename", ""),
            "mirror": archive.source.uri,
            "signature": release.signature,
            "pulled": datetime.now(UTC).isoformat(timespec="seconds"),
            "modules": list(parts.modules),
            "packages": [_named(package) for package in packages],
            "files": sums,
        }
        fetch.put(folder / RECORD, json.dumps(entry, indent=1).encode())
        self._sweep(folder, {*sums, RECORD, "initrd.cpio"})

    def _sweep(self, folder: Path, kept: set[str]) -> None:
        """Takes away what the record does not name: packages, older kernels, what a killed process left."""
        shutil.rmtree(folder / "downloads", ignore_errors=True)
        for path in folder.iterdir():
            if path.name not in kept and path.is_file():
                path.unlink(missing_ok=True)

    def _record(self, folder: Path) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        if record["format"] != FORMAT:
            raise ValueError("a record of another version")
        return record

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """One process at a time fetches a guest; the others wait, then find it there."""
        lock = folder.parent / f".{folder.name}.lock"
        with fetch.host_trouble(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            stream = lock.open("w")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _named(package: Package) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "filename": package.filename,
        "size": package.expected.size,
        "sha256": package.expected.sha256,
    }
