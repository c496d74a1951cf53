"""The guest as firmware sees it: registers by name, the FLAGS image that an INT left on the stack, memory
by segment and offset (SDM 1, 3.4; SDM 3A, 4.3 and 4.4 for callers in virtual-8086 mode behind page
tables).

Not modelled: page permissions. A page that is not there reads as ones and swallows writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from guesthouse.bits import u64
from guesthouse.clock import Clock
from guesthouse.system.memory import AddressMap, Memory

PORT = 0xB0  # a write by one of the ROM's stubs calls its service
CF, PF, AF, ZF, SF, IF = 0x1, 0x4, 0x10, 0x40, 0x80, 0x200
ES, CS, SS, DS = 0, 1, 2, 3
SP = 4
PAGE, LOW, FRAME_AT = 4096, 0xFFFF, 4  # FRAME_AT: of FLAGS above IP and CS
PG, PAE, PSE, LMA = 1 << 31, 1 << 5, 1 << 4, 1 << 10
PRESENT, LARGE = 0x01, 0x80


class Bus(Protocol):
    """Guest-physical memory, whoever answers there, and the ports."""

    def read(self, address: int, count: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...
    def port_read(self, port: int, size: int) -> int: ...
    def port_write(self, port: int, size: int, value: int) -> None: ...

    def wait(self, nanoseconds: int) -> None:
        """Time passes for the chips; the guest waits."""


class BoardBus:
    """A board's memory, address map and ports as a bus."""

    def __init__(self, memory: Memory, addresses: AddressMap, ports: AddressMap, clock: Clock) -> None:
        self.memory, self.addresses, self.ports, self.clock = memory, addresses, ports, clock

    def wait(self, nanoseconds: int) -> None:
        at = self.clock.now() + nanoseconds
        self.clock.spend(nanoseconds)
        self.clock.advance_to(at)  # real time catches up
        self.clock.fire_due()

    def read(self, address: int, count: int) -> bytes:
        if self.memory.contains(address, count):
            return self.memory.read(address, count)
        return bytes(self._read_byte(address + n) for n in range(count))

    def _read_byte(self, address: int) -> int:
        window = self.addresses.find(address)
        if window is not None:
            return window.read(address - window.start, 1) & 0xFF
        return self.memory.read(address, 1)[0] if self.memory.contains(address) else 0xFF

    def write(self, address: int, data: bytes) -> None:
        if self.memory.contains(address, len(data)):
            self.memory.write(address, data)
            return
        for n, byte in enumerate(data):
            window = self.addresses.find(address + n)
            if window is not None:
                window.write(address + n - window.start, 1, byte)
            elif self.memory.contains(address + n):
                self.memory.write(address + n, bytes([byte]))

    def port_read(self, port: int, size: int) -> int:
        window = self.ports.find(port)
        return (1 << 8 * size) - 1 if window is None else window.read(port - window.start, size)

    def port_write(self, port: int, size: int, value: int) -> None:
        window = self.ports.find(port)
        if window is not None:
            window.write(port - window.start, size, value)


class Part:
    """A general register or a part of it."""

    def __init__(self, number: int, bits: int, shift: int = 0) -> None:
        self.number, self.shift, self.mask = number, shift, (1 << bits) - 1

    def __get__(self, guest: Guest, owner: type) -> int:
        return int(guest.state.r[self.number]) >> self.shift & self.mask

    def __set__(self, guest: Guest, value: int) -> None:
        old = int(guest.state.r[self.number]) & ~(self.mask << self.shift)
        guest.state.r[self.number] = u64(old | (value & self.mask) << self.shift)


