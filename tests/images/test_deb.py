"""Debian packages, sound and not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from guesthouse.errors import ImageError, NotSupportedHere
from guesthouse.images import deb

FILES = {"boot/vmlinuz-1": b"kernel" * 100, "usr/share/doc/x": b"doc", "../../etc/passwd": b"evil"}


@pytest.mark.parametrize("form", ["xz", "gz", ""])
def test_wanted_files_are_read(package: Any, form: str) -> None:
    assert deb.extract(package(FILES, form), lambda name: name.startswith("boot/")) == {
        "boot/vmlinuz-1": b"kernel" * 100
    }


def test_nothing_is_written_wherever_a_name_points(package: Any, tmp_path: Path) -> None:
    path = package(FILES)
    assert set(deb.extract(path, lambda name: True)) == set(FILES)
    assert list(tmp_path.iterdir()) == [path]


def test_zstd_is_refused_with_advice(package: Any) -> None:
    path = package(FILES)
    path.write_bytes(path.read_bytes().replace(b"data.tar.xz     ", b"data.tar.zst    "))
    with pytest.raises(NotSupportedHere, match="data.tar.zst"):
        deb.extract(path, lambda name: True)


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", "ar signature"),
        (b"PK\x03\x04", "ar signature"),
        (b"!<arch>\n", "a member data.tar"),
        (b"!<arch>\nshort", "header of an ar member"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"-5        `\n", "header of an ar member"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"9999999999`\n", "a size of at most 0"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"4         `\nabcd", "more of a sound data.tar.xz"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"0         `\n", "more of a sound data.tar.xz"),
    ],
)
def test_what_is_no_package_is_refused_with_the_place(package: Any, data: bytes, expected: str) -> None:
    with pytest.raises(ImageError, match=expected):
        deb.extract(package(data), lambda name: True)


@pytest.mark.parametrize("form", ["xz", "gz", ""])
def test_no_bytes_upset_the_reader(package: Any, form: str) -> None:
    dice = random.Random(3)
    good = package(FILES, form).read_bytes()
    for _ in range(300):
        data = bytearray(good[: dice.randrange(len(good))] if dice.random() < 0.3 else good)
        for _ in range(dice.randrange(4) if data else 0):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            deb.extract(package(bytes(data)), lambda name: True)
        except (ImageError, NotSupportedHere):
            pass


def test_a_file_too_large_to_be_wanted_is_refused(package: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "LARGEST", 100)
    with pytest.raises(ImageError, match="more than 100"):
        deb.extract(package(FILES), lambda name: name.startswith("boot/"))
