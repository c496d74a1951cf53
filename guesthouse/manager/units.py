"""Sizes and durations as people write them: 512M, 90s."""

from __future__ import annotations

import re

UNITS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = "a number with K, M or G, as in 512M (a bare number is MiB)"
DURATIONS = "a number with ms, s, m or h, as in 60s (a bare number is seconds)"


def size(text: str) -> int | None:
    """Bytes, or None if this is not a size."""
    found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    return int(found[1]) * UNITS[found[2].upper()] if found and int(found[1]) else None


def duration(text: str) -> float | None:
    """Seconds, or None if this is not a duration."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text.strip(), re.ASCII)
    return float(found[1]) * SECONDS[found[2]] if found and float(found[1]) else None


def size_text(count: int) -> str:
    """A size as people read it: 24.3 MiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
