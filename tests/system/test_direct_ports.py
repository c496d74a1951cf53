"""Chips whose registers compiled processors use themselves: what a program moves through ports arrives once and whole,
however often an instruction had to be run again, and next to nothing of it is an exit.
"""

import pytest

from tests.boots.computer import Computer, drive

SENT, SECTORS, TO, AT = 1536, 3, 10, 0x8000


def registers(lba: int, command: int) -> bytes:
    """OUT to 1F2h to 1F7h (ATA/ATAPI-6, 9.1 and 9.2): sectors, an address, a command."""
    values = SECTORS, lba, 0, 0, 0xE0, command
    return bytes.fromhex("BA F1 01") + b"".join(bytes((0x42, 0xB0, value, 0xEE)) for value in values)


def blocks(move: str) -> bytes:
    """For each sector: the status is read, then 256 words move."""
    turn = bytes.fromhex("BA F7 01 EC BA F0 01 B9 00 01 F3") + bytes.fromhex(move) + b"\x4B"
    return bytes.fromhex("BE 00 80 BF 00 80 BB") + SECTORS.to_bytes(2, "little") + turn + bytes((0x75, 254 - len(turn)))


CODE = (bytes.fromhex("FA 31C0 8ED8 8EC0 8ED0 BC0070 FC") + registers(1, 0x20) + blocks("6D") + registers(TO, 0x30)
        + blocks("6F") + bytes.fromhex("BE 00 80 B9 00 06 BA F8 03 AC EE E2 FC EB FE"))
DATA = bytes(n * 7 + n // 256 & 0xFF for n in range(SENT))


@pytest.mark.parametrize("way", ["threaded", "hot"])
def test_sectors_move_through_the_data_port_and_bytes_through_a_uart(way: str) -> None:
    hard = drive("disk", CODE.ljust(510, b"\0") + b"\x55\xAA" + DATA + bytes(64 << 9))
    computer = Computer([hard], boot="c", way=way)
    computer.wait_for(lambda text: len(text) >= SENT, where=lambda: computer.said.decode("latin-1"))
    assert bytes(computer.said) == DATA == hard.read(TO, SECTORS)
    uses = computer.board.statistics()
    assert uses["ports.ide0"] < 60 and uses["ports.uart0"] < 60, "words and bytes were exits"
    computer.board.close()
