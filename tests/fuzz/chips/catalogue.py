"""All subjects by name, and which classes of chips they reach."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from guesthouse.system import chips
from guesthouse.system.chips import kit
from tests.fuzz.chips.subject import Subject, walk


def subjects() -> dict[str, type[Subject]]:
    """What the files in subjects/ have."""
    found: dict[str, type[Subject]] = {}
    for file in sorted((Path(__file__).parent / "subjects").glob("*.py")):
        found |= importlib.import_module(f"tests.fuzz.chips.subjects.{file.stem}").SUBJECTS
    return found


SUBJECTS = subjects()


def chip_classes() -> set[type]:
    """Every class with state that the package defines."""
    found: set[type] = set()
    for info in pkgutil.walk_packages(chips.__path__, chips.__name__ + "."):
        module = importlib.import_module(info.name)
        found |= {
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, kit.Stateful) and thing.__module__ == info.name
        }
    return found


def reached(kind: type[Subject]) -> set[type]:
    """The classes of what a subject builds, of what that has as parts or attributes, their bases and typed states."""
    def parts(chip: Any) -> list[Any]:
        return [
            one
            for part in walk(chip)
            for one in (part, *part.__dict__.values())
            if isinstance(one, kit.Stateful)
        ]

    subject = kind()
    built = [one for part in parts(subject.chip) for one in parts(part)]
    built += [one for one in subject.__dict__.values() if isinstance(one, kit.Stateful)]
    classes = {base for one in (*map(type, built), *kind.COVERS) for base in one.__mro__}
    return classes | {typed for one in classes if (typed := getattr(one, "TYPED", None)) is not None}
