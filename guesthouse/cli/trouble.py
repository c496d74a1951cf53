"""What went wrong, in words for the user and as an exit status. Nobody sees a traceback unless they ask for one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from guesthouse.errors import GuesthouseError, TimedOut, UserError

OURS, TIMEOUT = 125, 124  # when a guest's command was to be run, whose own statuses lie below


class Ended(BaseException):
    """A signal asks us to end. Not an Exception, so that nothing but clean-up happens on the way out."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def signals_end_us() -> Iterator[None]:
    """SIGTERM and SIGHUP clean up as an exception does: the terminal is put back, nothing stays half-written."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clean-up
        raise Ended(number)

    caught = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in caught:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)


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
