"""The host's end of the agent that runs commands in a guest: a state machine that does no input or output.

Three UARTs, all raw. Port 1 (ttyS1): standard output comes, standard input goes. Port 2 (ttyS2): standard
error comes. Port 3 (ttyS3): lines of ASCII, both ways. A terminal's bytes go over port 0, past this class.

To the host:   ready VERSION         the agent listens; nothing may be sent before (it would be echoed)
               start ID PID          the command is about to be executed as the process (and group) PID
               more ID SIZE          a chunk of standard input has been taken
               exit ID STATUS        it ended, and all its output was sent before this line
To the guest:  run ID MODE SCRIPT    MODE: null (no input), pipe (it follows on port 1), tty (at the console);
                                     SCRIPT: cd, export, set -- and the words, quoted for the shell
               signal PID NAME       to the command's process group
               size ROWS COLUMNS     of the console's terminal
               poweroff, reboot

Port 1, to the guest, per command in mode pipe: the line `stdin ID`, then chunks: a line with the length, then
the bytes; length 0 is the end. At most WINDOW bytes are under way that no `more` has answered, for the guest's
terminal layer drops what it cannot hold. One command at a time. STATUS is the shell's: 127 not found, 126
cannot run, 128+n killed by signal n.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from guesthouse.errors import ConfigError, UserError, WrongState

VERSION = 1
DATA, ERROR, CONTROL = 1, 2, 3
CHUNK, WINDOW = 8192, 16384
LONGEST = 32768  # of a `run` line; it also must not overflow the guest's terminal layer
SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP", "WINCH")


@dataclass(frozen=True)
class Ready:
    """The agent listens."""


@dataclass(frozen=True)
class Started:
    """The command runs; signals reach it from now on."""

    id: int
    pid: int


@dataclass(frozen=True)
class Output:
    """Bytes of standard output (stream 1) or standard error (stream 2) of the command `id`."""

    id: int
    stream: int
    data: bytes


@dataclass(frozen=True)
class Exited:
    """The command ended, and its output is complete."""

    id: int
    status: int


@dataclass(frozen=True)
class Trouble:
    """The guest said what the agent never says: a sentence for the log."""

    why: str


Event = Ready | Started | Output | Exited | Trouble


@dataclass
class _Run:
    id: int
    mode: str
    pid: int = 0
    waiting: bytearray = field(default_factory=bytearray)  # standard input not yet cut into chunks
    ended: bool = False  # no more will be written
    under_way: int = 0
    signals: list[str] = field(default_factory=list)


class Agent:
    """Feed it what the guest sends, and send the guest what it hands out."""

    def __init__(self) -> None:
        self.ready = False
        self._run: _Run | None = None
        self._last = 0
        self._line = b""
        self._out = {DATA: bytearray(), CONTROL: bytearray()}

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return self._run is not None

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> int:
        """Starts a command, as soon as the agent is ready, and returns its number."""
        if self._run:
            raise WrongState(f"The guest still runs command {self._run.id}.", "Wait until it has ended.")
        script = prepare(argv, env or {}, cwd)
        if len(script) > LONGEST:
            raise UserError(
                f"The command line has {len(script)} bytes, but the guest takes {LONGEST}.",
                "Pass what is long through standard input.",
            )
        self._last += 1
        mode = "tty" if tty else "pipe" if stdin else "null"
        self._run = _Run(self._last, mode)
        self._say(f"run {self._last} {mode} ".encode() + script)
        if mode == "pipe":
            self._out[DATA] += b"\nstdin %d\n" % self._last
        return self._last

    @property
    def stdin_room(self) -> int:
        """How many bytes of standard input are welcome now; a caller that offers more makes us hold them."""
        run = self._run
        if run is None or run.mode != "pipe" or run.ended:
            return 0
        return max(0, WINDOW - run.under_way - len(run.waiting))

    def write_stdin(self, data: bytes) -> None:
        """Hands over standard input; what comes after the command's end is dropped."""
        if self._run and self._run.mode == "pipe" and not self._run.ended:
            self._run.waiting += data
            self._cut(self._run)

    def close_stdin(self) -> None:
        """The end of standard input."""
        if self._run and self._run.mode == "pipe" and not self._run.ended:
            self._run.ended = True
            self._cut(self._run)

    def signal(self, name: str) -> None:
        """Sends a signal to the command, once it has started."""
        name = name.upper().removeprefix("SIG")
        if name not in SIGNALS:
            raise ConfigError("signal", "name", name, f"one of {', '.join(SIGNALS)}")
        if self._run and self._run.pid:
            self._say(f"signal {self._run.pid} {name}".encode())
        elif self._run:
            self._run.signals.append(name)

    def resize(self, rows: int, columns: int) -> None:
        """Tells the console's terminal its size."""
        self._say(b"size %d %d" % (min(max(rows, 1), 9999), min(max(columns, 1), 9999)))

    def poweroff(self) -> None:
        """Asks the guest to switch itself off."""
        self._say(b"poweroff")

    def outgoing(self, port: int, limit: int | None = None) -> bytes:
        """What the port's UART may have now: it is the caller's from here on, to be offered until taken."""
        if not self.ready:
            return b""
        queue = self._out.get(port)
        if not queue:
            return b""
        data = bytes(queue[:limit])
        del queue[: len(data)]
        return data

    def feed(self, port: int, data: bytes) -> list[Event]:
        """Takes what the guest sent on a port."""
        if port != CONTROL:
            run = self._run
            return [Output(run.id, port, data)] if run and data and run.mode != "tty" else []
        *lines, self._line = (self._line + data).split(b"\n")
        events = [event for line in lines for event in self._heard(line.rstrip(b"\r"))]
        if len(self._line) > 256:
            events.append(Trouble("The agent's line is longer than any of its lines can be."))
            self._line = b""
        return events

    def _heard(self, line: bytes) -> list[Event]:
        words = re.fullmatch(rb"(ready|start|more|exit) (\d{1,9})(?: (\d{1,9}))?", line)
        if words is None:
            return [Trouble(f"The guest said {line!r} where the agent speaks.")] if self.ready and line else []
        verb, number, value = words[1], int(words[2]), int(words[3] or 0)
        if verb == b"ready":
            return self._started_over(number)
        run = self._run
        if run is None or run.id != number:
            return []  # `more` of a command that has ended
        if verb == b"start":
            run.pid = value
            for name in run.signals:
                self.signal(name)
            return [Started(number, value)]
        if verb == b"more":
            run.under_way = max(0, run.under_way - value)
            self._cut(run)
            return []
        self._run = None
        self._out[DATA].clear()  # what the next command finds of a chunk, it skips
        return [Exited(number, value)]

    def _started_over(self, version: int) -> list[Event]:
        if version != VERSION:
            return [Trouble(f"The guest's agent speaks version {version}, this guesthouse {VERSION}.")]
        self.ready = True
        return [Ready()]

    def _say(self, line: bytes) -> None:
        self._out[CONTROL] += line + b"\n"

    def _cut(self, run: _Run) -> None:
        """Queues chunks as far as the window allows."""
        while run.waiting and run.under_way < WINDOW:
            chunk = bytes(run.waiting[: min(CHUNK, WINDOW - run.under_way)])
            del run.waiting[: len(chunk)]
            run.under_way += len(chunk)
            self._out[DATA] += b"%d\n%b" % (len(chunk), chunk)
        if run.ended and not run.waiting and run.mode == "pipe":
            self._out[DATA] += b"0\n"
            run.mode = "closed"


def prepare(argv: Sequence[str | bytes], env: Mapping[str, str], cwd: str | None) -> bytes:
    """The line of shell that makes the command ready: it leaves the words in the shell's own arguments."""
    if not argv or not argv[0]:
        raise ConfigError("command", "the command", list(argv), "at least the name of a program")
    steps = []
    if cwd is not None:
        steps.append(b"cd -- " + quoted(cwd) + b" || exit 126")
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError("environment", "a name", name, "letters, digits and underscores")
        steps.append(b"export %b=%b" % (name.encode(), quoted(value)))
    steps.append(b"set -- " + b" ".join(quoted(word) for word in argv))
    return b"; ".join(steps)


def quoted(word: str | bytes) -> bytes:
    """The word for the guest's shell, on one line: newlines become $'\\n', which busybox's shell knows."""
    raw = word.encode(errors="surrogateescape") if isinstance(word, str) else word
    if b"\0" in raw:
        raise ConfigError("command", "a word", word, "free of NUL bytes")
    return b"'" + raw.replace(b"'", b"'\\''").replace(b"\n", b"'$'\\n''") + b"'"
