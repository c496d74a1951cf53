"""The report of a bug of ours: what happened where, on which versions. Kept in the user's state folder."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path

from guesthouse import __version__
from guesthouse.errors import HouseBug


def describe(wrong: BaseException) -> str:
    """What happened, in a few lines."""
    where = traceback.extract_tb(wrong.__traceback__)
    at = f" (in {Path(where[-1].filename).name}:{where[-1].lineno}, {where[-1].name})" if where else ""
    kind = "" if isinstance(wrong, HouseBug) else f"{type(wrong).__name__}: "
    return f"{kind}{wrong}{at}\n{versions()}"


def versions() -> str:
    """guesthouse, Python, llvmlite, system and processor on one line."""
    try:
        llvmlite = metadata.version("llvmlite")
    except metadata.PackageNotFoundError:
        llvmlite = "none"
    return (f"guesthouse {__version__}, Python {platform.python_version()}, llvmlite {llvmlite},"
            f" {platform.system()} {platform.release()} {platform.machine()}")


def state_folder() -> Path:
    """The XDG base directory specification's state, ours in it."""
    xdg = os.environ.get("XDG_STATE_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else Path("~/.local/state").expanduser()) / "guesthouse"


def keep(wrong: BaseException) -> Path | None:
    """Write the whole report to disk; None if that is not possible either."""
    try:
        folder = state_folder() / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        lines = [describe(wrong), "", "command: " + " ".join(sys.argv), "", *traceback.format_exception(wrong)]
        file.write_text("\n".join(lines))
        return file
    except OSError:
        return None
