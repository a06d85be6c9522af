"""Arrange: names and versions that move, multiply or go; no bytes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.completing import collections, references
from artstore.cli.discovery import open_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, say
from artstore.units import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artstore.lifecycle.reports import CollectionInfo, VersionInfo


@verb("artstore rename cats felines")
@click.argument("name", shell_complete=collections)
@click.argument("new_name", metavar="NEW_NAME")
def rename(call: Call, *, name: str, new_name: str) -> None:
    """Give a collection another name.

    Versions, numbers and aliases stay as they are.
    """
    with open_store(call) as store:
        emit(call, store.rename(name, new_name, project=project_of(call)), render_renamed)


@verb("artstore retype cats photos")
@click.argument("name", shell_complete=collections)
@click.argument("type_", metavar="TYPE")
def retype(call: Call, *, name: str, type_: str) -> None:
    """Give a collection another type.

    Its versions have it too, those that are there already and those to come.
    """
    with open_store(call) as store:
        emit(call, store.retype(name, type_, project=project_of(call)), render_retyped)


@verb("artstore copy cats:v3 zoo/cats")
@click.argument("ref", shell_complete=references)
@click.argument("target", metavar="PROJECT/NAME", shell_complete=collections)
def copy(call: Call, *, ref: str, target: str) -> None:
    """Make a version known under another name.

    Makes a version with the same files there; no bytes move.
    """
    with open_store(call) as store:
        emit(call, store.copy(ref, target, project=project_of(call)), render_copied)


@verb("artstore link cats:v3 zoo/best-cats --alias staging")
@click.argument("ref", shell_complete=references)
@click.argument("portfolio", metavar="[PROJECT/]PORTFOLIO", shell_complete=collections)
@click.option("--alias", "aliases", metavar="ALIAS", multiple=True, help="An alias for it there. May be repeated.")
def link(call: Call, *, ref: str, portfolio: str, aliases: tuple[str, ...]) -> None:
    """Put a version into a portfolio.

    A portfolio holds links to versions of collections, of any project, with numbers and aliases of its own; one that
    is not there is made. A linked version is kept by artstore prune.
    """
    with open_store(call) as store:
        emit(call, store.link(ref, portfolio, aliases=aliases, project=project_of(call)), render_linked)


@verb("artstore unlink zoo/best-cats:staging")
@click.argument("ref", shell_complete=references)
def unlink(call: Call, *, ref: str) -> None:
    """Take a version out of a portfolio.

    The version itself stays where it is.
    """
    with open_store(call) as store:
        emit(call, store.unlink(ref, project=project_of(call)), render_unlinked)


@verb(
    "artstore delete cats:v2",
    "artstore delete cats:v2 cats:v3 dogs:v0",
    "artstore delete cats:v2 --everywhere",
    "artstore delete cats --collection",
    "artstore delete best-cats --collection --everywhere",
)
@click.argument("refs", metavar="REF|NAME...", nargs=-1, required=True, shell_complete=references)
@click.option("--collection", "are_collections", is_flag=True, help="The collections NAME..., with all their versions.")
@click.option("--force", is_flag=True, help="Even if an alias other than latest stands on it, or it is linked.")
@click.option(
    "--everywhere", is_flag=True, help="Also for all who follow the same upstream; else only this machine forgets it."
)
def delete(call: Call, *, refs: tuple[str, ...], are_collections: bool, force: bool, everywhere: bool) -> None:
    """Delete versions, or collections.

    Where one of several versions may not be deleted, none is. A version's number is never used again; a collection's
    name is free. Of a collection that an upstream has, only this machine forgets the versions, and the next one that
    somebody makes brings its name back; a portfolio that others have goes with --everywhere only. Their space is freed
    by artstore gc.
    """
    project = project_of(call)
    with open_store(call) as store:
        if are_collections:
            # A name with a slip of the pen stops all, before the first one is gone.
            found = [store.collection(ref, project=project) for ref in refs]
            names = dict.fromkeys(f"{each.project}/{each.name}" for each in found)
            collections = [store.delete_collection(name, force=force, everywhere=everywhere) for name in names]
            emit(call, collections, render_deleted_collections)
            return
        gone = store.delete_versions(refs, force=force, everywhere=everywhere, project=project)
    emit(call, gone, render_deleted)


def render_renamed(collection: CollectionInfo) -> None:
    """Say the name it has now."""
    say(f"{collection.project}/{collection.name}")


def render_retyped(collection: CollectionInfo) -> None:
    """Say what it is now."""
    say(f"{collection.project}/{collection.name} ({collection.type})")


def render_copied(version: VersionInfo) -> None:
    """Say the name it has there."""
    say(version.ref)


def render_linked(version: VersionInfo) -> None:
    """Say the name that it has in the portfolio, and what it stands for."""
    assert version.link is not None
    say(f"{version.link.ref} ({', '.join(version.link.aliases)}) -> {version.ref}")


def render_unlinked(version: VersionInfo) -> None:
    """Say which name is gone, and what stays."""
    assert version.link is not None
    say(f"unlinked {version.link.ref}; {version.ref} stays")


def render_deleted_collections(collections: Sequence[CollectionInfo]) -> None:
    """Say what is gone, and what frees its space."""
    for collection in collections:
        versions = count(collection.versions, "version")
        here = ", on this machine" if collection.state == "forgotten" else ""
        say(f"deleted {collection.project}/{collection.name}, {versions}{here}; artstore gc frees their space")


def render_deleted(versions: Sequence[VersionInfo]) -> None:
    """Say what is gone, and what frees its space."""
    for version in versions:
        here = " on this machine" if version.state == "forgotten" else ""
        say(f"deleted {version.ref}{here}; artstore gc frees its space")
