"""memtest86+ of Debian's package, 64- and 32-bit: all its tests once, over all memory but its own, without an error.

Nearly all of a pass is instructions, some 15,000 million for 16 MiB. The bit fade test waits for minutes by the
time-stamp counter: in virtual time with few instructions a second that is short, and what it computes is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.boots.computer import Computer, drive

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SwitchOn, Unpack = Callable[..., Computer], Callable[..., bytes]
SLOW = 2_000_000  # instructions a second
HOURS = 4 * 3600  # as a pass takes less than two


def passes(computer: Computer, name: str) -> None:
    """Wait for the end of the first pass, and for nothing wrong until then."""
    seen: set[str] = set()

    def told(text: str) -> bool:
        seen.update(re.findall(r"Test #(\d+)", text))
        assert re.search(r"Errors: +[1-9]", text) is None, text
        return re.search(r"Pass: +1 +Errors: 0", text) is not None

    screen = computer.wait_for(told, HOURS, look=5)
    assert "Status: Pass" in screen and screen.endswith(name)
    assert seen >= {str(number) for number in range(2, 11)}  # 0 and 1 are over before anyone looks


@pytest.mark.parametrize(("kind", "name"), [("x64", ".x64"), ("ia32", ".x32")])
def test_memtest86_from_its_cd_passes_without_an_error(switch_on: SwitchOn, unpack: Unpack, kind: str,
                                                       name: str) -> None:
    cd = drive("cdrom", unpack("memtest86+", f"usr/lib/memtest86+/memtest86+{kind}.iso"))
    passes(switch_on(cd, mib=16, speed=SLOW), name)


@pytest.mark.parametrize("kind", ["x64", "ia32"])
def test_memtest86_as_a_kernel_of_its_own_begins_its_tests(switch_on: SwitchOn, unpack: Unpack, kind: str) -> None:
    computer = switch_on(mib=16, speed=SLOW)
    computer.board.load_linux(unpack("memtest86+", f"boot/memtest86+{kind}.bin"))
    computer.wait_for("Test #3", 600)
