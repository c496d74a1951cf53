"""Random accesses to every chip: nothing raises, values fit, and what was saved is what is restored."""

import random
from functools import partial

import pytest

from guesthouse.clock import Clock
from guesthouse.system.chips.acpi_pm import AcpiPm, ResetPort
from guesthouse.system.chips.clint import Clint
from guesthouse.system.chips.debug_console import DebugConsole
from guesthouse.system.chips.debug_exit import DebugExit
from guesthouse.system.chips.fw_cfg import FwCfg
from guesthouse.system.chips.goldfish_rtc import GoldfishRtc
from guesthouse.system.chips.i8042 import I8042, Port92
from guesthouse.system.chips.i8237 import DmaPair
from guesthouse.system.chips.i8254 import Pit
from guesthouse.system.chips.i8259 import PicPair
from guesthouse.system.chips.i82077 import Floppy
from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.ide.bus_master import BusMaster
from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.ioapic import IoApic
from guesthouse.system.chips.kit import Line, Stateful
from guesthouse.system.chips.lapic import ApicBus, LocalApic
from guesthouse.system.chips.mc146818 import Rtc
from guesthouse.system.chips.parallel import Parallel
from guesthouse.system.chips.pci.host import PciHost
from guesthouse.system.chips.pci.vga import VgaFunction
from guesthouse.system.chips.plic import Plic
from guesthouse.system.chips.port61 import Port61
from guesthouse.system.chips.ps2_keyboard import KEYS, Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse
from guesthouse.system.chips.sifive_test import SifiveTest
from guesthouse.system.chips.uart import Uart
from guesthouse.system.chips.vga import Text, Vga
from guesthouse.system.chips.virtio.blk import Blk
from guesthouse.system.chips.virtio.console import Console
from guesthouse.system.chips.virtio.mmio import VirtioMmio
from guesthouse.system.chips.virtio.pci import VirtioPci
from guesthouse.system.chips.virtio.rng import Rng
from tests.chips.disks import MemoryDisk
from tests.chips.virtio_driver import Memory, Refused

