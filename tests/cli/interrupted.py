"""Sends a signal to the command line on fake machines at every place of the main thread's code where one can come.

`python -m tests.cli.interrupted SIGNAL STATUSES TERMINAL ARGUMENT…` runs that command first to find the places, each
instruction of the WATCHED files that the main thread executes; then once for each of them in a fork of its own, where
the signal comes before that instruction. Python calls a handler after the next call or jump, as it does in earnest.
Prints the places from which the command did not end, or ended with another status or the terminal not put back.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from types import CodeType, FrameType
from typing import Any

from guesthouse.cli.main import main
from guesthouse.cli.trouble import Ending
from guesthouse.manager.machine import Machine
from tests.cli.on_fakes import of

WATCHED = ("/guesthouse/threads.py", "/threading.py", *(f"/guesthouse/manager/{name}.py" for name in (
    "machine", "commands", "console")), *(f"/guesthouse/cli/{name}.py" for name in (
        "passing", "terminal", "trouble", "main")), "/tests/manager/fakes.py")
SECONDS, IDLE = 20.0, 1.0  # for a command to end in; until it gets a signal from outside, if it did not end
Place = tuple[str, str, int, int]  # file, function, line, instruction


def place_of(frame: FrameType) -> Place:
    code: CodeType = frame.f_code
    return code.co_filename, code.co_qualname, frame.f_lineno, frame.f_lasti


def watch(each: Callable[[FrameType], object]) -> None:
    """Call it before every watched instruction of this thread."""

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    def step(frame: FrameType, event: str, argument: object) -> Any:
        return (each(frame) or step) if event == "opcode" else step

    sys.settrace(enter)


class Fire:
    """A trace function that lets a signal come without executing any Python after it: its handler is not called from
    here, but where the traced code next lets handlers in. ctypes converts the arguments in Python, before the call."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.call = ctypes.PYFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_int)(
            ("PyErr_SetInterruptEx", ctypes.pythonapi))
        self.call.argtypes = [self, self, self]  # type: ignore[list-item]

    def from_param(self, given: object) -> ctypes.c_int:
        if isinstance(given, FrameType):
            sys.settrace(None)
            given.f_trace = None
        return ctypes.c_int(self._number)


class Runs:
    """One command, again and again."""

    def __init__(self, number: int, statuses: set[int], terminal: bool, arguments: list[str]) -> None:
        self.number, self.statuses, self.terminal, self.arguments = number, statuses, terminal, arguments

    def preload(self) -> None:
        """Have imported what is imported late."""
        with suppress(SystemExit), redirect_stdout(io.StringIO()):
            main(["run", "debian", "--json", "--", "poweroff"])
        while len(os.listdir("/proc/self/task")) > 1:
            time.sleep(0.01)

    def places(self) -> list[Place]:
        """Where the main thread comes by while signals are ours, until that of `once`."""
        usual = signal.getsignal(self.number)
        told = os.memfd_create("places")
        seen: dict[Place, None] = {}

        def see(frame: FrameType) -> None:
            if frame.f_code is Ending.asked.__code__:
                sys.settrace(None)
            if signal.getsignal(self.number) is not usual:
                seen.setdefault(place_of(frame))

        def report() -> None:
            os.write(told, json.dumps(list(seen)).encode())

        if wrong := self.once(lambda: watch(see), report):
            raise AssertionError(wrong)
        with os.fdopen(told) as file:
            file.seek(0)
            return [tuple(place) for place in json.load(file)]

    def interrupted(self, place: Place) -> str:
        """What goes wrong when the signal comes after this instruction and before the next."""
        fire = Fire(self.number)
        return self.once(lambda: watch(lambda frame: fire.call if place_of(frame) == place else None))

    def once(self, prepare: Callable[[], object], then: Callable[[], object] = lambda: None) -> str:
        """Run it in a fork, and send a signal from outside if it does not end; what went wrong."""
        ours, theirs = pty.openpty() if self.terminal else os.pipe()
        before = termios.tcgetattr(theirs) if self.terminal else None
        pid = os.fork()
        if pid == 0:
            self._run(theirs, prepare, then)
        ended, status, begun, signalled = 0, 0, time.monotonic(), False
        while not ended and time.monotonic() < begun + SECONDS:
            if select.select([ours], [], [], 0.002)[0]:
                os.read(ours, 4096)
            if not signalled and time.monotonic() > begun + IDLE:
                os.kill(pid, self.number)
                signalled = True
            ended, status = os.waitpid(pid, os.WNOHANG)
        trouble = ""
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            trouble = "did not end"
        elif (status := os.waitstatus_to_exitcode(status)) not in self.statuses:
            trouble = f"ended with {status}"
        elif self.terminal and termios.tcgetattr(theirs) != before:
            trouble = "left the terminal raw"
        os.close(ours)
        os.close(theirs)
        return trouble

    def _run(self, theirs: int, prepare: Callable[[], object], then: Callable[[], object]) -> None:
        status: Any = 1
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for number, file in enumerate((theirs if self.terminal else nothing, theirs, nothing)):
                os.dup2(file, number)
            prepare()
            try:
                main(self.arguments)
            except SystemExit as end:
                status = end.code
            sys.settrace(None)
            then()
        finally:
            os._exit(status)


if __name__ == "__main__":
    made: Any = Machine
    made.of = of
    number, statuses, terminal, *arguments = sys.argv[1:]
    runs = Runs(int(number), set(map(int, statuses.split(","))), terminal == "terminal", arguments)
    runs.preload()
    places = runs.places()
    for place in places:
        if wrong := runs.interrupted(place):
            print(*place, wrong, flush=True)
    print(len(places), "places")
