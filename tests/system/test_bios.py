import struct

import pytest

from guesthouse.system.firmware.bios import font, rom
from guesthouse.system.firmware.bios.assembler import Assembler
from guesthouse.system.firmware.bios.drives import MemoryDrive
from tests.system.bios_fake import STACK, Machine


@pytest.fixture
def pc():
    return Machine()


def sectors(count, kind="disk"):
    return MemoryDrive(b"".join(bytes([n & 0xFF, n >> 8 & 0xFF]) * 256 for n in range(count)), kind)


def test_the_assembler_fills_in_labels_and_refuses_what_it_does_not_know():
    made = Assembler(16)
    made.code("""start:
        mov ax, 0x1234
        jnz start
        jmp end
        end:
        hlt""")
    assert made.finish()[:9] == bytes.fromhex("B8 34 12 75 FB E9 00 00 F4")
    with pytest.raises(ValueError, match="no such instruction"):
        made.code("mov cx, 1")


def test_the_rom_has_its_entries_where_old_software_looks():
    image = rom.build().image
    assert len(image) == 65536 and image[0xFFF0:0xFFF5] == bytes.fromhex("EA 5B E0 00 F0")
    assert image[0xFFFE] == 0xFC and image[0xFF53] == 0xCF and image[0xFEA5] == 0xE9
    assert image[0xFA6E + 8 * 65:0xFA6E + 8 * 66] == font.glyphs(8)[520:528]


def test_tables_that_are_given_lie_aligned_in_the_rom():
    made = rom.build((b"x" * 17, b"table"))
    assert made.placed == (0xF0400, 0xF0420) and made.image[0x420:0x425] == b"table"


def test_boxes_join_and_letters_differ():
    for height in (8, 14, 16):
        made = font.glyphs(height)
        assert len(made) == 256 * height
        assert made[0xC4 * height:0xC5 * height].count(0xFF) == 1
        assert len({made[n * height:(n + 1) * height] for n in range(33, 127)}) == 94


def test_post_leaves_vectors_data_areas_and_goes_on_to_int_19(pc):
    guest = pc.guest
    assert guest.dword(4 * 0x10) >> 16 == 0xF000 and guest.word(0x413) == 639 and guest.word(0x40E) == 0x9FC0
    assert guest.word(0x41A) == guest.word(0x41C) == 0x1E
    assert guest.word(STACK + 2) == 0xF000 and pc.bios.rom[guest.word(STACK):][:2] == bytes.fromhex("FA 31")
    assert (0x21, 0x08) in pc.bus.written and (0xA1, 0x70) in pc.bus.written


def test_a_write_from_elsewhere_does_nothing(pc):
    pc.state.pc, pc.guest.ax = 0x7C00, 0x0E41
    before = bytes(pc.bus.memory)
    pc.bios.call()
    assert bytes(pc.bus.memory) == before


def test_a_reset_with_a_shutdown_code_resumes_where_it_was_told():
    pc = Machine(post=False)
    pc.bus.indexed[0x70][0x0F] = 0x0A
    pc.guest.set_dword(0x467, 0x1234_5678)
    pc.service("post")
    assert pc.guest.word(STACK) == 0x5678 and pc.guest.word(STACK + 2) == 0x1234


@pytest.mark.parametrize("why, frame, sp", [
    (0x0B, [0x5678, 0x1234, 0x0202], 0x100), (0x0C, [0x5678, 0x1234], 0xFE),
    (0x09, [0x1111, 0x2222, *range(8), 0x5678, 0x1234, 0x0203], 0x114),
])
def test_a_reset_may_go_on_by_a_return_from_another_stack(why, frame, sp):
    pc = Machine(post=False)
    pc.bus.indexed[0x70][0x0F] = why
    pc.guest.set_dword(0x467, 0x3000_0100)
    for n, value in enumerate(frame):
        pc.guest.set_word(0x3_0100 + 2 * n, value)
    pc.service("post")
    assert pc.guest.selector(2) == 0x3000 and pc.guest.sp == sp
    assert [pc.guest.word(0x3_0000 + sp + 2 * n) for n in (0, 1)] == [0x5678, 0x1234]
    if why == 0x09:
        assert (pc.guest.ds, pc.guest.es, pc.guest.ax, pc.guest.di, pc.guest.bp) == (0x1111, 0x2222, 7, 0, 2)
        assert pc.guest.flags & 0x41 == 0x40


