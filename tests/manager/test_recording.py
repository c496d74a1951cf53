from __future__ import annotations

import wave
from pathlib import Path

import pytest

from guesthouse.errors import UserError
from guesthouse.manager.recording import Recording, Sound


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
