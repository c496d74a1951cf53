"""`guesthouse run`: boot a guest and join its console, or run one command in it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from guesthouse.cli import trouble
from guesthouse.cli.values import Duration, Size
from guesthouse.errors import UserError

if TYPE_CHECKING:
    from guesthouse.cli.progress import Narrator
    from guesthouse.manager.config import Config
    from guesthouse.manager.machine import Machine

HELP = """Boot GUEST, a name or a file, and join this terminal to it; with a COMMAND, run that in it instead.

A file may be a floppy, disk or CD image, a Linux kernel or a multiboot kernel: what it is, is found in it. What
boots from a medium has a screen, which is drawn in this terminal while it shows text; its keys go to the guest, Ctrl-C
too. Ctrl-A x leaves and switches the machine off. The file is never written, unless --persist says so.

The console: every key goes to the guest, Ctrl-C too; `poweroff` in the guest ends this command. Ctrl-A x leaves and
switches the machine off, Ctrl-A Ctrl-A types a Ctrl-A. If standard input is not a terminal, it is typed at the
guest's prompt, and its end ends the guest's shell.

A COMMAND gets our standard input; its output, error output and exit status are passed on. If both standard input and
output are terminals (or with -t) it runs on the guest's console as its terminal; -T says never.

\b
Examples:
  guesthouse run debian
  guesthouse run debian --arch riscv64 --memory 1G
  guesthouse run debian -- sh -c 'uname -a; nproc'
  tar c . | guesthouse run debian -- tar t
  guesthouse run debian --kernel bzImage --append "loglevel=8"
  guesthouse run freedos.img
  guesthouse run cd.iso --disk disk.img --persist --boot d --display vnc
