import struct

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.errors import ImageError, UserError
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.pc import PcBoard
from guesthouse.system.chips.vga import Text
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware import multiboot
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.firmware.linux_x86 import E820
from guesthouse.system.memory import Memory
from tests.system.elves import executable

MIB, CODE = 1 << 20, b"\xF4"
E820_MAP = [E820(0, 0x9_F000, 1), E820(MIB, 31 * MIB, 1)]
SCREEN = multiboot.Framebuffer(0xE000_0000, 4096, 1024, 768, 32)


@pytest.fixture
def memory():
    made = Memory([(0, 32 * MIB)])
    yield made
    made.close()


def header_1(flags=0, *more):
    magic = 0x1BADB002
    return struct.pack(f"<{3 + len(more)}I", magic, flags, -(magic + flags) & 0xFFFF_FFFF, *more)


def header_2(*tags):
    body = b"".join((struct.pack("<HHI", kind, flags, 8 + len(data)) + data).ljust(-(-(8 + len(data)) // 8) * 8, b"\0")
                    for kind, flags, data in (*tags, (0, 0, b"")))
    length = 16 + len(body)
    return struct.pack("<4I", 0xE85250D6, 0, length, -(0xE85250D6 + length) & 0xFFFF_FFFF) + body


def load(memory, image, cmdline="", modules=(), video=lambda *wanted: None):
    machine = multiboot.Machine(memory, 32 * MIB, E820_MAP, 0, video)
    return multiboot.load(machine, Blob(image, "kernel"), cmdline, modules)


def test_an_elf_kernel_is_told_of_memory_modules_and_its_command_line(memory):
    modules = [multiboot.Module(b"first", "one"), multiboot.Module(b"second" * 1000)]
    entry = load(memory, executable(3, 2 * MIB, header_1() + CODE, entry=2 * MIB + 12, wide=False), "a b", modules)
    info = struct.unpack("<22I", memory.read(entry.registers["rbx"], 88))
    assert (entry.pc, entry.long_mode, entry.registers["rax"]) == (2 * MIB + 12, False, 0x2BADB002)
    assert info[0] & 0x4D == 0x4D and info[1:3] == (0x9_F000 >> 10, 31 << 10)
    assert memory.read(info[4], 11) == b"kernel a b\0" and memory.read(info[16], 10) == b"guesthouse"
    first, second = (struct.unpack("<4I", memory.read(info[6] + 16 * n, 16)) for n in range(2))
    assert memory.read(first[0], 5) == b"first" and memory.read(first[2], 4) == b"one\0"
    assert second[0] % 4096 == 0 and second[1] - second[0] == 6000 and second[0] >= first[1] > 2 * MIB
    assert struct.unpack("<IQQI", memory.read(info[12] + 24, 24)) == (20, MIB, 31 * MIB, 1)


def test_a_file_of_any_format_goes_where_its_header_says(memory):
    addresses = header_1(0x1_0000, 3 * MIB + 8, 3 * MIB, 0, 3 * MIB + 0x100, 3 * MIB + 0x30)
    entry = load(memory, b"\xAA" * 512 + b"before!!" + addresses + CODE)
    assert entry.pc == 3 * MIB + 0x30 and memory.read(3 * MIB, 8) == b"before!!"
    assert memory.read(3 * MIB + 0x28, 1) == CODE


def test_a_kernel_that_lies_low_is_not_overwritten_by_what_it_is_told(memory):
    entry = load(memory, executable(3, 0x8000, header_1() + b"\x55" * 0x4000, entry=0x800C, wide=False))
    assert memory.read(0x800C, 0x4000) == b"\x55" * 0x4000 and entry.registers["rbx"] >= 0xC00C


def test_version_2_tells_in_tags(memory):
    asks = header_2((5, 0, struct.pack("<3I", 800, 600, 32)), (1, 0, struct.pack("<I", 6)))
    wanted = []

    def video(*mode):
        wanted.append(mode)
        return SCREEN

    kernel = executable(3, 2 * MIB, bytes(4) + asks + CODE, wide=False)
    entry = load(memory, kernel, "x", [multiboot.Module(b"m", "name")], video)
    at = entry.registers["rbx"]
    total, tags = struct.unpack("<I", memory.read(at, 4))[0], {}
    step = 8
    while step < total:
        kind, size = struct.unpack("<2I", memory.read(at + step, 8))
        tags[kind] = memory.read(at + step + 8, size - 8)
        step += -(-size // 8) * 8
    assert entry.registers["rax"] == 0x36D76289 and wanted == [(800, 600, 32, False)]
    assert tags[1] == b"kernel x\0" and tags[3][8:] == b"name\0" and 0 in tags
    assert struct.unpack_from("<2I2QII", tags[6]) == (24, 0, 0, 0x9_F000, 1, 0)
    assert struct.unpack_from("<QIIIBB", tags[8]) == (0xE000_0000, 4096, 1024, 768, 32, 1)


@pytest.mark.parametrize("image, what", [
    (b"\x7fELF" + bytes(100), "multiboot header"), (header_1(0x8000) + CODE, "flags"),
    (header_2((99, 0, b"")) + CODE, "no tag 99"), (header_2((1, 0, struct.pack("<I", 12))) + CODE, "no tag 1"),
    (header_1(0x1_0000, 0, MIB, 0, 0, 0) + CODE, "addresses")])
def test_what_cannot_be_given_is_refused(memory, image, what):
    with pytest.raises(ImageError, match=what):
        load(memory, image.ljust(64, b"\0"))


def test_a_kernel_that_does_not_fit_is_a_message(memory):
    with pytest.raises(UserError, match="not all RAM"):
        load(memory, header_1(0x1_0000, MIB, MIB, 0, 64 * MIB, MIB) + CODE * 64)
    with pytest.raises(UserError, match="does not fit above"):
        load(memory, executable(3, 2 * MIB, header_1() + CODE, wide=False), "", [multiboot.Module(bytes(31 * MIB))])


def test_a_board_without_firmware_enters_the_kernel_at_once():
    board = PcBoard(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST), random_bytes=bytes)
    kernel = header_1() + bytes.fromhex("a300800000 891d04800000 f4")  # mov [8000h], eax; mov [8004h], ebx; hlt
    board.load_multiboot(executable(3, 2 * MIB, kernel, entry=2 * MIB + 12, wide=False))
    board.run(instructions=3)
    assert struct.unpack("<2I", board.memory.read(0x8000, 8)) == (0x2BADB002, int(board.state.r[3]))
    board.close()


def test_the_classic_pc_enters_it_when_its_bios_is_done_with_a_text_screen():
    board = ClassicPc(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST), random_bytes=bytes)
    kernel = header_1() + bytes.fromhex("66c705 00800b00 4107 f4")  # 'A' at the top left
    board.load_multiboot(executable(3, 2 * MIB, kernel, entry=2 * MIB + 12, wide=False))
    board.run(instructions=60_000)
    screen = board.screen()
    assert isinstance(screen, Text) and screen.cells[:1] == b"A"
    board.close()


def test_firmware_of_ones_own_does_not_start_kernels():
    board = ClassicPc(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST), firmware=bytes(4096))
    with pytest.raises(UserError, match="does not start kernels"):
        board.load_multiboot(executable(3, 2 * MIB, header_1() + CODE, wide=False))
    board.close()
