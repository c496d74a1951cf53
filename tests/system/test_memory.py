import ctypes
import subprocess
import sys

import pytest

from guesthouse.bits import u64
from guesthouse.engine.sharing import Sharing
from guesthouse.errors import UserError
from guesthouse.system.memory import PAGE, AddressMap, Memory, OutsideRam

LOW, HIGH = 4 * PAGE, 1 << 32


@pytest.fixture
def memory():
    made = Memory([(0, LOW), (HIGH, 2 * PAGE)])
    yield made
    made.close()


def test_ranges_are_one_mapping_in_their_order(memory):
    memory.write(LOW - 1, b"a")
    memory.write(HIGH, b"b")
    assert ctypes.string_at(memory.host + LOW - 1, 2) == b"ab"


@pytest.mark.parametrize("address, count", [(LOW - 1, 2), (LOW, 1), (HIGH - 1, 1), (HIGH + 2 * PAGE - 3, 4),
                                            (-1, 1), (0, -1), (1 << 64, 8), (0, 1 << 70)])
def test_what_is_not_wholly_ram_is_refused_and_nothing_changes(memory, address, count):
    before = memory.read(0, LOW)
    with pytest.raises(OutsideRam):
        memory.read(address, count)
    if 0 <= count < 100:
        with pytest.raises(OutsideRam):
            memory.write(address, b"x" * count)
    assert memory.read(0, LOW) == before and not memory.contains(address, count)


def test_adjacent_ranges_can_be_crossed():
    memory = Memory([(0, PAGE), (PAGE, PAGE)])
    memory.write(PAGE - 2, b"abcd")
    assert memory.read(PAGE - 2, 4) == b"abcd"
    memory.close()


def test_ram_begins_with_zeros_and_costs_the_host_little():
    memory = Memory([(0, 8 << 30)])
    assert memory.read(5 << 30, 16) == bytes(16)
    memory.close()


def test_absurd_sizes_are_a_message():
    with pytest.raises(UserError, match="less memory"):
        Memory([(0, 1 << 62)])


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is a POSIX notion")
@pytest.mark.parametrize("where", ["memory.host - 1", "memory.host + memory.size", "memory.host - 65536"])
def test_guards_stop_what_reaches_beyond(where):
    program = f"import ctypes; from guesthouse.system.memory import Memory; memory = Memory([(0, 4096)]); " \
              f"ctypes.string_at({where}, 1)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0


def test_a_cpu_sees_each_range_and_rom_as_read_only(memory):
    memory.protect(PAGE, PAGE)
    cpu = Sharing.new()
    memory.install(cpu)
    assert [int(cpu.host(u64(a))) - memory.host for a in (0, PAGE, 2 * PAGE + 5, HIGH)] \
        == [0, PAGE, 2 * PAGE + 5, LOW]
    assert cpu.host(u64(LOW)) == 0 and cpu.host(u64(HIGH + 2 * PAGE)) == 0
    assert cpu.host_to_write(u64(PAGE)) == 0 and cpu.host_to_write(u64(2 * PAGE)) != 0
    assert int(cpu.ram_pages) == 6 and int(cpu.page_of(u64(memory.host + LOW))) == 4


def test_what_lies_where_can_change_and_processors_and_python_see_the_same():
    memory = Memory([(0, 4 * PAGE)], hidden=2 * PAGE)
    cpu = Sharing.new()
    memory.install(cpu)
    for n in range(6):
        memory.slice(n * PAGE, 1)[0] = 0x10 + n
    memory.map(PAGE, 2 * PAGE, memory.hidden, writable=False)
    memory.map(3 * PAGE, PAGE, None)
    assert [memory.read(n * PAGE, 1)[0] for n in range(3)] == [0x10, 0x14, 0x15] and not memory.contains(3 * PAGE)
    assert [bool(cpu.host(u64(n * PAGE))) for n in range(4)] == [True, True, True, False]
    assert int(cpu.host(u64(2 * PAGE))) == memory.host + 5 * PAGE and cpu.host_to_write(u64(2 * PAGE)) == 0
    before = int(cpu.flushes)
    memory.map(PAGE, 3 * PAGE, PAGE)
    assert memory.read(0, 4 * PAGE)[PAGE] == 0x11 and len(memory.ranges) == 1 and int(cpu.flushes) == before + 1
    memory.map(PAGE, 3 * PAGE, PAGE)
    assert int(cpu.flushes) == before + 1, "nothing has changed"
    memory.close()


@pytest.mark.parametrize("start, length, offset", [(1, PAGE, 0), (0, 0, 0), (0, PAGE, 1), (0, 5 * PAGE, 0),
                                                   (0, PAGE, 9 * PAGE)])
def test_only_whole_pages_of_the_mapping_can_be_placed(memory, start, length, offset):
    with pytest.raises(ValueError):
        memory.map(start, length, offset if length < 5 * PAGE else 2 * PAGE)


def test_writes_tell_which_pages_with_code_change(memory):
    told = []
    cpu = Sharing.new()
    memory.install(cpu, told.append)
    cpu.holders[2] = cpu.holders[4] = u64(1)
    memory.write(0, bytes(2 * PAGE))
    assert told == []
    memory.write(2 * PAGE - 1, b"ab")
    memory.fill(HIGH, 1)
    assert told == [memory.host + 2 * PAGE, memory.host + 4 * PAGE]


def test_a_closed_memory_has_no_ram_left(memory):
    cpu = Sharing.new()
    memory.install(cpu)
    memory.close()
    with pytest.raises(OutsideRam):
        memory.read(0, 1)
    memory.close()


def access(offset, size):
    return offset


def nothing(offset, size, value):
    pass


def test_an_address_belongs_to_the_range_around_it():
    ports = AddressMap("ports", 0x10000)
    uart, rtc = ports.add(0x3F8, 8, access, nothing, "uart"), ports.add(0x70, 2, access, nothing, "rtc")
    assert [ports.find(a) for a in (0x3F7, 0x3F8, 0x3FF, 0x400, 0x70, 0x71, 0x72, 0)] \
        == [None, uart, uart, None, rtc, rtc, None, None]
    ports.remove(uart)
    assert ports.find(0x3F8) is None and ports.find(0x70) is rtc


@pytest.mark.parametrize("start, length", [(0x3F0, 9), (0x3FF, 1), (0x3FA, 2), (0, 0x10000), (0xFFFF, 2),
                                           (-1, 1), (9, 0)])
def test_overlap_and_nonsense_are_refused(start, length):
    ports = AddressMap("ports", 0x10000)
    ports.add(0x3F8, 8, access, nothing, "uart")
    with pytest.raises(ValueError):
        ports.add(start, length, access, nothing, "other")


def test_a_guest_that_touches_every_address_fills_no_host_memory():
    space = AddressMap("addresses", 1 << 64)
    space.add(0, 1 << 40, access, nothing, "wide")
    for address in range(3 * AddressMap.SEEN):
        space.find(address)
    assert len(space._seen) <= AddressMap.SEEN
