"""Completing: what the shell offers for a name that is half typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from artstore.cli.discovery import find_store, project_of
from artstore.cli.options import Call
from artstore.errors import ArtstoreError
from artstore.store import Store

if TYPE_CHECKING:
    import click


def collections(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer collections: bare in the project that is meant, as PROJECT/NAME elsewhere.

    Not versions and aliases, because bash breaks words at the colon. Whatever goes wrong offers nothing: an error
    message in the middle of a line that is being typed helps nobody. Never makes a store.
    """
    del param
    call = ctx.find_object(Call) or Call()
    try:
        with Store.open(find_store(call)) as store:
            home = project_of(call)
            known = [f"{c.project}/{c.name}" if c.project != home else c.name for c in store.collections()]
    except (ArtstoreError, OSError):
        return []
    return [name for name in known if name.startswith(incomplete)]
