"""The command line of the benchmarks: what is measured, in which order, and the table.

Rounds are interleaved (ours, QEMU's, ours, ...), so that a host that gets slower does so for both. A ratio is
our median over QEMU's: below 1 we are faster. CPU time is that of all threads of a process, user and system.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench import disks, screens, sides
from bench.loops import DISKS, LOOPS, archive
from bench.sides import Measured, Moment, Setup

SCREENS = {"freedos": "floppy to the DOS prompt", "memtest": "memtest86+, one pass"}
NAMES = ("boot", *(loop.name for loop in (*LOOPS, *DISKS)), *SCREENS, "start")
ELSEWHERE = {"start", *SCREENS, *(loop.name for loop in DISKS)}  # not in the boot of the loops
KINDS = {"boot": "first line of user space"} | {loop.name: loop.kind for loop in (*LOOPS, *DISKS)} | SCREENS
RESIDENT = "resident beyond the guest's RAM, MB"
QUIET = "quiet loglevel=0 rdinit=/bench/init"
LOAD = """import sys, time
a = time.perf_counter()
from guesthouse.engine.build import engine
from guesthouse.manager.building import code_folder, instruction_set
kind = instruction_set(sys.argv[1])
b = time.perf_counter()
engine(kind, code_folder())
print(b - a, time.perf_counter() - b)"""


@dataclass
class Row:
    """One measurement, all rounds of it, on both sides."""

    name: str
    ours: list[Moment] = field(default_factory=list)
    theirs: list[Moment] = field(default_factory=list)
    results: set[str] = field(default_factory=set)

    def ratio(self, clock: str) -> float | None:
        """Of the medians, by the clock `wall` or `cpu`."""
        if not self.ours or not self.theirs:
            return None
        ours = median(getattr(moment, clock) for moment in self.ours)
        return float(ours / median(getattr(moment, clock) for moment in self.theirs))

    def rate(self) -> float | None:
        """Guest instructions for each second of CPU time."""
        counted = [moment.count / moment.cpu for moment in self.ours if moment.count and moment.cpu]
        return median(counted) if counted else None


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser("python -m bench", description=(__doc__ or "").partition("\n\n")[2])
    made.add_argument("-n", "--rounds", type=positive, default=3, help="how often each side runs (3)")
    made.add_argument("--only", type=chosen, default=NAMES, metavar="NAMES",
                      help=f"some of these, with commas between: {','.join(NAMES)}")
    made.add_argument("--memory", type=positive, default=512, metavar="MIB", help="the guest's RAM (512)")
    made.add_argument("--kernel", type=Path, help="a bzImage, instead of Debian's from the cache")
    made.add_argument("--initrd", type=Path, help="its initramfs, not compressed, with busybox in /bin")
    made.add_argument("--append", default="guesthouse.run=shell", help="for the guest's command line")
    made.add_argument("--qemu", default="qemu-system-x86_64", metavar="PROGRAM", help="'' for ours alone")
    made.add_argument("--build", action="store_true", help="also compile all engines from nothing")
    made.add_argument("--json", action="store_true", help="print one JSON object with every round")
    return made


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def chosen(text: str) -> tuple[str, ...]:
    if strange := [name for name in text.split(",") if name not in NAMES]:
        raise argparse.ArgumentTypeError(f"{strange[0]!r} is none of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in text.split(","))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.qemu = shutil.which(options.qemu)
    costs: dict[str, list[float]] = {}
    rows: list[Row] = []
    if "start" in options.only or options.build:
        costs = starting(options.rounds, "start" in options.only, options.build)
    if set(options.only) - ELSEWHERE:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            rows, resident = compare(options, Path(folder))
        costs |= resident
    rows += read_disks(options)
    rows += [watched(options, watch) for watch in watches(options.only)]
    if options.json:
        shown = {"host": host(options.qemu), "rows": [as_json(row) for row in rows], "costs": costs}
        print(json.dumps(shown, indent=1))
    else:
        show(host(options.qemu), rows, costs)
    return 1 if any(len(row.results) > 1 for row in rows) else 0


def compare(options: argparse.Namespace, folder: Path) -> tuple[list[Row], dict[str, list[float]]]:
    """Boots and loops, side by side; and the resident memory beyond the guest's when the loops are done."""
    normal, busy = setups(options, folder)
    rows = {name: Row(name) for name in options.only if name not in ELSEWHERE}
    resident: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for side in ("guesthouse", "QEMU") if options.qemu else ("guesthouse",):
            tell(f"round {number + 1} of {options.rounds}: {side}")
            made = sides.guesthouse if side == "guesthouse" else lambda setup: sides.qemu(options.qemu, setup)
            found: list[Measured] = [sides.boot(made(normal))] if "boot" in rows else []
            if set(rows) - {"boot"}:
                sizes: list[int] = []
                found += sides.loops(made(busy), sizes)
                resident.setdefault(f"{side}: {RESIDENT}", []).append(sizes[-1] / 1e6)
            for one in found:
                row = rows[one.name]
                (row.ours if side == "guesthouse" else row.theirs).append(one.took)
                row.results.add(one.result)
    return list(rows.values()), resident


