"""README's table of performance: speeds by group and architecture, and the machine they were measured on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.rows import LEAST, Part, shown, together
from bench.sides import ROOT

BEGINS, ENDS = "<!-- performance: written by `python -m bench table` -->\n", "<!-- end of performance -->\n"


def write(tables: dict[str, list[Part]], machine: dict[str, Any], way: str, file: Path = ROOT / "README.md") -> None:
    """Put the table between its marks."""
    text = file.read_text()
    if BEGINS not in text or ENDS not in text:
        raise ValueError(f"{file} has no marks where the table goes")
    before, rest = text.split(BEGINS)
    file.write_text(before + BEGINS + markdown(tables, machine, way) + ENDS + rest.split(ENDS)[1])


def markdown(tables: dict[str, list[Part]], machine: dict[str, Any], way: str) -> str:
    """A row for each group, a column for each architecture."""
    parts = {arch: {part.name: part for part in (*found, together(found))} for arch, found in tables.items()}
    names = list(dict.fromkeys(name for found in parts.values() for name in found))
    lines = [f"Speed of `--way {way}` against QEMU's TCG (2: in half the time), geometric means of medians:",
             "", f"| | {' | '.join(tables)} | target |", "|---" * (len(tables) + 2) + "|"]
    for name in names:
        found = [parts[arch].get(name) for arch in tables]
        targets = wanted({arch: part.target for arch, part in zip(tables, found, strict=True) if part})
        speeds = (shown(part.mean()) if part else "-" for part in found)
        lines.append(f"| {name} | {' | '.join(speeds)} | {targets} |")
    slow = ", ".join(f"{slowest(found)} on {arch}" for arch, found in tables.items() if slowest(found))
    if slow:
        lines += ["", f"The slowest item that computes: {slow}; it shall be at least {LEAST}."]
    versions = re.search(r"version ([\d.]+)", machine["qemu"])
    lines += ["", f"Measured on {machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, load"
              f" {machine['load']}, Python {machine['python']}, llvmlite {machine['llvmlite']},"
              f" QEMU {versions[1] if versions else 'none'}; [docs/benchmarks.md](docs/benchmarks.md) has the details.",
              ""]
    return "\n".join(lines)


def wanted(targets: dict[str, float | None]) -> str:
    """The target of a row, and for which architectures, if not for all."""
    whose = [arch for arch, target in targets.items() if target]
    told = " ".join(dict.fromkeys(f"{target:.3g}" for target in targets.values() if target))
    return f"{told} on {', '.join(whose)}" if 0 < len(whose) < len(targets) else told


def slowest(parts: list[Part]) -> str:
    rows = [row for row in together(parts).rows if row.speed()]
    worst = min(rows, key=lambda row: row.speed() or 0, default=None)
    return f"`{worst.name}` {shown(worst.speed())}" if worst else ""
