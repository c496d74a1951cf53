"""What went wrong, in words for the user and as an exit status. Nobody sees a traceback unless they ask for one."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

import click

from guesthouse.errors import GuesthouseError, TimedOut, UserError

OURS, TIMEOUT = 125, 124  # when a guest's command was to be run, whose own statuses lie below
PATIENCE = 90  # seconds for us to end in; a machine has 60 to save what was written to its disks


class Ended(BaseException):
    """A signal asks us to end. Not an Exception, so that nothing but clean-up happens on the way out."""

    def __init__(self, number: int) -> None:
        self.number = number


class Ending:
    """What a signal that asks us to end comes to: an exception, which cleans up; but who asks again does not wait for
    that, and it does not take for ever."""

    def __init__(self) -> None:
        self._asked = 0  # the signal that we are ending for
        self.last_acts: list[Callable[[], object]] = []  # what is done even so: terminals are put back

    def asked(self, number: int, frame: FrameType | None) -> None:
        """The handler of such signals."""
        if self._asked:
            self._at_once()
        self._asked = number
        signal.alarm(PATIENCE)
        raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)

    def gone_on(self) -> None:
        """It was for somebody else: for a command in a guest."""
        signal.alarm(0)
        self._asked = 0

    def overdue(self, number: int, frame: FrameType | None) -> None:
        """The handler of the alarm. Where we hang is told, for it is a bug."""
        with suppress(OSError, ValueError):
            os.write(2, f"guesthouse: we were to end, and have not within {PATIENCE} s. This is a bug.\n".encode())
            faulthandler.dump_traceback()
        self._at_once()

    def _at_once(self) -> None:
        for act in self.last_acts[::-1]:
            act()
        os._exit(128 + self._asked)


ENDING = Ending()  # of this process, as its signals are


@contextmanager
def signals_end_us() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP clean up as an exception does: terminals are put back, nothing stays half-written."""
    usual: dict[int, object] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL,
                                signal.SIGHUP: signal.SIG_DFL}
    caught = {number: ENDING.asked for number, handler in usual.items() if signal.getsignal(number) is handler}
    with heeding({**caught, signal.SIGALRM: ENDING.overdue}):
        yield


@contextmanager
def heeding(wanted: Mapping[int, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    """These signals go to these handlers, for a while."""
    before = {number: signal.getsignal(number) for number in wanted}
    try:
        for number, handler in wanted.items():
            signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def status_of(act: Callable[[], object], command: bool = False) -> int:
    """Do it; what it returns is the status, and what it raises is told on stderr and becomes one.

    `command`: a guest's command is to be run, whose own statuses are passed on.
    """
    try:
        done = act()
        sys.stdout.flush()
        return done if isinstance(done, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 128 + signal.SIGINT
    except Ended as end:
        return 128 + end.number
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered goes nowhere
        return 128 + signal.SIGPIPE
    except click.ClickException as wrong:
        wrong.show()
        return OURS if command else wrong.exit_code
    except UserError as wrong:
        tell(wrong)
        return wrong.exit_status if not command else TIMEOUT if isinstance(wrong, TimedOut) else OURS
    except Exception as wrong:
        report(wrong)
        return OURS if command else 1


def tell(wrong: UserError) -> None:
    """What happened and why, then what to do; before it, since it is long, the report on a guest if there is one."""
    if found := getattr(wrong, "report", ""):
        click.echo(f"{found}\n", err=True)
    click.echo(f"guesthouse: {wrong.what}", err=True)
    if wrong.do:
        click.echo(wrong.do, err=True)
    if _debug():
        _print_traceback(wrong)


def report(wrong: Exception) -> None:
    """A bug of ours: what a report needs, and where to send it."""
    from guesthouse.manager import report as reports

    click.echo("guesthouse: this is a bug in guesthouse, not in your guest.", err=True)
    click.echo(reports.describe(wrong), err=True)
    where = reports.keep(wrong)
    click.echo(f"The whole report is in {where}." if where else "The report could not be written to disk.", err=True)
    click.echo("Please send it, with the command line, to the project's issue tracker.", err=True)
    if _debug():
        _print_traceback(wrong)


def _debug() -> bool:
    from guesthouse.trace import value

    try:
        return bool(value("debug"))
    except GuesthouseError:
        return False


def _print_traceback(wrong: BaseException) -> None:
    import traceback

    traceback.print_exception(wrong)