"""


@dataclass(frozen=True)
class Wishes:
    """What the options say beyond the machine itself."""

    command: tuple[str, ...]
    tty: bool
    timeout: float | None
    stats: bool
    json: bool
    display: str | None = None
    serial: tuple[str, ...] = ()
    screenshot: str | None = None
    check: bool = False

    @property
    def shown(self) -> str:
        """Where the screen goes. Standard input cannot be a keyboard and a serial port at once."""
        return ("none" if "stdio" in self.serial else "text") if self.display is None else self.display


@click.command(help=HELP, short_help="Boot a guest: a shell on this terminal, or one command.")
@click.argument("guest", default="", shell_complete=lambda context, argument, typed: guests_like(typed))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--memory", "-m", type=Size(), default="512M", show_default=True, help="The machine's RAM.")
@click.option("--cpus", type=int, default=1, show_default=True, help="How many processors it has.")
@click.option("--parallel", is_flag=True, help="Let them run at the same time, on threads of their own.")
@click.option("--arch", type=click.Choice(["amd64", "riscv64"]), default="amd64", show_default=True,
              help="Its instruction set.")
@click.option("--timeout", type=Duration(), help="Switch it off after this time, as in 60s (status 124 or 5).")
@click.option("--kernel", type=click.Path(), metavar="FILE", help="A kernel of your own.")
@click.option("--initrd", type=click.Path(), metavar="FILE", help="A first file system of your own.")
@click.option("--append", default="", metavar="TEXT", help="More for the kernel's command line.")
@click.option("--floppy", "floppies", type=click.Path(), multiple=True, metavar="FILE", help="A floppy in a drive.")
@click.option("--disk", "disks", type=click.Path(), multiple=True, metavar="FILE", help="A hard disk.")
@click.option("--cdrom", "cdroms", type=click.Path(), multiple=True, metavar="FILE", help="A CD in a drive.")
@click.option("--boot", default="acd", show_default=True, metavar="ORDER",
              help="Which drives to try: a floppies, c disks, d CDs.")
@click.option("--firmware", type=click.Path(), metavar="FILE", help="builtin, or a file such as SeaBIOS or OVMF.")
@click.option("--variables", type=click.Path(), metavar="FILE", help="The flash where such firmware keeps settings.")
@click.option("--vga-rom", type=click.Path(), metavar="FILE", help="A video BIOS for it (SeaBIOS's is found).")
@click.option("--chipset", type=click.Choice(["i440fx", "q35"]), default="i440fx", show_default=True,
              help="The PC's chipset.")
@click.option("--disk-bus", type=click.Choice(["ide", "ahci", "virtio"]), help="How disks are connected.")
@click.option("--persist", is_flag=True, help="What the guest writes goes into the files of its floppies and disks.")
@click.option("--display", metavar="WHERE",
              help="Where the screen is shown: text (this terminal, the default), vnc[:PORT] or none.")
@click.option("--screenshot", type=click.Path(), metavar="FILE", help="At the end, write the screen as a PNG file.")
@click.option("--serial", multiple=True, metavar="WHERE",
              help="COM1 and on, of a PC with a screen: stdio, file:PATH, tcp:HOST:PORT, pty or none.")
@click.option("--parallel-port", type=click.Path(), metavar="FILE", help="LPT1: what is printed is appended to it.")
@click.option("--sound", type=click.Path(), metavar="FILE", help="Record the speaker as a WAV file.")
@click.option("--debug-port", type=click.Path(), metavar="FILE",
              help="What is written to ports E9h and 402h is appended to it.")
@click.option("--test-devices", is_flag=True,
              help="QEMU's isa-debug-exit at port F4h (value v: status 2v + 1) and its pc-testdev.")
@click.option("--tty/--no-tty", "-t/-T", default=None, help="Run COMMAND on the guest's console, or do not.")
@click.option("--way", type=click.Choice(["plain", "threaded", "hot"]), help="How instructions run; plain is slow.")
@click.option("--time", type=click.Choice(["real", "virtual"]), default="real", show_default=True,
              help="virtual: by instructions executed, the same in each run.")
@click.option("--check", is_flag=True, help="Run it hot and threaded side by side, and tell the first difference.")
@click.option("--trace", metavar="NAMES@START",
              help="Print events to stderr, as in uart,pc.*@1000000 (from that instruction on).")
@click.option("--stats", is_flag=True, help="Print the counters at the end, to stderr.")
@click.option("--json", is_flag=True, help="Print COMMAND's result as one JSON object.")
def run(guest: str, command: tuple[str, ...], tty: bool | None, timeout: float | None, stats: bool, json: bool,
        display: str | None, serial: tuple[str, ...], screenshot: str | None, check: bool, **machine: Any) -> int:
    """The command; its help is HELP."""
    terminals = sys.stdin.isatty() and sys.stdout.isatty()
    on_terminal = bool(command) and not json and (terminals if tty is None else tty)
    wishes = Wishes(command, on_terminal, timeout, stats, json, display, serial, screenshot, check)
    return trouble.status_of(lambda: perform(guest, machine, wishes), command=bool(command))


def guests_like(typed: str) -> list[str]:
    """Names of guests, for a shell to complete."""
    from guesthouse.images.catalogue import NAMES

    return [name for name in NAMES if name.startswith(typed)]


def perform(guest: str, options: dict[str, Any], wishes: Wishes) -> int:
    from guesthouse.cli.progress import Narrator
    from guesthouse.manager.config import config
    from guesthouse.manager.screen import need_place
    from guesthouse.trace import value

    if wishes.json and not wishes.command:
        raise click.UsageError("--json needs a COMMAND: a console has no result.")
    refuse_places(wishes)
    described = config("guesthouse run", guest, **options)
    if not guest and not described.drives and described.firmware is None and described.kernel is None:
        raise click.UsageError("There is nothing to run: name a guest or a file, or give a drive a medium.")
    if described.guest and described.firmware is not None:
        raise click.UsageError(f"{guest} is started by us, not by --firmware: give it a medium to start from.")
    if wishes.screenshot is not None:
        need_place(wishes.screenshot, described.files)
    if wishes.check:
        return side_by_side(described, wishes)
    began = time.monotonic()
    with Narrator() as narrator:
        machine = boot(described, wishes, narrator)
    with machine:
        try:
            return attend(machine, wishes, began)
        finally:
            machine.stop()
            if wishes.screenshot is not None and machine.has_screen:
                machine.screenshot(wishes.screenshot)
            if wishes.stats or value("stats"):
                print_statistics(machine, time.monotonic() - began)


def side_by_side(described: Config, wishes: Wishes) -> int:
    """--check: its guest hears nothing, what it says on its console goes to standard output."""
    from guesthouse.cli.progress import Narrator
    from guesthouse.manager.building import Announce
    from guesthouse.manager.checking import check, why_ended

    if wishes.command:
        raise click.UsageError("--check has no COMMAND: the two machines hear nothing.")

    def say(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    with Narrator() as narrator:
        announce = Announce(narrator, narrator.warn)
        verdict = check(described, userland(wishes), wishes.timeout, announce, say)
    if verdict.differences:
        click.echo("\n".join(["The hot way and the threaded way differ:", *verdict.differences]), err=True)
        return 1
    click.echo(f"{verdict.instructions:,} instructions, the same in both ways, then: {why_ended(verdict.outcome)}",
               err=True)
    return 0


def refuse_places(wishes: Wishes) -> None:
    """Wishes for the screen and the serial ports that nobody can grant: told before a guest has run for an hour."""
    from guesthouse.cli import serial, values

    kind, colon, where = wishes.shown.partition(":")
    if kind not in ("text", "vnc", "none") or colon and kind != "vnc":
        raise click.UsageError(f"--display is {wishes.shown!r}, but must be text, vnc, vnc:PORT or none.")
    if where:
        values.port(where, f"--display vnc:{where}")
    for place in wishes.serial:
        serial.told(place)
    if kind == "text" and "stdio" in wishes.serial or wishes.serial.count("stdio") > 1:
        raise click.UsageError("Standard input is for the screen or for one serial port: choose one of them.")


def boot(described: Config, wishes: Wishes, narrator: Narrator) -> Machine:
    """Fetch, compile, build and switch on."""
    from guesthouse.manager.building import Announce
    from guesthouse.manager.machine import Machine

    return Machine.of(described, extra=userland(wishes), timeout=wishes.timeout,
                      announce=Announce(narrator, narrator.warn))


def userland(wishes: Wishes) -> str:
    """What our userland is told on the kernel's command line: its task, and what this terminal is like."""
    import os
    import re

    from guesthouse.cli import terminal

    words = ["quiet", "guesthouse.run=agent"] if wishes.command else []
    if found := terminal.size():
        words.append(f"guesthouse.size={found[0]}x{found[1]}")
    term = os.environ.get("TERM", "dumb") if os.isatty(0) else "dumb"
    if re.fullmatch(r"[A-Za-z0-9.+-]+", term):
        words.append(f"guesthouse.term={term}")
    return " ".join(words)


