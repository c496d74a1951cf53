"""Files that take what a guest sends out: a printer's bytes, the speaker's sound (RIFF WAVE, by Python's own module).

A guest decides how much that is, so each file ends at LARGEST bytes; what comes after is lost.
"""

from __future__ import annotations

import os
import stat
import wave
from contextlib import suppress
from pathlib import Path

from guesthouse.errors import UserError
from guesthouse.storage.disk import lock
from guesthouse.system.chips.pc_speaker import RATE

LARGEST = 1 << 30


class Recording:
    """A file that is appended to. `write` is called by the machine; trouble with the disk is no matter to the guest."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        file = opened(path, os.O_APPEND)
        self._file = open(file, "ab", buffering=0)
        self._room = max(0, largest - os.fstat(file).st_size)

    def write(self, data: bytes) -> None:
        part = data[:self._room]
        self._room -= len(part)
        if part:
            try:
                self._file.write(part)
            except OSError:
                self._room = 0

    def close(self) -> None:
        self._file.close()


class Sound:
    """A WAVE file of the speaker's samples, made anew. It is whole after each write."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        file = opened(path, 0)
        try:
            os.ftruncate(file, 0)
        except OSError as wrong:  # a pipe or a device: the length at the file's head is written again and again
            os.close(file)
            raise unwritable(path, wrong) from wrong
        self._raw = open(file, "wb")
        self._file = wave.open(self._raw, "wb")
        self._file.setparams((1, 1, RATE, 0, "NONE", "not compressed"))
        self._room = largest
        self._put(b"")

    def write(self, samples: bytes) -> None:
        part = samples[:self._room]
        self._room -= len(part)
        if part:
            try:
                self._put(part)
            except OSError:
                self._room = 0

    def _put(self, samples: bytes) -> None:
        self._file.writeframes(samples)
        self._raw.flush()

    def close(self) -> None:
        with suppress(OSError):
            self._file.close()
            self._raw.close()


def opened(path: Path, flags: int) -> int:
    """A file that is there now and that nobody else writes or starts from; a pipe or a device as it is. A pipe's reader
    is not waited for: not here, and not while the guest runs."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | flags, 0o666)
    except OSError as wrong:
        raise unwritable(path, wrong) from wrong
    if stat.S_ISREG(os.fstat(file).st_mode):
        try:
            lock(file, path, True)
        except UserError as wrong:
            os.close(file)
            raise UserError(wrong.what, "Name another file.") from wrong
    return file


def unwritable(path: Path, wrong: OSError) -> UserError:
    return UserError(f"{path} cannot be written: {wrong.strerror}.", "Name another file.")
