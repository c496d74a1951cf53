"""What lies below 1 MiB and in the ROM, as the chipset's registers, the A20 gate and resets have it."""

import pytest

from guesthouse.bits import u64
from guesthouse.clock import VirtualClock
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import MemoryRead, MemoryWrite, PortWrite
from guesthouse.storage.disk import Memory as MemoryDisk
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.cpu.x86.guest import X86_GUEST
from tests.system.fake import Scripted
from tests.system.test_pc_classic import JUMP

MIB = 1 << 20
PAM, SMRAM = 0x59, 0x72
Q35_SMRAM, ESMRAMC = 0x9D, 0x9E


def rom(size=0x4_0000, code=b"\xF4"):
    """Firmware whose pages can be told from each other, with code at F000:F000."""
    made = bytearray(b"".join(bytes([n]) * 0x1000 for n in range(size >> 12)))
    made[-0x1000:-0x1000 + len(code)] = code
    made[-16:-11] = JUMP
    return bytes(made)


@pytest.fixture
def pc():
    made = []

    def make(*script, code=b"\xF4", **options):
        def processor(memory):
            real = SoftVcpu(X86_GUEST)
            return Scripted(script, real.state) if script else real

        made.append(ClassicPc(16 * MIB, VirtualClock(), processor, firmware=rom(code=code), random_bytes=bytes,
                              **options))
        return made[-1]

    yield make
    for board in made:
        board.close()


def set_register(board, register, value):
    board.pci.host.config_write(0, 0, 0, register, 1, value)


def test_after_a_reset_the_rom_shows_its_end_and_below_it_nothing(pc):
    b = pc()
    assert b.memory.read(0xE_0000, 1) == b"\x20" and b.memory.read(0xF_0000, 1) == b"\x30"
    assert not b.memory.contains(0xC_0000) and not b.memory.contains(0xA_0000)


def test_writes_reach_the_ram_behind_a_rom_that_is_still_read(pc):
    b = pc(MemoryWrite(0xF_0010, 2, 0xBEEF), MemoryWrite(0xE_0000, 1, 0x55), (MemoryRead, 0xC_0000, 1))
    set_register(b, PAM, 0x20)
    b.run(instructions=5)
    assert b.memory.read(0xF_0010, 2) == b"\x30\x30" and b.vcpu.answers == [0xFF]
    set_register(b, PAM, 0x10)
    assert b.memory.read(0xF_0010, 2) == b"\xEF\xBE" and b.state.host_to_write(u64(0xF_0010)) == 0
    set_register(b, PAM + 5, 0x33)
    assert b.memory.read(0xE_0000, 1) == b"\x00", "where writing was not open nothing has been kept"
    assert b.state.host_to_write(u64(0xE_0000)) != 0


def test_each_register_has_two_parts_of_16_kib(pc):
    b = pc()
    set_register(b, PAM + 1, 0x31)
    assert b.state.host_to_write(u64(0xC_0000)) == 0 != b.state.host(u64(0xC_0000))
    assert b.state.host_to_write(u64(0xC_4000)) != 0 and not b.memory.contains(0xC_8000)


def test_smram_is_open_while_the_register_says_so_and_not_after_the_lock(pc):
    b = pc()
    set_register(b, SMRAM, 0x48)
    b.memory.write(0xA_0000, b"management")
    set_register(b, SMRAM, 0x0A)
    assert not b.memory.contains(0xA_0000)
    set_register(b, SMRAM, 0x48)
    assert b.memory.read(0xA_0000, 10) == b"management"
    set_register(b, SMRAM, 0x58)
    set_register(b, SMRAM, 0x48)
    assert not b.memory.contains(0xA_0000) and b.pci.host.config_read(0, 0, 0, SMRAM, 1) == 0x1A


def test_tseg_is_for_system_management_alone_until_it_is_given_back(pc):
    b = pc(PortWrite(0xCF9, 1, 2), PortWrite(0xCF9, 1, 6), chipset="q35")
    b.memory.write(15 * MIB, b"management")
    set_register(b, ESMRAMC, 0x01)
    assert b.memory.contains(15 * MIB), "G_SMRAME is clear"
    set_register(b, Q35_SMRAM, 0x0A)
    assert not b.memory.contains(15 * MIB) and b.memory.contains(15 * MIB - 1)
    assert b.state.host(u64(15 * MIB)) == 0
    assert [(r.start, r.length) for r in b.memory.management] == [(0xA_0000, 0x2_0000), (15 * MIB, MIB)]
    set_register(b, ESMRAMC, 0x03)
    assert not b.memory.contains(14 * MIB) and b.memory.contains(14 * MIB - 1)
    set_register(b, ESMRAMC, 0x02)
    assert b.memory.read(15 * MIB, 10) == b"management" and len(b.memory.management) == 1
    set_register(b, ESMRAMC, 0x01)
    set_register(b, Q35_SMRAM, 0x1A)
    set_register(b, ESMRAMC, 0x00)
    assert not b.memory.contains(15 * MIB), "D_LCK"
    b.run(instructions=4)  # a reset
    assert b.memory.contains(15 * MIB)


