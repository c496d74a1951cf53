"""`guesthouse image`: which guests are in the cache, fetch them, delete them."""

from __future__ import annotations

import json as as_json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from guesthouse.cli.progress import Narrator
    from guesthouse.images.catalogue import Catalogue

ARCH = click.option("--arch", type=click.Choice(["amd64", "riscv64"]), default="amd64", show_default=True,
                    help="The instruction set.")
JSON = click.option("--json", is_flag=True, help="Print the result as JSON.")


@click.group(short_help="List, fetch and delete the guests in the cache.")
def image() -> None:
    """List, fetch and delete the guests in the cache.

    `guesthouse run` fetches what it needs by itself. Everything comes from the Debian mirror of this host's apt (else
    GUESTHOUSE_MIRROR) and is checked against the archive's signed index.
    """


@image.command("list", short_help="The guests in the cache.")
@JSON
def list_(json: bool) -> None:
    """The guests in the cache, and where they came from."""
    guests = catalogue().list()
    if json:
        click.echo(as_json.dumps([guest.as_json() for guest in guests], indent=1))
        return
    from guesthouse.manager.units import size_text

    if not guests:
        click.echo("No guest is in the cache. `guesthouse image pull debian` fetches one.", err=True)
    for guest in guests:
        click.echo(f"{guest.name:10} {guest.arch:8} {guest.version:28} {size_text(guest.size):>10}"
                   f"  {guest.suite}, pulled {guest.pulled[:10]}, signature {guest.signature}")


@image.command(short_help="Fetch a guest, or its newest version.")
@click.argument("name")
@ARCH
@JSON
def pull(name: str, arch: str, json: bool) -> None:
    """Fetch the guest NAME, or its newest version if it is there."""
    from guesthouse.cli.progress import Narrator

    with Narrator() as narrator:
        guest = catalogue(narrator).pull(name, arch)
    click.echo(as_json.dumps(guest.as_json(), indent=1) if json else f"{guest.name} {guest.arch} {guest.version}")


@image.command(short_help="Take a guest out of the cache.")
@click.argument("name")
@click.option("--arch", type=click.Choice(["amd64", "riscv64"]), help="Only this instruction set.")
@JSON
def delete(name: str, arch: str | None, json: bool) -> None:
    """Take the guest NAME out of the cache."""
    gone = catalogue().delete(name, arch)
    click.echo(as_json.dumps(gone) if json else "\n".join(gone))


def catalogue(narrator: Narrator | None = None) -> Catalogue:
    """The catalogue that the switches point to."""
    from guesthouse.manager import building

    told: dict[str, Any] = {"progress": narrator, "warn": narrator.warn} if narrator else {}
    return building.catalogue(building.Announce(**told))
