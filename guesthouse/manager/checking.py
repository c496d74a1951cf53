"""Whether the hot way does what the threaded way does: two machines in lockstep, one in each (`run --check`).

Both live in virtual time and hear nothing from outside, so that they must be the same after every slice: registers,
RAM, what they have sent. Regions come in only between two slices. Before each slice a fork of this process is put
aside; where the machines differ, it finds the first number of instructions after which they do, in forks of its own.
Not compared: the chips' registers, which only what the guest does can change.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from guesthouse.errors import UserError
from guesthouse.manager import building
from guesthouse.manager.config import Config
from guesthouse.system.boards.outcome import Died, OutOfTime, Outcome, Reset, Stopped
from guesthouse.engine.processor import Processor
from guesthouse.threads import begin
from guesthouse.typed import Struct

SLICE = 1 << 22  # instructions
# Fields that no guest can see: what is remembered of translations, and within an instruction.
UNSEEN = {"start", "large", "huge", "ea", "before", "wide", "vectors"}
WAYS = ("threaded", "hot")
SHOWN = 12  # differences


class Held:
    """The compiler of regions as a processor under test sees it: nothing comes while a slice runs."""

    def __init__(self, compiler: Any) -> None:
        self.compiler, self.shelf = compiler, compiler.shelf
        self.open = self.mute = False

    def send(self, job: Any, inbox: Any) -> None:
        if not self.mute:
            self.compiler.send(job, inbox)

    def hear(self) -> None:
        if self.open:
            self.compiler.hear()

    def leave(self, jobs: Any) -> None:
        if not self.mute:
            self.compiler.leave(jobs)


@dataclass(frozen=True)
class Verdict:
    """How far the two machines went, what ended them, and where they differ ([]: nowhere)."""

    instructions: int
    outcome: Outcome | None
    differences: list[str]


class Twins:
    """Two boards with the same guest."""

    def __init__(self, parts: building.Parts, announce: building.Announce, output: Callable[[bytes], object]) -> None:
        if not hasattr(os, "fork"):
            raise UserError("--check needs a host that can fork, such as Linux.", "Run it there.", exit_status=6)
        self.parts, self.announce, self.output, self.count = parts, announce, output, 0
        self.ended = False
        self.begin()

    def begin(self) -> None:
        self.sent: list[bytearray] = [bytearray(), bytearray()]
        self.boards: list[Any] = []
        for way, sent in zip(WAYS, self.sent):
            described = replace(self.parts.config, way=way, time="virtual")
            made = building.board(replace(self.parts, config=described), self.announce)
            made.serial[0].output = sent.extend
            self.boards.append(made)
        self.held = []
        for core in self.boards[1].cores:
            core.vcpu.regions.compiler = held = Held(core.vcpu.regions.compiler)
            core.vcpu.regions.clock = partial(executed, core.vcpu)
            self.held.append((core.vcpu.regions, held))

    def close(self) -> None:
        for board in self.boards:
            board.close()

    def stop(self) -> None:
        """From another thread: end the check."""
        self.ended = True
        for board in self.boards:
            board.stop()

    def run(self) -> Verdict:
        """Until the guest ends, someone calls stop(), or the two differ."""
        while not self.ended:
            self.take_regions()
            witness = Witness(self)
            before = self.boards[0].count()
            outcomes = self.advance(SLICE)
            if self.ended:
                witness.dismiss()
                break
            differences = self.differences(outcomes)
            if differences:
                return Verdict(self.count + before, None, witness.ask() or differences)
            witness.dismiss()
            self.output(bytes(self.sent[0]))
            for sent in self.sent:
                sent.clear()
            match outcomes[0]:
                case OutOfTime():
                    pass
                case Reset() if not self.boards[0].panic:
                    self.count += self.boards[0].count()
                    self.close()
                    self.begin()
                case outcome:
                    return Verdict(self.count + self.boards[0].count(), outcome, [])
        return Verdict(self.count + self.boards[0].count(), Stopped(), [])

    def take_regions(self) -> None:
        for regions, held in self.held:
            held.open = True
            regions.look()
            held.open = False

    def advance(self, instructions: int) -> list[Outcome]:
        return [board.run(instructions=instructions) for board in self.boards]

    def differences(self, outcomes: list[Outcome]) -> list[str]:
        """Where the two machines differ, in words."""
        one, other = self.boards
        found = []
        for what, mine, its in (("outcome", type(outcomes[0]).__name__, type(outcomes[1]).__name__),
                                ("instructions", one.count(), other.count()),
                                ("time", one.clock.now(), other.clock.now()), ("console", *self.sent)):
            if mine != its:
                found.append(f"{what}: {mine!r}, {its!r}")
        for n, (mine, its) in enumerate(zip(one.cores, other.cores)):
            found += [f"processor {n}: {line}" for line in fields_that_differ(mine.state, its.state)]
        return found + ram_that_differs(one.memory, other.memory)


class Witness:
    """This process as it was before a slice, put aside as a fork of it."""

    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        asked, self._ask = os.pipe()
        self._answer, answer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.close(self._ask)
                if os.read(asked, 1):
                    os.write(answer, json.dumps(self.find()).encode()[:60_000])
            finally:
                os._exit(0)
        os.close(asked)
        os.close(answer)

    def dismiss(self) -> None:
        os.close(self._ask)
        os.close(self._answer)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def ask(self) -> list[str]:
        """The first difference; [] if it does not come again, or all comes to an end there."""
        os.write(self._ask, b"?")
        told = b""
        while more := os.read(self._answer, 1 << 16):
            told += more
        self.dismiss()
        return list(json.loads(told)) if told else []

    # In the fork.

    def find(self) -> list[str]:
        """Bisect: how many instructions there are between being alike and not, each time from the beginning."""
        for _, held in self.twins.held:
            held.mute = True
        good, bad = 0, SLICE
        if not self.after(bad):
            return []
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (good, middle) if self.after(middle) else (middle, bad)
        count = self.twins.count + self.twins.boards[0].count()
        return [f"after {count + good:,} instructions they agree, after {count + bad:,} not (threaded, hot):",
                *self.after(bad), *self.after(good, report=True)]

    def after(self, instructions: int, report: bool = False) -> list[str]:
        """The differences after so many; or a report of where the two stand. Whoever ends there tells that."""
        answer, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                stand: list[Outcome] = [OutOfTime(), OutOfTime()]
                outcomes = self.twins.advance(instructions) if instructions else stand
                found = self.twins.differences(outcomes)[:SHOWN]
                if report:
                    found = str(self.twins.boards[0].report("before the first difference")).splitlines()
                os.write(told, json.dumps(found).encode()[:60_000])
            finally:
                os._exit(0)
        os.close(told)
        data = b""
        while more := os.read(answer, 1 << 16):
            data += more
        os.close(answer)
        os.waitpid(pid, 0)
        return list(json.loads(data)) if data else ["the process ended"]


def executed(vcpu: Any) -> int:
    """A clock by which a slice that is run again has its looks where it had them."""
    return int(vcpu.count)


def fields_that_differ(one: Any, other: Any) -> list[str]:
    """Of two processors' states; what belongs to the engine alone is left out."""
    found = []
    for name, (at, size) in type(one).beyond(Struct).items():
        if name == "pc" or name not in Processor.fields and name not in UNSEEN:
            mine, its = (ctypes.string_at(state.where + at, size) for state in (one, other))
            if mine != its:
                found.append(f"{name}{first_word(mine, its)}")
    return found


