"""Where the PC's serial ports lead: our standard input and output, a file, a TCP connection, a pseudo-terminal."""

from __future__ import annotations

import os
import socket
import sys
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from guesthouse.cli import values
from guesthouse.cli.passing import Outflow
from guesthouse.errors import GuesthouseError, UserError
from guesthouse.threads import Changes, begin

if TYPE_CHECKING:
    from guesthouse.manager.console import Console
    from guesthouse.manager.machine import Machine

PLACES = "stdio, file:PATH, tcp:HOST:PORT, pty or none"
PATIENCE, MOMENT = 10.0, 1.0  # seconds: for a connection to be made; at the end
HELD = 1 << 20  # bytes that wait for a peer


def connect(machine: Machine, places: tuple[str, ...]) -> None:
    """COM1 and on, in the order of the places."""
    if len(places) > len(machine.serial):
        raise UserError(f"{len(places)} serial ports are more than a PC has.", f"It has {len(machine.serial)}.",
                        exit_status=2)
    for console, place in zip(machine.serial, places):
        kind, rest = told(place)
        KINDS[kind](machine, console, rest)


def told(place: str) -> tuple[str, str]:
    """The kind of place, and where it is; refused if there can be none such."""
    kind, _, rest = place.partition(":")
    if kind not in KINDS or bool(rest) != (kind in ("file", "tcp")):
        raise UserError(f"--serial {place} leads nowhere.", f"There are {PLACES}.", exit_status=2)
    if kind == "tcp":
        values.port(rest.rpartition(":")[2], f"--serial {place}")
    return kind, rest


def to_stdio(machine: Machine, console: Console, rest: str) -> None:
    """A reader that is slow holds the guest up, as it does a COMMAND."""
    join(console, lambda: os.read(0, 4096), Outflow(1, lambda: None, lambda: machine.ending))


def to_file(machine: Machine, console: Console, path: str) -> None:
    from guesthouse.manager.recording import Recording

    file = Recording(Path(path))
    console.listen(lambda data: file.write(data) if data else file.close(), past=True)


def to_tcp(machine: Machine, console: Console, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        peer = socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout=PATIENCE)
    except (OSError, UnicodeError) as wrong:  # the second: of what is no host's name at all
        raise UserError(f"--serial tcp:{address} cannot be reached: {getattr(wrong, 'strerror', None) or wrong}.",
                        "Something must listen there.") from wrong
    peer.settimeout(None)
    join(console, lambda: peer.recv(4096), AtLeisure(peer.sendall))


def to_pty(machine: Machine, console: Console, rest: str) -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)  # else the terminal itself would echo to the guest what the guest says
    print(f"guesthouse: a serial port is at {os.ttyname(theirs)}", file=sys.stderr, flush=True)
    join(console, lambda: os.read(ours, 4096), AtLeisure(lambda data: write_all(ours, data)))


def to_nothing(machine: Machine, console: Console, rest: str) -> None:
    pass


KINDS: dict[str, Callable[[Machine, Console, str], None]] = {
    "stdio": to_stdio, "file": to_file, "tcp": to_tcp, "pty": to_pty, "none": to_nothing}


def join(console: Console, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    """Both ways, until either side ends; `write` hears b"" at the end. A peer that is gone is no matter to the guest.
    """

    def out(data: bytes) -> None:
        with suppress(OSError):
            write(data)

    def feed() -> None:
        with suppress(OSError, GuesthouseError):
            while data := read():
                console.write(data)

    console.listen(out, past=True)
    begin(feed)


class AtLeisure:
    """Writes in a thread of its own: a peer that does not read must not hold the machine up. What is too much is lost,
    as on a line without flow control; at the end the peer gets a moment for what still waits."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self._waiting, self._ended = write, bytearray(), False
        self._changed = Changes()
        self._over = False
        begin(self._run)

    def __call__(self, data: bytes) -> None:
        with self._changed.lock:
            self._ended = self._ended or not data
            self._waiting += data[:HELD - len(self._waiting)]
            self._changed.tell()
        if not data:
            self._changed.wait_for(lambda: self._over, MOMENT)

    def _run(self) -> None:
        with suppress(OSError):
            while data := self._take():
                self._write(data)
        with self._changed.lock:
            self._over = True
            self._changed.tell()

    def _take(self) -> bytes:
        self._changed.wait_for(lambda: self._waiting or self._ended)
        with self._changed.lock:
            data, self._waiting = bytes(self._waiting), bytearray()
            return data


def write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data):]
