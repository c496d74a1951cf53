"""`guesthouse doctor`: what this host has, what is missing, what to do about it. To be pasted into a report."""

from __future__ import annotations

import json as as_json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from guesthouse.errors import GuesthouseError

OK, NOTE, MISSING = "ok", "note", "missing"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `do` is what the user may do if it is not ok."""

    what: str
    found: str
    state: str = OK
    do: str = ""


@click.command(short_help="What this host has, and what is missing.")
@click.option("--json", is_flag=True, help="Print the findings as JSON.")
def doctor(json: bool) -> int:
    """Look at this host: versions, processor, LLVM, caches, mirror, accelerators.

    The exit status is 0 if guesthouse can run guests here, and 6 if something that it needs is missing.
    """
    findings = list(examine())
    if json:
        click.echo(as_json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        show(findings)
    return 6 if any(finding.state == MISSING for finding in findings) else 0


def show(findings: list[Finding]) -> None:
    for finding in findings:
        mark = {OK: " ", NOTE: "-", MISSING: "!"}[finding.state]
        click.echo(f"{mark} {finding.what:14} {finding.found}")
        if finding.do:
            click.echo(f"  {'':14} {finding.do}")


def examine() -> Iterator[Finding]:
    yield from versions()
    yield processor()
    yield memory()
    yield llvm()
    yield from caches()
    yield from guests()
    yield mirror()
    yield kvm()
    yield terminal()


def versions() -> Iterator[Finding]:
    from guesthouse import __version__

    yield Finding("guesthouse", f"{__version__} in {Path(__file__).parent.parent}")
    yield Finding("Python", f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}")
    yield Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}")


def processor() -> Finding:
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("processor", f"{name}, {count} usable")


def memory() -> Finding:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (ValueError, OSError, AttributeError):
        return Finding("memory", "unknown", NOTE)
    few = free < 700
    return Finding("memory", f"{free} MiB free", NOTE if few else OK,
                   "A guest has 512 MiB unless --memory says otherwise." if few else "")


def llvm() -> Finding:
    try:
        from llvmlite import __version__ as version
        from llvmlite import binding

        target = f"{binding.get_default_triple()}, {binding.get_host_cpu_name()}"
        return Finding("LLVM", f"{'.'.join(map(str, binding.llvm_version_info))} (llvmlite {version}), {target}")
    except (ImportError, OSError) as wrong:
        return Finding("LLVM", f"llvmlite cannot be loaded: {wrong}", MISSING,
                       "Install it: pip install llvmlite. Without it only --way plain works, which is slow.")


def caches() -> Iterator[Finding]:
    from guesthouse.images.catalogue import cache_folder
    from guesthouse.manager.building import code_folder
    from guesthouse.manager.units import size_text

    folder = cache_folder()
    standing = next(path for path in [folder, *folder.parents] if path.exists())
    if not can_write(standing):
        yield Finding("cache", f"{folder} cannot be written", MISSING,
                      "Make it writable, or set GUESTHOUSE_CACHE to a folder that is.")
    else:
        free = shutil.disk_usage(standing).free
        yield Finding("cache", f"{folder}, {size_text(free)} free", NOTE if free < 300 << 20 else OK,
                      "A guest needs about 100 MiB here." if free < 300 << 20 else "")
    built = sorted(code_folder().glob("*.code"))
    names = ", ".join(f"{file.name.split('-')[0]} ({size_text(file.stat().st_size)})" for file in built)
    yield Finding("compiled code", names or "none yet: the first run compiles, which takes about a minute")


def can_write(folder: Path) -> bool:
    """Whether files can be made there; permissions alone do not tell."""
    import tempfile

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def guests() -> Iterator[Finding]:
    from guesthouse.images.catalogue import Catalogue

    try:
        found = [f"{guest.name}/{guest.arch} {guest.version}" for guest in Catalogue().list()]
    except GuesthouseError as wrong:
        yield Finding("guests", str(wrong).partition("\n")[0], NOTE)
        return
    yield Finding("guests", ", ".join(found) or "none in the cache yet: `guesthouse run debian` fetches one")


def mirror() -> Finding:
    from guesthouse.images import sources
    from guesthouse.trace import value

    try:
        source, suite = sources.mirror(str(value("mirror")) or None)
    except GuesthouseError as wrong:
        what, _, do = str(wrong).partition("\n")
        return Finding("mirror", what, NOTE, do)
    return Finding("mirror", f"{source.uri} ({suite or source.suite})")


def kvm() -> Finding:
    device = Path("/dev/kvm")
    if not device.exists():
        return Finding("/dev/kvm", "not there; not needed, our own processor runs everywhere")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding("/dev/kvm", "there, but not ours to open; not used yet", NOTE)
    return Finding("/dev/kvm", "there; not used yet: guests run on our own processor")


def terminal() -> Finding:
    from guesthouse.cli.terminal import size

    found = size()
    if found is None:
        return Finding("terminal", "standard input is none: consoles are typed at, not joined")
    return Finding("terminal", f"{os.environ.get('TERM', 'of no kind')}, {found[1]} columns, {found[0]} rows")
