"""Commands inside a guest: one at a time, through the agent, over the serial ports 1 to 3 of a board.

The agent itself (images/agent.py) is a state machine without input or output; here are its lock, its wires, and the
threads that wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from guesthouse.errors import GuesthouseError, TimedOut
from guesthouse.images import agent
from guesthouse.manager.outcome import GuestGone
from guesthouse.threads import Changes

PORTS = (agent.DATA, agent.ERROR, agent.CONTROL)
Sink = Callable[[bytes], object]


class Port(Protocol):
    """A serial port as a board has it: `send` may be called from any thread."""

    output: Callable[[bytes], object]

    def send(self, data: bytes) -> None: ...


class Command:
    """One command under way. Its sinks are called in the machine's thread."""

    def __init__(self, house: Commands, number: int, stdout: Sink, stderr: Sink) -> None:
        self._house, self.number = house, number
        self.sinks = {agent.DATA: stdout, agent.ERROR: stderr}
        self.started = False
        self.status: int | None = None
        self.lost: GuesthouseError | None = None

    @property
    def ended(self) -> bool:
        return self.status is not None or self.lost is not None

    def write(self, data: bytes) -> int:
        """Hand over standard input, waiting until the guest wants it; fewer bytes are taken if it ends before."""
        taken = 0
        while taken < len(data) and not self.ended:
            taken += self._house.give(self, data[taken:])
        return taken

    def close(self) -> None:
        """The end of standard input."""
        self._house.tell(self, lambda a: a.close_stdin())

    def signal(self, name: str) -> None:
        """Send INT, TERM, KILL, … to the command and what it started."""
        self._house.tell(self, lambda a: a.signal(name))

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""
        self._house.wait_for(lambda: self.ended, timeout, "The command did not end")
        if self.status is None:
            raise self.lost or GuestGone("The command was lost.")
        return self.status

    def wait_for_start(self, timeout: float | None = None) -> None:
        self._house.wait_for(lambda: self.started or self.ended, timeout, "The command did not start")


class Commands:
    """The host's end of a guest's agent."""

    def __init__(self, trouble: Callable[[str], object] = lambda why: None) -> None:
        self._changed = Changes()
        self._trouble = trouble
        self._agent = agent.Agent()
        self._ports: Mapping[int, Port] = {}
        self._command: Command | None = None
        self._ended: Callable[[], GuesthouseError] | None = None

    def plug(self, ports: Mapping[int, Port]) -> None:
        """A (new) board: what was under way on an earlier one is over."""
        with self._changed.lock:
            if self._command:
                self._command.lost = GuestGone("The guest restarted while a command ran in it.")
                self._command = None
            self._agent, self._ports = agent.Agent(), ports
            for number in PORTS:
                ports[number].output = self._receiver(number)
            self._changed.tell()

    def end(self, why: Callable[[], GuesthouseError]) -> None:
        """The machine is off; who waits for a command gets this error."""
        with self._changed.lock:
            self._ended, self._ports = why, {}
            self._changed.tell()

    @property
    def ready(self) -> bool:
        return self._agent.ready

    def wait_until_ready(self, timeout: float | None) -> None:
        self.wait_for(lambda: self._agent.ready, timeout, "The guest's agent did not come up")

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None,
              stdin: bool = False, tty: bool = False, stdout: Sink, stderr: Sink) -> Command:
        """Run a command as soon as the agent is there."""
        with self._changed.lock:
            if self._ended:
                raise self._ended()
            number = self._agent.run(argv, env=env, cwd=cwd, stdin=stdin, tty=tty)
            self._command = Command(self, number, stdout, stderr)
            self._pump()
            return self._command

    def resize(self, rows: int, columns: int) -> None:
        """The console's terminal has this size; forgotten if nobody listens yet."""
        with self._changed.lock:
            if self._agent.ready:
                self._agent.resize(rows, columns)
                self._pump()

    def power_off(self) -> bool:
        """Ask the guest to switch itself off; False if there is nobody to ask."""
        with self._changed.lock:
            if not self._agent.ready or self._ended:
                return False
            self._agent.poweroff()
            self._pump()
            return True

    # For Command.

    def give(self, command: Command, data: bytes) -> int:
        self._changed.wait_for(lambda: self._agent.stdin_room or command.ended or self._ended, 1.0)
        with self._changed.lock:
            if command is not self._command or self._ended:
                return len(data)  # it ended: what nobody reads is taken as read, as by a pipe's closed end
            part = data[: self._agent.stdin_room]
            self._agent.write_stdin(part)
            self._pump()
            return len(part)

    def tell(self, command: Command, what: Callable[[agent.Agent], None]) -> None:
        with self._changed.lock:
            if command is self._command:
                what(self._agent)
                self._pump()

    def wait_for(self, what: Callable[[], bool], timeout: float | None, failing: str) -> None:
        """Wait until `what()` is true, or the machine is off."""
        found = self._changed.wait_for(lambda: what() or self._ended, timeout)
        if callable(found):
            raise found()
        if not found:
            raise TimedOut(f"{failing} within {timeout:g} s.", "Allow more time.")

    # In the machine's thread.

    def _receiver(self, number: int) -> Callable[[bytes], object]:
        mine = self._agent
        return lambda data: self._receive(mine, number, data)

    def _receive(self, speaker: agent.Agent, number: int, data: bytes) -> None:
        with self._changed.lock:
            if speaker is not self._agent:
                return  # the last words of an earlier board
            events, command = self._agent.feed(number, data), self._command
            self._pump()
        for event in events:
            match event:
                case agent.Output():
                    if command:
                        command.sinks[event.stream](event.data)
                case agent.Trouble():
                    self._trouble(event.why)
        with self._changed.lock:
            for event in events:
                match event:
                    case agent.Started() if command:
                        command.started = True
                    case agent.Exited() if command:
                        command.status = event.status
                        self._command = None
            self._changed.tell()

    def _pump(self) -> None:
        for number, port in self._ports.items():
            if data := self._agent.outgoing(number):
                port.send(data)
