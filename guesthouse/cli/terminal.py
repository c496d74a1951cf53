"""Joins this terminal, or a pipe, to a guest's console until the guest ends or the user leaves.

On a terminal every key goes to the guest, Ctrl-C and Ctrl-Z too; Ctrl-A x leaves and Ctrl-A Ctrl-A types a Ctrl-A. The
terminal is put back as it was on every way out.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

from guesthouse.cli.trouble import ENDING, heeding
from guesthouse.cli.typist import Typist
from guesthouse.errors import UserError
from guesthouse.threads import Changes

ESCAPE = b"\x01"
HELP = "Ctrl-A x leaves (and switches the machine off), Ctrl-A Ctrl-A types Ctrl-A, Ctrl-A h shows this."
FAREWELL = b"\x1b[0m\x1b[?25h\r\n"  # plain colours, a cursor, a line of our own
MOMENT = 0.5  # seconds that a terminal has to take that
HELD = 1 << 20  # bytes of output that wait for a slow terminal before the guest must wait too


class Console(Protocol):
    """A guest's console; listeners hear b"" when nothing more will come."""

    def write(self, text: bytes) -> None: ...

    def listen(self, listener: Callable[[bytes], object], past: bool = False) -> None: ...

    def unlisten(self, listener: Callable[[bytes], object]) -> None: ...


class Escape:
    """Finds the user's orders to us among the keys for the guest."""

    def __init__(self, orders: str = "xh") -> None:
        self._escaped, self._orders = False, (orders + orders.upper()).encode()

    def sort(self, keys: bytes) -> list[tuple[bytes, str]]:
        """What goes to the guest, and the order to us that comes after it ("x", "h" or what else there is), if any."""
        found, kept = [], bytearray()
        for key in (keys[n : n + 1] for n in range(len(keys))):
            if not self._escaped:
                self._escaped = key == ESCAPE
                kept += b"" if self._escaped else key
                continue
            self._escaped = False
            if key in self._orders:
                found.append((bytes(kept), key.decode().lower()))
                kept.clear()
            else:
                kept += key if key == ESCAPE else ESCAPE + key
        return [*found, (bytes(kept), "")] if kept or not found else found


