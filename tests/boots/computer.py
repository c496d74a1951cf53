"""A PC and someone before it, who reads the screen and types."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guesthouse.clock import SECOND, RealClock, VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.images.catalogue import cache_folder
from guesthouse.manager.building import instruction_set
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import SECTOR_SIZES, Attached
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import OutOfTime
from guesthouse.system.chips.vga import Text

EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC


class Computer:
    """`speed` is in instructions a second, of virtual time. Processors in `parallel` need the host's."""

    def __init__(self, drives: Iterable[Attached], *, mib: int = 16, speed: int = 100_000_000,
                 boot: str = "acd", cpus: int = 1, way: str = "threaded", parallel: bool = False) -> None:
        kind = instruction_set("amd64")
        code = engine(kind, cache_folder() / "code")
        clock = RealClock() if parallel else VirtualClock(speed)
        self.board = ClassicPc(mib << 20, clock, lambda memory: SoftVcpu(kind, code, way == "hot"), epoch=EPOCH,
                               cpus=cpus, parallel=parallel, random_bytes=bytes, drives=list(drives), boot_order=boot)
        self.said = bytearray()
        self.board.serial[0].output = self.said.extend

    def text(self) -> str:
        screen = self.board.screen()
        return "\n".join(line.rstrip() for line in screen.lines()) if isinstance(screen, Text) else ""

    def serial(self) -> str:
        return self.said.decode("latin-1").replace("\r", "")

    def wait_for(self, words: str | Callable[[str], bool], seconds: int = 60, *,
                 where: Callable[[], str] | None = None, look: float = 0.1) -> str:
        """Run until the screen (or `where`) says so; it is looked at each `look` seconds of guest time."""
        told = where or self.text
        seen = (lambda text: words in text) if isinstance(words, str) else words
        end = self.board.clock.now() + seconds * SECOND
        while not seen(told()):
            outcome = self.board.run(until=self.board.clock.now() + int(look * SECOND))
            assert outcome == OutOfTime() and self.board.clock.now() < end, self.board.report(f"{words}\n{told()}")
        return told()

    def ask(self, command: str, words: str, prompt: str = "A:\\>", seconds: int = 60) -> str:
        """Type a command at a prompt, wait for an answer and for the next prompt."""
        self.wait_for(lambda text: text.rstrip().endswith(prompt), seconds)
        self.board.keyboard.type(command + "\n")
        self.wait_for(words, seconds)
        return self.wait_for(lambda text: text.rstrip().endswith(prompt), seconds)

    def say(self, line: str, words: str, seconds: int = 60) -> str:
        """Type a line on the serial port; what comes after it, up to the words and the rest of their slice."""
        del self.said[:]
        self.board.serial[0].send(line.encode() + b"\n")
        return self.wait_for(words, seconds, where=self.serial)


def drive(kind: str, content: bytes) -> Attached:
    """A drive with a medium in memory; what the guest writes there stays in the drive alone."""
    size = SECTOR_SIZES[kind]
    padded = bytearray(content) + bytes(-len(content) % size)
    return Attached(kind, Memory(padded, size, kind != "cdrom"))
