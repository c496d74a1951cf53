"""One side of a benchmark, run as a process of its own: a machine whose console goes to standard output.

Each line is followed by the number of instructions that the processor had executed when it came.
"""

from __future__ import annotations

import os
import sys

from bench.sides import COUNT


def main(kernel: str, initrd: str, memory: str, append: str, arch: str, way: str) -> None:
    """Boot and wait until the guest is off, or until we are killed."""
    from guesthouse.manager import building
    from guesthouse.manager.config import config
    from guesthouse.manager.machine import Machine

    described = config("bench", memory=int(memory), kernel=kernel, initrd=initrd, append=append, arch=arch, way=way)
    machine = Machine(described, building.parts(described, "", building.silent))
    begun = bytearray()

    def heard(data: bytes) -> None:
        begun.extend(data)
        while (end := begun.find(b"\n")) >= 0:
            os.write(1, begun[:end].rstrip(b"\r") + f"{COUNT}{machine.cpu[0].count()}\n".encode())
            del begun[:end + 1]

    machine.console.listen(heard)
    with machine:
        machine.switch_on()
        machine.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
