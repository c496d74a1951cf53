"""82540EM: Software Developer's Manual 317453, chapters 3 and 13."""

import struct

import pytest

from guesthouse.system.chips.e1000.registers import E1000
from tests.chips.virtio_driver import Memory, Refused

ADDRESS = bytes.fromhex("525400123456")
CONTROL, STATUS, EERD, MDIC, CAUSE, MASK, RECEIVE, TRANSMIT = 0x00, 0x08, 0x14, 0x20, 0xC0, 0xD0, 0x100, 0x400
RX, TX, RINGS, BUFFERS = 0x2800, 0x3800, 0x1000, 0x4000
BASE, LENGTH, HEAD, TAIL = 0x00, 0x08, 0x10, 0x18


class Rig:
    def __init__(self, wire=True):
        self.memory, self.sent, self.level = Memory(), [], []
        self.chip = E1000(self.memory, ADDRESS, self.level.append, self.sent.append if wire else None, refused=Refused)
        for register, value in ((RX + BASE, RINGS), (RX + LENGTH, 128), (TX + BASE, RINGS + 0x800), (TX + LENGTH, 128),
                                (RECEIVE, 1 << 1 | 1 << 15), (TRANSMIT, 1 << 1), (MASK, 0xFFFF_FFFF)):
            self.put(register, value)

    def get(self, register):
        return self.chip.read(register, 4)

    def put(self, register, value):
        self.chip.write(register, 4, value)

    def phy(self, register):
        self.put(MDIC, 2 << 26 | 1 << 21 | register << 16)
        return self.get(MDIC) & 0xFFFF


@pytest.fixture
def rig():
    return Rig()


def test_the_eeprom_has_the_address_and_a_right_sum(rig):
    words = []
    for n in range(64):
        rig.put(EERD, n << 8 | 1)
        assert rig.get(EERD) & 0x10
        words.append(rig.get(EERD) >> 16)
    assert struct.pack("<3H", *words[:3]) == ADDRESS and sum(words) & 0xFFFF == 0xBABA


def test_the_address_is_in_the_first_filter_after_a_reset(rig):
    rig.put(CONTROL, 1 << 26)
    assert struct.pack("<II", rig.get(0x5400), rig.get(0x5404))[:6] == ADDRESS and rig.get(0x5404) >> 31


def test_the_link_is_up_if_somebody_is_there(rig):
    assert rig.phy(2) == 0x0141 and Rig(wire=False).get(STATUS) & 2 == 0


def test_a_frame_of_two_descriptors_goes_out_as_one_and_the_head_follows(rig):
    rig.memory.write(BUFFERS, bytes(range(100)))
    rig.memory.write(RINGS + 0x800, struct.pack("<QHBBI", BUFFERS, 60, 0, 0, 0))
    rig.memory.write(RINGS + 0x810, struct.pack("<QHBBI", BUFFERS + 60, 40, 0, 9, 0))
    rig.put(TX + TAIL, 2)
    assert rig.sent == [bytes(range(100))] and rig.get(TX + HEAD) == 2
    assert [rig.memory.read(RINGS + 0x80C + 16 * n, 1)[0] & 1 for n in (0, 1)] == [0, 1]  # only who asks for a report


def test_reading_the_cause_acknowledges_it(rig):
    rig.memory.write(RINGS + 0x800, struct.pack("<QHBBI", BUFFERS, 60, 0, 9, 0))
    rig.put(TX + TAIL, 1)
    assert rig.level[-1] and rig.get(CAUSE) & 1 and not rig.level[-1] and rig.get(CAUSE) == 0


def test_a_frame_comes_in_where_the_driver_has_put_a_buffer(rig):
    rig.memory.write(RINGS, struct.pack("<QQ", BUFFERS, 0))
    assert not rig.chip.receive(ADDRESS + bytes(60))
    rig.put(RX + TAIL, 1)
    assert rig.chip.receive(ADDRESS + bytes(60)) and rig.memory.read(BUFFERS, 6) == ADDRESS
    assert rig.memory.read(RINGS + 12, 1)[0] & 3 == 3 and rig.get(RX + HEAD) == 1


@pytest.mark.parametrize("to, extra, taken", [
    (b"\xFF" * 6, 0, True), (b"\x02" * 6, 0, False), (b"\x02" * 6, 1 << 3, True)])
def test_who_is_heard_is_as_the_receive_control_says(rig, to, extra, taken):
    rig.put(RECEIVE, 1 << 1 | 1 << 15 | extra)
    rig.memory.write(RINGS, struct.pack("<QQ", BUFFERS, 0))
    rig.put(RX + TAIL, 1)
    assert bool(rig.chip.receive(to + bytes(60))) is taken


def test_a_ring_outside_memory_harms_nobody(rig):
    rig.put(TX + BASE, 0xFFFF_FFF0)
    rig.put(TX + TAIL, 1)
    assert rig.sent == []
