"""A board whose guest is a few lines of Python: a console that echoes, and an agent that runs a handful of commands."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

from guesthouse.bits import u64
from guesthouse.clock import Clock
from guesthouse.errors import UserError
from guesthouse.manager import building
from guesthouse.manager.config import config
from guesthouse.manager.machine import Machine
from guesthouse.system.boards.outcome import Died, Outcome, OutOfTime, PoweredOff, Reset, Stopped

PROMPT = b"root@guesthouse:~# "


class FakePort:
    """A serial port: `send` queues for the guest."""

    def __init__(self, board: FakeBoard, number: int) -> None:
        self.output: Callable[[bytes], object] = lambda data: None
        self._board, self._number = board, number

    def send(self, data: bytes) -> None:
        self._board.post(lambda: self._board.hear(self._number, data))


class FakeBoard:
    """Runs posted jobs until something ends it."""

    def __init__(self, agent: bool = True) -> None:
        self.serial = [FakePort(self, n) for n in range(4)]
        self.memory = FakeMemory()
        registers = SimpleNamespace(pc=u64(0x1000), r=[u64(n) for n in range(16)])
        self.vcpu = SimpleNamespace(state=registers, count=0)
        self.cores = [SimpleNamespace(vcpu=self.vcpu)]
        self.clock, self.panic = Clock(), None
        self.closed = self._greeted = False
        self._agent = agent
        self._jobs: deque[Callable[[], object]] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._outcome: Outcome | None = None
        self._stubborn = False  # does not stop
        self._stopping = False
        self._lines = {0: b"", 1: b"", 3: b""}
        self._command = ""

    def post(self, job: Callable[[], object]) -> None:
        self._jobs.append(job)
        self._wake.put(None)

    def stop(self) -> None:
        self._stopping = True
        self._wake.put(None)

    def run(self, *, instructions: int | None = None) -> Outcome:
        self._greet()
        if instructions is not None:
            if self._stopping:
                self._stopping = False
                return Stopped()
            self.vcpu.count += instructions
            self.vcpu.state.pc = self.vcpu.state.pc + 4 * instructions
            return OutOfTime()
        while self._outcome is None and not self._stopping:
            with suppress(Empty):
                self._wake.get(timeout=0.05)
            self.vcpu.count += 1000
            while self._jobs:
                self._jobs.popleft()()
        while self._stubborn:
            time.sleep(1)
        if self._stopping:
            self._stopping = False
            return Stopped()
        assert self._outcome
        return self._outcome

    def count(self) -> int:
        return self.vcpu.count

    def press_power_button(self) -> bool:
        self.post(lambda: self.end(PoweredOff()))
        return True

    def statistics(self) -> dict[str, int]:
        return {"instructions": self.vcpu.count, "exits.HostCall": 1}

    def report(self, reason: str) -> str:
        return f"report: {reason}"

    def close(self) -> None:
        self.closed = True

    # The guest.

    def end(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def hear(self, port: int, data: bytes) -> None:
        if port == 0:
            return self._keys(data)
        *lines, self._lines[port] = (self._lines[port] + data).split(b"\n")
        for line in lines:
            self._order(line.decode()) if port == 3 else self._input(line)

    def _greet(self) -> None:
        if not self._greeted:
            self._greeted = True
            self.serial[0].output(b"Linux version 0.0 (fake)\r\n" + PROMPT)
            if self._agent:
                self.serial[3].output(b"ready 1\n")

    def _keys(self, data: bytes) -> None:
        for n in range(len(data)):
            key = data[n : n + 1]
            if key == b"\x03":
                self.serial[0].output(b"^C\r\n" + PROMPT)
                self._lines[0] = b""
            elif key == b"\x04" and not self._lines[0]:
                self.end(PoweredOff())
            elif key in b"\r\n":
                line, self._lines[0] = self._lines[0].decode(), b""
                self.serial[0].output(b"\r\n")
                self._shell(line)
            else:
                self._lines[0] += key
                self.serial[0].output(key)

    def _shell(self, line: str) -> None:
        match line.split():
            case ["poweroff"]:
                return self.end(PoweredOff())
            case ["reboot"]:
                return self.end(Reset())
            case ["panic"]:
                return self.end(Died("kernel panic: not syncing: asked for", "rip 1234"))
            case ["echo", *words]:
                self.serial[0].output(" ".join(words).encode() + b"\r\n")
            case ["crash"]:
                raise RuntimeError("the house burns")
        self.serial[0].output(PROMPT)

    def _order(self, line: str) -> None:
        match line.split(" ", 3):
            case ["run", number, _, script]:
                self._run(number, script.partition("set -- ")[2].replace("'", ""))
            case ["signal", "77", name]:
                self._exit(128 + {"INT": 2, "KILL": 9}[name])
            case ["size", rows, columns]:
                self.serial[0].output(f"[{rows} rows, {columns} columns]\r\n".encode())
            case ["poweroff"]:
                self.end(PoweredOff())

    def _run(self, number: str, command: str) -> None:
        self._command, self._number = command, number
        self.serial[3].output(f"start {number} 77\n".encode())
        match command.split():
            case ["both"]:
                self.serial[1].output(b"to stdout\n")
                self.serial[2].output(b"to stderr\n")
                self._exit(3)
            case ["both_and_wait"]:
                self.serial[1].output(b"to stdout\n")
            case ["missing"]:
                self._exit(127)
            case ["poweroff"]:
                self.end(PoweredOff())
            case ["panic"]:
                self.end(Died("kernel panic: not syncing: asked for", "rip 1234"))
            case ["stubborn"]:
                self._stubborn = True
                self.serial[1].output(b"to stdout\n")
            case ["flood_and_wait"]:
                self.serial[1].output(b"y\n" * 100_000)
            case ["flood"]:
                self.serial[1].output(b"y\n" * 100_000)
                self._exit(0)

    def _input(self, line: bytes) -> None:
        """Standard input of `cat`: the text of a chunk comes back; chunks of our tests are single lines."""
        if self._command != "cat" or line.startswith(b"stdin ") or not line:
            return
        if line == b"0":
            self._exit(0)
        elif not line.isdigit():
            self.serial[1].output(line + b"\n")

    def _exit(self, status: int) -> None:
        self.serial[3].output(f"exit {self._number} {status}\n".encode())


class FakeMemory:
    def __init__(self) -> None:
        self.bytes = bytearray(1 << 16)

    def read(self, address: int, count: int) -> bytes:
        if address + count > len(self.bytes):
            raise UserError("not all RAM")
        return bytes(self.bytes[address : address + count])

    def write(self, address: int, data: bytes) -> None:
        self.bytes[address : address + len(data)] = data


def created(agent: bool = True, **options: Any) -> Machine:
    """A machine on a fake board, that is off yet; further boards (after a reset) are fake too."""
    boards: list[FakeBoard] = []

    def make(parts: building.Parts, announce: building.Announce) -> FakeBoard:
        boards.append(FakeBoard(agent))
        return boards[-1]

    described = config("test", **options)
    made = Machine(described, building.Parts(described, None, None, ""), building.silent, make)
    made.boards = boards  # type: ignore[attr-defined]
    return made


def machine(agent: bool = True, *, timeout: float | None = None, **options: Any) -> Machine:
    """The same, running."""
    made = created(agent, **options)
    made.switch_on(timeout)
    return made


def soon(what: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it becomes true before long."""
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.005)
    return what()
