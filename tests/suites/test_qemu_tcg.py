"""QEMU's tests/tcg, built elsewhere: GUESTHOUSE_QEMU_TCG names a folder with its programs, linked statically (i386,
x86_64 and multiarch, the last for either or both, in any folders below).

They run in Debian's kernels for i386 (686-pae, which has the system call for 16-bit segments) and amd64. What a program
prints has to be what it prints on the host's processor, or what PROGRAM.out beside it says; where two runs on the host
differ, and where the host is none for it, its exit status alone counts.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.images import initramfs
from guesthouse.images.initramfs import DIRECTORY, FILE, Entry
from tests.boots.computer import Computer, drive
from tests.boots.conftest import packages, switch_on, unpack  # noqa: F401
from tests.boots.test_loaders import isolinux
from tests.suites.ways import WAYS

VARIABLE = "GUESTHOUSE_QEMU_TCG"
ELF, CLASSES = b"\x7fELF", {"i386": 1, "amd64": 2}
KERNELS = {"i386": "linux-image-686-pae", "amd64": "linux-image-amd64"}
TELLS_THE_TIME = ("vsyscall",)
MOST = 1 << 20  # of a longer output the sum is compared
FAST = 300_000_000
# A word shifted by more than 16 bits is undefined: Intel's processors and AMD's differ.
UNDEFINED = "^sh[lr]dw .* C=[0-9a-f]*[13579bdf][1-9a-f] "
AS_WE_ARE = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}  # the C library's fma() chooses NaNs otherwise
SECONDS = 1800  # of guest time, for each program
# Each program's output and status; if they are not as they should be, the first lines that differ.
SCRIPT = """cd /suite
ifconfig lo 127.0.0.1 up
for p in *; do case $p in *.out|*.sum|*.status) continue;; esac
  timeout 900 ./$p >/tmp/all 2>&1 </dev/null; s=$?
  grep -av "%UNDEFINED%" /tmp/all >/tmp/out
  if [ $s != $(cat $p.status) ]; then echo "@@ $p wrong: status $s"; tail -n 5 /tmp/out
  elif [ -f $p.sum ] && [ "$(md5sum </tmp/out | cut -c1-32)" != "$(cat $p.sum)" ]; then echo "@@ $p wrong: output"
  elif [ -f $p.out ] && ! cmp -s /tmp/out $p.out; then
    echo "@@ $p wrong: output"; diff $p.out /tmp/out | head -n 20
  else echo "@@ $p right"; fi
done
echo "@@ done"
"""

pytestmark = [pytest.mark.suite, pytest.mark.boot]


def programs(arch: str) -> dict[str, Path]:
    folder = Path(os.environ.get(VARIABLE) or pytest.skip(
        f"{VARIABLE} is not set: name a folder with the programs of QEMU's tests/tcg"))
    found = {path.name: path for path in sorted(folder.rglob("*"))
             if path.is_file() and path.read_bytes()[:5] == ELF + bytes([CLASSES[arch]])}
    assert found, f"{VARIABLE} is {folder}, in which there are no programs for {arch}"
    return found


def on_the_host(path: Path) -> tuple[int, bytes] | None:
    try:
        done = subprocess.run([f"./{path.name}"], cwd=path.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=300, check=False, env=os.environ | AS_WE_ARE)
    except OSError:
        return None
    lines = done.stdout.splitlines(keepends=True)
    return done.returncode, b"".join(line for line in lines if not re.match(UNDEFINED.encode(), line))


def reference(path: Path) -> tuple[int, bytes | None]:
    """(status, output if it counts) as they should be."""
    given = path.with_name(path.name + ".out")
    if given.exists():
        return 0, given.read_bytes()
    here = platform.machine() == "x86_64"
    one, two = (on_the_host(path) if here else None for _ in range(2))
    same = one == two and path.name not in TELLS_THE_TIME
    return (0, None) if one is None else (one[0], one[1] if same else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("arch", ["i386", "amd64"])
def test_prints_what_it_prints_on_a_processor(
    arch: str, way: str, switch_on: Callable[..., Computer], unpack: Callable[..., bytes],  # noqa: F811
) -> None:
    entries, wanted = [Entry("suite", DIRECTORY | 0o755)], programs(arch)
    for name, path in wanted.items():
        status, output = reference(path)
        entries.append(Entry(f"suite/{name}", FILE | 0o755, path.read_bytes()))
        entries.append(Entry(f"suite/{name}.status", FILE | 0o644, str(status).encode()))
        if output is not None and len(output) <= MOST:
            entries.append(Entry(f"suite/{name}.out", FILE | 0o644, output))
        elif output is not None:
            entries.append(Entry(f"suite/{name}.sum", FILE | 0o644, hashlib.md5(output).hexdigest().encode()))
    entries.append(Entry("run-suite", FILE | 0o755, SCRIPT.replace("%UNDEFINED%", UNDEFINED).encode()))
    root = initramfs.build(unpack("busybox-static", "*bin/busybox", arch)) + initramfs.archive(entries)
    words = "DEFAULT a\nLABEL a\nKERNEL kernel\nINITRD root\nAPPEND console=ttyS0 quiet vsyscall=xonly " \
            "guesthouse.run=shell\n"
    cd = isolinux(unpack, words, kernel=unpack(KERNELS[arch], "boot/vmlinuz-*", arch), root=root)
    computer = switch_on(drive("cdrom", cd), mib=768, speed=FAST, way=way)
    computer.wait_for("root@guesthouse:~# ", where=computer.serial)
    text = computer.say("sh /run-suite", "@@ done", SECONDS * len(wanted))
    right = {line.split()[1] for line in text.split("\n") if line.startswith("@@ ") and line.endswith(" right")}
    assert right == set(wanted), text
