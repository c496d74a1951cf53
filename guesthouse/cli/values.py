"""What options take: sizes such as 512M, durations such as 60s, ports."""

from __future__ import annotations

import click

from guesthouse.errors import UserError
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


def port(text: str, option: str) -> int:
    """The number of a TCP port, as `option` names it."""
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise UserError(f"{option} names no port.", "Give one from 1 to 65535.", exit_status=2)
