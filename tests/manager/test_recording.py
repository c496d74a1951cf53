from __future__ import annotations

import os
import wave
from pathlib import Path

import pytest

from guesthouse.errors import UserError
from guesthouse.manager.recording import Recording, Sound
from guesthouse.storage.disk import open_disk


def test_a_recording_is_appended_to_and_ends_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "printed"
    for _ in range(2):
        made = Recording(path, 10)
        made.write(b"1234")
        made.write(b"56789")
        made.close()
    assert path.read_bytes() == b"1234567891"


def test_a_sound_is_a_wave_file_at_every_moment_and_ends_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    made = Sound(path, 10)
    for length in (0, 4, 8, 10):
        with wave.open(str(path)) as found:
            assert (found.getnframes(), found.getframerate(), found.getsampwidth()) == (length, 22_050, 1)
        made.write(bytes(4))
    made.close()


def test_a_place_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    for kind in (Recording, Sound):
        with pytest.raises(UserError, match="cannot be written"):
            kind(tmp_path / "nowhere" / "file")


def test_a_full_disk_is_no_matter_to_the_guest() -> None:
    made = Recording(Path("/dev/full"))
    made.write(b"lost")
    made.close()


def test_a_disk_of_a_machine_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(b"a disk" * 512)
    disk = open_disk(path)
    for kind in (Recording, Sound):
        with pytest.raises(UserError, match="in use by another machine or drive"):
            kind(path)
    disk.close()
    assert path.read_bytes() == b"a disk" * 512


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for kind in (Recording, Sound):
        with pytest.raises(UserError, match="cannot be written"):
            kind(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    made = Recording(path)
    for _ in range(3):
        made.write(bytes(1 << 16))  # a pipe holds one of them
    assert len(os.read(reader, 1 << 20)) == 1 << 16
    made.write(b"heard again")
    assert os.read(reader, 100) == b"heard again"
    made.close()
    with pytest.raises(UserError, match="cannot be written"):
        Sound(path)
    os.close(reader)
