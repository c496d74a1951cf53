"""Whatever a kernel file holds and whatever a guest executes, the host survives: no traceback, no crash, no
hang.

Guests run in a child process, so that a crash is seen as one. GUESTHOUSE_RANDOM=n: n times as many, from
seed GUESTHOUSE_SEED on.
"""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from guesthouse.bits import u64
from guesthouse.clock import VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import MemoryWrite
from guesthouse.errors import UserError
from guesthouse.manager.building import code_folder
from guesthouse.system.boards.pc import PcBoard
from guesthouse.system.boards.virt import VirtBoard
from guesthouse.system.cpu.riscv.guest import RISCV
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.memory import Memory
from tests.fuzz.hostile import bzimage, riscv_image
from tests.system.elves import executable

TIMES = int(os.environ.get("GUESTHOUSE_RANDOM", "1"))
FIRST = int(os.environ.get("GUESTHOUSE_SEED", "0"))
ROOT = Path(__file__).parents[2]
PVH_NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x10_0000)


@pytest.mark.parametrize("kind, boards", [("pc", 80), ("virt", 60)])
def test_random_code_on_a_real_board_ends_as_a_run_of_it_can_end(kind: str, boards: int) -> None:
    engine({"pc": X86_GUEST, "virt": RISCV}[kind], code_folder())  # so that the child need not take the time
    command = [sys.executable, "-m", "tests.fuzz.hostile", kind, str(FIRST), str(boards * TIMES)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240 + 60 * TIMES)
    except subprocess.TimeoutExpired as hangs:
        pytest.fail(f"it hangs after: {hangs.stdout!r}")
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-6000:]}"
    assert done.stdout.count("\n") == boards * TIMES


def mutated(chance: random.Random, good: bytes) -> bytes:
    """A file that was good: cut off, with other bytes or fields, or with a piece missing."""
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(min(len(data), chance.choice((64, 0x270, len(data))))) if data else 0
        kind = chance.randrange(5)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at:at + 1] = chance.randbytes(1)
        elif kind == 2:
            size = chance.choice((2, 4, 8))
            edge = chance.choice((0, 1, 0x7F, (1 << 8 * size) - 1, 1 << 8 * size - 1, 0x1000, len(data)))
            data[at & -size:(at & -size) + size] = (edge & (1 << 8 * size) - 1).to_bytes(size, "little")
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randrange(20))
        else:
            del data[at:at + chance.randrange(20)]
    return bytes(data)


def kernels(chance: random.Random) -> list[bytes]:
    code = chance.randbytes(600)
    wide = chance.random() < 0.5
    image = riscv_image(chance, code)
    packed = gzip.compress(image)
    zboot = b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + bytes(8) + b"gzip".ljust(40, b"\0") + packed
    pvh = executable(62 if wide else 3, 0x10_0000, code, notes=PVH_NOTE, wide=wide)
    return [bzimage(chance, code), pvh, image,
            executable(243, 0x8000_0000, code, symbols={"tohost": 0x8000_0100}), packed, zboot, b"",
            code]


@pytest.mark.parametrize("kind", ["pc", "virt"])
def test_a_file_that_is_no_kernel_is_refused_in_one_sentence(kind: str) -> None:
    chance, refused, taken = random.Random(FIRST), 0, 0
    for _ in range(60 * TIMES):
        for good in kernels(chance):
            made = board(kind)
            doors = ("load_linux", "load_elf") + ("load_firmware",) * (kind == "virt")
            load = getattr(made, chance.choice(doors))
            bad = mutated(chance, good)
            arguments = (good,) if load.__name__ == "load_firmware" else ()
            try:
                load(bad, *arguments)
                taken += 1
            except UserError as why:
                refused += 1
                assert str(why)
            finally:
                made.close()
    assert refused and taken


@pytest.mark.parametrize("way", ["plain", "threaded"])
def test_an_instruction_that_reads_and_writes_cannot_write_rom(way: str) -> None:
    ram, rom = 0x8000_0000, 0x8000_1000
    memory = Memory([(ram, 0x2000)])
    memory.protect(rom, 0x1000)
    memory.write(ram, (0x0062_A02F).to_bytes(4, "little"))  # amoadd.w zero, t1, (t0)
    hart = SoftVcpu(RISCV, engine(RISCV, code_folder()) if way == "threaded" else None)
    memory.install(hart.state)
    hart.state.reset(ram)
    hart.state.x[5], hart.state.x[6] = u64(rom), u64(7)
    assert hart.run(1) == MemoryWrite(rom, 4, 7)
    assert memory.read(rom, 4) == bytes(4)
    memory.close()


def board(kind: str) -> PcBoard | VirtBoard:
    if kind == "pc":
        return PcBoard(8 << 20, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST))
    return VirtBoard(8 << 20, VirtualClock(), lambda memory: SoftVcpu(RISCV))