def ram_that_differs(one: Any, other: Any) -> list[str]:
    """The first words, at most one of a MiB."""
    found, step = [], 1 << 20
    compare = ctypes.CDLL(None).memcmp
    compare.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
    if not compare(one.host, other.host, one.size):
        return []
    for at in range(0, one.size, step):
        count = min(step, one.size - at)
        if compare(one.host + at, other.host + at, count):
            mine, its = (ctypes.string_at(memory.host + at, count) for memory in (one, other))
            found.append(f"RAM at {at:#x}{first_word(mine, its)}")
    return found[:SHOWN]


def first_word(one: bytes, other: bytes) -> str:
    at = next(n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b) & ~7
    mine, its = (int.from_bytes(octets[at:at + 8], "little") for octets in (one, other))
    return f"+{at:#x}: {mine:#x}, {its:#x}"


def check(described: Config, extra: str, timeout: float | None, announce: building.Announce,
          output: Callable[[bytes], object]) -> Verdict:
    """Run a guest both ways, side by side."""
    if described.parallel or described.persist or described.way == "plain":
        raise UserError("--check is for the hot way, in virtual time, and writes no file.",
                        "Leave --parallel, --persist and --way plain away.", exit_status=2)
    twins = Twins(building.parts(described, extra, announce), announce, output)
    over: SimpleQueue[None] = SimpleQueue()

    def stop_in_time() -> None:
        try:
            over.get(timeout=timeout)
        except Empty:
            twins.stop()

    if timeout:
        begin(stop_in_time)
    try:
        return twins.run()
    finally:
        over.put(None)
        twins.close()


def why_ended(outcome: Outcome | None) -> str:
    return "died: " + outcome.reason if isinstance(outcome, Died) else type(outcome).__name__
