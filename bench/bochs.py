"""Bochs as one side of a comparison: a process whose standard output is the guest's first serial port.

Bochs boots from media alone, so that kernel and ramdisk go onto a CD with isolinux, which xorriso makes. The files of
Bochs and isolinux are looked for where Debian's packages put them (bochs, bochs-term, bochsbios, isolinux,
syslinux-common); Debian's Bochs has a debugger built in, which makes it slower than it could be.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

FILES = {"isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin",
         "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32"}
FIRMWARE = {"romimage": "/usr/share/bochs/BIOS-bochs-latest", "vgaromimage": "/usr/share/bochs/VGABIOS-lgpl-latest"}
PROGRAMS = ("bochs", "xorriso", "script")
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def missing() -> list[str]:
    """What is not on this host, but would be needed."""
    return [name for name in PROGRAMS if not shutil.which(name)] + [
        path for path in (*FILES.values(), *FIRMWARE.values()) if not Path(path).exists()]


def main(kernel: str, initrd: str, memory: str, append: str) -> None:
    """Boot, and hand on what the guest says until we are killed, and Bochs with us."""
    with tempfile.TemporaryDirectory(prefix="bochs-") as name:
        folder = Path(name)
        disc(folder, Path(kernel), Path(initrd), append)
        os.mkfifo(folder / "com1")
        (folder / "rc").write_text("\n".join(settings(folder, int(memory) >> 20)))
        (folder / "commands").write_text("c\n")  # to the debugger
        # Its screen is drawn in a terminal that nobody sees.
        command = ["script", "-qc", f"bochs -q -f {folder}/rc -rc {folder}/commands", "/dev/null"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env={**os.environ, "TERM": "xterm"}, preexec_fn=end_with_us), \
                open(folder / "com1", "rb", buffering=0) as heard:
            while data := heard.read(4096):
                os.write(1, data)


def end_with_us() -> None:
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)


def disc(folder: Path, kernel: Path, initrd: Path, append: str) -> None:
    """A CD that boots this kernel."""
    root = folder / "root"
    root.mkdir()
    for name, path in FILES.items():
        shutil.copy(path, root / name)
    shutil.copy(kernel, root / "kernel")
    shutil.copy(initrd, root / "initrd")
    lines = ["DEFAULT it", "PROMPT 0", "LABEL it", "KERNEL /kernel", "INITRD /initrd", f"APPEND {append}", ""]
    (root / "isolinux.cfg").write_text("\n".join(lines))
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", folder / "disc.iso", "-b", "isolinux.bin", "-c",
                    "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", root],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def settings(folder: Path, mebibytes: int) -> list[str]:
    quiet = [f"{kind}: action=ignore" for kind in ("error", "info", "debug")]
    return [f"megs: {mebibytes}", *(f"{name}: file={path}" for name, path in FIRMWARE.items()),
            "cpu: model=corei7_haswell_4770, count=1, ips=200000000", "clock: sync=realtime",
            f"ata0-master: type=cdrom, path={folder}/disc.iso, status=inserted", "boot: cdrom",
            f"com1: enabled=1, mode=file, dev={folder}/com1", "display_library: term",
            "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
            "plugin_ctrl: speaker=0, gameport=0, parallel=0", f"log: {folder}/log", "panic: action=fatal", *quiet, ""]


if __name__ == "__main__":
    main(*sys.argv[1:])
