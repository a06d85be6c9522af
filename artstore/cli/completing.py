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

    Whatever goes wrong offers nothing: an error message in the middle of a line that is being typed helps nobody. Never
    makes a store.
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


def references(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Offer collections, and behind a colon the aliases and the numbers of one, the newest first."""
    name, colon, tail = incomplete.partition(":")
    if not colon:
        return collections(ctx, param, incomplete)
    call = ctx.find_object(Call) or Call()
    try:
        with Store.open(find_store(call)) as store:
            versions = store.versions(name, project=project_of(call))
    except (ArtstoreError, OSError):
        return []
    tails = [alias for version in versions for alias in version.aliases] + [f"v{v.number}" for v in versions]
    return [f"{name}:{each}" for each in tails if each.startswith(tail)]
