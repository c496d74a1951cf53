"""Real work: programs of Debian's, packing, interpreting, compiling, in the guest, in QEMU's and on the host.

Each is run by a program of ours, which times it and tells the CRC-32 of what it wrote (guest/timed.py), in a root
folder with the libraries it asks for, all out of Debian 12's packages. What was fetched is kept in the cache.
"""

from __future__ import annotations

import fnmatch
import io
import shlex
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bench import sides
from bench.guest import timed
from bench.guest.build import compiled
from bench.guest.linux import MARK
from bench.guest.targets import TARGETS, Target
from bench.rows import HOST, Part, Row
from bench.sides import Setup
from bench.suite import QUIET, debian, on_this_host, told_by

SUITE = "bookworm"  # whose names and versions these are
TRIPLES = {"amd64": ("x86_64-linux-gnu", "x86_64-linux-gnu"), "i386": ("i386-linux-gnu", "i686-linux-gnu")}
LIBRARIES = {
    "libc6": ("libc.so.6", "libm.so.6", "ld-linux*.so.2"), "liblzma5": ("liblzma.so.5*",), "zlib1g": ("libz.so.1*",),
    "libexpat1": ("libexpat.so.1*",), "libgmp10": ("libgmp.so.10*",), "libisl23": ("libisl.so.23*",),
    "libmpc3": ("libmpc.so.3*",), "libmpfr6": ("libmpfr.so.6*",), "libzstd1": ("libzstd.so.1*",)}
FILES = {  # what else is taken, to the places it has in its package
    "gzip": "bin/gzip", "xz-utils": "usr/bin/xz", "python3.11-minimal": "usr/bin/python3.11",
    "libpython3.11-minimal": "usr/lib/python3.11/*.py", "cpp-12": "usr/lib/gcc/*/12/cc1",
    "libgcc-12-dev": "usr/lib/gcc/*/12/include/*.h", "libc6-dev": "usr/include/*", "linux-libc-dev": "usr/include/*",
    "libstb-dev": "usr/include/stb/stb_image_write.h"}
JOBS = {
    "gzip": "bin/gzip -9 -n -c data", "xz": "usr/bin/xz -3 -T1 -c data",
    "python": "usr/bin/python3.11 -S -B -c print('up')",
    "cc": "usr/lib/gcc/{gcc}/12/cc1 -quiet -nostdinc -imultiarch {libc} -isystem usr/lib/gcc/{gcc}/12/include"
          " -isystem usr/include/{libc} -isystem usr/include -DSTB_IMAGE_WRITE_IMPLEMENTATION -O1"
          " usr/include/stb/stb_image_write.h -o -"}
ENVIRONMENT = {"PYTHONHASHSEED": "0"}  # Linux may have no random numbers yet
KINDS = {"gzip": "1 MiB, level 9", "xz": "1 MiB, level 3", "python": "CPython, a start", "cc": "GCC 12, 1,700 lines"}
DATA = 1 << 20  # bytes of the largest program, to be packed
LOADER = ("lib/ld.so", "--library-path", "lib")


def compared(names: Sequence[str], arch: str, way: str, rounds: int, memory: int, others: Sequence[str]) -> Part:
    """By turns, as the suite."""
    target, rows = TARGETS[arch], {name: Row(name, KINDS[name]) for name in names}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        files = root(arch)
        made = setup(names, files, target, folder, memory, way)
        if HOST in others and on_this_host(target):
            spread(files, target, folder / "root")
        for number in range(rounds):
            for side, command in sides.commands(made, others).items():
                print(f"work on {arch}, round {number + 1} of {rounds}: {side}", file=sys.stderr)
                for job, run in sides.programs(command).items():
                    rows[job].add(side, run)
            for job in names if (folder / "root").exists() else ():
                rows[job].add(HOST, told_by(command_of(job, arch), folder / "root", ENVIRONMENT))
    return Part("work", list(rows.values()), 1.5)


def command_of(job: str, arch: str) -> list[str]:
    libc, gcc = TRIPLES[arch]
    return ["./timed", job, "output", *LOADER, *JOBS[job].format(libc=libc, gcc=gcc).split()]


def setup(names: Sequence[str], files: dict[str, bytes], target: Target, folder: Path, memory: int,
          way: str) -> Setup:
    from guesthouse.images.initramfs import CHARACTER, DIRECTORY, FILE, Entry, archive

    kernel, busybox = debian(target.name)
    lines = ["#!/bin/busybox sh"]
    lines += [f"export {name}={value}" for name, value in ENVIRONMENT.items()]
    lines += [shlex.join(command_of(job, target.name)) for job in names]
    lines += [f"echo {MARK} all ends 0 0", "/bin/busybox sleep 1", "/bin/busybox poweroff -f", ""]  # UARTs may be slow
    files = files | {"bin/busybox": busybox.read_bytes(), "init": "\n".join(lines).encode(),
                     "timed": compiled(timed.program, target)}
    folders = {str(parent) for path in files for parent in Path(path).parents if str(parent) != "."} | {"dev"}
    entries = [Entry(path, DIRECTORY | 0o755) for path in sorted(folders)]
    entries += [Entry("dev/console", CHARACTER | 0o600, device=(5, 1)),
                Entry("dev/null", CHARACTER | 0o666, device=(1, 3))]
    entries += [Entry(path, FILE | 0o755, data) for path, data in files.items()]
    (folder / "kernel").write_bytes(kernel.read_bytes())
    (folder / "initrd").write_bytes(archive(entries))
    return Setup(folder / "kernel", folder / "initrd", QUIET, memory, target.name, way)


def spread(files: dict[str, bytes], target: Target, folder: Path) -> None:
    """The same files in a folder of the host's."""
    for path, data in (files | {"timed": compiled(timed.program, target)}).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(0o755)


def root(arch: str) -> dict[str, bytes]:
    """All files by their paths; from the cache, if they are there."""
    from guesthouse.images.catalogue import cache_folder
    from guesthouse.images.files import put

    kept = cache_folder() / "bench" / f"work-{arch}.zip"
    if not kept.exists():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
            for path, data in sorted(fetched(arch).items()):
                made.writestr(path, data)
        put(kept, buffer.getvalue())
    with zipfile.ZipFile(kept) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def fetched(arch: str) -> dict[str, bytes]:
    from guesthouse.images.packages import Packages

    packages, files = Packages(suite=SUITE), {}
    for package, patterns in LIBRARIES.items():
        found = packages.tree(package, "*.so*", arch)
        for pattern in patterns:
            path = next(path for path in found if fnmatch.fnmatch(path, f"*/{pattern}") and "/gconv/" not in path)
            files[f"lib/{soname(pattern)}"] = found[path]
    for package, pattern in FILES.items():
        files |= packages.tree(package, pattern, arch)
    return files | {"data": max(files.values(), key=len)[:DATA]}


def soname(pattern: str) -> str:
    return "ld.so" if pattern.startswith("ld-linux") else pattern.rstrip("*")
