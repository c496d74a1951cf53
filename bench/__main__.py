"""The command line of the benchmarks: guesthouse beside QEMU's TCG, on the same files in the same run.

Sides take turns (ours, QEMU's, ours, ...), so that a host that gets slower does so for both. Seconds are medians. A
speed is QEMU's time over ours: above 1 we are faster. CPU time is that of all threads of a process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import boots, disks, readme, screens, sides, suite, work
from bench.guest.targets import TARGETS
from bench.rows import BOCHS, HOST, THEIRS, V86, Part, table
from bench.sides import QEMU
from bench.start import compiling, starting

WHAT = {"compute": "programs of the suite in the guest, natively too", "boot": "Debian to user space",
        "work": "Debian's own programs in the guest, natively too", "disks": "disks through IDE and virtio-blk",
        "screens": "guests that are watched by their screens",
        "start": "what it costs to start", "build": "compiling the engines from nothing",
        "table": "compute, work and boot, for README's table, which is written"}
ITEMS = {"compute": suite.NAMES, "work": tuple(work.JOBS),
         "disks": tuple(item.name for item in disks.ITEMS), "screens": tuple(screens.NAMES)}
WAYS = ("hot", "threaded", "plain")


def parser() -> argparse.ArgumentParser:
    told = "\n".join(f"{name:9} {what}" for name, what in WHAT.items())
    made = argparse.ArgumentParser("python -m bench", description=f"{__doc__}\nWhat is measured:\n{told}",
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("what", nargs="+", choices=tuple(WHAT), metavar="what", help=", ".join(WHAT))
    made.add_argument("-n", "--repeat", type=positive, default=3, help="how often each side runs (3)")
    made.add_argument("--arch", type=some_of(tuple(TARGETS)), default=("amd64",), metavar="ARCHS",
                      help=f"of compute and boot: some of {','.join(TARGETS)} (amd64)")
    made.add_argument("--way", choices=WAYS, default=WAYS[0], help="how ours runs instructions (hot)")
    every = tuple(name for names in ITEMS.values() for name in names)
    made.add_argument("--items", type=some_of(every), metavar="NAMES",
                      help="some of these, with commas between: " + ",".join(every))
    made.add_argument("--memory", type=positive, default=512, metavar="MIB", help="the guest's RAM (512)")
    made.add_argument("--alone", action="store_true", help="ours alone, without QEMU and the host")
    made.add_argument("--beside", type=some_of((BOCHS, V86)), default=(), metavar="SIDES",
                      help="of compute, work and boot: these besides, where they can be had: Bochs,v86")
    made.add_argument("--json", action="store_true", help="print one JSON object with every run")
    return made


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def some_of(names: tuple[str, ...]) -> Any:
    def chosen(text: str) -> tuple[str, ...]:
        if strange := [name for name in text.split(",") if name not in names]:
            raise argparse.ArgumentTypeError(f"{strange[0]!r} is none of {', '.join(names)}")
        return tuple(text.split(","))

    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if "table" in options.what:
        options.what += ["compute", "work", "boot"]
    others = [] if options.alone else [THEIRS, HOST]
    if not all(shutil.which(QEMU[arch][0]) for arch in options.arch):
        others = [side for side in others if side != THEIRS]
    for side, arch in ((side, arch) for side in options.beside for arch in options.arch):
        if why := sides.lacks(side, arch):
            print(f"{side} cannot be compared with on {arch}: {why}", file=sys.stderr)
            return 2
    others += options.beside
    tables = {arch: measured(options, arch, others) for arch in options.arch}
    costs = (starting(options.repeat) if "start" in options.what else {}) | (
        compiling() if "build" in options.what else {})
    if "table" in options.what:
        readme.write(tables, host(), options.way)
    if options.json:
        print(json.dumps({"host": host(), "costs": costs, "tables": {
            arch: [part.as_json() for part in parts] for arch, parts in tables.items()}}, indent=1))
    else:
        show(tables, costs, options.way)
    return 1 if any(row.complaints() for parts in tables.values() for part in parts for row in part.rows) else 0


def measured(options: argparse.Namespace, arch: str, others: list[str]) -> list[Part]:
    """All that is wanted of one architecture; disks and screens are a PC's, which is amd64's."""
    parts, repeat, memory = [], options.repeat, options.memory << 20
    if "boot" in options.what:
        parts += boots.booted(arch, options.way, repeat, memory, others)
    if "compute" in options.what and (groups := suite.chosen(options.items or suite.NAMES)):
        parts += suite.compared(groups, arch, options.way, repeat, memory, others)
    if "work" in options.what and arch in work.TRIPLES:
        parts.append(work.compared(picked(options, "work"), arch, options.way, repeat, memory, others))
    if "disks" in options.what and arch == "amd64":
        parts.append(disks.read(picked(options, "disks"), options.way, repeat, memory, others))
    if "screens" in options.what and arch == "amd64":
        parts.append(screens.compared(picked(options, "screens"), repeat, others))
    return parts


def picked(options: argparse.Namespace, what: str) -> list[str]:
    return [name for name in ITEMS[what] if name in (options.items or ITEMS[what])]


def show(tables: dict[str, list[Part]], costs: dict[str, list[float]], way: str) -> None:
    """The tables. Seconds are medians."""
    print(", ".join(f"{name} {value}" for name, value in host().items()))
    for arch, parts in tables.items():
        if parts:
            print(f"\n{arch}, {way}", *table(parts), sep="\n")
    for name, values in costs.items():
        print(f"{name:58}{median(values):10.3f}")


def host() -> dict[str, Any]:
    """The machine and the versions that the numbers belong to."""
    from importlib.metadata import version

    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("model name")]
    qemu = shutil.which(QEMU["amd64"][0])
    asked = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout if qemu else "none"
    return {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2), "kernel": ".".join(platform.release().split(".")[:2]),
            "python": platform.python_version(), "llvmlite": version("llvmlite"),
            "qemu": asked.partition("\n")[0]}


if __name__ == "__main__":
    sys.exit(main())
