"""The command `guesthouse`: its table of commands, and the one place where errors become words and exit statuses.

A command's module imports nothing but click when it is loaded, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from guesthouse import __version__
from guesthouse.cli import completion, doctor, explain, image, run, trouble

HELP = """Whole computers and single programs as guests, in Python.

guesthouse boots unmodified operating systems on a processor of its own; no hypervisor, no root, no compiler is
needed.

\b
Examples:
  guesthouse run debian                   a shell in Debian, on this terminal (leave with Ctrl-A x)
  guesthouse run debian -- uname -a       one command; its output and exit status are passed on
  guesthouse run debian --arch riscv64    the same on another instruction set
  guesthouse doctor                       what this host has, and what is missing
"""
EPILOG = """\b
Exit status: the guest's own for `run GUEST -- COMMAND` (125 we failed, 126 it cannot be run, 127 it was not
found, 124 it took too long); else 0 done, 1 failed, 2 usage, 3 no such thing, 4 wrong state, 5 timeout,
6 not supported here.
"""


@click.group("guesthouse", help=HELP, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guesthouse")
def cli() -> None:
    """The group; its help is HELP."""


for command in (run.run, image.image, doctor.doctor, explain.explain, completion.completion):
    cli.add_command(command)


def open_streams() -> None:
    """Whoever started us may have closed our standard streams. The next file that we open would get such a number, and
    what is said to the stream: a disk of the guest, even."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            setattr(sys, name, open(number, mode, closefd=False))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with its status."""
    try:
        open_streams()
        given = list(sys.argv[1:] if arguments is None else arguments)
        command = given[:1] == ["run"] and "--" in given  # for mistakes that are found before `run` itself begins
        with trouble.signals_end_us():
            status = trouble.status_of(lambda: cli.main(given, "guesthouse", standalone_mode=False), command)
    except KeyboardInterrupt:  # a signal came after all was done, or before anything was
        status = 128 + signal.SIGINT
    except trouble.Ended as end:
        status = 128 + end.number
    sys.exit(status)
