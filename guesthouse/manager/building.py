"""From a description to a board with a guest loaded: images, kernel command line, clock, processor.

A machine in virtual time is given a fixed date and fixed random bytes, so that each run of it is the same.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guesthouse.clock import Clock, RealClock, VirtualClock
from guesthouse.errors import ImageError, NoSuchThing, UserError
from guesthouse.images.catalogue import NAMES, Catalogue, Guest, cache_folder, kernel_form
from guesthouse.manager.config import Config
from guesthouse.manager.media import Slot, recognised, slots
from guesthouse.manager.recording import Recording, Sound
from guesthouse.storage.disk import open_disk
from guesthouse.trace import Trace, value

if TYPE_CHECKING:
    from guesthouse.system.boards.attached import Attached

Progress = Callable[[str, int, int], None]  # what, done, in all (0: not known)
CONSOLE = "console=ttyS0"
VGA_BIOS = "vgabios-stdvga.bin"
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
    kernel: Path | None
    initrd: Path | None
    cmdline: str
    slots: tuple[Slot, ...] = ()

    @property
    def screen(self) -> bool:
        """Whether its user looks at a screen: it starts by itself, and has no userland of ours."""
        return self.config.own_medium


def parts(described: Config, extra: str, announce: Announce) -> Parts:
    """Find, and fetch if need be, what the description names.

    A kernel of one's own runs with the guest's userland, unless there is an initrd of one's own too. `extra` is for
    the command line of our userland.
    """
    described = recognised(described)
    drives = slots(described, announce.warn)
    if described.own_medium:
        refuse_idle(described)
        return Parts(described, described.kernel if described.multiboot else None, described.initrd, described.append,
                     drives)
    if described.kernel:
        need_kernel(described.kernel)
    if described.kernel and described.initrd:
        cmdline = f"{CONSOLE} {described.append}".rstrip()
        return Parts(described, described.kernel, described.initrd, cmdline, drives)
    found = guest(replace(described, guest=described.guest or NAMES[0]), announce)
    words = [CONSOLE, *([] if described.initrd else [found.append, extra]), described.append]
    return Parts(described, described.kernel or found.kernel, described.initrd or found.initrd,
                 " ".join(filter(None, words)), drives)


def refuse_idle(described: Config) -> None:
    """What nobody would look at is a mistake: only a kernel that we load hears of these."""
    idle = [key for key in ("kernel", "initrd", "append") if getattr(described, key)]
    if idle and not described.multiboot:
        raise UserError(f"This machine starts from its own medium or firmware, and has no use for {' or '.join(idle)}.",
                        "Leave that away, or give a kernel and no firmware.", exit_status=2)


def guest(described: Config, announce: Announce) -> Guest:
    """The guest from the cache, else from its mirror."""
    if described.guest not in NAMES:
        raise NoSuchThing(f"There is no guest called {described.guest}.",
                          f"There are: {', '.join(NAMES)}. To boot a floppy, disk or CD image or a kernel, give its"
                          " path: guesthouse run FILE.")
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
    """A new board with the guest loaded, ready to run. Files are opened last, and given back if anything fails."""
    described = parts.config
    virtual = described.time == "virtual"
    kind, processors = board_class(described), vcpu_factory(described, announce)
    trace = Trace.parse(described.trace)
    options: dict[str, Any] = {"trace": trace}
    if described.cpus > 1:
        options |= {"cpus": described.cpus, "parallel": described.parallel}
    with ExitStack() as opened:
        if described.classic:
            options |= classic_options(parts, opened)
        made = kind(
            described.memory, VirtualClock() if virtual else RealClock(), processors,
            epoch=VIRTUAL_EPOCH if virtual else int(time.time()),
            random_bytes=random.Random(0).randbytes if virtual else os.urandom, **options,
        )
        opened.callback(made.close)
        if described.test_devices:
            made.add_test_devices()
        start_kernel(made, parts)
        opened.pop_all()
    for name in trace.unheard():
        announce.warn(f"--trace {name} tells nothing: this machine has {', '.join(sorted(trace.sources))}.")
    return made


def classic_options(parts: Parts, opened: ExitStack) -> dict[str, Any]:
    """What a PC with drives is made of; the files are open from here on."""
    from guesthouse.system.boards.classic import checked_drives

    described = parts.config
    found: dict[str, Any] = {"boot_order": described.boot, "chipset": described.chipset} | firmware_options(described)
    drives: list[Attached] = []
    for slot in parts.slots:
        drives.append(slot.open(described.persist, described.disk_bus))
        opened.callback(drives[-1].close)
    checked_drives(drives, described.chipset)
    if described.firmware is not None and described.variables is not None:
        found["variables"] = open_disk(described.variables, persist=described.persist)
        opened.callback(found["variables"].close)
    for name, kind, file in (("printer", Recording, described.parallel_port), ("sound", Sound, described.sound),
                             ("debug_port", Recording, described.debug_port)):
        if file is not None:
            found[name] = kind(file)
            opened.callback(found[name].close)
    return found | {"drives": drives}


def firmware_options(described: Config) -> dict[str, Any]:
    """Firmware that is not ours, and a video BIOS if it needs one."""
    image, rom = described.firmware, described.vga_rom
    if image is None:
        return {}
    if rom is None and (beside := image.with_name(VGA_BIOS)).is_file():  # as SeaBIOS is packaged
        rom = beside
    return {"firmware": image.read_bytes(), "vga_rom": rom.read_bytes() if rom else b""}


def start_kernel(board: Any, parts: Parts) -> None:
    """Load the kernel, if the machine does not start from its own medium."""
    kernel = parts.kernel
    if kernel is None:
        return

    def load() -> None:
        if parts.config.multiboot:
            modules = [(parts.initrd, parts.initrd.name)] if parts.initrd else []
            board.load_multiboot(kernel, parts.cmdline, modules, name=str(kernel))
        else:
            board.load_linux(kernel, parts.initrd, parts.cmdline, name=str(kernel))

    load()
    board.after_reset = load  # of boards that a reset does not end


def board_class(described: Config) -> Any:
    if described.arch == "riscv64":
        if described.classic:
            raise UserError("riscv64 machines have no drives, ports, sound or firmware of their own yet.",
                            "Give them a kernel, and an initrd.", exit_status=6)
        from guesthouse.system.boards.virt import VirtBoard

        return VirtBoard
    if described.classic:
        from guesthouse.system.boards.classic import ClassicPc

        return ClassicPc
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
    from guesthouse.engine.op import find_guest

    return find_guest("guesthouse.system.cpu.riscv.guest:RISCV" if arch == "riscv64" else
                      "guesthouse.system.cpu.x86.guest:X86_GUEST")


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
