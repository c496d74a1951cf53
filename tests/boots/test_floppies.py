"""Whole boots of FreeDOS and MikeOS from their own floppies, through our firmware, used by keyboard and read from the
screen.

The images are found through GUESTHOUSE_GUESTS, by default ../shared/guests beside the checkout; they are read
into memory and never written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guesthouse.clock import SECOND, VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.images.catalogue import cache_folder
from guesthouse.manager.building import instruction_set
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import OutOfTime
from guesthouse.system.chips.vga import Text

pytestmark = [pytest.mark.boot, pytest.mark.slow]

GUESTS = Path(os.environ.get("GUESTHOUSE_GUESTS") or Path(__file__).parents[3] / "shared" / "guests")
EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC
SPEED = 2_000_000  # instructions a second: a system that asks for keys without end is as slow as it used to be
LOOK = SECOND // 10  # of guest time between two looks at the screen
PATIENCE = 60 * SECOND


class Computer:
    """A PC with a floppy in it, and someone before it."""

    def __init__(self, board: ClassicPc) -> None:
        self.board = board

    def text(self) -> str:
        screen = self.board.screen()
        return "\n".join(line.rstrip() for line in screen.lines()) if isinstance(screen, Text) else ""

    def wait_for(self, words: str | Callable[[str], bool]) -> str:
        """Run until the screen says so."""
        seen = (lambda text: words in text) if isinstance(words, str) else words
        end = self.board.clock.now() + PATIENCE
        while not seen(self.text()):
            outcome = self.board.run(until=self.board.clock.now() + LOOK)
            assert outcome == OutOfTime() and self.board.clock.now() < end, self.board.report(self.text())
        return self.text()

    def ask(self, command: str, words: str, prompt: str = "A:\\>") -> str:
        """Type a command at a prompt, wait for an answer and for the next prompt."""
        self.wait_for(lambda text: text.rstrip().endswith(prompt))
        self.board.keyboard.type(command + "\n")
        self.wait_for(words)
        return self.wait_for(lambda text: text.rstrip().endswith(prompt))


@pytest.fixture
def switched_on() -> Iterator[Callable[[str], Computer]]:
    made: list[ClassicPc] = []

    def switch_on(name: str) -> Computer:
        image = GUESTS / name
        if not image.exists():
            pytest.skip(f"no guest: {name} is not among the images that GUESTHOUSE_GUESTS names")
        kind = instruction_set("amd64")
        code = engine(kind, cache_folder() / "code")
        made.append(ClassicPc(16 << 20, VirtualClock(SPEED), lambda memory: SoftVcpu(kind, code), epoch=EPOCH,
                              random_bytes=bytes, drives=[Attached("floppy", Memory(image.read_bytes()))]))
        return Computer(made[-1])

    yield switch_on
    for board in made:
        board.close()


@pytest.mark.parametrize("name", ["freedos722.img", "freedos-8086tiny.img"])
def test_freedos_comes_to_its_prompt_and_says_its_version(switched_on: Callable[[str], Computer], name: str) -> None:
    computer = switched_on(name)
    assert "version" in computer.ask("ver", "version").lower()


def test_freedos_lists_the_floppy_that_it_came_from(switched_on: Callable[[str], Computer]) -> None:
    assert "COMMAND" in switched_on("freedos722.img").ask("dir /w", "bytes free")


def test_a_file_that_freedos_writes_can_be_read_again(switched_on: Callable[[str], Computer]) -> None:
    computer = switched_on("freedos722.img")
    computer.ask("echo Guests are fed here > HOUSE.TXT", "HOUSE.TXT")
    assert "\nGuests are fed here" in computer.ask("type house.txt", "\nGuests are fed here")


def test_mikeos_shows_its_programs_and_answers_at_its_command_line(switched_on: Callable[[str], Computer]) -> None:
    computer = switched_on("mikeos.flp")
    computer.wait_for("Please select an interface")
    computer.board.keyboard.type("\n")
    computer.wait_for("Please select a file")
    computer.board.keyboard.tap("esc")
    computer.wait_for("Please select an interface")
    computer.board.keyboard.tap("right")
    computer.board.keyboard.type("\n")
    assert "MikeOS 4.5" in computer.ask("ver", "MikeOS 4.5", prompt=">")
