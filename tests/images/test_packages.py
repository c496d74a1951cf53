"""Single files of packages, from a small archive of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guesthouse.errors import NoSuchThing
from guesthouse.images.packages import Packages


@pytest.fixture
def packages(archive: Any, tmp_path: Path) -> Packages:
    return Packages(tmp_path, mirror=archive.url, suite="stable")


def test_a_file_is_unpacked_once_and_had_without_a_network_from_then_on(packages: Packages, archive: Any) -> None:
    path = packages.file("busybox-static", "*bin/busybox")
    asked = len(archive.asked)
    again = Packages(packages.folder.parent, mirror=archive.url, suite="stable").file("busybox-static", "*bin/busybox")
    assert again == path and path.name.endswith("-busybox") and path.stat().st_size > 50
    assert len(archive.asked) == asked and not list(packages.folder.rglob("*.deb"))


def test_a_kernels_name_stands_for_the_package_that_it_depends_on(packages: Packages) -> None:
    assert packages.file("linux-image-cloud-amd64", "boot/vmlinuz-*").read_bytes()[0x202:0x206] == b"HdrS"


def test_a_file_that_changed_in_the_cache_is_fetched_again(packages: Packages) -> None:
    path = packages.file("busybox-static", "usr/bin/busybox")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert packages.file("busybox-static", "usr/bin/busybox").read_bytes() == whole


@pytest.mark.parametrize("name, path, arch", [
    ("no-such-package", "a", "amd64"), ("busybox-static", "no/such/file", "amd64"), ("busybox-static", "*", "riscv64"),
    ("linux-image-cloud-amd64", "usr/lib/*", "amd64")])
def test_what_is_not_there_is_said(packages: Packages, name: str, path: str, arch: str) -> None:
    with pytest.raises(NoSuchThing):
        packages.file(name, path, arch)
