"""A processor that shuts down, in a PC with firmware: the chipset has it begin anew, and firmware looks at the CMOS for
where to go on, as programs made for the 286 want it (IBM PC/AT technical reference, BIOS listing, shutdown codes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.manager.building import code_folder
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import Died, OutOfTime, PoweredOff
from guesthouse.system.boards.pc import DEBUG_EXIT_PORT
from guesthouse.system.cpu.x86.guest import X86_GUEST
from tests.x86.ours import compiled

MIB, SECOND = 1 << 20, 1_000_000_000
END = DEBUG_EXIT_PORT
# mov al, 0Fh | out 70h, al | mov al, code | out 71h, al; then [0:467h] = 0:7D00h, and 41h to port E9h
PREPARE = "fa 31c0 8ed8 b00f e670 b0{code:02x} e671 c7066704007d c70669040000 b041 e6e9"
TRIPLE = "0f011e707c cc"  # lidt [7C70h], which holds zeros; int3
BY_KEYBOARD = "b0fe e664 f4"
RESUMED = "b042 e6e9 b000 e6f4 f4"  # 42h to port E9h, then the end


@pytest.fixture
def boot() -> Iterator[Callable[..., ClassicPc]]:
    made: list[ClassicPc] = []

    def make(code: str, at_7d00: str = RESUMED, parts: dict[int, str] | None = None, **options: Any) -> ClassicPc:
        """A boot sector: code at its beginning, and at these addresses."""
        sector = bytearray(1440 * 1024)
        for at, text in ({0x7C00: code} | (parts or {0x7D00: at_7d00})).items():
            sector[at - 0x7C00:at - 0x7C00 + len(bytes.fromhex(text))] = bytes.fromhex(text)
        sector[510:512] = b"\x55\xaa"
        engine = compiled(code_folder())
        board = ClassicPc(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST, engine),
                          drives=[Attached("floppy", Memory(sector, 512, True))], random_bytes=bytes, **options)
        board.add_test_devices()
        made.append(board)
        return board

    yield make
    for board in made:
        board.close()


@pytest.mark.parametrize("how", [TRIPLE, BY_KEYBOARD], ids=["triple fault", "keyboard controller"])
@pytest.mark.parametrize("code", [0x05, 0x0A])
def test_a_shutdown_code_leads_back_to_the_program(boot: Callable[..., ClassicPc], code: int, how: str) -> None:
    board = boot(PREPARE.format(code=code) + how)
    assert board.run(20 * SECOND) == PoweredOff(1)
    assert bytes(board.debug).endswith(b"AB") and board.debug.count(b"A") == 1
    board.rtc.write(0, 1, 0x0F)
    assert int(board.state.cr0) & 1 == 0 and board.rtc.read(1, 1) == 0


def test_without_one_the_machine_boots_anew_with_its_memory(boot: Callable[..., ClassicPc]) -> None:
    """The boot sector counts its starts at 600h, and ends at the third."""
    count = "fa 31c0 8ed8 b041 e6e9 fe060006 803e000603 7506 b000 e6f4 f4 90"
    board = boot(count + TRIPLE)
    assert board.run(60 * SECOND) == PoweredOff(1)
    assert bytes(board.debug).endswith(b"AAA")


def test_all_processors_are_reset_and_the_others_wait_to_be_started(boot: Callable[..., ClassicPc]) -> None:
    board = boot(PREPARE.format(code=0x0A) + TRIPLE, cpus=2)
    board.cores[1].parked = False
    assert board.run(20 * SECOND) == PoweredOff(1)
    assert board.cores[1].parked and not board.cores[0].parked


def test_interrupts_of_the_8259_come_through_after_it(boot: Callable[..., ClassicPc]) -> None:
    """The chips are as they were: the timer's interrupt wakes the program."""
    board = boot(PREPARE.format(code=0x05) + TRIPLE, "fb f4 b042 e6e9 b000 e6f4")
    assert board.run(20 * SECOND) == PoweredOff(1) and bytes(board.debug).endswith(b"AB")


def test_what_a_board_cannot_explain_still_ends_it(boot: Callable[..., ClassicPc]) -> None:
    board = boot("fa f4")
    assert isinstance(board.run(20 * SECOND), Died | OutOfTime)