def test_tseg_never_takes_the_first_megabyte(pc):
    b = pc(chipset="q35")
    set_register(b, Q35_SMRAM, 0x0A)
    set_register(b, ESMRAMC, 0x07)  # QEMU's extended size, all RAM there is
    assert b.memory.contains(MIB, 15 * MIB) and b.memory.contains(0, 0xA_0000)


def test_the_gate_of_a20_folds_the_odd_megabytes(pc):
    read = bytes.fromhex("b8ffff 8ed8 a11000 f4")  # ds = ffff: ax = [100000h]
    b = pc(code=read)
    b.memory.write(0, b"\x34\x12")
    b.memory.write(MIB, b"\x78\x56")
    b.run(instructions=5)
    assert int(b.state.r[0]) & 0xFFFF == 0x5678
    b.init()
    b.run(instructions=2)
    b.gate_a20(False)
    b.run(instructions=3)
    assert int(b.state.r[0]) & 0xFFFF == 0x1234


@pytest.mark.parametrize("port, value", [(0x64, 0xFE), (0x92, 0x01)])
def test_a_reset_of_the_processor_keeps_chips_and_memory(pc, port, value):
    b = pc(PortWrite(port, 1, value))
    set_register(b, PAM, 0x30)
    b.memory.write(0x5000, b"kept")
    b.run(instructions=1)
    b.state.pc = u64(0)
    b.run(instructions=2)
    assert b.memory.read(0x5000, 4) == b"kept" and b.memory.read(0xF_0010, 1) == b"\0"


def test_a_reset_of_the_machine_keeps_memory_and_the_clocks_cells_but_no_registers(pc):
    b = pc(PortWrite(0xCF9, 1, 2), PortWrite(0xCF9, 1, 6))
    set_register(b, PAM, 0x30)
    b.rtc.cmos(0x40, 0xA5)
    b.memory.write(0x5000, b"kept")
    b.run(instructions=4)
    assert b.memory.read(0x5000, 4) == b"kept" and b.rtc.cells[0x40] == 0xA5
    assert b.memory.read(0xF_0010, 1) == b"\x30" and int(b.state.pc) == 0xFFFF_FFF0


def test_variables_are_flash_below_the_firmware(pc):
    disk = MemoryDisk(b"\xFF" * 0x2000)
    at = (1 << 32) - 0x4_0000 - 0x2000
    b = pc(MemoryWrite(at, 1, 0x40), MemoryWrite(at + 3, 1, 0x77), (MemoryRead, at, 1), MemoryWrite(at, 1, 0xFF),
           variables=disk)
    assert b.memory.read(at, 4) == b"\xFF" * 4 and b.memory.read(at + 0x2000, 1) == b"\0"
    b.run(instructions=6)
    assert b.vcpu.answers == [0x80] and b.memory.read(at, 4) == b"\xFF\xFF\xFF\x77"
    assert disk.read(0)[:4] == b"\xFF\xFF\xFF\x77"


def test_what_is_drawn_in_the_framebuffer_needs_no_exit(pc):
    b = pc()
    at = 0xD000_0000
    b.pci.host.config_write(0, 3, 0, 0x10, 4, at)
    b.pci.host.config_write(0, 3, 0, 0x04, 2, 2)
    b.memory.write(at + 100, b"\x12\x34")
    assert bytes(b.vga.frame[100:102]) == b"\x12\x34"
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0)
    assert not b.memory.contains(at)
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0x100_0000 - 0x100_0000)
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0xE000_0000)
    assert b.memory.read(0xE000_0064, 2) == b"\x12\x34"


def test_a_framebuffer_placed_over_ram_does_not_hide_it(pc):
    b = pc()
    b.memory.write(0x20_0000, b"ram")
    b.pci.host.config_write(0, 3, 0, 0x10, 4, 0)
    b.vga.frame[0x20_0000:0x20_0003] = b"vga"
    assert b.memory.read(0x20_0000, 3) == b"ram"


def test_firmware_hears_of_the_machine_and_speaks_at_the_debug_port(pc):
    b = pc(PortWrite(0x402, 1, 0x48), PortWrite(0xE9, 1, 0x69), PortWrite(0x510, 2, 0x19))
    b.run(instructions=3)
    assert b.debug == b"Hi"
    names = {"etc/e820", "etc/table-loader", "etc/acpi/tables", "etc/acpi/rsdp", "etc/smbios/smbios-tables",
             "etc/smbios/smbios-anchor", "etc/system-states"}
    assert names <= b.configuration.files.keys()
    assert b.rtc.cells[0x30] | b.rtc.cells[0x31] << 8 == 15 * 1024