# the screen

def test_teletype_writes_text_and_scrolls(pc):
    for character in b"Hello\r\nworld" + b"\n" * 24 + b"!":
        pc.interrupt(0x10, ah=0x0E, al=character)
    assert pc.row(0) == "world" and pc.row(24) == "     !"
    pc.interrupt(0x10, ah=3, bh=0)
    assert pc.guest.dx == 24 << 8 | 6


def test_characters_are_written_and_read_with_their_attribute(pc):
    pc.interrupt(0x10, ah=2, bh=0, dx=0x0203)
    pc.interrupt(0x10, ah=9, bh=0, al=0x41, bl=0x1E, cx=3)
    pc.interrupt(0x10, ah=8, bh=0)
    assert pc.guest.ax == 0x1E41 and pc.row(2) == "   AAA"


def test_a_string_moves_the_cursor_if_asked(pc):
    pc.bus.write(0x9000, b"text")
    pc.interrupt(0x10, ax=0x1301, bx=0x004F, cx=4, dx=0x0500, bp=0x9000)
    assert pc.row(5) == "text" and pc.bus.memory[0xB8000 + 801] == 0x4F and pc.guest.word(0x450) == 0x0504


@pytest.mark.parametrize("mode", [0, 1, 2, 3, 4, 5, 6, 7, 0xD, 0xE, 0xF, 0x10, 0x11, 0x12, 0x13])
def test_each_mode_can_be_set_and_asked_for(pc, mode):
    pc.interrupt(0x10, ah=0, al=mode)
    pc.interrupt(0x10, ah=0x0F)
    assert pc.guest.al == mode and pc.guest.ah in (40, 80)


def test_pixels_of_mode_13h_are_bytes(pc):
    pc.interrupt(0x10, ax=0x13)
    pc.interrupt(0x10, ax=0x0C2A, cx=5, dx=2)
    assert pc.bus.memory[0xA0000 + 645] == 0x2A
    pc.interrupt(0x10, ah=0x0D, cx=5, dx=2)
    assert pc.guest.al == 0x2A


def test_a_character_drawn_in_cga_graphics_is_read_back(pc):
    pc.interrupt(0x10, ax=6)
    pc.interrupt(0x10, ax=0x0951, bx=1, cx=1)
    pc.interrupt(0x10, ah=8, bh=0)
    assert pc.guest.al == 0x51


def test_fonts_are_in_the_rom(pc):
    pc.interrupt(0x10, ax=0x1130, bh=6)
    at = (pc.guest.es << 4) + pc.guest.bp
    assert pc.bus.read(at + 16 * 65, 16) == font.glyphs(16)[16 * 65:16 * 66] and pc.guest.cx == 16


def test_8x8_characters_make_50_rows(pc):
    pc.interrupt(0x10, ax=0x1112, bl=0)
    assert pc.guest.byte(0x484) == 49 and pc.bus.indexed[0x3D4][9] == 0x47


def test_vesa_modes_are_listed_described_and_set():
    pc = Machine(framebuffer=0xE000_0000)
    pc.guest.load_es(0x900)
    pc.interrupt(0x10, ax=0x4F00, di=0)
    assert pc.guest.ax == 0x4F and pc.bus.read(0x9000, 6) == b"VESA\x00\x03"
    assert struct.unpack("<H", pc.bus.read(0x9030, 2)) == (0x100,)
    pc.interrupt(0x10, ax=0x4F01, cx=0x118, di=0)
    block = pc.bus.read(0x9000, 256)
    assert struct.unpack_from("<HH", block, 0x12) == (1024, 768) and block[0x19] == 24
    assert struct.unpack_from("<I", block, 0x28) == (0xE000_0000,)
    pc.interrupt(0x10, ax=0x4F02, bx=0x4118)
    assert pc.bus.indexed[0x1CE][1] == 1024 and pc.bus.indexed[0x1CE][4] == 0x41
    pc.interrupt(0x10, ax=0x4F03)
    assert pc.guest.bx == 0x4118


# disks

def test_sectors_are_read_by_cylinder_head_and_sector():
    pc = Machine(sectors(2880, "floppy"))
    pc.interrupt(0x13, ax=0x0202, cx=0x0103, dx=0x0100, bx=0x9000)
    assert not pc.failed and pc.guest.ax == 2
    assert pc.bus.read(0x9000, 2) == struct.pack("<H", (1 * 2 + 1) * 18 + 2)


