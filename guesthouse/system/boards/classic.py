"""The PC that boots by itself: the PC of pc.py with firmware in ROM, a screen, a keyboard and drives, where IBM and
those who came after put them (IBM PS/2 technical reference; PCI IDE controller specification, compatibility mode).

Not modelled: the gate of A20, which is open always; shadow RAM behind the ROMs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from guesthouse.clock import Clock
from guesthouse.errors import UserError
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.board import VcpuFactory
from guesthouse.system.boards.pc import BIOS, HOLE_END, MIB, ROMS, SERIALS, VGA, PcBoard
from guesthouse.system.boards.typist import Typist
from guesthouse.system.chips.i8042 import I8042
from guesthouse.system.chips.i8237 import DmaPair
from guesthouse.system.chips.i82077 import Floppy
from guesthouse.system.chips.ide.ata import AtaDisk
from guesthouse.system.chips.ide.atapi import AtapiCdrom
from guesthouse.system.chips.ide.bus_master import BusMaster
from guesthouse.system.chips.ide.channel import Channel
from guesthouse.system.chips.pci.piix_ide import PiixIde
from guesthouse.system.chips.pci.vga import VgaFunction
from guesthouse.system.chips.ps2_keyboard import Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse
from guesthouse.system.chips.vga import Screen, Vga
from guesthouse.system.cpu.x86.entry import reset
from guesthouse.system.firmware.linux_x86 import RAM, RESERVED, E820
from guesthouse.system.memory import PAGE, Memory, OutsideRam

KIB = 1 << 10
ROM_SIZE, MOST = 64 * KIB, 16 * MIB  # of our firmware, and of any
EBDA = 0x9_FC00  # the firmware's own, at the end of the first 640 KiB
KEYBOARD_IRQ, FLOPPY_IRQ, MOUSE_IRQ = 1, 6, 12
FLOPPY_PORTS, FLOPPY_DRIVES = ((0x3F0, 0, 6), (0x3F7, 7, 1)), 4  # 3F6h between them is the first IDE channel's
IDE_SLOT, VGA_SLOT = 1, 3
CHANNELS = ((0x1F0, 0x3F6, 14), (0x170, 0x376, 15))  # command ports, control port, IRQ
VGA_PORTS, DISPI_PORTS, VGA_WINDOW = 0x3B0, 0x1CE, VGA


class ClassicPc(PcBoard):
    """A PC that is switched on with `drives` attached, and looks for a system on them in `boot_order`: any of a
    (floppies), c (disks) and d (CDs). Everything else is as for PcBoard."""

    def __init__(self, memory_bytes: int, clock: Clock, vcpu_factory: VcpuFactory, *, drives: Sequence[Attached] = (),
                 boot_order: str = "acd", firmware: bytes | None = None, **options: Any) -> None:
        """`firmware` is an image whose end is the reset vector; ours by default."""
        self.drives, self.boot_order, self.firmware = checked_drives(drives), boot_order, firmware
        self.rom_size = ROM_SIZE if firmware is None else checked_size(firmware)
        super().__init__(memory_bytes, clock, vcpu_factory, **options)
        reset(self.state, seed=self._random_bytes(32))

    # wiring

    def _memory(self) -> Memory:
        """ROM is RAM that only the board can write."""
        high = [(HOLE_END, self.high)] if self.high else []
        rom = (HOLE_END - self.rom_size, self.rom_size)
        memory = Memory([(0, VGA), (ROMS, self.low_end - ROMS), rom, *high])
        memory.protect(BIOS, MIB - BIOS)
        memory.protect(*rom)
        return memory

    def _wire_keyboard(self) -> None:
        keys, self.mouse = Ps2Keyboard(), Ps2Mouse()
        self.keyboard = Typist(keys, self.clock, self.post)
        self._plug_keyboard(I8042(self.reset, keyboard=keys, mouse=self.mouse, irq1=self.irqs[KEYBOARD_IRQ],
                                  irq12=self.irqs[MOUSE_IRQ], clock=self.clock))

    def _wire_post(self) -> None:
        """Port 80h is a page register that no DMA channel uses, and so where firmware shows how far it is."""
        self.dma = DmaPair(self.memory, refused=OutsideRam)
        self.plug(self.ports, 0x00, self.dma.first, "dma.first")
        self.plug(self.ports, 0xC0, self.dma.second, "dma.second")
        self.plug(self.ports, 0x80, self.dma.pages, "dma.pages")
        self._wire_floppies()

    def _wire_floppies(self) -> None:
        self.floppy = Floppy(self.clock, self.irqs[FLOPPY_IRQ], self.dma)
        self.floppy.trace_to(self.trace, "floppy")
        for port, first, size in FLOPPY_PORTS:
            self.ports.add(
                port, size, lambda at, size, first=first: self.floppy.read(first + at, size),  # type: ignore[misc]
                lambda at, size, value, first=first: self.floppy.write(first + at, size, value),  # type: ignore[misc]
                "floppy")
        drives = [drive for drive in self.drives if drive.kind == "floppy"]
        for n, drive in enumerate(drives):
            watch(drive, partial(self.floppy.insert, n, drive), partial(self.floppy.eject, n))

    def _wire_pci(self, random_bytes: Callable[[int], bytes]) -> None:
        super()._wire_pci(random_bytes)
        self._wire_screen()
        self._wire_ide()

    def _wire_screen(self) -> None:
        self.vga = Vga(self.clock)
        self.plug(self.ports, VGA_PORTS, self.vga, "vga")
        self.plug(self.ports, DISPI_PORTS, self.vga.dispi, "dispi")
        self.addresses.add(VGA_WINDOW, ROMS - VGA, self.vga.window_read, self.vga.window_write, "vga")
        function = VgaFunction(self.vga)
        self.pci.plug(VGA_SLOT, function)
        self._place_bars(VGA_SLOT, function)
        self.frame = self.pci.config_read(0, VGA_SLOT, 0, 0x10, 4) & ~0xF

    def _wire_ide(self) -> None:
        """Disks and CDs in the order that they come in: two on the first cable, two on the second."""
        first, second = self.channels = tuple(Channel(self.irqs[irq]) for *_, irq in CHANNELS)
        drives = [drive for drive in self.drives if drive.kind != "floppy"]
        for n, drive in enumerate(drives):
            if drive.kind == "disk":
                self.channels[n // 2].attach(n % 2, AtaDisk(drive, serial=f"GH{n + 1:05}"))
            else:
                cd = AtapiCdrom()
                watch(drive, partial(cd.insert, drive), cd.eject)
                self.channels[n // 2].attach(n % 2, cd)
        for n, (channel, (command, control, _)) in enumerate(zip(self.channels, CHANNELS, strict=True)):
            self.plug(self.ports, command, channel.command, f"ide{n}")
            self.plug(self.ports, control, channel.control, f"ide{n}.control")
        function = PiixIde(BusMaster(first, second, self.memory, refused=OutsideRam))
        self.pci.plug(IDE_SLOT, function)
        self._place_bars(IDE_SLOT, function)

    def _leave_firmware(self) -> None:
        super()._leave_firmware()
        rom = self._bios() if self.firmware is None else self.firmware
        self.memory.write(HOLE_END - len(rom), rom)
        below = rom[-(MIB - BIOS):]
        self.memory.write(MIB - len(below), below)

    def _bios(self) -> bytes:
        """Our own firmware: its calls arrive at a port, and Python does what they ask for."""
        from guesthouse.system.firmware.bios.bios import Bios, Settings  # other firmware needs none of it
        from guesthouse.system.firmware.bios.guest import PORT, BoardBus, Guest

        settings = Settings(
            memory_map=self.memory_map, extended_kib=(self.low_end - MIB) // KIB, boot_order=self.boot_order,
            serials=tuple(serial.port for serial in SERIALS), parallels=(), framebuffer=self.frame,
            framebuffer_size=len(self.vga.frame))
        guest = Guest(self.state, BoardBus(self.memory, self.addresses, self.ports))
        self.bios = Bios(guest, self.drives, settings, reset=self.reset, power_off=self.power_off)
        self.ports.add(PORT, 1, lambda offset, size: 0xFF, lambda offset, size, value: self.bios.call(), "bios")
        return self.bios.rom

    # what the outside may do

    def screen(self) -> Screen:
        """What the screen shows: Text or a Picture."""
        return self.vga.screen()

    def memory_map(self) -> list[E820]:
        low = [E820(0, EBDA, RAM), E820(EBDA, VGA - EBDA, RESERVED)]
        return low + super().memory_map()[1:] + [E820(HOLE_END - self.rom_size, self.rom_size, RESERVED)]


def watch(drive: Attached, insert: Callable[[], object], eject: Callable[[], object]) -> None:
    """Tell a controller what is in a drive, now and at each change."""
    def tell() -> None:
        insert() if drive.present else eject()

    drive.watchers.append(tell)
    tell()


def checked_drives(drives: Sequence[Attached]) -> list[Attached]:
    floppies = sum(drive.kind == "floppy" for drive in drives)
    for what, count, most in (("floppy drives", floppies, FLOPPY_DRIVES),
                              ("disks and CDs", len(drives) - floppies, 2 * len(CHANNELS))):
        if count > most:
            raise UserError(f"{count} {what} are more than a PC has places for.", f"It has {most}.")
    return list(drives)


def checked_size(firmware: bytes) -> int:
    if not firmware or len(firmware) % PAGE or len(firmware) > MOST:
        raise UserError(f"Firmware of {len(firmware)} bytes does not fit below 4 GiB.",
                        f"An image is whole pages of 4 KiB, {MOST >> 20} MiB at most.")
    return len(firmware)
