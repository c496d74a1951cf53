"""What options take: sizes such as 512M, durations such as 60s."""

from __future__ import annotations

import click

from guesthouse.manager import units


class Size(click.ParamType[int]):
    """Bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = value if isinstance(value, int) else units.size(str(value))
        if found is None:
            self.fail(f"{value!r} is not a size: write {units.SIZES}.", param, ctx)
        return found


class Duration(click.ParamType[float]):
    """Seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = value if isinstance(value, float) else units.duration(str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration: write {units.DURATIONS}.", param, ctx)
        return found
