"""System management from end to end, on both chipsets: a program gives the mode a base and a handler in SMRAM, closes
that, and asks through port B2h; the handler answers in the saved registers (82441FX, 82371AB, 82Q35 and ICH9 data
sheets; SDM 3C, 32).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.outcome import PoweredOff
from tests.system.test_triple_fault import SECOND, boot  # noqa: F401

RELOCATE = "2e 66 c7 06 00ff 00000a00 0faa"  # mov dword [cs:FF00h], A0000h; rsm
ANSWER = (
    "2e fe06 0081"  # inc byte [cs:8100h]
    "2e 66 a1 f8ff 66 f7d0 2e 66 a3 f8ff"  # not dword [cs:FFF8h], the saved RAX
    "2e 66 0fb6 06 0081 2e 66 a3 e0ff 0faa"  # movzx eax, byte [cs:8100h]; mov [cs:FFE0h], eax: RBX; rsm
)
AT_RELOCATE, AT_ANSWER = 0x7D80, 0x7DC0
# pci(register, al): out CF8h, 8000xxxxh; out CFCh + n, al
PIIX = ("66 b8 580b0080 ba f80c 66 ef ba ff0c ec 0c02 ee",  # DEVACTB: APMC_EN
        "66 b8 70000080 ba f80c 66 ef b0 {:02x} ba fe0c ee")  # 72h, SMRAM
ICH = ("ba 3006 66 ed 0c21 66 ef",  # SMI_EN: APMC_EN, GBL_SMI_EN
       "66 b8 9c000080 ba f80c 66 ef b0 {:02x} ba fd0c ee")  # 9Dh, SMRAM
OPENED, CLOSED = 0x4A, 0x0A


def program(chipset: tuple[str, str]) -> str:
    enable, smram = chipset

    def copied(source: int, segment: int, text: str) -> str:
        size, at = len(bytes.fromhex(text)), (v.to_bytes(2, "little").hex() for v in (segment, source))
        return "b8 {} 8ec0 be {} 31ff b9 {:02x}00 f3a4".format(*at, size)

    return " ".join((
        "fa 31c0 8ed8 8ed0 bc 0070", copied(AT_RELOCATE, 0x3800, RELOCATE), enable, "e6b2",
        smram.format(OPENED), copied(AT_ANSWER, 0xA800, ANSWER), "26 c606 0001 00",  # byte [es:100h] = 0
        smram.format(CLOSED), "26 a0 0000 a2 0006",  # what the program sees of it: to 600h
        "66 b8 78563412 66 31db e6b2 66 a3 0406 66 891e 0806",  # eax = 12345678h; out B2h, al; eax, ebx: to 604h
        "66 b8 07000000 e6b2 66 a3 0c06 66 891e 1006 b000 e6f4 f4"))


@pytest.mark.parametrize("name, chipset", [("i440fx", PIIX), ("q35", ICH)])
def test_a_handler_in_closed_memory_answers_a_write_to_the_control_port(
    boot: Callable[..., ClassicPc], name: str, chipset: tuple[str, str],  # noqa: F811
) -> None:
    board = boot(program(chipset), parts={AT_RELOCATE: RELOCATE, AT_ANSWER: ANSWER}, chipset=name)
    assert board.run(20 * SECOND) == PoweredOff(1)
    seen = [int.from_bytes(board.memory.read(0x600 + n, 4), "little") for n in (0, 4, 8, 12, 16)]
    assert seen[1:] == [~0x12345678 & 0xFFFF_FFFF, 1, ~7 & 0xFFFF_FFFF, 2]
    assert seen[0] & 0xFF != 0x2E, "the handler cannot be read from outside"
    assert int(board.state.smbase) == 0xA0000 and board.state.smm == 0


def test_a_reset_in_the_mode_leaves_it(boot: Callable[..., ClassicPc]) -> None:  # noqa: F811
    """A handler that shuts the processor down: memory is as it is outside again, and the machine boots anew."""
    shut = "2e 0f01 1e 6000 cc 00"  # lidt [cs:60h], zeros; int3
    board = boot(program(PIIX), parts={AT_RELOCATE: RELOCATE, AT_ANSWER: shut})
    board.run(3 * SECOND)
    assert board.state.smm == 0 and board.bios.post.done and bytes(board.memory.read(0x7C00, 1)) == b"\xfa"
    assert int(board.state.smbase) in (0x30000, 0xA0000)
