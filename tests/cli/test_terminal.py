from __future__ import annotations

import os
import signal
import termios
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from guesthouse.cli.terminal import Escape

if TYPE_CHECKING:
    from tests.cli.conftest import OnTerminal

Opened = Callable[..., "OnTerminal"]


def joined(on_terminal: Opened, *arguments: str) -> OnTerminal:
    """A console that has shown its prompt, so the terminal is raw."""
    opened = on_terminal(*(arguments or ("run", "debian")))
    opened.expect("Ctrl-A x")
    opened.expect("# ")
    return opened


def test_keys_go_to_the_guest_and_poweroff_ends_the_command(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    assert not console.restored
    console.press(b"echo hello\r")
    console.expect("\r\nhello\r\n")
    console.press(b"poweroff\r")
    assert console.end() == 0 and console.restored


def test_control_c_goes_to_the_guest(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.press(b"sleep\x03")
    console.expect("^C")
    assert console.process.poll() is None


def test_the_escape_leaves_and_restores(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.press(b"\x01x")
    assert console.end() == 0 and console.restored


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_the_terminal_restored(on_terminal: Opened, number: int, status: int) -> None:
    console = joined(on_terminal)
    console.signal(number)
    assert console.end() == status and console.restored


def test_the_terminal_is_restored_when_the_guest_dies(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.press(b"panic\r")
    console.expect("rip 1234")
    console.expect("The guest died: kernel panic")
    assert console.end() == 1 and console.restored


def test_the_terminal_is_restored_when_we_have_a_bug(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.press(b"crash\r")
    console.expect("this is a bug in guesthouse")
    assert console.end() == 1 and console.restored


def test_a_terminal_that_goes_away_ends_it(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    os.close(console.terminal)
    os.close(console.user)
    assert console.end() in (0, 129)


def test_the_window_size_follows(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.expect("[33 rows, 99 columns]")
    termios.tcsetwinsize(console.terminal, (50, 120))
    console.signal(signal.SIGWINCH)
    console.expect("[50 rows, 120 columns]")


def test_while_stopped_from_outside_the_terminal_is_as_before(on_terminal: Opened) -> None:
    console = joined(on_terminal)
    console.signal(signal.SIGTSTP)
    os.waitpid(console.process.pid, os.WUNTRACED)
    assert console.restored
    console.signal(signal.SIGCONT)
    deadline = time.monotonic() + 5
    while console.restored and time.monotonic() < deadline:
        time.sleep(0.01)
    console.press(b"echo back\r")
    console.expect("\r\nback\r\n")


def test_a_command_on_a_terminal_runs_at_the_guests_console(on_terminal: Opened) -> None:
    console = on_terminal("run", "debian", "--", "both")
    console.expect("joined to the guest's console")
    assert console.end() == 3 and console.restored


@pytest.mark.parametrize(("keys", "sorted"), [
    (b"ls\r", [(b"ls\r", "")]), (b"\x01x", [(b"", "x")]), (b"a\x01Xb", [(b"a", "x"), (b"b", "")]),
    (b"\x01\x01", [(b"\x01", "")]), (b"\x01q", [(b"\x01q", "")]), (b"\x01h\x01h", [(b"", "h"), (b"", "h")]),
])
def test_the_escape_is_found_among_keys(keys: bytes, sorted: list[tuple[bytes, str]]) -> None:
    assert Escape().sort(keys) == sorted


def test_a_screen_has_other_orders_than_a_console() -> None:
    assert Escape("xs").sort(b"\x01s") == [(b"", "s")] and Escape().sort(b"\x01s") == [(b"\x01s", "")]


def test_the_escape_may_come_in_two_pieces() -> None:
    escape = Escape()
    assert escape.sort(b"a\x01") == [(b"a", "")]
    assert escape.sort(b"x") == [(b"", "x")]
