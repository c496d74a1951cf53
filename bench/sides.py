"""The sides of a comparison: a guest in a process of its own, whose console lines are timed as they come.

All are started on the same files with the same command line and are looked at from outside, in the same way:
the host's monotonic clock, the process's CPU clock (all its threads), its resident memory. The clocks of guests in
Bochs and v86 are not relied on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench import bochs
from bench.guest.linux import MARK
from bench.rows import BOCHS, OURS, THEIRS, V86, Moment, Run

COUNT = "\x1f"  # what stands between a line and guesthouse's instruction count
UP = "guesthouse: userland up"
DEVICES = {"ide": "/dev/sda", "virtio": "/dev/vda"}  # what Linux calls a disk on that bus
PATIENCE, PATIENCE_BESIDE = 600.0, 3600.0  # seconds that one guest may take in all; in Bochs or v86
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Setup:
    """What both sides boot."""

    kernel: Path
    initrd: Path
    append: str
    memory: int
    arch: str = "amd64"  # Debian's name of it
    way: str = "hot"
    disk: Path | None = None


def guesthouse(setup: Setup) -> list[str]:
    """The command that runs a guest on our own engine and tells instruction counts."""
    return [sys.executable, "-m", "bench.ours", str(setup.kernel), str(setup.initrd), str(setup.memory),
            setup.append, setup.arch, setup.way, str(setup.disk or "")]


QEMU = {"amd64": ("qemu-system-x86_64", "-device", "virtio-rng-pci"), "i386": ("qemu-system-i386",),
        "riscv64": ("qemu-system-riscv64", "-machine", "virt")}


def qemu(setup: Setup) -> list[str]:
    """The same guest under QEMU's dynamic translator, with no more devices than ours has."""
    program, *devices = QEMU[setup.arch]
    for bus in DEVICES if setup.disk else ():
        devices += ["-drive", f"file={setup.disk},format=raw,snapshot=on,if={bus}"]
    return [program, *devices, "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
            "-m", f"{setup.memory >> 20}M", "-kernel", str(setup.kernel),
            "-initrd", str(setup.initrd), "-append", f"console=ttyS0 {setup.append}"]


V86_SCRIPT = """
const {V86} = require("v86"), path = require("path"), fs = require("fs");
const [kernel, initrd, memory, append, bios, vga] = process.argv.slice(1);
const load = file => ({buffer: new Uint8Array(fs.readFileSync(file)).buffer});
new V86({wasm_path: path.join(path.dirname(require.resolve("v86")), "v86.wasm"), memory_size: +memory,
         vga_memory_size: 8 << 20, bios: load(bios), vga_bios: load(vga), bzimage: load(kernel), initrd: load(initrd),
         cmdline: append, autostart: true, disable_speaker: true, acpi: true,
}).add_listener("serial0-output-byte", byte => fs.writeSync(1, Buffer.from([byte])));
"""
SEABIOS = "/usr/share/seabios/bios.bin", "/usr/share/seabios/vgabios-stdvga.bin"


def v86(setup: Setup) -> list[str]:
    """v86 under node, which finds it by NODE_PATH; its firmware is SeaBIOS."""
    return ["node", "-e", V86_SCRIPT, *_told(setup), *SEABIOS]


def bochs_command(setup: Setup) -> list[str]:
    return [sys.executable, "-m", "bench.bochs", *_told(setup)]


def _told(setup: Setup) -> list[str]:
    return [str(setup.kernel), str(setup.initrd), str(setup.memory), f"console=ttyS0 {setup.append}"]


def beside(command: list[str]) -> bool:
    """Whether this is Bochs or v86, which take their time, and whose guests' clocks are not relied on."""
    return command[0] == "node" or "bench.bochs" in command


def lacks(side: str, arch: str) -> str:
    """Why a side cannot run guests of this architecture; nothing if it can."""
    if side == BOCHS:
        return "it is a PC" if arch == "riscv64" else ", ".join(bochs.missing())
    if arch != "i386":
        return "it has 32 bits"
    missing = [name for name in ("node", *SEABIOS) if not shutil.which(name) and not Path(name).exists()]
    if not missing and subprocess.run(["node", "-e", 'require.resolve("v86")'], capture_output=True).returncode:
        missing = ["v86 (npm install v86, NODE_PATH to its node_modules)"]
    return ", ".join(missing)


def commands(setup: Setup, others: Sequence[str]) -> dict[str, list[str]]:
    """How each side is started, ours first."""
    every = {OURS: guesthouse, THEIRS: qemu, BOCHS: bochs_command, V86: v86}
    return {side: command(setup) for side, command in every.items() if side == OURS or side in others}


def lines(command: list[str], memory: list[int] | None = None,
          environment: dict[str, str] | None = None) -> Generator[tuple[str, Moment], None, None]:
    """Start the command and hand on each line with its moment since the start; ends it when nobody listens.

    The resident bytes beyond the guest's RAM, as they are at each line, go into `memory`.
    """
    patience = PATIENCE_BESIDE if beside(command) else PATIENCE
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=ROOT,
                          env={**os.environ, **(environment or {})}) as child:
        assert child.stdout is not None
        try:
            for raw in child.stdout:
                text, _, count = raw.decode(errors="replace").rstrip("\r\n").partition(COUNT)
                yield text, Moment(time.monotonic() - start, cpu_seconds(child.pid), int(count or 0))
                if memory is not None:
                    memory.append(resident_beyond_ram(child.pid))
                if time.monotonic() - start > patience:
                    raise TimeoutError(f"{command[0]} took longer than {patience:g} s")
        finally:
            child.kill()


def cpu_seconds(pid: int) -> float:
    """The CPU time of another process: its clock, as clock_getcpuclockid(3) names it on Linux."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_beyond_ram(pid: int) -> int:
    """Bytes in the host's memory, without the largest mapping, which is the guest's RAM."""
    text = Path(f"/proc/{pid}/smaps").read_text()
    sizes, resident = (map(int, re.findall(rf"^{key}: +(\d+)", text, re.M)) for key in ("Size", "Rss"))
    return sum(kib for _, kib in sorted(zip(sizes, resident, strict=True))[:-1]) << 10


def boot(command: list[str], environment: dict[str, str] | None = None) -> Run:
    """From the command's start to the guest's first line of user space."""
    with closing(lines(command, environment=environment)) as heard:
        for text, moment in heard:
            if UP in text:
                return Run(moment)
    raise RuntimeError(f"the guest ended before its userland was up: {' '.join(command)}")


SAID = re.compile(rf"{MARK} (\w+) (?:begins|ends (\w+) (\w+))")


def programs(command: list[str], memory: list[int] | None = None) -> dict[str, Run]:
    """All programs of one boot, each from its first line to its last."""
    found: dict[str, Run] = {}
    begun = Moment(0, 0)
    with closing(lines(command, memory)) as heard:
        for text, moment in heard:
            if not (said := SAID.search(text)):
                continue
            name, result, nanoseconds = said.groups()
            if name == "all":
                return found
            if result is None:
                begun = moment
            else:
                told = None if beside(command) else int(nanoseconds, 16) / 1e9
                found[name] = Run(moment.since(begun), told, result)
    raise RuntimeError(f"the guest ended before its programs did: {' '.join(command)}")


def spent(command: list[str], environment: dict[str, str] | None = None) -> tuple[Moment, str]:
    """Run a command to its end: wall time, user and system time, and what it printed."""
    before = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True,
                          env={**os.environ, **(environment or {})}) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return Moment(time.monotonic() - before, usage.ru_utime + usage.ru_stime), printed
