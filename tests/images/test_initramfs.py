"""The archive that the kernel unpacks, read back by a reader of the test's own."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from guesthouse.errors import ImageError
from guesthouse.images import catalogue, initramfs, userland

NAMES = sorted(["[", "[[", "sh", *(f"tool{n:02}" for n in range(60))])
BUSYBOX = b"\x7fELF rodata \x80" + "\0".join([*NAMES, "", "zzz"]).encode()


def unpacked(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Name to mode, content and device; checks magic, alignment and the trailer on the way."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        start = at + (110 + fields[11] + 3) // 4 * 4
        assert fields[5] == 0 and fields[2] == fields[3] == 0  # time, owner, group
        if name == "TRAILER!!!":
            assert len(data) == start
            return found
        found[name] = (fields[1], data[start : start + fields[6]], (fields[9], fields[10]))
        at = start + (fields[6] + 3) // 4 * 4


def test_what_the_guest_needs_is_there() -> None:
    found = unpacked(initramfs.build(BUSYBOX))
    assert found["bin/busybox"][:2] == (0o100755, BUSYBOX)
    assert found["bin/sh"][:2] == (0o120777, b"busybox")
    assert found["init"][0] == 0o100755 and found["init"][1].startswith(b"#!/bin/sh\n")
    assert found["dev/console"] == (0o020600, b"", (5, 1))
    assert found["lib/guesthouse/agent"][1] == userland.AGENT.encode()
    assert "bin/zzz" not in found


def test_parents_come_before_what_is_in_them() -> None:
    seen: set[str] = set()
    for name in unpacked(initramfs.build(BUSYBOX, "6.1", {"a": b"\0depends=\0"})):
        assert "/" not in name or name.rsplit("/", 1)[0] in seen
        seen.add(name)


def test_the_same_input_gives_the_same_bytes() -> None:
    modules = {"b": b"\0depends=\0", "a": b"\0depends=b\0"}
    assert initramfs.build(BUSYBOX, "6", modules) == initramfs.build(BUSYBOX, "6", dict(reversed(modules.items())))


def test_modprobe_finds_what_a_module_needs_and_answers_to() -> None:
    modules = {
        "ring": b"x\0depends=core\0",
        "pci": b"x\0alias=pci:v1*\0alias=pci:v2*\0depends=ring,core\0",
        "core": b"x\0depends=\0",
    }
    found = unpacked(initramfs.build(BUSYBOX, "6.1", modules))
    lines = found["lib/modules/6.1/modules.dep"][1].splitlines()
    assert b"pci.ko: ring.ko core.ko" in lines and b"core.ko:" in lines
    assert found["lib/modules/6.1/modules.alias"][1] == b"alias pci:v1* pci\nalias pci:v2* pci\n"


def test_applets_are_those_that_busybox_lists(tmp_path: Path) -> None:
    assert initramfs.applets(BUSYBOX) == NAMES
    if real := shutil.which("busybox"):
        listed = subprocess.run([real, "--list"], capture_output=True, text=True, check=True).stdout.split()
        assert initramfs.applets(Path(real).read_bytes()) == [name for name in listed if name != "busybox"]


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"[\0[[\0sh\0", BUSYBOX[:200]])
def test_a_program_that_is_not_busybox_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="table of applets"):
        initramfs.build(data)


def test_no_module_upsets_the_reader() -> None:
    dice = random.Random(1)
    pieces = [b"\0", b"depends=", b"alias=", b",", b"a", b"-", b"\xff", b"\n"]
    for _ in range(500):
        data = b"".join(dice.choice(pieces) for _ in range(20))
        assert all("\n" not in one and one for one in initramfs.depends(data))


@pytest.mark.parametrize(
    "head, form",
    [
        (bytes(0x202) + b"HdrS", "bzImage"),
        (bytes(0x30) + b"RISCV\0\0\0RSC\x05", "Image"),
        (b"MZ\0\0zimg", "EFI zboot"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x7fELF", "ELF"),
        (b"", "unknown"),
    ],
)
def test_how_a_kernel_is_packed_is_told_by_its_head(tmp_path: Path, head: bytes, form: str) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(head)
    assert catalogue.kernel_form(kernel) == form
