"""Debian's full kernel with its own drivers on both chipsets: disks on every bus, network cards, the balloon, the
virtio console, and off by ACPI."""

from __future__ import annotations

import lzma
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guesthouse.clock import RealClock
from guesthouse.errors import GuesthouseError
from guesthouse.images import initramfs
from guesthouse.images.initramfs import CHARACTER, DIRECTORY, FILE, Entry
from guesthouse.images.packages import Packages
from guesthouse.manager.building import silent, vcpu_factory
from guesthouse.manager.config import config
from guesthouse.storage.disk import Memory
from guesthouse.system.boards.attached import Attached
from guesthouse.system.boards.classic import ClassicPc
from guesthouse.system.boards.nics import Nic
from guesthouse.system.boards.outcome import PoweredOff

pytestmark = [pytest.mark.boot, pytest.mark.slow]
WANTED = ("virtio_pci", "virtio_blk", "virtio_balloon", "virtio_console", "ahci", "ata_piix", "sd_mod", "sr_mod",
          "e1000", "ne2k_pci", "af_packet")
SECONDS, MIB = 240.0, 1 << 20
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for m in {modules}; do insmod /m/$m.ko; done
sleep 1
{script}
echo the end
poweroff -f
"""
DISK = """
echo said > /tmp/words; dd if=/tmp/words of=/dev/{0} bs=512 seek=7 conv=sync 2>/dev/null; sync
echo 3 > /proc/sys/vm/drop_caches
sector() {{ dd if=/dev/{0} bs=512 skip=$1 count=1 2>/dev/null | head -c $2; }}
echo "{0} $(sector 9 6) $(sector 7 4)"
"""
ALL = """
ifconfig eth0 10.0.0.1 up; ifconfig eth1 10.0.1.1 up; sleep 1
for n in 0 1; do echo "link $n $(cat /sys/class/net/eth$n/carrier)"; arping -f -w 3 -I eth$n 10.0.$n.2; done
while [ ! -c /dev/hvc0 ]; do sleep 1; done; echo "by virtio" > /dev/hvc0
echo "interrupts $(grep -c MSI /proc/interrupts)"; cat /proc/interrupts
echo "ecam $(dmesg | grep -c 'MMCONFIG at')"
"""


class Guest:
    """The kernel, busybox and modules; a boot of them with a script."""

    def __init__(self) -> None:
        packages = Packages()
        files = packages.tree("linux-image-amd64", "*")
        self.kernel = next(data for name, data in files.items() if "vmlinuz" in name)
        self.modules = {Path(name).name.partition(".")[0].replace("-", "_"): (name, data)
                        for name, data in files.items() if ".ko" in name}
        self.busybox = next(iter(packages.tree("busybox-static", "*bin/busybox").values()))
        self.loaded: dict[str, bytes] = {}
        for name in WANTED:
            self._need(name)

    def _need(self, name: str) -> None:
        if name in self.modules and name not in self.loaded:
            path, data = self.modules[name]
            data = lzma.decompress(data) if path.endswith(".xz") else data
            for other in initramfs.depends(data):
                self._need(other)
            self.loaded[name] = data

    def initrd(self, script: str) -> bytes:
        text = INIT.format(modules=" ".join(self.loaded), script=script)
        folders = [Entry(name, DIRECTORY | 0o755) for name in ("bin", "dev", "m", "proc", "sys", "tmp")]
        return initramfs.archive([*folders, Entry("dev/console", CHARACTER | 0o600, device=(5, 1)),
                                  Entry("bin/busybox", FILE | 0o755, self.busybox),
                                  Entry("init", FILE | 0o755, text.encode()),
                                  *(Entry(f"m/{name}.ko", FILE | 0o644, data) for name, data in self.loaded.items())])


@pytest.fixture(scope="module")
def guest() -> Guest:
    try:
        return Guest()
    except GuesthouseError as wrong:
        pytest.skip(f"no guest: {wrong}")


def answers(nic: Nic, post: Callable[[Callable[[], object]], None]) -> Callable[[bytes], None]:
    """Who is at the other end: it answers ARP requests."""
    def hear(frame: bytes) -> None:
        if frame[12:22] == bytes.fromhex("0806 0001 0800 0604 0001"):
            me = b"\x02\0\0\0\0\2"
            reply = frame[6:12] + me + frame[12:21] + b"\2" + me + frame[38:42] + frame[22:32]
            post(lambda: nic.receive(reply))

    return hear


def boot(guest: Guest, chipset: str, buses: list[str]) -> tuple[str, bytes, ClassicPc, list[Memory]]:
    disks = [Memory(bytearray(8 * MIB)) for _ in buses]
    for disk in disks:
        disk.write(9, b"before".ljust(512, b"\0"))
    nics, said, spoken = [Nic("e1000"), Nic("rtl8029")], [], []
    board: list[ClassicPc] = []
    nics[1].send = answers(nics[1], lambda job: board[0].post(job))  # nobody is at the e1000's end: its link is down
    names = [f"{'vd' if bus == 'virtio' else 'sd'}a" for bus in buses]
    made = ClassicPc(
        256 * MIB, RealClock(), vcpu_factory(config("test"), silent), chipset=chipset, nics=nics, balloon=True,
        console=spoken.append, epoch=int(time.time()), random_bytes=os.urandom,
        drives=[Attached("disk", disk, bus=bus) for disk, bus in zip(disks, buses, strict=True)])
    board.append(made)
    made.serial[0].output = said.append
    script = "".join(DISK.format(name) for name in names) + ALL
    made.load_linux(guest.kernel, guest.initrd(script), "console=ttyS0 panic=-1 quiet net.ifnames=0", name="vmlinuz")
    assert made.balloon is not None
    made.balloon.resize(1000)
    outcome = made.run(seconds=SECONDS)
    text = b"".join(said).decode("latin-1")
    assert outcome == PoweredOff(0) and "the end" in text, text[-3000:]
    return text, b"".join(spoken), made, disks


@pytest.mark.parametrize("chipset, buses, ecam", [("i440fx", ["ide", "virtio"], 0), ("q35", ["ahci", "virtio"], 1)])
def test_debians_own_drivers_use_every_chip(guest: Guest, chipset: str, buses: list[str], ecam: int) -> None:
    text, spoken, made, disks = boot(guest, chipset, buses)
    for bus, disk in zip(buses, disks, strict=True):
        name = "vda" if bus == "virtio" else "sda"
        assert f"{name} before said" in text and disk.read(7)[:5] == b"said\n"
    assert text.count("Received 1 response") == 1 and "link 0 0" in text and "link 1 1" in text
    assert b"by virtio" in spoken and f"ecam {ecam}" in text
    assert made.balloon is not None and made.balloon.actual > 0
    assert ("ahci[" in text) == (chipset == "q35") and "virtio" in text and "PCI-MSI" in text
    made.close()
