import gzip
import struct
from types import SimpleNamespace

import pytest

from guesthouse.errors import ImageError, UserError
from guesthouse.system.firmware import acpi, aml, devicetree, linux_riscv, linux_x86, pvh
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.firmware.elf import Elf
from guesthouse.system.firmware.linux_x86 import E820
from guesthouse.system.memory import Memory
from tests.system.elves import executable

MIB = 1 << 20
E820_MAP = [E820(0, 0xA_0000, 1), E820(MIB, 31 * MIB, 1)]


@pytest.fixture
def memory():
    made = Memory([(0, 32 * MIB)])
    yield made
    made.close()


def bzimage(changes=(), code=b"kernel code"):
    """The smallest file that the 64-bit boot protocol accepts."""
    header = bytearray(1024)
    fields = [(0x1F1, "<B", 1), (0x1FE, "<H", 0xAA55), (0x200, "<H", 0x6AEB), (0x202, "4s", b"HdrS"),
              (0x206, "<H", 0x020F), (0x211, "<B", 1), (0x22C, "<I", 0x7FFF_FFFF), (0x230, "<I", 0x20_0000),
              (0x234, "<B", 1), (0x236, "<H", 3), (0x238, "<I", 2047), (0x258, "<Q", 16 * MIB), (0x260, "<I", 4 * MIB)]
    for offset, layout, value in (*fields, *changes):
        struct.pack_into(layout, header, offset, value)
    return bytes(header) + code


def load(memory, image, initrd=b"", cmdline=""):
    return linux_x86.load(memory, 32 * MIB, Blob(image, "vmlinuz"), initrd, cmdline, E820_MAP, 0xE_0000)


def test_a_kernel_is_entered_at_its_64_bit_entry_with_the_zero_page(memory):
    entry = load(memory, bzimage(), b"ramdisk" * 1000, "console=ttyS0")
    assert entry.pc == 16 * MIB + 0x200 and entry.long_mode and memory.read(16 * MIB, 11) == b"kernel code"
    page = memory.read(entry.registers["rsi"], 4096)
    at, size, _, line = struct.unpack_from("<2I8xI", page, 0x218)[:3] + (struct.unpack_from("<I", page, 0x228)[0],)
    assert memory.read(at, size) == b"ramdisk" * 1000 and at % 4096 == 0
    assert memory.read(line, 14) == b"console=ttyS0\0"
    assert struct.unpack_from("<Q", page, 0x70)[0] == 0xE_0000 and page[0x1E8] == 2 and page[0x210] == 0xFF
    assert struct.unpack_from("<QQI", page, 0x2D0 + 20) == (MIB, 31 * MIB, 1)


def test_a_kernel_without_a_64_bit_entry_is_entered_in_protected_mode_with_flat_segments_at_10h_and_18h(memory):
    entry = load(memory, bzimage([(0x236, "<H", 0)]))
    assert (entry.pc, entry.long_mode, entry.code) == (16 * MIB, False, 0x10)
    assert entry.registers == {"rsi": linux_x86.ZERO_PAGE}
    code, data = struct.unpack("<2Q", memory.read(entry.gdt + 0x10, 16))
    assert (code, data) == (0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)


@pytest.mark.parametrize("address", [0, 0x7000, 16 * MIB, 0xFFFF_F000])
def test_the_page_tables_map_the_first_4_gib_to_themselves(memory, address):
    table = load(memory, bzimage()).page_table
    for shift in (39, 30, 21):
        entry = struct.unpack("<Q", memory.read(table + (address >> shift & 511) * 8, 8))[0]
        assert entry & 3 == 3 and bool(entry & 0x80) == (shift == 21)
        table = entry & 0xF_FFFF_FFFF_F000
    assert table == address & ~0x1F_FFFF


