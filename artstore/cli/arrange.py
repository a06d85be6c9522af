"""Arrange: names and versions that move, multiply or go; no bytes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from artstore.cli.completing import collections, references
from artstore.cli.discovery import changing_store, project_of
from artstore.cli.options import Call, verb
from artstore.cli.output import emit, say
from artstore.units import count

if TYPE_CHECKING:
    from artstore.lifecycle.reports import CollectionInfo, VersionInfo


@verb("artstore rename cats felines")
@click.argument("name", shell_complete=collections)
@click.argument("new_name", metavar="NEW_NAME")
def rename(call: Call, *, name: str, new_name: str) -> None:
    """Give a collection another name.

    Versions, numbers and aliases stay as they are.
    """
    with changing_store(call) as store:
        emit(call, store.rename(name, new_name, project=project_of(call)), render_renamed)


@verb("artstore retype cats photos")
@click.argument("name", shell_complete=collections)
@click.argument("type_", metavar="TYPE")
def retype(call: Call, *, name: str, type_: str) -> None:
    """Give a collection another type.

    Its versions have it too, those that are there already and those to come.
    """
    with changing_store(call) as store:
        emit(call, store.retype(name, type_, project=project_of(call)), render_retyped)


@verb("artstore copy cats:v3 zoo/cats")
@click.argument("ref", shell_complete=references)
@click.argument("target", metavar="PROJECT/NAME", shell_complete=collections)
def copy(call: Call, *, ref: str, target: str) -> None:
    """Make a version known under another name.

    Makes a version with the same files there; no bytes move.
    """
    with changing_store(call) as store:
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
    with changing_store(call) as store:
        emit(call, store.link(ref, portfolio, aliases=aliases, project=project_of(call)), render_linked)


@verb("artstore unlink zoo/best-cats:staging")
@click.argument("ref", shell_complete=references)
def unlink(call: Call, *, ref: str) -> None:
    """Take a version out of a portfolio.

    The version itself stays where it is.
    """
    with changing_store(call) as store:
        emit(call, store.unlink(ref, project=project_of(call)), render_unlinked)


@verb("artstore delete cats:v2", "artstore delete cats:v2 --everywhere", "artstore delete cats --collection")
@click.argument("ref", metavar="REF|NAME", shell_complete=references)
@click.option("--collection", "is_collection", is_flag=True, help="The collection NAME, with all its versions.")
@click.option("--force", is_flag=True, help="Even if an alias other than latest stands on it, or it is linked.")
@click.option(
    "--everywhere", is_flag=True, help="Also for all who follow the same upstream; else only this machine forgets it."
)
def delete(call: Call, *, ref: str, is_collection: bool, force: bool, everywhere: bool) -> None:
    """Delete a version, or a collection.

    A version's number is never used again; a collection's name is free. Their space is freed by artstore gc.
    """
    if is_collection and everywhere:
        message = "--everywhere deletes versions: say which, without --collection"
        raise click.UsageError(message)
    with changing_store(call) as store:
        if is_collection:
            emit(call, store.delete_collection(ref, force=force, project=project_of(call)), render_deleted_collection)
            return
        gone = store.delete(ref, force=force, everywhere=everywhere, project=project_of(call))
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


def render_deleted_collection(collection: CollectionInfo) -> None:
    """Say what is gone, and what frees its space."""
    versions = count(collection.versions, "version")
    say(f"deleted {collection.project}/{collection.name}, {versions}; artstore gc frees their space")


def render_deleted(version: VersionInfo) -> None:
    """Say what is gone, and what frees its space."""
    here = " on this machine" if version.state == "forgotten" else ""
    say(f"deleted {version.ref}{here}; artstore gc frees its space")
