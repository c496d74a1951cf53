"""What a file is, and that a broken or hostile one is told and never crashes us."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import pytest

from guesthouse.errors import ImageError, NoSuchThing, UserError
from guesthouse.storage.geometry import FLOPPIES, Geometry, translated
from guesthouse.storage.image import identify


@pytest.mark.parametrize("kib", sorted(FLOPPIES))
def test_every_floppy_is_known_by_its_size(image, images, kib):
    medium = identify(image(images.floppy(kib * 1024)))
    assert medium.kind == "floppy" and medium.geometry.total * 512 == kib * 1024 == medium.size


def test_the_parameter_block_decides_between_geometries_of_one_size(image, images):
    medium = identify(image(images.floppy(1440 * 1024, (2, 36))))
    assert medium.geometry == Geometry(40, 2, 36) and medium.details["bpb"]


def test_a_parameter_block_that_does_not_fit_the_size_is_ignored(image, images):
    data = images.floppy(1440 * 1024, (2, 18))
    assert identify(image(data[: 720 * 1024])).geometry == FLOPPIES[720]


def test_a_short_boot_loader_is_a_floppy_that_was_not_padded(image, images):
    assert identify(image(images.floppy(100_000))).geometry == FLOPPIES[160]


def test_an_mbr_tells_partitions_and_the_geometry_they_were_made_with(image, images):
    medium = identify(image(images.mbr_disk()))
    assert (medium.kind, medium.geometry) == ("disk", Geometry(20, 16, 63))
    (only,) = medium.details["partitions"]
    assert (only.type, only.first, only.active) == ("06", 63, True) and medium.details["table"] == "mbr"


def test_a_partition_beyond_the_end_is_a_warning(image, images):
    medium = identify(image(images.mbr_disk()[:-512]))
    assert "ends at sector 20160" in medium.warnings[0]


def test_a_gpt_tells_its_partitions(image, images):
    medium = identify(image(images.gpt_disk()))
    (only,) = medium.details["partitions"]
    assert medium.details["table"] == "gpt" and (only.first, only.sectors, only.name) == (40, 60, "root")
    assert only.type == "03020100-0504-0706-0809-0a0b0c0d0e0f"


@pytest.mark.parametrize("at, expected", [(512, "EFI PART"), (528, "header's CRC"), (1030, "table's CRC")])
def test_a_damaged_gpt_says_where(image, images, at, expected):
    data = images.gpt_disk()
    data[at] ^= 1
    with pytest.raises(ImageError, match=expected):
        identify(image(data))


@pytest.mark.parametrize("number, name", list(enumerate(["none", "1.2M", "1.44M", "2.88M", "disk"])))
def test_a_cd_tells_its_boot_images(image, images, number, name):
    medium = identify(image(images.cd(number)))
    first, efi = medium.details["boot"]
    assert (medium.kind, medium.sector_size, medium.details["label"]) == ("cdrom", 2048, "A LABEL")
    assert (first.platform, first.emulation, first.segment, first.sectors, first.lba) == (
        "x86",
        name,
        0x7C0,
        4,
        20,
    )
    assert (efi.platform, efi.lba) == ("EFI", 21)


def test_a_hybrid_cd_with_an_mbr_is_a_cd(image, images):
    data = images.cd()
    data[:512] = images.boot_sector((0x80, 0x17, 0, 96))
    assert identify(image(data)).kind == "cdrom"


def test_the_user_may_say_what_a_hybrid_is(image, images):
    data = images.cd()
    data[:512] = images.boot_sector((0x80, 0x17, 0, 96))
    file = image(data)
    assert [identify(file, kind).kind for kind in ("cdrom", "disk", "floppy")] == ["cdrom", "disk", "floppy"]
    assert identify(file, "floppy").geometry == FLOPPIES[160]
    with pytest.raises(ImageError, match="largest floppy"):
        identify(image(bytes(1 << 22)), "floppy")


def test_a_boot_image_beyond_the_cd_is_told_with_its_offset(image, images):
    with pytest.raises(ImageError, match="at offset 0x9828"):
        identify(image(images.cd()[: 20 * 2048]))


@pytest.mark.parametrize(
    "make, kind, details",
    [
        (lambda i: i.bzimage(), "linux", {"format": "bzImage", "protocol": "2.15", "setup_sectors": 2}),
        (lambda i: i.multiboot(1), "multiboot", {"version": 1, "format": "elf"}),
        (lambda i: i.multiboot(2), "multiboot", {"version": 2}),
        (lambda i: i.elf(243, 64), "elf", {"machine": "riscv", "bits": 64, "entry": 0x100000}),
        (lambda i: gzip.compress(i.multiboot(1)), "multiboot", {"compressed": "gzip"}),
        (lambda i: bytes(0x38) + b"RSC\x05" + bytes(99), "linux", {"arch": "riscv"}),
        (lambda i: bytes(0x38) + b"ARM\x64" + bytes(99), "linux", {"arch": "aarch64"}),
    ],
)
def test_kernels_are_known_by_their_headers(image, images, make, kind, details):
    medium = identify(image(make(images)))
    assert medium.kind == kind and details.items() <= medium.details.items()


def test_a_multiboot_header_needs_its_checksum(image, images):
    data = images.multiboot(1)
    data[0x1008] ^= 1
    assert identify(image(data)).kind == "elf"


def test_zeros_are_an_empty_disk(image):
    medium = identify(image(bytes(1 << 20)))
    assert (medium.kind, medium.details["table"], medium.details["bootable"]) == ("disk", "none", False)


@pytest.mark.parametrize(
    "data, error", [(b"", "empty"), (b"# Title\nsome text\n", "expected a floppy, disk, CD")]
)
def test_what_is_no_medium_is_refused(image, data, error):
    with pytest.raises(ImageError, match=error):
        identify(image(data))


def test_another_programs_format_is_refused_with_the_way_out(image):
    with pytest.raises(UserError, match="qemu-img convert"):
        identify(image(b"QFI\xfb" + bytes(9999)))


@pytest.mark.parametrize("head, tool", [(b"\xfd7zXZ\0", "unxz"), (b"PK\3\4", "unzip"), (b"\x28\xb5\x2f\xfd", "unzstd")])
def test_a_compressed_image_is_refused_with_what_unpacks_it(image, head, tool):
    with pytest.raises(UserError, match=f"is compressed.\\nUnpack it with {tool}"):
        identify(image(head + bytes(1 << 20)))


def test_a_floppy_that_ends_before_its_own_end_is_a_warning(image, images):
    whole = images.floppy(1440 * 1024, (2, 18))
    assert not identify(image(whole)).warnings
    assert "ends after 300000" in identify(image(whole[:300_000])).warnings[0]


def test_a_file_that_has_no_end_is_a_users_error():
    with pytest.raises(UserError, match="cannot be read"):
        identify("/proc/version")


def test_a_missing_file_a_folder_and_a_pipe_are_users_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoSuchThing):
        identify(tmp_path / "absent")
    for what in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="neither"):
            identify(what)


@pytest.mark.parametrize(
    "name, kib", [("freedos722.img", 720), ("freedos-8086tiny.img", 1440), ("mikeos.flp", 1440)]
)
def test_floppies_of_others_are_known(name, kib):
    guests = Path(os.environ.get("GUESTHOUSE_GUESTS", Path(__file__).parents[3] / "shared" / "guests"))
    if not (guests / name).exists():
        pytest.skip("no guest images here")
    medium = identify(guests / name)
    assert medium.kind == "floppy" and medium.geometry == FLOPPIES[kib] and medium.details["bootable"]


@pytest.mark.parametrize(
    "sectors, expected",
    [
        (1024 * 16 * 63, (1024, 16, 63)),
        (1024 * 16 * 63 + 1, (512, 32, 63)),
        (1 << 40, (1024, 255, 63)),
        (1, (1, 16, 63)),
    ],
)
def test_large_disks_are_translated_as_a_bios_does(sectors, expected):
    assert translated(sectors) == expected


def test_places_and_numbers_of_sectors_are_inverse():
    geometry = Geometry(80, 2, 18)
    assert all(geometry.lba(*geometry.chs(n)) == n for n in range(geometry.total))
    assert (
        geometry.lba(80, 0, 1)
        is geometry.lba(0, 2, 1)
        is geometry.lba(0, 0, 0)
        is geometry.lba(0, 0, 19)
        is None
    )


@pytest.mark.parametrize("make", ["mbr_disk", "gpt_disk", "cd", "bzimage", "elf"])
def test_a_damaged_image_is_known_or_refused_and_nothing_else(image, images, make):
    """Fuzz: headers changed at random, files cut at random."""
    data, chance = getattr(images, make)()[: 1 << 18], random.Random(make)
    places = [n for n, byte in enumerate(data) if byte] + list(range(446, 600))
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            bad[chance.choice(places)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.3:
            del bad[chance.randrange(len(bad)) :]
        try:
            medium = identify(image(bad))
            assert medium.kind and (medium.geometry is None or medium.geometry.total > 0)
        except UserError as told:
            assert "some.file" in str(told)