def test_sectors_are_written_and_a_protected_medium_refuses():
    disk = sectors(100)
    pc = Machine(disk)
    pc.bus.write(0x9000, b"new" * 200)
    pc.interrupt(0x13, ax=0x0301, cx=0x0002, dx=0x0080, bx=0x9000)
    assert not pc.failed and disk.data[512:515] == b"new"
    disk.writable = False
    pc.interrupt(0x13, ax=0x0301, cx=0x0002, dx=0x0080, bx=0x9000)
    assert pc.failed and pc.guest.ah == 3
    pc.interrupt(0x13, ah=1, dl=0x80)
    assert pc.guest.ah == 3


def test_extended_reads_take_a_packet_and_tell_the_size():
    pc = Machine(sectors(1000))
    pc.interrupt(0x13, ah=0x41, bx=0x55AA, dl=0x80)
    assert not pc.failed and pc.guest.bx == 0xAA55
    pc.bus.write(0x600, struct.pack("<BBHHHQ", 16, 0, 2, 0x9000, 0, 500))
    pc.interrupt(0x13, ah=0x42, si=0x600, dl=0x80)
    assert not pc.failed and pc.bus.read(0x9200, 2) == struct.pack("<H", 501)
    pc.bus.write(0x600, struct.pack("<H", 26))
    pc.interrupt(0x13, ah=0x48, si=0x600, dl=0x80)
    assert struct.unpack("<Q", pc.bus.read(0x610, 8)) == (1000,)
    pc.bus.write(0x600, struct.pack("<BBHHHQ", 16, 0, 2, 0x9000, 0, 999))
    pc.interrupt(0x13, ah=0x42, si=0x600, dl=0x80)
    assert pc.failed and pc.guest.ah == 4


def test_an_ide_drives_parameters_end_with_where_it_is_and_other_drives_do_not():
    ide, other = sectors(1000), sectors(1000)
    ide.place = 1, 1, 0, 1
    pc = Machine(ide, other)
    for unit, size in ((0x80, 66), (0x81, 30)):
        pc.bus.write(0x600, struct.pack("<H", 70) + bytes(68))
        pc.interrupt(0x13, ah=0x48, si=0x600, dl=unit)
        assert not pc.failed and pc.guest.word(0x600) == size
    pc.bus.write(0x600, struct.pack("<H", 66))
    pc.interrupt(0x13, ah=0x48, si=0x600, dl=0x80)
    path = pc.bus.read(0x61E, 36)
    assert path[:3] == b"\xDD\xBE\x24" and sum(path) & 0xFF == 0
    assert path[6:18] == b"PCI ATA     " and path[18:22] == b"\0\1\1\0" and path[26:34] == b"\1" + bytes(7)


def test_a_changed_floppy_is_reported_once():
    floppy = sectors(2880, "floppy")
    pc = Machine(floppy)
    floppy.changed = True
    pc.interrupt(0x13, ax=0x0201, cx=1, dx=0, bx=0x9000)
    assert pc.failed and pc.guest.ah == 6
    pc.interrupt(0x13, ax=0x0201, cx=1, dx=0, bx=0x9000)
    assert not pc.failed


def test_a_drive_that_is_not_ready_is_asked_again():
    disk = sectors(10)
    pc = Machine(disk)
    read, disk.read = disk.read, lambda first, count: None
    assert pc.interrupt(0x13, ax=0x0201, cx=1, dx=0x80, bx=0x9000) is True
    assert pc.guest.ax == 0x0201
    disk.read = read
    assert pc.interrupt(0x13) is False and pc.guest.ax == 1


@pytest.mark.parametrize("unit", [0, 1, 0x80, 0xE0])
def test_a_drive_that_is_not_there_fails(pc, unit):
    pc.interrupt(0x13, ax=0x0201, cx=1, dx=unit, bx=0x9000)
    assert pc.failed


def test_parameters_say_the_geometry():
    pc = Machine(sectors(2880, "floppy"))
    pc.interrupt(0x13, ah=8, dl=0)
    assert (pc.guest.cx, pc.guest.dx, pc.guest.bl) == (0x4F12, 0x0101, 4)


