"""What a machine is made of: the description that a user gives, checked before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guesthouse.errors import ConfigError, NoSuchThing, UserError
from guesthouse.manager import units
from guesthouse.engine.sharing import PROCESSORS
from guesthouse.trace import Trace, value

ARCHITECTURES, WAYS, TIMES = ("amd64", "riscv64"), ("plain", "threaded", "hot"), ("real", "virtual")
BOOT, CHIPSETS, BUSES = "acd", ("i440fx", "q35"), ("ide", "ahci", "virtio")
Files = Path | str | Sequence[Path | str]
LEAST, MOST = 16 << 20, 64 << 30


@dataclass(frozen=True)
class Config:
    """A machine. `kernel` and `initrd` replace the guest's own; `append` is added to its command line.

    `image` is a file to start from, whatever it turns out to be; `floppies`, `disks` and `cdroms` lie in drives, which
    are tried in the order of `boot`; `firmware` takes the place of our BIOS."""

    guest: str = "debian"
    arch: str = "amd64"
    memory: int = 512 << 20
    cpus: int = 1
    parallel: bool = False
    way: str = "hot"
    time: str = "real"
    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    trace: str = ""
    image: Path | None = None
    multiboot: bool = False
    floppies: tuple[Path, ...] = ()
    disks: tuple[Path, ...] = ()
    cdroms: tuple[Path, ...] = ()
    boot: str = "acd"
    firmware: Path | None = None
    variables: Path | None = None
    vga_rom: Path | None = None
    persist: bool = False
    chipset: str = "i440fx"
    disk_bus: str = "ide"
    parallel_port: Path | None = None
    sound: Path | None = None
    debug_port: Path | None = None
    test_devices: bool = False

    @property
    def classic(self) -> bool:
        """Whether it needs the PC with everything, also if it starts a kernel that we load."""
        return self.drives or self.own_medium or any((self.parallel_port, self.sound, self.debug_port))

    @property
    def drives(self) -> bool:
        return bool(self.floppies or self.disks or self.cdroms)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it is made of."""
        single = (self.image, self.kernel, self.initrd, self.firmware, self.variables, self.vga_rom)
        return (*filter(None, single), *self.floppies, *self.disks, *self.cdroms)

    @property
    def own_medium(self) -> bool:
        """Whether it starts by its firmware, or as a multiboot kernel, and not as a Linux kernel that we load."""
        return self.multiboot or self.firmware is not None or self.drives and self.guest == "" and not self.kernel


def config(where: str, guest: str | None = None, *, memory: int | str = "512M", arch: str | None = None,
           way: str | None = None, time: str = "real", kernel: Path | str | None = None,
           initrd: Path | str | None = None, append: str = "", trace: str | None = None,
           cpus: int = 1, parallel: bool = False, floppies: Files = (), disks: Files = (), cdroms: Files = (),
           boot: str = "acd", firmware: Path | str | None = None, variables: Path | str | None = None,
           vga_rom: Path | str | None = None, persist: bool = False, chipset: str = "i440fx",
           disk_bus: str | None = None, parallel_port: Path | str | None = None,
           sound: Path | str | None = None, debug_port: Path | str | None = None,
           test_devices: bool = False) -> Config:
    """The checked description; `where` says in errors where it came from. Without a guest a machine starts from its
    media or firmware, or else it is Debian's."""
    if guest is None:
        guest = "" if floppies or disks or cdroms or firmware else "debian"
    found = units.size(memory) if isinstance(memory, str) else memory
    if found is None:
        raise ConfigError(where, "memory", memory, units.SIZES)
    if not LEAST <= found <= MOST:
        least, largest = units.size_text(LEAST), units.size_text(MOST)
        raise ConfigError(where, "memory", units.size_text(found), f"{least} to {largest}")
    most = 1 if arch == "riscv64" else PROCESSORS
    if not 1 <= cpus <= most:
        raise ConfigError(where, "cpus", cpus, f"1 to {most}" if most > 1 else "1: riscv64 machines have one")
    way = way or str(value("way")) or ("threaded" if parallel else "hot")
    for key, found_to, needed in (("cpus", cpus == 1, "2 or more"), ("time", time == "virtual", "real"),
                                  ("way", way in ("plain", "hot"), "threaded")):
        if parallel and found_to:
            raise ConfigError(where, "parallel", True, f"left away, or {key} {needed}")
    if test_devices and arch == "riscv64":
        raise ConfigError(where, "test_devices", True, "left away, or arch amd64")
    for key, file in (("variables", variables), ("vga_rom", vga_rom)):
        if file is not None and firmware in (None, "builtin"):
            raise ConfigError(where, key, str(file), "left away, or firmware a file that uses it")
    told = trace if trace is not None else str(value("trace"))
    Trace.parse(told)
    if not boot or set(boot) - set(BOOT):
        raise ConfigError(where, "boot", boot, "letters of a (floppies), c (disks) and d (CDs), the first one first")
    image = _image(where, guest)
    bus = "virtio" if guest and not image else "ahci" if chipset == "q35" else "ide"  # our guests have few drivers
    return Config(
        image=image, floppies=_files(where, "floppy", floppies), disks=_files(where, "disk", disks),
        cdroms=_files(where, "cdrom", cdroms), boot=boot,
        firmware=None if firmware == "builtin" else _file(where, "firmware", firmware),
        variables=_file(where, "variables", variables), vga_rom=_file(where, "vga_rom", vga_rom),
        persist=persist, parallel_port=_output(parallel_port), sound=_output(sound),
        debug_port=_output(debug_port), test_devices=test_devices,
        chipset=_one_of(where, "chipset", chipset, CHIPSETS),
        disk_bus=_one_of(where, "disk_bus", disk_bus or bus, BUSES),
        guest="" if image else guest, arch=_one_of(where, "arch", arch or "amd64", ARCHITECTURES), memory=found,
        cpus=cpus,
        parallel=parallel,
        way=_one_of(where, "way", way, WAYS), time=_one_of(where, "time", time, TIMES),
        kernel=_file(where, "kernel", kernel), initrd=_file(where, "initrd", initrd), append=append, trace=told,
    )


def _image(where: str, guest: str) -> Path | None:
    """The guest as a file, if it is one: a name of ours wins, a path always is one."""
    from guesthouse.images.catalogue import NAMES  # checking a description should not load it

    path = Path(guest).expanduser()
    if guest in NAMES or not guest or "/" not in guest and not path.exists():
        return None
    return _file(where, "guest", path)


def _files(where: str, key: str, given: Files) -> tuple[Path, ...]:
    several = (given,) if isinstance(given, (str, Path)) else given
    return tuple(file for one in several if (file := _file(where, key, one)))


def _one_of(where: str, key: str, given: str, allowed: tuple[str, ...]) -> str:
    if given not in allowed:
        raise ConfigError(where, key, given, " or ".join(allowed))
    return given


def _file(where: str, key: str, given: Path | str | None) -> Path | None:
    if given is None:
        return None
    path = Path(given).expanduser()
    if not path.exists():
        raise NoSuchThing(f"{where}: there is no file {path}, which is to be the {key}.", "Check the path.")
    if not path.is_file() and not path.is_block_device():
        raise UserError(f"{where}: {path}, which is to be the {key}, is not a file.", "Give a file.", exit_status=2)
    try:
        path.open("rb").close()
    except OSError as wrong:
        raise UserError(f"{where}: {path} cannot be read: {wrong.strerror}.", "Check its permissions.") from wrong
    return path


def _output(given: Path | str | None) -> Path | None:
    """A file that the machine will make."""
    return None if given is None else Path(given).expanduser()
