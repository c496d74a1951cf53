import pytest

from guesthouse.system.chips.virtio.queue import Queue, QueueError
from tests.chips.virtio_driver import BUFFERS, DESCRIPTORS, INDIRECT, NEXT, WRITE, Driver, Refused


@pytest.fixture
def driver():
    return Driver()


@pytest.fixture
def queue(driver):
    queue = Queue(driver.memory, Refused, 8)
    driver.place(queue)
    return queue


def test_an_empty_queue_has_no_request(queue):
    assert queue.pop() is None


def test_a_request_is_a_chain_of_readable_then_writable_pieces(driver, queue):
    driver.memory.write(BUFFERS, b"hello")
    driver.describe(2, BUFFERS, 5, NEXT, 5)
    driver.describe(5, BUFFERS + 0x100, 4, WRITE | NEXT, 0)
    driver.describe(0, BUFFERS + 0x200, 4, WRITE)
    driver.offer(2)
    chain = queue.pop()
    assert (chain.head, chain.length, chain.room) == (2, 5, 8)
    assert queue.gather(chain, 100) == b"hello" and queue.gather(chain, 3) == b"hel"
    assert queue.scatter(chain, b"abcdef") == 6
    assert driver.memory.read(BUFFERS + 0x100, 4) == b"abcd"
    assert driver.memory.read(BUFFERS + 0x200, 3) == b"ef\0"
    queue.push(chain, 6)
    assert driver.used() == [(2, 6)] and queue.pop() is None


def test_an_indirect_table_is_followed(driver, queue):
    table = 0x5000
    driver.describe(0, table, 32, INDIRECT)
    driver.describe(0, BUFFERS, 3, NEXT, 1, table)
    driver.describe(1, BUFFERS + 8, 7, WRITE, 0, table)
    driver.offer(0)
    chain = queue.pop()
    assert (chain.head, chain.length, chain.room) == (0, 3, 7)


def test_the_indices_wrap(driver, queue):
    queue.last_available = queue.used = driver.index = 0xFFFF
    driver.describe(0, BUFFERS, 1, WRITE)
    driver.offer(0)
    queue.push(queue.pop(), 1)
    assert (queue.last_available, queue.used) == (0, 0) and queue.pop() is None


@pytest.mark.parametrize("wrong", [
    [(0, 0, 1, NEXT, 0)],  # a loop
    [(0, 0, 1, NEXT, 1), (1, 0, 1, NEXT, 0)],
    [(0, 0, 1, NEXT, 8)],  # beyond the table
    [(0, 0, 1, WRITE | NEXT, 1), (1, 0, 1, 0, 0)],  # readable after writable
    [(0, DESCRIPTORS, 16 * 8, INDIRECT | NEXT, 1)],
    [(0, DESCRIPTORS, 15, INDIRECT, 0)],
    [(0, DESCRIPTORS, 0, INDIRECT, 0)],
    [(0, DESCRIPTORS, 16 * 9, INDIRECT, 0)],
    [(0, DESCRIPTORS, 16 * 8, INDIRECT, 0)],  # a table that is its own table
    [(0, 0xFFFF_FFFF_FFFF_FFF0, 16, INDIRECT, 0)],
    [(0, 0, 0xFFFF_FFFF, NEXT, 1), (1, 0, 2, 0, 0)],  # more than 4 GiB
])
def test_hostile_descriptors_are_refused(driver, queue, wrong):
    for n, at, length, flags, following in wrong:
        driver.describe(n, at, length, flags, following)
    driver.offer(0)
    with pytest.raises(QueueError):
        queue.pop()


def test_more_requests_than_entries_are_refused(driver, queue):
    driver.index = 8
    driver.offer(0)
    with pytest.raises(QueueError, match="9 requests in a queue of 8"):
        queue.pop()


def test_a_head_beyond_the_table_is_refused(driver, queue):
    driver.offer(8)
    with pytest.raises(QueueError):
        queue.pop()


@pytest.mark.parametrize("area", ["driver", "descriptors", "device"])
def test_areas_outside_memory_are_refused(driver, queue, area):
    driver.describe(0, BUFFERS, 1, WRITE)
    driver.offer(0)
    setattr(queue, area, 1 << 60)
    with pytest.raises(QueueError, match="not memory"):
        queue.push(queue.pop(), 0)


def test_buffers_outside_memory_are_refused_when_they_are_used(driver, queue):
    driver.describe(0, 0xFFF0, 0x100, NEXT, 1)
    driver.describe(1, 0xFFF0, 0x100, WRITE)
    driver.offer(0)
    chain = queue.pop()
    with pytest.raises(QueueError):
        queue.gather(chain, 0x100)
    with pytest.raises(QueueError):
        queue.scatter(chain, bytes(0x100))


@pytest.mark.parametrize("size, taken", [(4, 4), (8, 8), (0, 8), (3, 8), (16, 8)])
def test_only_a_power_of_two_within_the_maximum_is_a_size(driver, size, taken):
    queue = Queue(driver.memory, Refused, 8)
    queue.set_size(size)
    assert queue.size == taken