def test_the_disk_tables_say_how_the_disk_itself_counts():
    same = MemoryDrive(b"", geometry=(410, 16, 38))
    translated = MemoryDrive(b"", geometry=(520, 32, 63))
    same.sectors, translated.sectors = 410 * 16 * 38 + 5, 520 * 32 * 63
    pc = Machine(same, translated)
    vectors = [pc.guest.dword(4 * n) for n in (0x41, 0x46)]
    first, second = (pc.bus.read((at >> 16) * 16 + (at & 0xFFFF), 16) for at in vectors)
    assert struct.unpack("<HBHHBBBBBHBB", first)[:11] == (410, 16, 0, 0xFFFF, 0, 8, 0, 0, 0, 410, 38)
    assert struct.unpack("<HBBBHBBHBHBB", second)[:11] == (520, 32, 0xA0, 63, 0xFFFF, 0, 8, 1040, 16, 1040, 63)
    assert sum(first) & 0xFF == sum(second) & 0xFF == 0
    pc.guest.set_word(0x9000, 26)
    pc.interrupt(0x13, ah=0x48, dl=0x81, si=0x9000)
    assert struct.unpack("<III", pc.bus.read(0x9004, 12)) == (1040, 16, 63)


# starting

def boot_frame(pc):
    return pc.guest.word(STACK + 2), pc.guest.word(STACK), pc.guest.dl


def test_the_boot_order_skips_what_cannot_start():
    disk = sectors(10)
    disk.data[510:512] = b"\x55\xAA"
    pc = Machine(MemoryDrive(bytes(1474560), "floppy"), disk)
    assert pc.interrupt(0x19) is False and boot_frame(pc) == (0, 0x7C00, 0x80)
    assert pc.bus.read(0x7DFE, 2) == b"\x55\xAA"


def test_without_anything_to_start_the_bios_says_so_and_waits(pc):
    assert pc.interrupt(0x19) is True and pc.interrupt(0x19) is True
    assert pc.row(0).startswith("No bootable device") and pc.row(1) == ""


def cd(emulation=0, image=b"image".ljust(2048, b"\0"), count=4):
    made = bytearray(20 * 2048)
    made[17 * 2048:17 * 2048 + 30] = b"\0CD001\x01EL TORITO SPECIFICATION"
    made[17 * 2048 + 0x47] = 18
    entry = bytearray(32)
    entry[0], entry[30:32] = 1, b"\x55\xAA"
    struct.pack_into("<H", entry, 28, -sum(struct.unpack("<16H", entry)) & 0xFFFF)
    struct.pack_into("<16s", entry, 4, b"")
    made[18 * 2048:18 * 2048 + 32] = entry
    made[18 * 2048 + 32:18 * 2048 + 44] = struct.pack("<BBHBBHI", 0x88, emulation, 0, 0, 0, count, 20)
    return MemoryDrive(bytes(made) + image, "cdrom")


def test_a_cd_without_emulation_is_loaded_and_is_drive_e0h():
    pc = Machine(cd())
    assert pc.interrupt(0x19) is False and boot_frame(pc) == (0, 0x7C00, 0xE0)
    assert pc.bus.read(0x7C00, 5) == b"image"
    pc.interrupt(0x13, ax=0x4B01, dl=0xE0, si=0x600)
    assert not pc.failed and pc.bus.memory[0x600:0x603] == b"\x13\x00\xE0"
    pc.bus.write(0x600, struct.pack("<BBHHHQ", 16, 0, 1, 0x9000, 0, 20))
    pc.interrupt(0x13, ah=0x42, si=0x600, dl=0xE0)
    assert pc.bus.read(0x9000, 5) == b"image"


@pytest.mark.parametrize("function", [0x02, 0x03, 0x04, 0x08])
def test_a_cd_has_no_cylinders(function):
    """Else programs such as HDT take it for a disk, and its sectors of 2048 bytes for those of one."""
    pc = Machine(cd())
    pc.interrupt(0x13, ax=function << 8 | 1, cx=1, dl=0xE0, bx=0x9000)
    assert pc.failed and pc.guest.ax == 0x0101


