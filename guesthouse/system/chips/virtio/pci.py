"""Virtio over PCI, the modern transport with the INTx interrupt, after Virtio 1.2, section 4.1.

Not offered: MSI-X, the transitional registers, access to the window through configuration space (4.1.4.9).
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Chip, Line, Register, Stateful, on_read, on_write
from guesthouse.system.chips.pci.function import Bar, Function
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import GuestMemory, Queue
from guesthouse.trace import Trace

COMMON, INTERRUPTS, CONFIG, NOTIFY, WINDOW = 0x0000, 0x1000, 0x2000, 0x3000, 0x4000
COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG = 1, 2, 3, 4
NOTIFY_STRIDE, NO_VECTOR = 4, 0xFFFF
LOW32 = 0xFFFF_FFFF
AREAS = ("descriptors", "driver", "device")


def capability(kind: int, offset: int, length: int, more: bytes = b"") -> bytes:
    """4.1.4, struct virtio_pci_cap without its link: vendor capability 9, length, type, BAR 0."""
    where = offset.to_bytes(4, "little") + length.to_bytes(4, "little")
    return bytes((9, 16 + len(more), kind, 0, 0, 0, 0)) + where + more


class Registers(Chip):
    """What the window holds."""

    SIZE = WINDOW
    device_select = Register(0x00, width=32)
    driver_select = Register(0x08, width=32)
    queue_select = Register(0x16, width=16)

    def __init__(self, device: Device) -> None:
        self.device = device
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

    @on_read(0x10, width=16)
    @on_read(0x1A, width=16)
    def vector(self) -> int:
        return NO_VECTOR

    @on_write(0x10, width=16)
    @on_write(0x1A, width=16)
    def set_vector(self, value: int) -> None:
        """Without MSI-X no vector is taken; the driver reads that back."""

    @on_read(0x12, width=16, pure=True)
    def queues(self) -> int:
        return len(self.device.queues)

    @on_read(0x14, pure=True)
    def status(self) -> int:
        return int(self.device.status)

    @on_write(0x14)
    def set_status(self, value: int) -> None:
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
        found, self.device.interrupts = self.device.interrupts, 0
        self.device.on_interrupt()
        return int(found)


class VirtioPci(Function):
    VENDOR, REVISION, PIN = 0x1AF4, 1, 1
    SUBSYSTEM_VENDOR, SUBSYSTEM = 0x1AF4, 0x40
    WINDOWS = {0: Bar(WINDOW)}
    CAPABILITIES = (
        capability(COMMON_CFG, COMMON, 0x38),
        capability(ISR_CFG, INTERRUPTS, 1),
        capability(DEVICE_CFG, CONFIG, 0x1000),
        capability(NOTIFY_CFG, NOTIFY, 0x1000, NOTIFY_STRIDE.to_bytes(4, "little")),
    )

    def __init__(self, device: Device, memory: GuestMemory, irq: Line, *, refused: type[Exception]) -> None:
        self.DEVICE, self.CLASS = 0x1040 + device.DEVICE_ID, device.PCI_CLASS
        self.device = device
        device.attach(memory, refused, self.settle)
        self.registers = Registers(device)
        super().__init__(irq)

    def trace_to(self, trace: Trace, name: str) -> None:
        super().trace_to(trace, name)
        self.registers.trace_to(trace, f"{name}.window")
        self.device.event = self.event

    def parts(self) -> dict[str, Stateful]:
        return {"device": self.device, "registers": self.registers}

    def bar_read(self, n: int, offset: int, size: int) -> int:
        return self.registers.read(offset, size)

    def bar_write(self, n: int, offset: int, size: int, value: int) -> None:
        self.registers.write(offset, size, value)

    def settle(self) -> None:
        self.interrupting = bool(self.device.interrupts)
        super().settle()
