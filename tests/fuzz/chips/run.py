"""The loop: random accesses, time, the host's side and traffic; now and then a twin that goes the same way."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.fuzz.chips.subject import STEPS, Broken, Subject, must

TOGETHER, APART = 12, 220  # turns that a twin goes along; turns between two twins


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What takes longer hangs."""
    def hangs(*_: object) -> None:
        raise Broken("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(kind: type[Subject], operations: int, seed: object) -> int:
    """So many operations on one chip; says how many blocks of memory the second half has left behind."""
    subject, half = kind(), 0
    subject.rng.seed(str(seed))
    wakes_up(kind)
    while subject.operations < operations:
        for _ in range(APART):
            turn(subject)
        goes_the_same_way(subject)
        resets(subject)
        if not half and subject.operations > operations // 2:
            half = sys.getallocatedblocks()
    return sys.getallocatedblocks() - half


def turn(subject: Subject) -> None:
    rng = subject.rng
    subject.told.clear()
    subject.seen.clear()
    what = rng.random()
    if what < 0.5:
        subject.access()
    elif what < 0.62:
        subject.pass_time(rng.choice(STEPS), late=rng.random() < 0.3)
    elif what < 0.72:
        subject.operations += 1
        subject.poke()
        subject.compare()
    elif what < 0.80 and subject.WRITABLE:
        subject.registers()
    elif subject.sequences:
        rng.choice(subject.sequences)()
        subject.check()
    else:
        subject.access()


def wakes_up(kind: type[Subject]) -> None:
    """A chip that was switched on, and one that was reset, read as the data sheet says."""
    for again in (False, True):
        subject = kind()
        if again:
            subject.chip.reset()
        for (of, offset, size), value in kind.AFTER_RESET.items():
            found = subject.read(offset, size, of)
            must(found == value, "after reset", of, hex(offset), "reads", hex(found), "not", hex(value))


def goes_the_same_way(subject: Subject) -> None:
    """What is restored has the state, the lines and the deadline, and the same future."""
    subject.sound()
    twin = subject.twin()
    equal(subject, twin, "restored")
    twin.rng.setstate(subject.rng.getstate())
    twin.operations = subject.operations
    for _ in range(TOGETHER):
        for one in (subject, twin):
            turn(one)
        must(subject.seen == twin.seen, "a restored chip answers", twin.seen, "not", subject.seen)
        must(subject.told == twin.told, "a restored chip tells", twin.told[:9], "not", subject.told[:9])
    equal(subject, twin, "later")
    must(subject.memory.bytes == twin.memory.bytes, "a restored chip writes other memory")
    must(all(twin.disks[name].bytes == disk.bytes for name, disk in subject.disks.items()), "other sectors")


def equal(one: Subject, other: Subject, when: str) -> None:
    mine, its = one.chip.save(), other.chip.save()
    must(mine == its, when, differences(mine, its))
    must(one.levels() == other.levels(), when, "lines", one.levels(), other.levels())
    must(one.clock.next_deadline() == other.clock.next_deadline(), when, "deadlines",
         one.clock.next_deadline(), other.clock.next_deadline())


def differences(one: dict[str, Any], other: dict[str, Any], under: str = "") -> list[str]:
    found: list[str] = []
    for name in one.keys() | other.keys():
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{under}{name}.")
        elif a != b:
            found.append(under + name)
    return sorted(found)


def resets(subject: Subject) -> None:
    """After a reset a chip is as a new one, but for what it is told to keep."""
    used, fresh = subject.twin(), type(subject)()
    used.chip.reset()
    fresh.clock.restore(subject.clock.save())
    fresh.adopt(subject)
    fresh.chip.reset()
    left = set(differences(used.chip.save(), fresh.chip.save())) - subject.KEPT
    must(not left, "a reset forgets", sorted(left))
    used.settled()
