import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Died as CpuDied, MemoryRead, MemoryWrite, PortRead, PortWrite, Window
from guesthouse.errors import UserError
from guesthouse.manager.building import code_folder
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.bays import made
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.chips.vga import Picture, Text
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.memory import OutsideRam
from tests.system.fake import HALT, Scripted

MIB = 1 << 20
JUMP = bytes.fromhex("ea 00 f0 00 f0")  # to F000:F000


def image(code="f4", size=0x1_0000):
    """Firmware that jumps from the reset vector to `code`."""
    rom = bytearray(b"\xFF" * size)
    body = bytes.fromhex(code)
    rom[size - 0x1000:size - 0x1000 + len(body)] = body
    rom[size - 16:size - 11] = JUMP
    return bytes(rom)


@pytest.fixture
def pc():
    """Boards whose processor runs by a script; with nothing in it, plainly."""
    made = []

    def make(*script, firmware=None, **options):
        def processor(memory):
            real = SoftVcpu(X86_GUEST)
            return Scripted(script, real.state) if script else real

        made.append(ClassicPc(16 * MIB, VirtualClock(), processor,
                              firmware=image() if firmware is None else firmware, random_bytes=lambda n: b"r" * n,
                              **options))
        return made[-1]

    yield make
    for board in made:
        board.close()


def test_the_processor_begins_at_the_reset_vector_and_goes_on_below_one_megabyte(pc):
    b = pc(firmware=image("b8 34 12 0f 20 c3 f4"))  # mov ax,1234h; mov ebx,cr0; hlt
    b.run(instructions=3)
    assert int(b.state.r[0]) == 0x1234 and int(b.state.r[3]) & 1 == 0
    assert int(b.state.segments[1].selector) == 0xF000 and int(b.state.pc) == 0xF_F006


def with_code_of_its_chips(way, program):
    """The engine, None for the plain way, and a PC whose processor runs this program that way."""
    code = None if way == "plain" else engine(X86_GUEST, code_folder())
    return code, ClassicPc(16 * MIB, VirtualClock(), lambda memory: SoftVcpu(X86_GUEST, code), firmware=image(program),
                           random_bytes=lambda n: b"r" * n)


PRINTS = "ba ce 03 b8 08 55 ef b8 05 00 ef ec ba c8 03 b0 10 ee 42 b0 3f ee ee ee ba c4 03 ec f4"


@pytest.mark.parametrize("way", ("compiled", "plain"))
def test_the_ports_that_choose_planes_bits_and_colours_cost_neither_exits_nor_time(way):
    code, b = with_code_of_its_chips(way, PRINTS)
    b.run(instructions=21)
    exits = b.statistics()
    assert (exits.get("exits.PortWrite", 0), exits.get("exits.PortRead", 0)) == ((0, 0) if code else (6, 2))
    assert b.clock.now() == b.count() and b.vga.planes.graphics[8] == 0x55
    assert bytes(b.vga.palette[48:51]) == b"\x3F\x3F\x3F"
    b.close()


SENDS = "ba fd 03 ec 88 c3 ba f8 03 b9 2c 01 88 c8 ee e2 fb f4"  # bl = line status; 300 bytes without a look at it


@pytest.mark.parametrize("way", ("compiled", "plain"))
def test_what_the_board_has_answered_is_not_done_again_by_a_processor(way):
    _, b = with_code_of_its_chips(way, SENDS)
    heard = []
    b.serial[0].output = heard.append
    b.serial[0].uart.receive_break()
    b.run(instructions=6 + 3 * 300)
    assert b"".join(heard) == bytes(n & 0xFF for n in range(300, 0, -1))
    assert int(b.state.r[3]) & 0xFF == 0x71  # the break is in the answer
    b.close()


DRAWS = ("ba c2 03 b0 67 ee"  # the VGA's memory is on
         "0e 1f b8 00 a0 8e c0 ba c4 03 b8 02 0f ef b8 04 06 ef b2 ce b8 08 ff ef"  # all planes, all bits
         "be 00 f0 31 ff b9 00 01 f3 a4 26 80 36 00 00 ff 26 8a 1e 00 00 f4")  # copy 256 bytes; change one, and read it


@pytest.mark.parametrize("way", ("compiled", "plain"))
def test_display_memory_costs_compiled_processors_no_exits(way):
    code, b = with_code_of_its_chips(way, DRAWS)
    b.run(instructions=300)
    exits = b.statistics()
    assert (exits.get("exits.MemoryWrite", 0), exits.get("exits.MemoryRead", 0)) == ((0, 0) if code else (257, 2))
    first = bytes(b.memory.read(0xF_F000, 256))
    assert bytes(b.vga.planes.planes[2][:256]) == bytes([first[0] ^ 0xFF]) + first[1:]
    assert int(b.state.r[3]) & 0xFF == first[0] ^ 0xFF
    b.close()


def test_the_guest_cannot_write_its_rom(pc):
    b = pc(firmware=image("0e 1f c7 06 00 f0 00 00 a1 00 f0 f4"))  # ds = cs; [f000h] = 0; ax = [f000h]
    b.run(instructions=5)
    assert int(b.state.r[0]) & 0xFFFF == 0x1F0E


def test_a_key_is_an_interrupt_1_and_a_scancode(pc):
    def begin(port, base, wiring):
        return [PortWrite(port, 1, 0x11), *[PortWrite(port + 1, 1, v) for v in (base, wiring, 1, 0)]]

    def on(vcpu):
        vcpu.state.flags |= type(vcpu.state.flags)(0x200)

    b = pc(*begin(0x20, 0x08, 4), PortWrite(0x64, 1, 0x60), PortWrite(0x60, 1, 0x65), on, HALT, Window(),
           (PortRead, 0x60, 1), CpuDied("end"))
    b.keyboard.press("enter")
    b.run()
    assert b.vcpu.injected == [0x09] and b.vcpu.answers == [0x1C]


