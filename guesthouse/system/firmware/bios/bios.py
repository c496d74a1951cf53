"""The BIOS as a whole: its ROM, and who answers when one of the ROM's stubs writes to the firmware's port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from guesthouse.system.firmware.bios import rom
from guesthouse.system.firmware.bios.apm import Apm
from guesthouse.system.firmware.bios.boot import Boot
from guesthouse.system.firmware.bios.disk import Disks
from guesthouse.system.firmware.bios.drives import Drive
from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.keyboard import Keyboard
from guesthouse.system.firmware.bios.mouse import Mouse
from guesthouse.system.firmware.bios.pci import PciBios
from guesthouse.system.firmware.bios.post import Post
from guesthouse.system.firmware.bios.rom import APM_16, APM_32, BIOS_32, PCI_32, SEGMENT
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.firmware.bios.system import System
from guesthouse.system.firmware.bios.time import Time
from guesthouse.system.firmware.bios.video import Video

__all__ = ["Bios", "Settings"]
MESSAGES = 64


class Bios:
    """Give `rom` to the guest at F0000h, and every write to the firmware's port to `call`."""

    def __init__(self, guest: Guest, drives: Sequence[Drive], settings: Settings, *,
                 reset: Callable[[], object] = lambda: None, power_off: Callable[[], object] = lambda: None,
                 tables: Sequence[bytes] = ()) -> None:
        self.guest, self.settings = guest, settings
        made = rom.build(tuple(tables))
        self.rom, self.placed, self.services = made.image, list(made.placed), made.services
        self.messages: list[str] = []
        self.video = Video(guest, settings, self.note)
        self.disks = Disks(guest, list(drives), self.note)
        self.keyboard = Keyboard(guest, reset)
        self.mouse = Mouse(guest)
        self.pci = PciBios(guest, routing=next((table for table in tables if table[:4] == b"$PIR"), b""))
        self.time = Time(guest, self.pci)
        self.apm = Apm(guest, made.labels, power_off)
        self.system = System(guest, settings, self.mouse, self.time, self.note, self.apm)
        self.boot = Boot(guest, self.disks, self.video, self.keyboard, settings)
        self.post = Post(guest, settings, made.labels, self.disks, self.video, reset)
        self.answers: dict[str, Callable[[], Any]] = {
            "int10": self.video.call, "int11": self.system.equipment, "int12": self.system.memory_size,
            "int13": self.disks.call, "int14": self.system.serial, "int15": self.system.call,
            "int16": self.keyboard.call, "int17": self.system.printer, "int18": self.boot.nothing,
            "int19": self.boot.boot, "int1a": self.time.call, "post": self.post.run, "key": self.keyboard.interrupt,
            "clock": self.time.interrupt, "mouse": self.mouse.interrupt,
            BIOS_32: lambda: self.pci.directory((SEGMENT << 4, rom.SIZE, made.labels[PCI_32])),
            PCI_32: self.pci.call_32, APM_16: self.apm.call_far, APM_32: self.apm.call_far}

    def call(self) -> None:
        """A write to the firmware's port. From elsewhere than the ROM's stubs it has no effect."""
        service = self.services.get(self.guest.rom_offset or 0)
        if service is not None:
            carry = self.answers[service]()
            self.guest.set_carry(carry is True)

    def note(self, what: str) -> None:
        """Something that was asked for and is not there: said once."""
        if what not in self.messages and len(self.messages) < MESSAGES:
            self.messages.append(what)
