"""Builds the guest's first file system: busybox, its applets' names, our scripts and a few kernel modules.

The format is "newc" of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst,
uncompressed, for inflating costs more than reading. The same input gives the same bytes: sorted, all times
0, inodes counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from guesthouse.errors import ImageError
from guesthouse.images.userland import FILES, INIT

DIRECTORY, FILE, LINK, CHARACTER = 0o040000, 0o100000, 0o120000, 0o020000
ROOMS = (
    "bin",
    "dev",
    "etc",
    "lib",
    "lib/guesthouse",
    "lib/modules",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "var",
)
ALIASES = {
    "sbin": "bin",
    "usr/bin": "../bin",
    "usr/sbin": "../bin",
    "var/run": "../run",
    "etc/mtab": "/proc/mounts",
}


@dataclass(frozen=True)
class Entry:
    """One name in the archive; `device` is (major, minor) of a node."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def build(busybox: bytes, version: str = "", modules: Mapping[str, bytes] | None = None) -> bytes:
    """The archive: the same input gives the same bytes. `version` is that of the modules' kernel."""
    entries = {path: Entry(path, DIRECTORY | 0o755) for path in ROOMS}
    entries["tmp"] = Entry("tmp", DIRECTORY | 0o1777)
    entries["dev/console"] = Entry("dev/console", CHARACTER | 0o600, device=(5, 1))
    entries["dev/null"] = Entry("dev/null", CHARACTER | 0o666, device=(1, 3))
    entries |= {path: Entry(path, LINK | 0o777, to.encode()) for path, to in ALIASES.items()}
    for name in applets(busybox):
        entries[f"bin/{name}"] = Entry(f"bin/{name}", LINK | 0o777, b"busybox")
    entries["bin/busybox"] = Entry("bin/busybox", FILE | 0o755, busybox)
    entries["init"] = Entry("init", FILE | 0o755, INIT.encode())
    entries |= {path: Entry(path, FILE | 0o644, text.encode()) for path, text in FILES.items()}
    if modules:
        entries |= {entry.path: entry for entry in _modules(f"lib/modules/{version}", modules)}
    return archive(entries.values())


def _modules(folder: str, modules: Mapping[str, bytes]) -> Iterator[Entry]:
    """The modules and what depmod would have written for modprobe, modules.dep(5)."""
    modules = dict(sorted(modules.items()))
    yield Entry(folder, DIRECTORY | 0o755)
    needs = {name: _all_needed(name, modules) for name in modules}
    lines = (f"{name}.ko:{''.join(f' {other}.ko' for other in others)}\n" for name, others in needs.items())
    yield Entry(f"{folder}/modules.dep", FILE | 0o644, "".join(lines).encode())
    named = (f"alias {alias} {name}\n" for name, data in modules.items() for alias in information(data, "alias"))
    yield Entry(f"{folder}/modules.alias", FILE | 0o644, "".join(named).encode())
    for name, data in modules.items():
        yield Entry(f"{folder}/{name}.ko", FILE | 0o644, data)


def _all_needed(name: str, modules: Mapping[str, bytes]) -> list[str]:
    """Those that must be loaded before this one, the last to load first, as modules.dep has them."""
    found: list[str] = []
    for other in depends(modules[name]):
        for one in (other, *_all_needed(other, modules)) if other in modules else ():
            if one in found:
                found.remove(one)
            found.append(one)
    return found


def archive(entries: Iterable[Entry]) -> bytes:
    """A cpio archive of the entries, parents before children, as the kernel needs them."""
    parts = [_record(inode, entry) for inode, entry in enumerate(sorted(entries, key=lambda e: e.path), 1)]
    return b"".join([*parts, _record(0, Entry("TRAILER!!!", 0))])


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if entry.mode & 0o170000 == DIRECTORY else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    return _padded(b"070701" + b"".join(b"%08X" % f for f in fields) + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def applets(busybox: bytes) -> list[str]:
    """The names that this busybox answers to, read from its sorted table of strings, without running it."""
    start = busybox.find(b"[\0[[\0")
    names: list[str] = []
    for raw in busybox[start : start + 0x4000].split(b"\0") if start >= 0 else ():
        if not re.fullmatch(rb"\[\[?|[a-z][a-z0-9_.+-]*", raw) or (names and raw.decode() <= names[-1]):
            break
        names.append(raw.decode())
    if len(names) < 50 or "sh" not in names:
        raise ImageError("busybox", "busybox program", max(start, 0), "its table of applets, from `[` on")
    return [name for name in names if name != "busybox"]


def information(module: bytes, key: str) -> list[str]:
    """What the module says of itself under this key in its section .modinfo, a row of strings `key=value`."""
    found = re.findall(rb"\0%s=([\x21-\x7e]*)(?=\0)" % key.encode(), module)
    return [value.decode() for value in found]


def depends(module: bytes) -> list[str]:
    """The modules that this one needs."""
    names = ",".join(information(module, "depends")).split(",")
    return [name.replace("-", "_") for name in names if name]
