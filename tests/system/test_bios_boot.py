"""The BIOS's own code, executed: from the reset vector to a boot sector of ours, on the plain engine."""

import pytest

from guesthouse.bits import u64
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Halted, PortRead, PortWrite, Window
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.cpu.x86.guest import X86_GUEST
from guesthouse.system.firmware.bios.bios import Bios
from guesthouse.system.firmware.bios.drives import MemoryDrive
from guesthouse.system.firmware.bios.guest import PORT, Guest
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.memory import Memory
from tests.system.bios_fake import FakeBus

CODE = bytes.fromhex(
    "B8480E CD10 B8690E CD10"  # Hi, by teletype
    "B80102 BB0090 B90200 BA0000 CD13 7208"  # the second sector to 0000:9000
    "A00090 B40E CD10 90"  # its first byte
    "B400 CD16 B40E CD10"  # a key, which is waited for
    "B98200 FB F4 49 75FC"  # 130 interrupts of the timer
    "FA F4")


class Bus(FakeBus):
    def __init__(self, memory):
        super().__init__()
        self.ram = memory

    def read(self, address, count):
        return self.ram.read(address, count)

    def write(self, address, data):
        self.ram.write(address, data)


class Pc:
    def __init__(self, drive):
        self.memory = Memory([(0, 2 << 20), (0xFFFF_0000, 1 << 16)])
        self.vcpu = SoftVcpu(X86_GUEST)
        self.memory.install(self.vcpu.state)
        self.bus = Bus(self.memory)
        self.bios = Bios(Guest(self.vcpu.state, self.bus), [drive], Settings())
        for at in (0xF_0000, 0xFFFF_0000):
            self.memory.write(at, self.bios.rom)
        reset(self.vcpu.state)

    def run(self):
        """Until the processor waits."""
        for _ in range(5000):
            exit = self.vcpu.run(10_000)
            if isinstance(exit, PortWrite):
                if exit.port == PORT:
                    self.bios.call()
                else:
                    self.bus.port_write(exit.port, exit.size, exit.value)
            elif isinstance(exit, PortRead):
                exit.reply(self.bus.port_read(exit.port, exit.size))
            else:
                return exit
        raise AssertionError("it never waits")

    def interrupt(self, vector):
        self.vcpu.state.intr = u64(1)
        assert self.run() == Window()
        self.vcpu.state.intr = u64(0)
        self.vcpu.call("inject", vector)
        return self.run()

    def text(self):
        return self.memory.read(0xB8000, 160)[::2].decode("cp437").rstrip()


@pytest.fixture
def pc():
    image = bytearray(1_474_560)
    image[:len(CODE)], image[510:512], image[512] = CODE, b"\x55\xAA", ord("!")
    made = Pc(MemoryDrive(image, "floppy"))
    yield made
    made.memory.close()


def test_a_boot_sector_prints_reads_waits_for_a_key_and_sees_the_timer(pc):
    assert pc.run() == Halted() and pc.text() == "Hi!"
    assert pc.interrupt(0x08) == Halted() and pc.text() == "Hi!"
    pc.bus.ports[0x60] = 0x1E
    assert pc.interrupt(0x09) == Halted() and pc.text() == "Hi!a"
    before = pc.bios.guest.dword(0x46C)
    pc.interrupt(0x08)
    assert pc.bios.guest.dword(0x46C) == before + 1
    assert (0x20, 0x20) in pc.bus.written


def test_midnight_starts_the_count_of_ticks_again(pc):
    pc.run()
    pc.bios.guest.set_dword(0x46C, 0x1800AF)
    pc.interrupt(0x08)
    assert pc.bios.guest.dword(0x46C) == 0 and pc.bios.guest.byte(0x470) == 1


def test_ctrl_break_calls_int_1bh(pc):
    pc.run()
    guest = pc.bios.guest
    pc.memory.write(0x5000, bytes.fromhex("FE061050 CF"))  # inc byte [5010h]; iret
    guest.set_vector(0x1B, 0, 0x5000)
    pc.vcpu.state.segments[3].base = u64(0)
    for code in (0x1D, 0xE0, 0x46):
        pc.bus.ports[0x60] = code
        pc.interrupt(0x09)
    assert guest.byte(0x5010) == 1


def test_a_mouse_packet_reaches_its_handler_with_four_words(pc):
    pc.run()
    guest = pc.bios.guest
    pc.memory.write(0x5000, bytes.fromhex("55 89E5 8B460C 2EA31050 5D CB"))  # the status, from the stack, to 5010h
    guest.set_dword(0x9FC22, 0x5000)
    guest.set_byte(0x9FC27, 0x80)
    for byte in (0x09, 5, 7):
        pc.bus.ports[0x60] = byte
        pc.interrupt(0x74)
    assert guest.word(0x5010) == 9 and (0xA0, 0x20) in pc.bus.written
