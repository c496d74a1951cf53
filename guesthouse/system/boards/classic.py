"""The PC that boots by itself: the PC of pc.py with firmware in ROM, a screen, a keyboard and drives, where IBM and
those who came after put them (IBM PS/2 technical reference; PCI IDE controller specification, compatibility mode).

The gate of A20 is as the last one of its two switches says. A reset keeps RAM, the media, and what batteries and flash
keep; a reset of the processors alone (8042, port 92h, a triple fault) keeps the chips too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

from guesthouse.bits import u64
from guesthouse.clock import Clock
from guesthouse.engine.vcpu import Died
from guesthouse.errors import UserError
from guesthouse.storage.disk import Disk
from guesthouse.storage.geometry import SECTOR
from guesthouse.system.boards import x86
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.bays import Bays, check_places, watch
from guesthouse.system.boards.board import VcpuFactory
from guesthouse.system.boards.cores import Core
from guesthouse.system.boards.handover import FlashCells, Handover, bootable_paths
from guesthouse.system.boards.pc import BIOS, HOLE, HOLE_END, MIB, ROMS, SERIALS, VGA, PcBoard
from guesthouse.system.boards.pci import ICH_SLOT, PIIX_SLOT
from guesthouse.system.boards.shadow import Shadow
from guesthouse.system.boards.typist import Typist
from guesthouse.system.chips.apm_ports import ApmPorts
from guesthouse.system.chips.debug_console import DebugConsole
from guesthouse.system.chips.flash import Flash
from guesthouse.system.chips.fw_cfg import FwCfg
from guesthouse.system.chips.i8042 import I8042
from guesthouse.system.chips.i8237 import DmaPair
from guesthouse.system.chips.i82077 import Floppy
from guesthouse.system.chips.lapic import INIT
from guesthouse.system.chips.parallel import Parallel
from guesthouse.system.chips.pc_speaker import Speaker
from guesthouse.system.chips.pci.function import Function
from guesthouse.system.chips.pci.i440fx import PM
from guesthouse.system.chips.pci.vga import VgaFunction
from guesthouse.system.chips.ps2_keyboard import Ps2Keyboard
from guesthouse.system.chips.ps2_mouse import Ps2Mouse
from guesthouse.system.chips.vga import FRAME, Screen, Vga
from guesthouse.system.cpu.x86.entry import init
from guesthouse.system.firmware import acpi, mptable, pir, smbios
from guesthouse.system.firmware.linux_x86 import RAM, RESERVED, E820, X86Entry
from guesthouse.system.firmware.multiboot import Framebuffer
from guesthouse.system.memory import PAGE, Memory, OutsideRam

KIB = 1 << 10
ROM_SIZE, MOST = 64 * KIB, 16 * MIB  # of our firmware, and of any
EBDA = 0x9_FC00  # the firmware's own, at the end of the first 640 KiB
KEYBOARD_IRQ, FLOPPY_IRQ, MOUSE_IRQ = 1, 6, 12
FLOPPY_PORTS, FLOPPY_DRIVES = ((0x3F0, 0, 6), (0x3F7, 7, 1)), 4  # 3F6h between them is the first IDE channel's
VGA_SLOT = 3
VGA_PORTS, DISPI_PORTS, VGA_WINDOW, TEXT_SCREEN = 0x3B0, 0x1CE, VGA, 0xB_8000
DIRECT_PORTS, DIRECT_COUNT = 0x3C4, 12  # of the VGA: these and those between them that it does not refuse
DISPI_OFF, DISPI_ON = (4, 0), (4, 0x41)  # enable: with the linear framebuffer
OPENED, SHADOWED = (0x33,) * 7, (0x10, 0x33, 0x33, 0x33, 0x33, 0x11, 0x11)
APM_PORTS = 0xB2
PRINTER_PORT, PRINTER_IRQ = 0x378, 7
MENU_TICKS = 55  # three seconds
DEBUG_PORTS, MOST_DEBUG, CONFIGURATION_PORT = (0x402, 0xE9), 1 << 18, 0x510


class Output(Protocol):
    """Where what a device says goes; given back with the board."""

    def write(self, data: bytes, /) -> object: ...

    def close(self) -> object: ...


class ClassicPc(PcBoard):
    """A PC that is switched on with `drives` attached, and looks for a system on them in `boot_order`: any of a
    (floppies), c (disks) and d (CDs). Everything else is as for PcBoard."""

    def __init__(self, memory_bytes: int, clock: Clock, vcpu_factory: VcpuFactory, *, drives: Sequence[Attached] = (),
                 boot_order: str = "acd", firmware: bytes | None = None, variables: Disk | None = None,
                 vga_rom: bytes = b"", boot_menu: bool = False, printer: Output | None = None,
                 sound: Output | None = None, debug_port: Output | None = None, **options: Any) -> None:
        """`firmware` is an image whose end is the reset vector; ours by default. `variables` is flash below it that
        the guest writes; `vga_rom` is for firmware that does not know the screen. `boot_menu` has ours wait some
        seconds for the key of its menu, which otherwise must have been pressed before. `printer` is at the parallel
        port, without it there is none; `sound` takes the speaker's samples, `debug_port` what goes to E9h and 402h."""
        self.drives = checked_drives(drives, options.get("chipset", "i440fx"))
        self.boot_order, self.firmware = boot_order, firmware
        self.variables, self.vga_rom, self.boot_menu = variables, vga_rom, boot_menu
        self.variables_size = 0 if variables is None else variables.sectors * SECTOR
        self.rom_size = ROM_SIZE if firmware is None else checked_size(len(firmware) + self.variables_size)
        self.printer, self.sound, self.debug_port = printer, sound, debug_port
        self._load: Callable[[], X86Entry] | None = None
        self.debug = bytearray()  # what firmware says of itself
        self.after_reset: Callable[[], object] = lambda: None  # a kernel is loaded anew
        super().__init__(memory_bytes, clock, vcpu_factory, **options)
        self._switch_on(self.core)

    # wiring

    def _memory(self) -> Memory:
        """RAM also lies behind the VGA's window and the ROMs. ROM is RAM that only the board can write; the framebuffer
        has no place yet."""
        high = [(HOLE_END, self.high)] if self.high else []
        rom = (HOLE_END - self.rom_size, self.rom_size)
        memory = Memory([(0, self.low_end), rom, *high], hidden=FRAME)
        memory.map(VGA, ROMS - VGA, None)
        memory.protect(*rom)
        self.rom_at, self.frame_at = self.low_end, memory.hidden
        return memory

    def _describe(self, chipset: str) -> acpi.Pc:
        return replace(super()._describe(chipset), keyboard=True, screen=True, floppy=True)

    def _wire_timers(self, epoch: int) -> None:
        super()._wire_timers(epoch)
        if self.sound is not None:
            self.speaker = Speaker(self.clock, lambda: int(self.port61.control), self.pit.counters[2].divisor,
                                   self.sound.write)
            self.pit.on_settle = self.speaker.changed

    def _wire_serials(self) -> None:
        super()._wire_serials()
        if self.printer is not None:
            self.plug(self.ports, PRINTER_PORT, Parallel(self.irq(PRINTER_IRQ), self.printer.write), "parallel")

    def _wire_keyboard(self) -> None:
        keys, self.mouse = Ps2Keyboard(), Ps2Mouse()
        self.keyboard = Typist(keys, self.clock, self.post)
        self._plug_keyboard(I8042(self.init_all, self.gate_a20, keyboard=keys, mouse=self.mouse,
                                  irq1=self.irq(KEYBOARD_IRQ), irq12=self.irq(MOUSE_IRQ), clock=self.clock))

    def _wire_post(self) -> None:
        """Port 80h is a page register that no DMA channel uses, and so where firmware shows how far it is."""
        self.dma = DmaPair(self.memory, refused=OutsideRam)
        self.plug(self.ports, 0x00, self.dma.first, "dma.first")
        self.plug(self.ports, 0xC0, self.dma.second, "dma.second")
        self.plug(self.ports, 0x80, self.dma.pages, "dma.pages")
        self._wire_floppies()

    def _wire_floppies(self) -> None:
        self.floppy = Floppy(self.clock, self.irq(FLOPPY_IRQ), self.dma)
        self.floppy.trace_to(self.trace, "floppy")
        self.chips.append(self.floppy)
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
        self._wire_firmware()
        self._wire_screen()
        self.bays = Bays(self, self.drives)

    def _wire_firmware(self) -> None:
        """Where ROM and RAM are by turns, the flash, and what tells foreign firmware about the machine."""
        self.shadow = Shadow(self.memory, self.addresses, self.rom_at, self.rom_size, self.low_end)
        bridge = cast(Any, self.pci.host.functions[0, 0])
        bridge.space = self.shadow.choose
        self.shadow.choose(bridge.pam, bridge.smram, bridge.tseg)
        power_at = (ICH_SLOT, 0) if self.tables.express else (PIIX_SLOT, 3)
        self.power_function = cast(Any, self.pci.host.functions[power_at])
        asks = self.power if self.tables.express else self.power_function
        self.plug(self.ports, APM_PORTS, ApmPorts(self.smi, lambda: asks.apm_smi), "apm")
        for port in DEBUG_PORTS:
            self.plug(self.ports, port, DebugConsole(self._hear), "debug")
        self.configuration = FwCfg(self.memory, refused=OutsideRam)
        self.plug(self.ports, CONFIGURATION_PORT, self.configuration, "fw_cfg")
        if self.variables is not None:
            self._wire_flash(self.variables)

    def _wire_flash(self, disk: Disk) -> None:
        self.cells = FlashCells(self.memory, self.rom_at, self.variables_size, disk)
        where = HOLE_END - self.rom_size
        self.flash = Flash(self.variables_size, self.cells, lambda array: self.memory.map(
            where, self.variables_size, self.rom_at if array else None, writable=False))
        self.plug(self.addresses, where, self.flash, "flash", self.variables_size)

    def _hear(self, output: bytes) -> None:
        self.debug += output
        del self.debug[:-MOST_DEBUG]
        if self.debug_port is not None:
            self.debug_port.write(output)

    def _wire_screen(self) -> None:
        self.vga = Vga(self.clock, frame=self.memory.slice(self.frame_at, FRAME))
        self.vga.trace_to(self.trace, "vga")
        self.chips.append(self.vga)
        for first, size in ((0, 0x14), (0x14, 6), (0x1A, 4), (0x1E, 2), (0x20, 0x10)):
            made = self.ports.add(
                VGA_PORTS + first, size,
                lambda at, size, first=first: self.vga.read(first + at, size),  # type: ignore[misc]
                lambda at, size, value, first=first: self.vga.write(first + at, size, value),  # type: ignore[misc]
                "vga")
            made.wait = 0 if first in (0x14, 0x1E) else made.wait  # they take no time: compiled processors do not wait
        self.plug(self.ports, DISPI_PORTS, self.vga.dispi, "dispi")
        self.addresses.add(VGA_WINDOW, ROMS - VGA, self.vga.window_read, self.vga.window_write, "vga")
        if self.vga.event is None:  # nobody wants to hear of each access
            memory = self.vga.planes.memory
            self.call_directly(memory, self.addresses, VGA_WINDOW, ROMS - VGA)
            self.vga.planes.compiled(
                self.call_directly(memory, self.ports, DIRECT_PORTS, DIRECT_COUNT, "port_read", "port_write"))
        self.screen_function = VgaFunction(self.vga, rom=self.vga_rom)
        self.pci.on_window = self._window_moved
        self.pci.plug(VGA_SLOT, self.screen_function)

    @property
    def frame(self) -> int:
        """Where the framebuffer is."""
        return self.screen_function.window(0) or 0

    def _window_moved(self, function: Function, n: int, address: int | None) -> None:
        """The framebuffer is memory: the guest reaches it without asking the chip. Tables for foreign firmware tell
        where it has put the power management block."""
        self.bays.window_moved(function, n, address)
        if function is self.power_function and n == PM and address and self.firmware is not None:
            self._hand_over(address)
        if function is self.screen_function and n == 0:
            for r in [r for r in self.memory.ranges if self.frame_at <= r.offset < self.frame_at + FRAME]:
                self.memory.map(r.start, r.length, None)
            if address is not None and self.memory.free(address, FRAME):
                self.memory.map(address, FRAME, self.frame_at)

    def _leave_firmware(self) -> None:
        if self.firmware is None:
            self.pci.choose_space(OPENED)
            super()._leave_firmware()
            self._leave_bios(self._bios())
            self._handover(self.tables.power_block).fill(self.configuration)
        else:
            self._leave_image(self.firmware)

    def _leave_bios(self, rom: bytes) -> None:
        """Ours has been copied to RAM, which is closed then, but for the room of option ROMs."""
        self.memory.write_behind(self.rom_at, rom)
        self.memory.write_behind(MIB - len(rom), rom)
        self.pci.choose_space(SHADOWED)

    def _leave_image(self, rom: bytes) -> None:
        """Others find chips as after a reset, but expect that the 8259s reach the processor before they do anything."""
        self._open_lints()
        self.memory.write_behind(self.rom_at + self.variables_size, rom)
        self._hand_over(self.tables.power_block)

    def _hand_over(self, power_block: int) -> None:
        told = self._handover(power_block)
        told.fill_cmos(self.rtc)
        told.fill(self.configuration)

    def _handover(self, power_block: int) -> Handover:
        """The machine, for guests and firmware that ask QEMU's way. Firmware places PCI windows from 2 GiB on, if RAM
        leaves that free."""
        first, last = self.tables.pci_window
        first = max(MIB << 11, self.low_end) if first == HOLE else first
        tables, rsdp = acpi.build(replace(self.tables, power_block=power_block, pci_window=(first, last)), 0)
        return Handover(self.low_end, self.high, self.tables.processors, tables, rsdp, self.drives,
                        bootable_paths(self.drives, self.boot_order, self.bays.path))

    def _bios(self) -> bytes:
        """Our own firmware: its calls arrive at a port, and Python does what they ask for."""
        from guesthouse.system.firmware.bios.bios import Bios, Settings  # other firmware needs none of it
        from guesthouse.system.firmware.bios.guest import PORT, BoardBus, Guest

        settings = Settings(
            memory_map=self.memory_map, extended_kib=(self.low_end - MIB) // KIB, boot_order=self.boot_order,
            serials=tuple(serial.port for serial in SERIALS),
            parallels=() if self.printer is None else (PRINTER_PORT,), framebuffer=self.frame,
            framebuffer_size=len(self.vga.frame), menu_ticks=MENU_TICKS if self.boot_menu else 1,
            kernel=self._start_given)
        guest = Guest(self.state, BoardBus(self.memory, self.addresses, self.ports, self.clock))
        self.bios = Bios(guest, self.drives, settings, reset=self.reset, power_off=self.power_off,
                         tables=self._more_tables())
        if self.ports.find(PORT) is None:
            self.ports.add(PORT, 1, lambda offset, size: 0xFF, lambda offset, size, value: self.bios.call(), "bios")
        return self.bios.rom

    def _more_tables(self) -> list[bytes]:
        """SMBIOS and MP tables go behind those of ACPI; returned is what points to them, which systems look for in the
        last 64 KiB."""
        described, count, largest = smbios.structures(smbios.Machine(self.low_end, self.high, self.tables.processors))
        mp = mptable.configuration(self.tables, {
            slot: f.PIN - 1 for (slot, _), f in self.pci.host.functions.items() if f.PIN})
        smbios_at = BIOS + (len(acpi.build(self.tables, BIOS)[0]) + 15 & ~15)
        mp_at = smbios_at + (len(described) + 15 & ~15)
        if mp_at + len(mp) > MIB - ROM_SIZE:
            raise UserError("The tables of firmware do not fit.", "Give the machine fewer processors.")
        self.memory.write_behind(smbios_at, described)
        self.memory.write_behind(mp_at, mp)
        return [smbios.entry_point(described, count, largest, smbios_at), smbios.entry_point_3(described, smbios_at),
                mptable.floating_pointer(mp_at),
                pir.table(self.tables, sorted({slot for slot, _ in self.pci.host.functions} - {0}))]

    # reset

    def _switch_on(self, core: Core) -> None:
        super()._switch_on(core)
        self.gate_a20(True)

    def reset(self) -> None:
        """RESET# for all; done between two slices."""
        self.post(self._reset)

    def _reset(self) -> None:
        for core in self.cores:
            self._switch_on(core)
        self.core = self.cores[0]
        for chip in self.chips:
            chip.reset()
        self._leave_firmware()
        self.after_reset()

    def init(self) -> None:
        """INIT for the first processor alone."""
        self._after(self.cores[0], self._begin)

    def init_all(self) -> None:
        """INIT#, which the chipset raises for all processors at once."""
        for lapic in self.lapics:
            lapic.receive(0, INIT, False)

    def _begin(self, core: Core) -> None:
        """With A20 closed the processor would not find its ROM; programs that know of no local APIC come this way."""
        init(core.state)
        self.gate_a20(True)
        self._open_lints()
        core.halted = False

    def shut_down(self, exit: Died) -> None:
        """The chipset takes the shutdown cycle of a triple fault for a wish to begin anew (82371SB data sheet, INIT;
        ICH9 data sheet, 5.13.2). What comes then is for firmware to say, by a byte of the CMOS."""
        if self.state.dead:
            self.init_all()
        else:
            super().shut_down(exit)

    def gate_a20(self, opened: bool) -> None:
        mask = ~u64(0) if opened else ~u64(1 << 20)
        changed = [core.state for core in self.cores if core.state.a20_mask != mask]
        if changed:
            with self.still():
                for state in changed:
                    state.a20_mask = mask
                    state.forget_translations()

    def _start_kernel(self, load: Callable[[], X86Entry]) -> None:
        """The firmware comes first; a kernel that cannot be loaded is refused now already."""
        if self.firmware is not None:
            raise UserError("Firmware of one's own does not start kernels.", "Leave --firmware out.")
        load()
        self._load = load

    def _start_given(self) -> bool:
        """What our firmware starts instead of a drive."""
        if self._load is not None:
            x86.enter(self.state, self._load())
        return self._load is not None

    # what the outside may do

    def set_video(self, width: int, height: int, depth: int, text: bool) -> Framebuffer | None:
        """The text screen, as the BIOS leaves it, or a mode of so many pixels with the linear framebuffer."""
        if text:
            return Framebuffer(TEXT_SCREEN, 160, 80, 25, 16, True)
        asked = (width or 1024, height or 768, depth if depth >= 15 else 32)
        for index, value in (DISPI_OFF, *zip((1, 2, 3), asked, strict=True), DISPI_ON):
            self.vga.dispi.write(0, 2, index)
            self.vga.dispi.write(1, 2, value)
        width, height, depth = asked
        return Framebuffer(self.frame, width * (depth + 7 >> 3), width, height, depth)

    def close(self) -> None:
        """No view into the memory stays."""
        if not self.closed:
            self.vga.keep_picture()
            if self.variables is not None:
                self.variables.flush()
                self.variables.close()
            if self.sound is not None:
                self.speaker.flush()
            for output in (self.sound, self.printer, self.debug_port):
                if output is not None:
                    output.close()
        super().close()

    def screen(self) -> Screen:
        """What the screen shows: Text or a Picture."""
        return self.vga.screen()

    def memory_map(self) -> list[E820]:
        low = [E820(0, EBDA, RAM), E820(EBDA, VGA - EBDA, RESERVED)]
        return low + super().memory_map()[1:] + [E820(HOLE_END - self.rom_size, self.rom_size, RESERVED)]


def checked_drives(drives: Sequence[Attached], chipset: str) -> list[Attached]:
    floppies = sum(drive.kind == "floppy" for drive in drives)
    if floppies > FLOPPY_DRIVES:
        raise UserError(f"{floppies} floppy drives are more than a PC has places for.", f"It has {FLOPPY_DRIVES}.")
    check_places(drives, chipset == "q35")
    return list(drives)


def checked_size(size: int) -> int:
    if not size or size % PAGE or size > MOST:
        raise UserError(f"Firmware of {size} bytes does not fit below 4 GiB.",
                        f"An image is whole pages of 4 KiB, {MOST >> 20} MiB at most.")
    return size
