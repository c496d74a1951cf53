"""The guests that can be had by name, and the cache that holds those we have.

A cached guest is a folder with a record, `entry.json`, written last: what it does not name is not there,
and what it names is checked by size and SHA-256 each time. Once recorded, a guest needs no network.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from guesthouse.errors import NoSuchThing, UserError
from guesthouse.images import initramfs
from guesthouse.images.files import Expected, Progress, host_trouble, put, silent, sum_of, unheard

FORMAT = 3
NAMES = ("debian",)
ARCHITECTURES = ("amd64", "riscv64")
RECORD = "entry.json"
# A kernel that lies at the same addresses in each boot finds the code again that was compiled for it before.
APPEND = {"amd64": "nokaslr guesthouse.run=shell", "riscv64": "guesthouse.run=shell"}


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
        progress: Progress = silent,
        warn: Callable[[str], None] = unheard,
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
        return self._cached(folder) or self._pulled(folder, arch, again=False)

    def pull(self, name: str, arch: str = "amd64") -> Guest:
        """The newest that the mirror has; what the cache has of it is not fetched again."""
        return self._pulled(self._place(name, arch), arch, again=True)

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
            with self._alone(folder), host_trouble(folder):
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
            files = {name: folder / entry["at"] / name for name in entry["files"]}
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
        initrd = kernel.parent / "initrd.cpio"
        built = userland(kernel.parent, entry["version"], entry["modules"])
        sums = {name: what["sha256"] for name, what in entry["files"].items()}
        if not Expected(len(built), sum_of(built)).holds_for(initrd):
            put(initrd, built)  # ours changed since, or it was tampered with: no network needed
        sizes = sum(what["size"] for what in entry["files"].values()) + len(built)
        return Guest(
            entry["name"],
            entry["arch"],
            entry["version"],
            kernel,
            initrd,
            APPEND[entry["arch"]],
            kernel_form(kernel),
            entry["suite"],
            entry["signature"],
            entry["pulled"],
            sizes,
            sums | {"initrd.cpio": sum_of(built)},
            files | {"initrd.cpio": initrd},
        )

    def _pulled(self, folder: Path, arch: str, again: bool) -> Guest:
        from guesthouse.images import debian  # late: who has the guest already needs no HTTP and no archives

        with self._alone(folder):
            if not again and (guest := self._cached(folder)):
                return guest  # another process was faster
            offer = debian.newest(arch, self.mirror, self.suite, self.progress, self.warn)
            have = self._cached(folder)
            if have is None or self._record(folder).get("packages") != offer.packages_as_json():
                record = debian.build(offer, folder, self.progress) | {"format": FORMAT}
                put(folder / RECORD, json.dumps(record, indent=1).encode())
                _sweep(folder, {RECORD, record["at"]})
                have = self._cached(folder)
            if have is None:
                raise UserError(
                    f"The image was fetched, but cannot be read back from {folder}.",
                    "Check that disk, or set GUESTHOUSE_CACHE to a folder on another one.",
                )
            return have

    def _record(self, folder: Path) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        if record["format"] != FORMAT:
            raise ValueError("a record of another version")
        return record

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[None]:
        """One process at a time fetches a guest; the others wait, then find it there."""
        lock = folder.parent / f".{folder.name}.lock"
        with host_trouble(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            stream = lock.open("w")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _sweep(folder: Path, kept: set[str]) -> None:
    """Takes away what the record does not name: packages, older kernels, what a killed process left."""
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def userland(folder: Path, version: str, modules: Iterable[str]) -> bytes:
    """The initramfs, built from the kept files: cheap enough to be done each time, so never out of date."""
    return initramfs.build(
        (folder / "busybox").read_bytes(),
        version,
        {name: (folder / f"{name}.ko").read_bytes() for name in modules},
    )


def kernel_form(kernel: Path) -> str:
    """How the kernel is packed, by its first bytes: what a loader must be able to take."""
    with kernel.open("rb") as stream:
        head = stream.read(0x240)
    if head[0x202:0x206] == b"HdrS":
        return "bzImage"
    if head[0x30:0x38] == b"RISCV\0\0\0" and head[0x38:0x3C] == b"RSC\x05":
        return "Image"
    if head[4:8] == b"zimg":
        return "EFI zboot"
    return "gzip" if head[:2] == b"\x1f\x8b" else "ELF" if head[:4] == b"\x7fELF" else "unknown"
