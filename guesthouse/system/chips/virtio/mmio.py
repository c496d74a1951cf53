"""Virtio over memory-mapped registers, version 2, after Virtio 1.2, section 4.2. Not offered: shared memory
regions.
"""

from __future__ import annotations

from guesthouse.system.chips.kit import Chip, Line, Register, Stateful, on_read, on_write
from guesthouse.system.chips.virtio.device import Device
from guesthouse.system.chips.virtio.queue import GuestMemory, Queue
from guesthouse.trace import Trace

MAGIC, VERSION, VENDOR = 0x7472_6976, 2, 0x5453_4547
CONFIG, SIZE = 0x100, 0x200
LOW32 = 0xFFFF_FFFF


class VirtioMmio(Chip):
    SIZE = SIZE
    device_select = Register(0x14, width=32)
    driver_select = Register(0x24, width=32)
    queue_select = Register(0x30, width=32)

    def __init__(self, device: Device, memory: GuestMemory, irq: Line, *, refused: type[Exception]) -> None:
        self.device, self.irq = device, irq
        device.attach(memory, refused, lambda queue: self.settle())
        super().__init__()

    def trace_to(self, trace: Trace, name: str) -> None:
        super().trace_to(trace, name)
        self.device.event = self.event

    def parts(self) -> dict[str, Stateful]:
        return {"device": self.device}

    def selected(self) -> Queue | None:
        return self.device.queue(self.queue_select)

    def read(self, offset: int, size: int = 1) -> int:
        if offset >= CONFIG:
            return self.device.read_configuration(offset - CONFIG, size)
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= CONFIG:
            self.device.write_configuration(offset - CONFIG, size, value)
        else:
            super().write(offset, size, value)

    @on_read(0x00, width=32, count=4, pure=True)
    def identity(self, word: int) -> int:
        return (MAGIC, VERSION, self.device.DEVICE_ID, VENDOR)[word]

    @on_read(0x10, width=32, pure=True)
    def offered_features(self) -> int:
        return self.device.offered(self.device_select)

    @on_write(0x20, width=32)
    def accept_features(self, value: int) -> None:
        self.device.accept(self.driver_select, value)

    @on_read(0x34, width=32, pure=True)
    def queue_maximum(self) -> int:
        queue = self.selected()
        return 0 if queue is None else queue.maximum

    @on_write(0x38, width=32)
    def queue_size(self, value: int) -> None:
        if queue := self.selected():
            queue.set_size(value)

    @on_read(0x44, width=32, pure=True)
    def queue_ready(self) -> int:
        queue = self.selected()
        return int(queue is not None and queue.ready)

    @on_write(0x44, width=32)
    def set_queue_ready(self, value: int) -> None:
        if queue := self.selected():
            queue.ready = bool(value & 1)

    @on_write(0x50, width=32)
    def notify(self, queue: int) -> None:
        self.device.notify(queue)

    @on_read(0x60, width=32, pure=True)
    def interrupt_status(self) -> int:
        return int(self.device.interrupts)

    @on_write(0x64, width=32)
    def acknowledge(self, value: int) -> None:
        self.device.interrupts &= ~value

    @on_read(0x70, width=32, pure=True)
    def status(self) -> int:
        return int(self.device.status)

    @on_write(0x70, width=32)
    def set_status(self, value: int) -> None:
        self.device.set_status(value & 0xFF)

    @on_write(0x80, width=32, count=2)
    def descriptors(self, half: int, value: int) -> None:
        self._place("descriptors", half, value)

    @on_write(0x90, width=32, count=2)
    def driver_area(self, half: int, value: int) -> None:
        self._place("driver", half, value)

    @on_write(0xA0, width=32, count=2)
    def device_area(self, half: int, value: int) -> None:
        self._place("device", half, value)

    def _place(self, area: str, half: int, value: int) -> None:
        queue = self.selected()
        if queue is not None and not queue.ready:
            kept = getattr(queue, area) & LOW32 << 32 * (1 - half)
            setattr(queue, area, kept | value << 32 * half)

    @on_read(0xB0, width=32, count=2, pure=True)
    def no_shared_memory(self, half: int) -> int:
        return LOW32  # a length of all ones: no such region

    @on_read(0xFC, width=32, pure=True)
    def generation(self) -> int:
        return int(self.device.generation)

    def settle(self) -> None:
        self.irq.set(self.device.interrupts)
