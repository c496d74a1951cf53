"""The processors of a board, and whose turn it is.

Where there are several, they take turns on one thread of the host: a turn is a number of instructions, or less if
the processor halts or says that it only waits for another (PAUSE). All of that is counted in instructions, so that a
run in virtual time is repeatable. design/001-several-processors.md tells why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from guesthouse.engine.sharing import PROCESSORS
from guesthouse.engine.vcpu import Vcpu
from guesthouse.errors import UserError
from guesthouse.typed import Struct

TURN = 1 << 16  # instructions that a processor may execute while others wait
PATIENCE = 2000  # ... and at least, before a PAUSE ends its turn: going round costs as much


@dataclass
class Core:
    """One processor, and what the board knows of it."""

    number: int
    vcpu: Vcpu
    halted: bool = False
    parked: bool = False  # does not run until it is started (x86: waits for SIPI)
    turn: int = TURN  # instructions left of its turn
    pace: int = 1024  # its state's
    interrupted: bool = False  # x86: INTR is high
    patient_until: int = PATIENCE  # guest time from which on a PAUSE ends it
    events: deque[Callable[[], object]] = field(default_factory=deque)  # what has to happen to it before it goes on
    state: Any = None
    raw: Any = None  # the same, whose integers are Python's: what is looked at at each exit

    def __post_init__(self) -> None:
        self.state = self.vcpu.state
        self.raw = self.state.raw() if isinstance(self.state, Struct) else self.state

    def do_events(self) -> None:
        while self.events:
            self.events.popleft()()


def checked_count(count: int) -> int:
    if not 1 <= count <= PROCESSORS:
        raise UserError(f"A machine cannot have {count} processors.", f"Give it 1 to {PROCESSORS}.")
    return count
