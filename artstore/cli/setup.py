"""Setup: what is done once, before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from artstore.cli.options import Call, Place, verb
from artstore.cli.output import emit, note, say
from artstore.cli.printing import UNCHANGED, printing
from artstore.cli.shells import SHELLS
from artstore.discovery import FOLDER, names_another_store
from artstore.store import Store


@verb("artstore init", "artstore init /data/store")
@click.argument("folder", metavar="[DIR]", required=False, type=Place(path_type=Path, file_okay=False))
@click.option(
    "--single-host",
    is_flag=True,
    help="Accept a network file system, for this host alone: many hosts on one store would lose commits.",
)
def init(call: Call, *, folder: Path | None, single_host: bool) -> None:
    """Make a store.

    DIR becomes the store itself. Default: what --store names, else ./.artstore, which commands below this folder find
    by themselves.
    """
    root = folder or call.store or Path(FOLDER)
    with Store.init(root, single_host=single_host) as store:
        emit(call, {"root": str(store.path)}, render_made)
    if names_another_store() and not call.json:
        note("ARTSTORE_DIR is set and names the store that commands use; unset it, or use --store")


@verb(
    "artstore completion bash > ~/.local/share/bash-completion/completions/artstore",
    'eval "$(artstore completion zsh)"',
    "artstore completion fish > ~/.config/fish/completions/artstore.fish",
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, call: Call, *, shell: str) -> None:
    """Print the completion script for a shell."""
    del call
    with printing(UNCHANGED):
        click.echo(SHELLS[shell](ctx.find_root().command, {}, "artstore", "_ARTSTORE_COMPLETE").source())


def render_made(made: dict[str, Any]) -> None:
    """Say where the store is."""
    say(f"made a store in {made['root']}")