@pytest.mark.parametrize("changes, offset", [
    ([(0x1FE, "<H", 0)], 0x1FE), ([(0x202, "4s", b"xxxx")], 0x202), ([(0x206, "<H", 0x0209)], 0x206),
    ([(0x211, "<B", 0)], 0x211), ([(0x1F1, "<B", 200)], 201 * 512)])
def test_a_file_that_is_no_kernel_is_refused_at_the_place(memory, changes, offset):
    with pytest.raises(ImageError) as refused:
        load(memory, bzimage(changes))
    assert refused.value.offset == offset and "vmlinuz" in str(refused.value)


@pytest.mark.parametrize("size", [0, 1, 0x1FF, 0x205, 0x262, 0x400])
def test_a_truncated_kernel_is_refused(memory, size):
    with pytest.raises(ImageError):
        load(memory, bzimage()[:size])


@pytest.mark.parametrize("initrd, cmdline, why", [
    (bytes(13 * MIB), "", "ramdisk"), (b"", "x" * 2048, "2047"), (b"", "a\0b", "zero byte")])
def test_what_does_not_fit_is_a_message_and_writes_nothing(memory, initrd, cmdline, why):
    with pytest.raises(UserError, match=why):
        load(memory, bzimage(), initrd, cmdline)
    assert memory.read(16 * MIB, 11) == bytes(11)


def test_a_kernel_that_needs_more_ram_than_there_is_says_so(memory):
    with pytest.raises(UserError, match="needs RAM up to 48 MiB"):
        load(memory, bzimage([(0x260, "<I", 32 * MIB)]))


XEN_NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x12_3456)


def test_an_elf_kernel_is_entered_in_protected_mode_with_the_start_info(memory):
    entry = pvh.load(memory, 32 * MIB, Blob(executable(62, MIB, b"code", notes=XEN_NOTE), "vmlinux"), b"disk", "quiet",
                     E820_MAP, 0xE_0000)
    assert entry.pc == 0x12_3456 and not entry.long_mode and memory.read(MIB, 4) == b"code"
    info = struct.unpack("<IIIIQQQQII", memory.read(entry.registers["rbx"], 56))
    assert info[0] == 0x336EC578 and info[3] == 1 and info[6] == 0xE_0000 and info[8] == 2
    assert memory.read(info[5], 6) == b"quiet\0"
    at, size = struct.unpack("<QQ", memory.read(info[4], 16))
    assert memory.read(at, size) == b"disk"


def test_an_elf_file_without_the_note_is_refused(memory):
    with pytest.raises(ImageError, match="PHYS32_ENTRY"):
        pvh.load(memory, 32 * MIB, Blob(executable(62, MIB, b"code"), "vmlinux"), b"", "", E820_MAP, 0)


@pytest.mark.parametrize("wide", [True, False])
def test_segments_go_to_their_physical_addresses_in_both_classes(memory, wide):
    assert Elf(Blob(executable(243, MIB, b"code", wide=wide), "x")).load(memory) == (MIB, MIB + 4)
    assert memory.read(MIB, 4) == b"code"


@pytest.mark.parametrize("size", range(0, 180, 7))
def test_a_truncated_elf_file_is_refused_and_never_a_traceback(memory, size):
    whole = executable(243, MIB, bytes(64), symbols={"tohost": 1}, notes=XEN_NOTE)
    with pytest.raises(ImageError):
        elf = Elf(Blob(whole[:size], "x"))
        elf.load(memory)
        list(elf.notes())


def test_garbled_elf_files_raise_nothing_but_user_errors(memory):
    import random

    draw = random.Random(1)
    whole = executable(243, MIB, bytes(64), symbols={"tohost": 1}, notes=XEN_NOTE)
    for _ in range(2000):
        garbled = bytearray(whole)
        for _ in range(draw.randrange(1, 6)):
            garbled[draw.randrange(len(whole))] = draw.randrange(256)
        try:
            elf = Elf(Blob(bytes(garbled), "x"))
            elf.load(memory)
            list(elf.notes()), elf.symbols()
        except UserError:
            pass


