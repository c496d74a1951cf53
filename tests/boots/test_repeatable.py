"""Two whole machines in one process, and runs in virtual time that are the same to the instruction.

Debian boots alone, and then twice at the same time in two threads: each run must have executed as many instructions
and printed the same bytes when the first line of user space appears. Nothing of a run may depend on the host's clock,
on addresses in this process, or on the other machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.errors import GuesthouseError
from guesthouse.images.catalogue import Catalogue, Guest, cache_folder
from guesthouse.manager.building import instruction_set
from guesthouse.system.boards.board import SLICE
from guesthouse.system.boards.outcome import Stopped
from guesthouse.system.boards.pc import PcBoard
from guesthouse.system.boards.virt import VirtBoard

pytestmark = [pytest.mark.boot, pytest.mark.slow]

BOARDS = {"amd64": PcBoard, "riscv64": VirtBoard}
FIRST_LINE = b"guesthouse: userland up"
EPOCH = 1_767_225_600  # 2026-01-01 00:00 UTC
AT_MOST = 4_000_000_000  # instructions to the first line of user space


@dataclass(frozen=True)
class Run:
    """What a boot came to."""

    instructions: int
    guest_time: int
    console: bytes


@pytest.fixture(scope="module", params=list(BOARDS))
def guest(request: pytest.FixtureRequest) -> Guest:
    try:
        return Catalogue().get("debian", str(request.param))
    except GuesthouseError as wrong:
        pytest.skip(f"no guest: {wrong}")


@pytest.fixture(scope="module")
def make(guest: Guest) -> Callable[..., Any]:
    """Makes boards with the guest loaded, all that is random or of a certain day fixed."""
    kind = instruction_set(guest.arch)
    code = engine(kind, cache_folder() / "code")

    def board(slice: int, **options: int) -> Any:
        made = BOARDS[guest.arch](256 << 20, VirtualClock(), lambda memory: SoftVcpu(kind, code), epoch=EPOCH,
                                  random_bytes=random.Random(0).randbytes, slice=slice, **options)
        made.load_linux(guest.kernel, guest.initrd, f"console=ttyS0 {guest.append} guesthouse.announce")
        return made

    return board


def boot(board: Any) -> Run:
    """Run to the first line of user space."""
    seen = bytearray()

    def listen(data: bytes) -> None:
        seen.extend(data)
        if FIRST_LINE in seen:
            board.stop()

    board.serial[0].output = listen
    try:
        outcome = board.run(instructions=AT_MOST)
        assert isinstance(outcome, Stopped), f"{outcome}: {bytes(seen[-2000:])!r}"
        return Run(board.count(), board.clock.now(), bytes(seen))
    finally:
        board.close()


def test_a_boot_in_virtual_time_is_the_same_alone_and_beside_another(make: Callable[..., Any]) -> None:
    alone = boot(make(SLICE))
    assert FIRST_LINE in alone.console and alone.instructions > 10_000_000
    with ThreadPoolExecutor(2) as threads:
        beside, other = threads.map(boot, [make(SLICE), make(SLICE)])
    assert (beside.instructions, beside.guest_time) == (alone.instructions, alone.guest_time)
    assert beside.console == alone.console
    assert other == beside


def test_it_does_not_matter_where_the_board_cuts_a_run_into_slices(make: Callable[..., Any]) -> None:
    assert boot(make(SLICE)) == boot(make(77_777))


def test_processors_that_take_turns_do_so_in_the_same_way_in_each_run(make: Callable[..., Any], guest: Guest) -> None:
    if guest.arch != "amd64":
        return  # one processor only
    first, second = boot(make(SLICE, cpus=2)), boot(make(77_777, cpus=2))
    assert first == second and b"smp: Brought up 1 node, 2 CPUs" in first.console
