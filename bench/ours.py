"""One side of a benchmark, run as a process of its own: a machine whose console goes to standard output.

Each line is followed by the number of instructions that the processor had executed when it came. A kernel for i386, or
a disk, needs the PC with all classic chips; other kernels get the machine that `guesthouse run` gives them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.sides import COUNT, DEVICES


def main(kernel: str, initrd: str, memory: str, append: str, arch: str, way: str, disk: str) -> None:
    """Boot and wait until the guest is off, or until we are killed."""
    if arch == "i386" or disk:
        classic(Path(kernel), Path(initrd), int(memory), append, way, disk)
    else:
        modern(kernel, initrd, int(memory), append, arch, way)


def modern(kernel: str, initrd: str, memory: int, append: str, arch: str, way: str) -> None:
    from guesthouse.manager import building
    from guesthouse.manager.config import config
    from guesthouse.manager.machine import Machine

    described = config("bench", memory=memory, kernel=kernel, initrd=initrd, append=append, arch=arch, way=way)
    machine = Machine(described, building.parts(described, "", building.silent))
    machine.console.listen(teller(lambda: int(machine.cpu[0].count())))
    with machine:
        machine.switch_on()
        machine.wait()


def classic(kernel: Path, initrd: Path, memory: int, append: str, way: str, disk: str) -> None:
    """The disk, if there is one, is on both buses; what is written there goes into overlays."""
    from guesthouse.clock import RealClock
    from guesthouse.engine.build import engine
    from guesthouse.engine.soft import SoftVcpu
    from guesthouse.manager.building import code_folder, instruction_set
    from guesthouse.storage.disk import open_disk
    from guesthouse.system.boards.attached import Attached
    from guesthouse.system.boards.classic import ClassicPc

    kind = instruction_set("amd64")
    code = engine(kind, code_folder())
    drives = [Attached("disk", open_disk(Path(disk)), bus=bus) for bus in DEVICES] if disk else []
    board = ClassicPc(memory, RealClock(), lambda memory: SoftVcpu(kind, code, way == "hot"), drives=drives)
    board.serial[0].output = teller(lambda: int(board.vcpu.count))
    with closing(board):
        board.load_linux(kernel, initrd, f"console=ttyS0 {append}")
        board.run()


def teller(count: Callable[[], int]) -> Callable[[bytes], None]:
    """Writes what it is given, line by line, each with the count."""
    begun = bytearray()

    def heard(data: bytes) -> None:
        begun.extend(data)
        while (end := begun.find(b"\n")) >= 0:
            os.write(1, begun[:end].rstrip(b"\r") + f"{COUNT}{count()}\n".encode())
            del begun[:end + 1]

    return heard


if __name__ == "__main__":
    main(*sys.argv[1:])
