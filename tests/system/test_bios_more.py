"""Services of our BIOS beyond those of the first PCs: APM, protected mode, the boot menu, screens that are saved."""

import struct

import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.i8042 import I8042
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.ps2_keyboard import Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse
from guesthouse.system.firmware.bios.drives import MemoryDrive
from guesthouse.system.firmware.bios.vbe_protected import edid, interface
from tests.system.bios_fake import STACK, Machine

BOOTABLE = (b"\x90" * 8 + b"\xEB\xFE").ljust(510, b"\0") + b"\x55\xAA"


@pytest.fixture
def pc():
    return Machine(MemoryDrive(BOOTABLE + bytes(1_474_560 - 512), "floppy", name="a floppy"),
                   MemoryDrive(BOOTABLE + bytes(1 << 20), "disk", name="a disk"), framebuffer=0xE000_0000)


def test_the_directory_of_32_bit_services_leads_to_the_pci_bios(pc):
    rom = bytes(pc.bus.memory[0xF_0000:0x10_0000])
    at = next(n for n in range(0, 0x1_0000, 16) if rom[n:n + 4] == b"_32_")
    assert sum(rom[at:at + 16 * rom[at + 9]]) & 0xFF == 0
    entry = int.from_bytes(rom[at + 4:at + 8], "little")
    assert rom[entry - 0xF_0000:entry - 0xF_0000 + 3] == b"\xE6\xB0\xCB"
    pc.guest.eax, pc.guest.ebx = int.from_bytes(b"$PCI", "little"), 0
    pc.service("bios32")
    assert pc.guest.al == 0 and (pc.guest.ebx, pc.guest.ecx) == (0xF_0000, 0x1_0000)
    assert pc.bios.services[pc.guest.edx] == "pci32"
    pc.guest.eax, pc.guest.ebx = 0, 0
    pc.service("bios32")
    assert pc.guest.al == 0x80


def test_the_32_bit_pci_bios_answers_with_its_carry_at_once(pc):
    pc.guest.ax = 0xB101
    assert not pc.service("pci32") and pc.guest.edx == 0x2049_4350 and pc.guest.flags == 0x0202
    pc.guest.ax, pc.guest.cx, pc.guest.dx, pc.guest.si = 0xB102, 0xAAAA, 0xBBBB, 0
    assert pc.service("pci32") and pc.guest.ah == 0x86


def test_apm_is_there_and_switches_off(pc):
    pc.interrupt(0x15, ax=0x5300, bx=0)
    assert not pc.failed and (pc.guest.ax, pc.guest.bx) == (0x0102, 0x504D)
    pc.interrupt(0x15, ax=0x5303, bx=0)
    assert not pc.failed and pc.bios.services[pc.guest.ebx] == "apm32"
    pc.interrupt(0x15, ax=0x5301, bx=0)
    assert pc.failed and pc.guest.ah == 0x07
    off = []
    pc.bios.apm.power_off = lambda: off.append(1)
    pc.guest.ax, pc.guest.bx, pc.guest.cx = 0x5307, 1, 3
    assert not pc.service("apm32") and off == [1]


def test_apm_idle_waits_for_one_interrupt(pc):
    assert pc.interrupt(0x15, ax=0x5305) and not pc.interrupt(0x15, ax=0x5305) and not pc.failed


def test_f12_shows_a_menu_and_a_digit_chooses(pc):
    assert pc.service("int19") is False and pc.guest.dl == 0
    slow = Machine(*pc.bios.disks.floppies, *pc.bios.disks.hard, menu_ticks=55)
    assert slow.service("int19") and "F12" in slow.row(0)
    slow.keys(0x58, 0xD8)
    assert slow.service("int19") and "a disk" in "".join(slow.row(n) for n in range(6))
    slow.keys(0x03, 0x83)
    slow.state.r[4] = STACK
    assert not slow.service("int19") and slow.guest.dl == 0x80