class Raw:
    """A terminal that hands on every key as it is pressed. What is shown on `output` gets a `farewell`."""

    def __init__(self, terminal: int, output: int, farewell: Callable[[], bytes]) -> None:
        self.terminal, self._output, self._farewell = terminal, output, farewell
        self._before = termios.tcgetattr(terminal)

    def enter(self) -> None:
        ENDING.last_acts.append(self.leave)
        mode = termios.tcgetattr(self.terminal)
        mode[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
                     | termios.IGNCR | termios.ICRNL | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.terminal, termios.TCSANOW, mode)

    def leave(self) -> None:
        """Put it back, even if we have become a background job, and even if it has been hung up."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(termios.error, OSError):
                termios.tcsetattr(self.terminal, termios.TCSANOW, self._before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            ENDING.last_acts[:] = [act for act in ENDING.last_acts if act != self.leave]
        with suppress(OSError):  # and even if nobody takes what it shows
            if os.isatty(self._output) and select.select([], [self._output], [], MOMENT)[1]:
                os.write(self._output, self._farewell())

    def stop(self) -> None:
        """Somebody stops us from outside: the terminal is as before meanwhile."""
        self.leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.enter()


class Attachment:
    """Our standard input and output, joined to a console. `finish` may be called from any thread."""

    def __init__(self, console: Console, resize: Callable[[int, int], object], *, input: int = 0,
                 output: int = 1, ending: Callable[[], bool] = lambda: False,
                 userland_is_ours: Callable[[], bool] = lambda: False) -> None:
        self._console, self._resize, self._ending = console, resize, ending
        self._input, self._output = input, output
        self._raw = Raw(input, output, lambda: FAREWELL) if os.isatty(input) else None
        self._escape = Escape()
        self._typist = None if self._raw else Typist(console.write, userland_is_ours)
        self._woken, self._waker = os.pipe()
        self._pending = bytearray()
        self._changed = Changes()
        self._input_ended = self._finished = self._left = self._resized = False

    def join(self) -> bool:
        """Carry bytes both ways; True when the guest has ended, False when the user has left."""
        os.set_blocking(self._waker, False)
        if self._raw:
            print(f"guesthouse: joined to the guest's console. {HELP}", file=sys.stderr)
        try:
            with self._signals(), self._terminal():
                self._console.listen(self._take, past=True)
                while not self._left and not (self._finished and not self._pending):
                    self._carry()
        finally:
            with self._changed.lock:
                self._left = True  # whoever waits for room need not wait any more
                self._changed.tell()
            self._console.unlisten(self._take)
        return self._finished

    def finish(self) -> None:
        """What we are joined to is over; what it wrote is still shown."""
        self._finished = True
        self._wake()

    # In the machine's thread.

    def _take(self, data: bytes) -> None:
        if not data:
            return self.finish()
        self._changed.wait_for(lambda: len(self._pending) < HELD or self._left or self._ending())
        with self._changed.lock:
            self._pending += data
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            os.write(self._waker, b"!")

    # In ours.

    def _carry(self) -> None:
        reading = [self._woken, *([] if self._input_ended or self._sated() else [self._input])]
        writing = [self._output] if self._pending else []
        patience = self._typist.patience() if self._typist else None
        readable, writable, _ = select.select(reading, writing, [], patience)
        if self._woken in readable:
            os.read(self._woken, 4096)
        if self._resized:
            self._resized = False
            self._tell_size()
        if writable:
            self._show()
        if self._input in readable:
            self._read()
        if self._typist:
            self._typist.act()

    def _sated(self) -> bool:
        return self._typist is not None and self._typist.full

    def _show(self) -> None:
        with self._changed.lock:
            part = bytes(self._pending[:4096])
        try:
            written = os.write(self._output, part)
        except OSError as wrong:
            if wrong.errno == errno.EIO:  # the terminal was hung up
                self._left = True
                return
            raise unwritable(wrong) from wrong
        with self._changed.lock:
            del self._pending[:written]
            self._changed.tell()
        if self._typist:
            self._typist.saw(part[:written])

    def _read(self) -> None:
        try:
            data = os.read(self._input, 4096)
        except OSError:
            data = b""  # the terminal was hung up
        if self._typist:
            self._input_ended = not data
            self._typist.offer(data)
        elif data:
            self._press(data)
        else:
            self._left = True

    def _press(self, data: bytes) -> None:
        for keys, order in self._escape.sort(data):
            if keys and not self._finished and not self._left:
                self._console.write(keys)
            if order == "h":
                os.write(sys.stderr.fileno(), f"\r\nguesthouse: {HELP}\r\n".encode())
            self._left = self._left or order == "x"

    def _tell_size(self) -> None:
        with suppress(OSError):
            columns, rows = os.get_terminal_size(self._input)
            self._resize(rows, columns)

    @contextmanager
    def _terminal(self) -> Iterator[None]:
        if not self._raw:
            yield
            return
        try:
            self._raw.enter()
            self._resized = True
            yield
        finally:
            self._raw.leave()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The window's size follows; stopping us from outside puts the terminal back meanwhile."""

        def resized(number: int, frame: FrameType | None) -> None:
            self._resized = True
            self._wake()

        def stopped(number: int, frame: FrameType | None) -> None:
            if raw:
                raw.stop()
            resized(number, frame)

        raw = self._raw
        handlers = {int(signal.SIGWINCH): resized, int(signal.SIGTSTP): stopped}
        before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)  # one may come just before select()
        try:
            with heeding(handlers if raw else {}):
                yield
        finally:
            signal.set_wakeup_fd(before)


def unwritable(wrong: OSError) -> Exception:
    """What to raise for an output that fails: a pipe's closed end is no mistake of anybody's."""
    if isinstance(wrong, BrokenPipeError):
        return wrong
    return UserError(f"The output cannot be written: {wrong.strerror}.", "Make room, or send it elsewhere.")


def size(terminal: int = 0) -> tuple[int, int] | None:
    """Rows and columns, if this is a terminal that knows."""
    with suppress(OSError):
        columns, rows = os.get_terminal_size(terminal)
        return (rows, columns) if rows and columns else None
    return None
