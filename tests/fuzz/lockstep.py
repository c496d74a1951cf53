"""Runs the same random machine in two ways, step by step, and finds the first instruction after which they
differ.

A `World` is one processor with its memory; two worlds of the same kind and seed are alike in all but the
way they run. Everything that happens to one from outside comes from its own generator of random numbers,
seeded alike.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from guesthouse.engine.build import Engine
from guesthouse.engine.hot.job import Job
from guesthouse.engine.hot.workshop import Inside
from guesthouse.engine.hot.regions import Regions
from guesthouse.engine.hot.shelf import Part, Shelf
from guesthouse.engine.op import Guest
from guesthouse.engine.processor import Processor
from guesthouse.engine.soft import SoftVcpu
from guesthouse.engine.vcpu import Asks, Died, Exit, HostCall, RegisterRead, RegisterWrite, Window
from guesthouse.system.memory import Memory
from guesthouse.typed import Struct

M64 = (1 << 64) - 1
BUDGETS = (1, 2, 3, 5, 8, 20, 30, 40, 64, 65, 66)


class Life(Protocol):
    """What a guest contributes: its memory, how a run begins, what comes from outside between two runs, and
    whether it is where no code of interest is."""

    guest: Guest
    unseen: frozenset[str]  # fields that no guest can see and that depend on the way
    budgets: tuple[int, ...]  # of which each run has one

    def memory(self, chance: random.Random) -> Memory: ...

    def begin(self, state: Any, chance: random.Random) -> None: ...

    def disturb(self, state: Any, memory: Memory, chance: random.Random) -> None: ...

    def lost(self, state: Any) -> bool: ...

    def interrupt(self, vcpu: SoftVcpu, chance: random.Random) -> None: ...

    def show(self, state: Any, memory: Memory) -> str: ...


@dataclass(frozen=True)
class Fields:
    """The fields of a state that both ways must agree about: those of the guest, and pc."""

    places: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, life: Life) -> Fields:
        found = [(name, *place) for name, place in life.guest.state.beyond(Struct).items()
                 if name == "pc" or name not in {*Processor.fields, "start"} | life.unseen]
        return cls(tuple(found))

    def snapshot(self, state: Any) -> list[bytes]:
        return [ctypes.string_at(state.where + at, size) for _, at, size in self.places]


class Regional(Inside):
    """Compiles regions for many worlds, which do not know of each other's: each world alone is the same again."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(guest)
        self.made: dict[str, list[Part]] = {}

    def again(self) -> Regional:
        self.shelf = Shelf(None)
        return self

    def send(self, job: Job, inbox: list[tuple[str, list[Part]]]) -> None:
        if job.name not in self.made:
            self.made[job.name] = self.workshop.make(job)
        for part in self.made[job.name]:
            self.shelf.add(part)
        inbox.append((job.name, self.made[job.name]))


@dataclass(frozen=True)
class Way:
    """How a world runs: plain without an engine, threaded with one, hot with stencils and a compiler of regions too."""

    engine: Engine | None = None
    compiler: Regional | None = None

    def of(self, vcpu: SoftVcpu) -> Any:
        if not self.engine or not self.compiler:
            return None
        vcpu.put_together(self.engine)
        return Regions(self.engine, vcpu.state, self.compiler.again())


class World:
    """One processor that runs in one way."""

    def __init__(self, life: Life, seed: int, way: Way) -> None:
        self.life, self.chance = life, random.Random(seed)
        self.memory = life.memory(self.chance)
        self.vcpu = SoftVcpu(life.guest, way.engine)
        self.state = self.vcpu.state
        self.memory.install(self.state)
        self.regions = way.of(self.vcpu)
        self.stuck = False
        life.begin(self.state, self.chance)
        self.fields = Fields.of(life)

    def disturb(self) -> int:
        """Something happens to the processor while it stands; returns how far it may run then."""
        if not self.vcpu.unfinished and self.chance.random() < 0.3:
            self.life.disturb(self.state, self.memory, self.chance)
        return self.chance.choice(self.life.budgets)

    def run(self, budget: int) -> Exit:
        count, faults = self.vcpu.count, int(self.state.faults)
        exit = self.vcpu.run(budget)
        if self.regions is not None:
            self.regions.look()
        self.stuck = 8 * (int(self.state.faults) - faults) > max(16, self.vcpu.count - count)
        return exit

    def answer(self, exit: Exit) -> None:
        """The same answer for the same question at the same time."""
        if isinstance(exit, (RegisterRead, RegisterWrite)) and self.chance.random() < 0.5:
            exit.refuse()
        elif isinstance(exit, Asks):
            exit.reply(self.chance.choice((0, 1, M64, self.chance.getrandbits(64))))
        elif isinstance(exit, Window):
            self.life.interrupt(self.vcpu, self.chance)
        elif isinstance(exit, HostCall):
            self.state.x[10] = type(self.state.x[10])(self.chance.getrandbits(64))
        elif isinstance(exit, Died):
            self.life.begin(self.state, self.chance)
        elif (self.stuck or self.life.lost(self.state)) and not self.vcpu.unfinished:
            self.life.begin(self.state, self.chance)

    def ram(self) -> bytes:
        return b"".join(self.memory.read(r.start, r.length) for r in self.memory.ranges)

    def close(self) -> None:
        self.memory.close()


