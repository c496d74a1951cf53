"""guesthouse: whole computers and single programs as guests, in Python.

Names are loaded when they are first used, so that `import guesthouse` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guesthouse.errors import (
        ConfigError, DefinitionError, GuesthouseError, HouseBug, ImageError, NoSuchThing, NotSupportedHere,
        TimedOut, UserError, WrongState,
    )
    from guesthouse.manager.machine import Machine
    from guesthouse.manager.outcome import CommandFailed, Completed, GuestDied, GuestGone, GuestHung

__version__ = "0.1.0"
__all__ = [
    "CommandFailed", "Completed", "ConfigError", "DefinitionError", "GuestDied", "GuestGone", "GuestHung",
    "GuesthouseError", "HouseBug", "ImageError", "Machine", "NoSuchThing", "NotSupportedHere", "TimedOut",
    "UserError", "WrongState", "__version__",
]

_OUTCOMES = ("CommandFailed", "Completed", "GuestDied", "GuestGone", "GuestHung")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'guesthouse' has no attribute {name!r}")
    import importlib

    room = "manager.machine" if name == "Machine" else "manager.outcome" if name in _OUTCOMES else "errors"
    return getattr(importlib.import_module(f"guesthouse.{room}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
