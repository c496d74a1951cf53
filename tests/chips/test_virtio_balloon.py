"""Virtio 1.2, section 5.5."""

import pytest

from guesthouse.system.chips.virtio.balloon import Balloon
from tests.chips.virtio_driver import BUFFERS, Driver, Refused


@pytest.fixture
def rig():
    driver, given, told = Driver(), [], []
    chip = Balloon(lambda address, size: given.append((address, size)))
    chip.attach(driver.memory, Refused, told.append)
    for queue in chip.queues:
        driver.place(queue)
    chip.status = 4
    return chip, driver, given, told


def test_pages_that_are_given_up_are_told_one_by_one(rig):
    chip, driver, given, _ = rig
    driver.memory.write(BUFFERS, b"".join(page.to_bytes(4, "little") for page in (3, 9)) + b"\7\7")
    driver.describe(0, BUFFERS, 10)
    driver.offer(0)
    chip.notify(0)
    assert given == [(3 * 4096, 4096), (9 * 4096, 4096)] and driver.used() == [(0, 0)]


def test_pages_that_are_taken_back_are_the_drivers_at_once(rig):
    chip, driver, given, _ = rig
    driver.describe(0, BUFFERS, 8)
    driver.offer(0)
    chip.notify(1)
    assert given == [] and driver.used() == [(0, 0)]


def test_the_hosts_wish_outlives_a_reset_and_is_told(rig):
    chip, _, _, told = rig
    chip.resize(1000)
    assert chip.read_configuration(0, 4) == 1000 and told[-1] is None and chip.interrupts & 2
    chip.set_status(0)
    assert chip.read_configuration(0, 4) == 1000 and chip.read_configuration(4, 4) == 0


def test_only_the_size_that_it_has_is_the_drivers_to_write(rig):
    chip = rig[0]
    chip.write_configuration(0, 4, 7)
    chip.write_configuration(4, 4, 5)
    assert (chip.read_configuration(0, 4), chip.read_configuration(4, 4)) == (0, 5)
