"""Bugs on purpose: a module of the chips is loaded with its source changed, in a child process alone."""

from __future__ import annotations

import importlib.abc
import importlib.util
import multiprocessing
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from guesthouse.system import chips

ROOT = Path(chips.__path__[0])
FORGOTTEN = (
    "guesthouse.system.chips",
    "tests.fuzz.chips.subject",
    "tests.fuzz.chips.run",
    "tests.fuzz.chips.catalogue",
    "tests.chips",
)
SECONDS, WORKERS = 90, 2


class Mutant(NamedTuple):
    name: str
    module: str  # dotted, within the chips
    source: str
    operations: int  # of each fuzzer that reaches the module


class Verdict(NamedTuple):
    name: str
    found: bool
    how: str  # who complained, or what went wrong otherwise


def path_of(module: str) -> Path:
    return ROOT / (module.replace(".", "/") + ".py")


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module, with another source."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = f"{chips.__name__}.{module}", source

    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.module else None

    def create_module(self, spec):
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.module, "exec", dont_inherit=True), module.__dict__)


def hunt(mutant: Mutant) -> Verdict:
    """To be called in a process that has nothing else to do."""
    for name in [name for name in sys.modules if name.startswith(FORGOTTEN)]:
        del sys.modules[name]
    sys.meta_path.insert(0, Changed(mutant.module, mutant.source))
    try:
        from tests.fuzz.chips.catalogue import SUBJECTS, reached
        from tests.fuzz.chips.run import deadline, fuzz
    except Exception:
        return Verdict(mutant.name, False, "it cannot be imported: " + traceback.format_exc(limit=-1))
    module = f"{chips.__name__}.{mutant.module}"
    for name, kind in SUBJECTS.items():
        try:
            with deadline(SECONDS):
                if any(belongs(one.__module__, module) for one in reached(kind)):
                    fuzz(kind, mutant.operations, name)
        except Exception as complaint:
            return Verdict(
                mutant.name,
                True,
                f"{name}: {type(complaint).__name__} {' '.join(map(str, complaint.args))}"[:200],
            )
    return Verdict(mutant.name, False, "nobody complains")


def belongs(mine: str, module: str) -> bool:
    """A class's module is the changed one, or stands in one package with it if that has no class."""
    package = module.rpartition(".")[0]
    return (
        mine == module
        or package != chips.__name__
        and mine.startswith(package + ".")
        and not has_chips(module)
    )


def has_chips(module: str) -> bool:
    from guesthouse.system.chips.kit import Stateful

    return any(isinstance(one, type) and issubclass(one, Stateful) and one.__module__ == module
               for one in vars(sys.modules[module]).values())


def hunt_all(mutants: Iterable[Mutant]) -> list[Verdict]:
    with multiprocessing.get_context("fork").Pool(WORKERS, maxtasksperchild=1) as pool:
        return pool.map(hunt, mutants, chunksize=1)
