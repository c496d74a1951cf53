"""Compiled code of a chip that is used too often for exits: methods of its typed state, which processors then call
themselves (cpu.py, ChipWindow). The text is the chip's own, the same in every way.
"""

import ctypes
import hashlib
import inspect
from functools import lru_cache
from pathlib import Path
from typing import Any

from guesthouse.bits import u64
from guesthouse.engine import build
from guesthouse.errors import HouseBug
from guesthouse.typed.machine import Code, assemble, identity

ENTRIES = {f"{door}{name}": arguments for door in ("", "port_", "control_")  # besides the chip
           for name, arguments in (("read", ("offset", "size")), ("write", ("offset", "size", "value")))}


class ChipCode:
    """The entries that a chip has can be called from Python with the state's address; where they lie is for
    processors."""

    def __init__(self, data: bytes, entries: list[str]) -> None:
        self._code = Code([data])
        for name in entries:
            types = ctypes.c_uint64, ctypes.c_void_p, *[ctypes.c_uint64] * len(ENTRIES[name])
            setattr(self, name, self._code.function(name, *types))
        self.places = {name: self._code.address(name) for name in entries}


@lru_cache(maxsize=None)
def chip_code(chip: Any, cache: Path | None = None) -> ChipCode:
    """The code of a typed struct, the same for all chips of that kind: from the cache, or compiled now, and kept if the
    cache can be written."""
    path = None if cache is None else cache / "pieces" / key(chip)
    found = None if path is None else build.read(path)
    if found is None:
        found = [assemble(text(chip))]
        if path is not None and path.parent.is_dir():
            build.write(path, found)
    return ChipCode(found[0], entries(chip))


def entries(chip: Any) -> list[str]:
    return [name for name in ENTRIES if hasattr(chip, name)]


def key(chip: Any) -> str:
    """Under which the object is kept: what it is made from, and by what."""
    digest = hashlib.sha256(identity().encode())
    for file in (*build.source_files("guesthouse.bits"), *build.source_files("guesthouse.typed"), __file__,
                 inspect.getfile(chip)):
        digest.update(Path(file).read_bytes())
    return f"{chip.__name__}-{digest.hexdigest()[:24]}"


def text(chip: Any) -> str:
    """The entries as LLVM IR."""
    from guesthouse.typed.emit import Unit  # only now: not needed where the cache has the code
    from guesthouse.typed.lower import compile_function
    from guesthouse.typed.values import Ref, Scalar

    unit = Unit()
    for name in entries(chip):
        pattern = {"self": Ref(chip, "%a0")}
        pattern |= {argument: Scalar(u64, f"%a{n}") for n, argument in enumerate(ENTRIES[name], 1)}
        if compile_function(unit, getattr(chip, name), pattern, f"@{name}").raises:
            raise HouseBug(f"{chip.__name__}.{name} could be abandoned, and nobody would hear of it")
    return unit.text()