@dataclass(frozen=True)
class Pair:
    """Two worlds that should be alike."""

    one: World
    other: World

    def advance(self) -> tuple[int, Exit, Exit]:
        """Disturb both and let both run; the budget, and why each came back."""
        budget = self.one.disturb()
        self.other.disturb()
        return budget, self.one.run(budget), self.other.run(budget)

    def answer(self, one: Exit, other: Exit) -> None:
        self.one.answer(one)
        self.other.answer(other)

    def differences(self) -> list[str]:
        """Where the two differ, in words."""
        found = []
        if self.one.vcpu.count != self.other.vcpu.count:
            found.append(f"instructions: {self.one.vcpu.count}, {self.other.vcpu.count}")
        if self.one.state.faults != self.other.state.faults:
            found.append(f"faults: {self.one.state.faults}, {self.other.state.faults}")
        fields = self.one.fields
        mine, its = fields.snapshot(self.one.state), fields.snapshot(self.other.state)
        if mine != its:
            found += [f"{name}{where(a, b)}"
                      for (name, _, _), a, b in zip(fields.places, mine, its) if a != b]
        mine, its = self.one.ram(), self.other.ram()
        if mine != its:
            found.append(f"RAM{where(mine, its)}")
        return found

    def close(self) -> None:
        self.one.close()
        self.other.close()


def where(one: bytes, other: bytes) -> str:
    """The first word of two byte strings that differs."""
    at = next(n for n, (a, b) in enumerate(zip(one, other)) if a != b) & ~7
    mine, its = (int.from_bytes(x[at:at + 8], "little") for x in (one, other))
    return f"+{at:#x}: {mine:#x}, {its:#x}"


def first_difference(life: Life, seed: int, ways: tuple[Way, Way], steps: int) -> tuple[str, int, int]:
    """What the two ways disagree about ("": nothing), how many instructions were compared, and how many regions were
    put in."""
    pair = Pair(World(life, seed, ways[0]), World(life, seed, ways[1]))
    try:
        for step in range(steps):
            budget, one, other = pair.advance()
            found = ([f"exit: {one}, {other}"] if one != other else []) + pair.differences()
            if found:
                return "\n".join([f"seed {seed}, step {step}, budget {budget}:", *found,
                                  *culprit(life, seed, ways, step, budget)]), pair.one.vcpu.count, installed(pair)
            pair.answer(one, other)
        return "", pair.one.vcpu.count, installed(pair)
    finally:
        pair.close()


def installed(pair: Pair) -> int:
    return sum(world.regions.installed for world in (pair.one, pair.other) if world.regions is not None)


def culprit(life: Life, seed: int, ways: tuple[Way, Way], step: int, budget: int) -> list[str]:
    """The instruction before which the two still agree, if the last run is cut into ever shorter ones."""
    def at(count: int, look: Callable[[Pair], Any]) -> Any:
        pair = Pair(World(life, seed, ways[0]), World(life, seed, ways[1]))
        try:
            for _ in range(step):
                _, one, other = pair.advance()
                pair.answer(one, other)
            pair.one.disturb()
            pair.other.disturb()
            if count:
                pair.one.run(count)
                pair.other.run(count)
            return look(pair)
        finally:
            pair.close()

    good, bad = 0, budget
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if at(middle, Pair.differences) else (middle, bad)
    shown = at(good, lambda pair: life.show(pair.one.state, pair.one.memory))
    return [f"after {good} instructions they agree, after {bad} not: {shown}", *at(bad, Pair.differences)]
