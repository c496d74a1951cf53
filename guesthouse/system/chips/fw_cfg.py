"""QEMU's firmware configuration device, after its specification (docs/specs/fw_cfg): items by number, files by
name, read through ports or by DMA.

Not modelled: items that the guest writes.
"""

from __future__ import annotations

from typing import Protocol

from guesthouse.system.chips.kit import Chip, Field, on_read, on_write

SIGNATURE, ID, FILES, FIRST_FILE, LAST_FILE = 0x00, 0x01, 0x19, 0x20, 0x3FFF
TRADITIONAL, BY_DMA = 1, 2  # features in ID
ERROR, READ, SKIP, SELECT, WRITE = 0x01, 0x02, 0x04, 0x08, 0x10  # DMA control
NAME, CHUNK = 56, 1 << 20
WRITABLE = 0x4000  # of a selector; there is no such item here


class Memory(Protocol):
    def read(self, address: int, n: int, /) -> bytes: ...
    def write(self, address: int, data: bytes, /) -> object: ...


class FwCfg(Chip):
    """Ports 510h on: selector, data, and from 514h the address of a DMA request."""

    SIZE = 0x0C
    selector = Field()
    at = Field()
    address_high = Field()

    def __init__(self, memory: Memory, *, refused: type[Exception]) -> None:
        self.memory, self.refused = memory, refused
        self.items = {SIGNATURE: b"QEMU", ID: (TRADITIONAL | BY_DMA).to_bytes(4, "little")}
        self.files: dict[str, int] = {}
        super().__init__()

    # the board's side

    def add(self, key: int, data: bytes) -> None:
        self.items[key] = bytes(data)

    def add_file(self, name: str, data: bytes) -> None:
        """A file; the same name again replaces it."""
        if len(name.encode()) >= NAME:
            raise ValueError(f"the name of a fw_cfg file is at most {NAME - 1} bytes: {name}")
        self.files.setdefault(name, FIRST_FILE + len(self.files))
        self.items[self.files[name]] = bytes(data)
        rows = [len(self.items[key]).to_bytes(4, "big") + key.to_bytes(2, "big") + bytes(2)
                + name.encode().ljust(NAME, b"\0") for name, key in sorted(self.files.items())]
        self.items[FILES] = len(rows).to_bytes(4, "big") + b"".join(rows)

    # the guest's side

    @on_write(0, width=16)
    def select(self, value: int) -> None:
        self.selector, self.at = value & ~WRITABLE, 0

    @on_read(0, width=16, pure=True)
    def selected(self) -> int:
        return int(self.selector)

    @on_read(1)
    def read_data(self) -> int:
        return (self._take(1) or b"\0")[0]

    @on_write(1)
    def write_data(self, value: int) -> None:
        """Items are not to be written."""

    def _take(self, count: int) -> bytes:
        data = self.items.get(self.selector, b"")[self.at:self.at + count]
        self.at += len(data)
        return data

    @on_read(4, width=32, pure=True)
    def dma_signature_high(self) -> int:
        return int.from_bytes(b"QEMU", "little")

    @on_read(8, width=32, pure=True)
    def dma_signature_low(self) -> int:
        return int.from_bytes(b" CFG", "little")

    @on_write(4, width=32)
    def write_address_high(self, value: int) -> None:
        self.address_high = swapped(value)

    @on_write(8, width=32)
    def write_address_low(self, value: int) -> None:
        """The request lies at this address: control, length, address, all big endian."""
        at, self.address_high = self.address_high << 32 | swapped(value), 0
        try:
            raw = self.memory.read(at, 16)
            control = int.from_bytes(raw[:4], "big")
            good = self._serve(control, int.from_bytes(raw[4:8], "big"), int.from_bytes(raw[8:], "big"))
        except self.refused:
            good = False
        try:
            self.memory.write(at, (0 if good else ERROR).to_bytes(4, "big"))
        except self.refused:
            pass  # nowhere to say so

    def _serve(self, control: int, length: int, address: int) -> bool:
        if control & SELECT:
            self.select(control >> 16)
        if control & READ:
            data = self._take(length)
            self.memory.write(address, data)
            done = len(data)
            while done < length:  # behind the end of an item there are zeros
                piece = min(CHUNK, length - done)
                self.memory.write(address + done, bytes(piece))
                done += piece
            return True
        if control & SKIP:
            self.at = min(self.at + length, len(self.items.get(self.selector, b"")))
        return not control & WRITE


def swapped(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, "little"), "big")
