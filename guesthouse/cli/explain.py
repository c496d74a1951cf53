"""`guesthouse explain`: an instruction's bytes, its decoding, its definition, and what the compiler makes of it."""

from __future__ import annotations

import json as as_json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from guesthouse.manager.explaining import Explained


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
    for one in found:
        made = explaining.compiled(arch, one.numbers[-1]) if ir or asm else ("", "")
        parts = {"ir": made[0] if ir else "", "machine_code": made[1] if asm else ""}
        shown.append(as_dict(one) | {name: text for name, text in parts.items() if text})
        if not json:
            show(one, parts)
    if json:
        click.echo(as_json.dumps(shown, indent=1))


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
    plain = asdict(one)
    return plain | {"bytes": one.bytes.hex(" "), "numbers": list(one.numbers)}


def show(one: Explained, parts: dict[str, str]) -> None:
    filled = ", ".join(f"{name}={value:#x}" for name, value in one.operands.items() if value)
    click.echo(f"{one.at:#x}: {one.bytes.hex(' ')}    {one.name}")
    click.echo(f"  handler   {' then '.join(one.handlers)}")
    click.echo(f"  record    {filled or 'no operands'}")
    click.echo(f"  defined   {one.sources[-1]}")
    click.echo("\n" + indented(one.text))
    for title, text in (("LLVM IR", parts["ir"]), ("machine code", parts["machine_code"])):
        if text:
            click.echo(f"\n  {title}:\n" + indented(text))
    click.echo()


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.expandtabs(8).splitlines())
