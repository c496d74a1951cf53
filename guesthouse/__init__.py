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
    from guesthouse.manager.machine import Completed, GuestDied, Machine

__version__ = "0.1.0"
__all__ = [
    "Completed", "ConfigError", "DefinitionError", "GuestDied", "GuesthouseError", "HouseBug", "ImageError",
    "Machine", "NoSuchThing", "NotSupportedHere", "TimedOut", "UserError", "WrongState", "__version__",
]

_IN_MACHINE = ("Completed", "GuestDied", "Machine")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'guesthouse' has no attribute {name!r}")
    import importlib

    module = "guesthouse.manager.machine" if name in _IN_MACHINE else "guesthouse.errors"
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
