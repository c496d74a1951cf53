"""The RISC-V `virt` machine: RAM at 2 GiB, CLINT, PLIC, four 16550s, a test finisher, a clock and virtio over MMIO.

One hart. Addresses are those that QEMU's machine of this name has made customary; the device tree tells them all.
The firmware is Python (SBI) or a binary in machine mode (OpenSBI).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

from guesthouse.bits import u64
from guesthouse.clock import Clock
from guesthouse.engine.vcpu import HostCall
from guesthouse.errors import UserError
from guesthouse.system.boards import riscv
from guesthouse.system.boards.board import SLICE, Board, VcpuFactory
from guesthouse.system.chips.clint import Clint
from guesthouse.system.chips.goldfish_rtc import GoldfishRtc
from guesthouse.system.chips.kit import Line
from guesthouse.system.chips.plic import Plic
from guesthouse.system.chips.sifive_test import SifiveTest
from guesthouse.system.chips.virtio.mmio import VirtioMmio
from guesthouse.system.chips.virtio.rng import Rng
from guesthouse.system.firmware import linux_riscv
from guesthouse.system.firmware.blob import Blob
from guesthouse.system.firmware.devicetree import Node, flatten, pair, region
from guesthouse.system.firmware.elf import Elf
from guesthouse.system.firmware.sbi import ALL, Sbi
from guesthouse.system.memory import PAGE, Memory, OutsideRam
from guesthouse.trace import Trace

RAM, MIB = 0x8000_0000, 1 << 20
LEAST = 8 * MIB
TEST, RTC, CLINT, PLIC = 0x10_0000, 0x10_1000, 0x200_0000, 0xC00_0000
UARTS = ((0x1000_0000, 10), (0x1000_2000, 12), (0x1000_3000, 13), (0x1000_4000, 14))  # address, PLIC source
VIRTIO = ((0x1000_1000, 1),)
RTC_SOURCE, SOURCES = 11, 95
FREQUENCY, TICK = 10_000_000, 100
SSIP, MSIP, STIP, MTIP, SEIP, MEIP = 1, 3, 5, 7, 9, 11
FIRMWARE_INFO = 0x4942534F  # OpenSBI's fw_dynamic_info, "OSBI"
TOHOST_SLICE = 1 << 12  # how often tests that end through memory are looked at
CPU_PHANDLE, PLIC_PHANDLE, TEST_PHANDLE = 1, 2, 3
EXTENSIONS = ("i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zba", "zbb", "zbs", "zicbom", "zicboz", "sstc",
              "svinval")
FAR = 1 << 62


class VirtBoard(Board):
    """A virt machine with `memory_bytes` of RAM; `epoch` is the UTC time, in Unix seconds, when it is switched on."""

    def __init__(self, memory_bytes: int, clock: Clock, vcpu_factory: VcpuFactory, *, trace: Trace | None = None,
                 epoch: int = 0, random_bytes: Callable[[int], bytes] = os.urandom, slice: int = SLICE) -> None:
        size = memory_bytes // PAGE * PAGE
        if size < LEAST:
            raise UserError(f"This machine cannot run in {memory_bytes >> 10} KiB.",
                            f"Give it {LEAST >> 20} MiB or more.")
        super().__init__(Memory([(RAM, size)]), clock, vcpu_factory, trace=trace, slice=slice)
        self.end = RAM + size
        self.tohost: int | None = None
        self._supervisor_timer = clock.timer(lambda: None)
        self._stimecmp = ALL
        self.sbi = Sbi(self)
        self._random_bytes = random_bytes
        self._wire(epoch)

    def _wire(self, epoch: int) -> None:
        self.plic = Plic([self._pin(MEIP), self._pin(SEIP)], sources=SOURCES)
        self.clint = Clint(self.clock, [self._pin(MSIP)], [self._pin(MTIP)], frequency=FREQUENCY)
        self.plug(self.addresses, TEST, SifiveTest(self.finish), "test")
        self.plug(self.addresses, RTC, GoldfishRtc(self.clock, self._source(RTC_SOURCE), epoch=epoch), "rtc")
        self.plug(self.addresses, CLINT, self.clint, "clint")
        self.plug(self.addresses, PLIC, self.plic, "plic")
        for n, (address, source) in enumerate(UARTS):
            self.plug_serial(n, self._source(source), self.addresses, address, 0x100)
        rng = VirtioMmio(Rng(self._random_bytes), self.memory, self._source(VIRTIO[0][1]), refused=OutsideRam)
        self.plug(self.addresses, VIRTIO[0][0], rng, "virtio_rng")

    def _pin(self, bit: int) -> Line:
        """A bit of mip that follows a wire."""
        mask = u64(1 << bit)

        def change(high: bool) -> None:
            mip = self.state.mip
            self.state.mip = mip | mask if high else mip & ~mask

        return Line(change)

    def _source(self, n: int) -> Line:
        return Line(lambda high: self.plic.set_input(n, high))

    # the processor

    def before_slice(self) -> None:
        """The hart keeps its own timer (Sstc); the clock must know when it is due."""
        due = int(self.state.stimecmp)
        if due != self._stimecmp:
            self._stimecmp = due
            self._supervisor_timer.set(due * TICK if due < FAR else None)

    def wakes(self) -> bool:
        self.before_slice()
        self.state.ticks, self.state.left = u64(self.clock.now()), self.state.budget
        return bool(self.state.wakes())

    def dead_halt(self) -> str | None:
        return None if int(self.state.mie) else "halted for good, with no interrupt enabled"

    def in_kernel(self) -> bool:
        return int(self.state.mode) != 0

    def host_call(self, exit: HostCall) -> None:
        """ECALL from supervisor mode: a7 is the extension, a6 the function (SBI, chapter 3)."""
        x = self.state.x
        error, value = self.sbi.call(int(x[17]), int(x[16]), [int(x[n]) for n in range(10, 16)])
        x[10] = u64(error)
        if value is not None:
            x[11] = u64(value)

    def slice_over(self) -> None:
        if self.tohost is not None:
            self._look_at_tohost(self.tohost)

    def _look_at_tohost(self, address: int) -> None:
        """How riscv-tests end, and print (HTIF). Bit 0: an exit status; device 1, command 1: a byte."""
        value = int.from_bytes(self.memory.read(address, 8), "little")
        if value & 1:
            self.power_off(value >> 1 & 0x7FFF_FFFF)
        elif value:
            if value >> 48 == 0x0101:
                self.serial[0].emit(bytes((value & 0xFF,)))
            self.memory.write(address, bytes(8))

    def describe_state(self) -> list[str]:
        return riscv.describe(self.state, self.memory)

    # what SBI calls need (firmware/sbi.py, Machine)

    def set_timer(self, ticks: int) -> None:
        self.state.stimecmp = u64(ticks)

    def software_interrupt(self, pending: bool) -> None:
        bit = u64(1 << SSIP)
        self.state.mip = self.state.mip | bit if pending else self.state.mip & ~bit

    def flush_translations(self) -> None:
        self.state.forget_translations()

    def console_write(self, data: bytes) -> None:
        self.serial[0].emit(data)

    def console_read(self, most: int) -> bytes:
        return self.serial[0].take(most)

    def read_memory(self, address: int, count: int) -> bytes | None:
        return self.memory.read(address, count) if self.memory.contains(address, count) else None

    def write_memory(self, address: int, data: bytes) -> bool:
        if not self.memory.contains(address, len(data)):
            return False
        self.memory.write(address, data)
        return True

    def finish(self, verdict: str, code: int) -> None:
        if verdict == "reset":
            self.reset()
        else:
            self.power_off(0 if verdict == "pass" else code or 1)

    # what the outside may do

    def press_power_button(self) -> bool:
        """There is none."""
        return False

    def load_linux(self, kernel: bytes | str | Path, initrd: bytes | str | Path | None = None, cmdline: str = "", *,
                   name: str = "") -> None:
        """Get ready to start a kernel in supervisor mode, with SBI in Python."""
        placed = self._load_kernel(Blob.of(kernel, name), initrd, cmdline)
        self.state.start_supervisor(placed.entry, 0, placed.tree_at)

    def load_firmware(self, firmware: bytes | str | Path, kernel: bytes | str | Path,
                      initrd: bytes | str | Path | None = None, cmdline: str = "") -> None:
        """Get ready to start OpenSBI's fw_dynamic or fw_jump in machine mode, which then starts the kernel."""
        blob = Blob.of(firmware)
        placed = self._load_kernel(Blob.of(kernel), initrd, cmdline)
        entry = self._load_machine_code(blob)
        info = placed.tree_at + linux_riscv.TREE_ROOM - PAGE
        supervisor = 1
        self.memory.write(info, struct.pack("<6Q", FIRMWARE_INFO, 2, placed.entry, supervisor, 0, 0))
        self.state.reset(entry, 0)
        self.state.x[11], self.state.x[12] = u64(placed.tree_at), u64(info)

    def _load_machine_code(self, blob: Blob) -> int:
        """Put firmware below the kernel; where it begins."""
        if blob.data[:4] == b"\x7fELF":
            elf = Elf(blob)
            elf.load(self.memory)
            return int(elf.entry)
        if len(blob.data) > linux_riscv.ALIGN:
            raise blob.called("firmware binary").error(linux_riscv.ALIGN, "the end: the kernel comes there")
        self.memory.write(RAM, blob.data)
        return RAM

    def _load_kernel(self, blob: Blob, initrd: bytes | str | Path | None, cmdline: str) -> linux_riscv.Placed:
        disk = b"" if initrd is None else Blob.of(initrd, "the initial ramdisk").data
        placed = linux_riscv.load(self.memory, RAM, self.end, blob, disk)
        tree = self.device_tree(cmdline, placed.initrd_at, placed.initrd_end)
        if len(tree) > linux_riscv.TREE_ROOM - PAGE:
            raise UserError("The kernel's command line is too long.", "Shorten what --append gives.")
        self.memory.write(placed.tree_at, tree)
        return placed

    def load_elf(self, file: bytes | str | Path) -> None:
        """Get ready to start a bare program in machine mode. If it has a symbol `tohost`, that ends the run."""
        elf = Elf(Blob.of(file))
        elf.load(self.memory)
        self.tohost = elf.symbols().get("tohost")
        if self.tohost is not None and not self.memory.contains(self.tohost, 8):
            raise elf.blob.error(0, "a symbol tohost that lies in RAM")
        if self.tohost is not None:
            self.slice = min(self.slice, TOHOST_SLICE)
        self.state.reset(elf.entry, 0)

    # the device tree

    def device_tree(self, cmdline: str = "", initrd_at: int = 0, initrd_end: int = 0) -> bytes:
        root = Node("", compatible="riscv-virtio", model="guesthouse,virt")
        root.put("#address-cells", 2).put("#size-cells", 2)
        chosen = root.add(Node("chosen", bootargs=cmdline, stdout_path=f"/soc/serial@{UARTS[0][0]:x}"))
        # Without it Linux has no random numbers until interrupts have given enough, and makes up some anew, slowly, at
        # each system call (chosen.yaml of dt-schema).
        chosen.put("rng-seed", self._random_bytes(32))
        if initrd_end:
            chosen.put("linux,initrd-start", pair(initrd_at)).put("linux,initrd-end", pair(initrd_end))
        aliases = root.add(Node("aliases"))
        for n, (address, _) in enumerate(UARTS):
            aliases.put(f"serial{n}", f"/soc/serial@{address:x}")
        root.add(Node(f"memory@{RAM:x}", device_type="memory", reg=region(RAM, self.end - RAM)))
        root.add(self._cpus())
        soc = root.add(Node("soc", compatible="simple-bus", ranges=None))
        soc.put("#address-cells", 2).put("#size-cells", 2)
        for node in (*self._controllers(), *self._devices()):
            soc.add(node)
        for name, value in (("poweroff", 0x5555), ("reboot", 0x7777)):
            root.add(Node(name, compatible=f"syscon-{name}", regmap=TEST_PHANDLE, offset=0, value=value))
        return flatten(root)

    @staticmethod
    def _cpus() -> Node:
        cpus = Node("cpus", timebase_frequency=FREQUENCY).put("#address-cells", 1).put("#size-cells", 0)
        single = "".join(e for e in EXTENSIONS if len(e) == 1)
        multi = "_".join(e for e in EXTENSIONS if len(e) > 1)
        cpu = cpus.add(Node("cpu@0", device_type="cpu", reg=0, status="okay", compatible="riscv",
                            mmu_type="riscv,sv48"))
        cpu.put("riscv,isa", f"rv64{single}_{multi}").put("riscv,isa-base", "rv64i")
        cpu.put("riscv,isa-extensions", list(EXTENSIONS))
        cpu.put("riscv,cbom-block-size", 64).put("riscv,cboz-block-size", 64)
        inner = cpu.add(Node("interrupt-controller", interrupt_controller=None, compatible="riscv,cpu-intc",
                             phandle=CPU_PHANDLE))
        inner.put("#interrupt-cells", 1)
        return cpus

    @staticmethod
    def _controllers() -> list[Node]:
        plic = Node(f"plic@{PLIC:x}", compatible=["sifive,plic-1.0.0", "riscv,plic0"], reg=region(PLIC, Plic.SIZE),
                    interrupt_controller=None, phandle=PLIC_PHANDLE,
                    interrupts_extended=[CPU_PHANDLE, MEIP, CPU_PHANDLE, SEIP])
        plic.put("#interrupt-cells", 1).put("#address-cells", 0).put("riscv,ndev", SOURCES)
        clint = Node(f"clint@{CLINT:x}", compatible=["sifive,clint0", "riscv,clint0"], reg=region(CLINT, Clint.SIZE),
                     interrupts_extended=[CPU_PHANDLE, MSIP, CPU_PHANDLE, MTIP])
        return [plic, clint]

    @staticmethod
    def _devices() -> list[Node]:
        nodes = [Node(f"serial@{address:x}", compatible="ns16550a", reg=region(address, 0x100),
                      clock_frequency=3_686_400, interrupt_parent=PLIC_PHANDLE, interrupts=source)
                 for address, source in UARTS]
        nodes += [Node(f"virtio_mmio@{address:x}", compatible="virtio,mmio", reg=region(address, 0x1000),
                       interrupt_parent=PLIC_PHANDLE, interrupts=source) for address, source in VIRTIO]
        nodes.append(Node(f"rtc@{RTC:x}", compatible="google,goldfish-rtc", reg=region(RTC, 0x1000),
                          interrupt_parent=PLIC_PHANDLE, interrupts=RTC_SOURCE))
        nodes.append(Node(f"test@{TEST:x}", compatible=["sifive,test1", "sifive,test0", "syscon"],
                          reg=region(TEST, 0x1000), phandle=TEST_PHANDLE))
        return nodes