def read_disks(options: argparse.Namespace) -> list[Row]:
    """Disks through IDE and virtio-blk, all in one boot of each side and round."""
    rows = {loop.name: Row(loop.name) for loop in DISKS if loop.name in options.only}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for number in range(options.rounds if rows else 0):
            setup = disks.setup(list(rows), Path(folder), options.memory << 20)
            for side in ("guesthouse", "QEMU") if options.qemu else ("guesthouse",):
                tell(f"disks, round {number + 1} of {options.rounds}: {side}")
                ours = side == "guesthouse"
                command = disks.guesthouse(setup) if ours else disks.qemu(options.qemu, setup)
                for one in sides.loops(command):
                    (rows[one.name].ours if ours else rows[one.name].theirs).append(one.took)
                    rows[one.name].results.add(one.result)
    return list(rows.values())


def watches(names: Sequence[str]) -> list[screens.Watch]:
    """The guests that are watched by their screens, as far as their images are to be had."""
    found = []
    if "freedos" in names:
        guests = Path(os.environ.get("GUESTHOUSE_GUESTS") or sides.ROOT.parent / "shared" / "guests")
        image = guests / "freedos722.img"
        if image.exists():
            found.append(screens.Watch("freedos", "floppy", image, r"A:\\>\s*$", 16 << 20))
        else:
            tell("freedos is left out: freedos722.img is not in the folder that GUESTHOUSE_GUESTS names")
    if "memtest" in names:
        from guesthouse.images.packages import Packages

        image = Packages().file("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso")
        found.append(screens.Watch("memtest", "cdrom", image, r"Pass: +1", 16 << 20))
    return found


def watched(options: argparse.Namespace, watch: screens.Watch) -> Row:
    """All rounds of one of them, by turns."""
    row = Row(watch.name)
    for number in range(options.rounds):
        tell(f"{watch.name}, round {number + 1} of {options.rounds}")
        row.ours.append(screens.watched(watch, screens.guesthouse).took)
        if options.qemu:
            row.theirs.append(screens.watched(watch, screens.qemu(options.qemu)).took)
    return row


def setups(options: argparse.Namespace, folder: Path) -> tuple[Setup, Setup]:
    """What is booted for its boot, and what is booted for the loops: the same with their archive behind."""
    kernel, initrd = options.kernel, options.initrd
    if not kernel or not initrd:
        from guesthouse.images.catalogue import Catalogue

        guest = Catalogue().get("debian", "amd64")
        kernel, initrd = kernel or guest.kernel, initrd or guest.initrd
    data, size = initrd.read_bytes(), options.memory << 20
    copies = {"kernel": kernel.read_bytes(), "initrd": data,
              "loops": data + bytes(-len(data) % 4) + archive(options.only)}
    for name, content in copies.items():
        (folder / name).write_bytes(content)  # the cache may change meanwhile
    return (Setup(folder / "kernel", folder / "initrd", f"{options.append} guesthouse.announce", size),
            Setup(folder / "kernel", folder / "loops", f"{options.append} {QUIET}", size))