def test_the_framebuffer_lies_where_the_card_says_and_takes_pixels(pc):
    b = pc(MemoryWrite(0xC100_0000, 4, 0x00FF_8040), (MemoryRead, 0xC100_0000, 4), CpuDied("end"))
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0xC100_0000)
    b.pci.host.config_write(0, 3, 0, 0x04, 2, 2)
    assert b.frame == 0xC100_0000
    b.run()
    assert b.vcpu.answers == [0x00FF_8040]


def test_memory_that_the_firmware_keeps_for_itself_is_not_offered(pc):
    kinds = {m.start: (m.size, m.kind) for m in pc().memory_map()}
    assert kinds[0] == (0x9_FC00, 1) and kinds[0x9_FC00] == (0x400, 2) and kinds[0xFFFF_0000] == (0x1_0000, 2)


def test_large_firmware_ends_at_4_gib_and_its_last_128_kib_at_1_mib(pc):
    b = pc(firmware=b"\x11" * 0x2_0000 + image(size=0x2_0000))
    assert b.memory.read(0xFFFC_0000, 1) == b"\x11" and b.memory.read(0xE_0000, 1) == b"\xFF"
    with pytest.raises(OutsideRam):
        b.memory.read(0xFFFB_FFFF, 1)


@pytest.mark.parametrize("wrong", [b"", b"x" * 4095, bytes(17 * MIB)])
def test_firmware_that_does_not_fit_is_a_message(pc, wrong):
    with pytest.raises(UserError, match="whole pages"):
        pc(firmware=wrong)


def test_a_screen_can_be_looked_at_before_anything_ran(pc):
    screen = pc().screen()
    assert isinstance(screen, (Text, Picture))


def test_disks_and_cds_are_on_the_cables_in_their_order(pc):
    drives = [Attached("floppy"), Attached("disk", Memory(b"\xAB" * 2048)),
              Attached("cdrom", Memory(bytes(2048), 2048))]
    b = pc(PortWrite(0x1F6, 1, 0xE0), PortWrite(0x1F2, 1, 1), PortWrite(0x1F7, 1, 0x20), (PortRead, 0x1F0, 2),
           PortWrite(0x1F6, 1, 0xF0), (PortRead, 0x1F5, 1), (PortRead, 0x177, 1), CpuDied("end"), drives=drives)
    b.run()
    assert b.vcpu.answers == [0xABAB, 0xEB, 0x7F]


def test_a_pc_has_places_for_four_disks(pc):
    with pytest.raises(UserError, match="5 disks"):
        pc(drives=[Attached("disk", Memory(bytes(512)))] * 5)


def test_a_disk_counts_as_the_firmware_says_if_a_disk_can():
    small = Attached("disk", Memory(bytes(900 * 512)), geometry=(12, 4, 17))
    assert made(small, serial_ata=False).geometry == (13, 4, 17)
    large = Attached("disk", Memory(bytes(900 * 512)), geometry=(1, 32, 17))
    assert made(large, serial_ata=False).geometry == (1, 16, 63)


def test_a_drive_without_a_medium_refuses_and_takes_one():
    drive = Attached("floppy")
    with pytest.raises(OSError, match="no medium"):
        drive.read(0, 1)
    drive.insert(Memory(bytes(737_280)))
    assert drive.changed and drive.present and drive.geometry == (80, 2, 9) and drive.read(0, 1) == bytes(512)


def test_a_drive_of_no_known_kind_is_a_message():
    with pytest.raises(UserError, match="drum"):
        Attached("drum")


def test_the_floppy_controller_knows_what_is_in_its_drives(pc):
    drive = Attached("floppy", Memory(bytes(737_280)))
    b = pc(drives=[Attached("disk", Memory(bytes(512))), drive])
    assert b.floppy.disks[0] is drive
    drive.eject()
    assert b.floppy.disks[0] is None
    drive.insert(Memory(bytes(1_474_560)))
    assert b.floppy.disks[0] is drive and drive.geometry == (80, 2, 18)


def test_a_pc_has_places_for_four_floppy_drives(pc):
    with pytest.raises(UserError, match="5 floppy"):
        pc(drives=[Attached("floppy")] * 5)


# The vector of IRQ 13; both 8259s; FNINIT; zero division unmasked; FLD1; FLDZ; FDIVP; FWAIT; CLI; HLT. The handler:
# OUT F0h; FNSTSW; FNCLEX; BX = AX; end of interrupt; IRET.
DIVIDES = (
    "31c08ed88ed0bc0070c706d4014df08c0ed601b011e620e6a0b008e621b070e6a1b004e621b002e6a1b001e621e6"
    "a1b0fbe621b0dfe6a1fbdbe3c70600057b03d92e0005d9e8d9eedef99bfaf4e6f0dfe0dbe289c3b020e6a0e620cf"
)


def test_an_error_of_the_coprocessor_is_irq_13_where_the_guest_has_not_set_ne(pc):
    b = pc(firmware=image(DIVIDES))
    b.run(instructions=60)
    assert int(b.state.r[3]) & 0x80FF == 0x8084, "zero division is pending when the handler looks"
    assert int(b.state.fsw()) & 0xFF == 0 and not b.coprocessor.irq.high
