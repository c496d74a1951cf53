"""Disks: files, memory and overlays behave alike, refuse what is outside, and a file changes only when
asked.
"""

from __future__ import annotations

import errno
import os
import random

import pytest

from guesthouse.errors import UserError
from guesthouse.storage import overlay
from guesthouse.storage.disk import Memory, MediumError, RawFile, open_disk
from guesthouse.storage.overlay import Overlay

DATA = bytes(n % 251 for n in range(64 * 512))


@pytest.fixture(params=["memory", "persist", "overlay"])
def disk(request, image):
    made = (
        Memory(DATA)
        if request.param == "memory"
        else open_disk(image(DATA), persist=request.param == "persist")
    )
    yield made
    made.close()


def test_what_is_written_is_read(disk):
    disk.write(3, b"x" * 1024)
    disk.flush()
    assert disk.read(2, 4) == DATA[1024:1536] + b"x" * 1024 + DATA[2560:3072]


@pytest.mark.parametrize("lba, count", [(64, 1), (63, 2), (-1, 1), (0, -1), (1 << 62, 1), (0, 1 << 62)])
def test_sectors_outside_are_refused_not_clipped(disk, lba, count):
    with pytest.raises(MediumError) as refused:
        disk.read(lba, count)
    assert refused.value.errno == errno.EINVAL
    if 0 < count < 9:
        with pytest.raises(MediumError):
            disk.write(lba, bytes(512 * count))


def test_a_part_of_a_sector_is_refused(disk):
    with pytest.raises(MediumError):
        disk.write(0, bytes(511))


def test_a_disk_that_was_not_opened_for_writing_refuses(image):
    with pytest.raises(MediumError) as refused:
        RawFile(image(DATA)).write(0, bytes(512))
    assert refused.value.errno == errno.EROFS


def test_an_overlay_leaves_the_file_alone(image):
    disk = open_disk(image(DATA))
    disk.write(0, bytes(512 * 64))
    disk.close()
    assert disk.below.path.read_bytes() == DATA


def test_persist_writes_the_file(image):
    disk = open_disk(image(DATA), persist=True)
    disk.write(63, b"z" * 512)
    disk.close()
    assert disk.path.read_bytes() == DATA[:-512] + b"z" * 512


def test_two_may_read_a_file_but_whoever_writes_is_alone(image):
    path = image(DATA)
    first, second = open_disk(path), open_disk(path)
    with pytest.raises(UserError, match="in use"):
        open_disk(path, persist=True)
    first.close()
    second.close()
    writer = open_disk(path, persist=True)
    with pytest.raises(UserError, match="in use"):
        open_disk(path)
    writer.close()
    open_disk(path).close()


def test_a_refused_disk_leaves_no_open_file(image):
    writer, before = open_disk(image(DATA), persist=True), len(os.listdir("/proc/self/fd"))
    with pytest.raises(UserError):
        open_disk(writer.path, persist=True)
    assert len(os.listdir("/proc/self/fd")) == before
    writer.close()


def test_an_incomplete_last_sector_reads_as_zeros_and_cannot_be_persisted(image):
    path = image(DATA[:700])
    disk = open_disk(path)
    assert disk.sectors == 2 and disk.read(1) == DATA[512:700] + bytes(512 - 188)
    disk.close()
    with pytest.raises(UserError, match="whole sectors"):
        open_disk(path, persist=True)


def test_an_overlay_is_bounded(image):
    disk = open_disk(image(DATA), limit=2 * 512)
    disk.write(5, bytes(1024))
    disk.write(5, b"y" * 1024)
    with pytest.raises(MediumError) as refused:
        disk.write(7, bytes(512))
    assert refused.value.errno == errno.ENOSPC and disk.dirty == 2 and disk.read(7) == DATA[3584:4096]
    disk.close()


def test_an_overlay_of_a_large_disk_takes_room_for_what_was_written_only(image, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    disk = open_disk(path)
    for lba in (0, 1 << 30, (1 << 31) - 1):
        disk.write(lba, b"q" * 512)
        assert disk.read(lba) == b"q" * 512
    assert disk.read((1 << 31) - 3, 3) == bytes(1024) + b"q" * 512 and disk.dirty == 3
    assert os.fstat(disk._file.fileno()).st_blocks * 512 < 1 << 20
    disk.close()


def test_an_overlays_state_puts_it_back_and_discard_forgets(image):
    disk = Overlay(Memory(DATA))
    disk.write(9, b"q" * 512)
    state = disk.state()
    disk.discard()
    assert disk.read(9) == DATA[9 * 512 : 10 * 512]
    disk.restore(state)
    assert disk.read(9) == b"q" * 512 and disk.dirty == 1


@pytest.mark.parametrize("in_memory, chart", [(0, 1 << 15), (0, 5), (1 << 22, 1 << 15), (1 << 22, 7)])
def test_random_traffic_reads_as_from_memory(monkeypatch, in_memory, chart):
    """Fuzz: an overlay against a plain disk, in memory and in its file, with marks in one piece and in several."""
    monkeypatch.setattr(overlay, "IN_MEMORY", in_memory)
    monkeypatch.setattr(overlay, "CHART", chart)
    chance, plain, over = random.Random(in_memory), Memory(DATA), Overlay(Memory(DATA))
    for _ in range(3000):
        lba = chance.randrange(64)
        count = chance.randint(0, 64 - lba)
        if chance.random() < 0.3:
            data = chance.randbytes(512 * min(count, 5))
            plain.write(lba, data)
            over.write(lba, data)
        assert over.read(lba, count) == plain.read(lba, count)
    over.close()


def test_a_file_that_may_not_be_written_can_still_be_run(image, monkeypatch):
    file, really = image(DATA), os.open

    def refusing(path, flags, *rest, **more):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(UserError, match="cannot be written: Permission denied.\nCheck .* run without --persist"):
        open_disk(file, persist=True)
    open_disk(file).close()