def test_an_elf_segment_outside_ram_is_refused(memory):
    with pytest.raises(UserError, match="not RAM"):
        Elf(Blob(executable(243, 0x8000_0000, b"code"), "x")).load(memory)


IMAGE = struct.pack("<IIQQQIIQ8s4s", 0x6F, 0, 0x20_0000, 0x1000, 0, 2, 0, 0, b"", b"RSC\x05").ljust(4096, b"\0")


def zboot(payload, kind=b"gzip"):
    return (b"MZ\0\0zimg" + struct.pack("<II8x", 64, len(payload)) + kind).ljust(64, b"\0") + payload


@pytest.mark.parametrize("wrapped", [IMAGE, gzip.compress(IMAGE), zboot(gzip.compress(IMAGE)), b"MZ" + IMAGE[2:]])
def test_a_riscv_image_is_found_in_whatever_is_around_it(wrapped):
    found = linux_riscv.unpack(Blob(wrapped, "vmlinux"))
    assert found.data[2:] == IMAGE[2:]


@pytest.mark.parametrize("image", [b"", b"not a kernel" * 100, gzip.compress(IMAGE)[:40], zboot(b"x", b"zstd"),
                                   b"\x1f\x8b garbage", IMAGE[:0x38] + bytes(64), gzip.compress(b"not a kernel" * 100)])
def test_what_is_no_riscv_image_is_refused(image):
    memory = Memory([(0x8000_0000, 32 * MIB)])
    with pytest.raises(ImageError):
        linux_riscv.load(memory, 0x8000_0000, 0x8200_0000, Blob(image, "vmlinux"), b"")
    memory.close()


def test_a_gzip_bomb_stops_at_the_limit():
    from guesthouse.system.firmware.blob import gunzip

    with pytest.raises(ImageError, match="at most 1 MiB"):
        gunzip(Blob(gzip.compress(bytes(8 * MIB)), "bomb"), MIB)


def test_a_tree_has_the_bytes_of_the_specification():
    root = devicetree.Node("", compatible="x").add(devicetree.Node("cpu@0", reg=5)) and devicetree.Node("", reg=[1, 2])
    tree = devicetree.flatten(root)
    structure = struct.unpack_from(">I", tree, 8)[0]
    assert tree[structure:structure + 36] == struct.pack(">9I", 1, 0, 3, 8, 0, 1, 2, 2, 9)
    assert tree.endswith(b"reg\0")


@pytest.mark.parametrize("size, encoded", [(10, b"\x0b"), (62, b"\x3f"), (63, b"\x41\x04"), (4093, b"\x4f\xff"),
                                           (4094, b"\x81\x00\x01")])
def test_a_package_length_counts_itself(size, encoded):
    assert aml.length(bytes(size)) == encoded


def test_names_and_numbers_are_encoded_as_chapter_20_says():
    assert aml.name_string("\\_SB.PCI0") == b"\\\x2e_SB_PCI0"
    assert aml.eisa_id("PNP0501") == b"\x0c\x41\xd0\x05\x01"
    assert [aml.integer(v) for v in (0, 1, 2, 0x1234, 1 << 31, 1 << 40)] == [
        b"\0", b"\1", b"\x0a\2", b"\x0b\x34\x12", b"\x0c\0\0\0\x80", b"\x0e\0\0\0\0\0\1\0\0"]


def test_the_fadt_has_the_size_of_its_revision():
    assert len(acpi.fadt(acpi.Pc(), 0, 0)) + 36 == 276


def test_slots_take_turns_at_the_interrupt_inputs():
    assert [acpi.interrupt_of(acpi.Pc(), slot, 0) for slot in range(1, 6)] == [16, 17, 18, 19, 16]


def test_a_file_that_cannot_be_read_is_a_message(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        Blob.of(tmp_path / "missing")
    assert SimpleNamespace(data=Blob.of(b"x").data).data == b"x"
