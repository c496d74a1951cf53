"""OpenSBI's own binary, from Debian's package, as the firmware of the RISC-V machine: it starts Debian's kernel, which
then talks to it instead of to our SBI."""

import pytest

from guesthouse.clock import VirtualClock
from guesthouse.engine.build import engine
from guesthouse.engine.soft import SoftVcpu
from guesthouse.errors import GuesthouseError
from guesthouse.images import deb
from guesthouse.images.archive import Archive
from guesthouse.images.catalogue import Catalogue, cache_folder
from guesthouse.images.debian import fetch_package, newest
from guesthouse.manager.building import instruction_set
from guesthouse.system.boards.virt import VirtBoard

pytestmark = [pytest.mark.boot, pytest.mark.slow]
PLACES = "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"


@pytest.fixture(scope="module")
def firmware(tmp_path_factory) -> bytes:
    try:
        archive: Archive = newest("riscv64").archive
        (package,) = archive.packages(archive.release(), "riscv64", ["opensbi"])
        file = fetch_package(archive, package, tmp_path_factory.mktemp("opensbi"))
    except GuesthouseError as wrong:
        pytest.skip(f"no package opensbi: {wrong}")
    return deb.extract(file, lambda name: name == PLACES)[PLACES]


def test_debian_boots_on_opensbi(firmware):
    guest = Catalogue().get("debian", "riscv64")
    kind = instruction_set("riscv64")
    code = engine(kind, cache_folder() / "code")
    board = VirtBoard(256 << 20, VirtualClock(), lambda memory: SoftVcpu(kind, code), random_bytes=lambda n: bytes(n))
    seen = bytearray()

    def hear(data: bytes) -> None:
        seen.extend(data)
        if b"guesthouse: userland up" in seen:
            board.stop()

    board.serial[0].output = hear
    try:
        board.load_firmware(firmware, guest.kernel, guest.initrd, "console=ttyS0 guesthouse.announce panic=-1")
        board.run(instructions=4_000_000_000)
    finally:
        board.close()
    text = seen.decode(errors="replace")
    assert "OpenSBI v" in text and "guesthouse: userland up" in text, text[-2000:]
