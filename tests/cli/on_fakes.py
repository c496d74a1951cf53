"""The command line on fake machines: run as a program by the tests of this folder, with `guesthouse`'s arguments."""

from __future__ import annotations

from typing import Any

from guesthouse.cli.main import main
from guesthouse.manager.machine import Machine
from tests.manager import fakes


def of(described: object, *, extra: str = "", timeout: float | None = None, announce: object = None) -> Machine:
    agent = "--no-agent" not in str(getattr(described, "append", ""))
    return fakes.machine(agent, timeout=timeout)


if __name__ == "__main__":
    made: Any = Machine
    made.of = of
    main()