def test_without_the_key_the_first_device_is_started_when_the_time_is_over(pc):
    slow = Machine(*pc.bios.disks.floppies, menu_ticks=2)
    assert slow.service("int19")
    slow.guest.set_dword(0x46C, slow.guest.dword(0x46C) + 2)
    assert not slow.service("int19") and slow.guest.dl == 0


@pytest.mark.parametrize("call, ok", [({"ax": 0x1C00}, 0x1C), ({"ax": 0x4F04}, 0x4F)])
def test_a_screen_is_saved_and_comes_back(pc, call, ok):
    def state(function, cx=6):
        low = call["ax"] & 0xFF00 | (function if ok == 0x1C else 4)
        pc.interrupt(0x10, ax=low, cx=cx, dx=function, bx=0x3000)
        assert pc.guest.ax & 0xFF == ok

    state(0)
    blocks = pc.guest.bx
    assert 768 < blocks * 64 < 4096
    state(1)
    before = pc.bus.read(0x449, 0x1E)
    pc.interrupt(0x10, ax=0x0013)
    assert pc.bus.read(0x449, 0x1E) != before
    state(2)
    assert pc.bus.read(0x449, 0x1E) == before


def test_the_protected_mode_interface_is_a_table_of_three_routines(pc):
    pc.interrupt(0x10, ax=0x4F0A, bx=0)
    assert pc.guest.ax == 0x004F and pc.guest.es == 0xF000
    table = pc.bus.read(0xF_0000 + pc.guest.di, pc.guest.cx)
    assert table == interface()
    window, start, colours, ports = struct.unpack_from("<4H", table)
    assert all(table[:end].rstrip(b"\0")[-1] == 0xC3 for end in (start, colours, ports))
    assert not ports & 1 and table[ports:ports + 2] == b"\xCE\x01"


def test_the_monitor_tells_about_itself(pc):
    pc.interrupt(0x10, ax=0x4F15, bx=0)
    assert pc.guest.ax == 0x004F and pc.guest.bl & 2
    pc.interrupt(0x10, ax=0x4F15, bx=1, dx=0, di=0x2000)
    block = pc.bus.read(0x2000, 128)
    assert block == edid() and len(edid()) == 128 and sum(block) & 0xFF == 0
    width, height = block[56] | block[58] >> 4 << 8, block[59] | block[61] >> 4 << 8
    assert (width, height) == (1024, 768)


def test_a_second_cold_start_of_the_processor_alone_resets_the_machine(pc):
    pc.service("post")
    assert pc.resets == [1]


def test_the_mouses_answers_are_not_taken_for_packets_and_a_waiting_key_is_kept(pc):
    clock, keyboard, mouse, heard = Clock(), Ps2Keyboard(), Ps2Mouse(), []
    irq12 = Line(lambda high: heard.append(high))
    chip = I8042(lambda: None, keyboard=keyboard, mouse=mouse, irq12=irq12, clock=clock)
    chip.write(4, 1, 0x60)
    chip.write(0, 1, 0x47)  # both interrupts, translated scan codes
    pc.bus.port_read = lambda port, size: chip.read(port - 0x60, size)
    pc.bus.port_write = lambda port, size, value: chip.write(port - 0x60, size, value)

    def wait(nanoseconds):
        clock.advance_to(clock.now() + nanoseconds)
        clock.fire_due()

    pc.bus.wait = wait
    keyboard.press("a")
    pc.guest.load_es(0x1234)
    for registers in (dict(ax=0xC205, bx=0x300), dict(ax=0xC207, bx=0x10), dict(ax=0xC200, bx=0x100)):
        pc.interrupt(0x15, **registers)
        assert pc.guest.ah == 0 and chip.read(4) & 0x21 == 0x01
    assert True not in heard and chip.read(0) == 0x1E
    mouse.move(1, 1, 0)
    packet = []
    for _ in range(3):
        wait(1_000_000)
        assert chip.read(4) & 0x21 == 0x21
        packet.append(chip.read(0))
    assert packet == [0x28, 1, 0xFF] and True in heard
