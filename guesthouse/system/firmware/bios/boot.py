"""INT 19h and 18h: the boot order, boot sectors (80h: the master boot record), El Torito CDs."""

from __future__ import annotations

from guesthouse.system.firmware.bios import eltorito
from guesthouse.system.firmware.bios import settings as bda
from guesthouse.system.firmware.bios.disk import Disks
from guesthouse.system.firmware.bios.drives import Drive
from guesthouse.system.firmware.bios.guest import Guest
from guesthouse.system.firmware.bios.keyboard import Keyboard
from guesthouse.system.firmware.bios.settings import Settings
from guesthouse.system.firmware.bios.video import Video

BOOT_SECTOR, SIGNATURE, FLAGS = 0x7C00, b"\x55\xAA", 0x0202
F12 = 0x8600
NAMES = {"a": "floppy", "c": "hard disk", "d": "CD-ROM"}


class Boot:
    def __init__(self, guest: Guest, disks: Disks, video: Video, keyboard: Keyboard, settings: Settings) -> None:
        self.guest, self.disks, self.video = guest, disks, video
        self.keyboard, self.settings = keyboard, settings
        self.tried = 0  # how far in the boot order INT 18h has sent us
        self.silent = False
        self.order = settings.boot_order
        self.asked_at: int | None = None  # in ticks: the key for the menu is waited for since then
        self.menu: list[tuple[str, str]] | None = None  # letter and name; [] when it is over

    def boot(self) -> bool:
        """Start from the first device in order that has something to start; wait if there is none."""
        if self.settings.kernel():
            return False
        if self.menu != [] and self._choose():
            return True
        order = self.order[self.tried:]
        for device in order:
            if self._try(device):
                return False
        if not self.silent:
            names = ", ".join(NAMES[device] for device in self.order if device in NAMES)
            self.video.print(f"No bootable device (looked at: {names}).\r\n")
            self.silent = True
        return True

    def _choose(self) -> bool:
        """The boot menu, if its key comes in time. True: to be asked again after the next interrupt."""
        key, now = self.keyboard.peek(), self.guest.dword(bda.TICKS)
        if key is not None:
            self.keyboard.take()
        if self.menu is None:
            if self.asked_at is None:
                self.asked_at = now
                if self.settings.menu_ticks > 1:
                    self.video.print("F12: boot menu\r\n")
            if key == F12:
                self._show_menu()
                return True
            if now - self.asked_at < self.settings.menu_ticks and now >= self.asked_at:
                return True
            self.menu = []
            return False
        number = (key or 0) & 0xFF
        if not ord("1") <= number < ord("1") + len(self.menu):
            return True
        chosen = self.menu[number - ord("1")][0]
        self.order = chosen + self.order.replace(chosen, "")
        self.menu = []
        return False

    def _show_menu(self) -> None:
        lists = (("a", self.disks.floppies), ("c", self.disks.hard), ("d", self.disks.cds))
        self.menu = [(letter, f"{NAMES[letter]}: {drives[0].name}") for letter, drives in lists if drives]
        self.video.print("\r\nStart from:\r\n")
        for n, (_, name) in enumerate(self.menu):
            self.video.print(f"  {n + 1}  {name}\r\n")

    def nothing(self) -> bool:
        """INT 18h: the system that was started gave up; the next device has its turn."""
        self.tried += 1
        return False

    def _try(self, device: str) -> bool:
        lists = {"a": self.disks.floppies, "c": self.disks.hard, "d": self.disks.cds}
        for number, drive in enumerate(lists.get(device, [])):
            if drive.present and (self._cd(drive, number) if device == "d" else self._sector(drive, device, number)):
                return True
        return False

    def _sector(self, drive: Drive, device: str, number: int) -> bool:
        sector = self._read(drive, 0, 1)
        # Some floppies of the first years carry no signature; code that does anything is not all alike.
        if sector is None or len(sector) < 512 or sector[510:512] != SIGNATURE and (
                device == "c" or len(set(sector[:16])) < 4):
            return False
        self.guest.write(BOOT_SECTOR, sector)
        self._start(0, BOOT_SECTOR, number | (0x80 if device == "c" else 0))
        return True

    def _cd(self, drive: Drive, number: int) -> bool:
        entry = eltorito.boot_entry(lambda first, count: self._read(drive, first, count) or b"")
        if entry is None:
            return False
        segment = entry.segment or BOOT_SECTOR >> 4
        if entry.emulation == eltorito.NONE:
            sectors = max(1, -(-entry.count // 4))
            image = self._read(drive, entry.start, sectors)
            if not image:
                return False
            self.guest.write(segment << 4, image[:max(1, entry.count) * 512])
            unit = self.disks.cd_number(number)
            self.disks.booted_from(drive, entry, unit)
        else:
            unit = self.disks.emulate(drive, entry)
            image = self._read(drive, entry.start, 1)
            if not image:
                return False
            self.guest.write(segment << 4, image[:max(1, entry.count) * 512])
        if segment == BOOT_SECTOR >> 4:
            self._start(0, BOOT_SECTOR, unit)  # the same place, by the name that images expect
        else:
            self._start(segment, 0, unit)
        return True

    def _read(self, drive: Drive, first: int, count: int) -> bytes | None:
        try:
            return drive.read(first, count)
        except OSError:
            return None

    def _start(self, segment: int, offset: int, unit: int) -> None:
        guest = self.guest
        guest.eax, guest.ebx, guest.ecx, guest.edx = 0xAA55, 0, 1, unit
        guest.esi = guest.edi = guest.ebp = 0
        guest.return_to(segment, offset, FLAGS)
