"""A guest without a processor: registers, a megabyte of memory, and chips that only remember what was written."""

from types import SimpleNamespace

from guesthouse.system.firmware.bios.bios import Bios
from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.firmware.linux_x86 import E820

SIZE = 0x11_0000
STACK = 0x8000


class FakeBus:
    """CMOS, VGA indexes and the dispi registers are arrays behind an index; other ports remember the last byte."""

    def __init__(self):
        self.memory, self.written = bytearray(SIZE), []
        self.ports = {}
        self.indexed = {port: {} for port in (0x70, 0x3C4, 0x3CE, 0x3D4, 0x3B4, 0x1CE, 0xCF8)}

    def read(self, address, count):
        return bytes(self.memory[address:address + count]).ljust(count, b"\xff")

    def write(self, address, data):
        if address < SIZE:
            self.memory[address:address + len(data)] = data

    def wait(self, nanoseconds):
        pass

    def port_read(self, port, size):
        if port == 0x64:
            return 0
        if port - 1 in self.indexed:
            return self.indexed[port - 1].get(self.ports.get(port - 1, 0), 0)
        if 0xCFC <= port < 0xD00:
            at = self.ports.get(0xCF8, 0)
            return self.indexed[0xCF8].get(at, (1 << 32) - 1) >> 8 * (port & 3) & (1 << 8 * size) - 1
        return self.ports.get(port, 0)

    def port_write(self, port, size, value):
        self.written.append((port, value))
        self.ports[port] = value
        if port - 1 in self.indexed:
            self.indexed[port - 1][self.ports.get(port - 1, 0)] = value


class FakeState:
    def __init__(self):
        self.r, self.pc, self.carry = [0] * 16, 0, 0
        self.segments = [SimpleNamespace(base=0, selector=0) for _ in range(6)]
        self.cr0 = self.cr3 = self.cr4 = self.efer = 0

    def status(self):
        return self.carry

    def set_status(self, image):
        self.carry = int(image) & 1

    def take_real_segment(self, n, selector):
        self.segments[int(n)].selector, self.segments[int(n)].base = int(selector), int(selector) << 4


class Machine:
    """A BIOS after POST, and a way to call it."""

    def __init__(self, *drives, post=True, **settings):
        self.bus, self.state, self.resets = FakeBus(), FakeState(), []
        settings.setdefault("memory_map", lambda: [E820(0, 0xA0000, 1), E820(0x100000, 31 << 20, 1)])
        settings.setdefault("extended_kib", 31 * 1024)
        self.guest = Guest(self.state, self.bus)
        self.bios = Bios(self.guest, list(drives), Settings(**settings), reset=lambda: self.resets.append(1))
        self.bus.memory[0xF0000:0x100000] = self.bios.rom
        self.state.r[4] = STACK
        if post:
            self.service("post")

    def service(self, name):
        """As the stub of that name would: True if it has to be asked again."""
        offset = next(at for at, service in self.bios.services.items() if service == name)
        self.state.pc = 0xF0000 + offset
        self.guest.set_word(STACK + 4, 0x0202)
        self.bios.call()
        return bool(self.state.carry)

    def interrupt(self, number, **registers):
        for name, value in registers.items():
            setattr(self.guest, name, value)
        return self.service(f"int{number:02x}")

    @property
    def failed(self):
        return bool(self.guest.flags & 1)

    @property
    def zero(self):
        return bool(self.guest.flags & 0x40)

    def keys(self, *codes):
        for code in codes:
            self.guest.al = code
            self.service("key")
        return self.guest.al

    def row(self, n):
        return self.bus.read(0xB8000 + 160 * n, 160)[::2].decode("cp437").rstrip()
