"""The services of our BIOS beside those of SeaBIOS under QEMU: the same calls from the same boot sector, on both.

Where the two differ on purpose the call is not here, or fewer registers are compared: SeaBIOS keeps a cylinder back,
has no change line, formats nothing, knows no bad register of B1h, and has another memory map and other ports.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from guesthouse.clock import SECOND, VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.images.catalogue import cache_folder
from guesthouse.manager.building import instruction_set
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.classic import ClassicPc
from tests.boots.service_calls import Call, answers, disk

pytestmark = [pytest.mark.boot, pytest.mark.slow]

AX, AH, AL, ZF, CF = ("ax", "carry"), ("ah", "carry"), ("al",), ("zero",), ("carry",)
ALL = ("ax", "bx", "cx", "dx", "carry")
DISK, FLOPPY, NONE = 0x80, 0x00, 0x8F
PACKET_AT, BUFFER = 0x8000 + 16 * 500, 0x3000
PACKET = bytes.fromhex("10000200 0030 0000") + (40).to_bytes(8, "little")


def memory(at: int, count: int) -> Call:
    return Call(0xFF, bx=at, cx=count)


def read(cx: int, dx: int = DISK, ax: int = 0x0201) -> Call:
    return Call(0x13, ax, BUFFER, cx, dx, compare=AX)


DISKS = [
    *(Call(0x13, ax, dx=DISK) for ax in (0x0000, 0x0100, 0x0C00, 0x1000, 0x1100, 0x1400, 0x0D00, 0x0900, 0x7700)),
    Call(0x13, 0x0800, dx=DISK, compare=("ax", "dx", "carry")), Call(0x13, 0x1500, dx=DISK, compare=AH),
    read(0x0012), memory(BUFFER, 16), read(0x0001, DISK + 0x100, 0x0203), memory(BUFFER + 1024, 8), read(0x0000),
    read(0x0001, DISK + 0xFF00), read(0xFFFF), read(0x0001, ax=0x0200), read(0x0001, ax=0x0401), read(0x0001, NONE),
    Call(0x13, 0x0301, 0x7C00, 0x0020, DISK), read(0x0020), memory(BUFFER, 16), Call(0x13, 0x0800, dx=NONE),
    Call(0x13, 0x0800, dx=FLOPPY, compare=ALL), read(0x0001, FLOPPY), memory(BUFFER, 8), read(0x0013, FLOPPY),
]
EXTENDED = [
    Call(0x13, 0x4100, 0x55AA, dx=DISK, compare=("ax", "bx", "carry")), Call(0x13, 0x4100, 0x55AA, dx=FLOPPY),
    Call(0x13, 0x4200, dx=DISK, si=PACKET_AT), memory(BUFFER, 1024), Call(0x13, 0x4400, dx=DISK, si=PACKET_AT),
    Call(0x13, 0x4600, dx=DISK), Call(0x13, 0x4900, dx=DISK),
]
KEYS = [
    Call(0x16, 0x0100, compare=ZF), Call(0x16, 0x0500, cx=0x1E61, compare=AL),
    Call(0x16, 0x0100, compare=("ax", "zero")), Call(0x16, 0x0000, compare=("ax",)), Call(0x16, 0x0100, compare=ZF),
    Call(0x16, 0x0500, cx=0x47E0, compare=AL), Call(0x16, 0x0100, compare=("ax",)),
    Call(0x16, 0x1000, compare=("ax",)), Call(0x16, 0x0500, cx=0xE00D, compare=AL), Call(0x16, compare=("ax",)),
    Call(0x16, 0x0500, cx=0xE02F, compare=AL), Call(0x16, 0x1000, compare=("ax",)), Call(0x16, 0x0200, compare=AL),
    Call(0x16, 0x1200, compare=("ax",)), Call(0x16, 0x0900, compare=AL), Call(0x16, 0x0A00, compare=("bx",)),
    memory(0x480, 4),
]
SCREEN = [
    Call(0x10, 0x0F00, compare=("ax", "bx")), Call(0x10, 0x0003), Call(0x10, 0x0200, dx=0x0305),
    Call(0x10, 0x0300, compare=("cx", "dx")), Call(0x10, 0x0941, 0x0017, 3), Call(0x10, 0x0800, compare=("ax",)),
    Call(0x10, 0x0E42, 7), Call(0x10, 0x0300, compare=("dx",)), Call(0x10, 0x0601, 0x1E00, 0, 0x184F),
    Call(0x10, 0x0200, dx=0x1805), Call(0x10, 0x0800, compare=("ax",)), Call(0x10, 0x0E0A, 7),
    Call(0x10, 0x0300, compare=("dx",)), Call(0x10, 0x1A00, compare=("ax", "bx")),
    Call(0x10, 0x1210, 0xFF10, compare=("bx", "cx")), Call(0x10, 0x1130, 0x0600, compare=("cx", "dx")),
    Call(0x10, 0x1130, 0x0300, compare=("cx", "dx")), Call(0x10, 0x1015, 0x0001, compare=("cx",)),
    *(call for mode, colour in ((0x13, 0x2A), (0x12, 5), (6, 1), (0x0D, 9), (4, 2)) for call in (
        Call(0x10, mode), Call(0x10, 0x0F00, compare=("ax", "bx")), Call(0x10, 0x0C00 | colour, 0, 100, 50),
        Call(0x10, 0x0D00, 0, 100, 50, compare=AL))),
    *(call for mode in (1, 3) for call in (Call(0x10, mode), memory(0x449, 0x1C), memory(0x484, 6))),
    Call(0x10, 0x1112), Call(0x10, 0x1130, 0x0600, compare=("cx", "dx")), memory(0x484, 6), Call(0x10, 0x0003),
]
VESA = [
    Call(0x10, 0x4F00, di=0x5000, compare=("ax",)), memory(0x5000, 6),
    Call(0x10, 0x4F01, cx=0x118, di=0x5000, compare=("ax",)), memory(0x5010, 0x18), memory(0x501F, 8),
    Call(0x10, 0x4F03, compare=("ax", "bx")), Call(0x10, 0x4F02, 0x0118, compare=("ax",)),
    Call(0x10, 0x4F03, compare=("ax", "bx")), Call(0x10, 0x4F06, 1, compare=("ax", "bx", "cx")),
    Call(0x10, 0x4F07, 1, compare=("ax", "cx", "dx")), Call(0x10, 0x4F05, 0x0000, dx=3, compare=("ax",)),
    Call(0x10, 0x4F05, 0x0100, compare=("ax", "dx")), Call(0x10, 0x4F02, 0x0101, compare=("ax",)),
    Call(0x10, 0x4F08, 1, compare=("ax", "bx")), Call(0x10, 0x0003), Call(0x10, 0x4F15, 0, compare=("ax",)),
]
SYSTEM = [
    Call(0x12), Call(0x15, 0xC000, compare=AH), Call(0x15, 0xC100, compare=("carry", "es")), Call(0x15, 0x2402),
    Call(0x15, 0x2403, compare=("ah", "bx", "carry")), Call(0x15, 0x2400), Call(0x15, 0x2402), Call(0x15, 0x2401),
    Call(0x15, 0x2402), Call(0x15, 0x4F1E, compare=("al", "carry")), Call(0x15, 0x4100, compare=CF),
    Call(0x15, 0x8600, cx=0, dx=2000, compare=CF), Call(0x15, 0xD800, compare=AH),
    Call(0x15, 0x5300, compare=("ax", "bx", "carry")), Call(0x1A, 0x0100, cx=5, dx=0x1234, compare=CF),
    Call(0x1A, 0x0000, compare=("al", "cx")), Call(0x1A, 0x0200, compare=CF),
    Call(0x1A, 0x0400, compare=("cx", "carry")),
    Call(0x1A, 0x0600, cx=0x2359, dx=0x5900, compare=CF), Call(0x1A, 0x0600, cx=0x2359, dx=0x5900, compare=CF),
    Call(0x1A, 0x0700, compare=CF), Call(0x1A, 0x0900, compare=CF),
    Call(0x1A, 0xB101, compare=("ah", "bx", "dx", "carry")),
    Call(0x1A, 0xB102, cx=0x1237, dx=0x8086, compare=("ah", "bx", "carry")),
    Call(0x1A, 0xB102, cx=0x9999, dx=0x8086, compare=AH), Call(0x1A, 0xB109, compare=("ax", "cx", "carry")),
    Call(0x1A, 0xB108, di=2, compare=AH), Call(0x14, 0x0300, compare=("ax",)), Call(0x14, 0x00E3, compare=("ax",)),
    Call(0x14, 0x0200, compare=("ah",)), memory(0x413, 2), memory(0x475, 1), memory(0x463, 2),
]
GROUPS = {"disks": DISKS, "extended": EXTENDED, "keys": KEYS, "screen": SCREEN, "vesa": VESA, "system": SYSTEM}


CD, SPECIFICATION = 0xE0, 0x4800
CD_PACKET = bytes.fromhex("10000100 0030 0000") + (16).to_bytes(8, "little")  # the volume descriptor
CD_CALLS = [
    Call(0x13, 0x4B01, dx=0x7F, si=SPECIFICATION, compare=AX), memory(SPECIFICATION + 1, 2),
    memory(SPECIFICATION + 4, 4), memory(SPECIFICATION + 12, 4),
    Call(0x13, 0x4100, 0x55AA, dx=CD, compare=("ax", "bx", "carry")),
    Call(0x13, 0x4200, dx=CD, si=PACKET_AT), memory(BUFFER, 16), Call(0x11, compare=()),
    *(Call(0x13, function << 8 | 1, dx=CD, cx=1, bx=BUFFER, compare=AX) for function in (2, 4, 8, 0x15)),
]
EMULATED = [read(0x0001, dx=0), memory(BUFFER, 16), read(0x0005, dx=0x100), memory(BUFFER, 8),
            Call(0x13, 0x0800, dx=0, compare=("carry",))]
EMULATED_DISK = [read(0x0001), memory(BUFFER, 16), read(0x0005, dx=0x180), memory(BUFFER, 8),
                 Call(0x13, 0x0800, dx=DISK, compare=("ax", "carry"))]
WAYS = {"no emulation": (CD_CALLS, ["-no-emul-boot", "-boot-load-size", "24"], 2048 * 8),
        "a floppy": (CD_CALLS + EMULATED, [], 1_474_560),
        "a disk": (CD_CALLS + EMULATED_DISK, ["-hard-disk-boot"], 4 * 16 * 63 * 512)}


def boot_image(calls: list[Call], size: int) -> bytes:
    """What is started from the CD. Without emulation it is all loaded to 0:7C00, so that the records have to lie 400h
    bytes behind its begin."""
    image = bytearray(disk(calls, max(size, 17 * 512)))
    records = 0x400 if size < 1 << 16 else 0x200
    image[records:] = image[0x200:0x200 + len(image) - records]
    image[records + PACKET_AT - 0x8000:records + PACKET_AT - 0x8000 + len(CD_PACKET)] = CD_PACKET
    image[446:462] = bytes.fromhex("80 010100 06 0F3F03 3F000000") + (4 * 16 * 63 - 63).to_bytes(4, "little")
    return bytes(image[:size])


def made_cd(way: str, folder: Path) -> bytes:
    calls, options, size = WAYS[way]
    files = folder / "files"
    files.mkdir()
    (files / "boot.img").write_bytes(boot_image(calls, size))
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", str(folder / "cd.iso"), "-b", "boot.img",
                    "-c", "boot.cat", *options, str(files)], check=True, capture_output=True)
    return (folder / "cd.iso").read_bytes()


def media(calls: list[Call]) -> tuple[bytes, bytes]:
    image = bytearray(disk(calls, 16 << 20))
    image[512 + PACKET_AT - 0x8000:512 + PACKET_AT - 0x8000 + len(PACKET)] = PACKET
    return bytes(image), b"".join(n.to_bytes(4, "little") * 128 for n in range(2880))


def theirs(folder: Path, *options: str) -> bytes:
    subprocess.run(
        ["qemu-system-x86_64", "-machine", "pc", "-m", "64", "-display", "none", "-net", "none", "-serial", "null",
         "-debugcon", f"file:{folder / 'sent'}", "-global", "isa-debugcon.iobase=0xe9",
         "-device", "isa-debug-exit,iobase=0xf4", *options], timeout=60, check=False, capture_output=True)
    return (folder / "sent").read_bytes()


def ours(order: str, *drives: Attached) -> bytes:
    kind = instruction_set("amd64")
    code = engine(kind, cache_folder() / "code")
    board = ClassicPc(64 << 20, VirtualClock(20_000_000), lambda memory: SoftVcpu(kind, code), random_bytes=bytes,
                      epoch=1_795_000_000, boot_order=order, drives=drives)
    board.run(until=20 * SECOND)
    sent = bytes(board.debug)
    board.close()
    return sent


def differences(calls: list[Call], one: bytes, other: bytes) -> list[object]:
    different: list[object] = []
    for call, a, b in zip(calls, answers(calls, one), answers(calls, other), strict=True):
        if isinstance(a, bytes) or isinstance(b, bytes):
            different += [(call, a, b)] if a != b or not a else []
        else:
            different += [(call, name, hex(a[name]), hex(b[name])) for name in call.compare if a[name] != b[name]]
    return different


needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="no oracle: qemu-system-x86_64 is not installed")


@needs_qemu
@pytest.mark.parametrize("group", GROUPS)
def test_our_services_answer_as_seabios(group: str, tmp_path: Path) -> None:
    calls = GROUPS[group]
    image, floppy = media(calls)
    for name, content in (("disk", image), ("floppy", floppy)):
        (tmp_path / name).write_bytes(content)
    there = theirs(tmp_path, "-boot", "c", "-drive", f"file={tmp_path / 'disk'},format=raw,if=ide,snapshot=on",
                   "-drive", f"file={tmp_path / 'floppy'},format=raw,if=floppy,snapshot=on")
    here = ours("c", Attached("disk", Memory(image)), Attached("floppy", Memory(floppy)))
    assert not differences(calls, there, here)


@needs_qemu
@pytest.mark.skipif(shutil.which("xorriso") is None, reason="nothing makes CDs: xorriso is not installed")
@pytest.mark.parametrize("way", WAYS)
def test_a_cd_is_started_as_seabios_starts_it(way: str, tmp_path: Path) -> None:
    cd = made_cd(way, tmp_path)
    there = theirs(tmp_path, "-boot", "d", "-cdrom", str(tmp_path / "cd.iso"))
    here = ours("d", Attached("cdrom", Memory(cd, 2048)))
    assert not differences(WAYS[way][0], there, here)
