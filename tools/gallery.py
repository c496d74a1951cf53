"""Takes the pictures of docs/gallery.md: guests boot from their own media and are used by keyboard.

Run as `python tools/gallery.py [NAME...]`. Floppies come from the folder that GUESTHOUSE_GUESTS names, everything
else from Debian's packages. Time is virtual, so a picture is the same whenever it is taken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from guesthouse.clock import SECOND, VirtualClock  # noqa: E402
from guesthouse.display import png  # noqa: E402
from guesthouse.display.screen import Picture  # noqa: E402
from guesthouse.engine.build import engine  # noqa: E402
from guesthouse.engine.soft import SoftVcpu  # noqa: E402
from guesthouse.images.catalogue import cache_folder  # noqa: E402
from guesthouse.images.packages import Packages  # noqa: E402
from guesthouse.manager.building import instruction_set  # noqa: E402
from guesthouse.storage.disk import Memory  # noqa: E402
from guesthouse.system.boards.attached import SECTOR_SIZES, Attached  # noqa: E402
from guesthouse.system.boards.classic import ClassicPc  # noqa: E402
from guesthouse.system.chips.vga import Text  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
GUESTS = Path(os.environ.get("GUESTHOUSE_GUESTS") or ROOT.parent / "shared" / "guests")
EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC
LOOK, PATIENCE = SECOND // 10, 600 * SECOND  # guest time between two looks, and until it is given up
HEAD = """# Gallery

Free systems on their own media, booted by guesthouse's own firmware, used by keyboard and photographed by
`tools/gallery.py`, which also writes this page.
"""


class Sitting:
    """Somebody before a PC."""

    def __init__(self, board: ClassicPc) -> None:
        self.board = board

    def text(self) -> str:
        screen = self.board.screen()
        return "\n".join(screen.lines()) if isinstance(screen, Text) else ""

    def see(self, words: str | Callable[[str], bool]) -> None:
        """Wait until the screen says so."""
        seen = (lambda text: words in text) if isinstance(words, str) else words
        end = self.board.clock.now() + PATIENCE
        while not seen(self.text()):
            self.let_run(LOOK)
            if self.board.clock.now() > end:
                raise TimeoutError(self.text())

    def let_run(self, time: int) -> None:
        self.board.run(until=self.board.clock.now() + time)

    def type(self, text: str, answer: str = "") -> None:
        self.board.keyboard.type(text)
        self.let_run(SECOND)
        if answer:
            self.see(answer)

    def tap(self, *keys: str) -> None:
        for key in keys:
            self.board.keyboard.tap(key)
            self.let_run(SECOND // 2)

    def picture(self) -> bytes:
        screen = self.board.screen()
        drawn = screen.draw() if isinstance(screen, Text) else screen
        return png.encode(Picture(drawn.width, drawn.height, drawn.rgb))


@dataclass(frozen=True)
class Shot:
    """What is in the drive, or a kernel and its ramdisk; how it is used, and what the picture shows."""

    start: Callable[[], Attached | tuple[Path, Path]]
    use: Callable[[Sitting], object]
    caption: str
    speed: int = 2_000_000  # instructions a second of guest time
    memory: int = 16


def floppy(name: str) -> Callable[[], Attached]:
    return lambda: Attached("floppy", Memory((GUESTS / name).read_bytes()))


def packaged(kind: str, package: str, path: str) -> Callable[[], Attached]:
    return lambda: Attached(kind, Memory(Packages().file(package, path).read_bytes(), SECTOR_SIZES[kind]))


def installer(arch: str) -> Callable[[], tuple[Path, Path]]:
    folder = "*/text/debian-installer/*/"

    def files() -> tuple[Path, Path]:
        found = Packages().files(f"debian-installer-12-netboot-{arch}",
                                 {"linux": f"{folder}linux", "root": f"{folder}initrd.gz"})
        return found["linux"], found["root"]

    return files


def freedos(me: Sitting) -> None:
    me.see(lambda text: text.rstrip().endswith("A:\\>"))
    me.type("ver\n", "version")
    me.type("dir /w\n", "bytes free")


def mikeos(me: Sitting) -> None:
    me.see("Please select an interface")
    me.type("\n", "Please select a file")


def sierpinski(me: Sitting) -> None:
    me.see(lambda text: text.rstrip().endswith("A:\\>"))
    me.type("sierpi~1\n")
    me.let_run(20 * SECOND)


def grub(me: Sitting) -> None:
    me.see("Press enter to boot")
    me.tap("down", "down")


def memtest(me: Sitting) -> None:
    me.see("Pass")
    me.let_run(20 * SECOND)


def language(me: Sitting) -> None:
    me.see("Select a language")
    me.see("English")
    me.let_run(SECOND)


def location(me: Sitting) -> None:
    language(me)
    me.type("\n", "Select your location")
    me.see("United States")
    me.let_run(SECOND)


SHOTS = {
    "freedos": Shot(floppy("freedos722.img"), freedos, "FreeDOS from a floppy of 720 kB: VER and DIR."),
    "mikeos": Shot(floppy("mikeos.flp"), mikeos, "MikeOS, sixteen bits and real mode, shows its programs."),
    "sierpinski": Shot(floppy("freedos722.img"), sierpinski, "A program of that floppy in graphics mode."),
    "grub": Shot(packaged("floppy", "grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-floppy.img"), grub,
                 "GRUB's rescue floppy from Debian's package, and its menu.", speed=20_000_000, memory=64),
    "memtest": Shot(packaged("cdrom", "memtest86+", "usr/lib/memtest86+/memtest86+ia32.iso"), memtest,
                    "memtest86+ from its CD image.", speed=50_000_000, memory=32),
    "installer-amd64": Shot(installer("amd64"), language,
                            "Debian 12's installer for amd64, given as a kernel, asks for a language.",
                            speed=300_000_000, memory=1024),
    "installer-i386": Shot(installer("i386"), location, "The one for i386, a dialog later.",
                           speed=300_000_000, memory=1024),
}


def take(shot: Shot) -> bytes:
    kind = instruction_set("amd64")
    code = engine(kind, cache_folder() / "code")
    given = shot.start()
    board = ClassicPc(
        shot.memory << 20,
        VirtualClock(shot.speed),
        lambda memory: SoftVcpu(kind, code),
        epoch=EPOCH,
        random_bytes=bytes,
        drives=[given] if isinstance(given, Attached) else [],
    )
    try:
        if not isinstance(given, Attached):
            board.load_linux(*given, "vga=normal nomodeset")
        sitting = Sitting(board)
        shot.use(sitting)
        return sitting.picture()
    finally:
        board.close()


def page() -> str:
    return HEAD + "".join(
        f"\n![{name}](gallery/{name}.png)\n\n{shot.caption}\n" for name, shot in SHOTS.items()
    )


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SHOTS:
        (PICTURES / f"{name}.png").write_bytes(take(SHOTS[name]))
        print(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size} bytes")
    PAGE.write_text(page())
