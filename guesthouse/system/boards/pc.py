"""The PC: where each chip sits, which wire goes where, and what its firmware leaves behind for an operating system.

Processors start as the book says: the first runs, the others wait for SIPI. Interrupts come through the I/O APIC and
the local APICs, or through the pair of 8259s. Kernels are loaded by the boot protocols that need no firmware. Not here,
but in classic.py: firmware, screen, keyboard, drives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from guesthouse.bits import u64
from guesthouse.clock import SECOND, Clock
from guesthouse.engine.vcpu import Halted, RegisterRead, RegisterWrite, Window
from guesthouse.errors import UserError
from guesthouse.system.boards import x86
from guesthouse.system.boards.board import SLICE, Board, VcpuFactory
from guesthouse.system.boards.cores import Core
from guesthouse.system.boards.nics import Nic
from guesthouse.system.boards.nics import plug as plug_nics
from guesthouse.system.boards.pci import TABLES, PciBus
from guesthouse.system.chips import pc_testdev
from guesthouse.system.chips.acpi_pm import AcpiPm
from guesthouse.system.chips.coprocessor_error import CoprocessorError
from guesthouse.system.chips.debug_exit import DebugExit
from guesthouse.system.chips.hpet import Hpet
from guesthouse.system.chips.i8042 import I8042, Port92
from guesthouse.system.chips.i8254 import Pit
from guesthouse.system.chips.i8259 import PicPair
from guesthouse.system.chips.ioapic import IoApic
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.lapic import ApicBus, LocalApic
from guesthouse.system.chips.mc146818 import Rtc
from guesthouse.system.chips.port61 import Port61
from guesthouse.system.chips.virtio.balloon import Balloon
from guesthouse.system.chips.virtio.console import Console
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.pci import VirtioPci
from guesthouse.system.chips.virtio.rng import Rng
from guesthouse.system.cpu.x86.entry import init, reset, start_at
from guesthouse.system.firmware import acpi, linux_x86, multiboot, pvh
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.firmware.linux_x86 import RAM, RESERVED, E820, X86Entry
from guesthouse.system.memory import PAGE, Memory, OutsideRam
from guesthouse.trace import Trace

HOLE, HOLE_END = 0xC000_0000, 1 << 32  # chips, not RAM
VGA, ROMS, BIOS, MIB = 0xA_0000, 0xC_0000, 0xE_0000, 1 << 20
LEAST = 8 * MIB
LAPIC = 0xFEE0_0000
TSC_HZ = SECOND
CR8 = 0x1_0000_0008  # how a processor asks for CR8, which is the local APIC's
PIC_IRQS, SCI_IRQ, COPROCESSOR_IRQ, HPET_INPUTS = 16, acpi.SCI, 13, range(20, 24)
SLEEP_TYPES_OFF = 0, 7  # PIIX4 and ICH9; firmware made for QEMU writes 0 to both
MESSAGES = 0xFEE0_0000
SERIALS = tuple(acpi.Serial(port, irq) for port, irq in ((0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3)))
RNG_SLOT, BALLOON_SLOT, CONSOLE_SLOT = 2, 5, 6
PVPANIC_PANICKED, PVPANIC_PORT = 1, 0x505
DEBUG_EXIT_PORT, APIC_ENABLED = 0xF4, 1 << 11


class PcBoard(Board):
    """A PC with `memory_bytes` of RAM. `epoch` is the UTC time, in Unix seconds, when it is switched on."""

    def __init__(self, memory_bytes: int, clock: Clock, vcpu_factory: VcpuFactory, *, trace: Trace | None = None,
                 epoch: int = 0, random_bytes: Callable[[int], bytes] = os.urandom, slice: int = SLICE,
                 cpus: int = 1, parallel: bool = False, chipset: str = "i440fx", nics: Sequence[Nic] = (),
                 balloon: bool = False, console: Callable[[bytes], object] | None = None) -> None:
        """`chipset` is i440fx or q35. `console` takes what a virtio console says; `self.console` hears the host."""
        size = memory_bytes // PAGE * PAGE
        if size < LEAST:
            raise UserError(f"A PC cannot run in {memory_bytes >> 10} KiB.", f"Give it {LEAST >> 20} MiB or more.")
        self.low_end = min(size, HOLE)
        self.high = size - self.low_end
        super().__init__(self._memory(), clock, vcpu_factory, trace=trace, slice=slice, cpus=cpus,
                         parallel=parallel)
        self._random_bytes = random_bytes
        for core in self.cores[1:]:
            self._switch_on(core)
        self.tables = self._describe(checked_chipset(chipset))
        self._wire_interrupts()
        self._wire_timers(epoch)
        self._wire_serials()
        self._wire_power()
        self._wire_keyboard()
        self._wire_post()
        self._wire_pci(random_bytes)
        plug_nics(self, list(nics))
        self.balloon = Balloon(self.memory.discard) if balloon else None
        self.console = Console(console) if console else None
        for slot, device in ((BALLOON_SLOT, self.balloon), (CONSOLE_SLOT, self.console)):
            if device is not None:
                self._plug_virtio(slot, device)
        self._leave_firmware()

    # wiring

    def _memory(self) -> Memory:
        return Memory([(0, VGA), (ROMS, self.low_end - ROMS)] + ([(HOLE_END, self.high)] if self.high else []))

    def _describe(self, chipset: str) -> acpi.Pc:
        """What the ACPI tables tell."""
        return replace(TABLES[chipset], processors=len(self.cores), serials=SERIALS, pvpanic=PVPANIC_PORT)

    def _wire_interrupts(self) -> None:
        self.bus = ApicBus()
        self.lapics = [self._local_apic(core) for core in self.cores]
        self.pics = PicPair(Line(lambda high: self.lapics[0].set_lint(0, high)))
        self.ioapic = IoApic(self.bus.deliver)
        self.bus.join_io(self.ioapic)
        self._irqs = [Line(self._input(n)) for n in range(PIC_IRQS)]
        self.addresses.add(LAPIC, LocalApic.SIZE, lambda at, size: self.lapic.read(at, size),
                           lambda at, size, value: self.lapic.write(at, size, value), "lapic")
        for core, lapic in zip(self.cores, self.lapics, strict=True):
            if lapic.event is None and self.threads is None:  # nobody else changes what is served meanwhile
                self.call_directly(lapic.typed, self.addresses, LAPIC, LocalApic.SIZE, core=core)
        self.plug(self.addresses, 0xFEC0_0000, self.ioapic, "ioapic")
        self.plug(self.ports, 0x20, self.pics.master, "pic.master")
        self.plug(self.ports, 0xA0, self.pics.slave, "pic.slave")
        self.plug(self.ports, 0x4D0, self.pics.elcr, "pic.elcr")
        self.coprocessor = CoprocessorError(self.irq(COPROCESSOR_IRQ), self._ignore_error)
        self.plug(self.ports, 0xF0, self.coprocessor, "coprocessor")

    def _ignore_error(self) -> None:
        self.state.ignne = u64(1)

    def _halt(self, exit: Halted) -> None:
        """Also what an x87 instruction does that waits for the answer to an error."""
        if self.core.raw.ferr:
            self.core.raw.ferr = 0
            self.coprocessor.error()
        super()._halt(exit)

    def _local_apic(self, core: Core) -> LocalApic:
        """The 8259s reach the first processor only, as if the others' LINT0 were not connected."""
        first = core.number == 0
        made = LocalApic(
            core.number, self.clock, self.bus, Line(partial(self._set_intr, core)), tsc=partial(self._tsc, core),
            tsc_hz=TSC_HZ, bootstrap=first, external=(lambda: self.pics.acknowledge()) if first else None,
            nmi=partial(self._nmi, core), smi=partial(self._smi, core),
            init=self.init if first else partial(self._after, core, self._park),
            startup=lambda vector: self._after(core, partial(self._start, vector)))
        made.trace_to(self.trace, f"lapic{core.number or ''}")
        self.chips.append(made)
        return made

    @property
    def lapic(self) -> LocalApic:
        """That of the processor whose turn it is: all of them are at one address."""
        return self.lapics[self.core.number]

    def irq(self, n: int) -> Line:
        """An ISA interrupt, shared with others by being or-ed."""
        return self._irqs[n].source()

    def _input(self, n: int) -> Callable[[bool], None]:
        """IRQ n reaches both kinds of controller; IRQ0 comes in at the I/O APIC's pin 2, as the MADT says."""
        pin = {0: 2}.get(n, n)

        def change(high: bool) -> None:
            self.pics.set_input(n, high)
            self.ioapic.set_input(pin, high)

        return change

    def _wire_timers(self, epoch: int) -> None:
        self.hpet = Hpet(self.clock, {n: Line(partial(self.ioapic.set_input, n)) for n in HPET_INPUTS},
                         (self.irq(0), self.irq(8)), self._replace_timers, self.message)
        self._replaceable = [Replaceable(self.irq(0)), Replaceable(self.irq(8))]
        self.pit = Pit(self.clock, self._replaceable[0].line)
        self.rtc = Rtc(self.clock, self._replaceable[1].line, epoch=epoch)
        self.plug(self.addresses, self.tables.hpet, self.hpet, "hpet")
        self.port61 = Port61(self.clock, lambda gate: self.pit.set_gate(2, gate), lambda: self.pit.output(2))
        self.plug(self.ports, 0x40, self.pit, "pit")
        self.plug(self.ports, 0x61, self.port61, "port61")
        self.plug(self.ports, 0x70, self.rtc, "rtc")

    def _replace_timers(self, legacy: bool) -> None:
        """The HPET takes the interrupts of the PIT and of the clock, or gives them back."""
        for one in self._replaceable:
            one.disconnect(legacy)

    def _wire_serials(self) -> None:
        for n, wire in enumerate(SERIALS):
            self.plug_serial(n, self.irq(wire.irq), self.ports, wire.port)

    def _wire_power(self) -> None:
        self.power = AcpiPm(self.clock, self.irq(SCI_IRQ), power_off=self.power_off, s5=SLEEP_TYPES_OFF)
        self.power.trace_to(self.trace, "acpi")
        self.chips.append(self.power)
        self.plug(self.ports, 0x92, Port92(self.init_all, self.gate_a20), "port92")
        self.ports.add(PVPANIC_PORT, 1, lambda offset, size: PVPANIC_PANICKED, self._pvpanic, "pvpanic")

    def _wire_keyboard(self) -> None:
        self._plug_keyboard(I8042(self.reset))

    def _plug_keyboard(self, keyboard: I8042) -> None:
        """One chip at two ports, with others' ports between them."""
        keyboard.trace_to(self.trace, "i8042")
        self.chips.append(keyboard)
        for port, offset in ((0x60, 0), (0x64, 4)):
            self.ports.add(port, 1, lambda _, size, at=offset: keyboard.read(at, size),  # type: ignore[misc]
                           lambda _, size, value, at=offset: keyboard.write(at, size, value),  # type: ignore[misc]
                           "i8042")

    def _wire_post(self) -> None:
        """Where firmware shows how far it is; who writes there wants to wait a little."""
        self.ports.add(0x80, 1, lambda offset, size: 0xFF, lambda offset, size, value: None, "post")

    def _wire_pci(self, random_bytes: Callable[[int], bytes]) -> None:
        self.pci = PciBus(self.tables, self.ports, self.addresses, self.trace, pin=self.ioapic.set_input, irq=self.irq,
                          message=self.message, reset=self.reset)
        self.chips += self.pci.chips
        self.pci.plug_chipset(self.power)
        self._plug_virtio(RNG_SLOT, Rng(random_bytes))

    def _plug_virtio(self, slot: int, device: Device) -> None:
        function = VirtioPci(device, self.memory, self.pci.line(slot), refused=OutsideRam)
        self.pci.plug(slot, function, name=f"virtio_{type(device).__name__.lower()}")

    def message(self, address: int, data: int) -> None:
        """A device's write of four bytes: an interrupt, or into RAM."""
        if address >> 20 == MESSAGES >> 20:
            self.bus.message(address, data)
        elif self.memory.contains(address, 4):
            self.memory.write(address, data.to_bytes(4, "little"))

    def _leave_firmware(self) -> None:
        """What a BIOS leaves behind: tables, an 8259 that reaches the processor (virtual wire mode), a level SCI."""
        self.pci.preset()
        tables, self.rsdp = acpi.build(self.tables, BIOS)
        self.memory.write(BIOS, tables)
        for pic, base, wiring in ((self.pics.master, 0x08, 0x04), (self.pics.slave, 0x70, 0x02)):
            pic.write(0, 1, 0x11)
            for value in (base, wiring, 0x01, 0xFF):  # ICW2 to ICW4, then all masked
                pic.write(1, 1, value)
        self._open_lints()
        levels = sum(1 << n for n in {SCI_IRQ, *self.tables.pirqs})
        self.pics.elcr.write(0, 1, levels & 0xFF)
        self.pics.elcr.write(1, 1, levels >> 8)

    def _open_lints(self) -> None:
        """Virtual wire mode: the 8259s' interrupts come through the local APIC."""
        self.lapic.write(0x0F0, 4, 0x1FF)
        self.lapic.write(0x350, 4, 0x700)  # LINT0: ExtINT
        self.lapic.write(0x360, 4, 0x400)  # LINT1: NMI

    # the processors

    def init(self) -> None:
        """The first processor begins anew."""
        self.reset()

    def init_all(self) -> None:
        """All of them do."""
        self.reset()

    def gate_a20(self, opened: bool) -> None:
        """Bit 20 of addresses reaches the memory, or not: always, where no program of the 1980s runs."""

    def _switch_on(self, core: Core) -> None:
        reset(core.state, apic_id=core.number, processors=len(self.cores), seed=self._random_bytes(32))
        core.do_events()
        core.halted, core.parked = False, core.number > 0

    def _set_intr(self, core: Core, high: bool) -> None:
        core.interrupted = high
        core.raw.intr = high
        self.attract(core)

    def _nmi(self, core: Core) -> None:
        core.raw.nmi = 1
        self.attract(core)

    def smi(self) -> None:
        """An edge of SMI#, from the chips that raise it: for the processor that made them."""
        self._smi(self.core)

    def _smi(self, core: Core) -> None:
        core.raw.smi = 1
        self.attract(core)

    def _after(self, core: Core, event: Callable[[Core], object]) -> None:
        """INIT or SIPI: what happens to a processor once it is between two instructions."""
        core.events.append(partial(event, core))
        self.attract(core)

    def _park(self, core: Core) -> None:
        """INIT: the processor waits for SIPI."""
        init(core.state)
        core.halted, core.parked = False, True

    def _start(self, vector: int, core: Core) -> None:
        if core.parked:
            start_at(core.state, vector)
            core.parked = False

    def _tsc(self, core: Core) -> int:
        """The time-stamp counter at this moment: 1 GHz, plus what the guest has written to it."""
        return int(self.clock.now() + core.raw.tsc_offset) & (1 << 64) - 1

    def before_slice(self) -> None:
        """The processor gets an interrupt that it would leave for at once."""
        core = self.core
        vcpu: Any = core.vcpu
        if core.interrupted and not vcpu.unfinished and type(core.state).takes_interrupt(core.raw):
            self.answer(Window())

    def wakes(self) -> bool:
        raw = self.core.raw
        return bool(raw.nmi or raw.smi or raw.intr and raw.flags & x86.IF)

    def dead_halt(self) -> str | None:
        return None if self.core.raw.flags & x86.IF else "halted for good, with interrupts off"

    def in_kernel(self) -> bool:
        return int(self.state.cpl) == 0

    def window(self, exit: Window) -> None:
        self.vcpu.call("inject", self.lapic.acknowledge())  # type: ignore[attr-defined]

    def register_read(self, exit: RegisterRead) -> None:
        value = self.lapic.tpr >> 4 if exit.number == CR8 else self.lapic.read_msr(exit.number)
        if value is None:
            exit.refuse()
        else:
            exit.reply(value)

    def register_write(self, exit: RegisterWrite) -> None:
        if exit.number == CR8:
            self.lapic.tpr = exit.value << 4
        elif not self.lapic.write_msr(exit.number, exit.value):
            exit.refuse()
        self.core.raw.apic_off = not self.lapic.apic_base & APIC_ENABLED

    def _pvpanic(self, offset: int, size: int, value: int) -> None:
        if value & PVPANIC_PANICKED:
            self.watch.told()
            self.die(str(self.watch.text))

    def describe_state(self) -> list[str]:
        if self.core.parked:
            return ["  waits to be started"]
        return x86.describe(self.state, self.memory)

    # what the outside may do

    def add_test_devices(self) -> None:
        """What kvm-unit-tests find in a PC: a port that ends it, and QEMU's pc-testdev."""
        self.plug(self.ports, DEBUG_EXIT_PORT, DebugExit(self.power_off), "debug_exit")
        device = pc_testdev.PcTestDevice([self.irq(n) for n in range(PIC_IRQS)])
        for port, size in ((pc_testdev.REMEMBERS, 4), (pc_testdev.MIRROR, 1)):  # behind the second is port E9h
            self.ports.add(port, size, device.port_read, device.port_write, "testdev")
        self.ports.add(pc_testdev.FLUSH, 4, lambda at, size: 0, lambda at, size, value: None, "testdev.flush")
        self.ports.add(pc_testdev.LINES, PIC_IRQS, lambda at, size: 0, device.line_write, "testdev.lines")
        self.addresses.add(pc_testdev.MEMORY, pc_testdev.MEMORY_SIZE, device.memory_read, device.memory_write,
                           "testdev.memory")

    def press_power_button(self) -> bool:
        self.post(self.power.press_power_button)
        return True

    def load_linux(self, kernel: bytes | str | Path, initrd: bytes | str | Path | None = None, cmdline: str = "", *,
                   name: str = "") -> None:
        """Get ready to start a kernel: a bzImage, or an ELF file with a PVH note."""
        blob = Blob.of(kernel, name)
        disk = b"" if initrd is None else Blob.of(initrd, "the initial ramdisk").data
        elf = blob.data[:4] == b"\x7fELF"
        if not elf:
            linux_x86.read_header(blob)  # refused before anything is switched on

        def load() -> X86Entry:
            given = self.memory, self.low_end, blob, disk, cmdline, self.memory_map(), self.rsdp
            if elf:
                return pvh.load(*given)
            return linux_x86.load(*given, text_screen=self.set_video(0, 0, 0, True) is not None)

        self._switch_on(self.core)
        self._start_kernel(load)

    def load_elf(self, file: bytes | str | Path) -> None:
        """An ELF file with a PVH note, without a ramdisk or command line."""
        self.load_linux(file)

    def load_multiboot(self, kernel: bytes | str | Path, cmdline: str = "",
                       modules: Sequence[tuple[bytes | str | Path, str]] = (), *, name: str = "") -> None:
        """Get ready to start a multiboot kernel, version 1 or 2, with (file, command line) for each module."""
        blob, loaded = Blob.of(kernel, name), [multiboot.Module(Blob.of(file).data, text) for file, text in modules]
        self._switch_on(self.core)
        self._start_kernel(lambda: multiboot.load(self._machine(), blob, cmdline, loaded))

    def _machine(self) -> multiboot.Machine:
        return multiboot.Machine(self.memory, self.low_end, self.memory_map(), self.rsdp, self.set_video)

    def _start_kernel(self, load: Callable[[], X86Entry]) -> None:
        """No firmware comes first here."""
        x86.enter(self.state, load())

    def set_video(self, width: int, height: int, depth: int, text: bool) -> multiboot.Framebuffer | None:
        """What a kernel's loader asks of a screen; this board has none."""
        return None

    def memory_map(self) -> list[E820]:
        lines = [E820(0, VGA, RAM), E820(BIOS, MIB - BIOS, RESERVED), E820(MIB, self.low_end - MIB, RAM)]
        return lines + ([E820(HOLE_END, self.high, RAM)] if self.high else [])


class Replaceable:
    """A chip's wire to an interrupt that another may take over."""

    def __init__(self, output: Line) -> None:
        self.line, self.output, self.apart = Line(self._drive), output, False

    def disconnect(self, apart: bool) -> None:
        self.apart = apart
        self._drive(self.line.high)

    def _drive(self, high: bool) -> None:
        self.output.set(high and not self.apart)


def checked_chipset(name: str) -> str:
    if name not in TABLES:
        raise UserError(f"There is no chipset {name!r}.", f"There are: {', '.join(TABLES)}.")
    return name
