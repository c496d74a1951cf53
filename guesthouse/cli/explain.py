"""`guesthouse explain`: an instruction's bytes, its decoding, its definition, and what the compiler makes of it."""

from __future__ import annotations

import json as as_json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from guesthouse.engine.explain import Explained

TITLES = {"ir": "LLVM IR", "optimised_ir": "LLVM IR, optimised", "machine_code": "machine code"}


@click.command(short_help="What an instruction's bytes mean, down to machine code.")
@click.argument("code", nargs=-1, required=True)
@click.option("--arch", type=click.Choice(["amd64", "riscv64"]), default="amd64", show_default=True,
              help="The instruction set of the bytes.")
@click.option("--at", default="0", metavar="ADDRESS", help="The address that they lie at, for jumps.")
@click.option("--ir/--no-ir", default=True, help="Show the LLVM IR.")
@click.option("--asm/--no-asm", default=True, help="Show the host's machine code.")
@click.option("--json", is_flag=True, help="Print the result as JSON.")
def explain(code: tuple[str, ...], arch: str, at: str, ir: bool, asm: bool, json: bool) -> None:
    """Explain the instructions whose bytes CODE gives in hexadecimal.

    \b
    Examples:
      guesthouse explain 48 01 d8
      guesthouse explain 4801d8c3 --no-ir --no-asm
      guesthouse explain --arch riscv64 0x00a58533        (a word of 4 digits or 8 with 0x is little-endian)
    """
    from guesthouse.manager import explaining

    found = explaining.explain(to_bytes(code), arch, to_address(at))
    shown = []
    for one in found.instructions:
        parts = compiled(one, ir, asm)
        if json:
            shown.append(as_dict(one) | parts)
        else:
            show(one, parts)
    if json:
        click.echo(as_json.dumps(shown, indent=1))


def compiled(one: Explained, ir: bool, asm: bool) -> dict[str, str]:
    """What the compiler makes of the definition, as far as it is to be shown; nothing is compiled for nothing."""
    if not ir and not asm:
        return {}
    made = one.meanings[-1].compiled
    texts = {"ir": made.ir, "optimised_ir": made.optimised} if ir else {}
    return texts | ({"machine_code": made.machine_code} if asm else {})


def to_bytes(words: tuple[str, ...]) -> bytes:
    """Hexadecimal digits, in any grouping; a word that begins with 0x is a number, its lowest byte first."""
    made = b""
    for word in words:
        digits = word.lower().removeprefix("0x").replace("_", "").replace(",", "")
        try:
            part = bytes.fromhex(digits)
        except ValueError:
            raise click.BadParameter(f"{word!r} is not bytes in hexadecimal, as in `48 01 d8`.",
                                     param_hint="CODE") from None
        made += part[::-1] if word.lower().startswith("0x") else part
    return made


def to_address(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an address in hexadecimal.", param_hint="--at") from None


def as_dict(one: Explained) -> dict[str, object]:
    handlers = [{"name": m.name, "number": m.number, "defined": f"{m.file}:{m.line}"} for m in one.meanings]
    return {"at": one.at, "bytes": one.bytes.hex(" "), "text": one.text, "name": one.name,
            "operands": one.operands, "handlers": handlers, "source": one.meanings[-1].source}


def show(one: Explained, parts: dict[str, str]) -> None:
    filled = ", ".join(f"{name}={value:#x}" for name, value in one.operands.items() if value)
    meant = one.meanings[-1]
    click.echo(f"{one.at:#x}: {one.bytes.hex(' ')}    {one.text}")
    click.echo(f"  handler   {' then '.join(meaning.name for meaning in one.meanings)}")
    click.echo(f"  record    {filled or 'no operands'}")
    click.echo(f"  defined   {meant.file}:{meant.line}")
    click.echo("\n" + indented(meant.source))
    for name, title in TITLES.items():
        if name in parts:
            click.echo(f"\n  {title}:\n" + indented(parts[name]))
    click.echo()


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.expandtabs(8).splitlines())
