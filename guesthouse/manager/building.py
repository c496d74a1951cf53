"""From a description to a board with a guest loaded: images, kernel command line, clock, processor.

A machine in virtual time is given a fixed date and fixed random bytes, so that each run of it is the same.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guesthouse.clock import Clock, RealClock, VirtualClock
from guesthouse.errors import ImageError, NoSuchThing
from guesthouse.images.catalogue import NAMES, Catalogue, Guest, cache_folder, kernel_form
from guesthouse.manager.config import Config
from guesthouse.trace import Trace, value

Progress = Callable[[str, int, int], None]  # what, done, in all (0: not known)
CONSOLE = "console=ttyS0"
VIRTUAL_EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC


@dataclass(frozen=True)
class Announce:
    """Whoever wants to hear of long work and of what is not quite right."""

    progress: Progress = lambda what, done, total: None
    warn: Callable[[str], None] = lambda sentence: None


silent = Announce()


@dataclass(frozen=True)
class Parts:
    """All that is needed to build the machine's board, again and again."""

    config: Config
    kernel: Path
    initrd: Path | None
    cmdline: str


def parts(described: Config, extra: str, announce: Announce) -> Parts:
    """Find, and fetch if need be, what the description names.

    A kernel of one's own runs with the guest's userland, unless there is an initrd of one's own too. `extra` is for
    the command line of our userland.
    """
    if described.kernel:
        need_kernel(described.kernel)
    if described.kernel and described.initrd:
        return Parts(described, described.kernel, described.initrd, f"{CONSOLE} {described.append}".rstrip())
    found = guest(described, announce)
    words = [CONSOLE, *([] if described.initrd else [found.append, extra]), described.append]
    return Parts(described, described.kernel or found.kernel, described.initrd or found.initrd,
                 " ".join(filter(None, words)))


def guest(described: Config, announce: Announce) -> Guest:
    """The guest from the cache, else from its mirror."""
    if described.guest not in NAMES:
        raise NoSuchThing(f"There is no guest called {described.guest}.",
                          f"There are: {', '.join(NAMES)}. For a kernel of your own: guesthouse run debian"
                          " --kernel FILE --initrd FILE.")
    return catalogue(announce).get(described.guest, described.arch)


def catalogue(announce: Announce) -> Catalogue:
    """The guests that can be had, in the cache and from the mirror that the switches name."""
    return Catalogue(mirror=str(value("mirror")) or None, progress=announce.progress, warn=announce.warn)


def need_kernel(file: Path) -> None:
    """Refuse early what is no kernel at all; the loaders know the rest."""
    if kernel_form(file) == "unknown":
        raise ImageError(str(file), "kernel", 0x202, "a Linux bzImage, a RISC-V Image or an ELF file",
                         "Give --kernel a file such as /boot/vmlinuz.")


def board(parts: Parts, announce: Announce) -> Any:
    """A new board with the guest loaded, ready to run."""
    described = parts.config
    virtual = described.time == "virtual"
    kind = _board_class(described.arch)
    options = {"cpus": described.cpus, "parallel": described.parallel} if described.cpus > 1 else {}
    made = kind(
        described.memory, VirtualClock() if virtual else RealClock(), vcpu_factory(described, announce),
        trace=Trace.parse(described.trace), epoch=VIRTUAL_EPOCH if virtual else int(time.time()),
        random_bytes=random.Random(0).randbytes if virtual else os.urandom, **options,
    )
    try:
        made.load_linux(parts.kernel, parts.initrd, parts.cmdline, name=str(parts.kernel))
    except BaseException:
        made.close()
        raise
    return made


def _board_class(arch: str) -> Any:
    if arch == "riscv64":
        from guesthouse.system.boards.virt import VirtBoard

        return VirtBoard
    from guesthouse.system.boards.pc import PcBoard

    return PcBoard


def vcpu_factory(described: Config, announce: Announce) -> Callable[[Any], Any]:
    """What makes a processor for a board's memory; the threaded way is compiled first, once, with progress."""
    from guesthouse.engine.soft import SoftVcpu

    kind = instruction_set(described.arch)
    if described.way == "plain":
        return lambda memory: SoftVcpu(kind)
    from guesthouse.engine.build import engine

    what = f"compiling the processor for {described.arch}"
    compiled = engine(kind, code_folder(), lambda done, total: announce.progress(what, done, total))
    return lambda memory: SoftVcpu(kind, compiled, described.way == "hot")


def code_folder() -> Path:
    """Where compiled processors are kept."""
    return cache_folder() / "code"


def instruction_set(arch: str) -> Any:
    """What the engine runs for an architecture."""
    if arch == "riscv64":
        from guesthouse.system.cpu.riscv.guest import RISCV

        return RISCV
    from guesthouse.system.cpu.x86.guest import X86_GUEST

    return X86_GUEST


@contextmanager
def time_flows(clock: Clock) -> Iterator[None]:
    """Real time passes for the guest only while it runs."""
    if isinstance(clock, RealClock):
        clock.resume()
    try:
        yield
    finally:
        if isinstance(clock, RealClock):
            clock.pause()
