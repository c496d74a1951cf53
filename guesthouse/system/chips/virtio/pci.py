"""Virtio over PCI, a transitional device, after Virtio 1.2, section 4.1: the modern registers in a memory window, the
legacy ones in a port window (legacy.py), interrupts by pin or by MSI-X, one vector for each queue and one for the rest.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Chip, Line, Register, Stateful, on_read, on_write
from guesthouse.system.chips.pci.function import Bar, Capability, Function
from guesthouse.system.chips.pci.msi import MsiX
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.legacy import Legacy, Vectors
from guesthouse.system.chips.virtio.queue import GuestMemory, Queue
from guesthouse.trace import Trace

COMMON, INTERRUPTS, CONFIG, NOTIFY, WINDOW = 0x0000, 0x1000, 0x2000, 0x3000, 0x4000
COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG = 1, 2, 3, 4, 5
LEGACY_WINDOW, VECTOR_WINDOW, MODERN_WINDOW = 0, 1, 4
TRANSITIONAL = {1: 0x1000, 2: 0x1001, 5: 0x1002, 3: 0x1003, 8: 0x1004, 4: 0x1005}  # 4.1.2.1
NOTIFY_STRIDE = 4
LOW32 = 0xFFFF_FFFF
AREAS = ("descriptors", "driver", "device")


def capability(kind: int, offset: int, length: int, more: bytes = b"") -> bytes:
    """4.1.4, struct virtio_pci_cap without its link: vendor capability 9, length, type, window."""
    where = offset.to_bytes(4, "little") + length.to_bytes(4, "little")
    return bytes((9, 16 + len(more), kind, MODERN_WINDOW, 0, 0, 0)) + where + more


class Registers(Chip):
    """What the window holds."""

    SIZE = WINDOW
    device_select = Register(0x00, width=32)
    driver_select = Register(0x08, width=32)
    queue_select = Register(0x16, width=16)

    def __init__(self, device: Device, vectors: Vectors) -> None:
        self.device, self.vectors = device, vectors
        super().__init__()

    def selected(self) -> Queue | None:
        return self.device.queue(self.queue_select)

    def read(self, offset: int, size: int = 1) -> int:
        if CONFIG <= offset < NOTIFY:
            return self.device.read_configuration(offset - CONFIG, size)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if CONFIG <= offset < NOTIFY:
            self.device.write_configuration(offset - CONFIG, size, value)
        elif offset >= NOTIFY:
            self.device.notify((offset - NOTIFY) // NOTIFY_STRIDE)
        else:
            super().write(offset, size, value)

    @on_read(0x04, width=32, pure=True)
    def offered_features(self) -> int:
        return self.device.offered(self.device_select)

    @on_read(0x0C, width=32, pure=True)
    def accepted_features(self) -> int:
        word = self.driver_select
        return int(self.device.driver_features >> 32 * word) & LOW32 if word < 2 else 0

    @on_write(0x0C, width=32)
    def accept_features(self, value: int) -> None:
        self.device.accept(self.driver_select, value)

    @on_read(0x10, width=16, pure=True)
    def configuration_vector(self) -> int:
        return int(self.vectors.configuration)

    @on_write(0x10, width=16)
    def set_configuration_vector(self, value: int) -> None:
        self.vectors.choose(None, value)

    @on_read(0x1A, width=16, pure=True)
    def queue_vector(self) -> int:
        return self.vectors.of(self.queue_select)

    @on_write(0x1A, width=16)
    def set_queue_vector(self, value: int) -> None:
        self.vectors.choose(self.queue_select, value)

    @on_read(0x12, width=16, pure=True)
    def queues(self) -> int:
        return len(self.device.queues)

    @on_read(0x14, pure=True)
    def status(self) -> int:
        return int(self.device.status)

    @on_write(0x14)
    def set_status(self, value: int) -> None:
        if value == 0:
            self.vectors.reset()
        self.device.set_status(value)

    @on_read(0x15, pure=True)
    def generation(self) -> int:
        return int(self.device.generation)

    @on_read(0x18, width=16, pure=True)
    def queue_size(self) -> int:
        queue = self.selected()
        return 0 if queue is None else int(queue.size)

    @on_write(0x18, width=16)
    def set_queue_size(self, value: int) -> None:
        if queue := self.selected():
            queue.set_size(value)

    @on_read(0x1C, width=16, pure=True)
    def queue_enable(self) -> int:
        queue = self.selected()
        return int(queue is not None and queue.ready)

    @on_write(0x1C, width=16)
    def enable_queue(self, value: int) -> None:
        if (queue := self.selected()) and value == 1:  # a driver must not write 0: only a reset disables
            queue.ready = True

    @on_read(0x1E, width=16, pure=True)
    def notify_offset(self) -> int:
        return int(self.queue_select)

    @on_read(0x20, width=32, count=6, pure=True)
    def area(self, word: int) -> int:
        queue = self.selected()
        return 0 if queue is None else int(getattr(queue, AREAS[word // 2])) >> 32 * (word & 1) & LOW32

    @on_write(0x20, width=32, count=6)
    def set_area(self, word: int, value: int) -> None:
        queue, name, half = self.selected(), AREAS[word // 2], word & 1
        if queue is not None and not queue.ready:
            kept = getattr(queue, name) & LOW32 << 32 * (1 - half)
            setattr(queue, name, kept | value << 32 * half)

    @on_read(INTERRUPTS)
    def take_interrupts(self) -> int:
        """Reading acknowledges (4.1.4.5)."""
        return self.device.take_interrupts()


class Access(Capability):
    """4.1.4.9: a window of the function, reached through configuration space."""

    SIZE, ID = 20, 9
    bar = Register(4)
    offset = Register(8, width=32, sizes=(1, 2, 4))
    length = Register(12, width=32, sizes=(1, 2, 4))

    def __init__(self, function: Function) -> None:
        self.function = function
        super().__init__()

    def read(self, offset: int, size: int = 1) -> int:
        if offset == 16 and size == self.length and self.bar in self.function.WINDOWS:
            return self.function.bar_read(self.bar, self.offset, size)
        if offset in (2, 3) and size == 1:
            return PCI_CFG if offset == 3 else self.SIZE
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset != 16:
            super().write(offset, size, value)
        elif size == self.length and self.bar in self.function.WINDOWS:
            self.function.bar_write(self.bar, self.offset, size, value)


class VirtioPci(Function):
    VENDOR, SUBSYSTEM_VENDOR, PIN = 0x1AF4, 0x1AF4, 1
    WINDOWS = {LEGACY_WINDOW: Bar(Legacy.SIZE, io=True), VECTOR_WINDOW: Bar(0x1000),
               MODERN_WINDOW: Bar(WINDOW, wide=True, prefetch=True)}
    CAPABILITIES = (
        capability(COMMON_CFG, COMMON, 0x38),
        capability(ISR_CFG, INTERRUPTS, 1),
        capability(DEVICE_CFG, CONFIG, 0x1000),
        capability(NOTIFY_CFG, NOTIFY, 0x1000, NOTIFY_STRIDE.to_bytes(4, "little")),
    )

    def __init__(self, device: Device, memory: GuestMemory, irq: Line, *, refused: type[Exception]) -> None:
        self.DEVICE, self.CLASS, self.SUBSYSTEM = TRANSITIONAL[device.DEVICE_ID], device.PCI_CLASS, device.DEVICE_ID
        self.device = device
        device.attach(memory, refused, self._interrupt)
        self.msix = MsiX(len(device.queues) + 1, VECTOR_WINDOW)
        self.vectors = Vectors(len(device.queues), self.msix.vectors)
        self.registers = Registers(device, self.vectors)
        self.legacy = Legacy(device, self.vectors, lambda: self.msix.enabled)
        super().__init__(irq, (self.msix, Access(self)))

    def trace_to(self, trace: Trace, name: str) -> None:
        super().trace_to(trace, name)
        self.registers.trace_to(trace, f"{name}.window")
        self.device.event = self.event

    def parts(self) -> dict[str, Stateful]:
        return super().parts() | {"device": self.device, "vectors": self.vectors, "registers": self.registers,
                                  "legacy": self.legacy}

    def bar_read(self, n: int, offset: int, size: int) -> int:
        if n == VECTOR_WINDOW:
            return self.msix.page_read(offset, size)
        return (self.legacy if n == LEGACY_WINDOW else self.registers).read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        if n == VECTOR_WINDOW:
            self.msix.page_write(offset, size, value)
        else:
            (self.legacy if n == LEGACY_WINDOW else self.registers).write(offset, size, value)

    def _interrupt(self, queue: int | None) -> None:
        """With MSI-X a message, and nothing to acknowledge; else the pin."""
        if self.msix.enabled and self.device.interrupts:
            self.device.interrupts = 0
            self.msix.fire(self.vectors.of(queue))
        self.settle()

    def settle(self) -> None:
        self.interrupting = bool(self.device.interrupts)
        super().settle()
