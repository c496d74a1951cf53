"""`guesthouse completion`: the line that makes a shell complete our commands, options and guests."""

from __future__ import annotations

import click


@click.command(short_help="Print what makes a shell complete guesthouse's commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and names of guests.

    \b
      bash:  guesthouse completion bash > ~/.local/share/bash-completion/completions/guesthouse
      zsh:   guesthouse completion zsh > "${fpath[1]}/_guesthouse"
      fish:  guesthouse completion fish > ~/.config/fish/completions/guesthouse.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    root = context.find_root().command
    click.echo(kind(root, {}, "guesthouse", "_GUESTHOUSE_COMPLETE").source())
