"""Guests and what they run on. They are found through GUESTHOUSE_GUESTS, by default ../shared/guests beside the
checkout, or come from a Debian mirror; they are read into memory and never written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guesthouse.errors import GuesthouseError
from guesthouse.images.packages import Packages
from guesthouse.system.boards.attached import Attached
from tests.boots.computer import Computer

GUESTS = Path(os.environ.get("GUESTHOUSE_GUESTS") or Path(__file__).parents[3] / "shared" / "guests")


@pytest.fixture
def switch_on() -> Iterator[Callable[..., Computer]]:
    """Computers with these drives, closed at the end."""
    made: list[Computer] = []

    def switch_on(*drives: Attached, **options: Any) -> Computer:
        made.append(Computer(drives, **options))
        return made[-1]

    yield switch_on
    for computer in made:
        computer.board.close()


@pytest.fixture(scope="session")
def packages() -> Packages:
    return Packages()


@pytest.fixture
def unpack(packages: Packages) -> Callable[..., bytes]:
    """A file out of a Debian package: `unpack("ipxe", "boot/ipxe.lkrn")`."""

    def unpack(package: str, path: str, arch: str = "amd64") -> bytes:
        try:
            return packages.file(package, path, arch).read_bytes()
        except GuesthouseError as wrong:
            pytest.skip(f"no guest: {package}: {wrong}")

    return unpack


@pytest.fixture
def image() -> Callable[[str], bytes]:
    """An image by its name."""

    def image(name: str) -> bytes:
        path = GUESTS / name
        if not path.exists():
            pytest.skip(f"no guest: {name} is not among the images that GUESTHOUSE_GUESTS names")
        return path.read_bytes()

    return image