def attend(machine: Machine, wishes: Wishes, began: float) -> int:
    """Do what the machine was started for; the exit status."""
    from guesthouse.cli import passing

    if machine.has_screen:
        from guesthouse.cli import serial, watching

        if wishes.command:
            raise UserError("A COMMAND needs a guest with our userland, such as debian.", "Leave it away.",
                            exit_status=2)
        if wishes.shown == "none" and wishes.serial[:1] == ("stdio",) and sys.stdin.isatty() and sys.stdout.isatty():
            serial.connect(machine, ("none", *wishes.serial[1:]))
            return passing.console(machine)  # COM1 on a terminal is a console
        serial.connect(machine, wishes.serial)
        return watching.attend(machine, wishes.shown)
    if wishes.display or wishes.serial or wishes.screenshot:
        raise UserError("--display, --serial and --screenshot are for a guest that starts from its own medium;"
                        " this one is on its console.", "Leave them away.", exit_status=2)
    if not wishes.command:
        return passing.console(machine)
    if wishes.tty:
        return passing.command_on_console(machine, wishes.command)
    if not wishes.json:
        return passing.command(machine, wishes.command)
    done = passing.command_collected(machine, wishes.command)
    result = {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr,
              "seconds": round(time.monotonic() - began, 3), "statistics": machine.statistics()}
    click.echo(json.dumps(result, indent=1))
    return done.returncode


def print_statistics(machine: Machine, seconds: float) -> None:
    counted = machine.statistics()
    width = max((len(name) for name in counted), default=0)
    click.echo("\n".join(f"{name:{width}}  {count:,}" for name, count in counted.items()), err=True)
    instructions = counted.get("instructions", 0)
    rate = f", {instructions / seconds / 1e6:.0f} million instructions a second" if instructions else ""
    click.echo(f"{seconds:.2f} s from start to end{rate}", err=True)