def starting(rounds: int, start: bool, build: bool) -> dict[str, list[float]]:
    """Seconds until guesthouse is there: imports, help, engines from the cache; engines from nothing."""
    costs: dict[str, list[float]] = {}
    commands = {"python -c pass": ["-c", "pass"], "import guesthouse": ["-c", "import guesthouse"],
                "guesthouse --help": ["-m", "guesthouse", "--help"]}
    for name, words in commands.items() if start else ():
        tell(name)
        costs[f"{name}, s"] = [sides.spent([sys.executable, *words])[0].wall for _ in range(3 * rounds)]
    for arch in ("amd64", "riscv64") if start else ():
        tell(f"loading the engine of {arch}")
        load = [sys.executable, "-c", LOAD, arch]
        sides.spent(load)  # the first may have to compile it
        both = [tuple(map(float, sides.spent(load)[1].split())) for _ in range(rounds)]
        costs[f"{arch}: importing the definitions, s"] = [one[0] for one in both]
        costs[f"{arch}: loading the engine from the cache, s"] = [one[1] for one in both]
    for arch in ("amd64", "riscv64") if build else ():
        tell(f"compiling the engine of {arch}")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            took = sides.spent([sys.executable, "-c", LOAD, arch], {"GUESTHOUSE_CACHE": folder})[0]
        costs[f"{arch}: compiling the engine, s"] = [took.wall]
        costs[f"{arch}: compiling the engine, CPU s"] = [took.cpu]
    return costs


def host(qemu: str | None) -> dict[str, Any]:
    """The machine and the versions that the numbers belong to."""
    from importlib.metadata import version

    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("model name")]
    asked = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout if qemu else "none"
    return {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2), "kernel": platform.release(),
            "python": platform.python_version(), "llvmlite": version("llvmlite"),
            "qemu": asked.partition("\n")[0]}


def as_json(row: Row) -> dict[str, Any]:
    return {"name": row.name, "kind": KINDS[row.name], "results": sorted(row.results),
            "ratio": row.ratio("wall"), "ratio_cpu": row.ratio("cpu"),
            "instructions_per_cpu_second": row.rate(),
            "guesthouse": [asdict(moment) for moment in row.ours],
            "qemu": [asdict(moment) for moment in row.theirs]}


def show(machine: dict[str, Any], rows: list[Row], costs: dict[str, list[float]]) -> None:
    """The tables. Seconds are medians."""
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if rows:
        print(f"\n{'':34}{'wall seconds':^24}{'CPU seconds':^24}\n{'':34}"
              + f"{'ours':>8}{'QEMU':>8}{'ratio':>8}" * 2 + f"{'M instr/CPU s':>15}")
    for row in rows:
        print(f"{row.name:11}{KINDS[row.name]:23}" + "".join(
            seconds([getattr(moment, clock) for moment in side])
            if side is not None else f"{number(row.ratio(clock)):>8}"
            for clock in ("wall", "cpu") for side in (row.ours, row.theirs, None))
            + f"{number(row.rate(), 1e-6, 0):>15}" + ("   RESULTS DIFFER" if len(row.results) > 1 else ""))
    for name, values in costs.items():
        print(f"{name:58}{median(values):10.3f}")


def seconds(values: list[float]) -> str:
    return f"{median(values) if values else float('nan'):8.3f}"


def number(value: float | None, scale: float = 1, digits: int = 2) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def tell(what: str) -> None:
    """Progress, for people who wait."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