def test_a_cd_with_a_floppy_image_takes_the_place_of_drive_a():
    image = b"".join(bytes([n & 0xFF]) * 512 for n in range(2880))
    pc = Machine(cd(2, image, 1))
    assert pc.interrupt(0x19) is False and boot_frame(pc) == (0, 0x7C00, 0)
    pc.interrupt(0x13, ax=0x0203, cx=0x0002, dx=0, bx=0x9000)
    assert not pc.failed and pc.bus.read(0x9000, 1025)[::512] == b"\x01\x02\x03"
    pc.interrupt(0x13, ax=0x4B00, dl=0x7F, si=0x600)
    pc.interrupt(0x13, ax=0x0201, cx=0x0002, dx=0, bx=0x9000)
    assert pc.failed


# the keyboard

@pytest.mark.parametrize("codes, key", [
    ([0x1E], 0x1E61), ([0x2A, 0x1E], 0x1E41), ([0x1D, 0x2E], 0x2E03), ([0x38, 0x1E], 0x1E00), ([0x3B], 0x3B00),
    ([0x2A, 0x3B], 0x5400), ([0x57], 0x8500), ([0x48], 0x4800), ([0xE0, 0x48], 0x48E0), ([0x45, 0x48], 0x4838),
    ([0x3A, 0xBA, 0x1E], 0x1E41), ([0x1C], 0x1C0D), ([0x2A, 0x05], 0x0524), ([0xE0, 0x1C], 0xE00D), ([0x39], 0x3920),
    ([0x2A, 0x0F], 0x0F00), ([0x36, 0x35], 0x353F), ([0x2A, 0xAA, 0x10], 0x1071)])
def test_scan_codes_become_keys(pc, codes, key):
    pc.keys(*codes)
    pc.interrupt(0x16, ah=0x11)
    assert not pc.zero and pc.guest.ax == key


def test_the_keyboard_is_waited_for_and_its_buffer_is_bounded(pc):
    assert pc.interrupt(0x16, ah=0) is True
    pc.keys(*[0x1E, 0x9E] * 40)
    taken = 0
    while not pc.interrupt(0x16, ah=1) and not pc.zero:
        assert pc.interrupt(0x16, ah=0) is False and pc.guest.ax == 0x1E61
        taken += 1
    assert taken == 15


def test_alt_and_digits_make_a_character(pc):
    pc.keys(0x38, 0x4D, 0xCD, 0x4C, 0xCC, 0xB8)
    pc.interrupt(0x16, ah=0)
    assert pc.guest.ax == 65


def test_the_old_functions_show_extended_keys_as_the_old_ones(pc):
    pc.keys(0xE0, 0x48, 0xE0, 0xC8)
    pc.interrupt(0x16, ah=0)
    assert pc.guest.ax == 0x4800


def test_ctrl_break_print_screen_and_ctrl_alt_del(pc):
    assert pc.keys(0x1D, 0xE0, 0x46) == 1 and pc.guest.byte(0x471) == 0x80
    pc.keys(0xE0, 0xC6, 0x9D)
    assert pc.keys(0xE0, 0x37) == 2
    pc.keys(0x1D, 0x38, 0x53)
    assert pc.resets == [1]


# the rest

def test_memory_is_told_in_all_ways(pc):
    pc.interrupt(0x12)
    assert pc.guest.ax == 639
    pc.interrupt(0x15, ax=0xE801)
    assert (pc.guest.ax, pc.guest.bx) == (15 * 1024, 16 * 16)
    lines, pc.guest.ebx = [], 0
    while True:
        pc.interrupt(0x15, eax=0xE820, edx=0x534D4150, ecx=20, di=0x9000)
        assert not pc.failed and pc.guest.eax == 0x534D4150
        lines.append(struct.unpack("<QQI", pc.bus.read(0x9000, 20)))
        if not pc.guest.ebx:
            break
    assert lines == [(0, 0x9FC00, 1), (0x9FC00, 0x400, 2), (0x100000, 31 << 20, 1)]


def test_a_block_is_moved_between_the_bases_of_two_descriptors(pc):
    pc.bus.write(0x9000, b"moved")
    table = bytes(16) + b"\xFF\xFF\x00\x90\x00\x93\0\0" + b"\xFF\xFF\x00\x00\x10\x93\0\0" + bytes(16)
    pc.bus.write(0x600, table)
    pc.interrupt(0x15, ah=0x87, si=0x600, cx=3)
    assert not pc.failed and pc.bus.read(0x100000, 5) == b"moved"


