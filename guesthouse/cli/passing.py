"""Passes standard input, output and exit statuses between us and what runs in a guest."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from guesthouse.cli import trouble
from guesthouse.cli.terminal import Attachment, unwritable
from guesthouse.errors import TimedOut, UserError
from guesthouse.manager.outcome import Completed, GuestGone
from guesthouse.threads import begin

if TYPE_CHECKING:
    from guesthouse.manager.commands import Command
    from guesthouse.manager.machine import Machine

GRACE = 5.0  # seconds that a command has to heed an interrupt
LOOK = 0.1  # seconds until a reader that takes nothing is asked again
AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes without waiting when it takes any


class Outflow:
    """One of our outputs. What cannot be written any more is remembered, and the rest dropped. It is written in the
    machine's thread, which must not wait for a reader once nobody waits for the command, or the machine is to end."""

    def __init__(self, number: int, broken: Callable[[], object], ending: Callable[[], bool]) -> None:
        self._number, self._broken, self._ending = number, broken, ending
        self.wrong: OSError | None = None
        self.over = False

    def __call__(self, data: bytes) -> None:
        left = memoryview(data)
        while left and not self.wrong and not self.over and not self._ending():
            try:
                if select.select([], [self._number], [], LOOK)[1]:
                    left = left[os.write(self._number, left[:AT_ONCE]):]
            except OSError as wrong:
                self.wrong = wrong
                self._broken()

    def check(self) -> None:
        if self.wrong:
            raise unwritable(self.wrong)


def console(machine: Machine) -> int:
    """Join the console until the guest ends (its status) or the user leaves (0)."""
    commands = machine.commands
    attachment = Attachment(machine.console, commands.resize, ending=lambda: machine.ending,
                            userland_is_ours=lambda: commands.ready)
    return machine.wait() if attachment.join() else 0


def command_on_console(machine: Machine, argv: tuple[str, ...]) -> int:
    """Run a command with the guest's console as its terminal, joined to ours."""
    machine.commands.wait_until_ready(None)
    command = machine.commands.start(argv, tty=True, stdout=_ignore, stderr=_ignore)
    command.wait_for_start()
    attachment = Attachment(machine.console, machine.commands.resize, ending=lambda: machine.ending)
    begin(lambda: _finish(command, attachment))
    return _status(machine, command) if attachment.join() else 128 + signal.SIGHUP


def command(machine: Machine, argv: tuple[str, ...]) -> int:
    """Run a command with our standard input, output and error."""
    started: list[Command] = []

    def give_up() -> None:
        for one in started:
            one.signal("KILL")

    out, err = (Outflow(number, give_up, lambda: machine.ending) for number in (1, 2))
    sys.stdout.flush()
    started.append(machine.commands.start(argv, stdin=True, stdout=out, stderr=err))
    begin(lambda: _feed(started[0]))
    try:
        status = _wait(machine, started[0])
    finally:
        out.over = err.over = True
    out.check()
    err.check()
    return status


def command_collected(machine: Machine, argv: tuple[str, ...]) -> Completed:
    """Run a command with our standard input, and keep its output."""
    out, err = bytearray(), bytearray()
    started = machine.commands.start(argv, stdin=True, stdout=out.extend, stderr=err.extend)
    begin(lambda: _feed(started))
    return Completed(argv, _wait(machine, started), bytes(out), bytes(err))


def _wait(machine: Machine, command: Command) -> int:
    """Ctrl-C goes to the command; a second one, or one that it does not heed, is for us."""
    try:
        return _status(machine, command)
    except KeyboardInterrupt:
        if not command.started:
            raise
        trouble.ENDING.gone_on()
        command.signal("INT")
        with suppress(TimedOut):
            command.wait(GRACE)
        return 128 + signal.SIGINT


def _status(machine: Machine, command: Command) -> int:
    try:
        return command.wait()
    except GuestGone:
        return machine.wait()  # the command switched the guest off


def _feed(command: Command) -> None:
    try:
        while data := os.read(0, 1 << 16):
            command.write(data)
    except (OSError, UserError):
        pass  # no standard input, or nobody is left to read it
    command.close()


def _finish(command: Command, attachment: Attachment) -> None:
    try:
        command.wait()
    except UserError:
        pass  # whoever waits for the status hears of it
    attachment.finish()


def _ignore(data: bytes) -> None:
    """A command at the console has no output of its own."""
