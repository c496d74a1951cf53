"""Guests that are watched by their screens: how long from the command's start until certain words are there.

Both sides are processes of their own and are looked at some twenty times a second: ours tells its screen's text,
QEMU's monitor what lies in the text buffer at B8000h. CPU time is the process's, all threads.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rows import OURS, THEIRS, Moment, Part, Row, Run
from bench.sides import PATIENCE, QEMU, ROOT, cpu_seconds

BUFFER, CELLS, PAUSE = 0xB8000, 80 * 25, 0.05
GREETING = {"execute": "qmp_capabilities"}
LOOK = {"execute": "human-monitor-command", "arguments": {"command-line": f"xp /{2 * CELLS}xb {BUFFER:#x}"}}


@dataclass(frozen=True)
class Watch:
    """What is booted, from which kind of drive, and what the screen says when it is measured."""

    name: str
    kind: str  # floppy or cdrom
    image: Path
    words: str  # a pattern
    memory: int = 32 << 20


NAMES = {"freedos": "floppy to the DOS prompt", "memtest": "memtest86+ to its bit fade"}


def compared(names: Sequence[str], rounds: int, others: Sequence[str]) -> Part:
    """All of these, by turns."""
    rows = []
    for watch in watches(names):
        rows.append(row := Row(watch.name, NAMES[watch.name]))
        for number in range(rounds):
            print(f"{watch.name}, round {number + 1} of {rounds}", file=sys.stderr)
            row.add(OURS, watched(watch, guesthouse))
            if THEIRS in others:
                row.add(THEIRS, watched(watch, qemu))
    return Part("screens", rows)


def watches(names: Sequence[str]) -> list[Watch]:
    """The guests that are watched by their screens, as far as their images are to be had."""
    found = []
    if "freedos" in names:
        guests = Path(os.environ.get("GUESTHOUSE_GUESTS") or ROOT.parent / "shared" / "guests")
        image = guests / "freedos722.img"
        if image.exists():
            found.append(Watch("freedos", "floppy", image, r"A:\\>\s*$", 16 << 20))
        else:
            print("freedos is left out: GUESTHOUSE_GUESTS names no folder with freedos722.img", file=sys.stderr)
    if "memtest" in names:
        from guesthouse.images.packages import Packages

        image = Packages().file("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso")
        found.append(Watch("memtest", "cdrom", image, "Test #10", 16 << 20))  # which waits, and computes little
    return found


def watched(watch: Watch, side: Callable[[Watch], Any]) -> Run:
    """How long until the words are there."""
    with side(watch) as (pid, start, look):
        while True:
            if re.search(watch.words, look()):
                return Run(Moment(time.monotonic() - start, cpu_seconds(pid)))
            if time.monotonic() - start > PATIENCE:
                raise TimeoutError(f"{watch.name}: the screen does not say {watch.words!r}")
            time.sleep(PAUSE)


@contextmanager
def process(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        try:
            yield child
        finally:
            child.kill()


def ask(child: subprocess.Popen[str], line: str) -> str:
    """One line to the process, one from it."""
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    if not answer:
        raise RuntimeError("the guest's process has ended")
    return answer


@contextmanager
def guesthouse(watch: Watch) -> Iterator[tuple[int, float, Callable[[], str]]]:
    start = time.monotonic()
    words = [sys.executable, "-m", "bench.screens", watch.kind, str(watch.image), str(watch.memory)]
    with process(words) as child:
        yield child.pid, start, lambda: str(json.loads(ask(child, "look")))


@contextmanager
def qemu(watch: Watch) -> Iterator[tuple[int, float, Callable[[], str]]]:
    start = time.monotonic()
    floppy = watch.kind == "floppy"
    drive = f"file={watch.image},format=raw,snapshot=on," + ("if=floppy" if floppy else "if=ide,media=cdrom")
    words = [QEMU["amd64"][0], "-accel", "tcg", "-display", "none", "-no-reboot", "-net", "none", "-qmp", "stdio",
             "-m", f"{watch.memory >> 20}M", "-drive", drive, "-boot", "a" if floppy else "d"]
    with process(words) as child:
        assert child.stdout is not None
        child.stdout.readline()
        ask(child, json.dumps(GREETING))
        yield child.pid, start, lambda: shown(ask_monitor(child))


def ask_monitor(child: subprocess.Popen[str]) -> str:
    """The answer to the look; events that come between are passed over."""
    answer = json.loads(ask(child, json.dumps(LOOK)))
    while "return" not in answer:
        assert child.stdout is not None
        answer = json.loads(child.stdout.readline())
    return str(answer["return"])


def shown(dump: str) -> str:
    """The characters, row by row, of lines like `000b8000: 0x41 0x07 ...`."""
    cells = bytes(int(cell, 16) for cell in re.findall(r" 0x(\w\w)", dump))
    text = cells[::2].decode("cp437")
    return "\n".join(text[at:at + 80].rstrip() for at in range(0, len(text), 80))


def main(kind: str, image: str, memory: str) -> None:
    """Our side: a PC in this process, its screen told to whoever asks on standard input."""
    import threading

    from guesthouse.clock import RealClock
    from guesthouse.engine.build import engine
    from guesthouse.engine.soft import SoftVcpu
    from guesthouse.manager.building import code_folder, instruction_set
    from guesthouse.storage.disk import Memory
    from guesthouse.system.boards.attached import SECTOR_SIZES, Attached
    from guesthouse.system.boards.classic import ClassicPc
    from guesthouse.system.chips.vga import Text

    instructions = instruction_set("amd64")
    code = engine(instructions, code_folder())
    drive = Attached(kind, Memory(Path(image).read_bytes(), SECTOR_SIZES[kind]))
    board = ClassicPc(int(memory), RealClock(), lambda memory: SoftVcpu(instructions, code), drives=[drive])
    threading.Thread(target=board.run, daemon=True).start()
    for _ in sys.stdin:
        screen = board.screen()
        print(json.dumps("\n".join(screen.lines()) if isinstance(screen, Text) else ""), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
