import pytest

from guesthouse.system.chips.fw_cfg import FwCfg
from tests.chips.virtio_driver import Memory, Refused


@pytest.fixture
def chip():
    made = FwCfg(Memory(), refused=Refused)
    made.add_file("etc/system-states", b"states")
    made.add_file("bootorder", b"disk\0")
    return made


def item(chip, key, count):
    chip.write(0, 2, key)
    return bytes(chip.read(1, 1) for _ in range(count))


def dma(chip, control, length, address, at=0x100):
    chip.memory.write(at, control.to_bytes(4, "big") + length.to_bytes(4, "big") + address.to_bytes(8, "big"))
    chip.write(4, 4, 0)
    chip.write(8, 4, int.from_bytes(at.to_bytes(4, "little"), "big"))
    return int.from_bytes(chip.memory.read(at, 4), "big")


def test_items_are_read_byte_by_byte_and_end_in_zeros(chip):
    assert item(chip, 0, 6) == b"QEMU\0\0" and item(chip, 1, 4) == b"\3\0\0\0"


def test_the_directory_names_each_file_with_its_size_and_number(chip):
    found = item(chip, 0x19, 4 + 2 * 64)
    assert found[:4] == b"\0\0\0\2" and found[4:10] == b"\0\0\0\5\0\x21" and found[12:21] == b"bootorder"
    assert item(chip, 0x20, 6) == b"states"


def test_a_file_is_read_by_dma_in_parts(chip):
    assert dma(chip, 0x20 << 16 | 0x0A, 2, 0x1000) == 0
    assert dma(chip, 4, 1, 0) == 0
    assert dma(chip, 2, 5, 0x1002) == 0
    assert chip.memory.read(0x1000, 7) == b"sttes\0\0"


def test_a_request_outside_memory_fails(chip):
    assert dma(chip, 2, 4, 0xFFFF_FFFF) == 1 and dma(chip, 2, 0xFFFF_FFFF, 0) == 1 and dma(chip, 0x10, 4, 0) == 1
    chip.write(8, 4, 0xFFFF_FFFF)


def test_dma_announces_itself(chip):
    assert chip.read(4, 4).to_bytes(4, "little") + chip.read(8, 4).to_bytes(4, "little") == b"QEMU CFG"