class Guest:
    """One processor that has called its firmware, and what it can reach."""

    eax, ecx, edx, ebx = (Part(n, 32) for n in range(4))
    ebp, esi, edi = (Part(n, 32) for n in (5, 6, 7))
    ax, cx, dx, bx = (Part(n, 16) for n in range(4))
    sp, bp, si, di = (Part(n, 16) for n in range(4, 8))
    al, cl, dl, bl = (Part(n, 8) for n in range(4))
    ah, ch, dh, bh = (Part(n, 8, 8) for n in range(4))

    def __init__(self, state: Any, bus: Bus) -> None:
        self.state, self.bus = state, bus

    # where the guest is

    @property
    def rom_offset(self) -> int | None:
        """Where in the segment F000h the guest executes, if there."""
        physical = self.translate(int(self.state.pc) & 0xFFFF_FFFF)
        return None if physical is None or physical >> 16 != 0xF else physical & LOW

    def selector(self, segment: int) -> int:
        return int(self.state.segments[segment].selector)

    def linear(self, segment: int, offset: int) -> int:
        return int(self.state.segments[segment].base) + offset & 0xFFFF_FFFF

    @property
    def es(self) -> int:
        return self.selector(ES)

    @property
    def ds(self) -> int:
        return self.selector(DS)

    # the stack that INT left

    def _stack(self, depth: int) -> int:
        return self.linear(SS, int(self.state.r[SP]) + depth & LOW)

    @property
    def flags(self) -> int:
        """The FLAGS that IRET will load."""
        return self.word(self._stack(FRAME_AT))

    def set_flag(self, mask: int, on: bool) -> None:
        image = self.flags
        self.set_word(self._stack(FRAME_AT), image | mask if on else image & ~mask)

    def return_to(self, segment: int, offset: int, flags: int) -> None:
        """Have the stub's IRET go elsewhere."""
        for n, value in enumerate((offset, segment, flags)):
            self.set_word(self._stack(2 * n), value)

    def to_stack(self, segment: int, offset: int) -> None:
        """Go on with another stack, in real mode."""
        self.state.take_real_segment(u64(SS), u64(segment))
        self.sp = offset

    def pop(self) -> int:
        value = self.word(self._stack(0))
        self.sp += 2
        return value

    def pop_segments(self) -> None:
        """DS, then ES."""
        for segment in (DS, ES):
            self.state.take_real_segment(u64(segment), u64(self.pop()))

    def popa(self) -> None:
        self.di, self.si, self.bp, _, self.bx, self.dx, self.cx, self.ax = (self.pop() for _ in range(8))

    def set_carry(self, on: bool) -> None:
        """The carry that the stub tests: whether it has to wait and call again; far callers get it."""
        self.state.set_status(u64(int(self.state.status()) & ~CF | on))

    # linear memory

    def translate(self, linear: int) -> int | None:
        """The physical address, without any change to the guest; None: not mapped."""
        state = self.state
        if not int(state.cr0) & PG:
            return linear
        entry_size = 8 if int(state.cr4) & PAE else 4
        levels: tuple[tuple[int, int], ...] = ((22, 10), (12, 10)) if entry_size == 4 else ((30, 2), (21, 9), (12, 9))
        if int(state.efer) & LMA:
            levels = ((39, 9), (30, 9), (21, 9), (12, 9))
        table = int(state.cr3) & (~0x1F if levels[0] == (30, 2) else ~0xFFF)
        for shift, width in levels:
            at = table + (linear >> shift & (1 << width) - 1) * entry_size
            entry = int.from_bytes(self.bus.read(at, entry_size), "little")
            if not entry & PRESENT:
                return None
            inside = (1 << shift) - 1
            if shift == 12 or entry & LARGE and shift in (21, 22):
                return entry & 0xF_FFFF_FFFF_F000 & ~inside | linear & inside
            table = entry & 0xF_FFFF_FFFF_F000
        return None

    def _pages(self, linear: int, count: int) -> Iterator[tuple[int | None, int]]:
        if not int(self.state.cr0) & PG:
            yield linear, count
            return
        while count > 0:
            piece = min(count, PAGE - linear % PAGE)
            yield self.translate(linear), piece
            linear, count = linear + piece & 0xFFFF_FFFF, count - piece

    def read(self, linear: int, count: int) -> bytes:
        return b"".join(b"\xFF" * n if at is None else self.bus.read(at, n) for at, n in self._pages(linear, count))

    def write(self, linear: int, data: bytes) -> None:
        done = 0
        for at, n in self._pages(linear, len(data)):
            if at is not None:
                self.bus.write(at, bytes(data[done:done + n]))
            done += n

    def byte(self, linear: int) -> int:
        return self.read(linear, 1)[0]

    def word(self, linear: int) -> int:
        return int.from_bytes(self.read(linear, 2), "little")

    def dword(self, linear: int) -> int:
        return int.from_bytes(self.read(linear, 4), "little")

    def set_byte(self, linear: int, value: int) -> None:
        self.write(linear, bytes([value & 0xFF]))

    def set_word(self, linear: int, value: int) -> None:
        self.write(linear, (value & 0xFFFF).to_bytes(2, "little"))

    def set_dword(self, linear: int, value: int) -> None:
        self.write(linear, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def set_vector(self, vector: int, segment: int, offset: int) -> None:
        self.set_dword(4 * vector, segment << 16 | offset)

    # ports

    def port_in(self, port: int) -> int:
        return self.bus.port_read(port, 1) & 0xFF

    def port_out(self, port: int, value: int) -> None:
        self.bus.port_write(port, 1, value & 0xFF)

    def indexed_in(self, port: int, index: int) -> int:
        """A register behind an index port, as CMOS and the VGA have them."""
        self.port_out(port, index)
        return self.port_in(port + 1)

    def indexed_out(self, port: int, index: int, value: int) -> None:
        self.port_out(port, index)
        self.port_out(port + 1, value)

    def load_es(self, selector: int) -> None:
        """ES of real and virtual-8086 mode."""
        segment = self.state.segments[ES]
        segment.selector, segment.base = type(segment.selector)(selector), type(segment.base)(selector << 4)

    def load_ds(self, selector: int) -> None:
        segment = self.state.segments[DS]
        segment.selector, segment.base = type(segment.selector)(selector), type(segment.base)(selector << 4)