FRAME = 1 << 17
ACCESSES, EPOCH = 3000, 1_700_000_000
INTERESTING = (0, 1, 2, 3, 7, 0x0F, 0x10, 0x20, 0x7F, 0x80, 0xFF, 0x1FF, 0x1000, 0xFFFF, 0x20000, 0x40000,
               0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


def local_apic(clock, line):
    apic = LocalApic(0, clock, ApicBus(), line(), tsc=lambda: 2 * clock.now(), tsc_hz=2_000_000_000,
                     external=lambda: 8)
    apic.write(0xF0, 4, 0x1FF)
    return apic


def virtio_pci(clock, line):
    host = PciHost(lambda *window: None)
    host.plug(1, VirtioPci(Rng(bytes), Memory(), line(), refused=Refused))
    return host


def window(clock, line):
    return VirtioPci(Rng(bytes), Memory(), line(), refused=Refused)


class Ide(Stateful):
    """A channel with a disk and a CD, and the bus master behind it."""

    def __init__(self, clock, line):
        self.channel, self.cd = Channel(line()), AtapiCdrom(MemoryDisk(64, 2048))
        self.channel.attach(0, AtaDisk(MemoryDisk()))
        self.channel.attach(1, self.cd)
        self.master = BusMaster(self.channel, Channel(line()), Memory(), refused=Refused)
        super().__init__()

    def parts(self):
        return {"channel": self.channel, "master": self.master}

    def doors(self):
        return [(c.read, c.write, c.SIZE) for c in (self.channel.command, self.channel.control, self.master)]


class Floppies(Stateful):
    """The floppy controller and the DMA that it asks."""

    def __init__(self, clock, line):
        self.dma = DmaPair(Memory(), refused=Refused)
        self.floppy = Floppy(clock, line(), self.dma)
        self.floppy.insert(0, MemoryDisk(2880))
        super().__init__()

    def parts(self):
        return {"dma": self.dma, "floppy": self.floppy}

    def doors(self):
        return [(c.read, c.write, c.SIZE) for c in (self.dma.first, self.dma.second, self.dma.pages, self.floppy)]


MAKERS = {
    "uart": lambda clock, line: Uart(line(), lambda data: None),
    "pic": lambda clock, line: PicPair(line()),
    "pit": lambda clock, line: Pit(clock, line()),
    "port61": lambda clock, line: Port61(clock, lambda high: None, lambda: True),
    "rtc": lambda clock, line: Rtc(clock, line(), epoch=EPOCH),
    "ioapic": lambda clock, line: IoApic(lambda *message: None),
    "lapic": local_apic,
    "acpi_pm": lambda clock, line: AcpiPm(clock, line(), power_off=lambda: None),
    "reset": lambda clock, line: ResetPort(lambda: None),
    "i8042": lambda clock, line: I8042(lambda: None, lambda high: None, keyboard=Ps2Keyboard(), mouse=Ps2Mouse(),
                                       irq1=line(), irq12=line(), clock=clock),
    "port92": lambda clock, line: Port92(lambda: None),
    "clint": lambda clock, line: Clint(clock, [line(), line()], [line(), line()]),
    "plic": lambda clock, line: Plic([line(), line()], sources=40),
    "test": lambda clock, line: SifiveTest(lambda *verdict: None),
    "goldfish": lambda clock, line: GoldfishRtc(clock, line(), epoch=EPOCH),
    "pci": virtio_pci,
    "ide": Ide,
    "fw_cfg": lambda clock, line: FwCfg(Memory(), refused=Refused),
    "debug_exit": lambda clock, line: DebugExit(lambda code: None),
    "debug_console": lambda clock, line: DebugConsole(lambda data: None),
    "parallel": lambda clock, line: Parallel(line(), lambda data: None),
    "virtio_blk": lambda clock, line: VirtioMmio(Blk(MemoryDisk()), Memory(), line(), refused=Refused),
    "virtio_console": lambda clock, line: VirtioMmio(Console(lambda data: None), Memory(), line(), refused=Refused),
    "floppy": Floppies,
    "vga": lambda clock, line: Vga(clock, frame=bytearray(FRAME)),
    "virtio_pci": window,
    "virtio_mmio": lambda clock, line: VirtioMmio(Rng(bytes), Memory(), line(), refused=Refused),
}


class World:
    def __init__(self, name):
        self.clock, self.lines = Clock(), []
        self.chip = MAKERS[name](self.clock, self.line)

    def line(self):
        self.lines.append(Line())
        return self.lines[-1]

    def levels(self):
        return [line.high for line in self.lines]

    def doors(self):
        """The (read, write, size) that a guest can reach."""
        chip = self.chip
        if hasattr(chip, "doors"):
            return chip.doors()
        if isinstance(chip, PicPair):
            return [(c.read, c.write, c.SIZE) for c in (chip.master, chip.slave, chip.elcr)]
        if isinstance(chip, VirtioPci):
            page = chip.registers
            return [(chip.read, chip.write, chip.SIZE), (page.read, page.write, page.SIZE)]
        if isinstance(chip, Vga):
            function, dispi = VgaFunction(chip), chip.dispi
            return [(chip.read, chip.write, chip.SIZE), (dispi.read, dispi.write, dispi.SIZE),
                    (chip.window_read, chip.window_write, 0x20000), (chip.frame_read, chip.frame_write, FRAME),
                    *((partial(function.bar_read, n), partial(function.bar_write, n), 0x1000) for n in (0, 2))]
        return [(chip.read, chip.write, chip.SIZE)]


def offset(rng, chip, size, width):
    """Half of the time where something is; anywhere else otherwise."""
    known = list(getattr(chip, "readers", {})) + list(getattr(chip, "writers", {}))
    if known and rng.random() < 0.5:
        return min(rng.choice(known)[0], size - width)
    return max(0, rng.randrange(min(size, rng.choice((16, 0x100, size)))) & ~(width - 1))


def step(rng, world):
    read, write, size = rng.choice(world.doors())
    width = rng.choice([n for n in (1, 2, 4, 4, 8) if n <= max(size, 1)])
    at = offset(rng, world.chip, size, width)
    what = rng.randrange(10)
    if what < 4:
        value = read(at, width)
        assert type(value) is int and 0 <= value < 1 << 8 * width, (hex(at), width, value)
    elif what < 8:
        value = rng.choice(INTERESTING) if rng.random() < 0.6 else rng.getrandbits(64)
        write(at, width, value & (1 << 8 * width) - 1)
    elif what == 8:
        world.clock.advance_to(world.clock.now() + rng.choice((1, 1000, 1_000_000, 3_000_000_000)))
        world.clock.fire_due()
    else:
        poke(rng, world.chip)


def poke(rng, chip):
    """The host's side and the wires."""
    high = rng.random() < 0.5
    if hasattr(chip, "set_input"):
        chip.set_input(rng.randrange(16), high)
    if hasattr(chip, "acknowledge") and not isinstance(chip, VirtioMmio):
        assert 0 <= chip.acknowledge() <= 0xFF
    if hasattr(chip, "set_lint"):
        chip.set_lint(rng.randrange(2), high)
        index = rng.choice((0x1B, 0x6E0, 0x800 + rng.randrange(0x100)))
        value = chip.read_msr(index)
        assert value is None or 0 <= value < 1 << 64
        chip.write_msr(index, rng.choice(INTERESTING))
    if hasattr(chip, "set_gate") and isinstance(chip, Pit):
        chip.set_gate(rng.randrange(3), high)
    if hasattr(chip, "receive") and isinstance(chip, Uart):
        chip.receive(rng.randbytes(rng.randrange(20)))
    if isinstance(chip, Vga) and rng.random() < 0.1:
        screen = chip.screen()
        picture = screen.draw() if isinstance(screen, Text) else screen
        assert len(picture.rgb) == 3 * picture.width * picture.height
    if isinstance(chip, I8042):
        chip.keyboard.press(rng.choice(list(KEYS)))
        chip.keyboard.release(rng.randrange(0x10000))
        chip.mouse.move(rng.randrange(-999, 999), rng.randrange(-999, 999), rng.randrange(8), rng.randrange(-9, 9))


@pytest.mark.parametrize("name", MAKERS)
def test_no_access_raises_and_no_value_is_out_of_range(name):
    rng, world = random.Random(name), World(name)
    for _ in range(ACCESSES):
        step(rng, world)


@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_has_the_state_the_lines_and_the_deadline_and_goes_the_same_way(name):
    rng, world = random.Random(name), World(name)
    for _ in range(ACCESSES // 100):
        for _ in range(50):
            step(rng, world)
        copy = World(name)
        copy.clock.restore(world.clock.save())
        copy.chip.restore(world.chip.save())
        assert copy.chip.save() == world.chip.save() and copy.levels() == world.levels()
        assert copy.clock.next_deadline() == world.clock.next_deadline()
        same, seed = random.Random(), rng.random()
        for w in (world, copy):
            same.seed(seed)
            for _ in range(5):
                step(same, w)
        assert copy.chip.save() == world.chip.save() and copy.levels() == world.levels()


@pytest.mark.parametrize("name", MAKERS)
def test_reset_equals_a_new_chip_where_nothing_outside_is_kept(name):
    rng, world = random.Random(name), World(name)
    for _ in range(300):
        step(rng, world)
    world.chip.reset()
    world.chip.reset()
    assert world.chip.save().keys() == World(name).chip.save().keys()


@pytest.mark.parametrize("name", MAKERS)
def test_a_flood_of_timer_rounds_ends(name):
    """Whatever is programmed, one round of the board calls each timer once."""
    rng, world = random.Random(name), World(name)
    for _ in range(500):
        step(rng, world)
    for _ in range(100):
        world.clock.advance_to(world.clock.now() + 10)
        world.clock.fire_due()