def test_a_wait_ends_when_the_clock_has_ticked_often_enough(pc):
    assert pc.interrupt(0x15, ah=0x86, cx=0, dx=2000) is True
    for ticks in range(1, 10):
        pc.bus.indexed[0x70][0x0C] = 0xC0
        pc.service("clock")
        if not pc.interrupt(0x15):
            break
    assert ticks == 3 and not pc.failed and not pc.bus.indexed[0x70][0x0B] & 0x40


def test_the_keyboard_intercept_lets_every_key_pass(pc):
    pc.interrupt(0x15, ax=0x4F1E)
    assert pc.failed and pc.guest.al == 0x1E


def test_what_is_not_there_is_refused_and_noted_once(pc):
    for _ in range(2):
        pc.interrupt(0x15, ax=0x9900)
        assert pc.failed and pc.guest.ah == 0x86
    assert pc.bios.messages == ["INT 15h, AX=9900h"]


def test_time_and_date_come_from_cmos_and_ticks_from_memory(pc):
    pc.bus.indexed[0x70].update({4: 0x12, 2: 0x34, 0: 0x56, 0x32: 0x20, 9: 0x26, 8: 0x11, 7: 0x22})
    pc.interrupt(0x1A, ah=2)
    assert (pc.guest.cx, pc.guest.dh) == (0x1234, 0x56)
    pc.interrupt(0x1A, ah=4)
    assert (pc.guest.cx, pc.guest.dx) == (0x2026, 0x1122)
    pc.interrupt(0x1A, ah=1, cx=1, dx=2)
    pc.interrupt(0x1A, ah=0)
    assert (pc.guest.cx, pc.guest.dx, pc.guest.al) == (1, 2, 0)


def test_the_pci_bios_finds_devices_by_their_name(pc):
    pc.bus.indexed[0xCF8][0x8000_1000] = 0x1005_1AF4
    pc.bus.indexed[0xCF8][0x8000_100C] = 0
    pc.interrupt(0x1A, ax=0xB101)
    assert pc.guest.edx == 0x20494350
    pc.interrupt(0x1A, ax=0xB102, cx=0x1005, dx=0x1AF4, si=0)
    assert not pc.failed and pc.guest.bx == 0x10
    pc.interrupt(0x1A, ax=0xB10A, bx=0x10, di=0)
    assert pc.guest.ecx == 0x1005_1AF4
    pc.interrupt(0x1A, ax=0xB102, cx=1, dx=2, si=0)
    assert pc.failed and pc.guest.ah == 0x86


def test_a_serial_port_sends_and_says_when_nothing_came(pc):
    pc.interrupt(0x14, ah=1, al=0x55, dx=0)
    assert (0x3F8, 0x55) in pc.bus.written
    pc.interrupt(0x14, ah=2, dx=0)
    assert pc.guest.ah == 0x80


def test_a_mouse_packet_is_handed_over_when_it_is_whole(pc):
    pc.guest.load_es(0x1234)
    pc.interrupt(0x15, ax=0xC207, bx=0x10)
    answers = []
    for byte in (0x09, 5, 7):
        pc.guest.al = byte
        answers.append(pc.service("mouse"))
    assert answers == [False, False, True] and (pc.guest.ax, pc.guest.bx, pc.guest.cx) == (9, 5, 7)


def test_callers_behind_page_tables_are_reached_where_their_pages_are(pc):
    state, guest = pc.state, pc.guest
    guest.set_dword(0x2000, 0x3001)
    for n in range(0x110):
        guest.set_dword(0x3000 + 4 * n, n << 12 | 1)
    guest.set_dword(0x3000 + 4 * 9, 0x10_0001)
    state.cr3, state.cr0 = 0x2000, 1 << 31
    guest.write(0x8FFE, b"abcd")
    state.cr0 = 0
    assert guest.read(0x8FFE, 2) == b"ab" and guest.read(0x100000, 2) == b"cd"


def test_what_the_screen_can_do_is_told_with_its_static_table(pc):
    pc.interrupt(0x10, ah=0x1B, bx=0, di=0x9000)
    table, state = pc.guest.dword(0x9000), pc.bus.read(0x9000, 64)
    assert pc.guest.al == 0x1B and pc.bus.read((table >> 16 << 4) + (table & 0xFFFF), 3) == b"\xFF\xE0\x0F"
    assert state[4] == 3 and state[0x22] == 25
