"""Which room may import which: a room sees the floors below it and itself, never its neighbours or above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "guesthouse"

FLOORS = (
    {"bits", "errors"},
    {"clock", "threads", "trace"},
    {"typed", "storage", "network", "display"},
    {"engine", "images"},
    {"system", "process"},
    {"manager"},
    {"cli", "web"},
)
# The rooms of the system wing, in the same way. What only a board may put together does not see each other.
SYSTEM = (
    {"cpu", "memory", "chips"},
    {"firmware"},
    {"boards"},
)
DOORS = {"__init__", "__main__"}  # the package's own face, which leads to every room
SHARED_BY_CHIPS = {"kit", "pci.function", "pci.msi"}  # what chips are made of; a folder's own files see each other too

ROOM = {room: level for level, floor in enumerate(FLOORS) for room in floor}
WING = {room: level for level, floor in enumerate(SYSTEM) for room in floor}


def breaches(package: Path) -> list[str]:
    """Every import that looks up or sideways: `file:line: who may not import whom`."""
    found = []
    for file in sorted(package.rglob("*.py")):
        inside = file.relative_to(package).with_suffix("").parts
        if inside[0] in DOORS:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            found += [f"{file}:{node.lineno}: {why}" for name in imported(node, package, inside)
                      if (why := breach(inside, tuple(name.split("."))))]
    return found


def breach(who: tuple[str, ...], whom: tuple[str, ...]) -> str | None:
    """Why the file `who` may not import the module or name `whom`, if so; both without the package's name."""
    if who[0] not in ROOM or whom[0] not in ROOM:
        return f"no such room: {who[0] if who[0] not in ROOM else whom[0]}"
    if who[0] != whom[0]:
        return f"{who[0]} may not import {whom[0]}" if ROOM[whom[0]] >= ROOM[who[0]] else chips_need(who, whom)
    if who[0] != "system" or len(whom) < 2 or who[1] == "__init__":
        return None
    if who[1] not in WING or whom[1] not in WING:
        return f"no such room: system.{who[1] if who[1] not in WING else whom[1]}"
    if who[1] != whom[1]:
        sideways = WING[whom[1]] >= WING[who[1]]
        return f"system.{who[1]} may not import system.{whom[1]}" if sideways else None
    return between_chips(who[2:], whom[2:]) if who[1] == "chips" else None


def chips_need(who: tuple[str, ...], whom: tuple[str, ...]) -> str | None:
    """A chip gets collaborators: of what lies below, it never sees the engine that runs the guest."""
    if who[:2] == ("system", "chips") and whom[0] in ("engine", "images"):
        return f"chips may not import {whom[0]}"
    return None


def between_chips(who: tuple[str, ...], whom: tuple[str, ...]) -> str | None:
    name = ".".join(whom)
    if any(name == shared or name.startswith(shared + ".") for shared in SHARED_BY_CHIPS):
        return None
    if len(who) > 1 and len(whom) > 1 and who[0] == whom[0] or not whom:
        return None
    if whom[0].startswith(f"{who[0]}_"):
        return None  # a part of the same chip
    return f"chip {'.'.join(who)} may not import {name}"


def imported(node: ast.AST, package: Path, inside: tuple[str, ...]) -> Iterator[str]:
    """The dotted names of ours that this statement brings in, relative ones spelled out, without the package's."""
    own = package.name
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = [own, *inside][: len(inside) + 1 - node.level] if node.level else []
        start = ".".join([*base, *filter(None, [node.module])])
        names = [member(package, start, alias.name) for alias in node.names]
    else:
        names = []
    for name in names:
        if name.startswith(own + ".") and name != own + ".__version__":
            yield name.removeprefix(own + ".")


def member(package: Path, module: str, name: str) -> str:
    """`from module import name`: a module if there is one of that name (or none can be found), else a name in it."""
    place = package.parent.joinpath(*module.split("."))
    return module if place.with_suffix(".py").exists() else f"{module}.{name}"


def test_nothing_in_the_house_looks_up_or_sideways() -> None:
    assert breaches(PACKAGE) == []


def write(root: Path, **files: str) -> list[str]:
    for path, text in files.items():
        file = root / "guesthouse" / (path.replace("__", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return breaches(root / "guesthouse")


def test_looking_down_is_fine(tmp_path: Path) -> None:
    assert write(tmp_path, engine__loop="from guesthouse.typed import compile",
                 system__cpu__x86__alu="import guesthouse.bits") == []


def test_looking_up_is_not(tmp_path: Path) -> None:
    (line,) = write(tmp_path, engine__loop="from guesthouse.system import memory")
    assert line.endswith("engine/loop.py:1: engine may not import system")


def test_neighbours_do_not_see_each_other(tmp_path: Path) -> None:
    (line,) = write(tmp_path, typed__lower="import guesthouse.storage.raw")
    assert line.endswith("typed may not import storage")


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    (line,) = write(tmp_path, clock="def now():\n    from guesthouse import manager")
    assert line.endswith("clock.py:2: clock may not import manager")


def test_an_unknown_room_is_named(tmp_path: Path) -> None:
    (line,) = write(tmp_path, cli__main="import guesthouse.utils")
    assert line.endswith("no such room: utils")
    *_, line = write(tmp_path, system__common="import guesthouse.system.memory")
    assert line.endswith("no such room: system.common")


def test_a_chip_sees_the_kit_and_no_other_chip(tmp_path: Path) -> None:
    kit = {"system__chips__kit": "class Chip: ..."}
    assert write(tmp_path, **kit, system__chips__rtc="from guesthouse.system.chips.kit import Chip") == []
    (line,) = write(tmp_path, system__chips__rtc="from guesthouse.system.chips.uart import Uart")
    assert line.endswith("chip rtc may not import uart.Uart")


def test_a_chip_sees_neither_boards_nor_engine(tmp_path: Path) -> None:
    up, engine = write(tmp_path, system__chips__rtc="from guesthouse.system.boards import pc",
                       system__chips__pit="from guesthouse.engine.vcpu import Exit")
    assert up.endswith("chips may not import engine")
    assert engine.endswith("system.chips may not import system.boards")


def test_files_of_one_folder_of_chips_see_each_other(tmp_path: Path) -> None:
    assert write(tmp_path, system__chips__virtio__rng="from guesthouse.system.chips.virtio.device import Device",
                 system__chips__virtio__pci="from guesthouse.system.chips.pci.function import Function") == []


def test_a_chip_sees_a_part_of_it_that_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert write(tmp_path, system__chips__uart="from guesthouse.system.chips.uart_sending import Sending") == []
    (line,) = write(tmp_path, system__chips__rtc="from guesthouse.system.chips.uart_sending import Sending")
    assert line.endswith("chip rtc may not import uart_sending.Sending")


def test_relative_imports_are_seen_through(tmp_path: Path) -> None:
    assert write(tmp_path, system__chips__rtc="from .kit import Chip") == []
    (line,) = write(tmp_path, system__chips__rtc="from ..boards import pc")
    assert line.endswith("system.chips may not import system.boards")
    (line,) = write(tmp_path, system__chips__rtc="from . import uart")
    assert line.endswith("chip rtc may not import uart")
